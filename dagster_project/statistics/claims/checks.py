"""Checks of figures against each other: reconciliation, arithmetic, percentages, ratios, service levels, clocks.

Each is a function of numbers that anybody can call; what only statistics can tell is `plausibility.py`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dagster_project.statistics.claims import arithmetic
from dagster_project.statistics.claims.arithmetic import FormulaInvalid
from dagster_project.statistics.claims.finding import Finding, Stated, Verdict, say

MINUTES_A_DAY = 24 * 60
NOTHING = 1e-12
"""No document states a smaller figure; to divide by one would grow beyond any number."""


@dataclass(frozen=True)
class Part:
    """A subgroup: its value, and how many it counts for in a mean."""

    label: str
    value: float
    count: float = 1.0


@dataclass(frozen=True)
class Event:
    """Something that happened, as its document dates it."""

    label: str
    at: datetime


def subtotals(stated: Stated, parts: Sequence[Part], *, is_mean: bool) -> Finding:
    """Whether subgroups give the stated total: their sum, or their mean weighted by their counts.

    Parameters
    ----------
    stated
        The total, in the unit of the parts.
    parts
        At least one; counts are not negative.
    """
    terms = " + ".join(f"{say(part.count)} x {say(part.value)}" if is_mean else say(part.value) for part in parts)
    if not is_mean:
        return _compared(
            stated, math.fsum(part.value for part in parts), terms, Verdict.INCONSISTENT, "the parts add up"
        )
    count = math.fsum(part.count for part in parts)
    if count <= NOTHING:
        return Finding(Verdict.IMPOSSIBLE, "The subgroups count nothing: there is no mean of them.", terms)
    mean = math.fsum(part.value * part.count for part in parts) / count
    return _compared(
        stated, mean, f"({terms}) / {say(count)}", Verdict.INCONSISTENT, "the subgroups' weighted mean comes"
    )


def computed(stated: Stated, formula: str, inputs: Mapping[str, float]) -> Finding:
    """Whether the document's own inputs give the stated figure by `formula`.

    Raises
    ------
    FormulaInvalid
        When the formula is no arithmetic, or names an input that is not given.
    """
    tree = arithmetic.parse(formula)
    if missing := sorted(arithmetic.names(tree) - inputs.keys()):
        raise FormulaInvalid(f"the formula names inputs that are not given: {missing}")
    spelled = arithmetic.spelled(tree, inputs)
    try:
        found = arithmetic.evaluate(tree, inputs)
    except FormulaInvalid as error:
        return Finding(Verdict.IMPOSSIBLE, f"The formula has no result: {error}.", spelled)
    return _compared(stated, found, spelled, Verdict.WRONG, "its own inputs come")


def percentage_change(stated: Stated, before: float, after: float) -> Finding:
    """Whether a change from `before` to `after` is the stated percentage of `before`.

    Knows what such percentages are confused with: percentage points (of two shares), the share that is left, a change
    on the base of the result, and one divided by a base below 0 with its sign. A base below 0, such as a loss, counts
    by its size: what rises from it has risen.
    """
    points, signs = after - before, f"({say(after)} - {say(before)})"
    if abs(before) <= NOTHING:
        if stated.agrees(points):
            reason = f"From 0 there is no percentage: {say(points)} are percentage points."
            return Finding(Verdict.MISLABELLED, reason, f"{say(after)} - 0", points, "percentage points")
        return Finding(Verdict.IMPOSSIBLE, "There is no percentage of 0.", f"{signs} / 0")
    change = points / abs(before) * 100
    formula = f"{signs} / {say(before) if before > 0 else f'|{say(before)}|'} x 100"
    if stated.agrees(change):
        return Finding(Verdict.OK, "The change is the stated percentage.", formula, change)
    confusions = (
        (points, Verdict.MISLABELLED, "is the difference in percentage points"),
        (after / before * 100, Verdict.WRONG, "is the result as a share of the base, not a change"),
        (points / abs(after) * 100 if after else math.inf, Verdict.WRONG, "takes the result as its base"),
        (points / before * 100, Verdict.WRONG, "divides by the base with its sign, which turns the change round"),
    )
    for other, verdict, why in confusions:
        if math.isfinite(other) and stated.agrees(other):
            reason = f"The change is {say(change)} %; {say(stated.value)} {why}."
            return Finding(verdict, reason, formula, change)
    reason = f"The change is {say(change)} %, not {say(stated.value)} %."
    return Finding(Verdict.WRONG, reason, formula, change)


def ratio_or_return(stated: Stated, benefits: float, costs: float) -> Finding:
    """Whether a figure called a return on investment is one: (benefits - costs) / costs, in times.

    Benefits over costs are a benefit/cost ratio, one more than the return.
    """
    if abs(costs) <= NOTHING:
        return Finding(Verdict.IMPOSSIBLE, "There is no return on costs of 0.", f"({say(benefits)} - 0) / 0")
    found = (benefits - costs) / costs
    formula = f"({say(benefits)} - {say(costs)}) / {say(costs)}"
    if stated.agrees(found):
        return Finding(Verdict.OK, "Benefits less costs over costs are the stated return.", formula, found)
    if stated.agrees(found + 1):
        reason = (
            f"{say(benefits)} / {say(costs)} = {say(found + 1)} is a benefit/cost ratio; the return is {say(found)}."
        )
        return Finding(Verdict.MISLABELLED, reason, formula, found)
    return Finding(
        Verdict.WRONG, f"The return is {say(found)}, the benefit/cost ratio {say(found + 1)}.", formula, found
    )


def recurring_cost(stated: Stated, recurring: Sequence[float], one_time: Sequence[float]) -> Finding:
    """Whether a yearly amount holds only what is paid every year."""
    yearly, once = math.fsum(recurring), math.fsum(one_time)
    formula = " + ".join(map(say, recurring)) or "0"
    if stated.agrees(yearly):
        return Finding(Verdict.OK, "It holds only what recurs.", formula, yearly)
    if stated.agrees(yearly + once):
        reason = f"It counts {say(once)}, which is paid once, in every year: {say(yearly)} recur."
        return Finding(Verdict.MISLABELLED, reason, formula, yearly)
    return Finding(Verdict.WRONG, f"What recurs adds up to {say(yearly)}, with what is paid once {say(yearly + once)}.",
                   formula, yearly)  # fmt: skip


def service_level(rto_minutes: float, target_percent: float, period_days: float) -> Finding:
    """Whether one recovery within its time objective fits into what an availability target allows in a period."""
    allowed = (1 - target_percent / 100) * period_days * MINUTES_A_DAY
    formula = f"(1 - {say(target_percent)} / 100) x {say(period_days)} days x {MINUTES_A_DAY:,} minutes"
    fits = rto_minutes <= allowed + 1e-9
    reason = (
        f"{say(target_percent)} % in {say(period_days)} days allow {say(allowed)} minutes; one recovery may take "
        f"{say(rto_minutes)}, which {'fits' if fits else 'breaks the target'}."
    )
    return Finding(Verdict.OK if fits else Verdict.INCONSISTENT, reason, formula, allowed, "minutes")


def rate_against_count(
    stated: Stated, before: tuple[float, float], after: tuple[float, float], *, is_percentage: bool
) -> Finding:
    """Whether two counts may stand side by side, and how the frequency changed.

    Parameters
    ----------
    before, after
        Count, and the days that it was counted over.
    is_percentage
        True: the document states a change of frequency in percent. False: it sets the counts against each other.
    """
    (count, days), (later_count, later_days) = before, after
    if min(days, later_days) <= NOTHING or count <= NOTHING:
        return Finding(Verdict.IMPOSSIBLE, "There is no frequency of nothing, or over no days.")
    rate, later = count / days * 30, later_count / later_days * 30
    change = (later / rate - 1) * 100
    formula = (
        f"({say(later_count)} / {say(later_days)} x 30) / ({say(count)} / {say(days)} x 30) - 1 = "
        f"{say(round(later, 2))} / {say(round(rate, 2))} - 1"
    )
    told = f"Per 30 days {say(round(rate, 2))} became {say(round(later, 2))}: the frequency changed by {change:+.1f} %."
    if not is_percentage:
        is_alike = math.isclose(days, later_days, rel_tol=0.05)  # 28 to 31 days are all called a month
        return Finding(Verdict.OK if is_alike else Verdict.NOT_COMPARABLE, told, formula, change, "%")
    if stated.agrees(change):
        return Finding(Verdict.OK, told, formula, change)
    is_count = stated.agrees((later_count / count - 1) * 100)
    verdict = Verdict.MISLABELLED if is_count else Verdict.WRONG
    return Finding(
        verdict, f"{told}{' What is stated is the change of the counts.' if is_count else ''}", formula, change
    )


def timeline(stated_seconds: Stated | None, events: Sequence[Event]) -> Finding:
    """Whether events are in the order in which they are told, and last as long as is stated.

    Parameters
    ----------
    stated_seconds
        From the first event to the last; None when the document states no duration.
    events
        At least two, in the order of the document's story.
    """
    first, last = events[0], events[-1]
    seconds = (last.at - first.at).total_seconds()
    formula = f"{last.at:%Y-%m-%d %H:%M:%S} ({last.label}) - {first.at:%Y-%m-%d %H:%M:%S} ({first.label})"
    for one, following in itertools.pairwise(events):
        if following.at < one.at:
            reason = f"{following.label} ({following.at:%H:%M:%S}) is dated before {one.label} ({one.at:%H:%M:%S})."
            return Finding(Verdict.INCONSISTENT, reason, formula, seconds, "seconds")
    if stated_seconds is None or stated_seconds.agrees(seconds):
        return Finding(Verdict.OK, "The times are in order and give what is stated.", formula, seconds, "seconds")
    reason = f"The times lie {duration(seconds)} apart, not {duration(stated_seconds.value)}."
    return Finding(Verdict.INCONSISTENT, reason, formula, seconds, "seconds")


def agreement(stated: Stated, others: Sequence[float]) -> Finding:
    """Whether a document, or several, give the same figure wherever they give it."""
    differing = [other for other in others if not stated.agrees(other)]
    formula = " against ".join(map(say, (stated.value, *others)))
    if not differing:
        return Finding(Verdict.OK, "It is the same wherever it is stated.", formula, others[0])
    reason = f"Elsewhere it is {', '.join(map(say, differing))}."
    return Finding(Verdict.INCONSISTENT, reason, formula, differing[0])


def clocks(before: str, after: str) -> Finding:
    """Whether two figures that are set against each other measure the same thing."""
    if before.casefold() == after.casefold():
        return Finding(Verdict.OK, f"Both are {before}.")
    return Finding(Verdict.NOT_COMPARABLE, f"One is {before}, the other {after}.")


def unsupported(missing: str) -> Finding:
    """A figure that its document gives nothing to compute from; `missing` says what would be needed."""
    return Finding(Verdict.UNSUPPORTED, f"Nothing is given to compute it from: {missing}.")


def duration(seconds: float) -> str:
    """Seconds as people write them: 11m52s, 2d 3h 0m."""
    whole = round(abs(seconds))
    sign = "-" if seconds < 0 else ""
    if whole < MINUTES_A_DAY * 60:
        hours, rest = divmod(whole, 3_600)
        return f"{sign}{f'{hours}h' if hours else ''}{rest // 60}m{rest % 60:02}s"
    days, rest = divmod(whole, 86_400)
    return f"{sign}{days}d {rest // 3_600}h {rest % 3_600 // 60}m"


def _compared(stated: Stated, found: float, formula: str, otherwise: Verdict, what: str) -> Finding:
    if not math.isfinite(found):
        return Finding(Verdict.IMPOSSIBLE, "The figures grow beyond any number.", formula)
    if stated.agrees(found):
        return Finding(Verdict.OK, f"It is what {what} to.", formula, found)
    reason = f"It is stated as {say(stated.value)}, but {what} to {say(found)}."
    return Finding(otherwise, reason, formula, found)
