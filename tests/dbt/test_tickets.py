"""Rules see the tickets of every system, as `int_incidents` settles them; a night and a question alike."""

import pytest

from dagster_project.replay.query import replay
from dagster_project.rule_language import load_catalogue
from dagster_project.rule_language.dbt.models import generate
from dagster_project.warehouse.connection import connect

RULE = """
id: {id}
title: {id}
severity: low
owner: shop
{says}
tests:
  - {{name: a, verdict: violated, {bad}}}
  - {{name: b, verdict: {good}}}
"""
CATALOGUE = load_catalogue(
    {
        "rules/shop/near-a-ticket.yml": RULE.format(
            id="near-a-ticket",
            says='never: any(span("pay") near ticket() within 1h)',
            bad="spans: [{name: pay, service: shop}], tickets: [{service: shop}]",
            good="satisfied, spans: [{name: pay, service: shop}]",
        ),
        "rules/shop/usual.yml": RULE.format(
            id="usual",
            says='always: count(span("pay")) by service <= 1 * baseline(2d, at least 1)',
            bad="from: 1h, spans: [{name: pay, at: 0}, {name: pay, at: 1h}, {name: pay, at: 3601s}]",
            good="satisfied, from: 1h, spans: [{name: pay, at: 0}, {name: pay, at: 1h}]",
        ),
    }
)
PAGE = {"id": "PT1", "type": "incident", "created_at": "2024-01-01T10:10:00Z", "resolved_at": "2024-01-01T10:20:00Z",
        "service": {"summary": "shop"}}  # fmt: skip
ISSUE = {"key": "OPS-1", "fields": {"created": "2024-01-01T10:10:00.000+0000", "components": [{"name": "shop"}],
         "issuetype": {"name": "Incident"}}}  # fmt: skip
SERVICENOW = {"number": "INC45", "opened_at": "2024-01-01 10:10:00", "cmdb_ci": "shop",
              "resolved_at": "2024-01-01 10:20:00"}  # fmt: skip
FILED = {"incident_id": "INC-1", "service": "shop", "created_at": "2024-01-01T10:10:00Z",
         "resolved_at": "2024-01-01T10:20:00Z"}  # fmt: skip
SENT = {
    "pagerduty": ("tickets", PAGE, {"system": "pagerduty", "ticket_id": "id"}),
    "jira": ("tickets", ISSUE, {"system": "jira", "ticket_id": "key"}),
    "servicenow": ("tickets", SERVICENOW, {"system": "servicenow", "ticket_id": "number"}),
    "incidents, with no more than when the record was made": ("incidents", FILED, {"incident_id": "incident_id"}),
}


@pytest.fixture
def project(own_project):
    for name, text in generate(CATALOGUE).items():
        (own_project.root / name).write_text(text)
    own_project.manifest = None
    return own_project


def run(project, warehouse, **window):
    return project.run(warehouse, "run", "--select", "+fct_verdicts", "+int_incidents", **window)


def verdicts(warehouse, rule):
    """Of the scopes that the nights judged; the same as a question says that is asked now."""
    found = warehouse.rows(
        "select scope_key, verdict from violations.fct_verdicts"
        f" where rule_id = '{rule}' and verdict <> 'satisfied' order by scope_key"
    )
    with connect(warehouse.path, read_only=True) as connection:
        certificate = replay(connection, next(each for each in CATALOGUE if each.id == rule)).certificate
    assert certificate.violated == sum(verdict == "violated" for _key, verdict in found)
    assert certificate.inconclusive == sum(verdict == "inconclusive" for _key, verdict in found)
    return found


@pytest.mark.parametrize(("table", "payload", "columns"), SENT.values(), ids=SENT.keys())
def test_a_span_is_near_a_ticket_of_any_system(project, warehouse, table, payload, columns):
    warehouse.insert_spans([{"name": "pay"}, {"trace": 2, "name": "pay", "service": "bank"}])
    warehouse.insert_payloads(table, [payload], **columns)
    run(project, warehouse)
    assert verdicts(warehouse, "near-a-ticket") == [("00000000-0000-0000-0000-000000000001", "violated")]


def test_what_a_ticket_says_now_judges_again(project, warehouse):
    warehouse.insert_spans([{"name": "pay"}])
    warehouse.insert_payloads("tickets", [PAGE], system="pagerduty", ticket_id="id")
    run(project, warehouse)
    assert len(verdicts(warehouse, "near-a-ticket")) == 1

    # Of another service; nothing of the day of the span came in.
    warehouse.write('update raw.tickets set payload = json_merge_patch(payload, \'{"service": {"summary": "bank"}}\')')
    run(project, warehouse, replay_from="2024-01-05", replay_until="2024-01-06")
    assert verdicts(warehouse, "near-a-ticket") == []


def test_hours_of_any_system_s_incidents_are_no_baseline(project, warehouse):
    # Two payments in the quiet hour, one in the hour of the page, two in the hour that is judged.
    warehouse.insert_spans(
        [
            {"trace": trace, "name": "pay", "at": f"2024-01-01 {at}"}
            for trace, at in enumerate(("08:00:00", "08:30:00", "10:15:00", "11:00:00", "11:30:00"), start=1)
        ]
    )
    judged = '["shop","2024-01-01T11:00:00Z"]'
    run(project, warehouse)
    assert (judged, "violated") in verdicts(warehouse, "usual")  # two against the mean of 2 and 1

    warehouse.insert_payloads("tickets", [PAGE], system="pagerduty", ticket_id="id")
    run(project, warehouse, replay_from="2024-01-05", replay_until="2024-01-06")
    assert judged not in dict(verdicts(warehouse, "usual"))


ALERT = {"id": "ab@1", "status": "firing", "labels": {"alertname": "Slow", "service": "shop"},
         "startsAt": "2024-01-01T08:00:00Z"}  # fmt: skip


@pytest.mark.parametrize(
    ("payload", "columns"),
    [
        pytest.param(ALERT, {"system": "alertmanager", "ticket_id": "id"}, id="alerts come all day"),
        pytest.param(
            SERVICENOW | {"cmdb_ci": "", "opened_at": "2024-01-01 08:00:00", "resolved_at": ""},
            {"system": "servicenow", "ticket_id": "number"},
            id="a ticket that names no service is not of all",
        ),
        pytest.param(
            SERVICENOW | {"opened_at": "2024-01-01 05:00:00", "resolved_at": "", "closed_at": "2024-01-01 06:00:00"},
            {"system": "servicenow", "ticket_id": "number"},
            id="closed is over",
        ),
    ],
)
def test_quiet_hours_stay_a_baseline(project, warehouse, payload, columns):
    warehouse.insert_spans(
        [
            {"trace": trace, "name": "pay", "at": f"2024-01-01 {at}"}
            for trace, at in enumerate(("08:00:00", "09:00:00", "09:30:00"), start=1)
        ]
    )
    warehouse.insert_payloads("tickets", [payload], **columns)
    run(project, warehouse)
    assert ('["shop","2024-01-01T09:00:00Z"]', "violated") in verdicts(warehouse, "usual")
