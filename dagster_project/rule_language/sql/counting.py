"""What is counted of each scope: sets, counterexamples, values, aggregates, rates, order, what was before.

One pass over `items` counts most of it; what needs a closer look at some scopes is joined to it. `listing` adds the
scopes of which no item is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from sqlglot import exp

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.sql.aggregates import aggregate, sum_over_nothing
from dagster_project.rule_language.sql.baseline import BaselineSql
from dagster_project.rule_language.sql.nodes import (
    ITEM,
    aliased,
    call,
    column,
    every_of,
    filtered,
    integer,
    is_null,
    item_row,
    joined,
    not_null,
    same,
    select,
    sorted_set,
    table,
)
from dagster_project.rule_language.sql.order import OrderSql
from dagster_project.rule_language.sql.rate import RateSql
from dagster_project.rule_language.sql.scan import Scan
from dagster_project.rule_language.sql.scope import is_two_or_more_enough
from dagster_project.rule_language.sql.witness import full_from

COUNTED = "c"


@dataclass
class CountingSql:
    """The counters of one rule's scopes, which `scope` names."""

    scan: Scan
    scope: list[str]

    @cached_property
    def orders(self) -> list[OrderSql]:
        made, source = self.scan.made, self.scan.source
        return [OrderSql(made, self.scope, number, source.table) for number in range(len(made.orders))]

    @cached_property
    def rates(self) -> list[RateSql]:
        return [RateSql(self.scan.made, self.scope, number) for number in range(len(self.scan.made.rates))]

    def parts(self) -> list[tuple[str, exp.Expression]]:
        """Named queries; the last one, `counters`, has a row a scope with items."""
        made = self.scan.made
        closer: list[OrderSql | RateSql | BaselineSql] = [*self.orders, *self.rates]
        baselines = [BaselineSql(self.scan, number) for number in range(len(made.baselines))]
        if not closer and not baselines:
            return [("counters", self.counted())]
        found = [("counted", self.counted())]
        for one in [*closer, *baselines]:
            found += one.parts()
        found.append(("counters", self._together(len(baselines))))
        return found

    @property
    def names(self) -> dict[str, bool]:
        """The columns of counters that conditions read, and whether they are 0 of no items (else null)."""
        made = self.scan.made
        zero = [
            *(f"n{number}" for number in range(len(made.sets))),
            *(f"x{number}" for number in range(len(made.everies))),
            *(f"d{number}" for number in range(len(made.distincts))),
            *(f"m{number}" for number in range(len(made.rates))),
            *(f"{name}{number}" for number in range(len(made.orders)) for name in ("against", "undecided")),
            *(f"a{number}" for number, one in enumerate(made.aggregates) if one.function == "sum"),
        ]
        null = [
            *(f"a{number}" for number, one in enumerate(made.aggregates) if one.function != "sum"),
            *(f"{name}{number}" for number in range(len(made.baselines)) for name in ("b", "few")),
            *(f"first_against{number}" for number in range(len(made.orders))),
            *(full_from(rate.number, needed) for rate in self.rates for needed in rate.needs),
        ]
        return {**dict.fromkeys(zero, True), **dict.fromkeys(null, False)}

    def counted(self) -> exp.Expression:
        """One pass over the items: a row a scope."""
        made = self.scan.made
        columns: list[exp.Expression] = [column(name, ITEM) for name in self.scope]
        columns += [aliased(_number_of(f"t{number}"), f"n{number}") for number in range(len(made.sets))]
        columns += [aliased(_number_of(f"x{number}"), f"x{number}") for number in range(len(made.everies))]
        columns += [aliased(self._values(one), f"d{number}") for number, one in enumerate(made.distincts)]
        columns += [aliased(self._aggregate(one), f"a{number}") for number, one in enumerate(made.aggregates)]
        columns += [counter for order in self.orders for counter in order.counters()]
        at = column("at", ITEM)
        columns += [aliased(exp.Min(this=at), "began_at"), aliased(exp.Max(this=at.copy()), "last_at")]
        if self.scan.source.satisfied_in_full:
            columns += named_by(self.scan)
        grouping = [column(name, ITEM) for name in self.scope]
        return select(*columns).from_(table("items", ITEM), copy=False).group_by(*grouping, copy=False)

    def _together(self, baselines: int) -> exp.Expression:
        """What was counted, and what was found by looking closer."""
        closer = [f"order{order.number}" for order in self.orders]
        query = select(exp.Column(this=exp.Star(), table=exp.to_identifier(COUNTED, quoted=True)))
        columns = query.expressions
        for order in self.orders:
            columns += self._of_order(order)
        for rate in self.rates:
            name = f"rate{rate.number}"
            columns.append(aliased(call("coalesce", column("most", name), integer(0)), f"m{rate.number}"))
            columns += [column(full_from(rate.number, needed), name) for needed in rate.needs]
            closer.append(name)
        for number in range(baselines):
            columns.append(aliased(column("value", f"baseline{number}"), f"b{number}"))
            columns.append(aliased(column("is_too_few", f"baseline{number}"), f"few{number}"))
            closer.append(f"baseline{number}")
        query = query.from_(table("counted", COUNTED), copy=False)
        for name in closer:
            query = joined(query, "LEFT", table(name, name), same(COUNTED, name, *self.scope))
        return query

    def _of_order(self, order: OrderSql) -> list[exp.Expression]:
        """Without any partner every item that needs one is a counterexample."""
        number, name = order.number, f"order{order.number}"
        alone = every_of([is_null(column(f"p{number}", COUNTED)), not_null(column(f"q{number}", COUNTED))])
        against = (
            exp.Case()
            .when(alone, integer(1), copy=False)
            .else_(call("coalesce", column("against", name), integer(0)), copy=False)
        )
        return [
            aliased(against, f"against{number}"),
            aliased(call("coalesce", column("undecided", name), integer(0)), f"undecided{number}"),
            aliased(column("first_against", name), f"first_against{number}"),
        ]

    def _aggregate(self, one: model.Aggregate) -> exp.Expression:
        value, matches = self._field(one.field), self._matches(one.items)
        found = aggregate(one.function, value, matches, one.field.type)
        return sum_over_nothing(found, value, matches) if one.function == "sum" else found

    def _values(self, one: model.Distinct) -> exp.Expression:
        """How many values; where two are as good as many, the smallest and the largest tell."""
        value, matches = self._field(one.field), self._matches(one.items)
        if not is_two_or_more_enough(self.scan.made, one):
            return filtered(exp.Count(this=exp.Distinct(expressions=[value])), matches)
        low, high = (filtered(kind(this=value.copy()), matches.copy()) for kind in (exp.Min, exp.Max))
        return (
            exp.Case()
            .when(exp.Is(this=low, expression=exp.null()), integer(0), copy=False)
            .when(exp.EQ(this=low.copy(), expression=high), integer(1), copy=False)
            .else_(integer(2), copy=False)
        )

    def _field(self, read: model.Field) -> exp.Expression:
        return column(f"f{self.scan.made.field_of(read)}", ITEM)

    def _matches(self, items: model.Items) -> exp.Expression:
        return column(f"t{self.scan.made.set_of(items)}", ITEM)


def named_by(scan: Scan) -> list[exp.Expression]:
    """What names a scope: its first item and, where that is not plain, its traces. Costs more than all counters."""
    found: list[exp.Expression] = [aliased(exp.Min(this=item_row(ITEM)), "first_item")]
    return [*found, aliased(sorted_set("trace_id"), "trace_ids")] if scan.grouped else found


def _number_of(flag: str) -> exp.Expression:
    return exp.CountIf(this=column(flag, ITEM))
