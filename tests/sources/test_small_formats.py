"""Deploys: what lands as it was sent, and what is refused with a reason."""

from __future__ import annotations

import json

import pytest

# --- deploys ----------------------------------------------------------------------------------------------------------

DEPLOY = {"deploy_id": "D1", "service": "shop", "version": "2", "deployed_at": "2023-01-28T10:00:00Z"}


def test_deploys_land_from_json_and_from_csv_alike(land_bytes):
    table = "\n".join([",".join(DEPLOY), ",".join(DEPLOY.values()), ""]).encode()
    from_json = land_bytes("deploys", json.dumps([DEPLOY]).encode(), "a.json")
    from_csv = land_bytes("deploys", table, "a.csv")
    assert json.loads(from_json.rows[0]["payload"]) == json.loads(from_csv.rows[0]["payload"]) == DEPLOY
    assert (from_json.rows[0]["line"], from_csv.rows[0]["line"]) == (1, 2)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("service", None, "id_missing"), ("deploy_id", "", "id_missing"), ("deployed_at", "now", "time_malformed")],
)
def test_a_bad_deploy_is_refused(land_bytes, name, value, reason):
    landed = land_bytes("deploys", json.dumps([DEPLOY, DEPLOY | {name: value}]).encode())
    assert landed.reasons == [(2, 1, reason)]
