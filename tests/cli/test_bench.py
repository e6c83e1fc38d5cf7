"""`hindcast bench` runs the checkout's benchmarks, and says so where there are none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dagster_project.cli import bench
from dagster_project.cli.app import app
from dagster_project.cli.errors import EXPECTED


def test_without_a_checkout_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "CHECKOUT", tmp_path)
    outcome = CliRunner().invoke(app, ["bench", "replay"])
    assert isinstance(outcome.exception, EXPECTED)
    assert "come with the checkout" in str(outcome.exception)


def test_it_names_the_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.importlib.util, "find_spec", lambda name: None if name == "chdb" else object())
    outcome = CliRunner().invoke(app, ["bench", "replay"])
    assert "chdb missing: run `uv sync --group bench`" in str(outcome.exception)


def test_it_hands_on_what_was_asked_and_how_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command[1:])
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(bench.importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(bench.subprocess, "run", run)
    asked = ["bench", "replay", "--spans", "1000000", "--work", str(tmp_path), "--only", "order"]
    assert CliRunner().invoke(app, asked).exit_code == 3
    (command,) = commands
    assert Path(command[0]).is_file()
    assert command[1:] == ["--spans", "1000000", "--repeats", "3", "--only", "order", "--work", str(tmp_path)]


def test_a_comparison_is_measured_over_as_many_incidents_as_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command[1:])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(bench.subprocess, "run", run)
    assert CliRunner().invoke(app, ["bench", "compare", "--incidents", "5000"]).exit_code == 0
    ((script, *options),) = commands
    assert Path(script).is_file()
    assert options == ["--incidents", "5000"]


def test_the_marts_are_measured_over_as_many_incidents_as_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        commands.append(command[1:])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(bench.subprocess, "run", run)
    asked = ["bench", "incidents", "--incidents", "5000", "--work", str(tmp_path)]
    assert CliRunner().invoke(app, asked).exit_code == 0
    ((script, *options),) = commands
    assert Path(script).is_file()
    assert options == ["--incidents", "5000", "--repeats", "3", "--work", str(tmp_path)]
