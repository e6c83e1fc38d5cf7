"""The first half of a rule's query: which items it reads, in which scopes, and what it notes of each.

An item is a span, log record, span event or link that some set of the rule matches. `sql` goes on from items to
verdicts; how items are related to others is `relation_sql`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime

from sqlglot import exp

from dagster_project.rule_language import model
from dagster_project.rule_language.domain_sql import Context, plain_parts
from dagster_project.rule_language.entity_sql import (
    ALIASES,
    TABLES,
    ended_at,
    field_column,
    from_entity,
    schema_table,
    started_at,
    trace_id,
    version,
)
from dagster_project.rule_language.estimates import Statistics
from dagster_project.rule_language.item_sql import TRACE, ItemSql
from dagster_project.rule_language.model import Type
from dagster_project.rule_language.planner import Plan, plan
from dagster_project.rule_language.relation_sql import Relations
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

__all__ = ["TABLES", "Scan", "Source", "schema_table"]

CARRIED, CARRIER = "carried", "ca"
"""The keys that the spans of a trace carry, where whole traces are grouped."""


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
    statistics
        Of the tables, for the choice of where to start; None: guessed.
    satisfied_in_full
        Whether satisfied scopes get their traces and id, too; who only counts them does without.
    """

    table: Callable[[str, str | None], exp.Expression] = schema_table
    columns: Mapping[Entity, Set[str]] | None = None
    start: datetime | None = None
    end: datetime | None = None
    touched: Callable[[exp.Expression], exp.Expression] | None = None
    touched_keys: Callable[[Sequence[exp.Expression]], exp.Expression] | None = None
    statistics: Statistics | None = None
    satisfied_in_full: bool = True


@dataclass
class Scan:
    """What one rule reads from one source."""

    rule: Rule
    source: Source
    made: Plan = field(init=False)
    relations: Relations = field(init=False)
    item_sql: ItemSql = field(init=False)

    def __post_init__(self) -> None:
        self.made = plan(self.rule.judgement, self.source.statistics)
        self.relations = Relations(
            self.source.table, self.source.columns, self._scope_conditions, one_trace=not self.grouped
        )
        self.item_sql = self.relations.item_sql
        for entity in self.made.entities:
            sets = [one for one in self.made.sets if one.entity == entity]
            for items in sets:
                self.relations.note(entity, [items.condition], Context(plain_parts(items.condition), bounded=True))
            read = [one for one in self.made.fields if one.entity == entity]
            for items in sets if read else ():
                self.relations.note(entity, read, Context(plain_parts(items.condition), bounded=True))

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

    @property
    def lifted(self) -> bool:
        """Whether traces are grouped by what any of their spans carries."""
        return self.rule.judgement.scope is model.Scope.LIFTED

    def related(self) -> list[tuple[str, exp.Expression]]:
        """The named parts of the query that conditions on items refer to, in order."""
        carried = [(CARRIED, self._carried())] if self.lifted else []
        return [*carried, *self.relations.parts()]

    def null_keys(self) -> exp.Select:
        """How many items lack a key; self-contained."""
        unions = []
        for entity in self.made.entities:
            sets = self._sets_of(entity, self.made.relevant)
            query = from_entity(select(aliased(exp.Literal.number(1), "one")), entity, self.source.table)
            query = self.relations.joined_to(query, entity, [one.condition for one in sets])
            keys = self._key_values(entity)
            missing = one_of([exp.Paren(this=exp.Is(this=key, expression=exp.null())) for key in keys])
            if self.lifted:
                carriers = select(column("trace_id")).from_(table(CARRIED), copy=False)
                missing = exp.Not(this=exp.Paren(this=in_query(trace_id(entity), carriers)))
                missing = one_of([exp.Paren(this=exp.Is(this=trace_id(entity), expression=exp.null())), missing])
            unions.append(query.where(missing, self._relevant(entity), *self._time_bounds(entity), copy=False))
        count = aliased(exp.Count(this=exp.Star()), "null_keys")
        result = select(count).from_(
            exp.Subquery(this=union_all(unions), alias=exp.TableAlias(this=exp.to_identifier("missing"))), copy=False
        )
        for name, part in self.related():
            result = result.with_(exp.to_identifier(name, quoted=True), as_=part, copy=False)
        return result

    # Items: what some set of the rule matches.

    def _from_entity(self, query: exp.Select, entity: Entity, read: Iterable[object]) -> exp.Select:
        """Add the table of an entity, the keys of its trace, and what conditions read beside it."""
        query = from_entity(query, entity, self.source.table)
        if self.lifted:
            query = joined(query, "INNER", table(CARRIED, CARRIER), same(ALIASES[entity], CARRIER, "trace_id"))
        return self.relations.joined_to(query, entity, read)

    def _sets_of(self, entity: Entity, numbers: Iterable[int]) -> list[model.Items]:
        return [one for number in sorted(numbers) if (one := self.made.sets[number]).entity == entity]

    def _relevant(self, entity: Entity, sets: Set[int] | None = None) -> exp.Expression:
        of_entity = self._sets_of(entity, self.made.relevant if sets is None else sets)
        return one_of([self.item_sql.condition(one.condition, entity) for one in _widest(of_entity)])

    def items(self) -> exp.Expression:
        """What the rule looks at, with what it notes of it."""
        unions = []
        for entity in self.made.entities:
            sets = self._sets_of(entity, range(len(self.made.sets)))
            fields = [one for one in self.made.fields if one.entity == entity]
            read = [*(one.condition for one in sets), *fields]
            query = self._from_entity(select(*self._item_columns(entity)), entity, read)
            conditions = [self._relevant(entity), *self._scope_conditions(entity)]
            if self.made.needs_candidates:
                conditions.append(self._is_candidate(entity))
            unions.append(query.where(*conditions, copy=False))
        return union_all(unions)

    def _item_columns(self, entity: Entity) -> list[exp.Expression]:
        alias = ALIASES[entity]
        columns = [
            aliased(started_at(entity), "at"),
            column("trace_id", alias),
            column("span_id", alias),
            aliased(field_column(entity, "service"), "service_name"),
            aliased(cast(version(entity), "VARCHAR"), "service_version"),
        ]
        if self.made.orders:
            kind: exp.Expression = column("kind", alias) if entity == "span" else exp.null()
            columns += [aliased(cast(kind, "VARCHAR"), "kind"), aliased(ended_at(entity), "ended_at")]
        if self.grouped:
            columns += [aliased(value, f"k{number}") for number, value in enumerate(self._key_values(entity))]
        for number, items in enumerate(self.made.sets):
            here = is_true(self.item_sql.condition(items.condition, entity)) if items.entity == entity else exp.false()
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
        entity = every.items.entity
        kept = self.item_sql.condition(every.kept.condition, entity)
        may_be_kept = call("coalesce", kept, self.item_sql.may_be_lost(every.kept.condition, entity))
        inside = is_true(self.item_sql.condition(every.items.condition, entity))
        return every_of([inside, exp.Not(this=may_be_kept)])

    def _key_values(self, entity: Entity) -> list[exp.Expression]:
        if self.lifted:
            return [column(name, CARRIER) for name in self.keys]
        return self._own_keys(entity)

    def _own_keys(self, entity: Entity) -> list[exp.Expression]:
        """The keys that an item itself carries."""
        values = []
        for key in self.rule.judgement.group_by:
            read = group_key(key, entity)
            value = self.item_sql.value(read)
            # Keys are JSON texts, so that "2" and 2 are two groups and a service cannot collide with an attribute.
            values.append(value if read.type is Type.ANY else cast(call("to_json", value), "VARCHAR"))
        return values

    def _carried(self, *conditions: exp.Expression) -> exp.Select:
        """The keys that spans of each trace carry, each once."""
        values = self._own_keys("span")
        named = [aliased(value, name) for value, name in zip(values, self.keys, strict=True)]
        query = from_entity(select(trace_id("span"), *named), "span", self.source.table)
        return query.where(*self._sought_keys(values), *conditions, copy=False).distinct(copy=False)

    def _scope_conditions(self, entity: Entity) -> list[exp.Expression]:
        """What an item needs to belong to some scope that is asked for."""
        if self.lifted:
            return self._time_bounds(entity)
        if self.grouped:
            return [*self._sought_keys(self._own_keys(entity)), *self._time_bounds(entity)]
        conditions = [not_null(trace_id(entity))] if entity == "log" else []
        if self.source.touched:
            conditions.append(self.source.touched(trace_id(entity)))
        return conditions + (self._time_bounds(entity) if entity != "log" else [])

    def _sought_keys(self, values: list[exp.Expression]) -> list[exp.Expression]:
        """That there is a key, and that it is to be judged."""
        sought = [self.source.touched_keys(values)] if self.source.touched_keys else []
        return [*map(not_null, values), *sought]

    def key_rows(self, entity: Entity, condition: exp.Expression) -> exp.Select:
        """The keys, as `k0`, `k1`, ..., of the items of an entity for which a condition holds; self-contained."""
        if self.lifted and entity == "span":
            named_of = exp.Subquery(
                this=self._carried(condition), alias=exp.TableAlias(this=exp.to_identifier(CARRIER, quoted=True))
            )
            return select(*(column(name, CARRIER) for name in self.keys)).from_(named_of, copy=False)
        if self.lifted:
            arrived = from_entity(select(trace_id(entity)), entity, self.source.table)
            arrived = arrived.where(condition, not_null(trace_id(entity)), copy=False)
            return self.key_rows("span", in_query(trace_id("span"), arrived))
        values = self._own_keys(entity)
        named = [aliased(value, name) for value, name in zip(values, self.keys, strict=True)]
        query = from_entity(select(*named), entity, self.source.table)
        return query.where(*map(not_null, values), condition, copy=False)

    def _time_bounds(self, entity: Entity) -> list[exp.Expression]:
        """Prune by time what no scope of the window can hold. There is no upper bound: a scope may go on for long."""
        if self.source.start is None:
            return []
        start = timestamp(self.source.start)
        if not self.grouped:
            # What a span carries belongs to its trace, whatever time it says.
            return [exp.GTE(this=column("started_at", ALIASES["span"]), expression=start)]
        # One gap earlier tells whether a group's first item in the window continues an older group.
        earliest = exp.Sub(this=call("epoch_ns", start), expression=exp.Literal.number(self.made.back_ns))
        return [exp.GTE(this=call("epoch_ns", started_at(entity)), expression=exp.Paren(this=earliest))]

    # Candidates: the scopes in which the rule can apply at all.

    def candidates(self) -> exp.Expression:
        """The scopes with an item that `when` needs."""
        anchor = self.made.anchor or frozenset()
        unions: list[exp.Select] = []
        for entity in self.made.entities:
            sets = self._sets_of(entity, anchor)
            if not sets:
                continue
            keys: list[exp.Expression] = [trace_id(entity)]
            if self.grouped:
                keys = [aliased(value, name) for value, name in zip(self._key_values(entity), self.keys, strict=True)]
            query = self._from_entity(select(*keys), entity, [one.condition for one in sets])
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
            chosen_one = in_query(trace_id(entity), chosen)
            if entity != "log" or not self.can_lose:
                return chosen_one
            # A trace of which only logs came may have had any span.
            received = select(column("trace_id")).from_(self.source.table("traces", None), copy=False)
            return one_of([chosen_one, exp.Not(this=exp.Paren(this=in_query(trace_id(entity), received)))])
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
        alias = CARRIER if self.lifted else ALIASES["span"]
        rows = table(CARRIED, CARRIER) if self.lifted else self.source.table("spans", alias)
        query = select(*named, column("trace_id", alias), *bounds).from_(rows, copy=False)
        query = joined(query, "INNER", self.source.table("traces", "p"), same(alias, "p", "trace_id"))
        sought = [] if self.lifted else self._sought_keys(values)
        query = query.where(exp.Not(this=column("is_complete", "p")), *sought, copy=False)
        return query.group_by(*values, column("trace_id", alias), copy=False)


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
