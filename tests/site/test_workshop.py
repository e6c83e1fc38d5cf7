"""Folders set aside: whose are swept away, and what is left when something fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_project.site.workshop import set_aside, sweep


@pytest.fixture
def dead() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_writing_removes_no_folder_of_anybody(tmp_path, dead):
    for name in (".scope.backup", f".scope.{dead}.partial", ".scope.1.partial", ".s2.backup"):
        (tmp_path / name).mkdir()
    before = names(tmp_path)
    with set_aside(tmp_path / "scope") as one, set_aside(tmp_path / "scope") as other:
        (one / "one").touch()
        (other / "other").touch()
    with set_aside(tmp_path / "s*"):
        pass
    assert names(tmp_path) == sorted([*before, "scope", "s*"])
    assert names(tmp_path / "scope") == ["one"], "the last that ended stands, whole"


def test_sweeping_removes_only_what_a_dead_run_left(tmp_path, dead):
    kept = [".site.backup", f".site.{os.getppid()}.0123abcd.partial", f".site.{dead}.html", f".sit.{dead}.partial"]
    for name in (*kept, f".site.{dead}.partial", f".site.{dead}.0123abcd.partial", f".site.{os.getpid()}.old", "site"):
        (tmp_path / name).mkdir()
    sweep(tmp_path / "site")
    assert names(tmp_path) == sorted([*kept, "site"])


def test_sweeping_puts_back_what_stood_there_when_a_run_died_between_its_renames(tmp_path, dead):
    (tmp_path / f".site.{dead}.0123abcd.old").mkdir()
    (tmp_path / f".site.{dead}.0123abcd.old/index.html").touch()
    sweep(tmp_path / "site")
    assert names(tmp_path) == ["site"]
    assert names(tmp_path / "site") == ["index.html"]


def test_what_stood_there_stays_when_the_new_one_cannot_take_its_place(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site/old").touch()
    with pytest.raises(FileNotFoundError), set_aside(tmp_path / "site") as aside:
        aside.rmdir()
    assert names(tmp_path) == ["site"]
    assert names(tmp_path / "site") == ["old"]
