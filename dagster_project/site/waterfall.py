"""The spans and logs of a few traces as a page draws them: rows in the order of the tree, bars as shares of time.

Fetching is done once for all pages, by queries; what a page shows of a trace is bounded, and says of how much.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa

from dagster_project.replay.tables import Row, rows, tables_of
from dagster_project.site.tables import DASH
from dagster_project.wording import duration, revealed, visible

MOST_TRACES = 4
MOST_SPANS = 1_000
MOST_LOGS = 500
MOST_EVENTS = 20
# Longer traces are folded where nothing that matters is.
FOLD_FROM = 200
SHORTEST_FOLD = 4
COLOURS = 12
DEEPEST_INDENT = 16
_TRACES, _SPANS, _LOGS, _EVENTS = (f"hindcast_page_{name}" for name in ("traces", "spans", "logs", "events"))
_SEVERITIES = ("trace", "debug", "info", "warn", "error", "fatal")


@dataclass(frozen=True)
class Bar:
    """A span as a row: `left` and `width` are percents of the trace's time, `look` the classes of its service."""

    name: str
    service: str
    look: str
    depth: int
    left: float
    width: float
    took: str
    after: str
    is_witness: bool
    is_error: bool
    is_orphan: bool
    message: str
    particulars: tuple[tuple[str, str], ...]
    attributes: tuple[tuple[str, str], ...]
    resource: tuple[tuple[str, str], ...]
    events: tuple[tuple[str, str, str], ...]

    @property
    def end(self) -> float:
        """Where the bar ends, in percents."""
        return round(self.left + self.width, 3)

    @property
    def indent(self) -> int:
        """How far the name is moved in; deeper rows stay where their names can be read."""
        return min(self.depth, DEEPEST_INDENT)


@dataclass(frozen=True)
class Stretch:
    """Rows one below the other; those of a folded one are shown when somebody opens it."""

    bars: tuple[Bar, ...]
    is_folded: bool


@dataclass(frozen=True)
class Line:
    """A log record."""

    after: str
    severity: str
    service: str
    span_name: str
    body: str
    is_witness: bool


@dataclass(frozen=True)
class Trace:
    """One trace of a violation. `spans` and `log_records` are how many there are, `ticks` the axis: percent, time."""

    trace_id: str
    took: str
    started_at: Any
    spans: int
    shown_spans: int
    log_records: int
    services: tuple[tuple[str, str], ...]
    stretches: tuple[Stretch, ...]
    lines: tuple[Line, ...]
    ticks: tuple[tuple[int, str], ...]


def fetch(connection: duckdb.DuckDBPyConnection, violations: pa.Table) -> None:
    """Lay out the spans, events and logs of the traces of these violations, which have a number each: `page`."""
    connection.register("hindcast_pages", violations)
    try:
        connection.execute(f"""
            create or replace temp table {_TRACES} as
            select page, trace_id::uuid as trace_id, place, witness from (
                select *, row_number() over (partition by page order by in_witness desc, nth) as place from (
                    select
                        page, witness, unnest(trace_ids) as trace_id, generate_subscripts(trace_ids, 1) as nth,
                        list_contains(list_transform(witness, lambda one: one.trace_id), unnest(trace_ids))
                            as in_witness
                    from hindcast_pages
                )
            ) where place <= {MOST_TRACES}
        """)  # noqa: S608
        _fetch_spans(connection)
        _fetch_logs(connection)
    finally:
        connection.unregister("hindcast_pages")


def forget(connection: duckdb.DuckDBPyConnection) -> None:
    """Drop what `fetch` laid out."""
    for name in (_TRACES, _SPANS, _LOGS, _EVENTS):
        connection.execute(f"drop table if exists {name}")


def traces_of(connection: duckdb.DuckDBPyConnection, page: int) -> list[Trace]:
    """The traces of one page, those with a witness first."""
    found = rows(connection, f"select * from {_TRACES} where page = $page order by place", {"page": page})  # noqa: S608
    return [_trace(connection, one) for one in found]


def _fetch_spans(connection: duckdb.DuckDBPyConnection) -> None:
    tables = tables_of(connection)
    has_message = tables.has("staging.stg_spans", "status_message")
    order = "h.nested_left" if tables.has("intermediate.int_trace_shape", "nested_left") else "s.started_at"
    witness = f"""
        (select distinct (unnest(witness)).trace_id::uuid as trace_id, (unnest(witness)).span_id as span_id
        from {_TRACES})
    """  # noqa: S608
    connection.execute(f"""
        create or replace temp table {_SPANS} as
        with found as (
            select
                s.trace_id, s.span_id, s.parent_span_id, s.kind, s.span_name,
                coalesce(s.service_name, '') as service_name,
                s.service_version, s.started_at, s.duration_ns, s.status_code,
                {"s.status_message" if has_message else "null"} as status_message,
                s.attributes, s.resource_attributes, coalesce(h.depth, 0) as depth,
                coalesce(h.is_orphan, false) as is_orphan, w.span_id is not null as is_witness,
                row_number() over (partition by s.trace_id order by {order}, s.started_at, s.span_id) as place,
                count(*) over (partition by s.trace_id) as total,
                min(epoch_ns(s.started_at)) over (partition by s.trace_id) as from_ns,
                max(epoch_ns(s.started_at) + s.duration_ns) over (partition by s.trace_id) as until_ns
            from staging.stg_spans as s
            semi join {_TRACES} as t on s.trace_id = t.trace_id
            left join intermediate.int_trace_shape as h
                on s.trace_id = h.trace_id and s.span_id = h.span_id and s.kind = h.kind
            left join {witness} as w
                on s.trace_id = w.trace_id and lower(lpad(to_hex(s.span_id), 16, '0')) = w.span_id
        )
        select * from found where place <= {MOST_SPANS} or is_witness
    """)  # noqa: S608
    if not tables.has("staging.stg_span_events", "event_name", "occurred_at", "attributes"):
        connection.execute(f"create or replace temp table {_EVENTS} as select null::uuid as trace_id where false")
        return
    connection.execute(f"""
        create or replace temp table {_EVENTS} as
        select e.trace_id, e.span_id, e.kind, e.event_name, e.occurred_at, e.attributes
        from staging.stg_span_events as e semi join {_TRACES} as t on e.trace_id = t.trace_id
        qualify row_number() over (partition by e.trace_id, e.span_id, e.kind order by e.occurred_at, e.position)
            <= {MOST_EVENTS}
    """)  # noqa: S608


def _fetch_logs(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(f"""
        create or replace temp table {_LOGS} as
        select
            l.trace_id, l.span_id, l.occurred_at, coalesce(l.service_name, '') as service_name, l.severity_number,
            l.body, count(*) over (partition by l.trace_id) as total
        from staging.stg_logs as l semi join {_TRACES} as t on l.trace_id = t.trace_id
        qualify row_number() over (partition by l.trace_id order by l.occurred_at, l.span_id, l.body) <= {MOST_LOGS}
    """)  # noqa: S608


def _trace(connection: duckdb.DuckDBPyConnection, one: Row) -> Trace:
    key = {"trace_id": str(one["trace_id"])}
    shown = _witnesses(one)
    found = rows(
        connection,
        f"select *, epoch_ns(started_at) as at_ns from {_SPANS} where trace_id = $trace_id::uuid order by place",  # noqa: S608
        key,
    )
    # Laid out once for all pages, with the witnesses of every one of them.
    spans = [span for span in found if span["place"] <= MOST_SPANS or span["span_id"] in shown]
    logs = rows(
        connection,
        f"select *, epoch_ns(occurred_at) as at_ns from {_LOGS} where trace_id = $trace_id::uuid order by occurred_at",  # noqa: S608
        key,
    )
    begin = spans[0]["from_ns"] if spans else (logs[0]["at_ns"] if logs else 0)
    end = max(spans[0]["until_ns"] if spans else begin, begin + 1)
    services = _looks(spans)
    bars = [_bar(span, services, begin, end, events, shown) for span, events in _with_events(connection, spans, key)]
    return Trace(
        trace_id=str(one["trace_id"]).replace("-", ""),
        took=duration((end - begin) / 1e9),
        started_at=spans[0]["started_at"] if spans else (logs[0]["occurred_at"] if logs else None),
        spans=spans[0]["total"] if spans else 0,
        shown_spans=len(spans),
        log_records=logs[0]["total"] if logs else 0,
        services=tuple((visible(name, 160) or "(no name)", look) for name, look in services.items()),
        stretches=tuple(_folded(bars)),
        lines=tuple(_lines(logs, spans, shown, begin)),
        ticks=tuple((share, duration((end - begin) * share / 100 / 1e9)) for share in (0, 25, 50, 75, 100)),
    )


def _looks(spans: list[Row]) -> dict[str, str]:
    """From each service to the classes of its bars: twelve colours, then the same hollow, then striped."""
    names = dict.fromkeys(span["service_name"] for span in spans)
    return {
        name: f"hue-{place % COLOURS + 1}" + (f" again-{min(place // COLOURS, 2)}" if place >= COLOURS else "")
        for place, name in enumerate(names)
    }


def _witnesses(one: Row) -> set[int]:
    """The spans of a trace that show the violation of its page; other pages of it have others."""
    trace_id = str(one["trace_id"]).replace("-", "")
    return {
        int(span["span_id"], 16) for span in one["witness"] or [] if span["trace_id"] == trace_id and span["span_id"]
    }


def _with_events(
    connection: duckdb.DuckDBPyConnection, spans: list[Row], key: dict[str, str]
) -> list[tuple[Row, list[Row]]]:
    if not rows(connection, f"select 1 as one from {_EVENTS} where trace_id = $trace_id::uuid limit 1", key):  # noqa: S608
        return [(span, []) for span in spans]
    found: dict[tuple[Any, Any], list[Row]] = {}
    for event in rows(
        connection,
        f"select * from {_EVENTS} where trace_id = $trace_id::uuid order by occurred_at",  # noqa: S608
        key,
    ):
        found.setdefault((event["span_id"], event["kind"]), []).append(event)
    return [(span, found.get((span["span_id"], span["kind"]), [])) for span in spans]


def _bar(span: Row, services: dict[str, str], begin: int, end: int, events: list[Row], shown: set[int]) -> Bar:
    whole = end - begin
    left = 100 * (span["at_ns"] - begin) / whole
    width = 100 * (span["duration_ns"] or 0) / whole
    parent = span["parent_span_id"]
    return Bar(
        name=visible(span["span_name"] or "(no name)", 400),
        service=visible(span["service_name"], 160) or "(no name)",
        look=services[span["service_name"]],
        depth=int(span["depth"] or 0),
        left=round(min(max(left, 0), 100), 3),
        width=round(min(max(width, 0), 100 - min(max(left, 0), 100)), 3),
        took=duration((span["duration_ns"] or 0) / 1e9),
        after=duration((span["at_ns"] - begin) / 1e9),
        is_witness=span["span_id"] in shown,
        is_error=span["status_code"] == "error",
        is_orphan=span["is_orphan"],
        message=visible(span["status_message"] or "", 400),
        particulars=(
            ("span", f"{span['span_id']:016x}"),
            ("parent", "none" if parent is None else f"{parent:016x}"),
            ("kind", str(span["kind"] or "")),
            ("status", str(span["status_code"] or "")),
            ("version", visible(span["service_version"] or DASH, 80)),
        ),
        attributes=_pairs(span["attributes"]),
        resource=_pairs(span["resource_attributes"]),
        events=tuple(
            (
                duration((_ns(event["occurred_at"]) - begin) / 1e9) if event["occurred_at"] else "",
                visible(event["event_name"] or "", 160),
                "; ".join(f"{name} = {value}" for name, value in _pairs(event["attributes"])),
            )
            for event in events
        ),
    )


def _ns(moment: Any) -> int:
    """A time without zone, which is UTC, in nanoseconds; to the microsecond, which is what Python keeps."""
    since: timedelta = moment - datetime(1970, 1, 1)
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000


def _pairs(held: str | None) -> tuple[tuple[str, str], ...]:
    """Attributes as names and texts, in order of name."""
    found = json.loads(held) if held else {}
    if not isinstance(found, dict):
        return ()
    return tuple(
        (visible(str(name), 120), _text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
        for name, value in sorted(found.items())
    )


def _text(value: str, limit: int = 2_000) -> str:
    """Text from outside with its lines."""
    cut = f"… ({len(value):,} characters, cut)" if len(value) > limit else ""
    return revealed(value[:limit]) + cut


def _lines(logs: list[Row], spans: list[Row], shown: set[int], begin: int) -> list[Line]:
    names = {span["span_id"]: span["span_name"] for span in spans}
    return [
        Line(
            after=duration((log["at_ns"] - begin) / 1e9),
            severity=_severity(log["severity_number"]),
            service=visible(log["service_name"], 160),
            span_name=visible(names.get(log["span_id"]) or "", 160),
            body=_text(log["body"] or ""),
            is_witness=log["span_id"] in shown,
        )
        for log in logs
    ]


def _severity(number: int | None) -> str:
    return _SEVERITIES[min((number - 1) // 4, 5)] if number else ""


def _folded(bars: list[Bar]) -> list[Stretch]:
    """The rows, with stretches closed in which no witness, no error and nothing above one is; short traces are open."""
    if len(bars) <= FOLD_FROM:
        return [Stretch(tuple(bars), is_folded=False)]
    kept = _matters(bars)
    made: list[Stretch] = []
    begin = 0
    for place in range(1, len(bars) + 1):
        if place == len(bars) or kept[place] != kept[begin]:
            is_folded = not kept[begin] and place - begin >= SHORTEST_FOLD
            made.append(Stretch(tuple(bars[begin:place]), is_folded))
            begin = place
    return made


def _matters(bars: list[Bar]) -> list[bool]:
    """Witnesses, errors, and the spans above them."""
    kept = [bar.is_witness or bar.is_error for bar in bars]
    # From the end: the nearest earlier row of less depth is the parent.
    needed = -1
    for place in reversed(range(len(bars))):
        if kept[place] or bars[place].depth <= needed:
            kept[place] = True
            needed = bars[place].depth - 1
    kept[0] = True
    return kept
