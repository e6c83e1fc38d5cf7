"""A rule → one SELECT over the staged tables that gives its verdicts: candidates, items, sessions, counters, judgement, witness.

The query is a syntax tree of sqlglot; nothing is pasted. What differs between an ad-hoc question and a dbt model (names of
tables, which traces) comes in through `Source`. Pieces live in `item_sql`, `scope_sql` and `witness_sql`.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlglot import exp

from dagster_project.rule_language import model
from dagster_project.rule_language.attributes import fields_of
from dagster_project.rule_language.item_sql import (
    ALIASES,
    SHAPE,
    TRACE,
    ItemSql,
    call,
    cast,
    column,
    data_type,
    every_of,
    is_true,
    one_of,
    text,
)
from dagster_project.rule_language.model import Type
from dagster_project.rule_language.planner import Plan, plan
from dagster_project.rule_language.resolve import group_key
from dagster_project.rule_language.rule_file import RESERVED_REPORT_NAME, Rule
from dagster_project.rule_language.scope_sql import LOST, ScopeSql, empty_list, is_two_or_more_enough
from dagster_project.rule_language.syntax import Entity
from dagster_project.rule_language.witness_sql import ORDERED_LIST, SPAN_LIST, WitnessSql

TABLES = {
    "spans": ("staging", "stg_spans"),
    "logs": ("staging", "stg_logs"),
    "shapes": ("intermediate", "int_trace_shape"),
    "traces": ("intermediate", "int_traces"),
}

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

_ITEM = "i"
_SCOPE = "a"
# Beyond it a sum of decimals with nine places could overflow 38 digits; such a sum is null instead.
_LARGEST_SUMMAND = 10**18


def schema_table(name: str, alias: str | None = None) -> exp.Expression:
    """A table of a warehouse or a published generation: `staging.stg_spans` and the like."""
    schema, table = TABLES[name]
    return exp.table_(table, db=schema, quoted=True, alias=alias)


@dataclass(frozen=True)
class Source:
    """Where a query reads from, and of which scopes.

    Attributes
    ----------
    table
        Gives a table by its name in `TABLES`, with an alias.
    columns
        The columns that stg_spans and stg_logs have, when not all promoted columns are sure to be there.
    start, end
        Scopes whose first span is in [start, end), UTC without zone; None: no bound.
    touched
        Gives a condition that keeps only traces to be judged again, for a column of trace ids.
    """

    table: Callable[[str, str | None], exp.Expression] = schema_table
    columns: dict[Entity, Set[str]] | None = None
    start: datetime | None = None
    end: datetime | None = None
    touched: Callable[[exp.Column], exp.Expression] | None = None


def verdicts_query(rule: Rule, source: Source | None = None) -> exp.Select:
    """The verdicts of one rule, a row a scope whose `when` is true or unknown; columns as in `RESULT_TYPES`."""
    return _Compiler(rule, source or Source()).query()


def null_keys_query(rule: Rule, source: Source | None = None) -> exp.Select:
    """How many items that the rule looks at lack a group key, and so are in no group: one row, one column."""
    return _Compiler(rule, source or Source()).null_keys()


def to_sql(query: exp.Expression, dialect: str = "duckdb", *, pretty: bool = True) -> str:
    """The text of a query for an engine."""
    return query.sql(dialect=dialect, pretty=pretty, identify=True, comments=False)


def aliased(expression: exp.Expression, name: str) -> exp.Alias:
    """`expression as "name"`."""
    return exp.Alias(this=expression, alias=exp.Identifier(this=name, quoted=True))


def _row(table: str) -> exp.Expression:
    """An item as what it is ordered by: comparing rows compares start, then trace, then span."""
    return _struct({name: column(name, table) for name in ("at", "trace_id", "span_id")})


def _struct(parts: dict[str, exp.Expression]) -> exp.Expression:
    return exp.Struct(
        expressions=[exp.PropertyEQ(this=exp.to_identifier(name), expression=value) for name, value in parts.items()]
    )


def _filtered(aggregate: exp.Expression, condition: exp.Expression) -> exp.Expression:
    return exp.Filter(this=aggregate, expression=exp.Where(this=condition))


def _not_null(expression: exp.Expression) -> exp.Expression:
    return exp.Not(this=exp.Paren(this=exp.Is(this=expression, expression=exp.null())))


def _table(name: str, alias: str | None = None) -> exp.Table:
    return exp.table_(name, quoted=True, alias=alias)


def _select(*columns: exp.Expression) -> exp.Select:
    return exp.Select(expressions=list(columns))


def _in_query(what: exp.Expression, query: exp.Select) -> exp.Expression:
    return exp.In(this=what, query=exp.Subquery(this=query))


@dataclass
class _Compiler:
    """One rule over one source."""

    rule: Rule
    source: Source
    made: Plan = field(init=False)
    items: ItemSql = field(init=False)
    ctes: list[tuple[str, exp.Expression]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.made = plan(self.rule.judgement)
        self.items = ItemSql(self.source.columns)

    @property
    def keys(self) -> list[str]:
        """The columns that name a scope's group; for traces, the trace itself."""
        return [f"k{number}" for number in range(len(self.rule.judgement.group_by))] or ["trace_id"]

    @property
    def scope(self) -> list[str]:
        """The columns that name a scope."""
        return [*self.keys, "session"] if self.grouped else ["trace_id"]

    @property
    def grouped(self) -> bool:
        return bool(self.rule.judgement.group_by)

    @property
    def can_lose(self) -> bool:
        return "span" in self.made.entities

    def query(self) -> exp.Select:
        if self.grouped and self.can_lose:
            self.ctes.append(("lost", self._lost()))
        if self.made.needs_candidates:
            self.ctes.append(("candidates", self._candidates()))
        if self.grouped:
            self.ctes.append(("unsplit", self._items()))
            self.ctes.append(("marked", self._marked()))
            self.ctes.append(("items", self._sessions()))
        else:
            self.ctes.append(("items", self._items()))
        self.ctes.append(("counters", self._counters()))
        self.ctes.append(("scopes", self._group_scopes() if self.grouped else self._trace_scopes()))
        self.ctes.append(("possible", self._possible()))
        self.ctes.append(("judged", self._judged()))
        result = self._result()
        for name, query in self.ctes:
            result = result.with_(exp.to_identifier(name, quoted=True), as_=query, copy=False)
        return result

    def null_keys(self) -> exp.Select:
        unions = []
        for entity in self.made.entities:
            keys = self._key_values(entity)
            missing = one_of([exp.Paren(this=exp.Is(this=key, expression=exp.null())) for key in keys])
            query = self._from_entity(_select(aliased(exp.Literal.number(1), "one")), entity)
            unions.append(query.where(missing, self._relevant(entity), *self._time_bounds(entity), copy=False))
        count = aliased(exp.Count(this=exp.Star()), "null_keys")
        return _select(count).from_(_union(unions).subquery("missing"), copy=False)

    # Items: spans and logs that some set of the rule matches.

    def _from_entity(self, query: exp.Select, entity: Entity) -> exp.Select:
        """Add the table of an entity and what its intrinsics need beside it."""
        alias = ALIASES[entity]
        query = query.from_(self.source.table("spans" if entity == "span" else "logs", alias), copy=False)
        used = {read.key for read in _intrinsics(self.made) if entity == "span"}
        if used & {"depth", "children"}:
            query = query.join(self.source.table("shapes", SHAPE), on=_same(alias, SHAPE, "trace_id", "span_id", "kind"),
                               join_type="left", copy=False)  # fmt: skip
        if "children" in used:
            query = query.join(
                self.source.table("traces", TRACE), on=_same(alias, TRACE, "trace_id"), join_type="left", copy=False
            )
        return query

    def _relevant(self, entity: Entity, sets: Set[int] | None = None) -> exp.Expression:
        numbers = sorted(self.made.relevant if sets is None else sets)
        of_entity = [self.made.sets[number] for number in numbers if self.made.sets[number].entity == entity]
        return one_of([self.items.condition(one.condition) for one in of_entity])

    def _items(self) -> exp.Expression:
        unions = []
        for entity in self.made.entities:
            query = self._from_entity(_select(*self._item_columns(entity)), entity)
            conditions = [self._relevant(entity), *self._scope_conditions(entity)]
            if self.made.needs_candidates:
                conditions.append(self._is_candidate(entity))
            unions.append(query.where(*conditions, copy=False))
        return _union(unions)

    def _item_columns(self, entity: Entity) -> list[exp.Expression]:
        alias = ALIASES[entity]
        at = column("started_at" if entity == "span" else "occurred_at", alias)
        version: exp.Expression = column("service_version", alias) if entity == "span" else exp.null()
        columns = [
            aliased(at, "at"),
            column("trace_id", alias),
            column("span_id", alias),
            column("service_name", alias),
            aliased(cast(version, "VARCHAR"), "service_version"),
        ]
        if self.grouped:
            columns += [aliased(value, f"k{number}") for number, value in enumerate(self._key_values(entity))]
        for number, items in enumerate(self.made.sets):
            here = is_true(self.items.condition(items.condition)) if items.entity == entity else exp.false()
            columns.append(aliased(here, f"t{number}"))
        for number, every in enumerate(self.made.everies):
            against = self._counterexample(every) if every.items.entity == entity else exp.false()
            columns.append(aliased(against, f"x{number}"))
        for number, read in enumerate(self.made.fields):
            value = self.items.value(read) if read.entity == entity else exp.null()
            columns.append(aliased(value, f"f{number}"))
        return columns

    def _counterexample(self, every: model.Every) -> exp.Expression:
        """In the set and surely not kept: an unknown that may come from a loss is no counterexample."""
        kept = self.items.condition(every.kept.condition)
        may_be_kept = call("coalesce", kept, self.items.may_be_lost(every.kept.condition, every.kept.entity))
        return every_of([is_true(self.items.condition(every.items.condition)), exp.Not(this=may_be_kept)])

    def _key_values(self, entity: Entity) -> list[exp.Expression]:
        values = []
        for key in self.rule.judgement.group_by:
            read = group_key(key, entity)
            value = self.items.value(read)
            # Keys are JSON texts, so that "2" and 2 are two groups and a service cannot collide with an attribute.
            values.append(value if read.type is Type.ANY else cast(call("to_json", value), "VARCHAR"))
        return values

    def _scope_conditions(self, entity: Entity) -> list[exp.Expression]:
        """What an item needs to belong to some scope that is asked for."""
        if self.grouped:
            return [*map(_not_null, self._key_values(entity)), *self._time_bounds(entity)]
        conditions = [] if entity == "span" else [_not_null(column("trace_id", ALIASES[entity]))]
        if self.source.touched:
            conditions.append(self.source.touched(column("trace_id", ALIASES[entity])))
        return conditions + (self._time_bounds(entity) if entity == "span" else [])

    def _time_bounds(self, entity: Entity) -> list[exp.Expression]:
        """Prune by time what no scope of the window can hold. There is no upper bound: a scope may go on for long."""
        if self.source.start is None:
            return []
        name = "started_at" if entity == "span" else "occurred_at"
        start = _timestamp(self.source.start)
        if not self.grouped:
            return [exp.GTE(this=column(name, ALIASES[entity]), expression=start)]
        # One gap earlier tells whether a group's first item in the window continues an older group.
        earliest = exp.Sub(this=call("epoch_ns", start), expression=exp.Literal.number(self.rule.judgement.gap_ns))
        return [exp.GTE(this=call("epoch_ns", column(name, ALIASES[entity])), expression=exp.Paren(this=earliest))]

    # Candidates: the scopes in which the rule can apply at all.

    def _candidates(self) -> exp.Expression:
        anchor = self.made.anchor or frozenset()
        unions: list[exp.Select] = []
        for entity in self.made.entities:
            if not any(self.made.sets[number].entity == entity for number in anchor):
                continue
            keys: list[exp.Expression] = [column("trace_id", ALIASES[entity])]
            if self.grouped:
                keys = [aliased(value, name) for value, name in zip(self._key_values(entity), self.keys, strict=True)]
            query = self._from_entity(_select(*keys), entity)
            unions.append(query.where(self._relevant(entity, anchor), *self._scope_conditions(entity), copy=False))
        if self.grouped and self.can_lose:
            unions.append(_select(*(column(name) for name in self.keys)).from_(_table("lost"), copy=False))
        elif self.can_lose:
            traces = _select(column("trace_id", TRACE)).from_(self.source.table("traces", TRACE), copy=False)
            unions.append(traces.where(exp.Not(this=column("is_complete", TRACE)), copy=False))
        return _union(unions)

    def _is_candidate(self, entity: Entity) -> exp.Expression:
        chosen = _select(*(column(name) for name in self.keys)).from_(_table("candidates"), copy=False)
        if not self.grouped:
            trace_id = column("trace_id", ALIASES[entity])
            chosen_one = _in_query(trace_id, chosen)
            if entity == "span" or not self.can_lose:
                return chosen_one
            # A trace of which only logs came may have had any span.
            received = _select(column("trace_id")).from_(self.source.table("traces", None), copy=False)
            return one_of([chosen_one, exp.Not(this=exp.Paren(this=_in_query(trace_id.copy(), received)))])
        values = self._key_values(entity)
        return _in_query(values[0] if len(values) == 1 else exp.Tuple(expressions=values), chosen)

    # Groups: items of one key, at most one gap apart.

    def _lost(self) -> exp.Expression:
        """The keys seen on incomplete traces: a span lost there is taken to have carried one of them."""
        values = self._key_values("span")
        bounds = [
            aliased(exp.Min(this=call("epoch_ns", column("started_at", "p"))), "from_ns"),
            aliased(exp.Max(this=call("epoch_ns", column("ended_at", "p"))), "until_ns"),
            aliased(exp.Min(this=column("started_at", "p")), "started_at"),
            aliased(exp.Max(this=column("ended_at", "p")), "ended_at"),
        ]
        named = [aliased(value, name) for value, name in zip(values, self.keys, strict=True)]
        alias = ALIASES["span"]
        return (
            _select(*named, column("trace_id", alias), *bounds)
            .from_(self.source.table("spans", alias), copy=False)
            .join(self.source.table("traces", "p"), on=_same(alias, "p", "trace_id"), join_type="inner", copy=False)
            .where(exp.Not(this=column("is_complete", "p")), *map(_not_null, values), copy=False)
            .group_by(*values, column("trace_id", alias), copy=False)
        )

    def _marked(self) -> exp.Expression:
        """Mark each item that comes later than one gap after the one before it."""
        at = call("epoch_ns", column("at", "q"))
        before = self._window(call("lag", at))
        apart = exp.Paren(this=exp.Sub(this=at.copy(), expression=before))
        later = exp.GT(this=apart, expression=exp.Literal.number(self.rule.judgement.gap_ns))
        is_new = exp.Case().when(later, exp.Literal.number(1), copy=False).else_(exp.Literal.number(0), copy=False)
        return _select(
            exp.Column(this=exp.Star(), table=exp.to_identifier("q", quoted=True)), aliased(is_new, "opens")
        ).from_(_table("unsplit", "q"), copy=False)

    def _sessions(self) -> exp.Expression:
        """Number the groups of a key. The default frame takes items of one instant together, as it must."""
        number = self._window(exp.Sum(this=column("opens", "q")))
        return _select(
            exp.Column(this=exp.Star(), table=exp.to_identifier("q", quoted=True)), aliased(number, "session")
        ).from_(_table("marked", "q"), copy=False)

    def _window(self, function: exp.Expression) -> exp.Expression:
        order = exp.Order(expressions=[exp.Ordered(this=column("at", "q"), nulls_first=False)])
        return exp.Window(this=function, partition_by=[column(name, "q") for name in self.keys], order=order)

    # Scopes: counters of what is sure, and whether something was lost.

    def _counters(self) -> exp.Expression:
        columns: list[exp.Expression] = [column(name, _ITEM) for name in self.scope]
        columns += [aliased(_number_of(f"t{number}"), f"n{number}") for number in range(len(self.made.sets))]
        columns += [aliased(_number_of(f"x{number}"), f"x{number}") for number in range(len(self.made.everies))]
        columns += [aliased(self._values(one), f"d{number}") for number, one in enumerate(self.made.distincts)]
        columns += [
            aliased(exp.Min(this=_row(_ITEM)), "first_item"),
            aliased(exp.Max(this=column("at", _ITEM)), "last_at"),
        ]
        if self.grouped:
            columns.append(aliased(_sorted_set("trace_id"), "trace_ids"))
        grouping = [column(name, _ITEM) for name in self.scope]
        return _select(*columns).from_(_table("items", _ITEM), copy=False).group_by(*grouping, copy=False)

    def _values(self, one: model.Distinct) -> exp.Expression:
        """How many values; where two are as good as many, the smallest and the largest tell."""
        value = column(f"f{self.made.field_of(one.field)}", _ITEM)
        matches = column(f"t{self.made.set_of(one.items)}", _ITEM)
        if not is_two_or_more_enough(self.made, one):
            return _filtered(exp.Count(this=exp.Distinct(expressions=[value])), matches)
        low, high = (_filtered(kind(this=value.copy()), matches.copy()) for kind in (exp.Min, exp.Max))
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
        trace_id = call("coalesce", column("trace_id", _SCOPE), column("trace_id", "p"))
        first_at = call(
            "coalesce",
            exp.Dot(this=column("first_item", _SCOPE), expression=exp.to_identifier("at")),
            column("started_at", "p"),
        )
        belongs_at = call("coalesce", column("started_at", "p"), first_at.copy())
        columns = [
            aliased(trace_id, "trace_id"),
            aliased(exp.Array(expressions=[trace_id.copy()]), "trace_ids"),
            aliased(exp.Not(this=is_true(column("is_complete", "p"))), LOST),
            aliased(_loss_of_trace(), "loss_reason"),
            aliased(first_at, "first_at"),
            aliased(call("coalesce", column("last_at", _SCOPE), column("ended_at", "p")), "last_at"),
            aliased(cast(belongs_at, "DATE"), "started_on"),
            column("first_item", _SCOPE),
            *self._counters_or_zero(),
        ]
        conditions = self._window_conditions(belongs_at)
        if self.source.touched:
            conditions.append(exp.Paren(this=self.source.touched(trace_id)))  # type: ignore[arg-type]
        query = _select(*columns).from_(_table("counters", _SCOPE), copy=False)
        query = query.join(
            self.source.table("traces", "p"), on=_same(_SCOPE, "p", "trace_id"), join_type="full", copy=False
        )
        return query.where(*conditions, copy=False) if conditions else query

    def _group_scopes(self) -> exp.Expression:
        """The groups that formed, and those that may have formed of nothing but lost spans."""
        first_at = exp.Dot(this=column("first_item", _SCOPE), expression=exp.to_identifier("at"))
        loss: exp.Expression = exp.false()
        if self.can_lose:
            loss = exp.Exists(this=self._overlapping("lost", "o", _SCOPE))
        columns = [
            *(column(name, _SCOPE) for name in self.scope),
            column("trace_ids", _SCOPE),
            aliased(loss, LOST),
            aliased(text("a trace of the group is incomplete"), "loss_reason"),
            aliased(first_at, "first_at"),
            column("last_at", _SCOPE),
            aliased(cast(first_at.copy(), "DATE"), "started_on"),
            column("first_item", _SCOPE),
            *self._counters_or_zero(),
        ]
        formed = _select(*columns).from_(_table("counters", _SCOPE), copy=False)
        unions = [
            formed.where(*conditions, copy=False) if (conditions := self._window_conditions(first_at)) else formed
        ]
        if self.can_lose:
            unions.append(self._unformed_scopes())
        return _union(unions)

    def _unformed_scopes(self) -> exp.Select:
        counters = [aliased(exp.Literal.number(0), name) for name in self._counter_names()]
        columns = [
            *(column(name, "o") for name in self.keys),
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
        alone = exp.Not(this=exp.Exists(this=self._overlapping("counters", _SCOPE, "o")))
        conditions = [alone, *self._window_conditions(column("started_at", "o"))]
        return _select(*columns).from_(_table("lost", "o"), copy=False).where(*conditions, copy=False)

    def _overlapping(self, table: str, inner: str, outer: str) -> exp.Select:
        """Rows of a table with the key of the outer row and not further than one gap from it."""
        gap = exp.Literal.number(self.rule.judgement.gap_ns)
        first = exp.Dot(this=column("first_item", _SCOPE), expression=exp.to_identifier("at"))
        starts_before = exp.LTE(
            this=exp.Paren(this=exp.Sub(this=column("from_ns", "o"), expression=gap)),
            expression=call("epoch_ns", column("last_at", _SCOPE)),
        )
        ends_after = exp.GTE(
            this=exp.Paren(this=exp.Add(this=column("until_ns", "o"), expression=gap.copy())),
            expression=call("epoch_ns", first),
        )
        query = _select(aliased(exp.Literal.number(1), "one")).from_(_table(table, inner), copy=False)
        return query.where(_same(inner, outer, *self.keys), starts_before, ends_after, copy=False)

    def _counters_or_zero(self) -> list[exp.Expression]:
        zero = exp.Literal.number(0)
        return [aliased(call("coalesce", column(name, _SCOPE), zero.copy()), name) for name in self._counter_names()]

    def _window_conditions(self, at: exp.Expression) -> list[exp.Expression]:
        conditions: list[exp.Expression] = []
        if self.source.start is not None:
            conditions.append(exp.GTE(this=at.copy(), expression=_timestamp(self.source.start)))
        if self.source.end is not None:
            conditions.append(exp.LT(this=at.copy(), expression=_timestamp(self.source.end)))
        return conditions

    # Judgement.

    def _possible(self) -> exp.Expression:
        """What `when` and `bad` can be, for every scope in which the rule may apply."""
        compiled = ScopeSql(self.made, _SCOPE)
        when, bad = compiled.possible(self.rule.judgement.when), compiled.possible(self.rule.judgement.bad)
        everything = exp.Column(this=exp.Star(), table=exp.to_identifier(_SCOPE, quoted=True))
        columns = [
            everything,
            aliased(when.false, "may_not_apply"),
            aliased(bad.true, "may_be_bad"),
            aliased(bad.false, "may_be_good"),
        ]
        return _select(*columns).from_(_table("scopes", _SCOPE), copy=False).where(when.true, copy=False)

    def _judged(self) -> exp.Expression:
        applies = exp.Not(this=column("may_not_apply", _SCOPE))
        violated = every_of([applies, exp.Not(this=column("may_be_good", _SCOPE))])
        satisfied = every_of([applies.copy(), exp.Not(this=column("may_be_bad", _SCOPE))])
        verdict = (
            exp.Case()
            .when(violated, text("violated"), copy=False)
            .when(satisfied, text("satisfied"), copy=False)
            .else_(text("inconclusive"), copy=False)
        )
        everything = exp.Column(this=exp.Star(), table=exp.to_identifier(_SCOPE, quoted=True))
        return _select(everything, aliased(verdict, "verdict")).from_(_table("possible", _SCOPE), copy=False)

    # The result: witness, reported values, identity.

    def _result(self) -> exp.Select:
        details = _Details(self.made, self.scope)
        witness = WitnessSql(self.made, ScopeSql(self.made, _SCOPE), "r")
        shown = witness.of_violation()
        self.ctes.append(("shown", details.shown(witness)))
        self.ctes.append(("details", details.details(witness)))
        rule, scope_key = self.rule, self._scope_key()
        is_violated = exp.EQ(this=column("verdict", _SCOPE), expression=text("violated"))
        is_satisfied = exp.EQ(this=column("verdict", _SCOPE), expression=text("satisfied"))
        ordered = call("list_sort", call("list_distinct", cast(shown, ORDERED_LIST)))
        values: dict[str, exp.Expression] = {
            "rule_id": text(rule.id),
            "meaning_hash": text(rule.meaning_hash),
            "scope_kind": text(rule.scope_kind),
            "scope_key": scope_key,
            "trace_ids": column("trace_ids", _SCOPE),
            "verdict": column("verdict", _SCOPE),
            "reason": _reason(rule.judgement.clause),
            "first_span_at": column("first_at", _SCOPE),
            "last_span_at": column("last_at", _SCOPE),
            "started_on": column("started_on", _SCOPE),
            "service_names": call("coalesce", column("service_names", "r"), empty_list("VARCHAR[]")),
            "service_versions": call("coalesce", column("service_versions", "r"), empty_list("VARCHAR[]")),
            "witness": exp.Case().when(is_violated, ordered, copy=False).else_(empty_list(ORDERED_LIST), copy=False),
            "reported": exp.Case().when(is_satisfied, text("{}"), copy=False).else_(details.reported(), copy=False),
            "violation_id": self._violation_id(scope_key),
        }
        query = _select(*(aliased(cast(value, RESULT_TYPES[name]), name) for name, value in values.items()))
        query = query.from_(_table("judged", _SCOPE), copy=False)
        return query.join(_table("details", "r"), on=_same(_SCOPE, "r", *self.scope), join_type="left", copy=False)

    def _scope_key(self) -> exp.Expression:
        if not self.grouped:
            return cast(column("trace_id", _SCOPE), "VARCHAR")
        if len(self.keys) == 1:
            return column(self.keys[0], _SCOPE)
        inner = call("concat_ws", text(","), *(column(name, _SCOPE) for name in self.keys))
        return call("concat", text("["), inner, text("]"))

    def _violation_id(self, scope_key: exp.Expression) -> exp.Expression:
        """A hash of rule, meaning, scope and first span: the same violation has the same name in every replay."""
        parts = [
            exp.Dot(this=column("first_item", _SCOPE), expression=exp.to_identifier(name))
            for name in ("trace_id", "span_id")
        ]
        first = [call("coalesce", cast(part, "VARCHAR"), text("")) for part in parts]
        identity = call(
            "concat_ws", text("|"), text(self.rule.id), text(self.rule.meaning_hash), scope_key.copy(), *first
        )
        return exp.SHA2(this=identity, length=exp.Literal.number(256))


@dataclass
class _Details:
    """What is shown of scopes that are not satisfied: services, lists for the witness, reported values."""

    made: Plan
    scope: list[str]

    def shown(self, witness: WitnessSql) -> exp.Expression:
        """The items of those scopes, each with the first value of the fields whose values a witness contrasts."""
        columns: list[exp.Expression] = [exp.Column(this=exp.Star(), table=exp.to_identifier(_ITEM, quoted=True))]
        for number in sorted(witness.lists.values):
            one = self.made.distincts[number]
            value, has_value = self._value(one), self._has_value(one)
            order = [
                exp.Not(this=exp.Paren(this=has_value)),
                *(column(name, _ITEM) for name in ("at", "trace_id", "span_id")),
                value,
            ]
            window = exp.Window(
                this=call("first_value", value.copy()),
                partition_by=[column(name, _ITEM) for name in self.scope],
                order=exp.Order(expressions=[exp.Ordered(this=part.copy(), nulls_first=False) for part in order]),
            )
            columns.append(aliased(window, f"g{number}"))
        query = _select(*columns).from_(_table("items", _ITEM), copy=False)
        query = query.join(
            _table("judged", _SCOPE), on=_same(_ITEM, _SCOPE, *self.scope), join_type="inner", copy=False
        )
        return query.where(exp.NEQ(this=column("verdict", _SCOPE), expression=text("satisfied")), copy=False)

    def details(self, witness: WitnessSql) -> exp.Expression:
        columns: list[exp.Expression] = [column(name, _ITEM) for name in self.scope]
        columns += [aliased(_sorted_set(name), f"{name}s") for name in ("service_name", "service_version")]
        for number, count in sorted(witness.lists.firsts.items()):
            earliest = call("min", _row(_ITEM), exp.Literal.number(count))
            columns.append(aliased(_filtered(earliest, column(f"t{number}", _ITEM)), f"w{number}"))
        for number in sorted(witness.lists.counterexamples):
            columns.append(aliased(_filtered(exp.Min(this=_row(_ITEM)), column(f"x{number}", _ITEM)), f"y{number}"))
        for number in sorted(witness.lists.values):
            one = self.made.distincts[number]
            for kind, name in ((exp.EQ, f"v{number}"), (exp.NEQ, f"u{number}")):
                of_value = kind(this=self._value(one), expression=column(f"g{number}", _ITEM))
                columns.append(
                    aliased(_filtered(exp.Min(this=_row(_ITEM)), every_of([self._has_value(one), of_value])), name)
                )
        for number, reported in enumerate(self.made.judgement.report):
            columns.append(aliased(self._reported(reported), f"r{number}"))
            if reported.function == "sum" and reported.field is not None:
                columns.append(aliased(self._skipped(reported, reported.field), f"s{number}"))
        grouping = [column(name, _ITEM) for name in self.scope]
        return _select(*columns).from_(_table("shown", _ITEM), copy=False).group_by(*grouping, copy=False)

    def reported(self) -> exp.Expression:
        """The reported values as one JSON object, in the order of the rule; sums say how many items had no value."""
        arguments: list[exp.Expression] = []
        skipped: list[exp.Expression] = []
        for number, reported in enumerate(self.made.judgement.report):
            value: exp.Expression = column(f"r{number}", "r")
            if reported.function in {"count", "distinct"}:
                value = call("coalesce", value, exp.Literal.number(0))
            arguments += [text(reported.name), value]
            if reported.function == "sum":
                skipped += [text(reported.name), call("coalesce", column(f"s{number}", "r"), exp.Literal.number(0))]
        if skipped:
            arguments += [text(RESERVED_REPORT_NAME), call("json_object", *skipped)]
        return call("json_object", *arguments) if arguments else text("{}")

    def _value(self, one: model.Distinct) -> exp.Expression:
        return column(f"f{self.made.field_of(one.field)}", _ITEM)

    def _has_value(self, one: model.Distinct) -> exp.Expression:
        return every_of([column(f"t{self.made.set_of(one.items)}", _ITEM), _not_null(self._value(one))])

    def _reported(self, reported: model.Reported) -> exp.Expression:
        matches = column(f"t{self.made.set_of(reported.items)}", _ITEM)
        if reported.field is None:
            return _filtered(exp.Count(this=exp.Star()), matches)
        value: exp.Expression = column(f"f{self.made.field_of(reported.field)}", _ITEM)
        if reported.function == "distinct":
            return _filtered(exp.Count(this=exp.Distinct(expressions=[value])), matches)
        if reported.function == "sum":
            return _exact_sum(value, matches, reported.field.type)
        ordered = _struct({**{name: column(name, _ITEM) for name in ("at", "trace_id", "span_id")}, "v": value})
        earliest = _filtered(exp.Min(this=ordered), every_of([matches, _not_null(value.copy())]))
        return _shown_value(
            exp.Dot(this=exp.Paren(this=earliest), expression=exp.to_identifier("v")), reported.field.type
        )

    def _skipped(self, reported: model.Reported, read: model.Field) -> exp.Expression:
        matches = column(f"t{self.made.set_of(reported.items)}", _ITEM)
        missing = exp.Paren(this=exp.Is(this=column(f"f{self.made.field_of(read)}", _ITEM), expression=exp.null()))
        return _filtered(exp.Count(this=exp.Star()), every_of([matches, missing]))


def _exact_sum(value: exp.Expression, matches: exp.Expression, type_: Type) -> exp.Expression:
    """A sum that no order of rows changes: decimals are exact; null where one summand is too large for them."""
    if type_ is Type.DURATION:
        return _filtered(exp.Sum(this=value), matches)
    bound = exp.Literal.number(_LARGEST_SUMMAND)
    exact = exp.TryCast(this=value.copy(), to=data_type("DECIMAL(38, 9)"))
    too_large = exp.GTE(this=exp.Abs(this=value.copy()), expression=bound.copy())
    refused = _filtered(exp.Count(this=exp.Star()), every_of([matches.copy(), exp.Paren(this=too_large)]))
    none_refused = exp.EQ(this=refused, expression=exp.Literal.number(0))
    fits = exp.LT(this=exp.Abs(this=value.copy()), expression=bound.copy())
    guarded = exp.Case().when(fits, exact, copy=False)
    return exp.Case().when(none_refused, cast(_filtered(exp.Sum(this=guarded), matches.copy()), "DOUBLE"), copy=False)


def _shown_value(value: exp.Expression, type_: Type) -> exp.Expression:
    """An attribute is shown as it was sent; a time as text, not as nanoseconds."""
    if type_ is Type.ANY:
        return cast(value, "JSON")
    if type_ is Type.TIME:
        return cast(call("make_timestamp_ns", value), "VARCHAR")
    return value


def _reason(clause: str) -> exp.Expression:
    words = {
        "always": "always is false",
        "never": "never is true",
        "always or never": "always is false or never is true",
        "detect": "detect is true",
    }
    verdict = column("verdict", _SCOPE)
    return (
        exp.Case()
        .when(exp.EQ(this=verdict, expression=text("violated")), text(words[clause]), copy=False)
        .when(exp.EQ(this=verdict.copy(), expression=text("inconclusive")), column("loss_reason", _SCOPE), copy=False)
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
    return exp.CountIf(this=column(flag, _ITEM))


def _sorted_set(name: str) -> exp.Expression:
    """The values that occur, each once, in order."""
    value = column(name, _ITEM)
    return call("list_sort", call("list_distinct", call("list", value)))


def _same(left: str, right: str, *names: str) -> exp.Expression:
    return every_of([exp.EQ(this=column(name, left), expression=column(name, right)) for name in names])


def _timestamp(moment: datetime) -> exp.Expression:
    return cast(text(moment.isoformat(sep=" ")), "TIMESTAMP_NS")


def _union(queries: list[exp.Select]) -> Any:
    result: Any = queries[0]
    for query in queries[1:]:
        result = exp.Union(this=result, expression=query, distinct=False)
    return result


def _intrinsics(made: Plan) -> list[model.Field]:
    """The intrinsic fields that items need."""
    read = [*fields_of(tuple(made.sets)), *made.fields]
    return [one for one in read if one.origin == "intrinsic"]
