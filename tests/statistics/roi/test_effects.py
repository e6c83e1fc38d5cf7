import duckdb
import pytest

from dagster_project.statistics.roi.effects import NOT_FOUND, found_effect, read_effects
from dagster_project.statistics.roi.plan import Effect
from dagster_project.statistics.schemas import SIGNIFICANCE_SCHEMA


@pytest.fixture
def asking(estimate, number):
    """Makes an estimate that takes an effect of `a-change`."""

    def make(**effect):
        after = number(10, "hours", effect={"comparison": "a-change"} | effect)
        return estimate(labour={"hours_before": number(10, "hours"), "hours_after": after, "hourly_cost": number(1)})

    return make


@pytest.fixture
def warehouse():
    with duckdb.connect() as connection:
        connection.execute("create schema marts")
        connection.register("made", SIGNIFICANCE_SCHEMA.empty_table())
        connection.execute("create table marts.mart_significance as select * from made")
        yield connection


def insert(connection, verdict="IMPROVED", ratio=0.8, low=0.6, high=1.0 / 1.1, rate=(1.2, 0.9, 1.6)):
    connection.execute(
        """
        insert into marts.mart_significance (
            comparison_id, verdict, level, ratio, ratio_low, ratio_high, rate_ratio, rate_ratio_low, rate_ratio_high
        ) values (?, ?, 0.1, ?, ?, ?, ?, ?, ?)
        """,
        ["a-change", verdict, ratio, low, high, *rate],
    )


def test_the_interval_and_its_level_are_the_comparisons(warehouse, asking):
    insert(warehouse)
    plan = asking()
    found = read_effects(warehouse, [plan])["effect.a-change.duration"]
    assert (found.ratio, found.low, found.high, found.level, found.is_shown) == (0.8, 0.6, 1 / 1.1, 0.1, True)
    # A 90 % interval reaches 1.645 deviations to each side.
    assert found.log_deviation == pytest.approx(0.4155 / (2 * 1.6449), rel=1e-3)
    frequency = read_effects(warehouse, [asking(measure="frequency")])["effect.a-change.frequency"]
    assert (frequency.ratio, frequency.low, frequency.is_shown) == (1.2, 0.9, False)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"verdict": "NOT_COMPARABLE"}, "is NOT_COMPARABLE"),
        ({"low": None}, "has no interval"),
        ({"low": 0.0}, "has no interval"),
    ],
)
def test_what_has_no_interval_is_refused(warehouse, asking, row, why):
    insert(warehouse, **row)
    found = read_effects(warehouse, [asking()])["effect.a-change.duration"]
    assert why in found.refused
    assert (found.ratio, found.log_deviation) == (1, 0)


def test_a_comparison_that_is_not_there_is_refused(warehouse, asking):
    effects = read_effects(warehouse, [asking()])
    assert found_effect(effects, Effect(comparison="a-change")).verdict == NOT_FOUND


def test_a_warehouse_without_comparisons_refuses_all(asking):
    with duckdb.connect() as connection:
        assert read_effects(connection, [asking()])["effect.a-change.duration"].refused
