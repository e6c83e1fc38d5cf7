import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_project.statistics.durations import Tier
from dagster_project.statistics.result_row import as_row
from dagster_project.statistics.schemas import SIGNIFICANCE_SCHEMA
from dagster_project.statistics.significance import Verdict, compare


def draw(seed, n, centre=3_600.0, spread=1.0):
    """`n` log-normal durations whose geometric mean is exactly `centre` seconds."""
    logs = np.random.default_rng(seed).normal(0, spread, n)
    return centre * np.exp((logs - logs.mean()) / logs.std(ddof=1) * spread)


CUT = {
    "cut_over_at": "2026-03-20T00:00:00Z",
    "baseline": {"label": "before", "side": "before"},
    "candidate": {"label": "after", "side": "after"},
}


def test_a_clear_cut_is_improved_and_the_sentence_says_all(arm, plan):
    result = compare(plan(), arm(draw(1, 156)), arm(draw(2, 60, 1_800.0), label="after", days=10.0))
    assert result.verdict is Verdict.IMPROVED
    assert result.tier is Tier.FULL
    assert result.effects.ratio.ratio == pytest.approx(0.5)
    assert result.effects.ratio.low < 0.5 < result.effects.ratio.high < 1
    assert result.sentence == (
        "The typical time to resolve is 50% shorter in after than in before (after 30.0 min over 60 incidents, 0 open; "
        f"before 60.0 min over 156 incidents, 0 open; ratio 0.5, 95% interval {result.effects.ratio.low:.3g} to "
        f"{result.effects.ratio.high:.3g}); 180 against 156 incidents in 30 days."
    )
    assert any("not a cause" in caveat for caveat in result.caveats)


def test_the_same_arms_swapped_are_worse(arm, plan):
    result = compare(plan(), arm(draw(2, 60, 1_800.0)), arm(draw(1, 156), label="after"))
    assert result.verdict is Verdict.WORSE
    assert result.effects.ratio.ratio == pytest.approx(2)


def test_few_incidents_are_underpowered_and_say_what_would_have_been_seen(arm, plan):
    result = compare(plan(), arm(draw(1, 30)), arm(draw(2, 25, 3_200.0), label="after"))
    assert result.verdict is Verdict.UNDERPOWERED
    assert (
        f"only a cut of {result.effects.detectable_cut:.0%} or more had a chance of 80% to be seen" in result.sentence
    )


def test_many_equal_incidents_are_inconclusive_rather_than_underpowered(arm, plan):
    result = compare(plan(), arm(draw(1, 4_000)), arm(draw(2, 4_000), label="after"))
    assert (result.verdict, result.reason) == (Verdict.INCONCLUSIVE, "no_clear_difference")


def test_real_but_not_worth_having(arm, plan):
    result = compare(plan(), arm(draw(1, 9_000)), arm(draw(2, 9_000, 3_600 * 0.94), label="after"))
    assert (result.verdict, result.reason) == (Verdict.INCONCLUSIVE, "smaller_than_worth_having")


def test_five_to_nineteen_are_indicative_and_exact(arm, plan):
    result = compare(plan(), arm(draw(1, 8, spread=0.3)), arm(draw(2, 8, 600.0, spread=0.3), label="after"))
    assert result.tier is Tier.INDICATIVE
    assert result.sentence.startswith("Indicative only: the typical time to resolve is 83% shorter")
    assert result.effects.permutation.is_exact
    assert result.effects.permutation.arrangements == 12_870


def test_open_incidents_can_undo_an_improvement(arm, plan):
    ended = draw(2, 100, 1_800.0)
    still_open = compare(plan(), arm(draw(1, 100)), arm(ended, open_ages=np.full(20, 80_000.0), label="after"))
    assert (still_open.verdict, still_open.reason) == (Verdict.INCONCLUSIVE, "open_incidents_could_explain")
    assert still_open.effects.with_open.ratio > still_open.effects.ratio.high
    half_open = compare(plan(), arm(draw(1, 100)), arm(ended, open_ages=np.full(60, 80_000.0), label="after"))
    assert half_open.reason == "too_many_open"
    assert "60 open" in half_open.sentence


def test_a_changed_severity_mix_is_not_an_improvement(arm, plan):
    slow, fast = draw(1, 200, 36_000.0), draw(2, 200, 360.0)
    first = arm(np.concatenate([slow[:120], fast[:80]]), severities=np.repeat(["P3", "P4"], (120, 80)))
    second = arm(np.concatenate([slow[120:], fast[80:]]), severities=np.repeat(["P3", "P4"], (80, 120)), label="after")
    result = compare(plan(), first, second)
    assert result.effects.ratio.high < 1
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.reason in ("severity_mix_could_explain", "tests_disagree")


def test_other_kinds_of_incidents_are_not_an_improvement(arm, plan):
    first, second = arm(draw(1, 100)), arm(draw(2, 100, 600.0), label="after", categories="mail")
    assert compare(plan(), first, second).reason == "other_kinds_could_explain"
    told_apart = plan(candidate={"label": "after", "where": {"category": ["mail"]}})
    assert compare(told_apart, first, second).verdict is Verdict.IMPROVED


def test_a_fall_that_began_before_the_cut_over_is_not_its_effect(arm, plan):
    falling = draw(1, 200, 7_200.0, 0.8) * np.linspace(3, 0.4, 200)
    after = arm(draw(2, 200, 1_800.0, 0.8), label="after", start="2026-04-01")
    assert compare(plan(**CUT), arm(falling), after).reason == "moving_before_the_cut_over"
    assert compare(plan(**CUT), arm(draw(3, 200, 7_200.0, 0.8)), after).verdict is Verdict.IMPROVED


def test_a_few_bad_days_are_not_a_trend(arm, plan):
    generator = np.random.default_rng(6)
    days = np.datetime64("2026-01-01", "us") + np.repeat(np.arange(6), 40) * np.timedelta64(1, "D")
    first = 3_600 * np.exp(np.repeat(generator.normal(0, 1.5, 6), 40) + generator.normal(0, 0.1, 240))
    second = first[::-1] * 0.5
    result = compare(plan(), arm(first, started_at=days), arm(second, started_at=days, label="after"))
    assert result.reason == "bad_days_could_explain"


def test_no_row_holds_a_nan_and_every_row_fits_the_schema(arm, plan):
    varied = draw(1, 30)
    cases = [
        (arm([]), arm([], label="after", days=0.0)),
        (arm([1.0]), arm(varied, label="after")),
        (arm(np.full(20, 9.0)), arm(varied, label="after")),
        (arm([*varied, np.nan], open_ages=[5.0]), arm(varied * 2, label="after")),
        (arm([], open_ages=[5.0] * 9), arm(varied, label="after")),
        (arm([-1.0] * 9), arm([0.0] * 9, label="after")),
    ]
    for first, second in cases:
        row = as_row(compare(plan(), first, second))
        assert row.keys() <= set(SIGNIFICANCE_SCHEMA.names)
        assert not [name for name, value in row.items() if isinstance(value, float) and not np.isfinite(value)]
        assert not [word for word in ("nan", "inf ", "None") if word in row["sentence"]]


def test_the_same_digits_twice(arm, plan):
    one, two = (as_row(compare(plan(), arm(draw(1, 300)), arm(draw(2, 90, 3_000.0), label="after"))) for _ in "ab")
    assert one == two


ANY_DURATION = st.sampled_from([np.nan, -1.0, 0.0, 1e-9, 1.0, 60.0, 60.0, 61.0, 3_600.0, 1e9])
ANY_ARM = st.tuples(st.lists(ANY_DURATION, max_size=14), st.lists(st.sampled_from([0.0, 1.0, 1e6]), max_size=4))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ANY_ARM, ANY_ARM, st.sampled_from([None, 60.0]), st.booleans())
def test_whatever_the_arms_there_is_a_verdict_and_no_nan(arm, plan, first, second, step, has_cut):
    wanted = plan(
        **(CUT if has_cut else {}),
        clock_resolution_seconds=step,
        max_missing_share=0.99,
        min_mix_overlap=0,
        permutations=999,
    )
    arms = [
        arm(
            durations,
            open_ages=ages,
            label=label,
            severities=np.array((["P1", "P2", "P2"] * 9)[: len(durations + ages)]),
        )
        for (durations, ages), label in ((first, "before"), (second, "after"))
    ]
    row = as_row(compare(wanted, *arms))
    assert row["verdict"] in set(Verdict)
    assert not [name for name, value in row.items() if isinstance(value, float) and not np.isfinite(value)]
    assert not [word for word in ("nan", "inf ", "None") if word in " ".join([row["sentence"], *row["caveats"]])]
