"""A rule → one SELECT over the staged tables that gives its verdicts: candidates, items, groups, counters, verdict.

The query is a syntax tree of sqlglot; nothing is pasted. What differs between an ad-hoc question and a dbt model (names
of tables, which traces) comes in through `Source`. Parts, in order: `scan`, `grouping`, `counting`,
`listing`, `scope`, `witness`, `details`.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field

from sqlglot import exp

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.planning.planner import Plan
from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.sql.counting import CountingSql, named_by
from dagster_project.rule_language.sql.details import DetailsSql
from dagster_project.rule_language.sql.grouping import HOUR, SESSION, GroupingSql, hour_start
from dagster_project.rule_language.sql.listing import SCOPE, ListingSql
from dagster_project.rule_language.sql.nodes import (
    aliased,
    call,
    cast,
    column,
    every_of,
    joined,
    same,
    select,
    table,
    text,
)
from dagster_project.rule_language.sql.quantity import LOST
from dagster_project.rule_language.sql.scan import Scan, Source
from dagster_project.rule_language.sql.scope import ScopeSql, empty_list
from dagster_project.rule_language.sql.witness import ORDERED_LIST, SPAN_LIST, WitnessSql

RESULT_TYPES = {
    "rule_id": "VARCHAR",
    "meaning_hash": "VARCHAR",
    "scope_kind": "VARCHAR",
    "scope_key": "VARCHAR",
    "trace_ids": "UUID[]",
    "verdict": "VARCHAR",
    "reason": "VARCHAR",
    "first_span_at": "TIMESTAMP_NS",
    "last_span_at": "TIMESTAMP_NS",
    "started_on": "DATE",
    "service_names": "VARCHAR[]",
    "service_versions": "VARCHAR[]",
    "witness": SPAN_LIST,
    "reported": "JSON",
    "violation_id": "VARCHAR",
}
"""The columns of a verdict, in order, with their types."""


def verdicts_query(rule: Rule, source: Source | None = None) -> exp.Select:
    """The verdicts of one rule, a row a scope whose `when` is true or unknown; columns as in `RESULT_TYPES`."""
    return _Compiler(Scan(rule, source or Source())).query()


def null_keys_query(rule: Rule, source: Source | None = None) -> exp.Select:
    """How many items that the rule looks at lack a group key, and so are in no group: one row, one column."""
    return Scan(rule, source or Source()).null_keys()


def unkeyed_query(rule: Rule, source: Source | None = None) -> exp.Select:
    """The items that `null_keys_query` counts: `trace_id`, and `day` of a log that has no trace."""
    return Scan(rule, source or Source()).unkeyed()


def lost_query(rule: Rule, source: Source | None = None) -> exp.Expression:
    """The keys that losses touch, with the traces and times of the losses: what verdicts over groups call `lost`."""
    scan = Scan(rule, source or Source())
    return after(scan.related(), scan.lost(), scan.source.given)


def candidates_query(rule: Rule, source: Source | None = None) -> exp.Expression:
    """The scopes that have an item that `when` needs: what verdicts call `candidates`."""
    scan = Scan(rule, source or Source())
    lost = [("lost", scan.lost())] if scan.grouped and scan.can_lose else []
    return after([*scan.related(), *lost], scan.candidates(), scan.source.given)


def after(
    parts: Iterable[tuple[str, exp.Expression]], query: exp.Expression, given: Set[str] = frozenset()
) -> exp.Expression:
    """A query with the named parts that it reads, but for those that are tables already."""
    if not isinstance(query, exp.Query):
        raise TypeError(f"{type(query).__name__} is no query")
    for name, part in parts:
        if name not in given:
            # DuckDB 2.0 waits for ever where it puts this part into the next one and nothing is related to anything.
            kept = True if name == "shown" else None
            query = query.with_(exp.to_identifier(name, quoted=True), as_=part, materialized=kept, copy=False)
    return query


def to_sql(query: exp.Expression, dialect: str = "duckdb", *, pretty: bool = True) -> str:
    """The text of a query for an engine."""
    return query.sql(dialect=dialect, pretty=pretty, identify=True, comments=False, copy=False)


@dataclass
class _Compiler:
    """One rule over one source."""

    scan: Scan
    ctes: list[tuple[str, exp.Expression]] = field(default_factory=list)

    @property
    def rule(self) -> Rule:
        return self.scan.rule

    @property
    def source(self) -> Source:
        return self.scan.source

    @property
    def made(self) -> Plan:
        return self.scan.made

    @property
    def scope(self) -> list[str]:
        """The columns that name a scope."""
        if not self.scan.grouped:
            return ["trace_id"]
        return [*self.scan.keys, HOUR if self.rule.judgement.scope is model.Scope.HOUR else SESSION]

    def query(self) -> exp.Select:
        self.ctes += self.scan.related()
        if self.scan.grouped and self.scan.can_lose:
            self.ctes.append(("lost", self.scan.lost()))
        if self.made.needs_candidates:
            self.ctes.append(("candidates", self.scan.candidates()))
        self.ctes += self._items()
        counting = CountingSql(self.scan, self.scope)
        self.ctes += counting.parts()
        self.ctes += ListingSql(self.scan, self.scope, counting.names).parts()
        self.ctes.append(("possible", self._possible()))
        self.ctes.append(("judged", self._judged()))
        result = self._result()
        after(self.ctes, result, self.source.given)
        return result

    def _items(self) -> list[tuple[str, exp.Expression]]:
        """The items of all scopes, each with the columns that name its scope."""
        if not self.scan.grouped:
            return [("items", self.scan.items())]
        unsplit = ("unsplit", self.scan.items())
        grouping = GroupingSql(self.scan.keys, self.rule.judgement.gap_ns)
        if self.rule.judgement.scope is model.Scope.HOUR:
            return [unsplit, ("items", grouping.hours())]
        return [unsplit, ("marked", grouping.marked()), ("items", grouping.sessions())]

    # Judgement.

    def _possible(self) -> exp.Expression:
        """What `when` and `bad` can be, for every scope in which the rule may apply."""
        compiled = ScopeSql(self.made, SCOPE)
        when, bad = compiled.possible(self.rule.judgement.when), compiled.possible(self.rule.judgement.bad)
        everything = exp.Column(this=exp.Star(), table=exp.to_identifier(SCOPE, quoted=True))
        columns = [
            everything,
            aliased(when.false, "may_not_apply"),
            aliased(bad.true, "may_be_bad"),
            aliased(bad.false, "may_be_good"),
        ]
        return select(*columns).from_(table("scopes", SCOPE), copy=False).where(when.true, copy=False)

    def _judged(self) -> exp.Expression:
        applies = exp.Not(this=column("may_not_apply", SCOPE))
        violated = every_of([applies, exp.Not(this=column("may_be_good", SCOPE))])
        satisfied = every_of([applies.copy(), exp.Not(this=column("may_be_bad", SCOPE))])
        verdict = (
            exp.Case()
            .when(violated, text("violated"), copy=False)
            .when(satisfied, text("satisfied"), copy=False)
            .else_(text("inconclusive"), copy=False)
        )
        everything = exp.Column(this=exp.Star(), table=exp.to_identifier(SCOPE, quoted=True))
        return select(everything, aliased(verdict, "verdict")).from_(table("possible", SCOPE), copy=False)

    # The result: witness, reported values, identity.

    def _result(self) -> exp.Select:
        full = self.source.satisfied_in_full
        details = DetailsSql(self.made, self.scope, [] if full else named_by(self.scan))
        witness = WitnessSql(self.made, ScopeSql(self.made, SCOPE), "r")
        shown = witness.of_violation()
        self.ctes.append(("shown", details.shown(witness)))
        self.ctes.append(("details", details.details(witness)))
        rule, scope_key = self.rule, self._scope_key()
        is_violated = exp.EQ(this=column("verdict", SCOPE), expression=text("violated"))
        is_satisfied = exp.EQ(this=column("verdict", SCOPE), expression=text("satisfied"))
        ordered = cast(call("list_sort", cast(shown, ORDERED_LIST)), SPAN_LIST)
        first_item = column("first_item", SCOPE if full else "r")
        names = {
            "scope_key": scope_key,
            "trace_ids": self._trace_ids(),
            "violation_id": self._violation_id(scope_key, first_item),
        }
        if not full:
            names = {
                name: value
                if name == "trace_ids" and not self.scan.grouped
                else exp.Case().when(exp.Not(this=exp.Paren(this=is_satisfied)), value, copy=False)
                for name, value in names.items()
            }
        values: dict[str, exp.Expression] = {
            "rule_id": text(rule.id),
            "meaning_hash": text(rule.meaning_hash),
            "scope_kind": text(rule.scope_kind),
            "scope_key": names["scope_key"],
            "trace_ids": names["trace_ids"],
            "verdict": column("verdict", SCOPE),
            "reason": self._reason(rule.judgement.clause),
            "first_span_at": column("first_at", SCOPE),
            "last_span_at": column("last_at", SCOPE),
            "started_on": column("started_on", SCOPE),
            "service_names": call("coalesce", column("service_names", "r"), empty_list("VARCHAR[]")),
            "service_versions": call("coalesce", column("service_versions", "r"), empty_list("VARCHAR[]")),
            "witness": exp.Case()
            .when(is_violated, _each_once(ordered), copy=False)
            .else_(empty_list(SPAN_LIST), copy=False),
            "reported": exp.Case().when(is_satisfied, text("{}"), copy=False).else_(details.reported(), copy=False),
            "violation_id": names["violation_id"],
        }
        query = select(*(aliased(cast(value, RESULT_TYPES[name]), name) for name, value in values.items()))
        query = query.from_(table("judged", SCOPE), copy=False)
        return joined(query, "LEFT", table("details", "r"), same(SCOPE, "r", *self.scope))

    def _scope_key(self) -> exp.Expression:
        if not self.scan.grouped:
            return cast(column("trace_id", SCOPE), "VARCHAR")
        parts: list[exp.Expression] = [column(name, SCOPE) for name in self.scan.keys]
        if self.rule.judgement.scope is model.Scope.HOUR:
            hour = cast(call("make_timestamp_ns", hour_start(column(HOUR, SCOPE))), "TIMESTAMP")
            parts.append(call("strftime", hour, text('"%Y-%m-%dT%H:00:00Z"')))
        elif len(parts) == 1:
            return parts[0]
        inner = call("concat_ws", text(","), *parts)
        return call("concat", text("["), inner, text("]"))

    def _reason(self, clause: str) -> exp.Expression:
        words = {
            "always": "always is false",
            "never": "never is true",
            "always or never": "always is false or never is true",
            "detect": "detect is true",
        }
        verdict = column("verdict", SCOPE)
        undecided = exp.EQ(this=verdict, expression=text("inconclusive"))
        return (
            exp.Case()
            .when(exp.EQ(this=verdict.copy(), expression=text("violated")), text(words[clause]), copy=False)
            .when(exp.And(this=undecided, expression=column(LOST, SCOPE)), column("loss_reason", SCOPE), copy=False)
            .when(undecided.copy(), ScopeSql(self.made, SCOPE).why_undecided(), copy=False)
        )

    def _trace_ids(self) -> exp.Expression:
        if not self.scan.grouped:
            return exp.Array(expressions=[column("trace_id", SCOPE)])
        found = column("trace_ids", SCOPE)
        return found if self.source.satisfied_in_full else call("coalesce", found, column("trace_ids", "r"))

    def _violation_id(self, scope_key: exp.Expression, first_item: exp.Expression) -> exp.Expression:
        """A hash of rule, meaning, scope and first span: the same violation has the same name in every replay."""
        parts = [
            exp.Dot(this=first_item.copy(), expression=exp.to_identifier(name)) for name in ("trace_id", "span_id")
        ]
        first = [call("coalesce", cast(part, "VARCHAR"), text("")) for part in parts]
        identity = call(
            "concat_ws", text("|"), text(self.rule.id), text(self.rule.meaning_hash), scope_key.copy(), *first
        )
        return exp.SHA2(this=identity, length=exp.Literal.number(256))


def _each_once(spans: exp.Expression) -> exp.Expression:
    """The spans of a list without repeats, in order: a span and a log record of it are one."""
    here = exp.EQ(this=call("list_position", spans.copy(), exp.Var(this="span")), expression=exp.Var(this="place"))
    first = exp.Lambda(this=here, expressions=[exp.to_identifier("span"), exp.to_identifier("place")])
    return call("list_filter", spans, first)
