"""`hindcast rules import` as a person uses it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from dagster_project.cli.app import app
from dagster_project.replay import rule_tests
from dagster_project.rule_language import load_catalogue
from tests.rule_imports.published_rules import WHITEPAPER


@pytest.fixture
def run(tmp_path):
    def call(text, *arguments, name="rules.txt"):
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return CliRunner().invoke(app, ["rules", "import", str(file), *arguments])

    return call


def test_a_rule_is_printed_with_tests_that_hold(run):
    result = run("when { a.where(x > 3) } always { b }", "--owner", "shop")
    assert result.exit_code == 0, result.stderr
    text = result.stdout.removeprefix("---\n")
    outcomes = rule_tests.run(load_catalogue({"rules/x/rules.yml": text}))
    assert [outcome.expected for outcome in outcomes] == ["violated", "satisfied"]
    assert not rule_tests.failures(outcomes)
    assert "rules.txt:1: assumed" in result.stderr


def test_refusals_have_a_line_and_exit_code_1(run):
    result = run("when { a } always { b }\n\nwhen { c }\n")
    assert result.exit_code == 1
    assert "rules.txt:3: refused `when` alone" in result.stderr
    assert result.stdout.count("id:") == 1


def test_rules_are_written_but_none_is_overwritten(run, tmp_path):
    folder = tmp_path / "rules" / "shop"
    first = run('// slow checkout\n{ name = "checkout" && duration > 2s }', "--write", str(folder), "--owner", "shop")
    assert first.exit_code == 0, first.stderr
    (written,) = folder.glob("*.yml")
    assert written.name == "slow-checkout.yml"
    load_catalogue({f"rules/shop/{written.name}": written.read_text(encoding="utf-8")})
    before = written.read_text(encoding="utf-8")
    both = '// slow checkout\n{ name = "checkout" && duration > 3s }\n\n// slow search\n{ name = "a" && duration > 2s }'
    again = run(both, "--write", str(folder))
    assert again.exit_code == 1
    assert "slow-checkout.yml is there already" in " ".join(again.stderr.split())
    assert written.read_text(encoding="utf-8") == before
    assert (folder / "slow-search.yml").exists()


def test_the_payment_rule_of_the_whitepaper_is_imported(run):
    result = run(
        WHITEPAPER, "--polarity", "assert", "--group-by", "order_id", "--gap", "24h", name="payment-idempotency.txt"
    )
    assert result.exit_code == 0, result.stderr
    assert 'any(span("payment.charge") where attempt > 1)' in result.stdout
    assert 'distinct(span("payment.charge").payment_intent_id) == 1' in result.stdout


def test_a_rule_that_its_own_example_contradicts_is_pointed_at(run):
    text = """rules:
- id: said-otherwise
  name: Said otherwise
  severity: high
  condition: when { a } never { b }
  example_violation:
    trace:
    - span: a
"""
    result = run(text, name="r.yaml")
    assert result.exit_code == 0, result.stderr
    assert "does not violate the rule as it is written" in " ".join(result.stderr.split())


def test_a_rule_without_test_traces_says_that_a_person_must_write_them(run):
    result = run('{ span.a =~ "[^a-z]{3}(x|y)+" }', "--owner", "x", name="q.traceql")
    assert result.exit_code == 1, result.stderr
    assert "# To be written: `tests`" in result.stdout
    assert "no test could be made for the verdict `violated`" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "prolog"], "none of betrace"),
        (["--gap", "1h"], "come together"),
        (["--within", "soon"], "no duration"),
        (["--entity", "metric"], "none of log, span"),
        (["--severity", "dire"], "none of critical"),
    ],
)
def test_wrong_options_are_explained(run, arguments, said):
    result = run("when { a } always { b }", *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_a_file_that_is_no_text_is_refused(tmp_path: Path):
    file = tmp_path / "x.bin"
    file.write_bytes(b"\xff\xfe\x00")
    result = CliRunner().invoke(app, ["rules", "import", str(file)])
    assert result.exit_code == 2
    assert "UTF-8" in result.stderr


def test_a_text_that_no_dialect_claims_is_refused(run):
    result = run("SELECT 1")
    assert result.exit_code == 1
    assert "--from" in result.stderr


def test_what_steers_a_terminal_is_shown_and_not_sent(run):
    result = run('{ span.a = "\x1b[2J" && statusMessage = "\x1b[31m" }\n\n{ a\x1b[2J }', name="q.traceql")
    assert result.exit_code == 1
    assert "\x1b[2J" not in result.stderr + result.stdout


def test_a_file_without_tests_is_called_unfinished(run, tmp_path):
    folder = tmp_path / "rules" / "shop"
    result = run('{ span.a =~ "[^a-z]{3}(x|y)+" }', "--owner", "x", "--write", str(folder), name="q.traceql")
    assert result.exit_code == 1
    assert "lacks tests: `hindcast rules check` refuses it" in " ".join(result.stderr.split()[-20:])


@pytest.mark.parametrize(
    "clause", ["assert: trace.has(a)", "detect: any(span(x))", "when: any(span())\nalways: any(span())"]
)
def test_a_rule_file_of_ours_is_no_import(run, clause):
    result = run(f"id: pay\ntitle: Pay\nseverity: low\nowner: x\n{clause}\n", name="pay.yml")
    assert result.exit_code == 1
    assert "a rule file of ours already" in " ".join(result.stderr.split())
