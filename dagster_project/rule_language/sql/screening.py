"""Which scopes need a closer look at all: one cheap pass that counts the others, for who only wants their number.

A screened scope is surely satisfied, or surely not applicable, and nothing was lost of it. All others are suspects:
`sql` judges them as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal, TypeAlias

from sqlglot import exp

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.meaning.model import ALWAYS_TRUE, Scope
from dagster_project.rule_language.planning.planner import Plan, at_zero, items_of, quantities
from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.sql.counting import CountingSql
from dagster_project.rule_language.sql.entity import started_at
from dagster_project.rule_language.sql.nodes import (
    ITEM,
    aliased,
    call,
    column,
    every_of,
    filtered,
    in_query,
    integer,
    is_null,
    joined,
    not_null,
    of,
    one_of,
    same,
    select,
    star,
    struct,
    table,
    timestamp,
    union_all,
)
from dagster_project.rule_language.sql.quantity import LOST
from dagster_project.rule_language.sql.query import after
from dagster_project.rule_language.sql.scan import Scan
from dagster_project.rule_language.sql.scope import ScopeSql
from dagster_project.rule_language.sql.source import Source
from dagster_project.rule_language.text.operators import compare

Kind: TypeAlias = Literal["counted", "flagged", "mark join"]

SUSPECTS: Final = "hindcast_suspects"
SCREENED: Final = "hindcast_screened"
INCOMPLETE: Final = "hindcast_incomplete"
_COUNTED, _SCOPE = "c", "a"


@dataclass
class ScreeningSql:
    """The screening of one rule over one source.

    Parameters
    ----------
    settled_until
        Satisfied scopes that end later are counted apart.
    """

    rule: Rule
    source: Source
    settled_until: datetime | None = None
    scan: Scan = field(init=False)

    def __post_init__(self) -> None:
        self.scan = Scan(self.rule, replace(self.source, satisfied_in_full=False))

    @property
    def of_all_traces(self) -> bool:
        """Whether every trace that was received is judged, so that the satisfied ones are what is left."""
        judgement = self.rule.judgement
        return judgement.scope is Scope.TRACE and judgement.when == ALWAYS_TRUE and "log" not in self.scan.made.entities

    def kind(self) -> Kind | None:
        """How suspects are found; None where every scope has to be looked at closely.

        counted: by the counters of every scope. flagged: by the items without which nothing is bad. mark join: by the
        absence of items, among all traces or among those that have the one kind of item that `when` needs.
        """
        judgement, made = self.rule.judgement, self.scan.made
        if judgement.scope not in {Scope.TRACE, Scope.GROUP} or made.rates or made.baselines:
            return None
        if judgement.scope is Scope.GROUP:
            return "counted"
        if "log" in made.entities:
            return None  # a trace may be known from its logs alone, and then everything of it is lost
        if not self.of_all_traces:
            # Starting from few candidates is cheaper still.
            by_absence = self._needed is not None and not made.needs_candidates
            return None if made.anchor is None else "mark join" if by_absence else "counted"
        flags = flags_of(made, judgement.bad, wanted=True)
        if flags is None:
            return "mark join" if _absent(judgement.bad) else None
        return "counted" if {f"t{number}" for number in made.relevant} <= flags else "flagged"

    @property
    def _needed(self) -> model.Items | None:
        """The items that a trace needs to be judged, where all that can be bad of it is that it lacks others."""
        when = self.rule.judgement.when
        if self.scan.relations.reads_beside or _absent(self.rule.judgement.bad) is None:
            return None
        return when.items if isinstance(when, model.Some) else None

    def counted(self) -> exp.Expression:
        """One row: how many scopes are satisfied, how many of them are not settled, and the keys of the suspects."""
        counting = CountingSql(self.scan, self.scan.keys)
        orders: list[exp.Expression] = []
        for order in counting.orders:
            number = order.number
            alone = every_of([is_null(column(f"p{number}", _COUNTED)), not_null(column(f"q{number}", _COUNTED))])
            orders += [
                aliased(_one_if(alone), f"against{number}"),
                aliased(_one_if(order.unsettled(_COUNTED)), f"undecided{number}"),
                aliased(exp.null(), f"first_against{number}"),
            ]
        scopes = select(star(_COUNTED), *orders, aliased(exp.false(), LOST)).from_(
            table("counted", _COUNTED), copy=False
        )
        compiled = ScopeSql(self.scan.made, _SCOPE)
        when, bad = (compiled.possible(one) for one in (self.rule.judgement.when, self.rule.judgement.bad))
        fine = every_of([exp.Not(this=exp.Paren(this=when.false)), exp.Not(this=exp.Paren(this=bad.true))])
        outside = exp.Not(this=exp.Paren(this=when.true))
        told = [*(column(name, _SCOPE) for name in self.scan.keys), column("last_at", _SCOPE)]
        judged = select(
            *told, aliased(fine, "is_fine"), aliased(outside, "is_outside"), aliased(self._is_plain(), "is_plain")
        ).from_(table("seen", _SCOPE), copy=False)
        judged = self._in_window(judged)
        result = self._summed()
        parts = [("items", self.scan.items()), ("counted", counting.counted()), ("seen", scopes), ("told", judged)]
        return after([*self.scan.related(), *self._candidates(), *parts], result, self.source.given)

    def _candidates(self) -> list[tuple[str, exp.Expression]]:
        return [("candidates", self.scan.candidates())] if self.scan.made.needs_candidates else []

    def _summed(self) -> exp.Select:
        plain = column("is_plain", _SCOPE)
        satisfied = every_of([plain, column("is_fine", _SCOPE)])
        late = (
            exp.false()
            if self.settled_until is None
            else exp.GT(this=column("last_at", _SCOPE), expression=timestamp(self.settled_until))
        )
        suspect = exp.Not(
            this=exp.Paren(
                this=every_of([plain.copy(), one_of([column("is_fine", _SCOPE), column("is_outside", _SCOPE)])])
            )
        )
        key = struct({name: column(name, _SCOPE) for name in self.scan.keys})
        return select(
            aliased(exp.CountIf(this=satisfied), "satisfied"),
            aliased(exp.CountIf(this=every_of([satisfied.copy(), exp.Paren(this=late)])), "unsettled"),
            aliased(filtered(call("list", key), suspect), "suspects"),
        ).from_(table("told", _SCOPE), copy=False)

    def _is_plain(self) -> exp.Expression:
        """One scope of the window that has all items of its key, and of which nothing was lost."""
        parts: list[exp.Expression] = []
        if self.scan.made.can_lose:
            name = "lost" if self.scan.grouped else INCOMPLETE
            keys = [column(key) for key in self.scan.keys]
            touched = select(*keys).from_(table(name), copy=False)
            own = [column(key, _SCOPE) for key in self.scan.keys]
            parts.append(exp.Not(this=exp.Paren(this=in_query(_tuple(own), touched))))
        if self.scan.grouped:
            extent = of(exp.Sub, *(call("epoch_ns", column(name, _SCOPE)) for name in ("last_at", "began_at")))
            parts.append(of(exp.LTE, extent, integer(self.rule.judgement.gap_ns)))
            if self.source.start is not None:
                parts.append(of(exp.GTE, column("began_at", _SCOPE), timestamp(self.source.start)))
        return every_of(parts)

    def _in_window(self, query: exp.Select) -> exp.Select:
        """Scopes that surely begin outside of the window are none of it."""
        at = column("began_at", _SCOPE)
        start, end = self.source.start, self.source.end
        if not self.scan.grouped and (start is not None or end is not None):
            query = joined(query, "INNER", self.source.table("traces", "p"), same(_SCOPE, "p", "trace_id"))
            at = column("started_at", "p")
            if start is not None:
                query = query.where(of(exp.GTE, at, timestamp(start)), copy=False)
        return query if end is None else query.where(of(exp.LT, at, timestamp(end)), copy=False)

    def suspects(self, kind: Kind) -> exp.Expression:
        """The keys of the scopes to be judged, those that losses touch among them; reads `SCREENED` where it counts."""
        if kind == "counted":
            each = select(aliased(call("unnest", column("suspects")), "s")).from_(table(SCREENED), copy=False)
            inside = exp.Subquery(this=each, alias=exp.TableAlias(this=exp.to_identifier("u", quoted=True)))
            found = select(
                *(
                    exp.Dot(this=column("s", "u"), expression=exp.to_identifier(name, quoted=True))
                    for name in self.scan.keys
                )
            ).from_(inside, copy=False)
            for place, name in enumerate(self.scan.keys):
                found.expressions[place] = aliased(found.expressions[place], name)
        elif kind == "flagged":
            flags = flags_of(self.scan.made, self.rule.judgement.bad, wanted=True) or frozenset()
            found = select(column("trace_id", ITEM)).from_(table("items", ITEM), copy=False)
            found = found.where(one_of([column(flag, ITEM) for flag in sorted(flags)]), copy=False)
        elif self._needed is not None:
            found = self._lacking(self._needed)
        else:
            absent = _absent(self.rule.judgement.bad)
            seen = select(column("trace_id", ITEM)).from_(table("items", ITEM), copy=False)
            if absent is not None:
                seen = seen.where(column(f"t{self.scan.made.set_of(absent)}", ITEM), copy=False)
            found = select(column("trace_id", "p")).from_(self.source.table("traces", "p"), copy=False)
            # A mark join: the ids of spans are never null.
            found = found.where(exp.Not(this=exp.Paren(this=in_query(column("trace_id", "p"), seen))), copy=False)
        unions: list[exp.Select] = [found]
        if kind == "mark join" and self._needed is not None and self.settled_until is not None:
            unions.append(self._late())
        if self.scan.made.can_lose:
            name = "lost" if self.scan.grouped else INCOMPLETE
            unions.append(select(*(column(key) for key in self.scan.keys)).from_(table(name), copy=False))
        together = exp.Subquery(
            this=union_all(unions),
            alias=exp.TableAlias(this=exp.to_identifier("together", quoted=True)),
        )
        result = select(*(column(key) for key in self.scan.keys)).from_(together, copy=False).distinct(copy=False)
        if kind == "counted":
            return result
        return after([*self.scan.related(), ("items", self.scan.items())], result, self.source.given)

    def _lacking(self, needed: model.Items) -> exp.Select:
        """The traces that have what `when` needs, and lack what they have to have."""
        absent = _absent(self.rule.judgement.bad)
        if absent is None:
            raise TypeError("nothing has to be there")
        found = select(column("trace_id", "n")).from_(_named(self.scan.traces_with(needed), "n"), copy=False)
        # A mark join: the ids of spans are never null.
        seen = self.scan.traces_with(absent)
        return found.where(exp.Not(this=exp.Paren(this=in_query(column("trace_id", "n"), seen))), copy=False)

    def _late(self) -> exp.Select:
        """The traces with items that are not settled: which of their scopes are satisfied is looked up closely."""
        sets = [self.scan.made.sets[number] for number in sorted(self.scan.made.relevant)]
        late = []
        for items in sets:
            query = self.scan.traces_with(items)
            late.append(query.where(self._unsettled(started_at(items.entity)), copy=False))
        return select(column("trace_id", "late")).from_(_named(union_all(late), "late"), copy=False)

    def _unsettled(self, at: exp.Expression) -> exp.Expression:
        return exp.false() if self.settled_until is None else of(exp.GT, at, timestamp(self.settled_until))

    def satisfied(self) -> exp.Expression | None:
        """How many traces of the window have what `when` needs and are no suspects; None where others count them."""
        needed, start, end = self._needed, self.source.start, self.source.end
        if needed is None:
            return None
        query = select(exp.Count(this=exp.Distinct(expressions=[column("trace_id", "n")])))
        query = query.from_(_named(self.scan.traces_with(needed), "n"), copy=False)
        suspects = select(column("trace_id")).from_(table(SUSPECTS), copy=False)
        query = query.where(exp.Not(this=exp.Paren(this=in_query(column("trace_id", "n"), suspects))), copy=False)
        if start is None and end is None:
            return query
        inside = select(column("trace_id", "p")).from_(self.source.table("traces", "p"), copy=False)
        at = column("started_at", "p")
        bounds = [of(kind, at, timestamp(edge)) for kind, edge in ((exp.GTE, start), (exp.LT, end)) if edge is not None]
        return query.where(in_query(column("trace_id", "n"), inside.where(*bounds, copy=False)), copy=False)

    def narrowed(self) -> Source:
        """The source with nothing but the suspects."""
        given = self.source.given | {"lost"} if self.scan.grouped and self.scan.can_lose else self.source.given
        plain = replace(self.source, satisfied_in_full=False, anchored=False, given=given)
        if not self.scan.grouped:
            return replace(plain, suspects=SUSPECTS)

        def chosen(values: Sequence[exp.Expression]) -> exp.Expression:
            keys = select(*(column(key) for key in self.scan.keys)).from_(table(SUSPECTS), copy=False)
            return exp.Paren(this=in_query(_tuple([value.copy() for value in values]), keys))

        return replace(plain, touched_keys=chosen)

    def anchor_rows(self) -> exp.Select | None:
        """Of the items that the rule looks at: how many `when` needs one of, how many are not settled, and all.

        None where counting is not cheap.
        """
        made = self.scan.made
        if (
            made.anchor is None
            or made.relevant <= made.anchor
            or self.scan.relations.reads_beside
            or self.scan.key_sql.lifted
        ):
            return None
        # Only a mark join asks how many these are.
        late = exp.false() if self._needed is None else self._unsettled(column("at", ITEM))
        query = select(exp.CountIf(this=column("is_inside", ITEM)), exp.CountIf(this=late), exp.Count(this=exp.Star()))
        return query.from_(_named(self.scan.rows(made.anchor), ITEM), copy=False)


def flags_of(  # noqa: PLR0911  # one return a kind of node
    made: Plan, node: model.Condition, *, wanted: bool
) -> frozenset[str] | None:
    """Flags of items of which one is set wherever the condition can have the wanted value; None: nowhere sure."""
    if isinstance(node, model.Negation):
        return flags_of(made, node.operand, wanted=not wanted)
    if isinstance(node, (model.Conjunction, model.Disjunction)):
        parts = [flags_of(made, operand, wanted=wanted) for operand in node.operands]
        sure = [part for part in parts if part is not None]
        if isinstance(node, model.Conjunction) is wanted:
            return min(sure, key=len) if sure else None
        return frozenset().union(*sure) if parts and len(sure) == len(parts) else None
    if isinstance(node, model.Some):
        return frozenset({f"t{made.set_of(node.items)}"}) if wanted else None
    if isinstance(node, model.Every):
        return None if wanted else frozenset({f"x{made.everies.index(node)}"})
    if isinstance(node, model.Ordered):
        return None if wanted else frozenset({f"t{made.set_of(node.quantified)}"})
    if isinstance(node, model.QuantityComparison):
        left, right = at_zero(node.left), at_zero(node.right)
        if left is None or right is None or compare(node.op, left, right) is wanted:
            return None
        measured = quantities(node.left) + quantities(node.right)
        return frozenset(f"t{made.set_of(items_of(one))}" for one in measured)
    return None


def _absent(node: model.Condition) -> model.Items | None:
    """The items whose absence is the whole of a condition."""
    return node.operand.items if isinstance(node, model.Negation) and isinstance(node.operand, model.Some) else None


def _named(query: exp.Expression, name: str) -> exp.Subquery:
    return exp.Subquery(this=query, alias=exp.TableAlias(this=exp.to_identifier(name, quoted=True)))


def _one_if(condition: exp.Expression) -> exp.Expression:
    return exp.Case().when(condition, integer(1), copy=False).else_(integer(0), copy=False)


def _tuple(values: Sequence[exp.Expression]) -> exp.Expression:
    return values[0] if len(values) == 1 else exp.Tuple(expressions=list(values))
