import math
from pathlib import Path

import pytest

from dagster_project.statistics import roi
from dagster_project.statistics.roi.effects import FoundEffect, refused

REPO = Path(__file__).parents[3]
MARTS = {
    roi.roi_lines: roi.ROI_LINES_SCHEMA,
    roi.roi_summary: roi.ROI_SUMMARY_SCHEMA,
    roi.roi_inputs: roi.ROI_INPUTS_SCHEMA,
    roi.roi_draws: roi.ROI_DRAWS_SCHEMA,
    roi.roi_histogram: roi.ROI_HISTOGRAM_SCHEMA,
    roi.roi_tornado: roi.ROI_TORNADO_SCHEMA,
}


@pytest.fixture(scope="module")
def shipped():
    return roi.load_roi_plans(REPO / "data/roi.yml").estimates


def test_transfers_are_listed_and_not_credited(estimate, number):
    refunds = {"id": "refunds", "label": "Refunds", "timing": "one_time", "amount": number(1e6)}
    plain, with_refunds = estimate(), estimate(transfers=[refunds])
    shown = [row for row in roi.roi_lines([with_refunds]).to_pylist() if row["kind"] == "transfer"]
    assert {row["is_credited"] for row in shown} == {False}
    assert sum(row["amount"] for row in shown) == 2e6  # once on each basis
    first, second = (roi.roi_summary([plan]).to_pylist()[0] for plan in (plain, with_refunds))
    assert first["net_present_value"] == second["net_present_value"]
    assert second["transfers_not_credited"] == 1e6


def test_a_reader_with_the_rows_can_redo_the_summary(estimate, every_line):
    plan = estimate(**every_line)
    rows = [row for row in roi.roi_lines([plan]).to_pylist() if row["basis"] == "all_lines"]
    summary = roi.roi_summary([plan]).to_pylist()[0]
    sums = {kind: sum(row["present_value"] for row in rows if row["kind"] == kind) for kind in ("cost", "benefit")}
    assert sums["cost"] == pytest.approx(summary["present_costs"])
    assert sums["benefit"] == pytest.approx(summary["present_benefits"])
    assert summary["roi"] == pytest.approx(sums["benefit"] / sums["cost"] - 1)
    second_year = next(row for row in rows if row["roi_line_id"] == "test/all_lines/labour/2")
    assert second_year["calculation"] == (
        "20 incidents/year x (1 - 0.25 share) x (10 hours - 4 hours) x 100 USD = 9,000.00; / 1.1^2 = 7,438.02"
    )


def test_claims_and_missing_sources_are_flagged_where_they_are_used(estimate, number):
    weak = {"hours_before": number(10, "hours", "claimed"), "hours_after": number(4, "hours"),
            "hourly_cost": number(100, confidence="unsupported")}  # fmt: skip
    plan = estimate(labour=weak)
    labour = next(row for row in roi.roi_lines([plan]).to_pylist() if row["line_id"] == "labour")
    assert labour["unsupported_inputs"] == ["labour.hours_before", "labour.hourly_cost"]
    summary = roi.roi_summary([plan]).to_pylist()[0]
    assert summary["sentence"].endswith("of 6 inputs 1 are only claimed and 1 have no source.")
    assert [row["input_id"] for row in roi.roi_inputs([plan]).to_pylist() if not row["is_supported"]] == summary[
        "unsupported_inputs"
    ][::-1]


@pytest.mark.parametrize(
    ("found", "ratio", "is_supported", "caveat"),
    [
        (FoundEffect(0.5, "IMPROVED", 0.4, 0.6), 0.5, True, None),
        (FoundEffect(0.9, "INCONCLUSIVE", 0.7, 1.2), 0.9, False, "is INCONCLUSIVE; its duration ratio 0.90 (0.70 to"),
        (FoundEffect(0.5, "IMPROVED", 0.4, 0.6, is_judged=False), 0.5, False, "by another measure; its dur"),
        (refused("NOT_COMPARABLE", "comparison a-change is NOT_COMPARABLE"), 1, False, "refused"),
        (None, 1, False, "no comparison a-change"),
    ],
)
def test_an_effect_says_how_far_it_is_shown(estimate, number, found, ratio, is_supported, caveat):
    after = number(10, "hours", effect={"comparison": "a-change"})
    plan = estimate(labour={"hours_before": number(10, "hours"), "hours_after": after, "hourly_cost": number(100)})
    effects = {} if found is None else {"effect.a-change.duration": found}
    row = next(row for row in roi.roi_inputs([plan], effects).to_pylist() if row["comparison_id"])
    assert (row["effective_value"], row["is_supported"]) == (10 * ratio, is_supported)
    summary = roi.roi_summary([plan], effects).to_pylist()[0]
    assert summary["present_benefits"] == pytest.approx(
        20 * 10 * (1 - ratio) * 100 * (1 / 1.1 + 1 / 1.1**2 + 1 / 1.1**3)
    )
    assert ("labour.hours_after" in summary["unsupported_inputs"]) is not is_supported
    assert (caveat is None and not summary["caveats"]) or caveat in summary["caveats"][0]
    # Who reads the sentence alone reads that first, with the comparison and its verdict.
    for said in (summary["sentence"], roi.roi_draws([plan], effects).to_pylist()[0]["sentence"]):
        if is_supported:
            assert said.startswith(("Over 3 years", "Of 10,000 draws"))
        else:
            assert said.startswith(("The effect is not shown: comparison a-change is", "An effect counts as none: "))
            assert "a-change" in said.partition(". ")[0]
            assert ratio == 1 or ". If it held all the same, o" in said


def test_an_effect_that_no_line_rests_on_is_not_told(estimate, number):
    share = number(1, "share", effect={"comparison": "a-change", "measure": "frequency"})
    plan = estimate(avoided_incidents={"share_avoided": share, "cost_per_incident": number(1)})
    everything, labour = roi.roi_summary([plan]).to_pylist()
    assert everything["sentence"].startswith("An effect counts as none: ")
    assert labour["sentence"].startswith("Over 3 years")


def test_a_cost_of_zero_has_no_roi_and_no_nan(estimate, number):
    free = estimate(costs=[{"id": "licence", "label": "Licence", "timing": "yearly", "amount": number(0)}])
    for row in roi.roi_summary([free]).to_pylist():
        assert row["roi"] is None
        assert "no ROI without costs" in row["sentence"]
    assert {row["probability_roi_negative"] for row in roi.roi_draws([free]).to_pylist()} == {None}


def test_the_whitepaper_beside_what_holds(shipped):
    rows = {(row["estimate_id"], row["basis"]): row for row in roi.roi_summary(shipped).to_pylist()}
    assert {basis for _, basis in rows} == {"all_lines", "labour_only"}
    labour = rows["whitepaper", "labour_only"]
    # 10 incidents x 78 hours x 150 a year against 48,000 a year and 12,000 once, at 10 % over three years.
    annuity = 1 / 1.1 + 1 / 1.1**2 + 1 / 1.1**3
    assert labour["net_present_value"] == pytest.approx(117_000 * annuity - 48_000 * annuity - 12_000)
    assert len(labour["unsupported_inputs"]) == labour["input_count"] == 6
    whole = rows["whitepaper", "all_lines"]
    assert (whole["stated_ratio"], whole["stated_benefit_cost_ratio"], whole["stated_roi"]) == (52, 51.95, 50.95)
    assert "is a benefit/cost ratio" in whole["stated_sentence"]
    assert "count what is paid once (12,000) in every year; 48,000 recur" in whole["stated_sentence"]
    assert rows["reported-case", "all_lines"]["stated_roi"] is None


@pytest.mark.parametrize(("make", "schema"), MARTS.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_every_column_is_described_ids_are_unique_and_nothing_depends_on_the_order(shipped, make, schema):
    table = make(shipped)
    assert table.schema == schema
    assert all((field.metadata or {}).get(b"description") for field in schema)
    assert table.equals(make(reversed(shipped)))
    rows = table.to_pylist()
    assert rows
    ids = [row[schema.names[0]] for row in rows]
    assert schema.names[0].endswith("_id")
    assert len(set(ids)) == len(ids)
    numbers = [value for row in rows for value in row.values() if isinstance(value, float)]
    assert all(math.isfinite(number) for number in numbers)
