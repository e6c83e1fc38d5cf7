"""Order of items of a scope → SQL: for which items that need a partner there is one, none, or the clocks do not tell.

Most scopes are settled by their first and last items, which `counting` has (`p`, `q`, `z`). The others are looked
at item by item: without `within` against the first partner of each service, with it in stretches of time. No pairs are
made but those within the skew tolerance, for which `ancestry` asks who called whom. Time runs backwards (its sign
is turned) for `followed by`, so that a partner is always looked for before its item.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from sqlglot import exp

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.planning.planner import Plan
from dagster_project.rule_language.sql.ancestry import AncestrySql
from dagster_project.rule_language.sql.nodes import (
    FAR_NS,
    ITEM,
    aliased,
    call,
    column,
    every_of,
    filtered,
    integer,
    is_null,
    is_true,
    item_row,
    joined,
    not_null,
    of,
    one_of,
    same,
    select,
    star,
    stretch,
    table,
    union_all,
)
from dagster_project.rule_language.text.syntax import Edge


@dataclass
class OrderSql:
    """One order of a plan over the scopes that `counted` has counted."""

    made: Plan
    scope: list[str]
    number: int
    table: Callable[[str, str | None], exp.Expression]

    @cached_property
    def order(self) -> model.Ordered:
        one = self.made.orders[self.number]
        within = None if one.within_ns is None else min(one.within_ns, FAR_NS)
        return replace(one, within_ns=within, skew_ns=min(one.skew_ns, FAR_NS))

    def counters(self) -> list[exp.Expression]:
        """What the first pass counts: the first partner, and the first and last item that needs one."""
        partner, needy = self._time(ITEM, partner=True), self._time(ITEM, partner=False)
        is_partner, is_needy = self._flags(ITEM)
        number = self.number
        found: list[tuple[str, type[exp.Expression], exp.Expression, exp.Expression]] = [
            (f"p{number}", exp.Min, partner, is_partner),
            (f"q{number}", exp.Min, needy, is_needy),
        ]
        if self.order.within_ns is not None:
            found.append((f"z{number}", exp.Max, needy, is_needy))
        return [aliased(filtered(kind(this=time.copy()), flag.copy()), name) for name, kind, time, flag in found]

    def parts(self) -> list[tuple[str, exp.Expression]]:
        """Named queries; the last one has a row a scope that its firsts do not settle."""
        found = [(self._name("near"), self._near())]
        if self.order.within_ns is None:
            found += [(self._name("firsts"), self._firsts()), (self._name("two"), self._two_firsts())]
            found.append((self._name("seen"), self._seen_by_firsts()))
        else:
            found += [(self._name("events"), self._events()), (self._name("seen"), self._seen_in_stretches())]
        settled = self._ancestry()
        if settled is not None:
            found += settled.parts()
        found.append((self._name("told"), self._told(settled)))
        found.append((f"order{self.number}", self._of_scopes()))
        return found

    def _name(self, part: str) -> str:
        return f"order{self.number}_{part}"

    def _flags(self, alias: str) -> tuple[exp.Expression, exp.Expression]:
        partner, needy = self.made.set_of(self.order.partners), self.made.set_of(self.order.quantified)
        return column(f"t{partner}", alias), column(f"t{needy}", alias)

    def _time(self, alias: str, *, partner: bool) -> exp.Expression:
        is_first = partner is (self.order.every == "second")
        edge: Edge = self.order.first_edge if is_first else self.order.second_edge
        time = call("epoch_ns", column("at" if edge == "start" else "ended_at", alias))
        return exp.Neg(this=time) if self.order.every == "first" else time

    # Scopes that their firsts do not settle, and the items of them that matter.

    def _near(self) -> exp.Expression:
        is_partner, is_needy = self._flags(ITEM)
        columns = [
            *(column(name, ITEM) for name in [*self.scope, "at", "span_id", "kind", "service_name"]),
            *([] if "trace_id" in self.scope else [column("trace_id", ITEM)]),
            aliased(is_partner, "is_partner"),
            aliased(is_needy, "is_needy"),
            aliased(self._time(ITEM, partner=True), "partner_at"),
            aliased(self._time(ITEM, partner=False), "needy_at"),
        ]
        query = select(*columns).from_(table("items", ITEM), copy=False)
        query = joined(query, "INNER", table("counted", "c"), same(ITEM, "c", *self.scope))
        return query.where(one_of([is_partner.copy(), is_needy.copy()]), self.unsettled("c"), copy=False)

    def unsettled(self, alias: str) -> exp.Expression:
        """There are both, and the first partner is not plainly before every item that needs one."""
        first, needy = column(f"p{self.number}", alias), column(f"q{self.number}", alias)
        fine = [of(exp.GT, of(exp.Sub, needy, first), integer(self.order.skew_ns))]
        if self.order.within_ns is not None:
            farthest = of(exp.Sub, column(f"z{self.number}", alias), first)
            fine.append(of(exp.LT, farthest, integer(self.order.within_ns - self.order.skew_ns)))
        return every_of([not_null(first.copy()), not_null(needy.copy()), exp.Not(this=exp.Paren(this=every_of(fine)))])

    # Without `within`: the first partners of all services, and of the item's own.

    def _firsts(self) -> exp.Expression:
        grouping = [column(name, "n") for name in [*self.scope, "service_name"]]
        query = select(*grouping, aliased(exp.Min(this=column("partner_at", "n")), "first_at"))
        query = query.from_(table(self._name("near"), "n"), copy=False).where(column("is_partner", "n"), copy=False)
        return query.group_by(*(one.copy() for one in grouping), copy=False)

    def _two_firsts(self) -> exp.Expression:
        """The first partners of the two services that had one first: one of them is another service's."""
        grouping = [column(name, "f") for name in self.scope]
        query = select(*grouping, aliased(call("min", column("first_at", "f"), integer(2)), "firsts"))
        query = query.from_(table(self._name("firsts"), "f"), copy=False)
        return query.group_by(*(one.copy() for one in grouping), copy=False)

    def _seen_by_firsts(self) -> exp.Expression:
        at, own = column("needy_at", "n"), column("first_at", "f")
        first, second = (call("list_extract", column("firsts", "w"), integer(place)) for place in (1, 2))
        others = exp.Case().when(is_true(of(exp.EQ, own, first)), second, copy=False).else_(first.copy(), copy=False)
        skew = integer(self.order.skew_ns)
        plainly = of(exp.LT, first, of(exp.Sub, at, skew))
        near = is_true(of(exp.LTE, others, of(exp.Add, at, skew)))
        columns = [
            star("n"),
            aliased(one_of([plainly, is_true(of(exp.LT, own, at))]), "is_sure"),
            aliased(near, "may_be_near"),
            aliased(exp.false(), "may_be_far"),
        ]
        query = select(*columns).from_(table(self._name("near"), "n"), copy=False)
        query = joined(query, "LEFT", table(self._name("firsts"), "f"), same("n", "f", *self.scope, "service_name"))
        query = joined(query, "INNER", table(self._name("two"), "w"), same("n", "w", *self.scope))
        return query.where(column("is_needy", "n"), copy=False)

    # With `within`: partners in stretches of time before the item.

    def _events(self) -> exp.Expression:
        """An item that is both stands here twice, at its two times."""
        sides = []
        for flag, other, time in (("is_needy", "is_partner", "needy_at"), ("is_partner", "is_needy", "partner_at")):
            columns: list[exp.Expression] = [
                column(name, "n") for name in [*self.scope, "at", "span_id", "kind", "service_name"]
            ]
            columns += [] if "trace_id" in self.scope else [column("trace_id", "n")]
            columns += [aliased(exp.true(), flag), aliased(exp.false(), other), aliased(column(time, "n"), "time")]
            columns.sort(key=lambda one: one.alias_or_name)
            query = select(*columns).from_(table(self._name("near"), "n"), copy=False)
            sides.append(query.where(column(flag, "n"), copy=False))
        return union_all(sides)

    def _seen_in_stretches(self) -> exp.Expression:
        within, skew = self.order.within_ns or 0, self.order.skew_ns
        service = column("service_name", "n")
        sure = [every_of([not_null(service), self._held(-within, -1, own=True)])] if within else []
        if within - skew - 1 >= skew + 1:
            sure.append(self._held(skew + 1 - within, -skew - 1))
        far = self._held_elsewhere(-within - skew, -skew - 1)
        columns = [
            star("n"),
            aliased(column("time", "n"), "needy_at"),
            aliased(one_of(sure), "is_sure"),
            aliased(self._held_elsewhere(-skew, skew), "may_be_near"),
            aliased(far, "may_be_far"),
        ]
        everything = select(*columns).from_(table(self._name("events"), "n"), copy=False)
        inside = exp.Subquery(this=everything, alias=exp.TableAlias(this=exp.to_identifier("n", quoted=True)))
        return select(star("n")).from_(inside, copy=False).where(column("is_needy", "n"), copy=False)

    def _held(self, start: int, end: int, *, own: bool = False) -> exp.Expression:
        """There is a partner in the stretch; `own`: of the same service."""
        number = filtered(exp.Count(this=exp.Star()), column("is_partner", "n"))
        return of(exp.GT, self._over(number, start, end, own=own), integer(0))

    def _held_elsewhere(self, start: int, end: int) -> exp.Expression:
        """There is a partner of another service, or of none, in the stretch."""
        service, flag = column("service_name", "n"), column("is_partner", "n")
        nameless = filtered(exp.Count(this=exp.Star()), every_of([flag, is_null(service)]))
        lowest, highest = (filtered(kind(this=service.copy()), flag.copy()) for kind in (exp.Min, exp.Max))
        others = [of(exp.NEQ, self._over(one, start, end), service) for one in (lowest, highest)]
        elsewhere = one_of([of(exp.GT, self._over(nameless, start, end), integer(0)), *map(is_true, others)])
        return exp.Case().when(is_null(service), self._held(start, end), copy=False).else_(elsewhere, copy=False)

    def _over(self, function: exp.Expression, start: int, end: int, *, own: bool = False) -> exp.Expression:
        names = [*self.scope, "service_name"] if own else self.scope
        return stretch(function, [column(name, "n") for name in names], column("time", "n"), start, end)

    # What is known of each item, and of the scope.

    def _ancestry(self) -> AncestrySql | None:
        """Only the starts of spans follow from who called whom."""
        order = self.order
        if {order.first_edge, order.second_edge} != {"start"} or {order.first.entity, order.second.entity} != {"span"}:
            return None
        return AncestrySql(f"order{self.number}", self.scope, order, self.table)

    def _told(self, ancestry: AncestrySql | None) -> exp.Expression:
        parts: list[exp.Expression] = [column(name, "n") for name in ("is_sure", "may_be_far", "may_be_near")]
        sure, far, near = parts
        query = select().from_(table(self._name("seen"), "n"), copy=False)
        if ancestry is not None:
            sure = one_of([sure, is_true(column("is_sure", "g"))])
            near = every_of([near, call("coalesce", column("may_be_near", "g"), exp.true())])
            query = joined(query, "LEFT", table(ancestry.result, "g"), ancestry.same_item("n", "g"))
        may_be = one_of([far, near])
        columns = [
            *(column(name, "n") for name in [*self.scope, "at", "span_id"]),
            *([] if "trace_id" in self.scope else [column("trace_id", "n")]),
            aliased(every_of([exp.Not(this=exp.Paren(this=sure)), exp.Not(this=exp.Paren(this=may_be))]), "is_against"),
            aliased(every_of([exp.Not(this=exp.Paren(this=sure.copy())), may_be.copy()]), "is_open"),
        ]
        query.set("expressions", columns)
        return query

    def _of_scopes(self) -> exp.Expression:
        grouping = [column(name, ITEM) for name in self.scope]
        columns = [
            *grouping,
            aliased(exp.CountIf(this=column("is_against", ITEM)), "against"),
            aliased(exp.CountIf(this=column("is_open", ITEM)), "undecided"),
            aliased(filtered(exp.Min(this=item_row(ITEM)), column("is_against", ITEM)), "first_against"),
        ]
        query = select(*columns).from_(table(self._name("told"), ITEM), copy=False)
        return query.group_by(*(one.copy() for one in grouping), copy=False)
