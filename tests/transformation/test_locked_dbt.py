"""Which dbt commands run under the writer's lock, and that they do."""

import hashlib
import sys
from importlib.metadata import version

import pytest

from dagster_project.transformation import locked_dbt
from dagster_project.warehouse import lock


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs `hindcast-dbt` with a dbt that only notes who holds the lock."""
    lock_file = tmp_path / "w.lock"

    def run(*arguments, with_lock_file=True):
        seen = []
        monkeypatch.setattr("dbt.cli.main.cli", lambda obj: seen.append(lock.holder(lock_file)))
        monkeypatch.setattr(sys, "argv", ["hindcast-dbt", *arguments])
        if with_lock_file:
            monkeypatch.setenv(locked_dbt.LOCK_VARIABLE, str(lock_file))
        else:
            monkeypatch.delenv(locked_dbt.LOCK_VARIABLE, raising=False)
        locked_dbt.main()
        (holder,) = seen
        return holder

    return run


@pytest.mark.parametrize(
    "arguments",
    [
        ["compile"],
        ["debug"],
        ["show", "--inline", "select 1"],
        ["build", "--select", "list"],
        ["--quiet", "run", "--select", "parse"],
        ["run-operation", "deps"],
        ["build", "--help"],
    ],
)
def test_what_opens_the_warehouse_holds_the_lock(run, arguments):
    command = next(word for word in arguments if not word.startswith("-"))
    assert run(*arguments)["purpose"] == f"dbt {command}"


@pytest.mark.parametrize(
    "arguments",
    [["--quiet", "parse"], ["list", "--select", "build"], ["ls"], ["deps"], ["--help"], []],
)
def test_what_never_connects_takes_no_lock_and_needs_none(run, arguments):
    assert run(*arguments) is None
    assert run(*arguments, with_lock_file=False) is None


def test_the_version_is_told_without_a_word_to_anybody(monkeypatch, capsys):
    """dbt itself asks PyPI whether there is a newer one."""
    monkeypatch.setattr("dbt.cli.main.cli", lambda obj: pytest.fail("dbt was asked"))
    monkeypatch.setattr(sys, "argv", ["hindcast-dbt", "--version"])
    locked_dbt.main()
    assert f"installed: {version('dbt-core')}" in capsys.readouterr().out


def test_opening_the_warehouse_without_a_lock_file_is_refused(run):
    with pytest.raises(SystemExit, match="HINDCAST_LOCK"):
        run("compile", with_lock_file=False)


@pytest.mark.parametrize("content", [None, b"", b"no msgpack", b"\x81\xa5nodes"])
def test_a_parsed_project_that_cannot_be_read_costs_time_and_not_the_run(tmp_path, capsys, content):
    file = tmp_path / "partial_parse.msgpack"
    if content is not None:
        file.write_bytes(content)
    assert locked_dbt.parsed(f"{hashlib.sha256(content or b'').hexdigest()} {file}") is None
    told = capsys.readouterr().err
    assert "cannot be read" in told
    assert "dbt parses the project" in told


def test_a_parsed_project_of_another_run_is_not_used(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("dbt.contracts.graph.manifest.Manifest.from_msgpack", lambda content: pytest.fail("was read"))
    file = tmp_path / "a folder/partial_parse.msgpack"
    file.parent.mkdir()
    file.write_bytes(b"another's")
    assert locked_dbt.parsed(f"{hashlib.sha256(b'ours').hexdigest()} {file}") is None
    told = capsys.readouterr().err
    assert f"another run of dbt wrote {file}" in told
    assert "dbt parses the project" in told


def test_nobody_need_hand_over_a_parsed_project(capsys):
    assert locked_dbt.parsed(None) is None
    assert capsys.readouterr().err == ""
