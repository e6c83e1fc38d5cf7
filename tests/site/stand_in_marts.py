"""What Python infers from the stand-in warehouse: comparisons, estimates, claims, curves, by the functions that do it.

Texts in the plans are hostile where a plan takes texts, so that pages show whether they escape them.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from dagster_project.statistics import marts, roi
from dagster_project.statistics.claims.audit import claims_audit
from dagster_project.statistics.claims.deck import Deck
from dagster_project.statistics.clock_curves import clock_curves
from dagster_project.statistics.plan import ComparisonPlan
from dagster_project.statistics.roi import RoiPlan

HOSTILE = "<i>from outside</i> =1+1"
TICKETS: dict[str, Any] = {"where": {"system": ["servicenow"]}, "clock_resolution_seconds": 60}
COMPARISONS: tuple[dict[str, Any], ...] = (
    {
        "id": "tickets-p1-p4",
        "question": "Are P1 tickets slower?",
        "baseline": {"label": "P4", "where": {"severity": ["P4"]}},
        "candidate": {"label": "P1", "where": {"severity": ["P1"]}},
        "caveats": [f"A caveat {HOSTILE}."],
        **TICKETS,
    },
    {
        "id": "tickets-halves",
        "question": f"Were later tickets shorter? {HOSTILE}",
        "cut_over_at": "2016-03-13T12:00:00Z",
        "baseline": {"label": "the first half", "side": "before"},
        "candidate": {"label": "<b>second</b>", "side": "after"},
        **TICKETS,
    },
    {
        "id": "incidents-halves",
        "question": "Were later incidents shorter?",
        "where": {"system": ["incidents"]},
        "cut_over_at": "2024-03-04T10:20:00Z",
        "baseline": {"label": "before", "side": "before"},
        "candidate": {"label": "after", "side": "after"},
    },
)


def _number(value: float, unit: str, confidence: str = "estimated", **more: Any) -> dict[str, Any]:
    return {"value": value, "unit": unit, "source": HOSTILE, "date": None, "confidence": confidence, **more}


# Two hours saved on each of ten incidents cannot pay for the licence.
SHOP: dict[str, Any] = {
    "id": "shop",
    "title": "The shop <i>",
    "currency": "EUR",
    "incidents_per_year": _number(10, "incidents/year", low=5, high=20),
    "costs": [
        {"id": "licence", "label": "=Licence <b>", "timing": "yearly", "amount": _number(4000, "EUR/year", "measured")},
        {"id": "setup", "label": "Setup", "timing": "one_time", "amount": _number(500, "EUR", low=300, high=900)},
    ],
    "labour": {
        "hours_before": _number(4, "hours", "unsupported", low=2, high=8),
        "hours_after": _number(2, "hours"),
        "hourly_cost": _number(60, "EUR/hour"),
    },
    "transfers": [
        {"id": "refunds", "label": "Refunds", "timing": "one_time", "amount": _number(90, "EUR", "measured")}
    ],
    "stated_return": {
        "ratio": _number(52, "times", "claimed"),
        "yearly_benefits": _number(52_000, "EUR/year", "claimed"),
        "yearly_costs": _number(1000, "EUR/year", "claimed"),
    },
    "caveats": [f"A caveat {HOSTILE}."],
}
# The same without a range anywhere: nothing is drawn.
FIXED: dict[str, Any] = {
    "id": "fixed",
    "title": "Without ranges",
    "currency": "EUR",
    "incidents_per_year": _number(10, "incidents/year"),
    "costs": [{"id": "licence", "label": "Licence", "timing": "yearly", "amount": _number(1000, "EUR/year")}],
    "labour": {
        "hours_before": _number(4, "hours"),
        "hours_after": _number(2, "hours"),
        "hourly_cost": _number(60, "EUR/hour"),
    },
}

DECK: dict[str, Any] = {
    "title": "A deck",
    "sources": [{"id": "paper", "title": f"A paper {HOSTILE}"}, {"id": "other", "title": "Another"}],
    "claims": [
        {
            "id": "sum-of-two",
            "claim": f"Two parts are seven. {HOSTILE}",
            "source": "paper",
            "line": 12,
            "stated": {"value": 7, "unit": "hours"},
            "check": {
                "kind": "computed",
                "formula": "a + b",
                "inputs": {name: {"value": 3, "unit": "hours", "line": 13} for name in ("a", "b")},
            },
            "note": "=1+1 <b>noted</b>",
        },
        {
            "id": "sum-that-holds",
            "claim": "Two parts are six.",
            "source": "other",
            "line": 14,
            "stated": {"value": 6, "unit": "hours"},
            "check": {
                "kind": "computed",
                "formula": "a + b",
                "inputs": {name: {"value": 3, "unit": "hours", "line": 13} for name in ("a", "b")},
            },
        },
    ],
}


def fill(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the marts beside those of the stand-in."""
    for name, table in tables().items():
        connection.register("found", table)
        connection.execute(f"create table marts.{name} as select * from found")
        connection.unregister("found")


@cache
def tables() -> dict[str, pa.Table]:
    """Once a run of the tests: the protocol takes seconds."""
    script = Path(__file__).with_name("stand_in_warehouse.sql").read_text(encoding="utf-8")
    comparisons = [ComparisonPlan.model_validate(plan) for plan in COMPARISONS]
    estimates = [RoiPlan.model_validate(plan) for plan in (SHOP, FIXED)]
    with duckdb.connect() as connection, tempfile.TemporaryDirectory() as folder:
        connection.execute(script)
        state = Path(folder) / "state.sqlite"
        made = marts.tables(marts.judge(connection, comparisons, marts.Registry(state)))
        made["mart_significance_plans"] = marts.plan_rows(state, comparisons)
        made["mart_clock_curves"] = clock_curves(connection)
    for name in ("lines", "summary", "inputs", "draws", "histogram", "tornado"):
        made[f"mart_roi_{name}"] = getattr(roi, f"roi_{name}")(estimates)
    return made | {"claims_audit": claims_audit({"deck": Deck.model_validate(DECK)})}
