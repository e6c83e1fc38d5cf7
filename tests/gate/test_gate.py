"""The gate from files to exit code: what is new, what is accepted, what is known again in another run."""

import gzip
import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta

import pytest
from typer.testing import CliRunner

from dagster_project.cli.app import app
from dagster_project.gate import telemetry
from dagster_project.gate.findings import compiled, judge
from dagster_project.gate.outcome import Policy
from dagster_project.gate.run import Request, run
from dagster_project.gate.selection import UnknownRules
from dagster_project.rule_language import read_rule
from tests.gate.conftest import RULE, span

TODAY = date(2024, 6, 1)
CHARGE = span("payment.charge", service="checkout", currency="EUR", order_id="o-8812")


@pytest.fixture
def command(rules):
    def invoke(*arguments):
        return CliRunner().invoke(app, ["gate", *map(str, arguments)])

    return invoke


@pytest.fixture
def gate(rules):
    def judge(*paths, policy=None, **given):
        names = given.pop("rules", [str(rules)])
        return run(Request(list(paths), names, policy or Policy(), given.pop("today", TODAY), **given))

    return judge


def fingerprints(outcome):
    return {one.finding.fingerprint for one in outcome.reviewed}


# --- exit codes -----------------------------------------------------------------------------------------------------


def test_a_violation_stops_the_pipeline(command, traces, rules):
    found = command("--traces", traces(CHARGE), "--rules", rules)
    assert found.exit_code == 1
    assert "charge-is-approved (high)" in found.stdout
    assert "1 violation at checkout: payment.charge" in found.stdout
    assert "rules/payments/charge-is-approved.yml:9" in found.stdout


def test_nothing_new_is_well(command, traces, rules):
    approved = span("approval.granted", number=2, parent=1)
    assert command("--traces", traces(CHARGE, approved), "--rules", rules).exit_code == 0


@pytest.mark.parametrize("arguments", [
    ["--rules", "no-such-rule"], ["--traces", "absent.jsonl"], ["--baseline", "absent.json"], ["--update-baseline"],
    ["--format", "yaml"],
])  # fmt: skip
def test_what_cannot_be_used_is_an_error_of_its_own(command, traces, arguments, rules):
    found = command("--traces", traces(CHARGE), "--rules", rules, *arguments)
    assert found.exit_code == 2, found.output


def test_a_broken_rule_is_told_with_its_place(command, traces, rules):
    (rules / "payments/charge-is-approved.yml").write_text(RULE.replace("any(span", "anyy(span", 1))
    found = command("--traces", traces(CHARGE), "--rules", rules)
    assert found.exit_code == 2
    assert "rules/payments/charge-is-approved.yml:8:" in found.stderr


def test_a_file_of_which_nothing_can_be_read_is_an_error(command, tmp_path, rules):
    noise = tmp_path / "noise.bin"
    noise.write_bytes(b"\x00\x01 this is no telemetry")
    found = command("--traces", noise, "--rules", rules)
    assert found.exit_code == 2
    assert "noise.bin" in found.stderr


def test_nothing_to_judge_is_not_well_unless_it_may_be(command, traces, rules):
    empty = traces(name="empty.otlp.jsonl")
    empty.write_text('{"resourceSpans": []}\n')
    assert command("--traces", empty, "--rules", rules).exit_code == 3
    assert command("--traces", empty, "--rules", rules, "--allow-empty").exit_code == 0


def test_refused_records_are_counted_and_told(command, traces, rules):
    path = traces(*[span("other", trace=n) for n in range(1, 40)])
    path.write_text(path.read_text() + "{broken\n")
    found = command("--traces", path, "--rules", rules)
    assert found.exit_code == 0
    assert "1 record refused" in found.stdout
    assert "line 40" in found.stdout


def test_the_command_starts_alone_and_has_the_same_exit_codes(traces, rules, tmp_path):
    """The short way that `hindcast gate` takes does not import dbt, Dagster, pandas or Great Expectations."""
    code = (
        "import sys; sys.argv[0] = 'hindcast'\n"
        "from dagster_project.cli import main\n"
        "try: main()\n"
        "except SystemExit as ended: code = ended.code\n"
        "late = {'dagster', 'dbt', 'pandas', 'great_expectations', 'plotly'} & set(sys.modules)\n"
        "assert not late, late\n"
        "sys.exit(code)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, "gate", "--traces", traces(CHARGE), "--rules", rules], cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stderr
    usage = [sys.executable, "-c", code, "gate", "--no-such-option"]
    assert subprocess.run(usage, cwd=tmp_path, capture_output=True, check=False).returncode == 2


def test_an_empty_file_is_nothing_to_judge(command, traces, rules, tmp_path):
    for name, content in (("empty.jsonl", b""), ("blank.jsonl", b"\n\n"), ("empty.jsonl.gz", gzip.compress(b""))):
        empty = tmp_path / name
        empty.write_bytes(content)
        found = command("--traces", empty, "--rules", rules)
        assert found.exit_code == 3, found.output
        assert f"{name}: left out, it is empty" in found.stdout
        assert command("--traces", empty, "--rules", rules, "--allow-empty").exit_code == 0
        assert command("--traces", traces(CHARGE), "--logs", empty, "--rules", rules).exit_code == 1


def test_a_file_that_ends_in_the_middle_is_broken(command, traces, rules, tmp_path):
    cut = tmp_path / "cut.jsonl.gz"
    sent = [span("other", trace=n, order_id=f"{n * 7919:x}") for n in range(1, 400)]
    cut.write_bytes(gzip.compress(traces(*sent).read_bytes())[:-2_000])
    found = command("--traces", cut, "--rules", rules)
    assert found.exit_code == 2, found.output
    assert "cut.jsonl.gz: the file ends in the middle" in found.stderr


def test_rules_about_logs_are_not_judged_where_none_was_received(gate, command, traces, rules, tmp_path):
    said = RULE.replace("charge-is-approved", "leaves-a-log").replace(
        'span("approval.granted")', "log(severity >= info)"
    )
    (rules / "payments/leaves-a-log.yml").write_text(said)
    names = ["rules/payments/leaves-a-log.yml"]
    outcome = gate(traces(CHARGE), rules=names)
    assert outcome.exit_code == 0
    assert not outcome.reviewed
    found = command("--traces", traces(CHARGE), "--rules", rules)
    assert "1 rule not judged, for logs are spoken of and no log record was received: leaves-a-log" in found.stdout
    logs = tmp_path / "logs.jsonl"
    record = {"timeUnixNano": str(1_700_000_000 * 10**9), "traceId": f"{7:032x}", "body": {"stringValue": "no"}}
    logs.write_text(json.dumps({"resourceLogs": [{"resource": {}, "scopeLogs": [{"logRecords": [record]}]}]}) + "\n")
    assert gate(traces(CHARGE), logs, rules=names).exit_code == 1


def test_what_an_option_names_and_is_not_there_is_said_in_words(command, traces, rules, tmp_path):
    found = command("--traces", traces(CHARGE), "--rules", rules, "--baseline", "absent.json")
    assert "the baseline absent.json does not exist; --update-baseline writes it" in found.stderr
    found = command("--traces", traces(CHARGE), "--rules", rules, "--output", tmp_path / "no/such/x.sarif")
    assert found.exit_code == 2
    assert "no/such" in re.sub(r"[\s│]", "", found.stderr)  # a long path is broken into lines
    assert not (tmp_path / "no").exists()


def test_what_cannot_be_judged_is_a_line_a_reason(command, traces, rules):
    for name in ("one", "two"):
        (rules / f"payments/{name}.yml").write_text(RULE.replace("charge-is-approved", name))
    found = command("--traces", traces(span("payment.charge", parent=77)), "--rules", rules)
    assert found.exit_code == 0
    (line,) = [line for line in found.stdout.splitlines() if "root span is missing" in line]
    assert line.startswith("cannot be judged, the root span is missing: 3 scopes of 3 rules: charge-is-approved, one")


def test_a_violation_of_a_group_shows_its_key(command, traces, rules):
    said = RULE.replace("when: any", "group_by: [currency]\ngap: 1h\nwhen: any")
    (rules / "payments/charge-is-approved.yml").write_text(said)
    assert 'of "EUR"; trace ' in command("--traces", traces(CHARGE), "--rules", rules).stdout


def test_a_named_path_that_gives_nothing_is_an_error(command, traces, rules, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for content in (None, "not telemetry"):
        if content is not None:
            (wrong / "readme.txt").write_text(content)
        found = command("--traces", traces(CHARGE), "--logs", wrong, "--rules", rules)
        assert found.exit_code == 2, found.output
        assert "wrong: there is no file of a known format in it" in found.stderr


def test_files_of_a_folder_that_are_not_read_are_told(command, traces, rules, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(traces(CHARGE).read_bytes())
    (folder / "readme.txt").write_text("not telemetry")
    found = command("--traces", folder, "--logs", folder / "a.jsonl", "--rules", rules)
    assert found.exit_code == 1, found.output
    assert "1 file left out" in found.stdout
    assert "readme.txt: left out, its content is of no known format" in found.stdout


# --- what is read ---------------------------------------------------------------------------------------------------


def test_packed_files_and_folders_and_other_formats_are_read(gate, traces, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(traces(CHARGE).read_bytes()))
    zipkin = [{
        "traceId": "00000000000000000000000000000abc", "id": "000000000000000a", "name": "payment.charge",
        "timestamp": 1_700_000_000_000_000, "duration": 10, "localEndpoint": {"serviceName": "checkout"},
    }]  # fmt: skip
    (folder / "zipkin.json").write_text(json.dumps(zipkin))
    outcome = gate(folder)
    assert {file.format for file in outcome.telemetry.files} == {"otlp_traces", "zipkin"}
    assert sum(one.finding.scopes for one in outcome.reviewed) == 2


def test_a_span_that_was_sent_twice_counts_once(gate, traces):
    outcome = gate(traces(CHARGE, CHARGE))
    assert (outcome.telemetry.spans, outcome.telemetry.repeats) == (1, 1)


def test_rules_that_look_beside_traces_are_judged_too(gate, traces, tmp_path, rules):
    said = RULE.replace("charge-is-approved", "after-deploy").replace(
        'any(span("approval.granted"))', 'none(span("payment.charge") after deploy() within 1h)'
    )
    (rules / "payments/after-deploy.yml").write_text(said)
    deploys = tmp_path / "deploys.json"
    deploys.write_text(json.dumps([{
        "deploy_id": "D-1", "service": "checkout", "version": "2", "deployed_at": "2023-11-14T22:10:00Z",
    }]))  # fmt: skip
    names = ["rules/payments/after-deploy.yml"]
    assert gate(traces(CHARGE), rules=names).exit_code == 0
    assert gate(traces(CHARGE), deploys, rules=names).exit_code == 1


def test_logs_are_judged_with_the_traces(gate, traces, tmp_path, rules):
    said = RULE.replace("charge-is-approved", "no-error").replace(
        'any(span("approval.granted"))', "none(log(severity >= error))"
    )
    (rules / "payments/no-error.yml").write_text(said)
    logs = tmp_path / "logs.jsonl"
    record = {
        "timeUnixNano": str(1_700_000_000 * 10**9),
        "severityNumber": 17,
        "traceId": f"{1:032x}",
        "body": {"stringValue": "no"},
    }
    logs.write_text(json.dumps({"resourceLogs": [{"resource": {}, "scopeLogs": [{"logRecords": [record]}]}]}) + "\n")
    assert gate(traces(CHARGE), rules=["rules/payments/no-error.yml"]).exit_code == 0
    assert gate(traces(CHARGE), logs, rules=["rules/payments/no-error.yml"]).exit_code == 1


# --- which rules ----------------------------------------------------------------------------------------------------


def test_rules_are_named_by_domain_id_file_or_folder(gate, traces, rules, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/sources.yml").write_text("sources: []\n")
    broken = rules / "search"
    broken.mkdir()
    (broken / "broken.yml").write_text("id: broken\n")
    path = traces(CHARGE)
    for name in ("payments", "charge-is-approved", "rules/payments", "rules/payments/charge-is-approved.yml"):
        assert [one.rule.id for one in gate(path, rules=[name]).judged] == ["charge-is-approved"]
    assert len(gate(path, rules=["payments", "charge-is-approved"]).judged) == 1


def test_a_shadow_rule_is_shown_and_stops_nothing(gate, traces, rules):
    file = rules / "payments/charge-is-approved.yml"
    file.write_text(RULE.replace("severity: high", "severity: high\nstatus: shadow"))
    outcome = gate(traces(CHARGE))
    assert (int(outcome.exit_code), outcome.states) == (0, {"shown": 1})


def test_a_retired_rule_is_judged_only_by_name(gate, traces, rules):
    file = rules / "payments/charge-is-approved.yml"
    file.write_text(RULE.replace("severity: high", "severity: high\nstatus: retired"))
    with pytest.raises(UnknownRules, match="retired"):
        gate(traces(CHARGE))
    assert gate(traces(CHARGE), rules=[str(file)]).exit_code == 1


def test_a_gate_that_would_judge_no_rule_is_broken(command, traces, rules, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/sources.yml").write_text("sources: []\n")
    (rules / "empty").mkdir()
    (rules / "search").mkdir()
    (rules / "search/misnamed.yaml").write_text(RULE)
    for names in (["empty"], ["payments", "empty"], ["search"], [str(rules / "search")]):
        found = command("--traces", traces(CHARGE), *(part for name in names for part in ("--rules", name)))
        assert found.exit_code == 2, found.output
        assert "holds no rule" in found.stderr
    assert "misnamed.yaml" in command("--traces", traces(CHARGE), "--rules", "search").stderr


def test_severity_says_what_may_stop_the_pipeline(gate, traces):
    path = traces(CHARGE)
    assert gate(path, policy=Policy(severity="high")).exit_code == 1
    assert gate(path, policy=Policy(severity="critical")).exit_code == 0


def test_what_cannot_be_judged_stops_the_pipeline_when_asked(gate, traces):
    orphan = span("payment.charge", parent=77)
    assert gate(traces(orphan)).exit_code == 0
    outcome = gate(traces(orphan), policy=Policy(fail_on="inconclusive"))
    assert outcome.exit_code == 1
    (found,) = outcome.reviewed
    assert found.finding.place == ("the root span is missing",)


# --- fingerprints ---------------------------------------------------------------------------------------------------


def test_another_run_has_the_same_fingerprints(gate, traces):
    first = fingerprints(gate(traces(CHARGE)))
    later = span("payment.charge", trace=777, number=5, service="checkout", at_ms=9000, currency="EUR", order_id="o-1")
    assert (
        fingerprints(gate(traces(later, span("payment.charge", trace=778, service="checkout", currency="EUR"))))
        == first
    )


@pytest.mark.parametrize("other", [
    span("payment.charge", service="kiosk", currency="EUR"),
    span("payment.charge", service="checkout", currency="USD"),
])  # fmt: skip
def test_another_place_or_meaningful_value_has_another(gate, traces, other):
    first = fingerprints(gate(traces(CHARGE)))
    assert fingerprints(gate(traces(other))).isdisjoint(first)


def test_ids_inside_names_do_not_count_and_versions_do(gate, traces, rules):
    file = rules / "payments/charge-is-approved.yml"
    file.write_text(RULE.replace("payment.charge", "POST*").replace("name: POST*", "name: POST /x"))

    def of(name):
        return fingerprints(gate(traces(span(name))))

    assert of("POST /v1/orders/1234") == of("POST /v1/orders/9") == of("POST /v1/orders/77")
    assert of("POST /v1/orders/1234") != of("POST /v2/orders/1234")
    assert of("POST /o/6f1b7c0a-1111-2222-3333-444455556666") == of("POST /o/7a1b7c0a-1111-2222-3333-444455556667")


def test_another_meaning_has_another_fingerprint_and_another_title_has_not(gate, traces, rules):
    file = rules / "payments/charge-is-approved.yml"
    first = fingerprints(gate(traces(CHARGE)))
    file.write_text(RULE.replace("A charge is approved", "Charges are approved"))
    assert fingerprints(gate(traces(CHARGE))) == first
    file.write_text(RULE.replace('any(span("approval.granted"))', 'any(span("approval.*"))'))
    assert fingerprints(gate(traces(CHARGE))).isdisjoint(first)


def test_rules_that_are_judged_together_say_what_each_says_alone(gate, traces, rules):
    grouped = RULE.replace("id: charge-is", "id: group-is").replace(
        "when: any", "group_by: [currency]\ngap: 1h\nwhen: any"
    )
    (rules / "payments/group-is-approved.yml").write_text(grouped)
    other = span("payment.charge", trace=2, service="kiosk", currency="USD", order_id="o-9")
    sent = traces(CHARGE, other)
    together = gate(sent)
    alone = [
        gate(sent, rules=[str(rules / f"payments/{rule}.yml")]) for rule in ("charge-is-approved", "group-is-approved")
    ]
    assert [(one.counts, one.findings) for one in together.judged] == [
        (one.counts, one.findings) for outcome in alone for one in outcome.judged
    ]
    assert [len(one.findings) for one in together.judged] == [2, 2]


def test_a_rule_that_cannot_be_run_does_not_stop_the_others(traces):
    good = read_rule("rules/payments/charge-is-approved.yml", RULE)
    bad = read_rule("rules/payments/silent-is-approved.yml", RULE.replace("charge-is", "silent-is"))
    with telemetry.warehouse() as connection:
        telemetry.stage(connection, telemetry.land(connection, [traces(CHARGE)]))
        broken = replace(compiled(bad), verdicts="select * from staging.gone")
        first, second = judge(connection, [broken, compiled(good)])
    assert "could not be judged" in first.error
    assert second.counts is not None
    assert second.counts.violated == len(second.findings) == 1


# --- the baseline ---------------------------------------------------------------------------------------------------


def test_what_is_accepted_stops_nothing_and_what_is_new_does(gate, traces, tmp_path):
    file = tmp_path / "baseline.json"
    known = traces(CHARGE)
    assert gate(known, baseline_file=file, update_baseline=True).exit_code == 0
    assert gate(known, baseline_file=file).exit_code == 0
    both = traces(CHARGE, span("payment.charge", trace=2, service="kiosk", currency="EUR"))
    outcome = gate(both, baseline_file=file)
    assert outcome.exit_code == 1
    assert outcome.states == {"known": 1, "new": 1}


def test_an_expired_acceptance_counts_again(gate, traces, tmp_path):
    file = tmp_path / "baseline.json"
    gate(traces(CHARGE), baseline_file=file, update_baseline=True)
    last = TODAY + timedelta(days=90)
    assert gate(traces(CHARGE), baseline_file=file, today=last).exit_code == 0
    outcome = gate(traces(CHARGE), baseline_file=file, today=last + timedelta(days=1))
    assert outcome.exit_code == 1
    assert "expired on 2024-08-30" in outcome.reviewed[0].remark


def test_an_update_keeps_what_people_wrote(gate, traces, tmp_path):
    file = tmp_path / "baseline.json"
    gate(traces(CHARGE), baseline_file=file, update_baseline=True)
    document = json.loads(file.read_text())
    assert document["accepted"][0]["owner"] == "payments"
    document["accepted"][0] |= {"reason": "migrated in Q3", "owner": "checkout", "expires": None}
    file.write_text(json.dumps(document))
    gate(traces(CHARGE), baseline_file=file, update_baseline=True)
    (entry,) = json.loads(file.read_text())["accepted"]
    assert (entry["reason"], entry["owner"], entry["expires"]) == ("migrated in Q3", "checkout", None)


def test_more_than_was_accepted_counts(gate, traces, tmp_path):
    file = tmp_path / "baseline.json"
    gate(traces(CHARGE), baseline_file=file, update_baseline=True)
    document = json.loads(file.read_text())
    document["accepted"][0]["at_most"] = 1
    file.write_text(json.dumps(document))
    again = span("payment.charge", trace=2, service="checkout", currency="EUR")
    assert gate(traces(CHARGE), baseline_file=file).exit_code == 0
    outcome = gate(traces(CHARGE, again), baseline_file=file)
    assert outcome.exit_code == 1
    assert "at most 1, found 2" in outcome.reviewed[0].remark


def test_stale_acceptances_are_told(gate, traces, command, tmp_path, rules):
    file = tmp_path / "baseline.json"
    gate(traces(CHARGE), baseline_file=file, update_baseline=True)
    fine = traces(CHARGE, span("approval.granted", number=2, parent=1))
    found = command("--traces", fine, "--rules", rules, "--baseline", file)
    assert found.exit_code == 0
    assert "accepted and not seen: charge-is-approved" in found.stdout


ENTRY = {"rule": "a", "fingerprint": "f", "reason": "r", "owner": "o", "expires": None}


@pytest.mark.parametrize(("text", "said"), [
    ("[", "no JSON"),
    ("{}", "version"),
    ('{"version": 1, "accepted": {}}', "a list"),
    (json.dumps({"version": 1, "accepted": [{"rule": "a"}]}), "entry 1: `fingerprint` is missing"),
    (json.dumps({"version": 1, "accepted": [ENTRY | {"reason": ""}]}), "`reason`"),
    (json.dumps({"version": 1, "accepted": [ENTRY | {"expires": "soon"}]}), "soon"),
    (json.dumps({"version": 1, "accepted": [ENTRY | {"x": 1}]}), "`x`"),
    (json.dumps({"version": 1, "accepted": [ENTRY | {"at_most": True}]}), "`at_most`"),
    (json.dumps({"version": 1, "accepted": [ENTRY, ENTRY]}), "stands there twice"),
])  # fmt: skip
def test_a_baseline_that_is_none_is_refused(command, traces, rules, tmp_path, text, said):
    file = tmp_path / "baseline.json"
    file.write_text(text)
    found = command("--traces", traces(CHARGE), "--rules", rules, "--baseline", file)
    assert found.exit_code == 2
    assert said in found.stderr
