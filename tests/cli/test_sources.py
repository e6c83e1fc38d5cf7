"""`hindcast sources check` says what a load would read, before anything is loaded."""

import gzip
import subprocess

import pytest

from tests.cli.conftest import SOURCES, span


def test_an_undisturbed_source_is_told_in_full_and_nothing_is_loaded(hindcast):
    (hindcast.folder / "a.jsonl").write_bytes(gzip.compress(span(1)))
    said = hindcast("sources", "check", "traces")
    assert "files 1, 0.0 MiB, packed: 1 gzip" in said
    assert "of them 1 new" in said
    assert "looks like otlp_traces" in said
    assert "first record 2024-01-01 10:00:00 UTC" in said
    assert not hindcast.project.warehouse_file.exists()


def test_files_are_told_apart_by_what_the_ledger_knows(hindcast):
    names = ("grown", "changed", "loaded")
    for number, name in enumerate(names, start=1):
        (hindcast.folder / f"{name}.jsonl").write_bytes(span(number))
    hindcast("load")
    (hindcast.folder / "grown.jsonl").write_bytes(span(1) + span(7))
    (hindcast.folder / "changed.jsonl").write_bytes(span(8))
    (hindcast.folder / "copy.jsonl").write_bytes(span(3))
    (hindcast.folder / "new.jsonl").write_bytes(span(9))
    said = hindcast("sources", "check")
    assert "of them 1 changed, 1 copy of a loaded one, 1 grown, 1 loaded, 1 new" in said
    assert "loaded days 1, from 2024-01-01 to 2024-01-01" in said


def test_a_source_whose_files_are_of_another_format_is_wrong(hindcast):
    (hindcast.folder / "a.jsonl").write_bytes(span(1))
    hindcast.declare(SOURCES.replace("otlp_traces", "otlp_logs"))
    said = hindcast("sources", "check", "traces", code=2)
    assert "looks like otlp_traces, and is declared as otlp_logs" in said
    assert "see whether `format` and its options are right" in said


def test_the_time_of_the_first_record_is_read_in_the_zone_of_the_source(hindcast):
    (hindcast.folder / "app.log").write_bytes(b"<13>Jan  1 10:00:00 host app: started\n")
    hindcast.declare(
        "version: 1\nfolders: [data/in]\nsources:\n"
        "  - {name: app, format: syslog, path: data/in/app.log, time_zone: Asia/Seoul, year: 2024}\n"
    )
    said = hindcast("sources", "check")
    assert "first record 2024-01-01 01:00:00 UTC (2024-01-01 10:00:00 Asia/Seoul)" in said
    assert 'read with {"time_zone": "Asia/Seoul", "year": 2024}' in said


def test_a_source_without_files_is_wrong_unless_it_is_optional(hindcast):
    assert "it is optional" in hindcast("sources", "check")
    hindcast.declare(SOURCES.replace(", optional: true", ""))
    assert "no file matches data/in/*.jsonl; mend the path" in hindcast("sources", "check", code=2)
    assert "did you mean" in hindcast("sources", "check", "trace", code=2)


def test_other_systems_are_told_and_asked_only_when_said(hindcast, tmp_path):
    hindcast.declare(
        "version: 1\nfolders: [data/in]\nsources:\n"
        "  - {name: up, prometheus: {url: 'http://127.0.0.1:9', queries: {up: 'up{job=\"a\"}'},"
        " start: 2024-01-01T00:00:00Z, token_env: NO_SUCH_TOKEN}}\n"
        f"  - {{name: code, git: {{repository: '{tmp_path / 'code'}'}}}}\n"
    )
    said = hindcast("sources", "check", code=2)
    assert 'up{job="a"}' in said
    assert "NO_SUCH_TOKEN is not set" in said
    assert "is no git repository" in said
    subprocess.run(["git", "init", "-q", str(tmp_path / "code")], check=True)
    assert "the sources are well" in hindcast("sources", "check", "code")
    assert "http://127.0.0.1:9" in hindcast("sources", "list")


@pytest.mark.parametrize(
    ("format_", "content"),
    [
        ("jira", "Issue key,Status,Created\nA-1,Open,02/Jan/24 8:44 PM\n"),
        ("servicenow", "number,sys_updated_at,sys_mod_count\nINC1,02/01/2024 20:44,1\n"),
        ("incident_csv", "incident_id,created_at\nI-1,2024-01-02 20:44\n"),
    ],
)
def test_times_that_land_as_they_are_written_are_told_in_the_zone_of_the_source(hindcast, format_, content):
    (hindcast.folder / "a.csv").write_text(content)
    hindcast.declare(
        "version: 1\nfolders: [data/in]\nsources:\n"
        f"  - {{name: tickets, format: {format_}, path: data/in/a.csv, time_zone: Europe/Berlin}}\n"
    )
    said = hindcast("sources", "check")
    assert "first record 2024-01-02 19:44:00 UTC (2024-01-02 20:44:00 Europe/Berlin)" in said
    assert "holds no record" not in said


def test_a_time_of_a_ticket_that_names_its_zone_is_told_as_it_is(hindcast):
    (hindcast.folder / "a.csv").write_text("Issue key,Status,Created\nA-1,Open,2024-01-02T20:44:00+09:00\n")
    hindcast.declare(
        "version: 1\nfolders: [data/in]\nsources:\n"
        "  - {name: tickets, format: jira, path: data/in/a.csv, time_zone: Europe/Berlin}\n"
    )
    assert "first record 2024-01-02 11:44:00 UTC" in hindcast("sources", "check")


def test_a_missing_key_is_not_the_formats_fault(hindcast, monkeypatch):
    monkeypatch.delenv("HINDCAST_PERSONAL_DATA_KEY", raising=False)
    (hindcast.folder / "a.jsonl").write_bytes(span(1))
    hindcast.declare(SOURCES.replace("optional: true}", "optional: true, personal_data: [user.id]}", 1))
    said = hindcast("sources", "check", "traces", code=2)
    assert "PersonalDataKeyMissing" in said
    assert "see whether" not in said
