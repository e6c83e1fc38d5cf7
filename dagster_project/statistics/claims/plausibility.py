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
    rounding: tuple[float, float] = (0.0, 0.0),
    least_variation: float = LEAST_VARIATION,
) -> Finding:
    """Whether a t value fits the means and counts beside it, by the standard deviation that it implies.

    Student's t with one standard deviation: SD = |m1 - m2| / (|t| x sqrt(1/n1 + 1/n2)). Nothing is called impossible
    that unlike arms, Welch's t or rounding explains.

    Parameters
    ----------
    statistic
        The stated t.
    means, counts
        Of both arms, the first one the larger when `extremes` are its own.
    extremes
        Smallest and largest value of the first arm: they alone need a standard deviation of some size.
    rounding
        How far the true t and the true difference of the means may lie from what is printed.
    least_variation
        Smallest believable standard deviation as a share of the larger mean.
    """
    if min(counts) < 1 or sum(counts) < 3:
        return Finding(Verdict.IMPOSSIBLE, "There is no t of fewer than three cases, nor of an arm of none.")
    difference, size, spread = abs(means[0] - means[1]), abs(statistic), math.sqrt(1 / counts[0] + 1 / counts[1])
    t_rounding, mean_rounding = rounding
    if size == 0 or difference == 0:
        return _of_nothing(difference, size, rounding)
    deviation = difference / (size * spread)
    formula = f"|{say(means[0])} - {say(means[1])}| / ({say(size)} x sqrt(1 / {counts[0]} + 1 / {counts[1]}))"
    # Rounded figures may stand for a smaller t of a larger difference.
    most = (difference + mean_rounding) / ((size - t_rounding) * spread) if size > t_rounding else math.inf
    largest = most * _share_of_one_arm(counts)
    needed = 0.0 if extremes is None or counts[0] < 2 else _needed_by(extremes, means[0], counts[0]) - 2 * mean_rounding
    if largest * (1 + 1e-9) < needed:
        reason = (
            f"The t implies a standard deviation of {say(deviation)}, and at most {say(largest)} of one arm alone; "
            f"the extremes need {say(needed)}."
        )
        return Finding(Verdict.IMPOSSIBLE, reason, formula, deviation, "standard deviation")
    variation = deviation / max(map(abs, means))
    told = f"The t implies a standard deviation of {say(round(deviation, 2))}, {variation:.0%} of the larger mean"
    if most / max(map(abs, means)) < least_variation:
        reason = f"{told}; durations of incidents vary by {least_variation:.0%} and more."
        return Finding(Verdict.INCONSISTENT, reason, formula, deviation, "standard deviation")
    return Finding(Verdict.OK, f"{told}, which is believable.", formula, deviation, "standard deviation")


def _of_nothing(difference: float, size: float, rounding: tuple[float, float]) -> Finding:
    """A t of 0, or means that do not differ: each is what the other gives, and neither implies a deviation."""
    t_rounding, mean_rounding = rounding
    if t_rounding == 0 and difference > mean_rounding:
        return Finding(Verdict.IMPOSSIBLE, "A t of 0 is of equal means, and these differ.")
    if mean_rounding == 0 and size > t_rounding:
        return Finding(Verdict.IMPOSSIBLE, "Equal means give a t of 0, whatever the data.")
    return Finding(Verdict.OK, "As printed, t and means may belong together; no standard deviation follows from them.")


def _share_of_one_arm(counts: tuple[int, int]) -> float:
    """How much larger than the implied deviation the first arm's own may be, when the second does not vary at all.

    Student pools squares over degrees of freedom, Welch over cases; which of both a document means, it rarely says.
    """
    first, second = counts
    student = math.sqrt((first + second - 2) / (first - 1)) if first > 1 else math.inf
    return max(student, math.sqrt(1 + first / second))


def _needed_by(extremes: tuple[float, float], mean: float, count: int) -> float:
    """The smallest standard deviation of `count` values with this mean among which these two are."""
    away = [extreme - mean for extreme in extremes]
    squares = math.fsum(each * each for each in away)
    if count > 2:
        squares += math.fsum(away) ** 2 / (count - 2)  # the others make up for them, each by the same
    return math.sqrt(squares / (count - 1))
