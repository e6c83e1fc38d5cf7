"""Rules that hit a limit of the engine: found one by one after a plan group failed, left out, and told.

A plan group is one statement, so one rule that takes too much memory or time fails all. What dbt does with those
that are left out, the generated models say (`rules_taken_out`).
"""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

from dagster_project.rule_language.catalogue import Catalogue
from dagster_project.rule_language.dbt.models import plan_groups
from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.sql.query import to_sql, verdicts_query
from dagster_project.transformation.time_limit import interrupted_after, seconds_a_rule

# What a plan group that hit a limit says. Anything else is a defect, and fails the night.
TIME_LIMITS = ("INTERRUPT", "Interrupted")
LIMITS = ("Out of Memory", *TIME_LIMITS, "temp directory", "max_temp_directory_size")


def is_a_limit(message: str) -> bool:
    """Whether an error of the engine says that a limit was hit."""
    return any(limit in message for limit in LIMITS)


def is_of_time(message: str) -> bool:
    """Whether an error of the engine says that a statement took too long."""
    return any(limit in message for limit in TIME_LIMITS)


def begin(connection: duckdb.DuckDBPyConnection) -> None:
    """Give every rule another chance: what has arrived since may have changed what it takes."""
    connection.execute("delete from audit.rules_taken_out")


def take_out(
    connection: duckdb.DuckDBPyConnection,
    catalogue: Catalogue,
    failed_models: Iterable[str],
    seconds: float | None = None,
) -> dict[str, str]:
    """Judge each rule of the plan groups that failed alone, and take out those that hit a limit even so.

    Without `seconds`, each may run as long as the settings say.

    Returns
    -------
    dict
        Rule id → what the engine said; empty when every rule can be judged alone.
    """
    groups = plan_groups(catalogue)
    causes = {}
    for name in failed_models:
        for rule in groups.get(name, []):
            if cause := _judged_alone(connection, rule, seconds or seconds_a_rule()):
                causes[rule.id] = cause
                connection.execute(
                    "insert into audit.rules_taken_out values (?, ?, ?, now()::timestamp)",
                    [rule.id, rule.meaning_hash, cause],
                )
    return causes


def seconds_a_group(catalogue: Catalogue) -> float:
    """How long a plan group may run when each of its rules is known to end in time: they may need it one by one."""
    return seconds_a_rule() * max(map(len, plan_groups(catalogue).values()), default=1)


def taken_out(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """The rules that are left out now, and why."""
    return connection.execute("select rule_id, cause from audit.rules_taken_out order by rule_id").fetchall()


def _judged_alone(connection: duckdb.DuckDBPyConnection, rule: Rule, seconds: float) -> str | None:
    """What the engine says when it hits a limit with this rule; None when it can judge it."""
    query = to_sql(verdicts_query(rule), pretty=False)
    try:
        with interrupted_after(connection, seconds):
            connection.execute(f"create or replace temp table judged_alone as {query}")
            connection.execute("drop table judged_alone")
    except (duckdb.OutOfMemoryException, duckdb.InterruptException, duckdb.IOException) as error:
        said = (
            f"more than {seconds:g} s" if isinstance(error, duckdb.InterruptException) else str(error).splitlines()[0]
        )
        return f"it hit a limit of the engine: {said}"
    return None
