"""Deploys of several systems, commits, flags and configuration, from what was sent to one list in order of time."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import pytest

from dagster_project.sources.registry import FORMATS
from dagster_project.warehouse.connection import connect
from dagster_project.warehouse.landing import InputFile, land

RECORDINGS = (
    Path(os.environ.get("HINDCAST_RECORDINGS", Path(__file__).parents[3] / "shared" / "data")) / "govuk-deploys"
)
MODELS = ("run", "-s", "+int_changes", "stg_commit_files")
TESTED = ("build", "-s", "+int_changes", "stg_commit_files", "--exclude", "resource_type:unit_test")

# Every JSON type where another is meant, and texts that only look like what is meant.
HOSTILE = [{}, {"at": 1}, [], [[]], [None], ["x"], [{"path": []}], [{"state": {}, "created_at": []}], "x", "", 1, -1,
           1e300, 2**63, True, None, "infinity", "290000-01-01", "v" + "9" * 400, "1.2.3", "\u0661"]  # fmt: skip
SHA = "a" * 40
AT = "2024-01-01T10:00:00Z"
DEPLOY = {"deploy_id": "d", "service": "shop", "version": "v2", "previous_version": "v1", "deployed_at": AT,
          "commit": SHA, "environment": "live", "status": "ok", "is_rollback": False}  # fmt: skip
GITHUB = {"url": "https://api.example.org/repos/o/shop/deployments/1", "id": 1, "sha": SHA, "ref": "v2",
          "task": "deploy", "environment": "live", "created_at": AT,
          "statuses": [{"state": "success", "created_at": AT}]}  # fmt: skip
STATUS = {"deployment_url": GITHUB["url"], "id": 1, "state": "success", "created_at": AT}
ARGOCD = {"metadata": {"name": "shop", "labels": {"env": "live"}}, "spec": {"destination": {"namespace": "live"}},
          "entry": {"id": 1, "revision": SHA, "deployedAt": AT}}  # fmt: skip
BUMP = {"app": "shop", "commit": SHA, "unix_ts": "1704103200", "prev_tag": "v1", "tag": "v2"}
COMMIT = {"type": "commit", "repository": "shop", "sha": SHA, "parents": [], "author_id": None, "authored_at": AT,
          "committed_at": AT, "subject": "s", "body": "b", "is_boundary": False, "reverts": ["b" * 7], "file_count": 1,
          "additions": 1, "deletions": 0, "files": [{"path": "a", "status": "added", "additions": 1}]}  # fmt: skip
TAG = {"type": "tag", "repository": "shop", "name": "v1", "sha": SHA, "is_annotated": True, "tagged_at": AT}
FLAG = {"flag": "till", "environment": "live", "changed_at": AT, "from": False, "to": True, "service": "shop"}
DARKLY = {"_id": "x", "date": 1704103200000, "kind": "flag", "name": "Till", "titleVerb": "turned on",
          "accesses": [{"resource": "proj/shop:env/live:flag/till"}]}  # fmt: skip
SETTING = {"key": "pool", "environment": "live", "changed_at": AT, "from": 1, "to": 2, "service": "shop"}


def spoilt(usual, *, required=()):
    return [usual] + [usual | {field: value} for field in usual if field not in required for value in HOSTILE]


def test_a_field_of_another_type_fails_no_build(shared_project, warehouse):
    """What the formats demand is there; every other field is wrong in every way, one at a time."""
    deploys = {
        "deploys": (DEPLOY, ("deploy_id",)), "github_deployments": (GITHUB, ("url", "id")),
        "github_deployment_statuses": (STATUS, ()), "argocd": (ARGOCD, ("metadata", "entry")),
        "image_tag_bumps": (BUMP, ("app", "tag")),
    }  # fmt: skip
    for system, (usual, required) in deploys.items():
        warehouse.insert_payloads("deploys", numbered(spoilt(usual, required=required)), system=system)
    entries = [ARGOCD | {"entry": entry} for entry in spoilt(ARGOCD["entry"], required=("id", "deployedAt"))]
    warehouse.insert_payloads("deploys", entries, system="argocd")
    changes = {
        "git_commit": (COMMIT, ("repository", "sha")), "git_tag": (TAG, ("repository", "name", "sha")),
        "feature_flag": (FLAG, ()), "launchdarkly": (DARKLY, ()), "configuration": (SETTING, ()),
    }  # fmt: skip
    for system, (usual, required) in changes.items():
        sent = [each | {"change": f"{system}-{n}"} for n, each in enumerate(spoilt(usual, required=required))]
        if system in ("git_commit", "git_tag"):
            sent = [each | {"repository": f"{n}"} for n, each in enumerate(sent)]
        warehouse.insert_payloads("changes", sent, system=system, change_id="change")
    shared_project.run(warehouse, *TESTED)
    found = dict(warehouse.rows("select kind, count(*) from intermediate.int_changes group by all"))
    assert set(found) == {"deploy", "rollback", "commit", "tag", "flag", "configuration"}
    assert warehouse.rows("select count(*) from staging.stg_commits") == [
        (len(spoilt(COMMIT, required=("repository", "sha"))),)
    ]


def numbered(payloads):
    return [payload | {"deploy_id": f"d{number}"} if "deploy_id" in payload else payload
            for number, payload in enumerate(payloads)]  # fmt: skip


def test_commits_files_reverts_and_tags_come_out_typed(shared_project, warehouse):
    bad, good = "b" * 40, "c" * 40
    commits = [
        COMMIT | {"sha": bad, "reverts": [], "change": f"shop@{bad}", "files": [
            {"path": "a", "old_path": None, "status": "added", "additions": 3, "deletions": 0},
            {"path": "logo", "old_path": "icon", "status": "renamed", "additions": None, "deletions": None}]},
        COMMIT | {"sha": good, "reverts": [bad[:9]], "committed_at": "2024-01-01T11:00:00Z", "change": f"shop@{good}",
                  "parents": [bad], "files": []},
    ]  # fmt: skip
    warehouse.insert_payloads("changes", commits, system="git_commit", change_id="change")
    warehouse.insert_payloads("changes", [TAG | {"change": "shop@v1"}], system="git_tag", change_id="change")
    shared_project.run(warehouse, *TESTED)
    assert warehouse.rows(
        "select path, old_path, status, additions from staging.stg_commit_files order by path"
    ) == [("a", None, "added", 3), ("logo", "icon", "renamed", None)]  # fmt: skip
    assert warehouse.rows(
        "select reverting_commit_id, reverted_commit_id, stood_seconds from intermediate.int_commit_reverts"
    ) == [(f"shop@{good}", f"shop@{bad}", 3600)]
    assert warehouse.rows("select kind, reference, reverted_by from intermediate.int_changes order by all") == [
        ("commit", f"shop@{bad}", f"shop@{good}"), ("commit", f"shop@{good}", None), ("tag", "shop@v1", None),
    ]  # fmt: skip


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no recordings in {RECORDINGS}: set HINDCAST_RECORDINGS")
def test_every_deploy_and_rollback_of_the_recording_is_counted_once(shared_project, warehouse):
    files = [RECORDINGS / "deploys.csv.gz", RECORDINGS / "rollbacks.csv"]
    with connect(warehouse.path) as connection:
        landed = land(connection, [InputFile(path, FORMATS["image_tag_bumps"]) for path in files])
    with gzip.open(files[0], "rt") as text:
        bumps = {(row["app"], row["tag"], row["unix_ts"]) for row in csv.DictReader(text)}
    with files[1].open() as text:
        back = {(row["app"], row["to_tag"], row["unix_ts"]) for row in csv.DictReader(text)}
    assert landed.records_landed == len(bumps) + len(back) == 16_167 + 107
    assert back < bumps
    shared_project.run(warehouse, *TESTED)
    assert warehouse.rows("select count(*), count(deployed_at) from staging.stg_deploys") == [(len(bumps), len(bumps))]
    assert warehouse.rows("select count(*) from staging.stg_deploys where rollback_basis = 'said'") == [(len(back),)]
    # Without the list, the versions alone tell the same 107; the others have no numbers.
    warehouse.write("delete from raw.deploys where system = 'image_tag_rollbacks'")
    shared_project.run(warehouse, *MODELS)
    assert dict(warehouse.rows(
        "select rollback_basis, count(*) from staging.stg_deploys where is_rollback group by all"
    )) == {"lower_number": len(back), "deployed_earlier": 43}  # fmt: skip
    rows = warehouse.rows(
        "select service_name, version, cast(epoch(deployed_at) as bigint)::varchar from staging.stg_deploys"
        " where rollback_basis = 'lower_number'"
    )
    assert set(rows) == back
