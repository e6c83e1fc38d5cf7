"""Sums, means, extremes and quantiles of the items of a set → SQL, the same for conditions, baselines and reports.

Nothing depends on the order of rows: sums are of integers or decimals, quantiles are values that occurred.
"""

from __future__ import annotations

from sqlglot import exp

from dagster_project.rule_language.meaning.model import AggregateFunction, Type
from dagster_project.rule_language.sql.nodes import call, cast, data_type, every_of, filtered, integer, not_null, of

QUANTILES = {"p50": "0.50", "p90": "0.90", "p95": "0.95", "p99": "0.99"}

# Beyond it a sum of decimals with nine places could overflow 38 digits; such a sum is null instead.
_LARGEST_SUMMAND = 10**18


def aggregate(
    function: AggregateFunction, value: exp.Expression, matches: exp.Expression, type_: Type
) -> exp.Expression:
    """Over the rows that match and have a value; null of none, a sum too."""
    if function == "sum":
        return exact_sum(value, matches, type_)
    if function == "avg":
        total = cast(exact_sum(value, matches, type_), "DOUBLE")
        return exp.Paren(
            this=exp.Div(this=total, expression=exp.Nullif(this=number_of(value, matches), expression=integer(0)))
        )
    if function in QUANTILES:
        # Nearest rank, the index in whole numbers: the share is a decimal.
        share = exp.Literal.number(QUANTILES[function])
        return filtered(call("quantile_disc", value.copy(), share), matches.copy())
    kind = exp.Min if function == "min" else exp.Max
    return filtered(kind(this=value.copy()), matches.copy())


def number_of(value: exp.Expression, matches: exp.Expression) -> exp.Expression:
    """How many rows match and have a value."""
    return filtered(exp.Count(this=value.copy()), matches.copy())


def exact_sum(value: exp.Expression, matches: exp.Expression, type_: Type) -> exp.Expression:
    """A sum that no order of rows changes: decimals are exact; null where one summand is too large for them."""
    if type_ is Type.DURATION:
        return filtered(exp.Sum(this=value.copy()), matches.copy())
    bound = integer(_LARGEST_SUMMAND)
    size = exp.Abs(this=value.copy())
    exact = exp.TryCast(this=value.copy(), to=data_type("DECIMAL(38, 9)"))
    refused = filtered(exp.Count(this=exp.Star()), every_of([matches.copy(), of(exp.GTE, size, bound)]))
    guarded = exp.Case().when(of(exp.LT, size, bound), exact, copy=False)
    total = cast(filtered(exp.Sum(this=guarded), matches.copy()), "DOUBLE")
    return exp.Case().when(exp.EQ(this=refused, expression=integer(0)), total, copy=False)


def sum_over_nothing(total: exp.Expression, value: exp.Expression, matches: exp.Expression) -> exp.Expression:
    """A sum that is 0 of nothing, and still null where it overflowed."""
    none = exp.EQ(
        this=filtered(exp.Count(this=exp.Star()), every_of([matches.copy(), not_null(value.copy())])),
        expression=integer(0),
    )
    return exp.Case().when(none, integer(0), copy=False).else_(total, copy=False)
