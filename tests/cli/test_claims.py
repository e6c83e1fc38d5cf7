import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dagster_project.cli.app import app
from dagster_project.policy.document import DocumentError

DECK = Path(__file__).parents[2] / "data/claims/incident-automation.yml"


def run(*arguments):
    return CliRunner().invoke(app, ["claims", *map(str, arguments)])


@pytest.fixture
def template(tmp_path):
    file = tmp_path / "deck.yml"
    file.write_text(run("template").output, encoding="utf-8")
    return file


def test_a_claim_that_is_not_ok_ends_with_one(template):
    done = run("check", template)
    assert done.exit_code == 1
    assert "13 claims: 12 OK, 1 UNSUPPORTED" in done.output
    text = template.read_text()
    template.write_text(text[: text.index("  # Nothing to compute from")])
    assert run("check", template).exit_code == 0


@pytest.mark.parametrize("format_", ["text", "json", "markdown", "csv"])
def test_every_format_has_every_claim(tmp_path, format_):
    out = tmp_path / "claims"
    done = run("check", DECK, "--format", format_, "--out", out)
    assert done.exit_code == 1
    text = out.read_text(encoding="utf-8")
    assert text.count("MISLABELLED") >= 4
    assert "many small ones make" in " ".join(text.split()) or format_ == "text"  # notes; text folds cells
    if format_ == "json":
        assert len(json.loads(text)) >= 40
    if format_ == "csv":
        rows = {row["claim_id"]: row for row in csv.DictReader(text.splitlines())}
        assert rows["incident-automation/roi-52x"]["inputs"].startswith("benefits = 3,117,000 USD/year (line 400)")
        # A spreadsheet would run what begins with a sign.
        assert rows["incident-automation/wait-time-15562"]["stated"] == "'+15562%"


@pytest.mark.parametrize("place", ["absent/claims.md", "."])
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_computed(tmp_path, monkeypatch, place):
    monkeypatch.setattr("dagster_project.cli.claims.claims_audit", lambda *_: pytest.fail("was computed"))
    done = run("check", DECK, "--out", tmp_path / place)
    assert done.exit_code == 2
    expected = "lies in a folder that does not exist" if "/" in place else "is a folder"
    assert expected in " ".join(done.output.replace("│", " ").split())


def test_what_is_wrong_is_said(tmp_path):
    assert isinstance(run("check", tmp_path / "absent.yml").exception, DocumentError)
    (tmp_path / "deck.yml").write_text("title: [\n")
    assert f"{tmp_path / 'deck.yml'}:" in str(run("check", tmp_path / "deck.yml").exception)
