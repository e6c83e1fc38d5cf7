"""What decks give of documents: figures, moments, subgroups, arms, and how each is told. Checks are `asked.py`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import Annotated, NamedTuple

from pydantic import AwareDatetime, Field

from dagster_project.policy.document import StrictModel

LARGEST = 1e15
_SECONDS = {
    0.001: ("ms", "millisecond", "milliseconds"),
    1.0: ("s", "sec", "secs", "second", "seconds"),
    60.0: ("min", "mins", "minute", "minutes"),
    3_600.0: ("h", "hr", "hrs", "hour", "hours"),
    86_400.0: ("d", "day", "days"),
    604_800.0: ("wk", "wks", "week", "weeks"),
}
_OF_TIME = {name: seconds for seconds, names in _SECONDS.items() for name in names}
_NOT_ALIKE = {"mo", "month", "months", "quarter", "quarters", "yr", "yrs", "year", "years", "annum"}
"""Times that are not always as long: nothing converts them."""
MOST_PARTS = 500

Text = Annotated[str, Field(min_length=1, max_length=400)]
Unit = Annotated[str, Field(min_length=1, max_length=40)]
Line = Annotated[int, Field(ge=1, le=10_000_000)]
SourceId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{2,60}$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")]


class Figure(StrictModel):
    """A number that the document gives, and the line that gives it; null when the auditor adds it."""

    value: float = Field(ge=-LARGEST, le=LARGEST)
    unit: Unit
    line: Line | None
    source: SourceId | None = Field(default=None, description="Only when it is not the claim's.")

    def within(self, unit: str) -> float:
        """The value in another unit of time; what is of no time stays as it is.

        Raises
        ------
        ValueError
            When one of the units is of time and the other is no such time, or is not always as long.
        """
        return self.value * conversion(self.unit, unit)

    @property
    def rounding(self) -> float:
        """How far the true value may lie from the printed one: half of its last digit."""
        return half_a_digit(self.value)


def half_a_digit(value: float) -> float:
    """Half a unit of a number's last digit, as a deck writes it."""
    # repr has the fewest digits that give the number: those that the deck writes, but for zeros at the end.
    mantissa, _, exponent = repr(value).partition("e")
    decimals = mantissa.partition(".")[2]
    return float(0.5 * 10.0 ** (int(exponent or 0) - len("" if decimals == "0" else decimals)))


def seconds_in(unit: str) -> float | None:
    """Seconds in a unit of time, singular or plural; None for any other unit, and for months and years."""
    return _OF_TIME.get(unit.strip().casefold())


def conversion(unit: str, wanted: str) -> float:
    """What a value in one unit is multiplied by to be in another: `hours/year` to `minutes/year` is 60.

    Raises
    ------
    ValueError
        When one of them is of time and they cannot be converted; units of no time are the document's own affair.
    """
    (one, per), (other, other_per) = _halves(unit), _halves(wanted)
    seconds, other_seconds = seconds_in(one), seconds_in(other)
    if per == other_per and one != other and seconds is not None and other_seconds is not None:
        return seconds / other_seconds
    for half, other_half in ((one, other), (per, other_per)):
        if _name(half) != _name(other_half) and (_is_time(half) or _is_time(other_half)):
            raise ValueError(f"{unit!r} cannot be converted into {wanted!r}: give the figure in {wanted!r}")
    return 1.0


def _halves(unit: str) -> tuple[str, str]:
    counted, _, per = unit.strip().casefold().partition("/")
    return counted.strip(), per.strip()


def _name(half: str) -> object:
    """One name for all spellings of a time."""
    return seconds_in(half) or half.removesuffix("s")


def _is_time(half: str) -> bool:
    return half in _NOT_ALIKE or seconds_in(half) is not None


class Moment(StrictModel):
    """Something that happened."""

    label: Annotated[str, Field(min_length=1, max_length=80)]
    at: AwareDatetime
    line: Line


class Part(StrictModel):
    """A subgroup; `count` is how many cases its value is the mean of."""

    label: Annotated[str, Field(min_length=1, max_length=80)]
    value: Figure
    count: Figure | None = None


class CountOver(StrictModel):
    """A count, and the time that it was counted over."""

    count: Figure
    over: Figure

    @property
    def days(self) -> float:
        """The time that it was counted over."""
        return self.over.within("days")


class Arm(StrictModel):
    """One side of a t test."""

    mean: Figure
    n: Annotated[int, Field(ge=1, le=1_000_000_000)]
    line: Line


class Measured(StrictModel):
    """What a figure measures, from which event to which, in a few words."""

    measures: Annotated[str, Field(min_length=1, max_length=120)]
    line: Line


Figures = Annotated[tuple[Figure, ...], Field(min_length=1, max_length=MOST_PARTS)]


class Given(NamedTuple):
    """One thing that a check was given; `source` when it is another document than the claim's."""

    name: str
    value: str
    unit: str
    line: int | None
    source: str | None = None


def told(name: str, value: object) -> Iterator[Given]:
    """What a check was given under a name, a line each; nothing for what is no figure."""
    match value:
        case Figure():
            yield Given(name, f"{value.value:,.10g}", value.unit, value.line, value.source)
        case Moment():
            yield Given(value.label, f"{value.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", "UTC", value.line)
        case Measured():
            yield Given(name, value.measures, "what it measures", value.line)
        case tuple():
            for place, each in enumerate(value, start=1):
                yield from told(f"{name} {place}", each)
        case dict():
            for key, each in value.items():
                yield from told(key, each)
        case _:
            yield from _told_of_groups(name, value)


def _told_of_groups(name: str, value: object) -> Iterator[Given]:
    match value:
        case Part():
            yield from told(value.label, value.value)
            yield from told(f"{value.label}, count", value.count)
        case Arm():
            yield from told(f"{name}.mean", value.mean)
            yield Given(f"{name}.n", f"{value.n:,}", "cases", value.line)
        case CountOver():
            yield from told(f"{name}.count", value.count)
            yield from told(f"{name}.over", value.over)
