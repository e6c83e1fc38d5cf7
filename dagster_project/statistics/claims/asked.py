"""What a claim gives each check, as it stands in a deck; every kind of check runs itself on it.

The arithmetic is `checks.py` and `plausibility.py`, what figures are is `figures.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import UTC
from typing import Annotated, Literal

from pydantic import Field, model_validator

from dagster_project.policy.document import StrictModel
from dagster_project.statistics.claims import arithmetic, checks, plausibility
from dagster_project.statistics.claims.figures import (
    MOST_PARTS,
    Arm,
    CountOver,
    Figure,
    Figures,
    Given,
    Line,
    Measured,
    Moment,
    Name,
    Part,
    Text,
    conversion,
    told,
)
from dagster_project.statistics.claims.finding import Finding, Stated


class Asked(StrictModel, ABC):
    """A check with its inputs. `needs_number`: it compares with the stated number."""

    kind: str

    @property
    def needs_number(self) -> bool:
        return True

    @abstractmethod
    def find(self, stated: Stated, unit: str) -> Finding:
        """Run the check; figures that are held against each other come to one unit of time first.

        Raises
        ------
        ValueError
            When they cannot.
        """

    def given(self) -> Iterator[Given]:
        """What the check was given, in the order of the file."""
        for name, value in self:
            yield from told(name, value)


class Subtotals(Asked):
    """Subgroups against their sum or weighted mean."""

    kind: Literal["subtotals"]
    how: Literal["sum", "weighted_mean"]
    parts: Annotated[tuple[Part, ...], Field(min_length=1, max_length=MOST_PARTS)]

    @model_validator(mode="after")
    def _means_have_counts(self) -> Subtotals:
        for part in self.parts:
            if self.how == "weighted_mean" and (part.count is None or part.count.value < 0):
                raise ValueError(f"a weighted mean needs the count of {part.label!r}, and none below 0")
        return self

    def find(self, stated: Stated, unit: str) -> Finding:
        parts = [
            checks.Part(part.label, part.value.within(unit), part.count.value if part.count else 1.0)
            for part in self.parts
        ]
        return checks.subtotals(stated, parts, is_mean=self.how == "weighted_mean")


class Computed(Asked):
    """Any arithmetic of named inputs, each in its own unit: what has to be converted, the formula converts."""

    kind: Literal["computed"]
    formula: Annotated[str, Field(min_length=1, max_length=arithmetic.LONGEST)]
    inputs: Annotated[dict[Name, Figure], Field(min_length=1, max_length=MOST_PARTS)]

    @model_validator(mode="after")
    def _formula_names_inputs(self) -> Computed:
        if missing := sorted(arithmetic.names(arithmetic.parse(self.formula)) - self.inputs.keys()):
            raise ValueError(f"the formula names inputs that are not given: {missing}")
        return self

    def find(self, stated: Stated, _unit: str) -> Finding:
        return checks.computed(stated, self.formula, {name: figure.value for name, figure in self.inputs.items()})


class PercentageChange(Asked):
    """From one figure to another."""

    kind: Literal["percentage_change"]
    before: Figure
    after: Figure

    def find(self, stated: Stated, _unit: str) -> Finding:
        return checks.percentage_change(stated, self.before.value, self.after.within(self.before.unit))


class RatioOrReturn(Asked):
    """A figure called a return, over benefits and costs of the same period."""

    kind: Literal["ratio_or_return"]
    benefits: Figure
    costs: Figure

    def find(self, stated: Stated, _unit: str) -> Finding:
        return checks.ratio_or_return(stated, self.benefits.value, self.costs.within(self.benefits.unit))


class RecurringCost(Asked):
    """A yearly amount and what it is made of."""

    kind: Literal["recurring_cost"]
    recurring: Annotated[tuple[Figure, ...], Field(max_length=MOST_PARTS)]
    one_time: Annotated[tuple[Figure, ...], Field(max_length=MOST_PARTS)] = ()

    def find(self, stated: Stated, unit: str) -> Finding:
        # What is paid once is of no time.
        recurring, one_time = (
            [each.within(wanted) for each in figures]
            for figures, wanted in ((self.recurring, unit), (self.one_time, unit.partition("/")[0]))
        )
        return checks.recurring_cost(stated, recurring, one_time)


class ServiceLevel(Asked):
    """A recovery time objective, which is the stated figure, against an availability target."""

    kind: Literal["service_level"]
    target_percent: Annotated[float, Field(ge=0, le=100)]
    target_line: Line
    period_days: Annotated[float, Field(gt=0, le=3_660)]

    def given(self) -> Iterator[Given]:
        yield Given("target_percent", f"{self.target_percent:g}", "%", self.target_line)
        yield Given("period_days", f"{self.period_days:g}", "days", None)

    def find(self, stated: Stated, unit: str) -> Finding:
        minutes = stated.value * conversion(unit, "minutes")
        return checks.service_level(minutes, self.target_percent, self.period_days)


class RateAgainstCount(Asked):
    """Two counts, over times of their own."""

    kind: Literal["rate_against_count"]
    before: CountOver
    after: CountOver

    def find(self, stated: Stated, unit: str) -> Finding:
        before, after = ((each.count.value, each.days) for each in (self.before, self.after))
        return checks.rate_against_count(stated, before, after, is_percentage=unit.startswith("%"))


class Timeline(Asked):
    """Times, in the order of the story."""

    kind: Literal["timeline"]
    events: Annotated[tuple[Moment, ...], Field(min_length=2, max_length=MOST_PARTS)]

    @property
    def needs_number(self) -> bool:
        return False

    def find(self, stated: Stated | None, unit: str) -> Finding:
        events = [checks.Event(each.label, each.at.astimezone(UTC)) for each in self.events]
        if stated is None:
            return checks.timeline(None, events)
        step = conversion(unit, "seconds")
        return checks.timeline(Stated(stated.value * step, stated.tolerance * step), events)


class Agreement(Asked):
    """The same figure in other places."""

    kind: Literal["agreement"]
    elsewhere: Figures

    def find(self, stated: Stated, unit: str) -> Finding:
        return checks.agreement(stated, [each.within(unit) for each in self.elsewhere])


class Grim(Asked):
    """A percentage or mean of so many cases."""

    kind: Literal["grim"]
    of: Literal["percentage", "mean"]
    decimals: Annotated[int, Field(ge=0, le=6)]
    smallest_n: Annotated[int, Field(ge=1, le=1_000_000)]
    largest_n: Annotated[int, Field(ge=1, le=1_000_000)]
    line: Line

    @model_validator(mode="after")
    def _range_of_cases(self) -> Grim:
        if not 0 <= self.largest_n - self.smallest_n <= 1_000:
            raise ValueError("largest_n is at least smallest_n, and at most 1,000 more")
        return self

    def given(self) -> Iterator[Given]:
        yield Given("n", f"{self.smallest_n} to {self.largest_n}", "cases", self.line)

    def find(self, stated: Stated, _unit: str) -> Finding:
        return plausibility.grim(
            stated.value, self.decimals, self.smallest_n, self.largest_n, is_percentage=self.of == "percentage"
        )


class TTest(Asked):
    """A t value with the means and counts beside it; the extremes are the first arm's."""

    kind: Literal["t_test"]
    before: Arm
    after: Arm
    smallest: Figure | None = None
    largest: Figure | None = None

    def find(self, stated: Stated, _unit: str) -> Finding:
        unit, extremes = self.before.mean.unit, None
        if self.smallest is not None and self.largest is not None:
            extremes = (self.smallest.within(unit), self.largest.within(unit))
        after = self.after.mean
        means = (self.before.mean.value, after.within(unit))
        rounding = (stated.tolerance, self.before.mean.rounding + after.rounding * conversion(after.unit, unit))
        return plausibility.t_test(
            stated.value, means, (self.before.n, self.after.n), extremes=extremes, rounding=rounding
        )


class Clocks(Asked):
    """What two figures measure that are set against each other."""

    kind: Literal["clocks"]
    before: Measured
    after: Measured

    @property
    def needs_number(self) -> bool:
        return False

    def find(self, _stated: Stated | None, _unit: str) -> Finding:
        return checks.clocks(self.before.measures, self.after.measures)


class Unsupported(Asked):
    """Nothing to compute from; `missing` says what would be needed."""

    kind: Literal["unsupported"]
    missing: Text

    @property
    def needs_number(self) -> bool:
        return False

    def given(self) -> Iterator[Given]:
        yield from ()

    def find(self, _stated: Stated | None, _unit: str) -> Finding:
        return checks.unsupported(self.missing)


Check = Annotated[
    Subtotals
    | Computed
    | PercentageChange
    | RatioOrReturn
    | RecurringCost
    | ServiceLevel
    | RateAgainstCount
    | Timeline
    | Agreement
    | Grim
    | TTest
    | Clocks
    | Unsupported,
    Field(discriminator="kind"),
]
