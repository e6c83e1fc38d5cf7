"""A rule → one SELECT over the staged tables that gives its verdicts: candidates, items, groups, counters, verdict.

The query is a syntax tree of sqlglot; nothing is pasted. What differs between an ad-hoc question and a dbt model (names
of tables, which traces) comes in through `Source`. Parts: `scan_sql`, `item_sql`, `scope_sql`, `witness_sql`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from dagster_project.rule_language import model
from dagster_project.rule_language.details_sql import DetailsSql
from dagster_project.rule_language.planner import Plan
from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.scan_sql import Scan, Source
from dagster_project.rule_language.scope_sql import LOST, ScopeSql, empty_list, is_two_or_more_enough
from dagster_project.rule_language.sql_nodes import (
    ITEM,
    aliased,
    call,
    cast,
    column,
    every_of,
    filtered,
    is_true,
    item_row,
    joined,
    same,
    select,
    sorted_set,
    table,
    text,
    timestamp,
    union_all,
)
from dagster_project.rule_language.witness_sql import ORDERED_LIST, SPAN_LIST, WitnessSql

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

SCOPE = "a"


def verdicts_query(rule: Rule, source: Source | None = None) -> exp.Select:
    """The verdicts of one rule, a row a scope whose `when` is true or unknown; columns as in `RESULT_TYPES`."""
    return _Compiler(Scan(rule, source or Source())).query()


def null_keys_query(rule: Rule, source: Source | None = None) -> exp.Select:
    """How many items that the rule looks at lack a group key, and so are in no group: one row, one column."""
    return Scan(rule, source or Source()).null_keys()


def to_sql(query: exp.Expression, dialect: str = "duckdb", *, pretty: bool = True) -> str:
    """The text of a query for an engine."""
    return query.sql(dialect=dialect, pretty=pretty, identify=True, comments=False)


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
        return [*self.scan.keys, "session"] if self.scan.grouped else ["trace_id"]

    def query(self) -> exp.Select:
        if self.scan.grouped and self.scan.can_lose:
            self.ctes.append(("lost", self.scan.lost()))
        if self.made.needs_candidates:
            self.ctes.append(("candidates", self.scan.candidates()))
        if self.scan.grouped:
            self.ctes.append(("unsplit", self.scan.items()))
            self.ctes.append(("marked", self._marked()))
            self.ctes.append(("items", self._sessions()))
        else:
            self.ctes.append(("items", self.scan.items()))
        self.ctes.append(("counters", self._counters()))
        self.ctes.append(("scopes", self._group_scopes() if self.scan.grouped else self._trace_scopes()))
        self.ctes.append(("possible", self._possible()))
        self.ctes.append(("judged", self._judged()))
        result = self._result()
        for name, query in self.ctes:
            result = result.with_(exp.to_identifier(name, quoted=True), as_=query, copy=False)
        return result

    # Groups: items of one key, at most one gap apart.

    def _marked(self) -> exp.Expression:
        """Mark each item that comes later than one gap after the one before it."""
        at = call("epoch_ns", column("at", "q"))
        before = self._window(call("lag", at))
        apart = exp.Paren(this=exp.Sub(this=at.copy(), expression=before))
        later = exp.GT(this=apart, expression=exp.Literal.number(self.rule.judgement.gap_ns))
        is_new = exp.Case().when(later, exp.Literal.number(1), copy=False).else_(exp.Literal.number(0), copy=False)
        return select(
            exp.Column(this=exp.Star(), table=exp.to_identifier("q", quoted=True)), aliased(is_new, "opens")
        ).from_(table("unsplit", "q"), copy=False)

    def _sessions(self) -> exp.Expression:
        """Number the groups of a key. The default frame takes items of one instant together, as it must."""
        number = self._window(exp.Sum(this=column("opens", "q")))
        return select(
            exp.Column(this=exp.Star(), table=exp.to_identifier("q", quoted=True)), aliased(number, "session")
        ).from_(table("marked", "q"), copy=False)

    def _window(self, function: exp.Expression) -> exp.Expression:
        order = exp.Order(expressions=[exp.Ordered(this=column("at", "q"), nulls_first=False)])
        return exp.Window(this=function, partition_by=[column(name, "q") for name in self.scan.keys], order=order)

    # Scopes: counters of what is sure, and whether something was lost.

    def _counters(self) -> exp.Expression:
        columns: list[exp.Expression] = [column(name, ITEM) for name in self.scope]
        columns += [aliased(_number_of(f"t{number}"), f"n{number}") for number in range(len(self.made.sets))]
        columns += [aliased(_number_of(f"x{number}"), f"x{number}") for number in range(len(self.made.everies))]
        columns += [aliased(self._values(one), f"d{number}") for number, one in enumerate(self.made.distincts)]
        columns += [
            aliased(exp.Min(this=item_row(ITEM)), "first_item"),
            aliased(exp.Max(this=column("at", ITEM)), "last_at"),
        ]
        if self.scan.grouped:
            columns.append(aliased(sorted_set("trace_id"), "trace_ids"))
        grouping = [column(name, ITEM) for name in self.scope]
        return select(*columns).from_(table("items", ITEM), copy=False).group_by(*grouping, copy=False)

    def _values(self, one: model.Distinct) -> exp.Expression:
        """How many values; where two are as good as many, the smallest and the largest tell."""
        value = column(f"f{self.made.field_of(one.field)}", ITEM)
        matches = column(f"t{self.made.set_of(one.items)}", ITEM)
        if not is_two_or_more_enough(self.made, one):
            return filtered(exp.Count(this=exp.Distinct(expressions=[value])), matches)
        low, high = (filtered(kind(this=value.copy()), matches.copy()) for kind in (exp.Min, exp.Max))
        none = exp.Is(this=low, expression=exp.null())
        same = exp.EQ(this=low.copy(), expression=high)
        return (
            exp.Case()
            .when(none, exp.Literal.number(0), copy=False)
            .when(same, exp.Literal.number(1), copy=False)
            .else_(exp.Literal.number(2), copy=False)
        )

    def _counter_names(self) -> list[str]:
        made = self.made
        return [
            *(f"n{number}" for number in range(len(made.sets))),
            *(f"x{number}" for number in range(len(made.everies))),
            *(f"d{number}" for number in range(len(made.distincts))),
        ]

    def _trace_scopes(self) -> exp.Expression:
        """Every trace, with its counters; a trace of which only logs came has lost its spans."""
        trace_id = call("coalesce", column("trace_id", SCOPE), column("trace_id", "p"))
        first_at = call(
            "coalesce",
            exp.Dot(this=column("first_item", SCOPE), expression=exp.to_identifier("at")),
            column("started_at", "p"),
        )
        belongs_at = call("coalesce", column("started_at", "p"), first_at.copy())
        columns = [
            aliased(trace_id, "trace_id"),
            aliased(exp.Array(expressions=[trace_id.copy()]), "trace_ids"),
            aliased(exp.Not(this=is_true(column("is_complete", "p"))), LOST),
            aliased(_loss_of_trace(), "loss_reason"),
            aliased(first_at, "first_at"),
            aliased(call("coalesce", column("last_at", SCOPE), column("ended_at", "p")), "last_at"),
            aliased(cast(belongs_at, "DATE"), "started_on"),
            column("first_item", SCOPE),
            *self._counters_or_zero(),
        ]
        conditions = self._window_conditions(belongs_at)
        if self.source.touched:
            conditions.append(exp.Paren(this=self.source.touched(trace_id)))
        query = select(*columns).from_(table("counters", SCOPE), copy=False)
        query = joined(query, "FULL", self.source.table("traces", "p"), same(SCOPE, "p", "trace_id"))
        return query.where(*conditions, copy=False) if conditions else query

    def _group_scopes(self) -> exp.Expression:
        """The groups that formed, and those that may have formed of nothing but lost spans."""
        first_at = exp.Dot(this=column("first_item", SCOPE), expression=exp.to_identifier("at"))
        loss: exp.Expression = exp.false()
        if self.scan.can_lose:
            loss = exp.Exists(this=self._overlapping("lost", "o", SCOPE))
        columns = [
            *(column(name, SCOPE) for name in self.scope),
            column("trace_ids", SCOPE),
            aliased(loss, LOST),
            aliased(text("a trace of the group is incomplete"), "loss_reason"),
            aliased(first_at, "first_at"),
            column("last_at", SCOPE),
            aliased(cast(first_at.copy(), "DATE"), "started_on"),
            column("first_item", SCOPE),
            *self._counters_or_zero(),
        ]
        formed = select(*columns).from_(table("counters", SCOPE), copy=False)
        unions = [
            formed.where(*conditions, copy=False) if (conditions := self._window_conditions(first_at)) else formed
        ]
        if self.scan.can_lose:
            unions.append(self._unformed_scopes())
        return union_all(unions)

    def _unformed_scopes(self) -> exp.Select:
        counters = [aliased(exp.Literal.number(0), name) for name in self._counter_names()]
        columns = [
            *(column(name, "o") for name in self.scan.keys),
            aliased(exp.Literal.number(-1), "session"),
            aliased(exp.Array(expressions=[column("trace_id", "o")]), "trace_ids"),
            aliased(exp.true(), LOST),
            aliased(text("a trace that carries the key is incomplete"), "loss_reason"),
            aliased(column("started_at", "o"), "first_at"),
            aliased(column("ended_at", "o"), "last_at"),
            aliased(cast(column("started_at", "o"), "DATE"), "started_on"),
            aliased(exp.null(), "first_item"),
            *counters,
        ]
        alone = exp.Not(this=exp.Exists(this=self._overlapping("counters", SCOPE, "o")))
        conditions = [alone, *self._window_conditions(column("started_at", "o"))]
        return select(*columns).from_(table("lost", "o"), copy=False).where(*conditions, copy=False)

    def _overlapping(self, rows: str, inner: str, outer: str) -> exp.Select:
        """Rows of a table with the key of the outer row and not further than one gap from it."""
        gap = exp.Literal.number(self.rule.judgement.gap_ns)
        first = exp.Dot(this=column("first_item", SCOPE), expression=exp.to_identifier("at"))
        starts_before = exp.LTE(
            this=exp.Paren(this=exp.Sub(this=column("from_ns", "o"), expression=gap)),
            expression=call("epoch_ns", column("last_at", SCOPE)),
        )
        ends_after = exp.GTE(
            this=exp.Paren(this=exp.Add(this=column("until_ns", "o"), expression=gap.copy())),
            expression=call("epoch_ns", first),
        )
        query = select(aliased(exp.Literal.number(1), "one")).from_(table(rows, inner), copy=False)
        return query.where(same(inner, outer, *self.scan.keys), starts_before, ends_after, copy=False)

    def _counters_or_zero(self) -> list[exp.Expression]:
        zero = exp.Literal.number(0)
        return [aliased(call("coalesce", column(name, SCOPE), zero.copy()), name) for name in self._counter_names()]

    def _window_conditions(self, at: exp.Expression) -> list[exp.Expression]:
        conditions: list[exp.Expression] = []
        if self.source.start is not None:
            conditions.append(exp.GTE(this=at.copy(), expression=timestamp(self.source.start)))
        if self.source.end is not None:
            conditions.append(exp.LT(this=at.copy(), expression=timestamp(self.source.end)))
        return conditions

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
        details = DetailsSql(self.made, self.scope)
        witness = WitnessSql(self.made, ScopeSql(self.made, SCOPE), "r")
        shown = witness.of_violation()
        self.ctes.append(("shown", details.shown(witness)))
        self.ctes.append(("details", details.details(witness)))
        rule, scope_key = self.rule, self._scope_key()
        is_violated = exp.EQ(this=column("verdict", SCOPE), expression=text("violated"))
        is_satisfied = exp.EQ(this=column("verdict", SCOPE), expression=text("satisfied"))
        ordered = cast(call("list_sort", cast(shown, ORDERED_LIST)), SPAN_LIST)
        values: dict[str, exp.Expression] = {
            "rule_id": text(rule.id),
            "meaning_hash": text(rule.meaning_hash),
            "scope_kind": text(rule.scope_kind),
            "scope_key": scope_key,
            "trace_ids": column("trace_ids", SCOPE),
            "verdict": column("verdict", SCOPE),
            "reason": _reason(rule.judgement.clause),
            "first_span_at": column("first_at", SCOPE),
            "last_span_at": column("last_at", SCOPE),
            "started_on": column("started_on", SCOPE),
            "service_names": call("coalesce", column("service_names", "r"), empty_list("VARCHAR[]")),
            "service_versions": call("coalesce", column("service_versions", "r"), empty_list("VARCHAR[]")),
            "witness": exp.Case()
            .when(is_violated, _each_once(ordered), copy=False)
            .else_(empty_list(SPAN_LIST), copy=False),
            "reported": exp.Case().when(is_satisfied, text("{}"), copy=False).else_(details.reported(), copy=False),
            "violation_id": self._violation_id(scope_key),
        }
        query = select(*(aliased(cast(value, RESULT_TYPES[name]), name) for name, value in values.items()))
        query = query.from_(table("judged", SCOPE), copy=False)
        return joined(query, "LEFT", table("details", "r"), same(SCOPE, "r", *self.scope))

    def _scope_key(self) -> exp.Expression:
        if not self.scan.grouped:
            return cast(column("trace_id", SCOPE), "VARCHAR")
        if len(self.scan.keys) == 1:
            return column(self.scan.keys[0], SCOPE)
        inner = call("concat_ws", text(","), *(column(name, SCOPE) for name in self.scan.keys))
        return call("concat", text("["), inner, text("]"))

    def _violation_id(self, scope_key: exp.Expression) -> exp.Expression:
        """A hash of rule, meaning, scope and first span: the same violation has the same name in every replay."""
        parts = [
            exp.Dot(this=column("first_item", SCOPE), expression=exp.to_identifier(name))
            for name in ("trace_id", "span_id")
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


def _reason(clause: str) -> exp.Expression:
    words = {
        "always": "always is false",
        "never": "never is true",
        "always or never": "always is false or never is true",
        "detect": "detect is true",
    }
    verdict = column("verdict", SCOPE)
    return (
        exp.Case()
        .when(exp.EQ(this=verdict, expression=text("violated")), text(words[clause]), copy=False)
        .when(exp.EQ(this=verdict.copy(), expression=text("inconclusive")), column("loss_reason", SCOPE), copy=False)
    )


def _loss_of_trace() -> exp.Expression:
    """What shows that a trace is not whole; the first that applies."""
    zero, one = exp.Literal.number(0), exp.Literal.number(1)
    return (
        exp.Case()
        .when(
            exp.Is(this=column("trace_id", "p"), expression=exp.null()),
            text("no span of the trace was received"),
            copy=False,
        )
        .when(exp.EQ(this=column("root_count", "p"), expression=zero), text("the root span is missing"), copy=False)
        .when(exp.GT(this=column("root_count", "p"), expression=one), text("the trace has several roots"), copy=False)
        .when(
            exp.GT(this=column("orphan_count", "p"), expression=zero.copy()),
            text("a parent span is missing"),
            copy=False,
        )
        .else_(text("the sender dropped data, or parents form a cycle"), copy=False)
    )


def _number_of(flag: str) -> exp.Expression:
    return exp.CountIf(this=column(flag, ITEM))
