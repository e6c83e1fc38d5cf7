"""Runs the test traces that rules carry through the real SQL in an in-memory engine.

Reading the traces is `rule_language.rule_examples`' business; here is whether the rule says what its writer says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import duckdb

from dagster_project.replay import scratch
from dagster_project.rule_language.catalogue import Catalogue
from dagster_project.rule_language.errors import RuleError
from dagster_project.rule_language.example_records import Example
from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.sql.query import to_sql, verdicts_query
from dagster_project.rule_language.sql.scan import Source


@dataclass(frozen=True)
class TestOutcome:
    """What one test expected and what the rule said, with the scopes behind it."""

    __test__ = False  # not a test class of pytest, whatever its name

    rule_id: str
    test: str
    expected: str
    found: str
    scopes: tuple[tuple[str, str, str | None], ...]
    path: str
    line: int
    column: int
    error: str = ""

    @property
    def passed(self) -> bool:
        return self.expected == self.found

    def as_error(self) -> RuleError:
        """The failure as an error of the rule's file."""
        said = (f"{key}: {verdict}" + (f" ({reason})" if reason else "") for key, verdict, reason in self.scopes)
        scopes = ", ".join(said) or "no scope is listed"
        message = self.error or f"test `{self.test}`: expected {self.expected}, found {self.found}"
        return RuleError(self.path, self.line, self.column, message, "" if self.error else scopes)


def run(catalogue: Catalogue) -> tuple[TestOutcome, ...]:
    """The outcome of every test of every rule, retired ones too, in the order of rules and files."""
    connection = scratch.connect()
    try:
        return tuple(outcome for rule in catalogue for outcome in _outcomes(connection, rule))
    finally:
        connection.close()


def failures(outcomes: tuple[TestOutcome, ...]) -> tuple[RuleError, ...]:
    """The failed tests as errors with file and line."""
    return tuple(outcome.as_error() for outcome in outcomes if not outcome.passed)


def _outcomes(connection: duckdb.DuckDBPyConnection, rule: Rule) -> list[TestOutcome]:
    # Nothing is promoted here: the tests also show that a rule works before dbt made its columns.
    everywhere = Source(columns={"span": frozenset(), "log": frozenset()})
    sql = to_sql(verdicts_query(rule, everywhere))
    outcomes = []
    for example in rule.examples:
        if example.from_ns is not None:
            start = (scratch.MIDNIGHT + timedelta(microseconds=example.from_ns // 1000)).replace(tzinfo=None)
            query = to_sql(verdicts_query(rule, replace(everywhere, start=start)))
        else:
            query = sql
        scratch.fill(connection, example)
        try:
            rows = connection.execute(f"select scope_key, verdict, reason from ({query}) order by all").fetchall()  # noqa: S608
        except duckdb.Error as error:
            outcomes.append(_outcome(rule, example, "error", (), f"test `{example.name}`: {error}"))
            continue
        # As the test calls its traces; the keys of groups stay as they are.
        names = {one.trace for one in example.spans} | {one.trace for one in example.logs}
        named = {str(scratch.trace_uuid(name)): name for name in names if name}
        scopes = tuple((named.get(key, key), verdict, reason) for key, verdict, reason in rows)
        outcomes.append(_outcome(rule, example, _verdict([verdict for _key, verdict, _reason in rows]), scopes))
    return outcomes


def _outcome(
    rule: Rule, example: Example, found: str, scopes: tuple[tuple[str, str, str | None], ...], error: str = ""
) -> TestOutcome:
    return TestOutcome(
        rule.id, example.name, example.verdict, found, scopes, rule.path, example.line, example.column, error
    )


def _verdict(verdicts: list[str]) -> str:
    """One word for the scopes of a test: the worst of them."""
    for verdict in ("violated", "inconclusive", "satisfied"):
        if verdict in verdicts:
            return verdict
    return "not applicable"
