"""The most items of a set in any stretch of a given length → SQL, and where the earliest full stretch begins.

Both ends of a stretch are in it. Only scopes that have enough items at all are looked at closely.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.planning.planner import Plan, quantities
from dagster_project.rule_language.sql.nodes import (
    FAR_NS,
    ITEM,
    aliased,
    call,
    column,
    filtered,
    integer,
    joined,
    of,
    same,
    select,
    stretch,
    table,
)
from dagster_project.rule_language.sql.scope import comparisons
from dagster_project.rule_language.sql.witness import full_from, needed_of


@dataclass(frozen=True)
class RateSql:
    """One rate of a plan over the scopes that `counted` has counted."""

    made: Plan
    scope: list[str]
    number: int

    @property
    def rate(self) -> model.Rate:
        return self.made.rates[self.number]

    def parts(self) -> list[tuple[str, exp.Expression]]:
        """Named queries; the last has a row a scope that is worth it: `most`, and where stretches are first full."""
        return [(f"rate{self.number}_at", self._at_items()), (f"rate{self.number}", self._of_scopes())]

    def _at_items(self) -> exp.Expression:
        """How many items there are in the stretch that begins at each item."""
        at = call("epoch_ns", column("at", ITEM))
        partition = [column(name, ITEM) for name in self.scope]
        held = stretch(exp.Count(this=exp.Star()), partition, at, 0, min(self.rate.per_ns, FAR_NS))
        chosen = f"t{self.made.set_of(self.rate.items)}"
        query = select(*partition, column("at", ITEM), aliased(held, "held")).from_(table("items", ITEM), copy=False)
        query = joined(query, "INNER", table("counted", "c"), same(ITEM, "c", *self.scope))
        enough = of(exp.GTE, column(f"n{self.made.set_of(self.rate.items)}", "c"), integer(self.needs[0]))
        return query.where(column(chosen, ITEM), enough, copy=False)

    def _of_scopes(self) -> exp.Expression:
        grouping = [column(name, ITEM) for name in self.scope]
        held = column("held", ITEM)
        columns = [*grouping, aliased(exp.Max(this=held), "most")]
        for needed in self.needs:
            begins = filtered(exp.Min(this=column("at", ITEM)), of(exp.GTE, held, integer(needed)))
            columns.append(aliased(begins, full_from(self.number, needed)))
        query = select(*columns).from_(table(f"rate{self.number}_at", ITEM), copy=False)
        return query.group_by(*(one.copy() for one in grouping), copy=False)

    @property
    def needs(self) -> list[int]:
        """With how many items the comparisons of this rate turn out otherwise than over nothing."""
        judgement = self.made.judgement
        found = {
            needed_of(one, self.rate)
            for condition in (judgement.when, judgement.bad)
            for one in comparisons(condition)
            if self.rate in quantities(one.left) + quantities(one.right)
        }
        return sorted(found)
