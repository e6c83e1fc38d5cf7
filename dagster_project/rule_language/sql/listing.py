"""Which scopes there are, with their counters: those of which items were seen, and those that a loss may have hidden.

Also whether something was lost of each, and how that shows. What is counted is `counting`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from dagster_project.rule_language.meaning.model import Scope
from dagster_project.rule_language.sql.grouping import HOUR, hour_of, hour_start
from dagster_project.rule_language.sql.nodes import (
    aliased,
    call,
    cast,
    column,
    in_query,
    integer,
    is_true,
    joined,
    of,
    same,
    select,
    star,
    table,
    text,
    timestamp,
    union_all,
)
from dagster_project.rule_language.sql.quantity import LOST
from dagster_project.rule_language.sql.scan import Scan

SCOPE = "a"


@dataclass(frozen=True)
class ListingSql:
    """The scopes of one rule; `counters` says which columns to carry, and whether they are 0 of no items."""

    scan: Scan
    scope: list[str]
    counters: dict[str, bool]

    def parts(self) -> list[tuple[str, exp.Expression]]:
        """Named queries; the last one, `scopes`, has a row a scope of the window."""
        if not self.scan.grouped:
            return [("scopes", self._traces())]
        if self._of_hours:
            lost = [("lost_hours", self._lost_hours())] if self.scan.can_lose else []
            return [*lost, ("scopes", self._groups())]
        return [("scopes", self._groups())]

    @property
    def _of_hours(self) -> bool:
        return self.scan.rule.judgement.scope is Scope.HOUR

    def _traces(self) -> exp.Expression:
        """Every trace, with its counters; a trace of which only logs came has lost its spans."""
        suspects = self.scan.source.suspects
        if suspects:
            trace_id: exp.Expression = column("trace_id", "b")
        else:
            trace_id = call("coalesce", column("trace_id", SCOPE), column("trace_id", "p"))
        first_at = call(
            "coalesce",
            column("began_at", SCOPE),
            column("started_at", "p"),
        )
        belongs_at = call("coalesce", column("started_at", "p"), first_at.copy())
        columns: list[exp.Expression] = [
            aliased(trace_id, "trace_id"),
            aliased(exp.Not(this=is_true(column("is_complete", "p"))), LOST),
            aliased(_loss_of_trace(), "loss_reason"),
            aliased(first_at, "first_at"),
            aliased(call("coalesce", column("last_at", SCOPE), column("ended_at", "p")), "last_at"),
            aliased(cast(belongs_at, "DATE"), "started_on"),
            column("began_at", SCOPE),
            *self._named(),
            *self._carried(),
        ]
        conditions = self._window_conditions(belongs_at)
        if self.scan.source.touched:
            conditions.append(exp.Paren(this=self.scan.source.touched(trace_id)))
        if suspects:
            # Few, and all that can be listed: each with what was counted of it, and with what is known of its trace.
            query = select(*columns).from_(table(suspects, "b"), copy=False)
            query = joined(query, "LEFT", table("counters", SCOPE), same("b", SCOPE, "trace_id"))
            query = joined(query, "LEFT", self.scan.source.table("traces", "p"), same("b", "p", "trace_id"))
            return query.where(*conditions, copy=False) if conditions else query
        side = "FULL" if self.scan.made.anchor is None else "LEFT"
        query = select(*columns).from_(table("counters", SCOPE), copy=False)
        query = joined(query, side, self.scan.source.table("traces", "p"), same(SCOPE, "p", "trace_id"))
        seen = query.where(*conditions, copy=False) if conditions else query
        return union_all([seen, self._unseen(columns, conditions)]) if side == "LEFT" and self.scan.can_lose else seen

    def _unseen(self, columns: list[exp.Expression], conditions: list[exp.Expression]) -> exp.Select:
        """An anchored rule can only apply to a trace without items where some were lost: the others are not read."""
        counted = select(column("trace_id")).from_(table("counters"), copy=False)
        unseen = exp.Not(this=exp.Paren(this=in_query(column("trace_id", "p"), counted)))
        lossy = exp.Not(this=column("is_complete", "p"))
        query = select(*(one.copy() for one in columns)).from_(self.scan.source.table("traces", "p"), copy=False)
        nothing = select(star("c")).from_(table("counters", "c"), copy=False).where(exp.false(), copy=False)
        none = exp.Subquery(this=nothing, alias=exp.TableAlias(this=exp.to_identifier(SCOPE, quoted=True)))
        query = joined(query, "LEFT", none, same(SCOPE, "p", "trace_id"))
        return query.where(lossy, unseen, *(one.copy() for one in conditions), copy=False)

    def _groups(self) -> exp.Expression:
        """The groups that formed, and those that may have formed of nothing but lost spans."""
        first_at = column("began_at", SCOPE)
        columns = [
            *(column(name, SCOPE) for name in self.scope),
            aliased(self._touched_by_loss(), LOST),
            aliased(text("a trace of the group is incomplete"), "loss_reason"),
            aliased(first_at, "first_at"),
            column("last_at", SCOPE),
            aliased(cast(first_at.copy(), "DATE"), "started_on"),
            column("began_at", SCOPE),
            *self._named(),
            *self._carried(),
        ]
        formed = select(*columns).from_(table("counters", SCOPE), copy=False)
        conditions = self._window_conditions(self._belongs_at(SCOPE, first_at))
        unions = [formed.where(*conditions, copy=False) if conditions else formed]
        if self.scan.can_lose:
            unions.append(self._unformed_hours() if self._of_hours else self._unformed())
        return union_all(unions)

    def _belongs_at(self, alias: str, first_at: exp.Expression) -> exp.Expression:
        """What tells the window that a scope belongs to: the first item, or when the hour begins."""
        return call("make_timestamp_ns", hour_start(column(HOUR, alias))) if self._of_hours else first_at

    def _touched_by_loss(self) -> exp.Expression:
        if not self.scan.can_lose:
            return exp.false()
        if not self._of_hours:
            return exp.Exists(this=self._overlapping("lost", "o", SCOPE))
        names = [column(name, SCOPE) for name in self.scope]
        chosen = select(*(column(name) for name in self.scope)).from_(table("lost_hours"), copy=False)
        return exp.Paren(this=in_query(names[0] if len(names) == 1 else exp.Tuple(expressions=names), chosen))

    def _unformed(self) -> exp.Select:
        columns = [
            *(column(name, "o") for name in self.scan.keys),
            aliased(integer(-1), "session"),
            aliased(exp.true(), LOST),
            aliased(text("a trace that carries the key is incomplete"), "loss_reason"),
            aliased(column("started_at", "o"), "first_at"),
            aliased(column("ended_at", "o"), "last_at"),
            aliased(cast(column("started_at", "o"), "DATE"), "started_on"),
            aliased(exp.null(), "began_at"),
            *self._named_of_nothing(exp.Array(expressions=[column("trace_id", "o")])),
            *self._nothing(),
        ]
        alone = exp.Not(this=exp.Exists(this=self._overlapping("counters", SCOPE, "o")))
        conditions = [alone, *self._window_conditions(column("started_at", "o"))]
        return select(*columns).from_(table("lost", "o"), copy=False).where(*conditions, copy=False)

    def _lost_hours(self) -> exp.Expression:
        """The hours of a key in which a span can have been lost: all that its incomplete traces last."""
        first, last = (hour_of(column(name, "o")) for name in ("started_at", "ended_at"))
        hours = call("unnest", call("range", first, of(exp.Add, last, integer(1))))
        names = [*self.scan.keys, "trace_id", "started_at", "ended_at"]
        each = select(*(column(name, "o") for name in names), aliased(hours, HOUR)).from_(
            table("lost", "o"), copy=False
        )
        inside = exp.Subquery(this=each, alias=exp.TableAlias(this=exp.to_identifier("e", quoted=True)))
        grouping = [column(name, "e") for name in self.scope]
        traces = call("list_sort", call("list_distinct", call("list", column("trace_id", "e"))))
        columns = [
            *grouping,
            aliased(traces, "trace_ids"),
            aliased(exp.Min(this=column("started_at", "e")), "started_at"),
            aliased(exp.Max(this=column("ended_at", "e")), "ended_at"),
        ]
        return select(*columns).from_(inside, copy=False).group_by(*(one.copy() for one in grouping), copy=False)

    def _unformed_hours(self) -> exp.Select:
        columns = [
            *(column(name, "o") for name in self.scope),
            aliased(exp.true(), LOST),
            aliased(text("a trace that carries the key is incomplete"), "loss_reason"),
            aliased(column("started_at", "o"), "first_at"),
            aliased(column("ended_at", "o"), "last_at"),
            aliased(cast(self._belongs_at("o", exp.null()), "DATE"), "started_on"),
            aliased(exp.null(), "began_at"),
            *self._named_of_nothing(column("trace_ids", "o")),
            *self._nothing(),
        ]
        names = [column(name, "o") for name in self.scope]
        formed = select(*(column(name) for name in self.scope)).from_(table("counters"), copy=False)
        alone = exp.Not(
            this=exp.Paren(this=in_query(names[0] if len(names) == 1 else exp.Tuple(expressions=names), formed))
        )
        conditions = [alone, *self._window_conditions(self._belongs_at("o", exp.null()))]
        return select(*columns).from_(table("lost_hours", "o"), copy=False).where(*conditions, copy=False)

    def _overlapping(self, rows: str, inner: str, outer: str) -> exp.Select:
        """Rows of a table with the key of the outer row and not further than one gap from it."""
        gap = cast(integer(self.scan.rule.judgement.gap_ns), "HUGEINT")
        first = column("began_at", SCOPE)
        starts_before = exp.LTE(
            this=exp.Paren(this=exp.Sub(this=column("from_ns", "o"), expression=gap)),
            expression=call("epoch_ns", column("last_at", SCOPE)),
        )
        ends_after = exp.GTE(
            this=exp.Paren(this=exp.Add(this=column("until_ns", "o"), expression=gap.copy())),
            expression=call("epoch_ns", first),
        )
        query = select(aliased(exp.Literal.number(1), "one")).from_(table(rows, inner), copy=False)
        return query.where(same(inner, outer, *self.scan.keys), starts_before, ends_after, copy=False)

    def _named(self) -> list[exp.Expression]:
        """What names a scope, where satisfied ones are to have it; else `details` has it of the others."""
        full = self.scan.source.satisfied_in_full
        found: list[exp.Expression] = [column("first_item", SCOPE)] if full else []
        if not self.scan.grouped:
            return found
        return [*found, column("trace_ids", SCOPE) if full else aliased(cast(exp.null(), "UUID[]"), "trace_ids")]

    def _named_of_nothing(self, traces: exp.Expression) -> list[exp.Expression]:
        full: list[exp.Expression] = [aliased(exp.null(), "first_item")] if self.scan.source.satisfied_in_full else []
        return [*full, aliased(traces, "trace_ids")]

    def _carried(self) -> list[exp.Alias]:
        """The counters, as they are of no items where there are none."""
        none = exp.Is(this=column("began_at", SCOPE), expression=exp.null())
        found = []
        for name, is_zero in self.counters.items():
            value: exp.Expression = column(name, SCOPE)
            if is_zero:
                value = exp.Case().when(none.copy(), integer(0), copy=False).else_(value, copy=False)
            found.append(aliased(value, name))
        return found

    def _nothing(self) -> list[exp.Alias]:
        zero, null = integer(0), exp.null()
        return [aliased(zero.copy() if is_zero else null.copy(), name) for name, is_zero in self.counters.items()]

    def _window_conditions(self, at: exp.Expression) -> list[exp.Expression]:
        conditions: list[exp.Expression] = []
        if self.scan.source.start is not None:
            conditions.append(exp.GTE(this=at.copy(), expression=timestamp(self.scan.source.start)))
        if self.scan.source.end is not None:
            conditions.append(exp.LT(this=at.copy(), expression=timestamp(self.scan.source.end)))
        return conditions


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
