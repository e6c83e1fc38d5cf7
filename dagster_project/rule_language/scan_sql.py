"""The first half of a rule's query: which spans and logs it reads, in which scopes, and what it notes of each.

An item is a span or log that some set of the rule matches. `sql` goes on from items to verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime

from sqlglot import exp

from dagster_project.rule_language import model
from dagster_project.rule_language.attributes import fields_of
from dagster_project.rule_language.item_sql import ALIASES, SHAPE, TRACE, ItemSql
from dagster_project.rule_language.model import Type
from dagster_project.rule_language.planner import Plan, plan
from dagster_project.rule_language.resolve import group_key
from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.sql_nodes import (
    aliased,
    call,
    cast,
    column,
    every_of,
    in_query,
    is_true,
    joined,
    not_null,
    one_of,
    same,
    select,
    table,
    timestamp,
    union_all,
)
from dagster_project.rule_language.syntax import Entity

TABLES = {
    "spans": ("staging", "stg_spans"),
    "logs": ("staging", "stg_logs"),
    "shapes": ("intermediate", "int_trace_shape"),
    "traces": ("intermediate", "int_traces"),
    "tickets": ("staging", "stg_incidents"),
}


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
    touched_keys
        Gives a condition that keeps only keys of groups to be judged again, for the values of a group's key.
    """

    table: Callable[[str, str | None], exp.Expression] = schema_table
    columns: Mapping[Entity, Set[str]] | None = None
    start: datetime | None = None
    end: datetime | None = None
    touched: Callable[[exp.Expression], exp.Expression] | None = None
    touched_keys: Callable[[Sequence[exp.Expression]], exp.Expression] | None = None


@dataclass
class Scan:
    """What one rule reads from one source."""

    rule: Rule
    source: Source
    made: Plan = field(init=False)
    item_sql: ItemSql = field(init=False)

    def __post_init__(self) -> None:
        self.made = plan(self.rule.judgement)
        self.item_sql = ItemSql(self.source.columns)

    @property
    def keys(self) -> list[str]:
        """The columns that name a scope's group; for traces, the trace itself."""
        if not self.grouped:
            return ["trace_id"]
        return [f"k{number}" for number in range(len(self.rule.judgement.group_by))]

    @property
    def grouped(self) -> bool:
        return self.rule.judgement.scope is not model.Scope.TRACE

    @property
    def can_lose(self) -> bool:
        return self.made.can_lose

    def related(self) -> list[tuple[str, exp.Expression]]:
        """The named parts of the query that conditions on items refer to, in order."""
        return []

    def null_keys(self) -> exp.Select:
        unions = []
        for entity in self.made.entities:
            keys = self._key_values(entity)
            missing = one_of([exp.Paren(this=exp.Is(this=key, expression=exp.null())) for key in keys])
            query = self._from_entity(select(aliased(exp.Literal.number(1), "one")), entity)
            unions.append(query.where(missing, self._relevant(entity), *self._time_bounds(entity), copy=False))
        count = aliased(exp.Count(this=exp.Star()), "null_keys")
        return select(count).from_(
            exp.Subquery(this=union_all(unions), alias=exp.TableAlias(this=exp.to_identifier("missing"))), copy=False
        )

    # Items: spans and logs that some set of the rule matches.

    def _from_entity(self, query: exp.Select, entity: Entity) -> exp.Select:
        """Add the table of an entity and what its intrinsics need beside it."""
        alias = ALIASES[entity]
        query = query.from_(self.source.table("spans" if entity == "span" else "logs", alias), copy=False)
        used = {read.key for read in _intrinsics(self.made) if entity == "span"}
        if used & {"depth", "children"}:
            for name, table_alias, columns in (
                ("shapes", SHAPE, ("trace_id", "span_id", "kind")),
                ("traces", TRACE, ("trace_id",)),
            ):
                query = joined(query, "LEFT", self.source.table(name, table_alias), same(alias, table_alias, *columns))
        return query

    def _relevant(self, entity: Entity, sets: Set[int] | None = None) -> exp.Expression:
        numbers = sorted(self.made.relevant if sets is None else sets)
        of_entity = [self.made.sets[number] for number in numbers if self.made.sets[number].entity == entity]
        return one_of([self.item_sql.condition(one.condition) for one in _widest(of_entity)])

    def items(self) -> exp.Expression:
        unions = []
        for entity in self.made.entities:
            query = self._from_entity(select(*self._item_columns(entity)), entity)
            conditions = [self._relevant(entity), *self._scope_conditions(entity)]
            if self.made.needs_candidates:
                conditions.append(self._is_candidate(entity))
            unions.append(query.where(*conditions, copy=False))
        return union_all(unions)

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
        if getattr(self.made, "orders", ()):
            kind, ended = ("kind", "ended_at") if entity == "span" else (None, "occurred_at")
            columns += [
                aliased(cast(column(kind, alias) if kind else exp.null(), "VARCHAR"), "kind"),
                aliased(column(ended, alias), "ended_at"),
            ]
        if self.made.orders:
            ended_at = column("ended_at" if entity == "span" else "occurred_at", alias)
            kind: exp.Expression = column("kind", alias) if entity == "span" else exp.null()
            columns += [aliased(cast(kind, "VARCHAR"), "kind"), aliased(ended_at, "ended_at")]
        if self.grouped:
            columns += [aliased(value, f"k{number}") for number, value in enumerate(self._key_values(entity))]
        for number, items in enumerate(self.made.sets):
            here = is_true(self.item_sql.condition(items.condition)) if items.entity == entity else exp.false()
            columns.append(aliased(here, f"t{number}"))
        for number, every in enumerate(self.made.everies):
            against = self._counterexample(every) if every.items.entity == entity else exp.false()
            columns.append(aliased(against, f"x{number}"))
        for number, read in enumerate(self.made.fields):
            value = self.item_sql.value(read) if read.entity == entity else exp.null()
            columns.append(aliased(value, f"f{number}"))
        return columns

    def _counterexample(self, every: model.Every) -> exp.Expression:
        """In the set and surely not kept: an unknown that may come from a loss is no counterexample."""
        kept = self.item_sql.condition(every.kept.condition)
        may_be_kept = call("coalesce", kept, self.item_sql.may_be_lost(every.kept.condition, every.kept.entity))
        return every_of([is_true(self.item_sql.condition(every.items.condition)), exp.Not(this=may_be_kept)])

    def _key_values(self, entity: Entity) -> list[exp.Expression]:
        values = []
        for key in self.rule.judgement.group_by:
            read = group_key(key, entity)
            value = self.item_sql.value(read)
            # Keys are JSON texts, so that "2" and 2 are two groups and a service cannot collide with an attribute.
            values.append(value if read.type is Type.ANY else cast(call("to_json", value), "VARCHAR"))
        return values

    def _scope_conditions(self, entity: Entity) -> list[exp.Expression]:
        """What an item needs to belong to some scope that is asked for."""
        if self.grouped:
            return [*self._sought_keys(self._key_values(entity)), *self._time_bounds(entity)]
        conditions = [] if entity == "span" else [not_null(column("trace_id", ALIASES[entity]))]
        if self.source.touched:
            conditions.append(self.source.touched(column("trace_id", ALIASES[entity])))
        return conditions + (self._time_bounds(entity) if entity == "span" else [])

    def _sought_keys(self, values: list[exp.Expression]) -> list[exp.Expression]:
        """That there is a key, and that it is to be judged."""
        sought = [self.source.touched_keys(values)] if self.source.touched_keys else []
        return [*map(not_null, values), *sought]

    def key_rows(self, entity: Entity, condition: exp.Expression) -> exp.Select:
        """The keys, as `k0`, `k1`, ..., of the items of an entity for which a condition holds."""
        values = self._key_values(entity)
        named = [aliased(value, name) for value, name in zip(values, self.keys, strict=True)]
        return self._from_entity(select(*named), entity).where(*map(not_null, values), condition, copy=False)

    def _time_bounds(self, entity: Entity) -> list[exp.Expression]:
        """Prune by time what no scope of the window can hold. There is no upper bound: a scope may go on for long."""
        if self.source.start is None:
            return []
        name = "started_at" if entity == "span" else "occurred_at"
        start = timestamp(self.source.start)
        if not self.grouped:
            return [exp.GTE(this=column(name, ALIASES[entity]), expression=start)]
        # One gap earlier tells whether a group's first item in the window continues an older group.
        earliest = exp.Sub(this=call("epoch_ns", start), expression=exp.Literal.number(self.made.back_ns))
        return [exp.GTE(this=call("epoch_ns", column(name, ALIASES[entity])), expression=exp.Paren(this=earliest))]

    # Candidates: the scopes in which the rule can apply at all.

    def candidates(self) -> exp.Expression:
        anchor = self.made.anchor or frozenset()
        unions: list[exp.Select] = []
        for entity in self.made.entities:
            if not any(self.made.sets[number].entity == entity for number in anchor):
                continue
            keys: list[exp.Expression] = [column("trace_id", ALIASES[entity])]
            if self.grouped:
                keys = [aliased(value, name) for value, name in zip(self._key_values(entity), self.keys, strict=True)]
            query = self._from_entity(select(*keys), entity)
            unions.append(query.where(self._relevant(entity, anchor), *self._scope_conditions(entity), copy=False))
        if self.grouped and self.can_lose:
            unions.append(select(*(column(name) for name in self.keys)).from_(table("lost"), copy=False))
        elif self.can_lose:
            traces = select(column("trace_id", TRACE)).from_(self.source.table("traces", TRACE), copy=False)
            unions.append(traces.where(exp.Not(this=column("is_complete", TRACE)), copy=False))
        # Each scope once: the engine then sees that few scopes are sought among many items, and builds on the few.
        together = exp.Subquery(this=union_all(unions), alias=exp.TableAlias(this=exp.to_identifier("sought")))
        once = select(*(column(name) for name in self.keys)).from_(together, copy=False)
        return once.distinct(copy=False)

    def _is_candidate(self, entity: Entity) -> exp.Expression:
        chosen = select(*(column(name) for name in self.keys)).from_(table("candidates"), copy=False)
        if not self.grouped:
            trace_id = column("trace_id", ALIASES[entity])
            chosen_one = in_query(trace_id, chosen)
            if entity == "span" or not self.can_lose:
                return chosen_one
            # A trace of which only logs came may have had any span.
            received = select(column("trace_id")).from_(self.source.table("traces", None), copy=False)
            return one_of([chosen_one, exp.Not(this=exp.Paren(this=in_query(trace_id.copy(), received)))])
        values = self._key_values(entity)
        return in_query(values[0] if len(values) == 1 else exp.Tuple(expressions=values), chosen)

    def lost(self) -> exp.Expression:
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
        query = select(*named, column("trace_id", alias), *bounds).from_(self.source.table("spans", alias), copy=False)
        query = joined(query, "INNER", self.source.table("traces", "p"), same(alias, "p", "trace_id"))
        query = query.where(exp.Not(this=column("is_complete", "p")), *self._sought_keys(values), copy=False)
        return query.group_by(*values, column("trace_id", alias), copy=False)


def _intrinsics(made: Plan) -> list[model.Field]:
    """The intrinsic fields that items need."""
    read = [*fields_of(tuple(made.sets)), *made.fields]
    return [one for one in read if one.origin == "intrinsic"]


def _widest(sets: list[model.Items]) -> list[model.Items]:
    """The sets without those inside another, as `x where c` is in `x`: one plain condition prunes, an `or` does not."""
    parts = [
        set(one.condition.operands) if isinstance(one.condition, model.Conjunction) else {one.condition} for one in sets
    ]
    kept = []
    for number, one in enumerate(sets):
        before, after = parts[:number], parts[number + 1 :]
        if not any(other <= parts[number] for other in before) and not any(other < parts[number] for other in after):
            kept.append(one)
    return kept
