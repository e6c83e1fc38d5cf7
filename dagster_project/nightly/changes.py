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

# What alerts is compared; what is suppressed or of a rule in shadow is counted apart. A violation is gone when it
# stands no more, not when somebody suppressed it; one whose suppression has ended is new again.
_LABELLED = """
    create or replace temp table violation_changes as
    with alerting_before as (from before_night where standing = 'alerting'),
    alerting_after as (from after_night where standing = 'alerting')
    select 'new' as change, a.* from alerting_after as a anti join alerting_before as b using (violation_id)
    union all
    select 'ongoing' as change, a.* from alerting_after as a semi join alerting_before as b using (violation_id)
    union all
    select 'gone' as change, b.* from alerting_before as b anti join after_night as a using (violation_id)
    union all
    select standing as change, a.* from after_night as a where standing <> 'alerting'
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
# Scopes that are inconclusive and were not before; a verdict that only has more spans now was so before.
_INCONCLUSIVE = """
    create or replace temp table newly_inconclusive as
    with of_night as (from audit.verdict_history where replay_id > $replay_id and verdict = 'inconclusive')
    select appeared.violation_id, appeared.rule_id, rules.title, rules.severity, appeared.scope_key,
        appeared.first_span_at, appeared.service_names
    from (from of_night where change = 'appeared') as appeared
    anti join (from of_night where change = 'superseded') as known
        on appeared.rule_id = known.rule_id and appeared.scope_key = known.scope_key
    left join violations.rule_catalogue as rules on appeared.rule_id = rules.rule_id
"""
_INCONCLUSIVE_COUNTED = "select rule_id, count(*) from newly_inconclusive group by all order by 2 desc, 1"
_INCONCLUSIVE_LISTED = """
    select violation_id, rule_id, coalesce(title, rule_id), coalesce(severity, ''), scope_key,
        first_span_at::timestamp, service_names
    from newly_inconclusive
    order by first_span_at desc, violation_id
    limit $listed
"""
_COLUMNS = "violation_id, rule_id, title, severity, scope_key, first_span_at, service_names"
CHANGES = ("new", "ongoing", "gone", "suppressed", "shadow")


def violation_changes(after: Generation, before: Generation | None) -> dict[str, ViolationChange]:
    """The violations that are `new`, `ongoing` and `gone` in generation `after` against generation `before`.

    Without a generation before, every violation that alerts is new. What is suppressed, and what rules in shadow find,
    alerts nobody: those that stand are counted as `suppressed` and `shadow`.
    """
    with open_generation(after) as connection:
        _labelled(connection.table(VIOLATIONS)).create_view("after_night")
        earlier = [part for part in before.parts if part.table == VIOLATIONS] if before else []
        if before and earlier:
            files = [str(before.path / part.file) for part in earlier]
            _labelled(connection.read_parquet(files)).create_view("before_night")
        else:
            connection.execute("create temp view before_night as from after_night limit 0")
        return _changes(connection)


def _labelled(violations: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """The columns that are told, and whether a violation alerts; generations of older versions know no suppressions."""
    suppressed = "is_suppressed" if "is_suppressed" in violations.columns else "false"
    standing = f"case when {suppressed} then 'suppressed' when status <> 'active' then 'shadow' else 'alerting' end"
    return violations.project(f"{_COLUMNS}, {standing} as standing")


def expired_suppressions(connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """What has expired and not been removed, a sentence each: what it suppressed counts again."""
    rows = connection.execute(
        "select suppression_id, coalesce(violation_id, concat_ws(':', rule_id, scope_key)), owner, until"
        " from audit.suppressions where not is_in_force order by suppression_id"
    ).fetchall()
    return tuple(
        f"suppression {number} of {target} by {owner} expired on {until}: what it suppressed counts again"
        for number, target, owner, until in rows
    )


def newly_inconclusive(connection: duckdb.DuckDBPyConnection, replay_id: int) -> ViolationChange:
    """The scopes that replays after `replay_id` found inconclusive, and none before them: what nobody can tell now."""
    connection.execute(_INCONCLUSIVE, {"replay_id": replay_id})
    by_rule = connection.execute(_INCONCLUSIVE_COUNTED).fetchall()
    listed = connection.execute(_INCONCLUSIVE_LISTED, {"listed": LISTED}).fetchall()
    connection.execute("drop table temp.newly_inconclusive")
    return ViolationChange(sum(n for _, n in by_rule), tuple(by_rule), tuple(_line(*line) for line in listed))


def newest_replay(connection: duckdb.DuckDBPyConnection) -> int:
    """The number of the last finished replay; 0 before the first."""
    ((replay_id,),) = connection.execute("select coalesce(max(replay_id), 0) from audit.replays").fetchall()
    return int(replay_id)


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
        for change in CHANGES
    }


def _line(
    violation_id: str, rule_id: str, title: str, severity: str, scope: str, first: Any, services: Any
) -> ViolationLine:
    return ViolationLine(violation_id, rule_id, title, severity, scope, first, tuple(services or ()))
