"""`hindcast rules suggest`: what it shows, what it writes, and its exit codes."""

import contextlib

import pytest
from typer.testing import CliRunner

from dagster_project.cli import suggest as command
from dagster_project.cli.app import app
from dagster_project.rule_language import load_catalogue
from tests.rule_suggestions.conftest import FIRST
from tests.rule_suggestions.test_suggest import retried


@pytest.fixture
def propose(day, monkeypatch):
    """Runs the command over the traces of the day."""

    def invoke(*arguments):
        monkeypatch.setattr(command, "find_project", lambda _folder: type("P", (), {"generations_dir": None}))
        monkeypatch.setattr(command.generations, "find", lambda *_given: None)
        opened = contextlib.nullcontext(day.published())
        monkeypatch.setattr(command.generations, "open_generation", lambda _found: opened)
        return CliRunner().invoke(app, ["rules", "suggest", *map(str, arguments)])

    return invoke


def test_proposals_are_shown_and_nothing_is_written(day, propose, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    day.add(*FIRST, 120, retried)
    answer = propose("--incident", "INC-1")
    assert answer.exit_code == 0, answer.output
    assert 'never: any(span("payment.retry"))' in answer.stdout
    assert "conditions were tried" in answer.stdout
    assert "Nothing is accepted yet" in answer.stdout
    assert list(tmp_path.iterdir()) == []


def test_files_are_written_when_asked_and_never_over_others(day, propose, tmp_path):
    day.add(*FIRST, 120, retried)
    assert propose("--incident", "INC-1", "--write", tmp_path / "suggested").exit_code == 0
    written = sorted((tmp_path / "suggested").iterdir())
    assert load_catalogue({f"rules/suggested/{file.name}": file.read_text() for file in written}).rules
    written[0].write_text("edited")
    again = propose("--incident", "INC-1", "--write", tmp_path / "suggested")
    assert again.exit_code == 2
    assert written[0].read_text() == "edited"


def test_yaml_is_rule_files_alone(day, propose):
    day.add(*FIRST, 120, retried)
    answer = propose("--incident", "INC-1", "--format", "yaml")
    first = answer.stdout.split("---\n")[0]
    name = first.splitlines()[0].removeprefix("id: ").strip("'")
    assert load_catalogue({f"rules/suggested/{name}.yml": first}).rules


def test_it_says_so_when_nothing_separates(day, propose):
    day.add(*FIRST, 120)
    answer = propose("--incident", "INC-1")
    assert answer.exit_code == 1
    assert "NOTHING SEPARATES" in answer.stdout


@pytest.mark.parametrize(("arguments", "said"), [
    (["--incident", "INC-7"], "did you mean `INC-1`"),
    (["--incident", "INC-1"], "too few to compare"),
    (["--incident", "INC-1", "--before", "soon"], "no duration"),
])  # fmt: skip
def test_what_cannot_be_asked_is_an_error(propose, arguments, said):
    answer = propose(*arguments)
    assert answer.exit_code == 2
    assert said in answer.stderr
