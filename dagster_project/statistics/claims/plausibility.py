"""Checks that only statistics can make: whether any data could give a percentage, a mean or a t value.

Checks of figures against each other are `checks.py`.
"""

from __future__ import annotations

import math

from dagster_project.statistics.claims.finding import Finding, Verdict, say

LEAST_VARIATION = 0.5
"""Durations of incidents are about log-normal with a log standard deviation near 1 and more, so that their standard
deviation is above their mean; half the mean (log deviation 0.47) is less than any published set of incidents shows."""


def grim(value: float, decimals: int, smallest_n: int, largest_n: int, *, is_percentage: bool) -> Finding:
    """Whether whole counts can give a percentage, or whole numbers a mean, for any n of a range.

    GRIM: of n whole numbers the mean is a multiple of 1/n (Brown and Heathers, The GRIM Test, 2017).

    Parameters
    ----------
    value
        As printed, 93 for 93 %.
    decimals
        Places to which it is printed.
    smallest_n, largest_n
        Cases that it may be a share or mean of, each at least 1.
    is_percentage
        True: of n cases a whole number has the property. False: the mean of n whole numbers.
    """
    half, unit = 0.5 * 10**-decimals, 100 if is_percentage else 1
    if is_percentage and not 0 <= value <= 100:
        return Finding(Verdict.IMPOSSIBLE, f"{say(value)} % of cases is no share of them.")
    nearest, found, best = math.inf, 0.0, ""
    for n in range(smallest_n, largest_n + 1):
        share = value * n / unit
        for k in (math.floor(share), math.ceil(share)):
            distance = abs(k / n * unit - value)
            if distance < nearest:
                nearest, found = distance, k / n * unit
                best = f"{say(k)} / {n}{' x 100' if is_percentage else ''} = {say(found)}"
    of = f"{smallest_n}" if smallest_n == largest_n else f"{smallest_n} to {largest_n}"
    if nearest <= half + 1e-9:
        return Finding(Verdict.OK, f"Of {of} cases a whole number gives it.", best, found)
    return Finding(Verdict.IMPOSSIBLE, f"Of {of} cases no whole number gives it; the nearest is {best}.", best, found)


def t_test(
    statistic: float,
    means: tuple[float, float],
    counts: tuple[int, int],
    *,
    extremes: tuple[float, float] | None = None,
    least_variation: float = LEAST_VARIATION,
) -> Finding:
    """Whether a t value fits the means and counts beside it, by the standard deviation that it implies.

    Student's t with one standard deviation: SD = |m1 - m2| / (|t| x sqrt(1/n1 + 1/n2)).

    Parameters
    ----------
    statistic
        The stated t.
    means, counts
        Of both arms, the first one the larger when `extremes` are its own.
    extremes
        Smallest and largest value of the first arm: they alone need a standard deviation of some size.
    least_variation
        Smallest believable standard deviation as a share of the larger mean.
    """
    if statistic == 0 or min(counts) < 2 or max(map(abs, means)) == 0:
        return Finding(Verdict.IMPOSSIBLE, "A t of 0, an arm below 2 or means of 0 imply no standard deviation.")
    spread = math.sqrt(1 / counts[0] + 1 / counts[1])
    deviation = abs(means[0] - means[1]) / (abs(statistic) * spread)
    formula = f"|{say(means[0])} - {say(means[1])}| / ({say(abs(statistic))} x sqrt(1 / {counts[0]} + 1 / {counts[1]}))"
    if extremes is not None and deviation < (needed := _needed_by(extremes, means[0], counts[0])):
        reason = f"The t implies a standard deviation of {say(deviation)}; the extremes alone need {say(needed)}."
        return Finding(Verdict.IMPOSSIBLE, reason, formula, deviation, "standard deviation")
    variation = deviation / max(map(abs, means))
    told = f"The t implies a standard deviation of {say(round(deviation, 2))}, {variation:.0%} of the larger mean"
    if variation < least_variation:
        reason = f"{told}; durations of incidents vary by {least_variation:.0%} and more."
        return Finding(Verdict.INCONSISTENT, reason, formula, deviation, "standard deviation")
    return Finding(Verdict.OK, f"{told}, which is believable.", formula, deviation, "standard deviation")


def _needed_by(extremes: tuple[float, float], mean: float, count: int) -> float:
    """The smallest standard deviation of `count` values with this mean among which these two are."""
    away = [extreme - mean for extreme in extremes]
    squares = math.fsum(each * each for each in away)
    if count > 2:
        squares += math.fsum(away) ** 2 / (count - 2)  # the others make up for them, each by the same
    return math.sqrt(squares / (count - 1))
