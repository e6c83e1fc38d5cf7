"""The figures of the samples in the rules' descriptions and in the README, measured again after a night of the samples.

A figure is the number of traces that violate a rule, of the traces that it applies to, in three times: while a fault is
active, in the quiet stretch, and shortly before a fault. When this fails, the message is the sentence to print. The
whole recorded day is in tests/rules.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dagster_project.replay.query import replay
from dagster_project.warehouse import generations
from tests.rules.conftest import read_catalogue
from tests.rules.figures import measure, one_line

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLE_TRUTH = REPOSITORY / "tests/end_to_end/trainticket_truth.json"
RULES = read_catalogue().rules
MEASURED = [rule for rule in RULES if "In the sample:" in one_line(rule.description)]
# On this day; the other rules speak of what this system does not send.
AT_WORK = {rule.id for rule in RULES if "TrainTicket recording" in one_line(rule.description)}


@pytest.fixture(scope="session")
def sampled(sample_project):
    with generations.open_generation(generations.latest(sample_project.generations_dir)) as connection:
        yield connection


@pytest.mark.parametrize("rule", MEASURED, ids=lambda rule: rule.id)
def test_figures_of_the_sample(rule, sampled):
    verdicts = f"select * from violations.fct_verdicts where rule_id = '{rule.id}'"
    text = measure(sampled, verdicts, SAMPLE_TRUTH.read_text()).text
    assert f"In the sample: {text}" in one_line(rule.description)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_question_and_a_night_find_the_same(rule, sampled):
    """`hindcast query` and the generated dbt models are two roads to one answer."""
    ((violated, judged),) = sampled.execute(
        "select count(*) filter (verdict = 'violated'), count(*) from violations.fct_verdicts where rule_id = ?",
        [rule.id],
    ).fetchall()
    found = replay(sampled, rule).certificate
    assert (found.violated, found.violated + found.satisfied + found.inconclusive) == (violated, judged)
    assert (judged > 0) == (rule.id in AT_WORK)


def test_the_measured_rules_say_how_many_were_tried():
    assert len(MEASURED) >= 12
    for rule in MEASURED:
        assert "candidate conditions" in one_line(rule.description), rule.id


def test_the_sample_holds_a_fault_of_every_kind():
    truth = json.loads(SAMPLE_TRUTH.read_text())
    assert {fault["fault_type"] for fault in truth} == {"return", "exception", "cpu_contention"}


def test_the_readme_says_what_the_sample_holds(sampled):
    readme = (REPOSITORY / "README.md").read_text()
    rows = sampled.execute(
        "select rule_id, count(*) filter (verdict = 'violated'), count(*) from violations.fct_verdicts group by rule_id"
    ).fetchall()
    figures = {rule_id: f"{violated:,} of {judged:,}" for rule_id, violated, judged in rows}
    printed = dict(re.findall(r"^\| ([^|]+) \| ([\d,]+ of [\d,]+) \|$", readme, re.MULTILINE))
    ids = {rule.title: rule.id for rule in MEASURED}
    assert len(printed) >= 6
    assert printed == {title: figures[ids[title]] for title in printed}
