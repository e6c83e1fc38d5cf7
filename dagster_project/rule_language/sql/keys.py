"""The keys of groups as SQL: what an item carries itself, what its trace carries, and which keys losses touch."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.meaning.model import Type
from dagster_project.rule_language.meaning.resolve import group_key
from dagster_project.rule_language.sql.entity import ALIASES, from_entity, trace_id
from dagster_project.rule_language.sql.item import ItemSql
from dagster_project.rule_language.sql.nodes import (
    aliased,
    call,
    cast,
    column,
    in_query,
    joined,
    not_null,
    of,
    same,
    select,
    table,
    timestamp,
)
from dagster_project.rule_language.sql.source import Source
from dagster_project.rule_language.text.syntax import Entity

CARRIED, CARRIER = "carried", "ca"
"""The keys that the spans of a trace carry, where whole traces are grouped."""


@dataclass(frozen=True)
class KeysSql:
    """The keys of the groups of one rule over one source."""

    judgement: model.Judgement
    source: Source
    item_sql: ItemSql

    @property
    def names(self) -> list[str]:
        """The columns that hold them."""
        return [f"k{number}" for number in range(len(self.judgement.group_by))]

    @property
    def lifted(self) -> bool:
        """Whether traces are grouped by what any of their spans carries."""
        return self.judgement.scope is model.Scope.LIFTED

    def values(self, entity: Entity) -> list[exp.Expression]:
        if self.lifted:
            return [column(name, CARRIER) for name in self.names]
        return self.own(entity)

    def own(self, entity: Entity) -> list[exp.Expression]:
        """The keys that an item itself carries."""
        values = []
        for key in self.judgement.group_by:
            read = group_key(key, entity)
            value = self.item_sql.value(read)
            # Keys are JSON texts, so that "2" and 2 are two groups and a service cannot collide with an attribute.
            values.append(value if read.type is Type.ANY else cast(call("to_json", value), "VARCHAR"))
        return values

    def carried(self, *conditions: exp.Expression) -> exp.Select:
        """The keys that each trace carries, each once; of several keys every combination of the values it has."""
        values = self.own("span")
        if len(values) == 1:
            return self._carried(values, self.names, [*self.sought(values), *conditions])
        parts = [
            exp.Subquery(
                this=self._carried([value], [name], [not_null(value.copy()), *(one.copy() for one in conditions)]),
                alias=exp.TableAlias(this=exp.to_identifier(f"{CARRIER}{number}", quoted=True)),
            )
            for number, (value, name) in enumerate(zip(values, self.names, strict=True))
        ]
        named = [column(name, f"{CARRIER}{number}") for number, name in enumerate(self.names)]
        query = select(column("trace_id", f"{CARRIER}0"), *named).from_(parts[0], copy=False)
        for number, part in enumerate(parts[1:], 1):
            query = joined(query, "INNER", part, same(f"{CARRIER}0", f"{CARRIER}{number}", "trace_id"))
        touched = self.source.touched_keys
        return query.where(touched([one.copy() for one in named]), copy=False) if touched else query

    def _carried(self, values: list[exp.Expression], names: list[str], conditions: list[exp.Expression]) -> exp.Select:
        """Values that spans carry, with their traces, each once."""
        named = [aliased(value, name) for value, name in zip(values, names, strict=True)]
        query = from_entity(select(trace_id("span"), *named), "span", self.source.table)
        return query.where(*conditions, copy=False).distinct(copy=False)

    def sought(self, values: list[exp.Expression]) -> list[exp.Expression]:
        """That there is a key, and that it is to be judged."""
        sought = [self.source.touched_keys(values)] if self.source.touched_keys else []
        return [*map(not_null, values), *sought]

    def rows(self, entity: Entity, condition: exp.Expression) -> exp.Select:
        """The keys, as `k0`, `k1`, ..., of the items of an entity for which a condition holds; self-contained."""
        if self.lifted:
            # What arrived with one key stands beside whatever else its trace carries.
            arrived = from_entity(select(trace_id(entity)), entity, self.source.table)
            arrived = arrived.where(condition, not_null(trace_id(entity)), copy=False)
            named_of = exp.Subquery(
                this=self.carried(in_query(trace_id("span"), arrived)),
                alias=exp.TableAlias(this=exp.to_identifier(CARRIER, quoted=True)),
            )
            return select(*(column(name, CARRIER) for name in self.names)).from_(named_of, copy=False)
        values = self.own(entity)
        named = [aliased(value, name) for value, name in zip(values, self.names, strict=True)]
        query = from_entity(select(*named), entity, self.source.table)
        return query.where(*map(not_null, values), condition, copy=False)

    def lost(self) -> exp.Expression:
        """The keys seen on incomplete traces: a span lost there is taken to have carried one of them."""
        values = self.values("span")
        bounds = [
            aliased(exp.Min(this=call("epoch_ns", column("started_at", "p"))), "from_ns"),
            aliased(exp.Max(this=call("epoch_ns", column("ended_at", "p"))), "until_ns"),
            aliased(exp.Min(this=column("started_at", "p")), "started_at"),
            aliased(exp.Max(this=column("ended_at", "p")), "ended_at"),
        ]
        named = [aliased(value, name) for value, name in zip(values, self.names, strict=True)]
        alias = CARRIER if self.lifted else ALIASES["span"]
        rows = table(CARRIED, CARRIER) if self.lifted else self.source.table("spans", alias)
        query = select(*named, column("trace_id", alias), *bounds).from_(rows, copy=False)
        query = joined(query, "INNER", self.source.incomplete_traces("p"), same(alias, "p", "trace_id"))
        sought = [] if self.lifted else [*self.sought(values), *self._since()]
        query = query.where(exp.Not(this=column("is_complete", "p")), *sought, copy=False)
        return query.group_by(*values, column("trace_id", alias), copy=False)

    def _since(self) -> list[exp.Expression]:
        """A bound that every span of an incomplete trace is within, so that earlier days are not read."""
        first = self.source.lost_since
        return [] if first is None else [of(exp.GTE, column("started_at", ALIASES["span"]), timestamp(first))]
