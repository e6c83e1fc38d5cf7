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


NONE = (None, None, None)


def insert(
    connection, verdict="IMPROVED", estimand="geometric_mean_ratio", primary=(0.8, 0.6, 1.0 / 1.1),
    duration=(0.85, 0.65, 1.1), rate=(1.2, 0.9, 1.6), bursts=NONE,
):  # fmt: skip
    connection.execute(
        """
        insert into marts.mart_significance (
            comparison_id, verdict, estimand, level, primary_ratio, primary_ratio_low, primary_ratio_high, ratio,
            ratio_low, ratio_high, rate_ratio, rate_ratio_low, rate_ratio_high, overdispersed_rate_ratio,
            overdispersed_rate_ratio_low, overdispersed_rate_ratio_high
        ) values (?, ?, ?, 0.1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        """,
        ["a-change", verdict, estimand, *primary, *duration, *rate, *bursts],
    )


def test_the_interval_and_its_level_are_the_comparisons(warehouse, asking):
    insert(warehouse)
    plan = asking()
    found = read_effects(warehouse, [plan])["effect.a-change.duration"]
    assert (found.ratio, found.low, found.high, found.level, found.is_shown) == (0.8, 0.6, 1 / 1.1, 0.1, True)
    # A 90 % interval reaches 1.645 deviations to each side.
    assert found.log_deviation == pytest.approx(0.4155 / (2 * 1.6449), rel=1e-3)


def ends(found):
    return found.ratio, found.low, found.high


@pytest.mark.parametrize(
    ("estimand", "measure", "expected", "is_shown"),
    [
        # A verdict speaks of the plan's estimand alone, and stands on the primary ratio, whatever its method.
        ("geometric_mean_ratio", "duration", (0.5, 0.4, 0.6), True),
        ("restricted_mean", "duration", (0.5, 0.4, 0.6), True),
        ("frequency", "frequency", (0.5, 0.4, 0.6), True),
        ("frequency", "duration", (0.7, 0.6, 0.8), False),
        ("geometric_mean_ratio", "frequency", (0.3, 0.2, 0.4), False),
        ("restricted_mean", "frequency", (0.3, 0.2, 0.4), False),
    ],
)
def test_a_verdict_supports_only_what_it_is_about(warehouse, asking, estimand, measure, expected, is_shown):
    insert(warehouse, "IMPROVED", estimand, (0.5, 0.4, 0.6), (0.7, 0.6, 0.8), (0.3, 0.2, 0.4))
    found = read_effects(warehouse, [asking(measure=measure)])[f"effect.a-change.{measure}"]
    assert (*ends(found), found.is_shown) == (*expected, is_shown)
    assert found.refused is None


def test_counts_that_come_in_bursts_take_the_interval_that_knows_it(warehouse, asking):
    insert(warehouse, rate=(0.3, 0.2, 0.4), bursts=(0.3, 0.1, 1.2))
    found = read_effects(warehouse, [asking(measure="frequency")])["effect.a-change.frequency"]
    assert ends(found) == (0.3, 0.1, 1.2)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"verdict": "NOT_COMPARABLE"}, "is NOT_COMPARABLE"),
        ({"primary": (0.8, None, 0.9)}, "has no interval"),
        ({"primary": (0.8, 0.0, 0.9)}, "has no interval"),
        ({"estimand": "frequency", "duration": NONE}, "has no interval"),
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


@pytest.mark.parametrize("columns", ["comparison_id text, verdict text", "comparison_id text, level double"])
def test_comparisons_of_an_older_version_are_refused(asking, columns):
    with duckdb.connect() as connection:
        connection.execute(f"create schema marts; create table marts.mart_significance ({columns})")
        assert read_effects(connection, [asking()])["effect.a-change.duration"].refused


def test_a_warehouse_without_comparisons_refuses_all(asking):
    with duckdb.connect() as connection:
        assert read_effects(connection, [asking()])["effect.a-change.duration"].refused
