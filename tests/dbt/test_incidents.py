"""Incidents of all systems from what was sent to durations, and what telemetry says about their windows."""

import csv
import io
import os
import zipfile
from collections import defaultdict
from datetime import datetime
from pathlib import Path

import pytest

from dagster_project.sources.registry import FORMATS
from dagster_project.warehouse.connection import connect
from dagster_project.warehouse.landing import InputFile, land

RECORDINGS = Path(os.environ.get("HINDCAST_RECORDINGS", Path(__file__).parents[3] / "shared" / "data"))

INCIDENT = {
    "incident_id": "INC-1", "title": "Slow", "severity": "P2", "service": "shop",
    "created_at": "2024-01-01T10:00:00Z", "resolved_at": "2024-01-01T11:00:00Z",
}  # fmt: skip
PAGE = {
    "id": "PT1", "type": "incident", "incident_key": "INC-1", "title": "Slow page", "status": "resolved",
    "created_at": "2024-01-01T12:00:30+02:00", "resolved_at": "2024-01-01T10:50:00Z", "teams": [{"summary": "web"}],
}  # fmt: skip
ACKNOWLEDGED = {"type": "acknowledge_log_entry", "created_at": "2024-01-01T10:05:00Z", "incident": {"id": "PT1"}}
TICKET = {
    "number": "0000045", "sys_mod_count": "2", "sys_updated_at": "5/3/2016 12:00", "ident_state": "Closed",
    "priority": "3", "cmdb_ci": "?", "assignment_group": "56", "category": "55", "category_1": "170",
    "closed_code": "5", "opened_at": "29/2/2016 01:16", "resolved_at": "29/2/2016 11:29",
    "closed_at": "5/3/2016 12:00", "reopen_count": "0",
}  # fmt: skip


def insert_incidents(warehouse):
    warehouse.insert_payloads(
        "incidents",
        [
            INCIDENT,
            INCIDENT | {"incident_id": "INC-2", "resolved_at": "2024-01-01T09:59:59Z", "severity": "SEV-1"},
            INCIDENT | {"incident_id": "INC-3", "resolved_at": None, "created_at": "2024-01-01T13:00:00+01:00"},
            INCIDENT | {"incident_id": "INC-4", "created_at": "yesterday", "severity": "whatever"},
        ],
        incident_id="incident_id",
    )
    warehouse.insert_payloads("tickets", [PAGE, ACKNOWLEDGED | {"id": "PT1"}], system="pagerduty", ticket_id="id")
    warehouse.insert_payloads(
        "tickets",
        [
            TICKET,
            TICKET | {"sys_mod_count": "10", "category": "56"},
            TICKET | {"number": "0000046", "resolved_at": "?", "priority": "?"},
        ],
        system="servicenow", ticket_id="number",
    )  # fmt: skip


def test_durations_are_measured_between_clocks_that_were_sent(shared_project, warehouse):
    insert_incidents(warehouse)
    shared_project.run(warehouse, "run", "-s", "+fct_incidents", "+mart_mttr_baseline")
    found = warehouse.rows(
        "select incident_id, system, severity, time_to_detect_seconds, time_to_acknowledge_seconds,"
        " time_to_resolve_seconds, is_open, clock_problem from marts.fct_incidents order by incident_id"
    )
    assert found == [
        ("0000045", "servicenow", "P3", None, None, 36780, False, None),
        ("0000046", "servicenow", None, None, None, None, False, "closed, never resolved"),
        ("INC-1", "incidents", "P2", 30, 300, 3600, False, None),
        ("INC-2", "incidents", "P1", None, None, None, False, "resolved before created"),
        ("INC-3", "incidents", "P2", None, None, None, True, None),
        ("INC-4", "incidents", None, None, None, None, False, "no start"),
    ]
    assert warehouse.rows(
        "select detected_at_source, acknowledged_at_source, resolved_at_source, team, pagerduty_id"
        " from marts.fct_incidents where incident_id = 'INC-1'"
    ) == [("pagerduty.created_at", "pagerduty.acknowledge_log_entry.created_at", "incidents.resolved_at", "web", "PT1")]
    assert warehouse.rows("select category, team from marts.fct_incidents where incident_id = '0000045'") == [
        ("56", "56")
    ]
    assert warehouse.rows(
        "select system, n_incidents, n, n_open, n_unrecorded, n_inconsistent from marts.mart_mttr_baseline"
        " where slice = 'system' and clock = 'resolve' order by 1"
    ) == [("incidents", 4, 1, 1, 0, 2), ("servicenow", 2, 1, 0, 1, 0)]


ISSUE = {
    "key": "OPS-1",
    "fields": {
        "summary": "Checkout is slow", "created": "2024-01-01T10:00:00.000+0000", "resolutiondate": None,
        "status": {"name": "In Progress", "statusCategory": {"key": "indeterminate"}}, "priority": {"name": "High"},
        "components": [{"name": "shop"}], "issuetype": {"name": "Incident"}, "resolution": None,
    },
    "changelog": {"histories": [
        {"created": "2024-01-01T12:10:00.000+0200",
         "items": [{"field": "status", "fromString": "Open", "toString": "In Progress"}]},
    ]},
}  # fmt: skip
ALERT = {
    "id": "ab@1", "status": "resolved", "labels": {"alertname": "Slow", "severity": "critical", "service": "shop"},
    "annotations": {"summary": "Slow"}, "startsAt": "2024-01-01T10:00:00Z", "endsAt": "2024-01-01T10:30:00Z",
}  # fmt: skip
ALARM = {
    "AlarmName": "errors", "StateValue": "ALARM", "StateUpdatedTimestamp": "2024-01-01T10:00:00.000+00:00",
    "Dimensions": [{"Name": "ServiceName", "Value": "shop"}],
}  # fmt: skip


def insert_tickets(warehouse):
    """A ticket or two of each system beside `insert_incidents`."""
    resolved = ISSUE["fields"] | {"resolutiondate": "2024-01-01T11:00:00.000+0000", "status": {"name": "Done"}}
    warehouse.insert_payloads("tickets", [ISSUE, ISSUE | {"key": "OPS-2", "fields": resolved}],
                              system="jira", ticket_id="key")  # fmt: skip
    warehouse.insert_payloads("tickets", [ALERT, ALERT | {"id": "cd@1", "status": "firing"}],
                              system="alertmanager", ticket_id="id")  # fmt: skip
    ended = {"AlarmName": "errors", "NewStateValue": "OK", "StateChangeTime": "2024-01-01T10:20:00.000+0000"}
    warehouse.insert_payloads("tickets", [ALARM, ended], system="cloudwatch", ticket_id="AlarmName")


def test_every_system_says_when_and_where_it_says_so(shared_project, warehouse):
    insert_incidents(warehouse)
    entries = [
        {"id": "R1", "type": "escalate_log_entry", "created_at": "2024-01-01T10:02:00Z"},
        {"id": "R2", "type": "resolve_log_entry", "created_at": "2024-01-01T10:20:00Z"},
        {"id": "R3", "type": "trigger_log_entry", "created_at": "2024-01-01T10:25:00Z"},
    ]
    warehouse.insert_payloads("tickets", [entry | {"incident": {"id": "PT1"}} for entry in entries],
                              system="pagerduty", ticket_id="PT1")  # fmt: skip
    insert_tickets(warehouse)
    worked_on = TICKET | {"sys_mod_count": "1", "ident_state": "Active", "sys_updated_at": "29/2/2016 02:00"}
    reopened = TICKET | {"sys_mod_count": "9", "reopen_count": "1", "sys_updated_at": "3/3/2016 08:00"}
    last = reopened | {"sys_mod_count": "11", "sys_updated_at": "5/3/2016 12:00"}
    warehouse.insert_payloads("tickets", [worked_on, reopened, last], system="servicenow", ticket_id="number")
    shared_project.run(warehouse, "run", "-s", "+fct_incidents")

    def clocks(incident_id):
        """From each clock that is known to its time of day and what says it."""
        names = ["started", "detected", "acknowledged", "mitigated", "resolved", "closed", "reopened"]
        listed = ", ".join(f"strftime({name}_at, '%d %H:%M:%S'), {name}_at_source" for name in names)
        ((*found,),) = warehouse.rows(f"select {listed} from marts.fct_incidents where incident_id = '{incident_id}'")
        pairs = dict(zip(names, zip(found[::2], found[1::2], strict=True), strict=True))
        return {name: pair for name, pair in pairs.items() if pair != (None, None)}

    assert clocks("INC-1") == {
        "started": ("01 10:00:00", "incidents.created_at"),
        "detected": ("01 10:00:30", "pagerduty.created_at"),
        "acknowledged": ("01 10:05:00", "pagerduty.acknowledge_log_entry.created_at"),
        "resolved": ("01 11:00:00", "incidents.resolved_at"),
        "reopened": ("01 10:25:00", "pagerduty.log_entries"),
    }
    assert clocks("0000045") == {
        "started": ("29 01:16:00", "servicenow.opened_at"),
        "acknowledged": ("29 02:00:00", "servicenow.state, sys_updated_at"),
        "resolved": ("29 11:29:00", "servicenow.resolved_at"),
        "closed": ("05 12:00:00", "servicenow.closed_at"),
        "reopened": ("03 08:00:00", "servicenow.reopen_count, sys_updated_at"),
    }
    assert clocks("OPS-1") == {
        "started": ("01 10:00:00", "jira.fields.created"),
        "acknowledged": ("01 10:10:00", "jira.changelog.status"),
    }
    assert clocks("OPS-2")["resolved"] == ("01 11:00:00", "jira.fields.resolutiondate")
    assert clocks("ab@1") == {
        "started": ("01 10:00:00", "alertmanager.startsAt"),
        "resolved": ("01 10:30:00", "alertmanager.endsAt"),
    }
    assert clocks("errors@2024-01-01 10:00:00") == {
        "started": ("01 10:00:00", "cloudwatch.StateUpdatedTimestamp"),
        "resolved": ("01 10:20:00", "cloudwatch.StateChangeTime"),
    }
    assert warehouse.rows(
        "select incident_id, reopened_count, escalation_count, is_open from marts.fct_incidents"
        " where system <> 'incidents' or incident_id = 'INC-1' order by system, incident_id"
    ) == [
        ("ab@1", 0, None, False),
        ("cd@1", 0, None, True),
        ("errors@2024-01-01 10:00:00", 0, None, False),
        ("INC-1", 1, 1, False),
        ("OPS-1", 0, None, True),
        ("OPS-2", 0, None, False),
        ("0000045", 1, None, False),
        ("0000046", 0, None, False),
    ]


def test_times_without_a_zone_are_of_the_source_s(shared_project, warehouse):
    warehouse.insert_payloads("tickets", [TICKET], system="servicenow", ticket_id="number")
    rows = [{"Issue key": "OPS-1", "Created": "29/Jul/24 8:44 AM", "Resolved": "", "Status": "Done"}]
    warehouse.insert_payloads("tickets", rows, system="jira", ticket_id="Issue key")
    warehouse.write(
        "insert into audit.loads by name select 1 as load_id, 'tickets' as source, 'servicenow' as format, 'x' as path,"
        " 'x' as sha256, 'loaded' as status, 0 as file_bytes, 0 as decoded_bytes, 0 as records_read,"
        " 0 as records_landed, 0 as records_rejected, []::varchar[] as unknown_fields, []::date[] as event_days,"
        " timestamp '2024-01-01' as started_at, timestamp '2024-01-01' as finished_at, '1' as code_version,"
        """ '{"time_zone": "America/New_York"}' as reading"""
    )
    shared_project.run(warehouse, "run", "-s", "+int_incidents")
    assert warehouse.rows(
        "select incident_id, started_at::varchar, resolved_at::varchar from intermediate.int_incidents order by 1"
    ) == [
        ("0000045", "2016-02-29 06:16:00", "2016-02-29 16:29:00"),
        ("OPS-1", "2024-07-29 12:44:00", None),
    ]


RECORDED_COLUMNS = (
    "number", "ident_state", "sys_mod_count", "sys_updated_at", "reopen_count", "opened_at", "resolved_at", "closed_at",
)  # fmt: skip


def recorded_clocks(path):
    """From each incident of the recorded log to its clocks, by plain Python: what the models have to find."""

    def time(text):
        return None if text == "?" else datetime.strptime(text, "%d/%m/%Y %H:%M")

    updates = defaultdict(list)
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[-1]) as file:
        header, *rows = csv.reader(io.TextIOWrapper(file, "utf-8"))
        place = {name: header.index(name) for name in RECORDED_COLUMNS}
        for line, row in enumerate(rows):
            sent = {name: row[at] for name, at in place.items()}
            order = (int(sent["sys_mod_count"]), time(sent["sys_updated_at"]), line)
            updates[sent["number"]].append((order, sent))
    clocks = {}
    for number, sent in updates.items():
        states = [state for _, state in sorted(sent, key=lambda each: each[0])]
        last = states[-1]
        work = [time(state["sys_updated_at"]) for state in states if state["ident_state"] == "Active"]
        again = [time(state["sys_updated_at"]) for state in states if state["reopen_count"] == last["reopen_count"]]
        clocks[number] = (
            time(last["opened_at"]), min(work, default=None), time(last["resolved_at"]), time(last["closed_at"]),
            min(again) if last["reopen_count"] != "0" else None, int(last["reopen_count"]),
        )  # fmt: skip
    return clocks


def test_the_recorded_log_has_the_clocks_that_plain_python_finds(shared_project, warehouse):
    path = RECORDINGS / "servicenow-incidents" / "incident_event_log.zip"
    if not path.exists():
        pytest.skip("the recorded log is absent; name the recordings' folder with HINDCAST_RECORDINGS")
    with connect(warehouse.path) as connection:
        land(connection, [InputFile(path, FORMATS["servicenow"])])
    shared_project.run(warehouse, "run", "-s", "+int_incidents")
    found = {
        number: tuple(clocks)
        for number, *clocks in warehouse.rows(
            "select incident_id, started_at, acknowledged_at, resolved_at, closed_at, reopened_at, reopened_count"
            " from intermediate.int_incidents"
        )
    }
    assert found == recorded_clocks(path)
    assert (len(found), sum(clocks[2] is None for clocks in found.values())) == (24_918, 1_556)


# Every JSON type where another is meant, and texts that only look like times.
HOSTILE = [{}, {"at": "2024-01-01T10:00:00Z"}, [], [[]], [None], ["x"], [{"at": []}], "x", "", 1, 1e300, True, None,
           "infinity", "-infinity", "epoch", "290000-01-01", "4000-01-01T00:00:00Z", "31/12/9999 23:59",
           "2024-01-01 10:00:00 Nowhere/Land"]  # fmt: skip
PAGERDUTY_FIELDS = ("type", "incident_key", "title", "status", "created_at", "resolved_at", "last_status_change_at",
                    "teams", "acknowledgements", "incident", "priority", "service", "resolve_reason")  # fmt: skip


def test_a_field_of_another_type_fails_no_build(shared_project, warehouse):
    """One field at a time is wrong, in every way, in every kind of record: entities stay, wrong values do not."""
    started = {"started_at": "2024-01-01T10:00:00Z", "deploy_id": "d", "deployed_at": "2024-01-01T10:00:00Z"}

    def spoilt(usual, fields):
        return [usual | {field: value} for field in fields for value in HOSTILE]

    def named(payloads, key):
        return [payload | {key: f"{key}-{number}"} for number, payload in enumerate(payloads)]

    incidents = named(spoilt(INCIDENT | started, [*INCIDENT, "started_at", "detected_at", "closed_at"]), "incident_id")
    warehouse.insert_payloads("incidents", incidents, incident_id="incident_id")
    pages = named(spoilt(PAGE | {"incident_key": None}, PAGERDUTY_FIELDS), "id")
    entries = spoilt(ACKNOWLEDGED | {"id": "id-0", "incident": {"id": "id-0"}}, ["created_at", "incident", "type"])
    warehouse.insert_payloads("tickets", [*pages, *entries], system="pagerduty", ticket_id="id")
    tickets = named(spoilt(TICKET, TICKET), "number")
    warehouse.insert_payloads("tickets", tickets, system="servicenow", ticket_id="number")
    issues = spoilt(ISSUE, ISSUE) + [ISSUE | {"fields": fields} for fields in spoilt(ISSUE["fields"], ISSUE["fields"])]
    for wrong in HOSTILE:
        change = {"field": wrong, "fromString": wrong, "toString": wrong}
        issues += [ISSUE | {"changelog": {"histories": wrong}}]
        issues += [
            ISSUE | {"changelog": {"histories": [{"created": wrong, "items": wrong}, {"items": [wrong, change]}]}}
        ]
    issues = named(issues, "key")
    warehouse.insert_payloads("tickets", issues, system="jira", ticket_id="key")
    row = {"Created": "29/Jul/24 8:44 AM", "Resolved": "", "Status": "Done", "Priority": "Low", "Component/s": "x"}
    exported = named(spoilt(row, row), "Issue key")
    exported = [each | {"Issue key": f"CSV-{number}"} for number, each in enumerate(exported)]
    warehouse.insert_payloads("tickets", exported, system="jira", ticket_id="Issue key")
    alerts = named(spoilt(ALERT, [*ALERT, "fingerprint"]), "id")
    warehouse.insert_payloads("tickets", alerts, system="alertmanager", ticket_id="id")
    alarms = named(spoilt(ALARM, [*ALARM, "Timestamp", "HistoryData", "Message", "detail", "Trigger"]), "AlarmName")
    warehouse.insert_payloads("tickets", alarms, system="cloudwatch", ticket_id="AlarmName")
    warehouse.insert_payloads("deploys", named(spoilt(started, ["service", "version", "deployed_at"]), "deploy_id"))
    warehouse.insert_spans([{"span": 1}])
    shared_project.run(warehouse, "build", "--exclude", "resource_type:unit_test")
    found = dict(warehouse.rows("select system, count(*) from marts.fct_incidents group by all"))
    # An alarm whose state or time is nonsense has no episode.
    assert 0 < found.pop("cloudwatch") < len(alarms)
    assert found == {
        "incidents": len(incidents), "pagerduty": len(pages), "servicenow": len(tickets),
        "jira": len(issues) + len(exported), "alertmanager": len(alerts),
    }  # fmt: skip
    assert warehouse.rows(
        "select max(acknowledged_at)::varchar from marts.fct_incidents where system = 'pagerduty'"
    ) == [("2024-01-01 10:05:00",)]


def test_the_policy_says_what_is_severe_and_how_far_to_look(shared_project, warehouse):
    insert_incidents(warehouse)
    warehouse.insert_payloads("incidents", [INCIDENT | {"incident_id": "INC-9", "severity": " It's BAD "}],
                              incident_id="incident_id")  # fmt: skip
    warehouse.insert_spans([{"span": 1, "service": "56"}, {"trace": 2, "at": "2024-01-02 10:00:00"}])
    variables = {"severity_aliases": {"P1": ["sev-1"], "P5": ["it's bad", "p2"]}, "incident_lead_minutes": 7,
                 "open_incident_hours": 3, "telemetry_systems": ["incidents"]}  # fmt: skip
    shared_project.run(warehouse, "run", "-s", "+int_incident_windows", **variables)
    assert warehouse.rows(
        "select incident_id, severity, window_from::varchar, window_until::varchar from intermediate.int_incidents"
        " join intermediate.int_incident_windows using (incident_id) order by 1"
    ) == [
        ("INC-1", "P5", "2024-01-01 09:53:00", "2024-01-01 11:00:00"),
        ("INC-2", "P1", "2024-01-01 09:53:00", "2024-01-01 13:00:00"),
        ("INC-3", "P5", "2024-01-01 11:53:00", "2024-01-01 15:00:00"),
        ("INC-9", "P5", "2024-01-01 09:53:00", "2024-01-01 11:00:00"),
    ]


def test_an_id_in_several_systems_is_told_apart(shared_project, warehouse):
    ids = ["INC-1", "PT1", "7", "servicenow:7"]
    warehouse.insert_payloads(
        "incidents", [INCIDENT | {"incident_id": each} for each in ids], incident_id="incident_id"
    )
    pages = [PAGE | {"id": each, "incident_key": None} for each in ("PT1", "PT2")]
    warehouse.insert_payloads("tickets", pages, system="pagerduty", ticket_id="id")
    tickets = [TICKET | {"number": each} for each in ("7", "PT2", "PT1", "8")]
    warehouse.insert_payloads("tickets", tickets, system="servicenow", ticket_id="number")
    warehouse.insert_spans([{}])
    shared_project.run(warehouse, "build", "--exclude", "resource_type:unit_test")
    assert warehouse.rows("select system, incident_id from marts.fct_incidents order by all") == [
        ("incidents", "7"), ("incidents", "INC-1"), ("incidents", "PT1"), ("incidents", "incidents:servicenow:7"),
        ("pagerduty", "PT2"), ("pagerduty", "pagerduty:PT1"),
        ("servicenow", "8"), ("servicenow", "servicenow:7"), ("servicenow", "servicenow:PT1"),
        ("servicenow", "servicenow:PT2"),
    ]  # fmt: skip


def test_an_incident_is_compared_with_quiet_time(shared_project, warehouse):
    warehouse.insert_payloads(
        "incidents",
        [
            INCIDENT,
            INCIDENT
            | {
                "incident_id": "INC-0",
                "created_at": "2024-01-01T09:30:00Z",
                "resolved_at": "2024-01-01T09:40:00Z",
            },
        ],
        incident_id="incident_id",
    )
    warehouse.insert_payloads(
        "deploys",
        [
            {"deploy_id": "d1", "service": "shop", "version": "2", "deployed_at": "2024-01-01T09:59:00Z"},
            {"deploy_id": "d2", "service": "shop", "version": "1", "deployed_at": "2023-12-25T09:00:00Z"},
        ],
    )
    quiet = [{"line": n, "trace": n, "at": f"2024-01-01 09:{n % 20 + 5:02}:00", "seconds": 1} for n in range(1, 41)]
    disturbed = [{"line": n, "trace": n, "at": "2024-01-01 09:35:00", "seconds": 60} for n in range(41, 81)]
    during = [{"line": n, "trace": n, "at": f"2024-01-01 10:{n % 20:02}:00", "seconds": 3} for n in range(81, 101)]
    warehouse.insert_spans([*quiet, *disturbed, *during])
    warehouse.write(
        "insert into raw.metric_points"
        " (load_id, line, record, metric_name, service_name, labels, observed_at, value)"
        " select 1, n, m, name, 'shop', '{}', timestamp '2024-01-01 09:00:00' + to_minutes(m),"
        " if(m >= 58 and m <= 120, 30, 10) + m % 3"
        " from range(180) as minutes (m), (values (1, 'cpu_percent'), (2, 'node_load')) as metrics (n, name)"
    )
    shared_project.run(warehouse)
    assert warehouse.rows(
        "select traces, median_duration_ns, baseline_traces, baseline_median_duration_ns, baseline_kind,"
        " services_reached from marts.mart_incident_impact where incident_id = 'INC-1'"
    ) == [(20, 3e9, 40, 1e9, "hour before", ["shop"])]
    # (3 s - 1 s) / 2 % of 1 s; the processor goes from 11 % to 31 % over quartiles 10 % and 12 %.
    assert warehouse.rows(
        "select signal, unit, baseline_kind, incident_n, round(shift, 2), rank_in_incident, service_rank"
        " from marts.mart_incident_services where incident_id = 'INC-1' order by rank_in_incident"
    ) == [
        ("duration of buy", "ms", "hour before", 20, 100.0, 1, 1),
        ("cpu_percent", "%", "hour before", 63, 13.5, 2, 1),
    ]
    assert warehouse.rows(
        "select violated_during, traces_during, violated_baseline, traces_baseline from marts.mart_incident_violations"
        " where incident_id = 'INC-1'"
    ) == [(20, 20, 0, 40)]
    assert warehouse.rows(
        "select kind from marts.mart_incident_timeline where incident_id = 'INC-1' order by \"at\""
    ) == [
        ("deploy",), ("started",), ("violation",), ("resolved",),
    ]  # fmt: skip
