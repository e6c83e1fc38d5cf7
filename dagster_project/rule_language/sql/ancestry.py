"""Which of two spans of different services began first where their clocks do not tell: the one that called the other.

Only pairs within the skew tolerance are made: both are put into buckets of time as long as it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlglot import exp

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.sql.nodes import (
    aliased,
    call,
    column,
    every_of,
    integer,
    is_null,
    is_true,
    joined,
    of,
    one_of,
    same,
    select,
    star,
    table,
)


@dataclass(frozen=True)
class AncestrySql:
    """Reads `<prefix>_seen` (items that need a partner) and `<prefix>_near` (which holds the partners)."""

    prefix: str
    scope: list[str]
    order: model.Ordered
    table: Callable[[str, str | None], exp.Expression]

    @property
    def result(self) -> str:
        return f"{self.prefix}_settled"

    def same_item(self, left: str, right: str) -> exp.Expression:
        """Both rows are of the same span in the same scope."""
        return same(left, right, *dict.fromkeys([*self.scope, "trace_id", "span_id", "kind"]))

    def parts(self) -> list[tuple[str, exp.Expression]]:
        """Named queries; `result` has a row an item for which the clocks did not tell."""
        return [
            (f"{self.prefix}_unsure", self._unsure()),
            (f"{self.prefix}_pairs", self._pairs()),
            (self.result, self._settled()),
        ]

    def _bucket(self, at: exp.Expression) -> exp.Expression:
        return of(exp.IntDiv, at, integer(max(1, self.order.skew_ns)))

    def _unsure(self) -> exp.Expression:
        """Each item in the buckets in which its partners can be."""
        bucket = self._bucket(column("needy_at", "n"))
        buckets = [of(exp.Add, bucket, integer(step)) for step in (-1, 0, 1)]
        query = select(star("n"), aliased(call("unnest", exp.Array(expressions=buckets)), "bucket"))
        open_ones = every_of([exp.Not(this=column("is_sure", "n")), column("may_be_near", "n")])
        return query.from_(table(f"{self.prefix}_seen", "n"), copy=False).where(open_ones, copy=False)

    def _pairs(self) -> exp.Expression:
        """The pairs that the clocks do not tell apart."""
        service, other = column("service_name", "n"), column("service_name", "m")
        apart = of(exp.Sub, column("needy_at", "n"), column("partner_at", "m"))
        columns = [
            *(column(name, "n") for name in dict.fromkeys([*self.scope, "trace_id", "span_id", "kind"])),
            *(aliased(column(name, "m"), f"partner_{name}") for name in ("trace_id", "span_id", "kind")),
            aliased(apart, "apart"),
        ]
        query = select(*columns).from_(table(f"{self.prefix}_unsure", "n"), copy=False)
        in_bucket = exp.EQ(this=column("bucket", "n"), expression=self._bucket(column("partner_at", "m")))
        on = every_of([same("n", "m", *self.scope), in_bucket])
        query = joined(query, "INNER", table(f"{self.prefix}_near", "m"), on)
        skew = self.order.skew_ns
        close = exp.Between(this=apart.copy(), low=integer(-skew), high=integer(skew))
        differ = one_of([is_null(service), is_null(other), of(exp.NEQ, service, other)])
        return query.where(column("is_partner", "m"), close, differ, copy=False)

    def _settled(self) -> exp.Expression:
        """Whether a partner surely came before, and whether one is left of which that is open."""
        needy_above, partner_above = self._is_above("h", "e"), self._is_above("e", "h")
        before, after = partner_above, needy_above
        if self.order.every == "first":
            before, after = after, before
        if self.order.within_ns is not None:
            in_time = of(exp.LT, column("apart", "n"), integer(self.order.within_ns - self.order.skew_ns))
            before = every_of([before, in_time])
        left_open = every_of([exp.Not(this=exp.Paren(this=before.copy())), exp.Not(this=exp.Paren(this=after))])
        grouping = [column(name, "n") for name in dict.fromkeys([*self.scope, "trace_id", "span_id", "kind"])]
        columns = [
            *grouping,
            aliased(call("bool_or", before), "is_sure"),
            aliased(call("bool_or", left_open), "may_be_near"),
        ]
        query = select(*columns).from_(table(f"{self.prefix}_pairs", "n"), copy=False)
        query = joined(query, "LEFT", self.table("shapes", "h"), same("n", "h", "trace_id", "span_id", "kind"))
        partner: list[exp.Expression] = [
            exp.EQ(this=column(f"partner_{name}", "n"), expression=column(name, "e"))
            for name in ("trace_id", "span_id", "kind")
        ]
        query = joined(query, "LEFT", self.table("shapes", "e"), every_of(partner))
        return query.group_by(*(one.copy() for one in grouping), copy=False)

    def _is_above(self, upper: str, lower: str) -> exp.Expression:
        """One node stands above the other in its trace; false where either is unknown."""
        parts = [
            same(upper, lower, "trace_id"),
            of(exp.LT, column("nested_left", upper), column("nested_left", lower)),
            of(exp.GT, column("nested_right", upper), column("nested_right", lower)),
        ]
        return is_true(every_of(parts))
