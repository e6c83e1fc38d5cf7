"""Every number on a page is found in a mart: by the id of its row and the name of its column."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import duckdb
import pytest

from dagster_project.site.tables import Column, cell

IDS = {
    "marts.claims_audit": "claim_id",
    "marts.mart_delivery_performance": "delivery_id",
    "marts.mart_error_budget": "budget_id",
    "marts.mart_kpi_alerts": "alert_id",
    "marts.mart_kpis": "kpi_id",
    "marts.mart_mttr_baseline": "baseline_id",
    "marts.mart_placebo_cut_overs": "placebo_id",
    "marts.mart_roi_draws": "roi_draws_id",
    "marts.mart_roi_inputs": "roi_input_id",
    "marts.mart_roi_lines": "roi_line_id",
    "marts.mart_roi_summary": "roi_summary_id",
    "marts.mart_roi_tornado": "roi_tornado_id",
    "marts.mart_significance": "comparison_id",
    "marts.mart_significance_estimates": "estimate_id",
    "marts.mart_significance_mix": "mix_id",
    "marts.mart_significance_slices": "slice_id",
    "marts.mart_significance_steps": "step_id",
    "marts.mart_target_attainment": "attainment_id",
}
NONE = "\N{EN DASH}"
SECONDS = {"d": 86_400, "h": 3600, "min": 60, "s": 1, "ms": 1e-3}
# Two units of a duration are written, three digits of a ratio: nothing on a page is rounded further.
ROUNDED = 0.05
# How many numbers each page shows of the stand-in, at least: a page that lost its tables would find all of none.
PAGES = {"mttr.html": 150, "significance.html": 150, "roi.html": 60}


@dataclass
class Number:
    """A number as it is written, and where it says that it comes from."""

    text: str
    mart: str
    ids: list[str]
    key: str


@dataclass
class _Place:
    mart: str | None = None
    row: str | None = None
    keys: list[str] = field(default_factory=list)
    cell: int = -1


class Numbers(HTMLParser):
    """The numbers of a page that stand in tables of marts, or alone with the row that they come from."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[Number] = []
        self._place = _Place()
        self._open: Number | None = None
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "table":
            self._place = _Place(given.get("data-mart"))
        elif tag == "th":
            self._place.keys.append(given.get("data-key", ""))
        elif tag == "tr":
            self._place.row, self._place.cell = given.get("data-id"), -1
        elif tag == "td":
            self._place.cell += 1
            self._open = self._of_cell(given)
        elif tag in {"dd", "span"} and "data-id" in given:
            self._open = Number("", given["data-mart"], [given["data-id"]], given["data-key"])

    def _of_cell(self, given: dict[str, str]) -> Number | None:
        is_number = given.get("class") == "number"
        ids = given["data-ids"].split("\n") if "data-ids" in given else [self._place.row or ""]
        if not self._place.mart or not is_number or ids == [""]:
            return None
        return Number("", self._place.mart, ids, given.get("data-key") or self._place.keys[self._place.cell])

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "dd", "span"} and self._open:
            self.found.append(self._open)
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open:
            self._open.text += data.strip()


def read(text: str, key: str) -> float:
    """A number as pages write it: 1,234 and 12.5 % and 5 h 10 min (in the unit that the column names) and 52x."""
    text = text.replace("\N{MINUS SIGN}", "-").replace(",", "").removeprefix("< ").replace("at once", "0")
    if parts := re.findall(r"([\d.]+) (d|h|min|ms|s)\b", text):
        seconds = sum(float(number) * SECONDS[unit] for number, unit in parts) * (-1 if text.startswith("-") else 1)
        return seconds / 60
    return float(text.removesuffix(" %").removesuffix("x")) / (100 if text.endswith("%") else 1)


def in_mart(connection: duckdb.DuckDBPyConnection, number: Number) -> float | None:
    """What the mart has: the sum of the rows, where the page adds up several; costs count against benefits."""
    sign = "case when kind = 'cost' then -1 else 1 end *" if number.mart == "marts.mart_roi_lines" else ""
    column = f"len({number.key})" if number.key == "unsupported_inputs" else f"{number.key}::double"
    rows = connection.execute(
        f"select {sign if len(number.ids) > 1 else ''} {column} from {number.mart}"
        f" where list_contains($ids, {IDS[number.mart]})",
        {"ids": number.ids},
    ).fetchall()
    assert len(rows) == len(number.ids), number
    known = [value for (value,) in rows if value is not None]
    return sum(known) if known else None


@pytest.mark.parametrize("name", PAGES)
def test_every_number_is_found_in_its_mart(built, connection, name):
    numbers = [one for one in Numbers(built.folder / name).found if one.text != NONE]
    assert len(numbers) >= PAGES[name]
    for number in numbers:
        found, shown = in_mart(connection, number), read(number.text, number.key)
        assert found is not None, number
        if number.text.startswith("<"):
            assert shown == (1 if number.key == "payback_months" else 0.001), number
            assert found < shown, number
        else:
            # The sums of costs are written as what they cost, the net with its sign.
            assert abs(abs(found) - abs(shown)) <= ROUNDED * abs(found) + 0.5 * (abs(found) >= 10) + 5e-4, number


@pytest.mark.parametrize("name", [*PAGES, "claims.html"])
def test_pages_name_only_marts_whose_ids_are_known_here(built, name):
    page = (built.folder / name).read_text(encoding="utf-8")
    assert set(re.findall(r'data-mart="([^"]+)"', page)) <= set(IDS)


def test_claims_are_counted_from_their_rows(built, connection):
    page = (built.folder / "claims.html").read_text(encoding="utf-8")
    counted = re.findall(r'data-ids="([^"]+)" data-count="(\d+)"', page)
    ids = [one for each, _ in counted for one in each.split("\n")]
    assert [len(each.split("\n")) for each, _ in counted] == [int(count) for _, count in counted]
    assert connection.execute("select list_sort(list(claim_id)) from marts.claims_audit").fetchall() == [(sorted(ids),)]


def test_a_wrong_number_would_be_found(built, connection):
    numbers = [
        one for one in Numbers(built.folder / "mttr.html").found if one.key == "median_minutes" and len(one.text) > 3
    ]
    assert all(
        abs((in_mart(connection, one) or 0) * 1.2 - read(one.text, one.key)) > ROUNDED * read(one.text, one.key)
        for one in numbers
    )
    assert numbers


@pytest.mark.parametrize(("months", "text"), [(0.0, "at once"), (0.02, "< 1"), (1.0, "1.0"), (None, NONE)])
def test_months_to_pay_back_are_never_0(months, text):
    assert cell(Column("payback_months", "", "months"), {"payback_months": months}).text == text
