"""One comparison as text, Markdown or JSON: the sentence first, then the steps, what may not be concluded, caveats.

The page is `site/`; nothing is computed here.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from dagster_project.statistics.marts import Judged, Unanswered, tables
from dagster_project.statistics.protocol import Estimate, StepResult
from dagster_project.statistics.significance import Comparison
from dagster_project.wording import markdown_cell

WIDTH = 120
"""Columns of the table of steps in text, whatever the terminal: a file and a pipe get the same."""

IN_JSON = (
    "mart_significance_steps",
    "mart_significance_estimates",
    "mart_significance_slices",
    "mart_significance_mix",
    "mart_placebo_cut_overs",
)


def as_text(judged: Judged, only: Iterable[str] | None = None) -> str:
    """Every comparison, or those named, for a terminal."""
    parts = ["\n".join(_text(each)) for each in _chosen(judged, only)]
    return "\n\n".join(parts) + "\n"


def as_markdown(judged: Judged, only: Iterable[str] | None = None) -> str:
    """The same as Markdown."""
    parts = ["\n".join(_markdown(each)) for each in _chosen(judged, only)]
    return "\n\n".join(parts) + "\n"


def as_json(judged: Judged, generation: str, only: Iterable[str] | None = None) -> str:
    """The rows that the marts would get, without curves and points."""
    wanted = {each.plan.id for each in _chosen(judged, only)}
    made = tables(judged)
    found = []
    for row in made["mart_significance"].to_pylist():
        if row["comparison_id"] in wanted:
            rows = {name.removeprefix("mart_"): _rows_of(made[name], row["comparison_id"]) for name in IN_JSON}
            found.append({**row, **rows})
    document = {"generation": generation, "comparisons": found}
    return json.dumps(document, indent=2, ensure_ascii=False, default=_said, allow_nan=False) + "\n"


def _rows_of(table: Any, comparison_id: str) -> list[dict[str, Any]]:
    return [row for row in table.to_pylist() if row["comparison_id"] == comparison_id]


def _said(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _chosen(judged: Judged, only: Iterable[str] | None) -> list[Comparison | Unanswered]:
    every: list[Comparison | Unanswered] = [*judged.comparisons, *judged.unanswered]
    wanted = None if only is None else set(only)
    return sorted((each for each in every if wanted is None or each.plan.id in wanted), key=lambda each: each.plan.id)


def _text(each: Comparison | Unanswered) -> Iterator[str]:
    yield f"{each.plan.id}: {each.plan.question}"
    yield ""
    yield each.sentence
    if isinstance(each, Unanswered):
        return
    yield ""
    yield f"{'Step':<20} {'Status':<16} Finding"
    for step in each.steps:
        head = f"{step.number:>2} {step.name:<17} {step.status.value:<16} "
        yield textwrap.fill(step.finding, WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    yield ""
    yield "What may not be concluded:"
    yield from (f"  - {text}" for text in each.not_concluded)
    if each.caveats:
        yield ""
        yield "Caveats:"
        yield from (f"  - {text}" for text in each.caveats)
    yield ""
    yield _registered(each)


def _markdown(each: Comparison | Unanswered) -> Iterator[str]:
    verdict = each.verdict.value if isinstance(each, Comparison) else "NOT_COMPARABLE"
    yield f"## {markdown_cell(each.plan.question)}"
    yield ""
    yield f"**{verdict}.** {markdown_cell(each.sentence)}"
    if isinstance(each, Unanswered):
        return
    yield ""
    yield "| Step | Status | Estimate | Finding |"
    yield "|---|---|---|---|"
    for step in each.steps:
        yield f"| {step.number} {step.name} | {step.status.value} | {_number(step)} | {markdown_cell(step.finding)} |"
    yield ""
    yield "### What may not be concluded"
    yield ""
    yield from (f"- {markdown_cell(text)}" for text in each.not_concluded)
    if each.caveats:
        yield ""
        yield "### Caveats"
        yield ""
        yield from (f"- {markdown_cell(text)}" for text in each.caveats)
    yield ""
    yield _registered(each)


def _registered(each: Comparison) -> str:
    at = each.history.registered_at
    stored = "not stored" if at is None else f"stored {at:%Y-%m-%d %H:%M:%S} UTC, before this result"
    changed = " It was changed after results existed." if each.history.is_changed_after_results else ""
    return f"Plan {each.plan.id}, SHA-256 {each.plan.sha256}, {stored}.{changed}"


def _number(step: StepResult) -> str:
    main: Estimate | None = step.main
    if main is None or main.value is None:
        return ""
    ends = "" if main.low is None or main.high is None else f" ({main.low:.3g} to {main.high:.3g})"
    return f"{main.value:.3g}{ends}"
