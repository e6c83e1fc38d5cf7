"""Of a record that was sent several times the newest counts: by its own clock, else by the place of its load."""

import json

import pytest

LOADS = """
insert into audit.loads by name
select
    load_id, replaces, 'a' as source, 'x' as format, load_id::varchar as path, 'x' as sha256, 'loaded' as status,
    0 as file_bytes, 0 as decoded_bytes, 0 as records_read, 0 as records_landed, 0 as records_rejected,
    []::varchar[] as unknown_fields, []::date[] as event_days, timestamp '2024-01-01' as started_at,
    timestamp '2024-01-01' as finished_at, '1' as code_version
from (values (1, null), (2, null), (3, 1)) as loads (load_id, replaces)
"""
# Load 3 is load 1 read again.
AT = {"old": "2024-01-01T10:00:00.000+0000", "new": "2024-01-01T11:00:00.000+0000"}
CLOCKS = {
    "jira": [{"fields": {"summary": name, "updated": at}} for name, at in AT.items()],
    "pagerduty": [{"title": name, "type": "incident", "last_status_change_at": at} for name, at in AT.items()],
    "alertmanager": [{"status": "firing", "annotations": {"summary": name}} for name in AT],
}


@pytest.mark.parametrize("system", CLOCKS)
@pytest.mark.parametrize("has_clock", [True, False])
def test_an_older_ticket_that_is_read_again_is_no_news(shared_project, warehouse, system, has_clock):
    old, new = CLOCKS[system]
    if not has_clock:
        old, new = json.loads(
            json.dumps([old, new]).replace("updated", "other").replace("last_status_change_at", "other")
        )
    _ledger(warehouse)
    for load, payload in ((3, old), (2, new)):
        text = json.dumps(payload)
        warehouse.write(
            f"insert into raw.tickets by name select {load} as load_id, 1 as line, 1 as record, '{system}' as system,"
            f" 'A' as ticket_id, '{text}'::json as payload"
        )
    model = f"stg_{system}__incidents"
    shared_project.run(warehouse, "run", "-s", model)
    assert warehouse.rows(f"select title, load_id from staging.{model}") == [("new", 2)]


def test_an_older_deploy_or_incident_that_is_read_again_is_no_news(shared_project, warehouse):
    _ledger(warehouse)
    for load, version in ((3, "old"), (2, "new")):
        deploy = json.dumps(
            {"deploy_id": "A", "service": "shop", "version": version, "deployed_at": "2024-01-01T10:00:00Z"}
        )
        warehouse.write(
            f"insert into raw.deploys by name select {load} as load_id, 1 as line, 1 as record, 'deploys' as system,"
            f" '{deploy}'::json as payload"
        )
        incident = json.dumps({"title": version})
        warehouse.write(
            f"insert into raw.incidents by name select {load} as load_id, 1 as line, 1 as record, 'A' as incident_id,"
            f" '{incident}'::json as payload"
        )
    shared_project.run(warehouse, "run", "-s", "+stg_deploys", "stg_incidents")
    assert warehouse.rows("select version, load_id from staging.stg_deploys") == [("new", 2)]
    assert warehouse.rows("select title, load_id from staging.stg_incidents") == [("new", 2)]


def _ledger(warehouse):
    warehouse.write(LOADS)
