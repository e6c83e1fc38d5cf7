"""Container logs as the container runtime writes them: CRI (containerd, CRI-O) and docker's json-file.

A message that the runtime cut into parts is joined again. The message is the body as it is, whatever is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template

import orjson

from dagster_project.sources.decoding.joined_lines import Joiner, too_long
from dagster_project.sources.decoding.reading import ByteStream, blocks
from dagster_project.sources.decoding.text_lines import text_lines
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.logs import log_records, trace_context
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Refusal

_CRI = "'^([^ ]+) (stdout|stderr) ([FP])(?::[^ ]*)?(?: (.*))?$'"

# docker ends a message with its newline: a text without one goes on.
_PARTS = f"""
    select * exclude (is_partial), is_partial as goes_on,
        not coalesce(lag(is_partial) over (partition by track order by line), false) as begins
    from (
        select line, text as raw,
            case when is_json then docker[1] is not null and not ends_with(docker[1], chr(10))
                 else coalesce(cri.tag = 'P', false) end as is_partial,
            case when is_json then coalesce(docker[2], '') else coalesce(cri.stream, 'no stream') end as track,
            case when is_json then docker[3] else cri.time end as time,
            case when is_json then regexp_replace(docker[1], '\\n$', '') else cri.message end as message,
            case when is_json then docker[4] end as extra,
            case when starts_with(text, '{{') and not is_json then 'not_json'
                 when is_json and docker[1] is null then 'other_format'
                 when not is_json and cri is null then 'row_malformed' end as reason
        from (
            select *,
                case when is_json then json_extract_string(text, ['/log', '/stream', '/time', '/attrs']) end as docker,
                case when not is_json and regexp_matches(text, {_CRI})
                    then regexp_extract(text, {_CRI}, ['time', 'stream', 'tag', 'message']) end as cri
            from (
                select *, starts_with(text, '{{') and json_valid(text) as is_json
                from log_lines
                where not regexp_full_match(text, '\\s*')
            )
        )
    )
"""  # noqa: S608 (only patterns are in it)

_ROWS = Template(
    """
    select line, case when sent_reason is null then 1::bigint end as record,
        occurred_ns, null::bigint as observed_ns, trace_hex, span_hex,
        $$service_name::varchar as service_name, null::bigint as severity_number, null::varchar as severity_text,
        null::varchar as event_name, message as body,
        nullif('{' || concat_ws(',',
            '"log.iostream":' || to_json(nullif(track, ''))::varchar, '"attrs":' || extra) || '}', '{}') as attributes,
        $$resource_attributes::varchar as resource_attributes,
        coalesce(sent_reason, $too_long, occurred_ns_reason) as reason,
        case when reason is not null then case reason
            when 'not_json' then 'the line begins as docker''s json-file does, but is no JSON'
            when 'other_format' then 'a JSON object without `log`'
            when 'row_malformed' then 'neither `<time> stdout F <message>` nor docker''s json-file'
            when 'line_too_long' then 'the parts of the message have ' || strlen(message) || ' bytes together'
            else coalesce('the time is ' || time, 'no time') end end as detail,
        case when reason is not null then raw end as raw
    from ($rows)
    """
)


_RECORDS = "select * exclude (reason), reason as sent_reason from records"
_SQL = _ROWS.substitute(
    rows=trace_context.in_text(f"({log_records.timed(_RECORDS, 'time', 'occurred_ns', 'UTC')})", "message"),
    too_long=too_long("message"),
)


def _batches(stream: ByteStream, options: ReadOptions) -> Iterator[Batch]:
    origin = of_path(stream.path)
    parameters = {
        "service_name": options.service_name or origin.get("k8s.container.name"),
        "resource_attributes": orjson.dumps(origin).decode() if origin else None,
    }
    joiner = Joiner(glue="")
    for piece in blocks(stream, log_records.BLOCK_BYTES):
        if isinstance(piece, Refusal):
            yield Batch(refusals=[piece])
            continue
        lines = text_lines(piece)
        records = joiner.joined(log_records.run(_PARTS, {"log_lines": lines.table}))
        yield log_records.batch(log_records.run(_SQL, {"records": records}, parameters), lines.refusals, piece)
    if rest := joiner.rest():
        yield log_records.batch(log_records.run(_SQL, {"records": rest}, parameters))


# --- where a file comes from ------------------------------------------------------------------------------------------

# /var/log/pods/<namespace>_<pod>_<uid>/<container>/<restarts>.log, and the links to it in /var/log/containers
_POD = re.compile(r"([^/_]+)_([^/_]+)_([0-9a-fA-F-]+)/([^/]+)/([0-9]+)\.log[^/]*$")
_CONTAINER = re.compile(r"([^/_]+)_([^/_]+)_([^/]+)-([0-9a-f]{64})\.log[^/]*$")


def of_path(path: Path) -> Mapping[str, object]:
    """What Kubernetes says of a log by its path, under OpenTelemetry's names; empty for another path."""
    if pod := _POD.search(path.as_posix()):
        return {
            "k8s.namespace.name": pod[1],
            "k8s.pod.name": pod[2],
            "k8s.pod.uid": pod[3],
            "k8s.container.name": pod[4],
            "k8s.container.restart_count": int(pod[5]),
        }
    if container := _CONTAINER.search(path.as_posix()):
        return {
            "k8s.pod.name": container[1],
            "k8s.namespace.name": container[2],
            "k8s.container.name": container[3],
            "container.id": container[4],
        }
    return {}


# --- recognition ------------------------------------------------------------------------------------------------------

_CRI_HEAD = re.compile(
    rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[+-][0-9]{2}:[0-9]{2}) (?:stdout|stderr) [FP](?: |:|$)"
)


def _recognises(head: bytes) -> bool:
    first = head.lstrip().split(b"\n", 1)[0]
    if not first.startswith(b"{"):
        return bool(_CRI_HEAD.match(first))
    try:
        value = orjson.loads(first)
    except orjson.JSONDecodeError:
        return False
    return all(isinstance(value.get(key), str) for key in ("log", "time")) and value.get("stream") in (
        "stdout",
        "stderr",
    )


FORMAT = Format(
    name="container_logs",
    table=log_records.TABLE,
    happened_at=log_records.HAPPENED_AT,
    recognises=_recognises,
    batches=_batches,
    uses=frozenset({"service_name"}),
    filled_from={"service_name": ("k8s.container.name",), "body": ("log", "message")},
)
