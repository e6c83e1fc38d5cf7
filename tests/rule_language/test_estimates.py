"""Estimates of rows from statistics: what is exact, what is guessed, and that they choose the anchor."""

from __future__ import annotations

import pytest

from dagster_project.rule_language import read_inline
from dagster_project.rule_language.meaning.model import Items
from dagster_project.rule_language.planning.estimates import (
    EQUAL,
    NEARBY,
    PATTERN,
    UNMEASURED_ROWS,
    Group,
    Statistics,
    Values,
    estimate_rows,
)
from dagster_project.rule_language.planning.planner import plan

CHARGE = {
    "attr__attempt__number": Values(1_000, 1.0, {1.0: 0.99, 2.0: 0.01}, 2, ((0.0, 1.0), (1.0, 2.0))),
    "attr__amount__number": Values(1_000, 0.5, {}, 500, ((0.0, 0.0), (0.5, 100.0), (1.0, 1_000.0))),
    "attr__currency__text": Values(1_000, 1.0, {"EUR": 0.6, "USD": 0.3}, 12),
    "status": Values(1_000, 1.0, {"unset": 0.9, "error": 0.1}, 2),
    "is_root": Values(1_000, 1.0, {False: 1.0}, 1),
}
SPANS = (
    Group("payments", "payment.charge", 10_000, CHARGE),
    Group("payments", "payment.refund", 100),
    Group("stock", "stock.reserve", 5_000, {"is_root": Values(1_000, 1.0, {True: 0.25, False: 0.75}, 2)}),
    Group(None, None, 7),
)
LOGS = (
    Group("payments", None, 400, {"severity": Values(400, 0.5, {9.0: 0.8, 17.0: 0.2}, 2, ((0.0, 9.0), (1.0, 17.0)))}),
)
STATISTICS = Statistics({"span": SPANS, "log": LOGS})


def items(selector: str) -> Items:
    return plan(read_inline(f"let:\n  x: {selector}\ndetect: any(x)").judgement).sets[0]


@pytest.mark.parametrize(
    ("selector", "rows"),
    [
        ("span()", 15_107),
        ('span("payment.charge")', 10_000),
        ('span("payment.*")', 10_100),
        ('span("payment.?harge")', 10_000),
        ('span("PAYMENT.CHARGE")', 0),
        ('span(service = "payments")', 10_100),
        ('span() where service != "payments"', 5_000),
        ('span() where service in ["payments", "stock"]', 15_100),
        ('span() where name == "payment.refund" or name == "stock.reserve"', 5_100),
        ('span("payment.charge") where attempt > 1', 100),
        ('span("payment.charge") where attempt >= 1', 10_000),
        ('span("payment.charge") where not (attempt > 1)', 9_900),
        ('span("payment.charge") where attempt == 2', 100),
        ('span("payment.charge") where attempt == 7', 5),
        ('span("payment.charge") where amount > 100', 2_500),
        ('span("payment.charge") where amount > 550', 1_250),
        ('span("payment.charge") where exists(amount)', 5_000),
        ('span("payment.charge") where missing(amount)', 5_000),
        ('span("payment.charge") where currency == "EUR"', 6_000),
        ('span("payment.charge") where currency == "SEK"', 100),
        ('span("payment.charge") where currency in ["EUR", "USD"]', 9_000),
        ('span("payment.charge", status = error) where attempt > 1', 10),
        ('span("payment.charge") where nobody == "x"', 10_000 * 0.5 * EQUAL),
        ('span("stock.reserve", is_root)', 1_250),
        ('span("payment.charge", currency matches "^E")', 10_000 * PATTERN),
        ('span("payment.charge") near log() within 1m', 10_000 * NEARBY),
        ("log(severity >= error)", 40),
        ("log(severity = info)", 160),
        ("log(severity < error)", 160),
    ],
)
def test_rows_of_a_set(selector: str, rows: float) -> None:
    assert estimate_rows(items(selector), STATISTICS) == pytest.approx(rows, rel=0.02, abs=0.5)


def test_what_was_not_in_the_sample_is_rare_and_not_impossible() -> None:
    assert 0 < estimate_rows(items('span("payment.charge") where attempt > 5'), STATISTICS) < 10


def test_a_table_that_was_not_measured_has_a_stated_size() -> None:
    assert estimate_rows(items("event()"), STATISTICS) == UNMEASURED_ROWS


def _anchored(rare: str, frequent: str) -> str:
    counts = {rare: 10, frequent: 1_000_000}
    statistics = Statistics({"span": tuple(Group("shop", name, rows) for name, rows in sorted(counts.items()))})
    rule = read_inline('when: any(span("order")) and any(span("refund"))\nalways: any(span("receipt"))')
    made = plan(rule.judgement, statistics)
    assert made.anchor is not None
    (number,) = made.anchor
    return str(made.sets[number].condition)


def test_the_same_rule_over_inverted_data_has_the_other_anchor() -> None:
    assert "refund" in _anchored(rare="refund", frequent="order")
    assert "order" in _anchored(rare="order", frequent="refund")


def test_the_anchor_heeds_values_not_only_names() -> None:
    text = 'when: any(span("order") where vip == true) and any(span("refund"))\nalways: any(span("receipt"))'

    def anchor(vips: float) -> str:
        vip = {"attr__vip__boolean": Values(1_000, 1.0, {True: vips, False: 1 - vips}, 2)}
        statistics = Statistics({"span": (Group("a", "order", 10_000, vip), Group("a", "refund", 1_000))})
        made = plan(read_inline(text).judgement, statistics)
        return str([made.sets[number].condition for number in made.anchor or ()])

    assert "vip" in anchor(vips=0.01)
    assert "refund" in anchor(vips=0.9)
