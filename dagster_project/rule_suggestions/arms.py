"""The traces that rules are proposed from: those of an incident, those before it, and those that are kept for the test.

They are copied into memory, so that hundreds of candidates and dozens of rules are counted over what matters alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import duckdb
from sqlglot import exp

from dagster_project.wording import did_you_mean

Part = Literal["train", "test", "other"]

# More are not looked at: proposals need shares, and of 20,000 traces a share is known to within a percent.
MOST_TRACES: Final = 20_000
# Of an arm; traces of many spans would fill the memory long before so many traces do.
MOST_SPANS: Final = 1_000_000
# Fewer say nothing, whatever the difference.
FEWEST_TRACES: Final = 8
_COPIED: Final = (
    "staging.stg_spans", "staging.stg_logs", "staging.stg_span_events", "staging.stg_span_links",
    "intermediate.int_trace_shape", "intermediate.int_traces",
)  # fmt: skip

_ARM: Final = """
    insert into arms
    select trace_id, $arm, $part
    from (
        select
            trace_id, started_at,
            exists (
                select 1 from intermediate.int_incident_windows as incident
                where incident.window_from <= traces.started_at and incident.window_until >= traces.started_at
            ) as is_of_incident
        from intermediate.int_traces as traces
        where started_at >= $from and started_at < $until
    )
    where
        ($arm = 'during' or not is_of_incident)
        and trace_id not in (select trace_id from arms where part in ('train', $part))
    order by md5(trace_id::varchar)
    limit $most
"""


class IncidentNotFound(ValueError):
    """There is no such incident with telemetry; the message says which come near."""


class TooFewTraces(ValueError):
    """The incident, or the time before it, has too few traces to compare."""


@dataclass(frozen=True)
class Incident:
    """An incident with the window in which its traces are."""

    id: str
    title: str
    system: str
    service: str | None
    team: str | None
    category: str | None
    window_from: datetime
    window_until: datetime


@dataclass(frozen=True)
class Arms:
    """Which traces are compared.

    Parameters
    ----------
    other
        The nearest other incident of the same kind, with traces of its own to test on; None: there is none.
    sizes
        Traces during and before, by part: train, test (a third of each, kept aside), other.
    """

    incident: Incident
    before_said: str
    other: Incident | None
    sizes: dict[Part, tuple[int, int]]

    def said(self, part: Part) -> str:
        """A part in words."""
        if part == "other" and self.other is not None:
            return f"{self.other.id}, an incident of the same kind"
        return f"a third of the traces of {self.incident.id}, kept aside"


def incident(connection: duckdb.DuckDBPyConnection, incident_id: str) -> Incident:
    """The incident of that id.

    Raises
    ------
    IncidentNotFound
        There is none, or no telemetry was received around it.
    """
    known = _incidents(connection)
    for one in known:
        if one.id == incident_id:
            return one
    hint = did_you_mean(incident_id, (one.id for one in known)) or "`hindcast nightly` shows the incidents"
    raise IncidentNotFound(f"there is no incident `{incident_id}` with telemetry; {hint}")


@contextmanager
def compared(connection: duckdb.DuckDBPyConnection, of: Incident, before: timedelta) -> Iterator[Arms]:
    """Within the block the connection has the traces of both arms alone, and their table `arms` (trace_id, arm, part).

    `arm` is during or before. Of the incident's own traces two thirds are to train on and the others are kept for the
    test; those of another incident of the same kind are the part other. A trace that is trained on is in no other part.

    Raises
    ------
    TooFewTraces
        There is nothing to compare.
    """
    connection.execute("create or replace temp table arms (trace_id uuid, arm varchar, part varchar)")
    said = _fill(connection, of, before, "train")
    # Not by the engine's own hash, which may change with its version.
    connection.execute("update arms set part = 'test' where ('0x' || md5(trace_id::varchar)[:8])::ubigint % 3 = 0")
    parts: list[Part] = ["train", "test"]
    sizes = {part: _sizes(connection, part) for part in parts}
    if min(size for pair in sizes.values() for size in pair) < FEWEST_TRACES:
        during, earlier = (sum(pair[place] for pair in sizes.values()) for place in (0, 1))
        raise TooFewTraces(
            f"{of.id} has {during:,} traces, and there are {earlier:,} before it ({said}): too few to compare;"
            " a longer --before may find more"
        )
    other = _of_same_kind(connection, of)
    if other is not None:
        _fill(connection, other, before, "other")
        sizes["other"] = _sizes(connection, "other")
        if min(sizes["other"]) < FEWEST_TRACES:
            other = None
            del sizes["other"]
    with _copied(connection):
        yield Arms(of, said, other, sizes)


def _incidents(connection: duckdb.DuckDBPyConnection) -> list[Incident]:
    rows = connection.execute("""
        select
            incident_id, coalesce(title, incident_id), system, service_name, team, category, window_from, window_until
        from marts.fct_incidents
        inner join intermediate.int_incident_windows using (incident_id, system)
        order by window_from, incident_id
    """).fetchall()
    return [Incident(*row) for row in rows]


def _of_same_kind(connection: duckdb.DuckDBPyConnection, of: Incident) -> Incident | None:
    """The nearest other incident of the same category, or of the same service when the category is not said."""
    if of.category is None and of.service is None:
        return None
    alike = [
        one
        for one in _incidents(connection)
        if one.id != of.id
        and (one.category == of.category if of.category is not None else one.service == of.service)
        and (one.window_until < of.window_from or one.window_from > of.window_until)
    ]
    return min(alike, key=lambda one: abs(one.window_from - of.window_from), default=None)


def _fill(connection: duckdb.DuckDBPyConnection, of: Incident, before: timedelta, part: Part) -> str:
    """Add both arms of an incident; says where the traces before it were found."""
    bounds = {"during": (of.window_from, of.window_until), "before": (of.window_from - before, of.window_from)}
    for arm, (start, end) in bounds.items():
        connection.execute(_ARM, {"arm": arm, "part": part, "from": start, "until": end, "most": MOST_TRACES})
    _cap(connection, part)
    hours = before / timedelta(hours=1)
    said = f"the {hours:g} hours before it"
    if _sizes(connection, part)[1] >= FEWEST_TRACES:
        return said
    connection.execute(
        "insert into arms select trace_id, 'before', ? from intermediate.int_incident_traces"
        " where incident_id = ? and period = 'baseline'"
        " and trace_id not in (select trace_id from arms where part in ('train', ?))"
        " order by md5(trace_id::varchar) limit ?",
        [part, of.id, part, MOST_TRACES],
    )
    _cap(connection, part)
    return f"{said}, and the quiet traces of its day, for those were too few"


def _cap(connection: duckdb.DuckDBPyConnection, part: Part) -> None:
    """Leave out the traces of an arm, in the order that they were chosen in, behind which there are spans enough."""
    connection.execute(
        """
        delete from arms
        where part = $part and trace_id in (
            select trace_id
            from (
                select trace_id, sum(span_count) over (
                    partition by arm order by md5(trace_id::varchar)
                    rows between unbounded preceding and 1 preceding
                ) as before_it
                from arms inner join intermediate.int_traces using (trace_id)
                where part = $part
            )
            where before_it >= $most
        )
        """,
        {"part": part, "most": MOST_SPANS},
    )


def _sizes(connection: duckdb.DuckDBPyConnection, part: Part) -> tuple[int, int]:
    ((during, before),) = connection.execute(
        "select count(*) filter (arm = 'during'), count(*) filter (arm = 'before') from arms where part = ?", [part]
    ).fetchall()
    return during, before


@contextmanager
def _copied(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """The chosen traces in a database in memory, under the names of the tables that they are copied from."""
    ((usual,),) = connection.execute("select current_database()").fetchall()
    connection.execute("attach ':memory:' as chosen")
    try:
        connection.execute("create schema chosen.staging; create schema chosen.intermediate")
        connection.execute("create table chosen.main.arms as from arms; drop table temp.arms")
        for table in _COPIED:  # names of this module
            query = f"select * from {table} where trace_id in (select trace_id from chosen.main.arms)"  # noqa: S608
            connection.execute(f"create table chosen.{table} as {query}")
        connection.execute("use chosen")
        yield
    finally:
        connection.execute("use " + exp.to_identifier(usual, quoted=True).sql("duckdb"))
        connection.execute("detach chosen")
