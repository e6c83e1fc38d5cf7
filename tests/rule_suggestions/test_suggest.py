"""Rules for a generated incident: each kind of planted difference is found, and none where there is none."""

from datetime import timedelta

import numpy as np
import pytest
from scipy.stats import fisher_exact

from dagster_project.replay import rule_tests
from dagster_project.rule_language import load_catalogue
from dagster_project.rule_suggestions.arms import IncidentNotFound, TooFewTraces
from dagster_project.rule_suggestions.candidates import benjamini_hochberg, fisher
from dagster_project.rule_suggestions.rule_text import pattern
from dagster_project.rule_suggestions.suggest import suggest
from tests.rule_suggestions.conftest import FIRST, NOON, SECOND

DAY = timedelta(hours=24)


def without(name):
    return lambda spans, logs: ([span for span in spans if span["name"] != name], logs)


def repeated(spans, logs):
    return spans + [{"name": "db.query", "service": "stock"}] * 9, logs


def charged_first(spans, logs):
    root, reserve, charge, *others = spans
    return [root, charge, reserve, *others], logs


def failed(spans, logs):
    return [span | ({"status": 2} if span["name"] == "payment.charge" else {}) for span in spans], logs


def retried(spans, logs):
    return [*spans, {"name": "payment.retry", "service": "payments"}], logs


def in_francs(spans, logs):
    return [
        span | ({"attributes": {"currency": "CHF"}} if span["name"] == "payment.charge" else {}) for span in spans
    ], logs


def logged(spans, logs):
    return spans, [*logs, {"body": f"no instance of payments available for request {len(spans)}71", "severity": 9}]


def logged_error(spans, logs):
    return spans, [logs[0] | {"severity": 17}]


PLANTED = {
    "missing": (without("mail.send"), 'always: any(span("mail.send"))'),
    "repeated": (repeated, 'never: count(span("db.query")) > '),
    "order": (charged_first, 'always: span("stock.reserve") before span("payment.charge")'),
    "failed": (failed, 'never: any(span("payment.charge", status = error))'),
    "new span": (retried, 'never: any(span("payment.retry"))'),
    "attribute": (in_francs, 'never: any(span(attribute."currency" == "CHF"))'),
    "log": (logged, "no instance of payments available"),
    "severity": (logged_error, "never: any(log(severity >= error))"),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_difference_is_found_with_its_figures(day, kind):
    change, expected = PLANTED[kind]
    day.add(*FIRST, 120, change)
    answer = suggest(day.published(), "INC-1", DAY)
    found = [proposal for proposal in answer.proposals if expected in proposal.text.replace("'", "")]
    assert found, [proposal.text for proposal in answer.proposals]
    proposal = found[0]
    assert proposal.candidate.kind == kind
    assert "status: 'shadow'" in proposal.text
    figures = proposal.figures["test"]
    assert figures.precision > 0.9
    assert 0.4 < figures.recall < 0.8  # 60 % of the traces are changed
    assert proposal.holds_on == ("test",)
    assert f"One of {answer.tried:,} candidate conditions" in " ".join(proposal.text.split())


@pytest.mark.parametrize("kind", PLANTED)
def test_each_proposal_is_a_rule_file_whose_tests_pass(day, kind):
    day.add(*FIRST, 120, PLANTED[kind][0])
    for proposal in suggest(day.published(), "INC-1", DAY).proposals:
        catalogue = load_catalogue({f"rules/suggested/{proposal.rule_id}.yml": proposal.text})
        outcomes = rule_tests.run(catalogue)
        assert {outcome.expected for outcome in outcomes} == {"violated", "satisfied"}
        assert not rule_tests.failures(outcomes)


def test_nothing_is_proposed_where_nothing_differs(day):
    day.add(*FIRST, 120)
    answer = suggest(day.published(), "INC-1", DAY)
    assert answer.tried > 20
    assert answer.proposals == ()


def test_of_twenty_days_without_a_difference_hardly_one_gets_a_rule(day):
    from tests.rule_suggestions.conftest import Day

    wrong = 0
    for seed in range(20):
        quiet = Day()
        quiet.chance.seed(seed)
        quiet.add(NOON - timedelta(hours=8), NOON, 90)
        quiet.add(*FIRST, 60)
        quiet.incident("INC-1", FIRST)
        wrong += bool(suggest(quiet.published(), "INC-1", DAY).proposals)
    assert wrong <= 1


def test_what_recurs_in_an_incident_of_the_same_kind_comes_first(day):
    day.add(*FIRST, 120, lambda spans, logs: retried(*without("mail.send")(spans, logs)))
    day.add(*SECOND, 120, without("mail.send"))
    day.incident("INC-2", SECOND)
    answer = suggest(day.published(), "INC-1", DAY)
    assert answer.arms.other.id == "INC-2"
    first, *others = answer.proposals
    assert 'any(span("mail.send"))' in first.text
    assert first.holds_on == ("other", "test")
    assert first.figures["other"].precision > 0.9
    assert all("other" not in one.holds_on for one in others if "payment.retry" in one.text)


def test_an_incident_of_another_kind_is_not_tested_on(day):
    day.add(*FIRST, 120, retried)
    day.add(*SECOND, 120, retried)
    day.incident("INC-2", SECOND, category="network")
    answer = suggest(day.published(), "INC-1", DAY)
    assert answer.arms.other is None


def test_traces_of_other_incidents_are_not_what_was_before(day):
    early = (NOON - timedelta(hours=4), NOON - timedelta(hours=3))
    day.add(*early, 60, retried, share=1.0)
    day.incident("INC-0", early, category="network")
    day.add(*FIRST, 120, retried)
    answer = suggest(day.published(), "INC-1", DAY)
    assert any("payment.retry" in proposal.text for proposal in answer.proposals)


def test_the_same_question_has_the_same_answer(day):
    day.add(*FIRST, 120, in_francs)
    published = day.published()
    first, second = suggest(published, "INC-1", DAY), suggest(published, "INC-1", DAY)
    assert [proposal.text for proposal in first.proposals] == [proposal.text for proposal in second.proposals]


def test_only_what_a_rule_reads_is_in_its_test_traces(day):
    secret = {"user.email": "someone@example.com", "currency": "CHF"}
    day.add(*FIRST, 120, lambda spans, logs: (
        [span | ({"attributes": secret} if span["name"] == "payment.charge" else {}) for span in spans],
        [{"body": "card 4111111111111111 of customer 77 was refused by the bank", "severity": 9}],
    ))  # fmt: skip
    texts = [proposal.text for proposal in suggest(day.published(), "INC-1", DAY).proposals]
    assert texts
    assert not any("4111" in text or "customer 77" in text for text in texts)
    assert not any("someone@" in text for text in texts)


@pytest.mark.parametrize(("incident", "error"), [("INC-9", IncidentNotFound), ("INC-1", TooFewTraces)])
def test_without_traces_there_is_nothing_to_propose_from(day, incident, error):
    with pytest.raises(error):
        suggest(day.published(), incident, DAY)


def test_names_that_look_like_patterns_are_meant_exactly(day):
    day.add(*FIRST, 120, lambda spans, logs: ([*spans, {"name": 'SELECT * FROM "x\\y?"', "service": "stock"}], logs))
    (proposal, *_) = suggest(day.published(), "INC-1", DAY).proposals
    (rule,) = load_catalogue({f"rules/suggested/{proposal.rule_id}.yml": proposal.text})
    assert rule.expressions["never"] == 'any(span(name == "SELECT * FROM \\"x\\\\y?\\""))'


def test_the_exact_test_is_that_of_scipy():
    for table in ([[3, 5], [1, 9]], [[0, 8], [0, 20]], [[10, 0], [0, 10]]):
        (a, b), (c, d) = table
        counts = (np.array([n]) for n in (a, a + b, c, c + d))
        assert fisher(*counts)[0] == pytest.approx(fisher_exact(table, alternative="greater").pvalue)


def test_q_values_grow_with_the_number_of_candidates():
    assert benjamini_hochberg(np.array([0.01, 0.02, 0.9])) == pytest.approx([0.03, 0.03, 0.9])
    assert benjamini_hochberg(np.array([0.01] + [0.5] * 99))[0] == pytest.approx(0.5)


def test_a_template_becomes_a_pattern_of_its_words():
    assert pattern("#:# ERROR no (free) slot #") == r"ERROR no \(free\) slot"
    assert pattern("order # of [web] refused") == r"order \S+ of \[web\] refused"


def test_an_arm_ends_where_it_has_spans_enough(day, monkeypatch):
    monkeypatch.setattr("dagster_project.rule_suggestions.arms.MOST_SPANS", 300)
    day.add(*FIRST, 120, without("mail.send"))
    sizes = suggest(day.published(), "INC-1", DAY).arms.sizes
    during, before = (sum(pair[place] for pair in sizes.values()) for place in (0, 1))
    assert 300 / 7 <= during <= 300 / 3
    assert 300 / 7 <= before <= 300 / 3
