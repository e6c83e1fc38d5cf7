from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dagster_project.policy.policy import ClockName
from dagster_project.statistics.arms import Arm
from dagster_project.statistics.plan import ComparisonPlan
from dagster_project.statistics.survival import Lifetimes


def make_arm(
    durations: Any, *, label: str = "before", open_ages: Any = (), start: str = "2026-01-01", **given: Any
) -> Arm:
    """An arm of ended incidents with these durations (NaN: no time on the clock), then open ones of these ages."""
    ended = np.asarray(durations, dtype=np.float64)
    ages = np.asarray(open_ages, dtype=np.float64)
    size = ended.size + ages.size
    labels = {
        name: np.full(size, given.pop(name, value)) if isinstance(given.get(name, value), str) else given.pop(name)
        for name, value in (("severities", "P2"), ("services", "shop"), ("teams", "one"), ("categories", "web"))
    }
    defaults: dict[str, Any] = {
        "clock": ClockName.RESOLVE,
        "incident_ids": np.array([f"{label}-{number}" for number in range(size)], dtype=np.str_),
        "durations": np.concatenate([ended, np.full(ages.size, np.nan)]),
        "ages": np.concatenate([np.full(ended.size, 1e9), ages]),
        "is_open": np.arange(size) >= ended.size,
        "sources": np.full(size, "pager.created_at to pager.resolved_at"),
        "started_at": np.datetime64(start, "us") + np.arange(size) * np.timedelta64(8, "h"),
        "days": 30.0,
    }
    return Arm(label=label, **labels, **(defaults | given))


def make_plan(**given: Any) -> ComparisonPlan:
    defaults: dict[str, Any] = {
        "id": "test-plan",
        "question": "Is it?",
        "baseline": {"label": "before"},
        "candidate": {"label": "after"},
    }
    return ComparisonPlan.model_validate(defaults | given)


@pytest.fixture
def arm() -> Callable[..., Arm]:
    return make_arm


@pytest.fixture
def plan() -> Callable[..., ComparisonPlan]:
    return make_plan


@pytest.fixture(scope="session")
def six_mp() -> Lifetimes:
    """Weeks of remission of 21 children on 6-mercaptopurine, 12 of them still in it (Freireich et al. 1963)."""
    return Lifetimes.of(
        np.array([6, 6, 6, 7, 10, 13, 16, 22, 23.0]), np.array([6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35.0])
    )


@pytest.fixture(scope="session")
def placebo() -> Lifetimes:
    """The other arm: all 21 had relapsed."""
    weeks = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
    return Lifetimes.of(np.array(weeks, dtype=np.float64), np.empty(0))
