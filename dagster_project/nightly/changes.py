"""What a night changed, read from the warehouse and the generation before: loads, refusals, violations new and gone.

SQL does the comparing; nothing here runs a night (`run.py`) or renders a page (the site).
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import duckdb

from dagster_project.facts import LoadedFile, ReasonCount, ViolationChange, ViolationLine
from dagster_project.warehouse.generations import Generation, open_generation

VIOLATIONS = "violations.fct_violations"
# A morning page lists what one can read over coffee; the totals are always given, the rest is in the warehouse.
LISTED = 50

_LABELLED = """
    create or replace temp table violation_changes as
    select 'new' as change, a.* from after_night as a anti join before_night as b using (violation_id)
    union all
    select 'ongoing' as change, a.* from after_night as a semi join before_night as b using (violation_id)
    union all
    select 'gone' as change, b.* from before_night as b anti join after_night as a using (violation_id)
"""
_COUNTED = """
    select change, rule_id, count(*) as violations
    from violation_changes
    group by change, rule_id
    order by change, violations desc, rule_id
"""
_LISTED = """
    select
        change, violation_id, rule_id, title, severity, scope_key, first_span_at::timestamp as first_at, service_names
    from violation_changes
    qualify row_number() over (partition by change order by first_span_at desc, violation_id) <= $listed
    order by change, first_span_at desc, violation_id
"""
_ALERTS = "status = 'active'"
_COLUMNS = "violation_id, rule_id, title, severity, scope_key, first_span_at, service_names"


def violation_changes(after: Generation, before: Generation | None) -> dict[str, ViolationChange]:
    """The violations that are `new`, `ongoing` and `gone` in generation `after` against generation `before`.

    Without a generation before, every violation is new. Rules in shadow are judged and alert nobody: theirs are not
    among them.
    """
    with open_generation(after) as connection:
        connection.table(VIOLATIONS).filter(_ALERTS).project(_COLUMNS).create_view("after_night")
        earlier = [part for part in before.parts if part.table == VIOLATIONS] if before else []
        if before and earlier:
            files = [str(before.path / part.file) for part in earlier]
            connection.read_parquet(files).filter(_ALERTS).project(_COLUMNS).create_view("before_night")
        else:
            connection.execute("create temp view before_night as from after_night limit 0")
        return _changes(connection)


def loads_since(connection: duckdb.DuckDBPyConnection, load_id: int) -> tuple[LoadedFile, ...]:
    """The files that the ledger has taken in after load `load_id`."""
    rows = connection.execute(
        "select source, format, path, status, records_landed, records_rejected,"
        " coalesce(message, 'took the place of load ' || replaces || ': grown, or read in another way')"
        " from audit.loads where load_id > ? order by load_id",
        [load_id],
    ).fetchall()
    return tuple(LoadedFile(*row) for row in rows)


def refused_since(connection: duckdb.DuckDBPyConnection, load_id: int) -> tuple[ReasonCount, ...]:
    """How many records were refused for each reason after load `load_id`."""
    rows = connection.execute(
        "select reason, count(*) from audit.quarantine where load_id > ? group by all order by 2 desc, 1", [load_id]
    ).fetchall()
    return tuple(ReasonCount(*row) for row in rows)


def newest_load(connection: duckdb.DuckDBPyConnection) -> int:
    """The highest load id of the ledger; 0 before the first load."""
    ((load_id,),) = connection.execute("select coalesce(max(load_id), 0) from audit.loads").fetchall()
    return int(load_id)


def _changes(connection: duckdb.DuckDBPyConnection) -> dict[str, ViolationChange]:
    connection.execute(_LABELLED)
    by_rule: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for change, rule_id, violations in connection.execute(_COUNTED).fetchall():
        by_rule[change].append((rule_id, violations))
    listed: dict[str, list[ViolationLine]] = defaultdict(list)
    for change, *line in connection.execute(_LISTED, {"listed": LISTED}).fetchall():
        listed[change].append(_line(*line))
    return {
        change: ViolationChange(sum(n for _, n in by_rule[change]), tuple(by_rule[change]), tuple(listed[change]))
        for change in ("new", "ongoing", "gone")
    }


def _line(
    violation_id: str, rule_id: str, title: str, severity: str, scope: str, first: Any, services: Any
) -> ViolationLine:
    return ViolationLine(violation_id, rule_id, title, severity, scope, first, tuple(services or ()))
