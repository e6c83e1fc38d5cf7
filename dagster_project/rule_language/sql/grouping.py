"""Items of keys → the scopes they form: sessions at most a gap apart, or hours of UTC.

Traces need nothing of it. What is counted of a scope is `counting`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from dagster_project.rule_language.planning.planner import HOUR_NS
from dagster_project.rule_language.sql.nodes import aliased, call, column, integer, of, select, star, table

SESSION, HOUR = "session", "hour"


def hour_of(at: exp.Expression) -> exp.Expression:
    """The number of the hour, since 1970, in which a time lies."""
    return of(exp.IntDiv, call("epoch_ns", at), integer(HOUR_NS))


def hour_start(hour: exp.Expression) -> exp.Expression:
    """When an hour begins, in nanoseconds since 1970."""
    return of(exp.Mul, hour, integer(HOUR_NS))


@dataclass(frozen=True)
class GroupingSql:
    """Reads `unsplit`, the items with their keys."""

    keys: list[str]
    gap_ns: int

    def hours(self) -> exp.Expression:
        """Each item with its hour."""
        return select(star("q"), aliased(hour_of(column("at", "q")), HOUR)).from_(table("unsplit", "q"), copy=False)

    def marked(self) -> exp.Expression:
        """Mark each item that comes later than one gap after the one before it."""
        at = call("epoch_ns", column("at", "q"))
        apart = of(exp.Sub, at, self._window(call("lag", at.copy())))
        later = exp.GT(this=apart, expression=integer(self.gap_ns))
        is_new = exp.Case().when(later, integer(1), copy=False).else_(integer(0), copy=False)
        return select(star("q"), aliased(is_new, "opens")).from_(table("unsplit", "q"), copy=False)

    def sessions(self) -> exp.Expression:
        """Number the groups of a key. The default frame takes items of one instant together, as it must."""
        number = self._window(exp.Sum(this=column("opens", "q")))
        return select(star("q"), aliased(number, SESSION)).from_(table("marked", "q"), copy=False)

    def _window(self, function: exp.Expression) -> exp.Expression:
        order = exp.Order(expressions=[exp.Ordered(this=column("at", "q"), nulls_first=False)])
        return exp.Window(this=function, partition_by=[column(name, "q") for name in self.keys], order=order)
