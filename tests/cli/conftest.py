"""A project with a few small files, and the command run over it in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dagster_project.cli import terminal
from dagster_project.cli.app import app
from dagster_project.settings import Project

SOURCES = """\
version: 1
folders: [data/in]
sources:
  - {name: traces, format: otlp_traces, path: "data/in/*.jsonl", optional: true}
  - {name: incidents, format: incidents, path: "data/in/incidents*.json", optional: true}
"""


def span(number: int, seconds: int = 1704103200) -> bytes:
    """One line of OTLP with one span, on 2024-01-01 at 10:00 when nothing else is said."""
    times = {"startTimeUnixNano": f"{seconds}000000000", "endTimeUnixNano": f"{seconds}000000001"}
    found = {"traceId": f"{number:032x}", "spanId": f"{number:016x}", "name": "GET /", **times}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [found]}]}]}).encode() + b"\n"


class Hindcast:
    """The command, on one project."""

    def __init__(self, root: Path) -> None:
        self.project = Project(root)
        self.folder = root / "data/in"
        self.folder.mkdir(parents=True)
        self.declare(SOURCES)

    def declare(self, text: str) -> None:
        self.project.sources_file.write_text(text)

    def __call__(self, *arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, [*arguments, "--project", str(self.project.root)])
        assert (done.exit_code, done.exception and repr(done.exception)) == (
            code, f"SystemExit({code})" if code else None,
        ), done.output  # fmt: skip
        self.stdout = done.stdout_bytes
        return " ".join(done.output.split())


@pytest.fixture
def hindcast(tmp_path, monkeypatch):
    # A console reads COLUMNS when it is made, and somebody may have made these with another one.
    for console in (terminal.stdout, terminal.stderr):
        monkeypatch.setattr(console, "_width", 400)
    return Hindcast(tmp_path / "project")
