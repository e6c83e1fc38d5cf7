"""`hindcast load DIR` takes what it knows and lists the rest."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from dagster_project.sources.decoding.reading import head
from dagster_project.sources.recognition import recognise, recognise_all
from dagster_project.sources.registry import FORMATS

SAMPLES = Path(__file__).parents[2] / "data" / "samples"

# As little as still says what it is.
CONTENTS = {
    "otlp_traces": b'{"resourceSpans":[]}\n',
    "otlp_logs": b'{"resourceLogs":[]}\n',
    "otlp_metrics": b'{"resourceMetrics":[]}\n',
    "otlp_protobuf_traces": b"\x0a\x0d\x12\x0b\x12\x09\x39" + bytes(8),
    "otlp_protobuf_logs": b"\x0a\x0d\x12\x0b\x12\x09\x09" + bytes(8),
    "otlp_protobuf_metrics": b"\x0a\x11\x12\x0f\x12\x0d\x2a\x0b\x0a\x09\x19" + bytes(8),
    "prometheus": b'{"status":"success","data":{"resultType":"matrix","result":[]}}',
    "incidents": b'[{"incident_id":"1","created_at":"2023-01-29T08:44:04Z"}]',
    "pagerduty": b'{"incidents":[],"limit":25}',
    "servicenow": b"number,sys_mod_count,sys_updated_at\n",
    "incident_csv": b"incident_id,title,created_at\n",
    "jira": b'{"startAt":0,"issues":[{"key":"OPS-1","fields":{"created":"2023-01-29T08:44:04.000+0000"}}]}',
    "alertmanager": b'{"version":"4","alerts":[{"labels":{"alertname":"a"},"startsAt":"2023-01-29T08:44:04Z"}]}',
    "cloudwatch_alarms": b'{"MetricAlarms":[{"AlarmName":"a","StateValue":"OK"}]}',
    "deploys": b'[{"deploy_id":"1","deployed_at":"2023-01-29T08:44:04Z"}]',
    "image_tag_bumps": b"app,commit,unix_ts,prev_tag,tag\n",
    "github_deployments": b'[{"url":"u","id":1,"sha":"a","task":"deploy","statuses_url":"u"}]',
    "argocd": b'{"apiVersion":"v1","items":[{"apiVersion":"argoproj.io/v1alpha1","kind":"Application"}]}',
    "git_history": b'{"type":"export","repository":"shop","refs":{}}\n',
    "feature_flags": b'[{"flag":"f","changed_at":"2023-01-29T08:44:04Z","to":true}]',
    "launchdarkly": b'{"items":[{"_id":"1","date":1674981844000,"titleVerb":"turned on the flag"}]}',
    "configuration_changes": b'[{"key":"k","changed_at":"2023-01-29T08:44:04Z","to":1}]',
    "container_logs": b"2023-01-29T08:44:04.123456789Z stdout F ready\n",
    "cloudwatch_logs": b"2023-01-29T08:44:04.123Z ready\n",
    "syslog": b"<34>1 2023-01-29T08:44:04Z host app - - - ready\n",
    "logfmt": b'time=2023-01-29T08:44:04Z level=info msg="ready to serve"\n',
    "json_lines": b'{"timestamp":"2023-01-29T08:44:04Z","level":"info","message":"ready"}\n',
}


EXAMPLES = sorted((Path(__file__).parent / "examples").iterdir())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_of_its_format_and_of_no_other(path):
    start = head(path)
    claims = [
        known.name
        for known in FORMATS.values()
        if known.recognises(start) or (known.recognises_file is not None and known.recognises_file(path))
    ]
    assert claims == [path.stem]


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("packed", [False, True])
def test_a_format_is_known_by_its_content_alone(tmp_path, name, packed):
    path = tmp_path / "whatever.txt"
    path.write_bytes(gzip.compress(CONTENTS[name]) if packed else CONTENTS[name])
    found = recognise(path)
    assert found is not None
    assert found.name == name
    assert [known.name for known in FORMATS.values() if known.recognises(CONTENTS[name])] == [name]


@pytest.mark.parametrize(
    "content",
    [
        b"Apache License",
        b'[{"incident_id":"1","injected_at":"x"}]',
        b"source,target\na,b\n",
        b"\x00\x01",
        b"PK\x03\x04",
        b"\x1f\x8b",
    ],
)
def test_anything_else_is_left_out(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    found = recognise_all([tmp_path])
    assert found.files == ()
    assert [left.path.name for left in found.left_out] == ["file"]


def test_an_empty_file_is_known_by_its_name(tmp_path):
    for name in ("traces.otlp.jsonl.gz", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    found = recognise_all([tmp_path])
    assert [file.format.name for file in found.files] == ["otlp_traces"]


def test_hidden_files_and_second_names_are_passed_by(tmp_path):
    (tmp_path / ".hidden").write_bytes(CONTENTS["incidents"])
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "a").write_bytes(CONTENTS["incidents"])
    (tmp_path / "a").write_bytes(CONTENTS["incidents"])
    (tmp_path / "b").symlink_to(tmp_path / "a")
    found = recognise_all([tmp_path, tmp_path / "a"])
    assert [file.path.name for file in found.files] == ["a"]
    assert found.left_out == ()


def test_paths_in_the_project_are_recorded_relative_to_it(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_bytes(CONTENTS["incidents"])
    (file,) = recognise_all([tmp_path / "in"], project_root=tmp_path).files
    assert file.ledger_path == "in/a"
    (file,) = recognise_all([tmp_path / "in"], project_root=tmp_path / "elsewhere").files
    assert file.ledger_path == str((tmp_path / "in" / "a").resolve())


def test_a_path_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        recognise_all([tmp_path / "nowhere"])


def test_the_samples_are_recognised_and_only_papers_and_scripts_are_not():
    found = recognise_all([SAMPLES])
    assert {file.format.name for file in found.files} == {
        "otlp_traces", "otlp_logs", "prometheus", "incidents", "pagerduty", "servicenow", "deploys",
    }  # fmt: skip
    assert {left.path.suffix for left in found.left_out} <= {"", ".md", ".py"}
