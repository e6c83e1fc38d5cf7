"""The thirteen steps through `compare()`: their order, tiers, families, looks, and arms that carry nothing."""

import math

import numpy as np
import pytest

from dagster_project.statistics import report
from dagster_project.statistics.durations import Tier
from dagster_project.statistics.evidence import Primary
from dagster_project.statistics.history import History, data_sha256
from dagster_project.statistics.marts import Judged, tables
from dagster_project.statistics.mix import MixSplit
from dagster_project.statistics.not_possible import NotPossible
from dagster_project.statistics.protocol import NAMES, Status
from dagster_project.statistics.significance import Asked, Verdict, compare, compare_together
from dagster_project.statistics.verdict import Outcome, judged, spoken

CUT = {
    "cut_over_at": "2026-03-20T00:00:00Z",
    "baseline": {"label": "before", "side": "before"},
    "candidate": {"label": "after", "side": "after"},
}


def draw(seed, n, centre=3_600.0, spread=1.0):
    logs = np.random.default_rng(seed).normal(0, spread, n)
    return centre * np.exp((logs - logs.mean()) / logs.std(ddof=1) * spread)


def every(hours, count, start="2026-01-01"):
    """One incident every so many hours."""
    return {"started_at": np.datetime64(start, "us") + np.arange(count) * np.timedelta64(round(60 * hours), "m")}


def assert_all_finite(result):
    """Every number of every mart, and every word of every report."""
    made = tables(Judged((result,), ()))
    for name, table in made.items():
        for row in table.to_pylist():
            wrong = [key for key, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
            assert not wrong, f"{name}: {wrong}"
        for column in table.schema:
            assert column.nullable or table[column.name].null_count == 0, f"{name}.{column.name}"
        ids = table[table.schema.names[0]].to_pylist()
        assert len(set(ids)) == len(ids), name
    text = report.as_text(Judged((result,), ()))
    assert not [word for word in (" nan", " inf ", "None") if word in text], text
    report.as_json(Judged((result,), ()), "gen")  # refuses NaN


@pytest.fixture
def improved(arm, plan):
    return compare(
        plan(**CUT),
        arm(draw(1, 240)),
        arm(draw(2, 120, 1_800.0), label="after", start="2026-03-20", days=40.0),
    )


def test_every_step_is_there_in_order_with_a_finding(improved):
    assert improved.verdict is Verdict.IMPROVED, improved.reason
    assert [step.number for step in improved.steps] == list(range(13))
    assert [step.name for step in improved.steps] == list(NAMES)
    assert all(step.finding.endswith(".") for step in improved.steps)
    assert improved.steps[0].finding.startswith(f"Plan {improved.plan.sha256[:12]}, not stored")
    assert "NO_ITS: 11 periods before and 5 after" in improved.steps[9].finding
    assert improved.steps[12].main.is_primary
    assert improved.steps[12].main.value == pytest.approx(0.5)
    assert_all_finite(improved)


def test_what_may_not_be_concluded_is_said_whatever_the_verdict(improved, arm, plan):
    assert any(text.startswith("What caused it") for text in improved.not_concluded)
    assert any("impact need not end with it" in text for text in improved.not_concluded)
    refused = compare(plan(), arm([1.0]), arm(draw(1, 30), label="after"))
    assert refused.not_concluded[0] == "That one arm is better, worse or the same: the arms were not compared."
    small = compare(plan(), arm(draw(1, 30)), arm(draw(2, 25, 3_200.0), label="after"))
    assert small.not_concluded[0].startswith("That nothing changed")


@pytest.mark.parametrize(
    ("n", "tier", "skipped"),
    [(4, Tier.DOTS, range(3, 12)), (8, Tier.INDICATIVE, (4, 6, 9)), (20, Tier.FULL, ())],
)
def test_what_an_arm_is_too_small_for_is_skipped_and_says_so(arm, plan, n, tier, skipped):
    result = compare(plan(), arm(draw(1, n)), arm(draw(2, 60, 1_800.0), label="after"))
    assert result.tier is tier
    assert [step.number for step in result.steps if step.status is Status.SKIPPED_BY_TIER] == list(skipped)
    assert_all_finite(result)


@pytest.mark.parametrize(("n", "has_median", "has_p90"), [(19, False, False), (20, True, False), (50, True, True)])
def test_intervals_of_quantiles_need_enough_incidents(arm, plan, n, has_median, has_p90):
    result = compare(plan(), arm(draw(1, n)), arm(draw(2, 60), label="after"))
    (row,) = tables(Judged((result,), ()))["mart_significance"].to_pylist()
    assert (row["baseline_median_low_minutes"] is not None) is has_median
    assert (row["baseline_p90_low_minutes"] is not None) is has_p90


def bad_arms(arm):
    varied = draw(1, 40)
    return {
        "both empty": (arm([]), arm([], label="after", days=0.0)),
        "one incident": (arm([60.0]), arm(varied, label="after")),
        "four incidents": (arm(varied[:4]), arm(varied, label="after")),
        "all open": (arm([], open_ages=varied), arm(varied, label="after")),
        "both all open": (arm([], open_ages=varied), arm([], open_ages=varied, label="after")),
        "all equal": (arm(np.full(40, 9.0)), arm(varied, label="after")),
        "both all equal": (arm(np.full(40, 9.0)), arm(np.full(40, 9.0), label="after")),
        "negative": (arm([-5.0, *varied]), arm(varied, label="after")),
        "all zero": (arm(np.zeros(40)), arm(varied, label="after")),
        "overlapping": (arm(varied), arm(varied, label="after", incident_ids=arm(varied).incident_ids)),
        "no time of observation": (arm(varied, days=0.0), arm(varied * 2, label="after", days=0.0)),
        "open ages of zero": (arm(varied, open_ages=np.zeros(3)), arm(varied * 2, label="after")),
        "two lengths": (arm([1.0, 2.0] * 10), arm([1.0, 4.0] * 10, label="after")),
    }


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("both empty", "empty_arm"),
        ("one incident", "too_few"),
        ("four incidents", "too_few"),
        ("all open", "all_open"),
        ("both all open", "all_open"),
        ("all equal", "all_equal"),
        ("both all equal", "all_equal"),
        ("negative", "negative_times"),
        ("all zero", "too_few"),
        ("overlapping", "overlapping_arms"),
        ("no time of observation", None),
        ("open ages of zero", None),
        ("two lengths", None),
    ],
)
def test_arms_that_carry_nothing_get_a_named_verdict_and_no_nan(arm, plan, name, reason):
    result = compare(plan(), *bad_arms(arm)[name])
    assert_all_finite(result)
    assert len(result.steps) == 13
    if reason is not None:
        assert (result.verdict, result.reason) == (Verdict.NOT_COMPARABLE, reason)
        assert result.steps[1].finding.startswith("Stopped: ")
    swapped = compare(plan(), *reversed(bad_arms(arm)[name]))
    assert_all_finite(swapped)


def test_a_severity_in_one_arm_only_is_warned_about(arm, plan):
    first = arm(draw(1, 60), severities=np.repeat(["P1", "P2"], (10, 50)))
    second = arm(draw(2, 50, 1_800.0), severities="P2", label="after")
    result = compare(plan(), first, second)
    assert_all_finite(result)
    assert any("Adjusted for severity within 83% of the baseline" in text for text in result.caveats)
    (split,) = [each for name, each in result.mixes.items() if name == "severity"]
    assert isinstance(split, MixSplit)
    assert "P1 (10) in the baseline only" in split.warning


@pytest.mark.parametrize("estimand", ["restricted_mean", "frequency"])
def test_other_numbers_may_decide(arm, plan, estimand):
    first, second = arm(draw(1, 180), days=60.0), arm(draw(2, 54, 1_800.0), label="after", days=60.0, **every(26.5, 54))
    result = compare(plan(estimand=estimand, tau_minutes=600), first, second)
    assert result.verdict is Verdict.IMPROVED
    if estimand == "frequency":
        assert result.sentence.startswith(
            "Incidents are 70% rarer in after than in before (after 54 incidents in 60.0 days; before 180 incidents in "
            "60.0 days; ratio 0.3, 95% interval "
        )
        assert result.primary.ratio == pytest.approx(result.rate.ratio) == pytest.approx(0.3)
    else:
        assert result.sentence.startswith("The mean time to resolve, counted up to 10.0 h, is ")
        assert result.primary.ratio == pytest.approx(result.effects.restricted.ratio)
        assert f"(after {spoken(result.effects.restricted.candidate)} over 54 incidents" in result.sentence
    assert_all_finite(result)


def test_a_horizon_beyond_what_is_known_is_no_number(arm, plan):
    first, second = arm(draw(1, 40), open_ages=[1e6] * 2), arm(draw(2, 40), label="after")
    result = compare(plan(estimand="restricted_mean", tau_minutes=1e6), first, second)
    assert (result.verdict, result.reason) == (Verdict.NOT_COMPARABLE, "unknown_before_tau")
    assert_all_finite(result)


def test_a_family_pays_for_its_size(arm, plan):
    def asked(number, family):
        pair = arm(draw(1, 100)), arm(draw(10 + number, 100, 2_620.0), label="after")
        return Asked(plan(id=f"plan-{number}", family=family, smallest_effect=0.05), *pair)

    alone = compare_together([asked(number, None) for number in range(3)])
    together = compare_together([asked(number, "primary") for number in range(3)])
    for single, member in zip(alone, together, strict=True):
        assert single.holm_p == single.primary.p_value < 0.05
        assert member.holm_p == pytest.approx(3 * single.primary.p_value)
        assert member.holm_p > 0.05
        assert "Holm over 3 primary comparisons" in member.steps[10].finding
        assert (single.verdict, member.reason) == (Verdict.IMPROVED, "family_could_explain")


def test_a_member_that_may_not_be_compared_still_counts_in_its_family(arm, plan):
    pair = arm(draw(1, 100)), arm(draw(10, 100, 2_620.0), label="after")
    asked = [
        Asked(plan(id="fine", family="primary", smallest_effect=0.05), *pair),
        Asked(plan(id="empty", family="primary", smallest_effect=0.05), pair[0], arm([], label="after")),
    ]
    fine, empty = compare_together(asked, absent=1)
    assert fine.holm_p == pytest.approx(3 * fine.primary.p_value)
    assert "Holm over 3 primary comparisons" in fine.steps[10].finding
    assert (empty.verdict, empty.holm_p) == (Verdict.NOT_COMPARABLE, None)


def test_holm_is_not_blamed_where_there_is_no_family(arm, plan):
    result = compare(plan(), arm(draw(1, 60)), arm(draw(2, 60, 1_800.0), label="after"))
    outcome = judged(result.case, result.effects, result.primary, 1.0, 1)
    assert outcome.verdict is Verdict.IMPROVED
    assert judged(result.case, result.effects, result.primary, 1.0, 2).reason == "family_could_explain"


@pytest.mark.parametrize(
    ("level", "said"),
    [(0.05, "95%"), (0.1, "90%"), (0.05 / 30, "99.83%"), (1e-6, "99.9999%"), (0.000_034, "99.9966%")],
)
def test_no_interval_is_called_one_of_100_percent(arm, plan, level, said):
    arms = arm(draw(1, 60)), arm(draw(2, 60, 1_800.0), label="after")
    assert f", {said} interval " in compare(plan(alpha=level), *arms).sentence


def test_one_outage_in_three_weeks_is_no_rarer_future(arm, plan):
    background = np.datetime64("2026-01-01", "us") + np.arange(20) * np.timedelta64(25, "h")
    outage = np.datetime64("2026-01-20T12:00", "us") + np.arange(30) * np.timedelta64(1, "s")
    before = arm(draw(1, 50), started_at=np.concatenate([background, outage]), days=21.0)
    after = arm(draw(2, 20), started_at=background + np.timedelta64(21, "D"), days=21.0, label="after")
    result = compare(plan(estimand="frequency"), before, after)
    assert result.primary.p_value < 0.001
    assert (result.verdict, result.reason) == (Verdict.INCONCLUSIVE, "bursts_could_explain")
    assert_all_finite(result)


def test_a_few_late_tickets_make_no_arm_rarer(arm, plan):
    late = np.append(np.arange(60) * np.timedelta64(12, "h"), np.timedelta64(59 * 24, "h"))
    thin = arm(
        draw(1, 61),
        started_at=np.datetime64("2026-03-01", "us") + late,
        observed_from=np.datetime64("2026-03-01", "us"),
        days=60.0,
        label="after",
    )
    result = compare(plan(estimand="frequency"), arm(draw(2, 180), days=60.0), thin)
    assert any(
        text.startswith(
            "after: 95% of its incidents lie in the first 28 of 60 days: give `ends_at`; else its frequency"
        )
        for text in result.caveats
    )
    assert result.verdict in (Verdict.INCONCLUSIVE, Verdict.UNDERPOWERED)
    found = judged(result.case, result.effects, Primary(0.3, 0.2, 0.4, 1e-3, "x"), 1e-3, 1)
    assert found == Outcome(Verdict.INCONCLUSIVE, "thin_days_could_explain")


def test_a_frequency_and_the_counts_beside_it_never_point_apart(arm, plan):
    # Four full weeks each: those of the second have more incidents, its ragged rest has hardly any.
    first = arm(draw(1, 56), days=28.0, **every(12, 56))
    second = arm(draw(2, 60), days=34.0, label="after", **every(11, 60))
    result = compare(plan(estimand="frequency"), first, second)
    assert result.primary.ratio == pytest.approx(result.rate.ratio) == pytest.approx(60 / 34 * 28 / 56)


def test_a_restricted_mean_is_doubted_in_its_own_measure(arm, plan):
    wanted = plan(estimand="restricted_mean", tau_minutes=600)
    first, second = arm(draw(1, 100), days=60.0), arm(draw(2, 100, 1_800.0), label="after", days=60.0)
    clear = compare(wanted, first, second)
    assert clear.verdict is Verdict.IMPROVED
    # A few incidents that last to the horizon decide a mean of durations, and hardly their geometric mean.
    one_bad_day = arm(
        np.concatenate([draw(3, 60, 600.0, 0.3), np.full(12, 36_000.0)]),
        started_at=np.concatenate([first.started_at[:60], np.repeat(first.started_at[60:61], 12)]),
    )
    after = arm(draw(4, 60, 700.0, 0.3), label="after")
    assert compare(wanted, one_bad_day, after).reason == "bad_days_could_explain"
    # Young open incidents may yet last to the horizon, or end now.
    still_open = arm(draw(2, 100, 1_800.0), label="after", days=60.0, open_ages=np.full(15, 60.0))
    assert compare(wanted, first, still_open).reason == "open_incidents_could_explain"
    slow, fast = draw(5, 200, 9_000.0, 0.5), draw(6, 200, 600.0, 0.5)
    first = arm(np.concatenate([slow[:140], fast[:60]]), severities=np.repeat(["P1", "P2"], (140, 60)))
    second = arm(
        np.concatenate([slow[140:], fast[60:]]), severities=np.repeat(["P1", "P2"], (60, 140)), label="after", days=60.0
    )
    assert compare(wanted, first, second).reason in ("tests_disagree", "severity_mix_could_explain")


def test_a_restricted_mean_of_few_incidents_is_no_number(arm, plan):
    result = compare(plan(estimand="restricted_mean"), arm(draw(1, 19)), arm(draw(2, 60, 600.0), label="after"))
    assert (result.verdict, result.reason) == (Verdict.NOT_COMPARABLE, "skipped_by_tier")


def test_a_mix_is_not_blamed_where_there_is_one_kind(arm, plan):
    generator = np.random.default_rng(8)
    codes = set()
    for _ in range(15):
        first = np.exp(generator.normal(0.0, 0.3, 150))
        second = np.exp(generator.normal(-0.33, 1.6, 90))
        codes.add(compare(plan(permutations=999), arm(3_600 * first), arm(3_600 * second, label="after")).reason)
    assert not codes & {"severity_mix_could_explain", "service_mix_could_explain"}


@pytest.mark.parametrize("estimand", ["geometric_mean_ratio", "restricted_mean", "frequency"])
def test_nothing_is_claimed_of_arms_that_do_not_differ_more_often_than_announced(arm, plan, estimand):
    generator, runs, claims = np.random.default_rng(9), 50, 0
    wanted = plan(estimand=estimand, tau_minutes=600, permutations=999, slices=[])
    for _ in range(runs):
        arms = []
        for label in ("before", "after"):
            at = np.sort(np.repeat(generator.uniform(0, 56 * 24, 25), 1 + generator.poisson(0.6, 25)))
            started_at = np.datetime64("2026-01-01", "us") + (at * 3_600e6).astype("timedelta64[us]")
            durations = 3_600 * np.exp(generator.normal(0, 1.3, at.size))
            arms.append(arm(durations, started_at=started_at, days=56.0, label=label))
        claims += compare(wanted, *arms).verdict in (Verdict.IMPROVED, Verdict.WORSE)
    assert claims / runs < 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_the_share_within_a_target_names_whose_target_it_is(arm, plan):
    targets = [{"minutes": 60, "source": "the desk's contract"}]
    result = compare(plan(targets=targets), arm(draw(1, 99)), arm(draw(2, 40, 1_800.0), label="after"))
    shares = {each.name: each.value for each in result.steps[2].estimates if each.unit == "share"}
    expected = (draw(1, 99) <= 3_600).mean(), (draw(2, 40, 1_800.0) <= 3_600).mean()
    assert tuple(shares.values()) == pytest.approx(expected)
    assert "Within 60.0 min (the desk's contract), baseline" in result.steps[2].finding
    assert_all_finite(result)


def test_looks_share_out_alpha_and_those_beyond_the_plan_cost_more(plan):
    planned = plan(looks=4, alpha=0.05)
    levels = [planned.level(look) for look in range(1, 2_000)]
    assert levels[:4] == [0.0125] * 4
    assert sum(levels[:4]) == pytest.approx(0.05)
    assert sum(levels) < 0.05 * (1 + 1 / 5)


def test_a_late_look_is_judged_at_its_own_level(arm, plan):
    arms = arm(draw(1, 100)), arm(draw(2, 100, 2_300.0), label="after")
    first = compare(plan(), *arms)
    fifth = compare(plan(), *arms, History(look_number=5, is_changed_after_results=True))
    assert first.verdict is Verdict.IMPROVED
    assert fifth.effects.ratio.high > first.effects.ratio.high
    assert "99.83% interval" in fifth.sentence
    assert any(text.startswith("Look 5 at this comparison's data, and 1 look planned") for text in fifth.caveats)
    assert any("not written blind" in text for text in fifth.caveats)


def test_a_cut_over_among_others_that_move_as_far_is_no_cause(arm, plan):
    generator = np.random.default_rng(3)
    steps = np.repeat(generator.normal(0, 1.2, 24), 10)  # a new level every 80 hours
    before = arm(3_600 * np.exp(steps + generator.normal(0, 0.1, 240)))
    after = arm(draw(5, 120, 1_500.0, 0.3), label="after", start="2026-03-22")
    result = compare(plan(**CUT), before, after)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.effects.cause.placebo.rank > 1


def test_incidents_left_out_by_plan_are_back_for_intention_to_treat(arm, plan):
    excluded = np.array([360_000.0] * 30 + [np.nan])
    arms = (
        arm(draw(1, 60)),
        arm(
            draw(2, 60, 1_800.0),
            label="after",
            excluded=31,
            excluded_durations=excluded,
            excluded_ages=np.full(31, 9e5),
            excluded_is_open=np.isnan(excluded),
        ),
    )
    result = compare(plan(), *arms)
    assert result.effects.intention.ratio > 2 * result.effects.ratio.ratio
    assert not isinstance(result.effects.intention, NotPossible)


def test_left_out_incidents_that_ended_without_a_time_are_not_open(arm, plan):
    left_out = {"excluded": 40, "excluded_durations": np.full(40, np.nan), "excluded_ages": np.full(40, 9e6)}
    first = arm(draw(1, 60), excluded_is_open=np.zeros(40, dtype=np.bool_), **left_out)
    result = compare(plan(), first, arm(draw(2, 60, 3_500.0), label="after"))
    assert result.effects.intention.ratio == pytest.approx(result.effects.ratio.ratio, rel=1e-6)


def test_the_hash_of_the_data_sees_what_a_result_depends_on(arm):
    first, second = arm(draw(1, 30)), arm(draw(2, 30), label="after")
    assert data_sha256(first, second) == data_sha256(arm(draw(1, 30)), second)
    assert data_sha256(first, second) != data_sha256(second, first)
    assert data_sha256(first, second) != data_sha256(arm(draw(1, 30), severities="P1"), second)
    still_open = data_sha256(arm(draw(1, 30), open_ages=[5.0]), second)
    assert data_sha256(first, second) != still_open
    assert data_sha256(arm(draw(1, 30), open_ages=[86_405.0]), second) == still_open  # a night later


def test_reports_begin_with_the_sentence_and_escape_what_people_wrote(arm, plan):
    wanted = plan(question="Is <b>it</b> | so?", caveats=["a | b"])
    result = compare(wanted, arm(draw(1, 60)), arm(draw(2, 60, 1_800.0), label="after"))
    text = report.as_text(Judged((result,), ())).splitlines()
    assert text[2] == result.sentence
    markdown = report.as_markdown(Judged((result,), ()))
    assert "<b>" not in markdown.replace("\\<b", "")
    assert "a \\| b" in markdown
