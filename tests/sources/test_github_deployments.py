"""GitHub's deployments and statuses, invented after the shape of its REST documentation."""

from __future__ import annotations

import json

import pytest

from dagster_project.sources.changes.github_deployments import FORMAT
from dagster_project.sources.format import ReadOptions

API = "https://api.github.com/repos/invented/shop/deployments"
CREATOR = {"login": "ann-invented", "id": 1}
STATUS = {
    "url": f"{API}/42/statuses/1", "id": 1, "state": "success", "creator": CREATOR,
    "created_at": "2024-01-02T10:05:00Z", "deployment_url": f"{API}/42",
}  # fmt: skip
DEPLOYMENT = {
    "url": f"{API}/42", "id": 42, "sha": "a" * 40, "ref": "v1.2.0", "task": "deploy", "payload": {},
    "environment": "production", "creator": CREATOR, "created_at": "2024-01-02T10:00:00Z",
    "updated_at": "2024-01-02T10:05:00Z", "statuses_url": f"{API}/42/statuses",
    "repository_url": "https://api.github.com/repos/invented/shop",
}  # fmt: skip


def dumped(*objects: object) -> bytes:
    return json.dumps(objects).encode()


def test_deployments_and_statuses_land_without_people(land_bytes):
    nested = DEPLOYMENT | {"statuses": [STATUS]}
    landed = land_bytes("github_deployments", dumped(DEPLOYMENT, STATUS, nested))
    assert [(row["line"], row["system"]) for row in landed.rows] == [
        (1, "github_deployments"), (2, "github_deployment_statuses"), (3, "github_deployments"),
    ]  # fmt: skip
    assert not any("ann-invented" in row["payload"] for row in landed.rows)
    assert json.loads(landed.rows[2]["payload"])["statuses"][0]["state"] == "success"
    assert [str(day) for day in landed.outcome.event_days] == ["2024-01-02"]


@pytest.mark.parametrize(
    "content",
    [
        dumped(DEPLOYMENT),
        json.dumps(DEPLOYMENT).encode(),
        json.dumps({"deployments": [DEPLOYMENT]}).encode(),
        json.dumps([DEPLOYMENT], indent=2).encode(),
    ],
)
def test_pages_and_single_objects_are_read_alike(land_bytes, content):
    landed = land_bytes("github_deployments", content)
    assert [json.loads(row["payload"])["id"] for row in landed.rows] == [42]
    assert FORMAT.recognises(content)


def test_pages_one_after_the_other_and_lines_are_read(land_bytes):
    pages = dumped(DEPLOYMENT) + b"\n" + dumped(DEPLOYMENT | {"id": 43})
    lines = b"\n".join(json.dumps(DEPLOYMENT | {"id": number}).encode() for number in (42, 43))
    for name, content in (("pages", pages), ("lines", lines)):
        landed = land_bytes("github_deployments", content, name)
        assert [json.loads(row["payload"])["id"] for row in landed.rows] == [42, 43]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (DEPLOYMENT | {"id": None}, "id_missing"),
        (DEPLOYMENT | {"sha": ""}, "id_missing"),
        (DEPLOYMENT | {"created_at": None}, "time_missing"),
        (DEPLOYMENT | {"created_at": 17}, "time_malformed"),
        (DEPLOYMENT | {"statuses": [3]}, "structure"),
        (DEPLOYMENT | {"statuses": {}}, "structure"),
        (DEPLOYMENT | {"url": "nowhere"}, "field_malformed"),
        (STATUS | {"state": None}, "id_missing"),
        (STATUS | {"deployment_url": 42}, "field_malformed"),
        ("x", "structure"),
    ],
)
def test_a_bad_one_is_refused_alone(land_bytes, bad, reason):
    landed = land_bytes("github_deployments", dumped(DEPLOYMENT, bad, STATUS))
    assert [row["line"] for row in landed.rows] == [1, 3]
    assert landed.reasons == [(2, 1, reason)]


@pytest.mark.parametrize(("content", "reason"), [(b"{", "not_json"), (b'{"message": "Not Found"}', "other_format")])
def test_another_document_has_failed(land_bytes, content, reason):
    landed = land_bytes("github_deployments", content)
    assert (landed.outcome.status, landed.reasons[0][2]) == ("failed", reason)


def test_a_source_may_name_the_service(tmp_path, land_bytes):
    path = tmp_path / "named"
    path.write_bytes(dumped(DEPLOYMENT))
    (batch,) = (each for each in FORMAT.with_options(ReadOptions(service_name="till")).open(path) if each.records)
    assert json.loads(batch.tables["json_objects"]["payload"][0].as_py())["service"] == "till"
