"""Jira: answers of the REST search and CSV exports; what lands as it was sent, and what is refused."""

from __future__ import annotations

import json

import pytest

from dagster_project.sources.format import ReadOptions
from dagster_project.sources.registry import FORMATS
from dagster_project.warehouse.landing import InputFile, land

MOVED = {
    "field": "status",
    "fieldtype": "jira",
    "from": "1",
    "fromString": "Open",
    "to": "3",
    "toString": "In Progress",
}
ISSUE = {
    "id": "10001",
    "key": "OPS-1",
    "fields": {
        "summary": "Checkout is slow",
        "created": "2023-01-29T08:44:04.123+0000",
        "resolutiondate": "2023-01-29T11:44:04.123+0100",
        "status": {"name": "Done", "statusCategory": {"key": "done"}},
        "priority": {"name": "High"},
        "issuetype": {"name": "Incident"},
        "components": [{"name": "checkout"}],
        "labels": ["prod"],
        "description": "as text",
        "customfield_10001": None,
    },
    "changelog": {"histories": [{"created": "2023-01-29T08:50:00.000+0000", "items": [MOVED]}]},
}
# Version 3 writes long texts as a tree.
TREE = {"type": "doc", "version": 1, "content": [{"type": "paragraph", "content": [{"type": "text", "text": "slow"}]}]}


def with_fields(**changes):
    return ISSUE | {"fields": ISSUE["fields"] | changes}


@pytest.mark.parametrize(
    "document",
    [
        {"expand": "names", "startAt": 0, "maxResults": 50, "total": 1, "issues": [ISSUE]},
        {"issues": [with_fields(description=TREE)], "nextPageToken": "x", "isLast": False},
        [ISSUE],
        ISSUE,
        {key: value for key, value in ISSUE.items() if key != "changelog"},
    ],
)
def test_issues_land_as_sent(land_bytes, document):
    content = json.dumps(document).encode()
    assert FORMATS["jira"].recognises(content)
    landed = land_bytes("jira", content)
    assert [(row["system"], row["ticket_id"], row["line"], row["record"]) for row in landed.rows] == [
        ("jira", "OPS-1", 1, 1)
    ]
    sent = document["issues"][0] if "issues" in document else document[0] if isinstance(document, list) else document
    assert json.loads(landed.rows[0]["payload"]) == sent
    assert [str(day) for day in landed.outcome.event_days] == ["2023-01-29"]


def test_issues_one_a_line_land(land_bytes):
    landed = land_bytes("jira", "\n".join(json.dumps(ISSUE | {"key": f"OPS-{n}"}) for n in range(3)).encode())
    assert [(row["line"], row["ticket_id"]) for row in landed.rows] == [(1, "OPS-0"), (2, "OPS-1"), (3, "OPS-2")]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (ISSUE | {"key": None}, "id_missing"),
        (ISSUE | {"fields": []}, "structure"),
        (with_fields(created=None), "time_missing"),
        (with_fields(created="29/Jan/23 8:44 AM"), "time_malformed"),
        (with_fields(resolutiondate="1999-12-31T23:59:59.000+0000"), "time_out_of_range"),
        (ISSUE | {"changelog": []}, "structure"),
        (ISSUE | {"changelog": {"histories": {}}}, "structure"),
        (ISSUE | {"changelog": {"histories": [3]}}, "structure"),
        (ISSUE | {"changelog": {"histories": [{"created": 5}]}}, "time_malformed"),
    ],
)
def test_a_bad_issue_is_refused_alone(land_bytes, bad, reason):
    landed = land_bytes("jira", json.dumps({"issues": [ISSUE, bad, ISSUE]}).encode())
    assert [row["line"] for row in landed.rows] == [1, 3]
    assert landed.reasons == [(2, 1, reason)]


HEADER = "Summary,Issue key,Issue id,Status,Priority,Created,Resolved,Labels,Labels,Comment,Comment"
ROW = 'Slow,OPS-1,10001,Done,High,29/Jan/23 8:44 AM,,prod,eu,"one\nline ""quoted""",=1+1'


def export(*rows: str) -> bytes:
    return "\n".join([HEADER, *rows, ""]).encode()


def test_rows_of_an_export_land_with_every_repeated_column(land_bytes):
    assert FORMATS["jira"].recognises(export(ROW))
    landed = land_bytes("jira", export(ROW))
    assert landed.rows[0]["ticket_id"] == "OPS-1"
    assert json.loads(landed.rows[0]["payload"]) == {
        "Summary": "Slow",
        "Issue key": "OPS-1",
        "Issue id": "10001",
        "Status": "Done",
        "Priority": "High",
        "Created": "29/Jan/23 8:44 AM",
        "Resolved": "",
        "Labels": "prod",
        "Labels_1": "eu",
        "Comment": 'one\nline "quoted"',
        "Comment_1": "=1+1",
    }
    assert [str(day) for day in landed.outcome.event_days] == ["2023-01-29"]


@pytest.mark.parametrize(
    "written",
    ["29/Jan/23 8:44 PM", "29/Jan/2023 20:44", "29/01/2023 20:44", "2023-01-29 20:44", "2023-01-29T20:44:00.000+0000"],
)
def test_times_of_every_export_are_read(land_bytes, written):
    landed = land_bytes("jira", export(ROW.replace("29/Jan/23 8:44 AM", written)))
    assert (len(landed.rows), [str(day) for day in landed.outcome.event_days]) == (1, ["2023-01-29"])


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (ROW.replace("OPS-1", " "), "id_missing"),
        (ROW.replace("29/Jan/23 8:44 AM", ""), "time_missing"),
        (ROW.replace("29/Jan/23 8:44 AM", "29/Jän/23 8:44 AM"), "time_malformed"),
        (ROW.replace("29/Jan/23 8:44 AM", "29/Jan/1970 8:44 AM"), "time_out_of_range"),
        (ROW.replace("29/Jan/23 8:44 AM,", "29/Jan/23 8:44 AM,soon"), "time_malformed"),
    ],
)
def test_a_bad_row_is_refused_alone(land_bytes, bad, reason):
    landed = land_bytes("jira", export(ROW, bad, ROW))
    assert [row["line"] for row in landed.rows] == [2, 4]
    assert landed.reasons == [(3, 1, reason)]


@pytest.fixture
def land_mapped(warehouse, tmp_path):
    """Lands bytes whose source maps fields; gives what stands under them in each payload, and the refusals."""

    def landed(content, **fields):
        path = tmp_path / "issues"
        path.write_bytes(content)
        land(warehouse, [InputFile(path, FORMATS["jira"].with_options(ReadOptions(fields=fields)))])
        rows = warehouse.execute("select payload -> 'hindcast_fields' from raw.tickets order by line").fetchall()
        refusals = warehouse.execute("select line, reason, detail from audit.quarantine order by line").fetchall()
        return [json.loads(row[0]) for row in rows], refusals

    return landed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("SEV-1", "SEV-1"),
        ({"value": "SEV-1"}, "SEV-1"),
        ([{"name": "SEV-1"}, {"name": "SEV-2"}], "SEV-1"),
        (1, "1"),
        ([], None),
        ({"child": {}}, None),
        (None, None),
        ("", None),
    ],
)
def test_a_field_of_one_s_own_is_found(land_mapped, value, text):
    content = json.dumps([with_fields(customfield_1=value)]).encode()
    mapped, refusals = land_mapped(content, severity="customfield_1", service="components.missing")
    assert (mapped, refusals) == ([{} if text is None else {"severity": text}], [])


def test_a_column_of_one_s_own_is_found(land_mapped):
    rows = [ROW, ROW.replace(",eu,", ",2023-01-29 08:00,"), ROW.replace(",eu,", ",1970-01-29 08:00,")]
    content = export(*rows[1:]).replace(b"prod", b"SEV-2")
    mapped, refusals = land_mapped(content, severity="labels", started_at="Labels_1")
    assert mapped == [{"severity": "SEV-2", "started_at": "2023-01-29 08:00"}]
    assert [refusal[:2] for refusal in refusals] == [(3, "time_out_of_range")]


@pytest.mark.parametrize(
    ("content", "fields", "word"),
    [
        (export(ROW), {"severity": 'Custom field ("x")'}, 'Custom field ("x")'),
        (export(ROW), {"colour": "Labels"}, "colour"),
        (json.dumps(ISSUE).encode(), {"colour": "labels"}, "colour"),
        (json.dumps(ISSUE).encode(), {"started_at": "summary"}, "started_at"),
    ],
)
def test_a_mapping_that_does_not_fit_is_told(land_mapped, content, fields, word):
    mapped, refusals = land_mapped(content, **fields)
    assert mapped == []
    assert word in refusals[0][2]


@pytest.mark.parametrize(("content", "reason"), [(b"{}", "other_format"), (b"[1]", "structure"), (b"{", "not_json")])
def test_another_document_is_refused(land_bytes, content, reason):
    assert [each[2] for each in land_bytes("jira", content).reasons] == [reason]
