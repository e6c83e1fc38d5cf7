"""`hindcast rules check | list`: which files they read, and what they say of those that cannot be."""

import pytest
from typer.testing import CliRunner

from dagster_project.cli.app import app
from dagster_project.rule_language import RuleErrors

RULE = """
id: never-pay
title: Nobody pays
severity: low
owner: x
never: any(span("pay"))
tests:
  - {name: pays, verdict: violated, spans: [{name: pay}]}
  - {name: looks, verdict: satisfied, spans: [{name: look}]}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some").mkdir()
    return tmp_path / "some"


def refused(*arguments):
    done = CliRunner().invoke(app, ["rules", *arguments])
    assert isinstance(done.exception, RuleErrors), done.output
    return str(done.exception)


def test_files_that_are_named_need_no_project(folder):
    (folder / "never-pay.yml").write_text(RULE)
    for command, said in (("check", "1 rule is well"), ("test", "2 passed, 0 failed")):
        done = CliRunner().invoke(app, ["rules", command, "some"])
        assert (done.exit_code, said in done.output) == (0, True), done.output


def test_a_file_that_is_not_utf_8_is_a_mistake_at_a_place(folder, hindcast):
    (folder / "bin.yml").write_bytes(b"\xff")
    assert refused("check", "some").startswith("some/bin.yml:1:1: not UTF-8 at byte 0")
    rules = hindcast.project.rules_dir
    rules.mkdir(parents=True, exist_ok=True)
    (rules / "bin.yml").write_bytes(b"ok: \xff")
    for command in (["list"], ["check"], ["test"]):
        said = refused(*command, "--project", str(hindcast.project.root))
        assert said.startswith("rules/bin.yml:1:1: not UTF-8 at byte 4"), command


def test_an_attribute_that_is_almost_a_field_is_warned_of_where_it_stands(folder):
    (folder / "never-pay.yml").write_text(
        RULE.replace('span("pay")', 'span("pay", statsu = error or knd == 1)').replace(
            "[{name: pay}]", "[{name: pay, attributes: {knd: 1}}]"
        )
    )
    done = CliRunner().invoke(app, ["rules", "check", "some"])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        "some/never-pay.yml:6: warning: `statsu` is read as an attribute of spans, and no test of the rule has one; "
        "did you mean the field `status`?",
        "1 rule is well",
    ]


def test_the_tests_of_the_other_files_run_when_one_has_a_mistake(folder):
    (folder / "never-pay.yml").write_text(RULE.replace("verdict: violated", "verdict: inconclusive"))
    (folder / "broken.yml").write_text("id: broken\nwhen: any(")
    said = refused("check", "some")
    assert "some/broken.yml:" in said
    assert "some/never-pay.yml:" in said
    assert "pays" in said


def test_a_rule_is_tested_by_its_id_and_a_missing_one_is_named(folder, hindcast):
    file = hindcast.project.rules_dir / "shop/never-pay.yml"
    file.parent.mkdir(parents=True)
    file.write_text(RULE)
    (file.parent / "broken.yml").write_text("id: broken\nwhen: any(")
    for command, said in (("check", "1 rule is well"), ("test", "2 passed, 0 failed")):
        assert said in hindcast("rules", command, "never-pay")
        unknown = CliRunner().invoke(app, ["rules", command, "never-pya", "--project", str(hindcast.project.root)])
        assert isinstance(unknown.exception, FileNotFoundError)
        assert str(unknown.exception) == ("there is no rule `never-pya`, and no such file; did you mean `never-pay`?")
    (folder / "never-pay.yml").write_text(RULE)
    for missing, hint in (
        ("some/never-pya.yml", "; did you mean `never-pay.yml`?"),
        ("some/other.yml", "; known here: never-pay.yml"),
        ("none/at-all.yml", ""),
    ):
        done = CliRunner().invoke(app, ["rules", "test", missing])
        assert isinstance(done.exception, FileNotFoundError)
        assert str(done.exception) == f"{missing}: no such file{hint}"
