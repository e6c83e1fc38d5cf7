from collections.abc import Callable
from typing import Any

import pytest

from dagster_project.statistics.roi.plan import RoiPlan


def number(value: float, unit: str = "USD", confidence: str = "measured", **given: Any) -> dict[str, Any]:
    """An input as it stands in the file."""
    return {"value": value, "unit": unit, "source": "a test", "date": "2026-01-01", "confidence": confidence} | given


def estimate(**given: Any) -> RoiPlan:
    """An estimate of 20 incidents a year, 6 hours saved on each, 10,000 a year and 5,000 once."""
    defaults: dict[str, Any] = {
        "id": "test",
        "title": "Test",
        "currency": "USD",
        "incidents_per_year": number(20, "incidents/year"),
        "costs": [
            {"id": "licence", "label": "Licence", "timing": "yearly", "amount": number(10_000)},
            {"id": "setup", "label": "Setup", "timing": "one_time", "amount": number(5_000)},
        ],
        "labour": {"hours_before": number(10, "hours"), "hours_after": number(4, "hours"), "hourly_cost": number(100)},
    }
    return RoiPlan.model_validate(defaults | given)


@pytest.fixture(name="number")
def _number() -> Callable[..., dict[str, Any]]:
    return number


@pytest.fixture(name="estimate")
def _estimate() -> Callable[..., RoiPlan]:
    return estimate


@pytest.fixture
def every_line() -> dict[str, Any]:
    """The three benefits that an estimate may have beside labour."""
    return {
        "avoided_downtime": {
            "method": "per_minute", "minutes_saved": number(30, "minutes"),
            "gross_profit_per_minute": number(20), "idle_cost_per_minute": number(5),
        },
        "avoided_incidents": {"share_avoided": number(0.25, "share"), "cost_per_incident": number(8_000)},
        "audit_hours": {
            "audits_per_year": number(2, "audits"), "hours_saved": number(40, "hours"), "hourly_cost": number(90),
        },
    }  # fmt: skip
