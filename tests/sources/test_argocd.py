"""Argo CD applications, invented after the shape of its Application resource."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dagster_project.sources.changes.argocd import FORMAT

ENTRY = {
    "id": 3, "revision": "a" * 40, "deployedAt": "2024-01-02T10:00:00Z", "deployStartedAt": "2024-01-02T09:59:58Z",
    "initiatedBy": {"username": "ann-invented"},
    "source": {"repoURL": "https://git.example.org/charts.git", "path": "shop", "targetRevision": "main"},
}  # fmt: skip


def application(*history: object, **changes: Any) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": "shop", "namespace": "argocd", "labels": {"env": "production"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": '{"password":"hunter2"}'},
        },
        "spec": {"project": "web", "destination": {"namespace": "shop"}, "source": {"helm": {"values": "hunter2"}}},
        "status": {"history": list(history)},
    } | changes  # fmt: skip


def listed(*items: object, **options: Any) -> bytes:
    return json.dumps({"apiVersion": "v1", "items": items, "kind": "List"}, **options).encode()


def test_every_entry_of_a_history_is_a_row(land_bytes):
    later = ENTRY | {"id": 4, "deployedAt": "2024-01-05T10:00:00Z"}
    content = listed(application(ENTRY, later), application(), application(ENTRY, metadata={"name": "till"}))
    landed = land_bytes("argocd", content)
    found = [json.loads(row["payload"]) for row in landed.rows]
    assert [(row["line"], row["record"]) for row in landed.rows] == [(1, 1), (1, 2), (3, 1)]
    assert [(each["metadata"]["name"], each["entry"]["id"]) for each in found] == [
        ("shop", 3),
        ("shop", 4),
        ("till", 3),
    ]
    assert {row["system"] for row in landed.rows} == {"argocd"}
    assert [str(day) for day in landed.outcome.event_days] == ["2024-01-02", "2024-01-05"]
    assert not any(word in row["payload"] for row in landed.rows for word in ("hunter2", "ann-invented"))


@pytest.mark.parametrize(
    "content",
    [
        listed(application(ENTRY)),
        listed(application(ENTRY), indent=4),
        json.dumps([application(ENTRY)]).encode(),
        json.dumps(application(ENTRY), indent=2).encode(),
        json.dumps(application(ENTRY)).encode(),
    ],
)
def test_lists_and_single_applications_are_read_alike(land_bytes, content):
    landed = land_bytes("argocd", content)
    assert len(landed.rows) == 1
    assert landed.reasons == []
    assert FORMAT.recognises(content)


@pytest.mark.parametrize(
    ("bad", "record", "reason"),
    [
        (application(ENTRY | {"id": None}), 1, "id_missing"),
        (application(ENTRY | {"revision": None}), 1, "id_missing"),
        (application(ENTRY | {"deployedAt": "soon"}), 1, "time_malformed"),
        (application("x"), 1, "structure"),
        (application(ENTRY, metadata={}), None, "id_missing"),
        (application(ENTRY, metadata=[]), None, "structure"),
        (application(ENTRY, kind="AppProject"), None, "other_format"),
        (application(ENTRY, status={"history": 3}), None, "structure"),
        (application(ENTRY, spec="x"), None, "structure"),
        ([], None, "structure"),
    ],
)
def test_a_bad_one_is_refused_alone_and_shows_no_secret(land_bytes, bad, record, reason):
    landed = land_bytes("argocd", listed(application(ENTRY), bad, application(ENTRY)))
    assert [row["line"] for row in landed.rows] == [1, 3]
    assert landed.reasons == [(2, record, reason)]
    assert "hunter2" not in (landed.refusals[0]["raw"] or "")


def test_several_sources_need_no_single_revision(land_bytes):
    entry = {name: value for name, value in ENTRY.items() if name != "revision"} | {"revisions": ["a" * 40, "1.2.3"]}
    assert len(land_bytes("argocd", listed(application(entry))).rows) == 1


@pytest.mark.parametrize("content", [b"{", b"3", b'{"kind": "Pod", "metadata": {"name": "x"}}', b'{"items": [3]}'])
def test_another_document_has_failed(land_bytes, content):
    assert land_bytes("argocd", content).outcome.status == "failed"


def test_applications_that_never_deployed_are_an_empty_file(land_bytes):
    for name, content in (("a", listed()), ("b", listed(application())), ("c", json.dumps(application()).encode())):
        assert land_bytes("argocd", content, name).outcome.status == "empty"
