import math
import re
from pathlib import Path

import pytest

from dagster_project.policy.document import DocumentError
from dagster_project.statistics.claims import deck as decks
from dagster_project.statistics.claims.audit import claims_audit, load_decks
from dagster_project.statistics.claims.schemas import CLAIMS_AUDIT_SCHEMA

REPO = Path(__file__).parents[3]
TEMPLATE = REPO / "dagster_project/statistics/claims/template.yml"


@pytest.fixture(scope="module")
def audited():
    rows = claims_audit(load_decks(REPO / "data/claims")).to_pylist()
    return {row["claim_id"].partition("/")[2]: row for row in rows}


@pytest.mark.parametrize(
    ("claim", "verdict", "recomputed"),
    [
        ("roi-52x", "MISLABELLED", 50.95),
        ("yearly-cost-60k", "MISLABELLED", 48_000),
        ("mean-of-23-incidents", "INCONSISTENT", 711.9),
        ("accuracy-93-percent", "IMPOSSIBLE", 91.3),
        ("wait-time-15562", "WRONG", 15_462.5),
        ("sla-against-rto", "INCONSISTENT", 43.2),
        ("incident-frequency", "NOT_COMPARABLE", 79.4),
        ("mttr-reduction-86-9", "OK", -86.9),
        ("first-incident-eleven-minutes", "OK", 690),
        ("first-incident-log-of-the-revert", "INCONSISTENT", 140),
    ],
)
def test_known_answers(audited, claim, verdict, recomputed):
    row = audited[claim]
    assert row["verdict"] == verdict
    assert row["recomputed_value"] == pytest.approx(recomputed, rel=1e-3)


def test_the_mean_of_the_incidents_is_told_as_people_write_it(audited):
    row = audited["mean-of-23-incidents"]
    assert row["stated"] == "12m18s"
    assert "(11m52s)" in row["recomputed"]


def test_every_row_can_be_redone_and_is_ours(audited):
    assert len(audited) >= 40
    for row in audited.values():
        assert row["reason"]
        assert row["line"] > 0
        assert row["recomputed_value"] is None or math.isfinite(row["recomputed_value"])
        if row["recomputed_value"] is not None:
            assert row["formula"]
            assert row["inputs"]
        assert "@" not in row["claim"] + row["note"]
    assert {row["verdict"] for row in audited.values()} == {
        "OK", "WRONG", "INCONSISTENT", "MISLABELLED", "UNSUPPORTED", "NOT_COMPARABLE", "IMPOSSIBLE",
    }  # fmt: skip


def test_the_schema_describes_every_column_and_no_deck_is_no_row(tmp_path):
    table = claims_audit(load_decks(tmp_path / "absent"))
    assert (table.num_rows, table.schema) == (0, CLAIMS_AUDIT_SCHEMA)
    assert all((field.metadata or {}).get(b"description") for field in CLAIMS_AUDIT_SCHEMA)


def test_the_template_has_every_check_and_a_claim_that_is_not_ok():
    deck = decks.load_deck(TEMPLATE)
    rows = claims_audit({"deck": deck}).to_pylist()
    assert {row["check"] for row in rows} == {
        "subtotals", "computed", "percentage_change", "ratio_or_return", "recurring_cost", "service_level",
        "rate_against_count", "timeline", "agreement", "grim", "t_test", "clocks", "unsupported",
    }  # fmt: skip
    assert [row["verdict"] for row in rows if row["verdict"] != "OK"] == ["UNSUPPORTED"]


@pytest.mark.parametrize(
    ("value", "rounding"),
    [("52", 0.5), ("12.3", 0.05), ("3.12", 0.005), ("100", 0.5), ("1.0e-2", 0.005), ("0", 0.5)],
)
def test_a_tolerance_is_half_of_the_last_digit(value, rounding):
    figure = decks.StatedFigure.model_validate({"value": float(value), "unit": "times"})
    assert figure.rounding == pytest.approx(rounding)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("formula: incidents * (before - after)", "formula: incidents ** 99", "arithmetic"),
        ("formula: incidents * (before - after)", "formula: lost / before", "not given: ['lost']"),
        ("smallest_n: 20", "smallest_n: 30", "largest_n is at least smallest_n"),
        ("smallest_n: 20, largest_n: 20", "smallest_n: 20, largest_n: 999999", "at most 1,000 more"),
        ("kind: grim", "kind: guess", "does not match any of the expected tags"),
        ("stated: {value: 4, unit: times}", "stated: {value: null, unit: times}", "give stated.value"),
        ("stated: {value: 4, unit: times}", "stated: {value: .nan, unit: times}", "finite"),
        ("stated: {value: 4, unit: times}", "stated: {value: 1.0e+300, unit: times}", "less than or equal"),
        ("stated: {value: 4, unit: times}", "stated: {value: 4, unit: times, verdict: OK}", "Extra inputs"),
        ("source: deck\n    line: 6", "source: other\n    line: 6", "does not have: ['other']"),
        ("id: yearly-cost", "id: return", "given twice: ['return']"),
        ("at: 2024-01-15T14:23:00Z", "at: 2024-01-15T14:23:00", "timezone"),
        ("line: 14\n", "line: 0\n", "greater than or equal to 1"),
        ("count: {value: 3,", "count: {value: -3,", "none below 0"),
        # Units that do not meet.
        ("value: {value: 8, unit: minutes", "value: {value: 8, unit: months", "'months' cannot be converted into"),
        ("value: {value: 8, unit: minutes", "value: {value: 8, unit: USD", "'USD' cannot be converted into 'minutes'"),
        ("over: {value: 360, unit: days", "over: {value: 12, unit: months", "'months' cannot be converted into 'days'"),
        (
            "stated: {value: 30, unit: minutes}\n    check: {kind: service",
            "stated: {value: 30, unit: clicks}\n    check: {kind: service",
            "'clicks' cannot be converted into 'minutes'",
        ),
        ("stated: {value: 45, unit: minutes}", "stated: {value: 45, unit: month}", "converted into 'seconds'"),
        ("costs: {value: 10, unit: USD,", "costs: {value: 10, unit: USD/month,", "'USD/month' cannot be converted"),
        ("recurring: [{value: 48000, unit: USD/year", "recurring: [{value: 4000, unit: USD/month", "into 'USD/year'"),
        ("one_time: [{value: 12000, unit: USD,", "one_time: [{value: 12000, unit: USD/year,", "into 'USD'"),
        ("elsewhere: [{value: 0.5, unit: hours", "elsewhere: [{value: 0.5, unit: users", "'users' cannot"),
        ("after: {mean: {value: 30, unit: minutes", "after: {mean: {value: 30, unit: years", "'years' cannot"),
    ],
)
def test_a_mistake_names_the_file_and_what_is_wrong(tmp_path, old, new, message):
    text = TEMPLATE.read_text(encoding="utf-8")
    assert old in text
    file = tmp_path / "deck.yml"
    file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(DocumentError) as caught:
        decks.load_deck(file)
    assert re.match(rf"{re.escape(str(file))}:\d+: ", str(caught.value))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("stated: {value: 30, unit: minutes}\n    check: {kind: service", "stated: {value: 0.5, unit: hour}\n"
         "    check: {kind: service"),
        ("stated: {value: 45, unit: minutes}", "stated: {value: 0.75, unit: h}"),
        ("value: {value: 8, unit: minutes", "value: {value: 480, unit: s"),
        ("over: {value: 360, unit: days", "over: {value: 8640, unit: Hours"),
        ("elsewhere: [{value: 0.5, unit: hours", "elsewhere: [{value: 0.5, unit: hour"),
        ("elsewhere: [{value: 0.5, unit: hours", "elsewhere: [{value: 1800000, unit: ms"),
        ("costs: {value: 10, unit: USD,", "costs: {value: 10, unit: usd,"),
    ],
)  # fmt: skip
def test_the_same_in_another_unit_or_spelling_is_the_same(tmp_path, old, new):
    text = TEMPLATE.read_text(encoding="utf-8")
    assert old in text
    file = tmp_path / "deck.yml"
    file.write_text(text.replace(old, new), encoding="utf-8")
    rows = claims_audit(load_decks(tmp_path)).to_pylist()
    assert [row["verdict"] for row in rows if row["verdict"] != "OK"] == ["UNSUPPORTED"]


@pytest.mark.parametrize(
    "text",
    ["[" * 3_000, "title: [*x]", "a: &a [1,1]\nb: &b [*a,*a]\nc: [*b,*b]", "\x00", "title: x\nsources: 3\nclaims: []",
     "", "- - - -", "title: &a\n  <<: *a"],
)  # fmt: skip
def test_hostile_text_is_refused(tmp_path, text):
    file = tmp_path / "deck.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DocumentError):
        decks.load_deck(file)


def test_a_deck_that_is_too_large_is_not_read(tmp_path):
    file = tmp_path / "deck.yml"
    file.write_bytes(b"#" * (decks.LARGEST_FILE_BYTES + 1))
    with pytest.raises(DocumentError, match="split the deck"):
        decks.load_deck(file)
