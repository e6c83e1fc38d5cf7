"""What pipelines read of a gate: well-formed whatever was sent, and complete in what their readers need."""

import json
import re
from dataclasses import replace
from datetime import date
from xml.etree import ElementTree

import pytest

from dagster_project.gate import as_github, as_json, as_junit, as_sarif, as_text
from dagster_project.gate.outcome import Policy
from dagster_project.gate.run import Request, run
from tests.gate.conftest import RULE, span

HOSTILE = 'payment.charge <&"]]>\x00\x08\x1b[31m\ufffe\n::error::x%,: '


def read(outcome):
    return ElementTree.fromstring(as_junit.render(outcome))  # noqa: S314  # what the test itself made


@pytest.fixture
def judged(rules, traces, tmp_path):
    """A rule that is violated at two places, one of them accepted; one that met nothing; one that was not judged."""
    (rules / "payments/charge-is-approved.yml").write_text(RULE.replace('"payment.charge"', '"payment.*"'))
    (rules / "payments/silent.yml").write_text(
        RULE.replace("charge-is-approved", "silent").replace("payment.charge", "refund").replace("high", "low")
    )

    def judge(*spans, accepted=(), **given):
        baseline = tmp_path / "baseline.json"
        if accepted:
            run(Request([traces(*accepted)], [str(rules)], Policy(), date(2024, 1, 1), None, baseline, True))
        policy = Policy(**given)
        file = baseline if accepted else None
        return run(Request([traces(*spans)], [str(rules)], policy, date(2024, 1, 1), None, file))

    return judge


@pytest.fixture
def outcome(judged):
    known = span("payment.charge", service="checkout")
    new = [span(HOSTILE, trace=number, service="kiosk") for number in range(2, 60)]
    return judged(known, *new, accepted=[known])


def test_junit_has_a_suite_a_rule_and_a_failed_case_a_violation(outcome):
    root = read(outcome)
    assert root.tag == "testsuites"
    suites = {suite.get("name"): suite for suite in root}
    assert set(suites) == {"charge-is-approved", "silent"}
    suite = suites["charge-is-approved"]
    cases = suite.findall("testcase")
    assert len(cases) == 20
    assert suite.find("properties/property[@name='violations']").get("value") == "59"
    failed = [case for case in cases if case.find("failure") is not None]
    assert all("58 violations" in case.find("failure").get("message") for case in failed)
    assert len({(case.get("classname"), case.get("name")) for case in cases}) == len(cases)
    assert [case.find("skipped").get("message") for case in suites["silent"].findall("testcase")] == [
        "there was nothing here that the rule speaks about"
    ]


def test_junit_counts_what_it_holds(outcome):
    root = read(outcome)
    for level in (root, *root):
        assert int(level.get("tests")) == len(list(level.iter("testcase")))
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(level.get(attribute)) == len(list(level.iter(tag)))
        assert float(level.get("time")) >= 0
    # What the usual schema allows inside a suite, in its order.
    order = ["properties", "testcase", "system-out"]
    for suite in root:
        places = [order.index(child.tag) for child in suite]
        assert places == sorted(places)


def test_sarif_has_what_readers_of_results_need(outcome):
    log = json.loads(as_sarif.render(outcome))
    assert log["version"] == "2.1.0"
    (run_,) = log["runs"]
    driver = run_["tool"]["driver"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", driver["semanticVersion"])
    assert [rule["id"] for rule in driver["rules"]] == ["charge-is-approved", "silent"]
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"]
        assert rule["help"]["text"]
        assert rule["defaultConfiguration"]["level"] in {"none", "note", "warning", "error"}
    assert run_["invocations"][0]["executionSuccessful"] is True
    assert run_["invocations"][0]["exitCode"] == 1
    results = run_["results"]
    assert [result["occurrenceCount"] for result in results] == [1, 58]
    for result in results:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["kind"] == "fail"
        assert result["message"]["text"]
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"] == {"uri": "rules/payments/charge-is-approved.yml", "uriBaseId": "%SRCROOT%"}
        assert place["region"]["startLine"] == 9
        assert len({*result["partialFingerprints"]}) == 2
    by_state = {result["baselineState"]: result for result in results}
    assert by_state["unchanged"]["suppressions"][0]["kind"] == "external"
    assert "suppressions" not in by_state["new"]
    assert by_state["new"]["level"] == "error"


def test_sarif_calls_open_what_could_not_be_judged_and_gives_it_no_level(judged):
    log = json.loads(as_sarif.render(judged(span("payment.charge", parent=9))))
    result = log["runs"][0]["results"][0]
    assert (result["kind"], result["level"]) == ("open", "none")
    log = json.loads(as_sarif.render(judged(span("payment.charge", parent=9), fail_on="inconclusive")))
    result = log["runs"][0]["results"][0]
    assert (result["kind"], result["level"]) == ("fail", "error")


def test_annotations_stay_commands_whatever_was_sent(outcome):
    lines = as_github.render(outcome).splitlines()
    assert all(re.match(r"::(error|warning|notice) [^:]*::", line) for line in lines)
    (error,) = [line for line in lines if line.startswith("::error")]
    head, _, message = error.partition("::")[2].partition("::")
    assert "file=rules/payments/charge-is-approved.yml,line=9,title=charge-is-approved%3A " in head
    assert "\n" not in message
    assert "%25" in message


def test_annotations_say_how_many_are_left_out(judged):
    spans = [span("payment.charge", trace=number, service=f"kiosk {chr(96 + number)}") for number in range(1, 16)]
    lines = as_github.render(judged(*spans)).splitlines()
    assert sum(line.startswith("::error file=") for line in lines) == 9
    assert any(line.startswith("::error title=hindcast gate::6 more") for line in lines)


def test_annotations_that_github_shows_are_all_written(judged):
    spans = [span("payment.charge", trace=number, service=f"kiosk {chr(96 + number)}") for number in range(1, 11)]
    lines = as_github.render(judged(*spans)).splitlines()
    assert sum(line.startswith("::error file=") for line in lines) == 10
    assert len(lines) == 11


def test_broken_rules_count_against_what_github_shows(judged):
    outcome = judged(*[span("payment.charge", trace=n, service=f"kiosk {chr(96 + n)}") for n in range(1, 16)])
    violated, silent = outcome.judged
    broken = replace(outcome, judged=(violated, *[replace(silent, error="too much")] * 4))
    errors = [line for line in as_github.render(broken).splitlines() if line.startswith("::error")]
    assert len(errors) == 10
    assert "10 more" in errors[-1]


def test_shown_findings_have_a_budget_of_their_own(judged):
    spans = [span("payment.charge", trace=number, service=f"kiosk {chr(96 + number)}") for number in range(1, 16)]
    lines = as_github.render(judged(*spans, severity="critical")).splitlines()
    assert sum(line.startswith("::warning") for line in lines) == 10
    assert any(line.startswith("::warning title=hindcast gate::6 more") for line in lines)


def test_names_are_neither_placeholders_nor_links_of_sarif(judged):
    names = ("payment.{0} a\u202eb", "payment.[x](https://example.org) \\ {y}", "payment.list[0]")
    outcome = judged(*[span(name, trace=n) for n, name in enumerate(names, start=1)])
    rule = next(one.rule for one in outcome.judged if one.rule.id == "charge-is-approved")
    outcome = replace(outcome, reviewed=tuple(
        replace(one, finding=replace(one.finding, place=(f"shop: {name}",), rule=rule))
        for one, name in zip(outcome.reviewed, names * 3, strict=False)
    ))  # fmt: skip
    said = [result["message"]["text"] for result in json.loads(as_sarif.render(outcome))["runs"][0]["results"]]
    everything = "\n".join(said)
    assert "payment.{{0}} a⟨U+202E⟩b" in everything
    assert r"payment.\[x\](https://example.org) \\ {{y}}" in everything
    assert "payment.list[0]" in everything


def test_text_holds_no_command_of_a_runner(judged):
    said = as_text.render(judged(span("payment.##[error]x"), span("payment.##vso[task.complete]y", trace=2)))
    assert "payment.# #[error]x" in said
    assert "##[" not in said
    assert "##vso[" not in said
    assert not any(line.lstrip().startswith("::") for line in said.splitlines())


def test_text_holds_nothing_that_a_terminal_would_act_on(outcome):
    said = as_text.render(outcome)
    assert "\x1b" not in said
    assert "\x00" not in said
    assert "1 known" in said
    assert "accepted until 2024-03-31" in said


def test_json_has_everything(outcome):
    document = json.loads(as_json.render(outcome))
    assert document["exit_code"] == 1
    assert document["telemetry"]["spans"] == 59
    assert {rule["id"]: rule["violated"] for rule in document["rules"]} == {"charge-is-approved": 59, "silent": 0}
    assert {finding["state"] for finding in document["findings"]} == {"known", "new"}
    assert all(len(finding["samples"]) <= 20 for finding in document["findings"])


def test_a_rule_that_breaks_does_not_stop_the_others(judged, monkeypatch):
    from dagster_project.gate import run as gate

    real = gate.compiled

    def broken(rule):
        query = real(rule)
        return replace(query, verdicts="select error('too much')") if rule.id == "silent" else query

    monkeypatch.setattr(gate, "compiled", broken)
    outcome = judged(span("payment.charge"))
    assert outcome.exit_code == 2
    assert outcome.states["new"] == 1
    root = read(outcome)
    assert root.get("errors") == "1"
    log = json.loads(as_sarif.render(outcome))
    assert log["runs"][0]["invocations"][0]["executionSuccessful"] is False
    assert "silent could not be judged" in as_github.render(outcome)
    assert "too much" in as_text.render(outcome)
