"""Values of violations as the cells of a CSV file, and any rows as CSV or JSON. No cell can start a formula."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from typing import Any, Final

from dagster_project.replay.query import Replay

# A cell that starts with one of these is run as a formula by spreadsheets; some strip the leading white space first.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def as_csv(replay: Replay) -> str:
    """One line a violation; reported values are columns of their own. Cells cannot start a formula."""
    names = [reported.name for reported in replay.rule.judgement.report]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    fixed = ["scope_key", "first_span_at", "last_span_at", "service_names", "trace_ids", "witness", "violation_id"]
    fixed.append("reason")
    writer.writerow([*fixed, *(inert(name) for name in names)])
    for row in replay.violations.to_pylist():
        reported = json.loads(row["reported"])
        row["witness"] = [_pair(span) for span in row["witness"] or []]
        values = [_cell(row[name]) for name in fixed] + [_cell(reported.get(name)) for name in names]
        writer.writerow(values)
    return out.getvalue()


def rows_as_csv(rows: list[dict[str, Any]]) -> str:
    """Rows of any table, their names first; cells cannot start a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0] if rows else [])
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return out.getvalue() if rows else ""


def rows_as_json(rows: list[dict[str, Any]]) -> str:
    """Rows of any table as an array of objects."""
    return json.dumps(rows, indent=2, ensure_ascii=False, default=str) + "\n"


def inert(cell: str) -> str:
    """A quote before what a spreadsheet would run; numbers stay numbers."""
    if not cell.lstrip(" ").startswith(_FORMULA_STARTS):
        return cell
    try:
        float(cell)
    except ValueError:
        return "'" + cell
    return cell


def shown(value: Any) -> str:
    """A value of a report as text."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return iso(value) or ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def iso(moment: datetime | None) -> str | None:
    """A time in UTC as ISO 8601, with as much of a second as it has."""
    if moment is None:
        return None
    text = f"{moment:%Y-%m-%dT%H:%M:%S.%f}".rstrip("0").rstrip(".")
    # strftime writes years before 1000 without their zeros on some systems.
    return text.rjust(len(text) + 4 - text.index("-"), "0") + "Z"


def _cell(value: Any) -> str:
    return inert(" ".join(map(str, value)) if isinstance(value, list) else shown(value))


def _pair(span: dict[str, str | None]) -> str:
    """`trace:span`; a log record that names no span is found by its trace alone."""
    return ":".join(part for part in (span["trace_id"], span["span_id"]) if part)
