import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.policy.document import DocumentError
from dagster_project.statistics.roi import (
    ROI_INPUTS_SCHEMA,
    ROI_LINES_SCHEMA,
    ROI_SUMMARY_SCHEMA,
    Basis,
    appraise,
    internal_rate_of_return,
    lines_of,
    payback_months,
    present_value,
    return_on_investment,
    roi_inputs,
    roi_lines,
    roi_summary,
    total,
)
from dagster_project.statistics.roi_plan import RoiPlan, load_roi_plans

REPO = Path(__file__).parents[2]


def number(value, unit="USD", confidence="measured"):
    return {"value": value, "unit": unit, "source": "a test", "date": "2026-01-01", "confidence": confidence}


def estimate(**given):
    defaults = {
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


ALL = {
    "avoided_downtime": {"method": "per_minute", "minutes_saved": number(30, "minutes"),
                         "gross_profit_per_minute": number(20), "idle_cost_per_minute": number(5)},
    "avoided_incidents": {"share_avoided": number(0.25, "share"), "cost_per_incident": number(8_000)},
    "audit_hours": {"audits_per_year": number(2, "audits"), "hours_saved": number(40, "hours"),
                    "hourly_cost": number(90)},
}  # fmt: skip


def yearly(plan, basis=Basis.ALL_LINES):
    return {line.id: line.amounts[1] for line in lines_of(plan, basis)}


def test_a_published_table():
    # A published three-year TEI table: PVB 7,168,371 and PVC 1,672,201 give NPV 5,496,170 and ROI 329 %.
    result = appraise([1_672_201], [7_168_371], 0.10)
    assert result.net_present_value == 5_496_170
    assert f"{result.roi:.0%}" == "329%"
    assert return_on_investment(1_672_201, 7_168_371) == result.roi


def test_the_first_column_is_not_discounted():
    assert present_value([100, 110, 121, 133.1], 0.10) == pytest.approx(400)


def test_a_benefit_cost_ratio_is_not_a_return():
    # One vendor's figures: 3.117 million over 60 thousand are called an ROI of 52.
    result = appraise([60_000], [3_117_000], 0)
    assert result.benefit_cost_ratio == pytest.approx(51.95)
    assert result.roi == pytest.approx(50.95)


def test_the_four_lines_by_hand():
    lines = yearly(estimate(**ALL))
    assert lines["labour"] == 15 * 6 * 100  # the five prevented incidents save no hours
    assert lines["avoided_downtime"] == 15 * 30 * 25
    assert lines["avoided_incidents"] == 5 * 8_000
    assert lines["audit_hours"] == 2 * 40 * 90


def test_labour_alone_prevents_nothing():
    lines = yearly(estimate(**ALL), Basis.LABOUR_ONLY)
    assert lines["labour"] == 20 * 6 * 100
    assert lines.keys() == {"licence", "setup", "labour"}


@pytest.mark.parametrize(("includes_labour", "expected"), [(False, 20 * 3_000), (True, 20 * (3_000 - 6 * 100))])
def test_hours_inside_an_incidents_cost_do_not_count_twice(includes_labour, expected):
    downtime = {"method": "per_incident", "cost_before": number(4_000), "cost_after": number(1_000)}
    plan = estimate(avoided_downtime=downtime | {"includes_labour": includes_labour})
    assert yearly(plan)["avoided_downtime"] == expected


def test_transfers_are_listed_and_not_credited():
    refunds = {"id": "refunds", "label": "Refunds", "timing": "one_time", "amount": number(1e6)}
    plain, with_refunds = estimate(), estimate(transfers=[refunds])
    shown = [row for row in roi_lines([with_refunds]).to_pylist() if row["kind"] == "transfer"]
    assert {row["is_credited"] for row in shown} == {False}
    assert sum(row["amount"] for row in shown) == 2e6  # once on each basis
    first, second = (roi_summary([plan]).to_pylist()[0] for plan in (plain, with_refunds))
    assert first["net_present_value"] == second["net_present_value"]
    assert second["transfers_not_credited"] == 1e6


def test_irr_and_payback_by_hand():
    assert internal_rate_of_return([-100, 60, 60]) == pytest.approx(0.130662, abs=1e-6)
    assert payback_months([-100, 60, 60]) == pytest.approx(12 + 12 * 40 / 60)
    assert payback_months([0, 10]) == 0
    assert payback_months([-100, 10, 10]) is None
    assert internal_rate_of_return([100, 100]) is None
    assert internal_rate_of_return([-100, 230, -132]) is None  # two rates solve it


@given(st.lists(st.floats(min_value=0, max_value=1e7), min_size=2, max_size=6), st.floats(min_value=0, max_value=1e6))
def test_irr_is_a_zero_and_nothing_is_nan(benefits, cost):
    result = appraise([cost, *[0.0] * (len(benefits) - 1)], benefits, 0.1)
    assert all(value is None or math.isfinite(value) for value in vars(result).values())
    if result.irr is not None and 0 < result.irr < 100:
        flows = [benefits[0] - cost, *benefits[1:]]
        assert present_value(flows, result.irr) == pytest.approx(0, abs=1e-3 * max(1, cost))


def test_a_reader_with_the_rows_can_redo_the_summary():
    plan = estimate(**ALL)
    rows = [row for row in roi_lines([plan]).to_pylist() if row["basis"] == "all_lines"]
    summary = roi_summary([plan]).to_pylist()[0]
    sums = {kind: sum(row["present_value"] for row in rows if row["kind"] == kind) for kind in ("cost", "benefit")}
    assert sums["cost"] == pytest.approx(summary["present_costs"])
    assert sums["benefit"] == pytest.approx(summary["present_benefits"])
    assert summary["roi"] == pytest.approx(sums["benefit"] / sums["cost"] - 1)


def test_claims_and_missing_sources_are_flagged_where_they_are_used():
    weak = {"hours_before": number(10, "hours", "claimed"), "hours_after": number(4, "hours"),
            "hourly_cost": number(100, confidence="unsupported")}  # fmt: skip
    plan = estimate(labour=weak)
    labour = next(row for row in roi_lines([plan]).to_pylist() if row["line_id"] == "labour")
    assert labour["unsupported_inputs"] == ["labour.hours_before", "labour.hourly_cost"]
    summary = roi_summary([plan]).to_pylist()[0]
    assert summary["sentence"].endswith("of 6 inputs 1 are only claimed and 1 have no source.")
    assert [row["input_id"] for row in roi_inputs([plan]).to_pylist() if not row["is_supported"]] == summary[
        "unsupported_inputs"
    ][::-1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"incidents_per_year": number(-1)}, "greater than or equal to 0"),
        ({"incidents_per_year": number(math.nan)}, "finite"),
        ({"incidents_per_year": number(5) | {"low": 6}}, "outside its range"),
        ({"incidents_per_year": number(5, "EUR/year")}, "is in EUR, the estimate in USD"),
        (
            {"avoided_incidents": {"share_avoided": number(2), "cost_per_incident": number(1)}},
            "more than all incidents",
        ),
        ({"costs": []}, "at least 1 item"),
        (
            {"transfers": [{"id": "setup", "label": "x", "timing": "yearly", "amount": number(1)}]},
            "given twice: ['setup']",
        ),
    ],
)
def test_impossible_assumptions_are_refused(given, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is looked at
        estimate(**given)
    assert message in str(caught.value)


def test_a_cost_of_zero_has_no_roi_and_no_nan():
    free = estimate(costs=[{"id": "licence", "label": "Licence", "timing": "yearly", "amount": number(0)}])
    for row in roi_summary([free]).to_pylist():
        assert row["roi"] is None
        assert "no ROI without costs" in row["sentence"]


def test_the_shipped_estimates_show_labour_alone_and_no_supported_input():
    plans = load_roi_plans(REPO / "data/roi.yml").estimates
    rows = {(row["estimate_id"], row["basis"]): row for row in roi_summary(plans).to_pylist()}
    assert {basis for _, basis in rows} == {"all_lines", "labour_only"}
    whitepaper = rows["whitepaper", "labour_only"]
    # 10 incidents x 78 hours x 150 a year against 48,000 a year and 12,000 once, at 10 % over three years.
    annuity = 1 / 1.1 + 1 / 1.1**2 + 1 / 1.1**3
    assert whitepaper["net_present_value"] == pytest.approx(117_000 * annuity - 48_000 * annuity - 12_000)
    assert len(whitepaper["unsupported_inputs"]) == whitepaper["input_count"] == 6
    assert rows["whitepaper", "all_lines"]["stated_ratio"] == 52


def test_schemas_describe_every_column_and_order_is_fixed():
    plans = load_roi_plans(REPO / "data/roi.yml").estimates
    for make, schema in (
        (roi_lines, ROI_LINES_SCHEMA),
        (roi_summary, ROI_SUMMARY_SCHEMA),
        (roi_inputs, ROI_INPUTS_SCHEMA),
    ):
        table = make(plans)
        assert table.schema == schema
        assert all((field.metadata or {}).get(b"description") for field in schema)
        assert table.equals(make(reversed(plans)))


def test_total_of_nothing_is_zero():
    assert total([], "benefit", 3) == (0, 0, 0, 0)


def test_a_mistake_in_the_file_names_its_line(tmp_path):
    file = tmp_path / "roi.yml"
    file.write_text((REPO / "data/roi.yml").read_text().replace("{value: 80,", "{value: eighty,"))
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "eighty" in text)
    with pytest.raises(DocumentError, match=rf"roi\.yml:{line}: .*labour\.hours_before\.value.*found 'eighty'"):
        load_roi_plans(file)
