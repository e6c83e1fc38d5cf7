"""The first half of a rule's query: which items it reads, in which scopes, and what it notes of each.

An item is a span, log record, span event or link that some set of the rule matches. `sql` goes on from items to
verdicts; how items are related to others is `relation`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlglot import exp

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.planning.planner import Plan, plan
from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.sql.domain import Context, plain_parts, widest
from dagster_project.rule_language.sql.entity import (
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
from dagster_project.rule_language.sql.item import TRACE, ItemSql
from dagster_project.rule_language.sql.keys import CARRIED, CARRIER, KeysSql
from dagster_project.rule_language.sql.nodes import (
    aliased,
    call,
    cast,
    column,
    every_of,
    in_query,
    is_null,
    is_true,
    joined,
    not_null,
    one_of,
    same,
    select,
    star,
    table,
    timestamp,
    union_all,
)
from dagster_project.rule_language.sql.relation import Relations
from dagster_project.rule_language.sql.source import Source
from dagster_project.rule_language.text.syntax import Entity

# Before it nothing can be recorded: times count nanoseconds in 64 bits.
_EARLIEST = datetime(1677, 9, 22)

__all__ = ["TABLES", "Scan", "Source", "schema_table"]


@dataclass
class Scan:
    """What one rule reads from one source."""

    rule: Rule
    source: Source
    made: Plan = field(init=False)
    relations: Relations = field(init=False)
    item_sql: ItemSql = field(init=False)
    key_sql: KeysSql = field(init=False)

    def __post_init__(self) -> None:
        self.made = plan(self.rule.judgement, self.source.statistics)
        self.made.anchored = self.source.anchored
        self.relations = Relations(
            self.source.table,
            self.source.columns,
            self._scope_conditions,
            one_trace=not self.grouped,
            shapes_have_names=self.source.shapes_have_names,
        )
        self.item_sql = self.relations.item_sql
        self.key_sql = KeysSql(self.rule.judgement, self.source, self.item_sql)
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
        return self.key_sql.names

    @property
    def grouped(self) -> bool:
        return self.rule.judgement.scope is not model.Scope.TRACE

    @property
    def can_lose(self) -> bool:
        return self.made.can_lose

    def related(self, *carriers: exp.Expression) -> list[tuple[str, exp.Expression]]:
        """The named parts of the query that conditions on items refer to, in order.

        Of the spans that carry a lifted key those for which the conditions `carriers` hold.
        """
        carried = [(CARRIED, self.key_sql.carried(*carriers))] if self.key_sql.lifted else []
        return [*carried, *self.relations.parts()]

    def null_keys(self) -> exp.Select:
        """How many items of the window lack a key; self-contained."""
        count = aliased(exp.Count(this=exp.Star()), "null_keys")
        return select(count).from_(self.unkeyed().subquery("missing", copy=False), copy=False)

    def unkeyed(self) -> exp.Select:
        """The trace of each item of the window that lacks a key, and the day of a log without one; self-contained."""
        read = self.source.read
        unions = []
        for entity in self.made.entities:
            sets = self._sets_of(entity, self.made.relevant)
            alone = exp.case().when(is_null(trace_id(entity)), column("occurred_on", ALIASES["log"]))
            day = cast(alone if entity == "log" else exp.null(), "DATE")
            query = from_entity(select(trace_id(entity), aliased(day, "day")), entity, self.source.table)
            query = self.relations.joined_to(query, entity, [one.condition for one in sets])
            if self.key_sql.lifted:
                carriers = select(column("trace_id")).from_(table(CARRIED), copy=False)
                carried = exp.Paren(this=in_query(trace_id(entity), carriers))
                missing = one_of([is_null(trace_id(entity)), exp.Not(this=carried)])
            else:
                missing = one_of([is_null(key) for key in self.key_sql.values(entity)])
            arrived = [read(entity)] if read else []
            unions.append(query.where(missing, self._relevant(entity), *self._inside(entity), *arrived, copy=False))
        together = exp.Subquery(this=union_all(unions), alias=exp.TableAlias(this=exp.to_identifier("unkeyed")))
        result = select(exp.Star()).from_(together, copy=False)
        for name, part in self.related(*([read("span")] if read else [])):
            result = result.with_(exp.to_identifier(name, quoted=True), as_=part, copy=False)
        return result

    # Items: what some set of the rule matches.

    def _from_entity(self, query: exp.Select, entity: Entity, read: Iterable[object]) -> exp.Select:
        """Add the table of an entity, the keys of its trace, and what conditions read beside it."""
        query = from_entity(query, entity, self.source.table)
        if self.key_sql.lifted:
            query = joined(query, "INNER", table(CARRIED, CARRIER), same(ALIASES[entity], CARRIER, "trace_id"))
        return self.relations.joined_to(query, entity, read)

    def _sets_of(self, entity: Entity, numbers: Iterable[int]) -> list[model.Items]:
        return [one for number in sorted(numbers) if (one := self.made.sets[number]).entity == entity]

    def _relevant(self, entity: Entity, sets: Set[int] | None = None) -> exp.Expression:
        of_entity = self._sets_of(entity, self.made.relevant if sets is None else sets)
        return one_of([self.item_sql.condition(one.condition, entity) for one in widest(of_entity)])

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
            columns += [aliased(value, f"k{number}") for number, value in enumerate(self.key_sql.values(entity))]
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

    def _scope_conditions(self, entity: Entity) -> list[exp.Expression]:
        """What an item needs to belong to some scope that is asked for."""
        if self.key_sql.lifted:
            return self._time_bounds(entity)
        if self.grouped:
            read = [self.source.read(entity)] if self.source.read else []
            return [*self.key_sql.sought(self.key_sql.own(entity)), *read, *self._time_bounds(entity)]
        conditions = [not_null(trace_id(entity))] if entity == "log" else []
        if self.source.suspects:
            chosen = select(column("trace_id")).from_(table(self.source.suspects), copy=False)
            conditions.append(in_query(trace_id(entity), chosen))
        if self.source.touched:
            conditions.append(self.source.touched(trace_id(entity)))
        return conditions + (self._time_bounds(entity) if entity != "log" else [])

    def _time_bounds(self, entity: Entity) -> list[exp.Expression]:
        """Prune by time what no scope of the window can hold. There is no upper bound: a scope may go on for long."""
        if self.source.start is None:
            return []
        start = timestamp(self.source.start)
        if not self.grouped:
            # What a span carries belongs to its trace, whatever time it says.
            return [exp.GTE(this=column("started_at", ALIASES["span"]), expression=start)]
        # One gap earlier tells whether a group's first item in the window continues an older group. The bare column
        # stands on the left: the engine then leaves out blocks of rows that are older.
        try:
            earliest = self.source.start - timedelta(microseconds=-(-self.made.back_ns // 1000))
        except OverflowError:
            return []
        return [exp.GTE(this=started_at(entity), expression=timestamp(earliest))] if earliest > _EARLIEST else []

    def _inside(self, entity: Entity) -> list[exp.Expression]:
        """That an item itself lies in the window; without a start, one without a time does."""
        start, end, at = self.source.start, self.source.end, started_at(entity)
        found: list[exp.Expression] = [] if start is None else [exp.GTE(this=at, expression=timestamp(start))]
        if end is not None:
            before: exp.Expression = exp.LT(this=at.copy(), expression=timestamp(end))
            found.append(before if found else one_of([before, exp.Is(this=at.copy(), expression=exp.null())]))
        return found

    def rows(self, sets: Set[int]) -> exp.Select:
        """Of the items that are looked at, and read nothing beside them: the start, and whether these sets have it."""
        unions = []
        for entity in self.made.entities:
            if of_entity := self._sets_of(entity, self.made.relevant):
                inside = is_true(self._relevant(entity, sets)) if self._sets_of(entity, sets) else exp.false()
                columns = [aliased(inside, "is_inside"), aliased(started_at(entity), "at")]
                query = self._from_entity(select(*columns), entity, [items.condition for items in of_entity])
                unions.append(query.where(self._relevant(entity), *self._scope_conditions(entity), copy=False))
        return select(star("found")).from_(
            exp.Subquery(this=union_all(unions), alias=exp.TableAlias(this=exp.to_identifier("found", quoted=True))),
            copy=False,
        )

    def traces_with(self, items: model.Items) -> exp.Select:
        """The traces of the items of a set that reads nothing beside them, once an item."""
        entity = items.entity
        query = self._from_entity(select(trace_id(entity)), entity, [items.condition])
        return query.where(
            self.item_sql.condition(items.condition, entity), *self._scope_conditions(entity), copy=False
        )

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
                keys = [
                    aliased(value, name) for value, name in zip(self.key_sql.values(entity), self.keys, strict=True)
                ]
            query = self._from_entity(select(*keys), entity, [one.condition for one in sets])
            unions.append(query.where(self._relevant(entity, anchor), *self._scope_conditions(entity), copy=False))
        if self.grouped and self.can_lose:
            unions.append(select(*(column(name) for name in self.keys)).from_(table("lost"), copy=False))
        elif self.can_lose:
            traces = select(column("trace_id", TRACE)).from_(self.source.incomplete_traces(TRACE), copy=False)
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
        values = self.key_sql.values(entity)
        return in_query(values[0] if len(values) == 1 else exp.Tuple(expressions=values), chosen)

    def lost(self) -> exp.Expression:
        """The keys seen on incomplete traces."""
        return self.key_sql.lost()

    def key_rows(self, entity: Entity, condition: exp.Expression) -> exp.Select:
        """The keys of the items of an entity for which a condition holds; self-contained."""
        return self.key_sql.rows(entity, condition)
