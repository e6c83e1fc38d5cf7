"""The command's surface: help with examples everywhere, clear errors with exit code 2."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from dagster_project import cli
from dagster_project.cli.app import app
from dagster_project.cli.commands import MODULES, tree_for

HINDCAST = str(Path(sys.executable).with_name("hindcast"))


def leaves(command, *path):
    """Every command that does something, with its words."""
    children = getattr(command, "commands", None)
    if not children:
        yield path, command
        return
    for name, child in children.items():
        yield from leaves(child, *path, name)


@pytest.mark.parametrize("path", [path for path, _ in leaves(get_command(app))], ids=" ".join)
def test_every_command_explains_itself_with_an_example(path):
    done = CliRunner().invoke(app, [*path, "--help"])
    assert done.exit_code == 0
    assert "Example" in done.output


@pytest.mark.parametrize("path", [path for path, _ in leaves(get_command(app))], ids=" ".join)
def test_a_command_that_is_named_is_there_without_all_the_others(path):
    alone = get_command(tree_for(path))
    assert path in [found for found, _ in leaves(alone)]
    assert len(alone.commands) < len(MODULES)


def test_what_is_no_command_is_looked_for_among_all():
    assert len(get_command(tree_for(["nihgtly"])).commands) > len(MODULES)
    assert len(get_command(tree_for([])).commands) > len(MODULES)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project without anything in it; the working directory is above it."""
    (tmp_path / "project/data").mkdir(parents=True)
    (tmp_path / "project/rules").mkdir()
    (tmp_path / "project/data/sources.yml").write_text("version: 1\nfolders: [data]\nsources: []\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", cli.PIPED_COLUMNS)
    monkeypatch.delenv("HINDCAST_PROJECT", raising=False)


def is_one_message(said, message):
    return message in " ".join(said.replace("│", " ").split()) and "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nightly"], "hindcast init"),
        (["load", "nothing-here", "--project", "project"], "nothing-here does not exist"),
        (["query", "--rule", "x", "--project", "project"], "there is no rule `x`"),
        (["query", "-e", "when: any(span(\"a\")", "--project", "project"], "<in line>:1:"),
        (["query", "-e", 'never: any(span("a"))', "--project", "project"], "nothing is published"),
        (["query", "-e", 'never: any(span("a"))', "--start", "soon", "--project", "project"], "`soon` is no moment"),
        (["rules", "check", "no-such-file.yml", "--project", "project"], "no-such-file.yml"),
    ],
)  # fmt: skip
def test_an_error_is_one_message_that_says_what_to_do_and_no_trace(project, arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["hindcast", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert is_one_message(capsys.readouterr().err, message)


def test_a_shell_sees_the_same(project):
    done = subprocess.run([HINDCAST, "query", "--rule", "x", "--project", "project"], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 2
    assert is_one_message(done.stderr, "there is no rule `x`")


def test_the_version_is_told():
    assert CliRunner().invoke(app, ["--version"]).output.startswith("hindcast 0.")
