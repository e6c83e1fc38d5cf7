"""logfmt: `key=value` pairs, one log record a line. A line becomes the text of a JSON object and is read as one.

Values are texts, numbers too: the format has no types. A bare key is `true`. Of a repeated key the first value counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.sources.decoding.reading import ByteStream, blocks
from dagster_project.sources.decoding.text_lines import text_lines
from dagster_project.sources.format import Format, ReadOptions, unknown_fields
from dagster_project.sources.logs import json_lines, log_records
from dagster_project.warehouse.ahead import ahead
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

# A key is anything but blanks, `=` and `"`; a value is quoted, with backslashes, or runs to the next blank.
_PAIR = r"""[^\s="]+(?:=(?:"(?:[^"\\]|\\.)*"|[^\s"]\S*)?)?"""

# A quoted value that is no JSON string (another escape than JSON's, a tab) stands as it was sent between its quotes.
_OBJECTS = f"""
    select line, text as raw, is_whole,
        '{{' || array_to_string(list_transform(pairs, lambda pair:
            to_json(split_part(pair, '=', 1))::varchar || ':' || case
                when not contains(pair, '=') then 'true'
                when json_valid(pair[strpos(pair, '=') + 1:]) and pair[strpos(pair, '=') + 1] = '"'
                    then pair[strpos(pair, '=') + 1:]
                when pair[strpos(pair, '=') + 1] = '"' then to_json(pair[strpos(pair, '=') + 2:-2])::varchar
                else to_json(pair[strpos(pair, '=') + 1:])::varchar
            end), ',') || '}}' as text
    from (
        select line, text, is_whole, case when is_whole then regexp_extract_all(text, '{_PAIR}') else [] end as pairs
        from (select line, text, regexp_full_match(text, '\\s*(?:{_PAIR}(?:\\s+|$))*') as is_whole from log_lines)
    )
    where not regexp_full_match(raw, '\\s*')
"""  # noqa: S608 (only patterns are in it)


def _batches(stream: ByteStream, options: ReadOptions) -> Iterator[Batch]:
    if refusal := unknown_fields(options, json_lines.FIELDS):
        yield Batch(refusals=[refusal])
        return
    everywhere = json_lines.places(options.fields)
    with ahead(blocks(stream, log_records.BLOCK_BYTES)) as pieces:
        for piece in pieces:
            if isinstance(piece, Refusal):
                yield Batch(refusals=[piece])
                continue
            lines = text_lines(piece)
            rows = log_records.run(_OBJECTS, {"log_lines": lines.table})
            good = rows.filter(rows.column("is_whole")).select(["line", "text", "raw"])
            refusals = [*lines.refusals, *_refused(rows)]
            yield json_lines.decoded(json_lines.objects(piece, good, refusals, everywhere), options)


def _refused(rows: pa.Table) -> list[Refusal]:
    bad = rows.filter(pc.invert(rows.column("is_whole"))).select(["line", "raw"])
    detail = "not key=value pairs: a quote that is not closed, a quote within a value, or `=` without a key"
    return [Refusal(row["line"], None, Reason.STRUCTURE, detail, clipped(row["raw"])) for row in bad.to_pylist()]


# --- recognition ------------------------------------------------------------------------------------------------------

_TIME = re.compile(rb"(?:^|\s)(?:time|ts|timestamp|@timestamp)=[\"0-9]")
_MESSAGE = re.compile(rb"(?:^|\s)(?:msg|message|body)=\S")


def _recognises(head: bytes) -> bool:
    first = head.lstrip().split(b"\n", 1)[0][:4096]
    return first[:1].isalpha() and bool(_TIME.search(first) and _MESSAGE.search(first))


FORMAT = Format(
    name="logfmt",
    table=log_records.TABLE,
    happened_at=log_records.HAPPENED_AT,
    recognises=_recognises,
    batches=_batches,
    uses=frozenset({"time_zone", "service_name", "fields"}),
    fields=json_lines.FIELDS,
    filled_from=json_lines.FILLED_FROM,
)
