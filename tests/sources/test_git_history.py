"""Lines of an exported repository: what lands, what is refused alone, what is no record."""

from __future__ import annotations

import gzip
import json
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dagster_project.extraction.git_repository import extract
from dagster_project.sources.declaration import GitRepository

SHA = "a" * 40
COMMIT = {
    "type": "commit", "repository": "shop", "sha": SHA, "parents": [], "committed_at": "2024-01-02T10:00:00Z",
    "reverts": [], "files": [{"path": "a", "status": "added"}],
}  # fmt: skip
TAG = {"type": "tag", "repository": "shop", "name": "v1", "sha": SHA, "tagged_at": "2024-01-03T10:00:00Z"}
STATE = {"type": "export", "refs": {"HEAD": SHA}, "version": 1}


def jsonl(*objects: object) -> bytes:
    return b"".join(json.dumps(each, separators=(",", ":")).encode() + b"\n" for each in objects)


def test_commits_and_tags_land_under_their_ids_and_the_state_is_no_record(land_bytes):
    landed = land_bytes("git_history", gzip.compress(jsonl(STATE, TAG, COMMIT)))
    assert [(row["line"], row["system"], row["change_id"]) for row in landed.rows] == [
        (2, "git_tag", "shop@v1"), (3, "git_commit", f"shop@{SHA}"),
    ]  # fmt: skip
    assert json.loads(landed.rows[1]["payload"]) == COMMIT
    assert [str(day) for day in landed.outcome.event_days] == ["2024-01-02", "2024-01-03"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": "blob"}, "enum_unknown"),
        ({"type": None}, "enum_unknown"),
        ({"repository": ""}, "id_missing"),
        ({"sha": None}, "id_missing"),
        ({"sha": "A" * 40}, "field_malformed"),
        ({"sha": "a" * 39}, "field_malformed"),
        ({"committed_at": None}, "time_missing"),
        ({"committed_at": "@99999999999999"}, "time_malformed"),
        ({"committed_at": "1970-01-01T00:00:00Z"}, "time_out_of_range"),
        ({"files": {}}, "structure"),
        ({"files": ["a"]}, "structure"),
        ({"parents": [1]}, "structure"),
        ({"reverts": "x"}, "structure"),
    ],
)
def test_a_bad_line_is_refused_alone(land_bytes, changes, reason):
    landed = land_bytes("git_history", jsonl(COMMIT, COMMIT | changes, COMMIT | {"sha": "b" * 40}))
    assert [row["line"] for row in landed.rows] == [1, 3]
    assert landed.reasons == [(2, 1, reason)]


def test_lines_that_are_no_objects_are_refused(land_bytes):
    landed = land_bytes("git_history", jsonl(STATE, COMMIT, COMMIT, COMMIT, COMMIT) + b"{\n[]\n3\n")
    assert [row["line"] for row in landed.rows] == [2, 3, 4, 5]
    assert landed.reasons == [(6, None, "not_json"), (7, 1, "structure"), (8, 1, "structure")]


def test_a_damaged_first_line_costs_that_line_alone(land_bytes):
    landed = land_bytes("git_history", jsonl(STATE)[1:] + jsonl(TAG, COMMIT))
    assert [row["line"] for row in landed.rows] == [2, 3]
    assert landed.reasons == [(1, None, "not_json")]


def test_a_file_with_a_state_alone_is_empty(land_bytes):
    assert land_bytes("git_history", jsonl(STATE)).outcome.status == "empty"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.binary(max_size=60), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from([*COMMIT, "name", "x"]), inner, max_size=4), max_leaves=8,
).map(lambda value: json.dumps(value).encode())), max_size=6))  # fmt: skip
def test_no_bytes_end_a_load(land_bytes, parts):
    landed = land_bytes("git_history", b"\n".join([jsonl(COMMIT).strip(), *parts]))
    assert landed.outcome.status in ("loaded", "failed", "unchanged", "duplicate")
    assert landed.outcome.message is None or "Error" not in landed.outcome.message


def test_an_export_of_a_real_repository_lands_whole(land_bytes, tmp_path):
    repository = tmp_path / "shop"
    git = ["git", "-C", str(repository), "-c", "user.name=Ann Invented", "-c", "user.email=ann@example.org"]
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    for number in range(3):
        (repository / "a").write_text(f"{number}\n")
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-q", "-m", f"{number}"], check=True)
    subprocess.run([*git, "tag", "v1"], check=True)
    found = extract("shop", GitRepository(repository=str(repository)), tmp_path / "out")
    landed = land_bytes("git_history", found.written[0].read_bytes())
    assert [row["system"] for row in landed.rows] == ["git_tag", *["git_commit"] * 3]
    assert landed.reasons == []
