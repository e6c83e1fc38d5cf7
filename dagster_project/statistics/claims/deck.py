"""What a deck of claims says: the model of `data/claims/*.yml`. The checks' own inputs are `asked.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from dagster_project.policy.document import DocumentError, StrictModel, read_document
from dagster_project.statistics.claims.asked import Check
from dagster_project.statistics.claims.figures import LARGEST, Line, SourceId, Text, Unit, half_a_digit
from dagster_project.statistics.claims.finding import Finding, Stated

LARGEST_FILE_BYTES = 2 * 2**20
"""A deck of a thousand claims has half of that; what is larger is no deck."""
MOST_CLAIMS = 2_000


class Source(StrictModel):
    """A document that claims are taken from, by a title that names nobody."""

    id: SourceId
    title: Text


class StatedFigure(StrictModel):
    """The figure as the document has it."""

    value: float | None = Field(ge=-LARGEST, le=LARGEST, description="Null when it is no single number.")
    unit: Unit
    as_written: Text | None = Field(default=None, description='How it is printed, such as "12m18s" or "52x".')
    tolerance: float | None = Field(
        default=None,
        ge=0,
        le=LARGEST,
        description="What rounding alone explains; half a unit of the last digit of the value when not given.",
    )

    @property
    def rounding(self) -> float:
        """The tolerance, given or by the value's last digit."""
        if self.tolerance is not None or self.value is None:
            return self.tolerance or 0.0
        return half_a_digit(self.value)


class Claim(StrictModel):
    """One numeric claim, in our own words, and what to hold it against."""

    id: SourceId
    claim: Text
    source: SourceId
    line: Line
    stated: StatedFigure
    check: Check
    note: str = Field(default="", max_length=1_000)

    @model_validator(mode="after")
    def _has_the_number_that_its_check_needs(self) -> Claim:
        if self.check.needs_number and self.stated.value is None:
            raise ValueError(f"the check {self.check.kind} compares with a number: give stated.value")
        # A deck whose units do not meet is refused when it is read, with its line, and not in the middle of the checks.
        self.finding()
        return self

    def finding(self) -> Finding:
        """What the claim's check makes of it.

        Raises
        ------
        ValueError
            When its figures cannot be brought to one unit; a claim that was read has none such.
        """
        figure = self.stated
        # Refused above: a check that compares with a number and gets none.
        stated: Any = None if figure.value is None else Stated(figure.value, figure.rounding)
        return self.check.find(stated, figure.unit)


class Deck(StrictModel):
    """One file of claims."""

    title: Text
    sources: Annotated[tuple[Source, ...], Field(min_length=1, max_length=200)]
    claims: Annotated[tuple[Claim, ...], Field(min_length=1, max_length=MOST_CLAIMS)]

    @model_validator(mode="after")
    def _ids_once_and_known(self) -> Deck:
        for what, ids in (("source", [each.id for each in self.sources]), ("claim", [each.id for each in self.claims])):
            if repeated := sorted({each for each in ids if ids.count(each) > 1}):
                raise ValueError(f"{what} ids given twice: {repeated}")
        known = {each.id for each in self.sources}
        named = {each.source for each in self.claims}
        named |= {one.source for each in self.claims for one in each.check.given() if one.source}
        if unknown := sorted(named - known):
            raise ValueError(f"claims name sources that the deck does not have: {unknown}")
        return self


def load_deck(path: Path) -> Deck:
    """The deck in a file.

    Raises
    ------
    DocumentError
        Names file, line, key and value of every problem.
    """
    if path.is_file() and path.stat().st_size > LARGEST_FILE_BYTES:
        raise DocumentError(path, [f"{path}: larger than {LARGEST_FILE_BYTES // 2**20} MiB: split the deck"])
    return read_document(path, Deck)
