"""Scrapes that were saved: OpenMetrics 1.0 and Prometheus's text format 0.0.4, with times on their samples.

A sample line is a record. A line without a time is refused: a file does not say when it was scraped, and the time of
the file is when it was copied. Which unit a time has is told from its size, as seconds and milliseconds of this century
are a factor of a thousand apart. Exemplars are read over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from string import Template

import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.sources.decoding.reading import Block, ByteStream, blocks
from dagster_project.sources.decoding.text_lines import text_lines
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.metrics.metric_columns import SERVICE_LABELS, texts
from dagster_project.sources.otlp.otlp_checks import EARLIEST, LATEST
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

# Types of both formats. Prometheus says untyped, OpenMetrics unknown.
TYPES = frozenset(
    ("counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset", "unknown", "untyped")
)
SUFFIXES = ("_total", "_created", "_bucket", "_gcount", "_gsum", "_count", "_sum", "_info")

_NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL_NAME = "[a-zA-Z_][a-zA-Z0-9_]*"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_LABEL = rf"[ \t]*({_LABEL_NAME})[ \t]*=[ \t]*({_QUOTED})[ \t]*"
_ANY_LABEL = rf"[ \t]*{_LABEL_NAME}[ \t]*=[ \t]*{_QUOTED}[ \t]*"
_LABELS = rf"[{{](?:{_ANY_LABEL}(?:,{_ANY_LABEL})*,?)?[ \t]*[}}]"
_EXEMPLAR = rf"#[ \t]*{_LABELS}[ \t]+[^ \t]+(?:[ \t]+[^ \t]+)?"
_SAMPLE = rf"^[ \t]*({_NAME})[ \t]*({_LABELS})?[ \t]+([^ \t#]+)(?:[ \t]+([^ \t#]+))?[ \t]*({_EXEMPLAR})?[ \t]*$"

# How labels become JSON. `\\` stands aside as \x01, so that what follows a backslash is what it escapes; an escape that
# is none of the formats' three is a backslash that stands for itself; names are quoted; the last comma goes.
_STOOD_ASIDE = r"""regexp_replace(replace(labels_sent, '\\', chr(1)), '\\([^n"])', chr(1) || '\1', 'g')"""
_NAMES_QUOTED = rf"""regexp_replace({_STOOD_ASIDE}, '{_LABEL}', '"\1":\2', 'g')"""
_JSON = rf"""replace(replace(regexp_replace({_NAMES_QUOTED}, ',[ \t]*[}}]$', '}}'), chr(1), '\\'), chr(9), '\t')"""

_SELECT = Template(
    r"""
    -- Materialized, as the engine would match the patterns again wherever their results are used.
    with split as materialized (
        select line,
            regexp_extract(text, '$sample', ['name', 'labels_sent', 'value', 'time', 'exemplar']) as part,
            regexp_matches(text, '[\x00-\x08\x0b-\x1f]') as has_controls
        from metric_lines
    ),
    parts as materialized (select line, has_controls, unnest(part) from split),
    -- A file of many scrapes has the same labels many times.
    label_sets as materialized (
        select labels_sent,
            case when len(label_names) = 0 then '{}' when len(list_distinct(label_names)) = len(label_names)
                then $json end as labels_json
        from (
            select labels_sent, regexp_extract_all(labels_sent, '$label', 1) as label_names
            from (select distinct labels_sent from parts)
        )
    ),
    label_services as materialized (
        select labels_sent, labels_json, case when json_valid(labels_json) then labels_json::json end as labels,
            coalesce($services) as service_name
        from label_sets
    ),
    families as materialized (
        select name, coalesce(own.metric_type, stem.metric_type) as metric_type, coalesce(own.unit, stem.unit) as unit
        from (select distinct name from parts)
        left join metric_families as own on name = own.family
        left join metric_families as stem
            on own.family is null and regexp_replace(name, '($suffixes)$$', '') = stem.family
    ),
    numbered as (
        select *,
            case when not contains(value, '_') then try_cast(value as double) end as number,
            case when not contains(time, '_') then try_cast(time as double) end as seconds_sent
        from parts
    ),
    timed as (
        select *,
            -- All digits of a time are kept where it is written in digits; a double has a quarter of a microsecond.
            case
                when seconds_sent >= $earliest and seconds_sent < $latest then coalesce(
                    (try_cast(time as decimal(28, 9)) * 1000000000::decimal(10, 0))::bigint,
                    round(seconds_sent * 1e6)::bigint * 1000)
                when seconds_sent >= ${earliest}e3 and seconds_sent < ${latest}e3
                    then round(seconds_sent * 1e3)::bigint * 1000
            end as nanoseconds
        from numbered
    ),
    refused as (
        select *,
            case
                when name = '' or has_controls or labels is null then 'structure'
                when number is null then 'value_malformed'
                when time = '' then 'time_missing'
                when seconds_sent is null then 'time_malformed'
                when nanoseconds is null then 'time_out_of_range'
            end as reason
        from timed
        inner join label_services using (labels_sent)
        inner join families using (name)
    )
    select
        line, 1 as record, name as metric_name, coalesce(service_name, service) as service_name, labels,
        make_timestamp_ns(nanoseconds) as observed_at, number as value, metric_type, unit,
        case
            when metric_type = 'counter' and not ends_with(name, '_created')
                or metric_type in ('histogram', 'summary') and regexp_matches(name, '_(bucket|count|sum)$$')
                then 'cumulative'
        end as temporality,
        case
            when metric_type = 'counter' and not ends_with(name, '_created')
                or metric_type in ('histogram', 'summary') and regexp_matches(name, '_(bucket|count)$$')
                then true
        end as is_monotonic,
        reason,
        case reason
            when 'structure' then case
                when name = '' then 'no sample: name{label="value"} value time'
                when has_controls then 'a control character'
                else 'a label comes twice, or is no text' end
            when 'time_missing' then name || ' has no time; save scrapes with honest times, or ask query_range'
            else name || ' at ' || time || ' = ' || value
        end as detail
    from refused, metric_source
    """
)


# --- families ---------------------------------------------------------------------------------------------------------

_METADATA = re.compile(rf"#[ \t]+(TYPE|UNIT|HELP)[ \t]+({_NAME})(?:[ \t](.*))?")  # linear: blanks are cut off after


@dataclass
class _Families:
    """What the comments of a file say of its metrics, up to where it has been read; the last word counts."""

    types: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)

    def learn(self, comments: pa.Table) -> list[Refusal]:
        """Take up comment lines; those that say what is no type are refused. Few: a handful a metric."""
        refusals = []
        for line, text in zip(*(column.to_pylist() for column in comments.columns), strict=True):
            found = _METADATA.fullmatch(text)
            if found is None or found[1] == "HELP":
                continue
            said = (found[3] or "").strip(" \t")
            if found[1] == "UNIT":
                self.units[found[2]] = said
            elif said in TYPES:
                self.types[found[2]] = "unknown" if said == "untyped" else said
            else:
                detail = f"{said!r:.80} is no type of metric"
                refusals.append(Refusal(line, None, Reason.ENUM_UNKNOWN, detail, clipped(text)))
        return refusals

    def table(self) -> pa.Table:
        names = sorted(self.types.keys() | self.units.keys())
        return pa.table(
            {
                "family": texts(names),
                "metric_type": texts([self.types.get(name) for name in names]),
                "unit": texts([self.units.get(name) or None for name in names]),
            }
        )


# --- lines ------------------------------------------------------------------------------------------------------------


def _batches(stream: ByteStream, options: ReadOptions) -> Iterator[Batch]:
    families = _Families()
    source = pa.table({"service": texts([options.service_name])})
    for piece in blocks(stream):
        if isinstance(piece, Refusal):
            yield Batch(refusals=[piece])
        else:
            yield _batch(piece, families, source)


def _batch(block: Block, families: _Families, source: pa.Table) -> Batch:
    read = text_lines(block)
    text = read.table.column("text")
    is_comment = pc.match_substring_regex(text, r"^[ \t]*#")
    is_blank = pc.match_substring_regex(text, r"^[ \t]*$")
    comments = read.table.filter(is_comment)
    samples = read.table.filter(pc.invert(pc.or_(is_comment, is_blank)))
    refusals = [*read.refusals, *families.learn(comments)]
    has_exemplars = pc.any(pc.match_substring_regex(samples.column("text"), r"[ \t]#[ \t]*\{")).as_py()
    return Batch(
        samples.num_rows,
        {"metric_lines": samples, "metric_families": families.table(), "metric_source": source},
        _SQL,
        refusals=refusals,
        unknown_fields=frozenset({"(exemplars)"} if has_exemplars else ()),
        raw_of=_raw_of(block),
        lines=block,
    )


def _raw_of(block: Block) -> Callable[[int, int], str | None]:
    return lambda line, _record: clipped(block.line(line))


_FIRST_LINE = re.compile(rf"\s*#[ \t]+(?:(?:TYPE|HELP|UNIT)[ \t]+{_NAME}[ \t\r\n]|EOF\s*\Z)".encode())


def _recognises(start: bytes) -> bool:
    return _FIRST_LINE.match(start) is not None


_SQL = _SELECT.substitute(
    sample=_SAMPLE,
    label=_LABEL,
    json=_JSON,
    earliest=int(EARLIEST.timestamp()),
    latest=int(LATEST.timestamp()),
    suffixes="|".join(SUFFIXES),
    services=", ".join(
        f"case when json_valid(labels_json) then labels_json ->> '$.{label}' end" for label in SERVICE_LABELS
    ),
)

FORMAT = Format(
    name="openmetrics",
    table="raw.metric_points",
    # Not a cast: casting nanoseconds rounds, and the last half microsecond of a day would be the next day.
    happened_at="make_timestamp(epoch_ns(observed_at) // 1000)",
    recognises=_recognises,
    batches=_batches,
    uses=frozenset({"service_name"}),
    filled_from={"service_name": SERVICE_LABELS, "metric_name": ("__name__",)},
)
