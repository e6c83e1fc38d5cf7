"""What decks give of documents: figures, moments, subgroups, arms, and how each is told. Checks are `asked.py`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import Annotated, NamedTuple

from pydantic import AwareDatetime, Field

from dagster_project.policy.document import StrictModel

LARGEST = 1e15
SECONDS = {"seconds": 1.0, "minutes": 60.0, "hours": 3_600.0, "days": 86_400.0, "weeks": 604_800.0}
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
        """The value in another unit of time; any other unit is left as it is."""
        if unit in SECONDS and self.unit in SECONDS:
            return self.value * SECONDS[self.unit] / SECONDS[unit]
        return self.value


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
