"""Metrics, incidents, tickets and deploys: what lands as it was sent, and what is refused with a reason."""

from __future__ import annotations

import gzip
import io
import json
import zipfile

import pytest

# --- Prometheus -------------------------------------------------------------------------------------------------------


def matrix(*series: object, kind: str = "matrix", status: str = "success") -> bytes:
    return json.dumps({"status": status, "data": {"resultType": kind, "result": series}}).encode()


def series(*values: object, **labels: str) -> dict[str, object]:
    return {"metric": {"__name__": "cpu", "service": "shop"} | labels, "values": values}


def test_points_land_with_labels_service_and_place(land_bytes):
    landed = land_bytes(
        "prometheus", matrix(series([1674981600, "1"]), series([1674981600.25, "2.5"], [1674981660, "3"], pod="p"))
    )
    assert [(row["line"], row["record"], row["value"], row["observed_at"].isoformat()) for row in landed.rows] == [
        (1, 1, 1.0, "2023-01-29T08:40:00"),
        (2, 1, 2.5, "2023-01-29T08:40:00.250000"),
        (2, 2, 3.0, "2023-01-29T08:41:00"),
    ]
    assert json.loads(landed.rows[1]["labels"]) == {"service": "shop", "pod": "p"}
    assert {row["service_name"] for row in landed.rows} == {"shop"}


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        ([1674981600, "many"], "value_malformed"),
        ([5, "1"], "time_out_of_range"),
        ([1674981600000, "1"], "time_out_of_range"),
        (["1674981600", "1"], "structure"),
        ([True, "1"], "time_out_of_range"),
        ([1674981600, 1], "structure"),
        ([1674981600], "structure"),
        ("x", "structure"),
        (None, "structure"),
    ],
)
def test_a_bad_point_is_refused_and_its_neighbours_land(land_bytes, point, reason):
    landed = land_bytes("prometheus", matrix(series([1674981600, "1"], point, [1674981660, "2"])))
    assert [(row["record"], row["value"]) for row in landed.rows] == [(1, 1.0), (3, 2.0)]
    assert landed.reasons == [(1, 2, reason)]
    assert json.loads(landed.refusals[0]["raw"]) == point


def test_values_that_are_no_finite_numbers_land_as_they_are(land_bytes):
    landed = land_bytes("prometheus", matrix(series(*([1674981600, text] for text in ("NaN", "+Inf", "-Inf")))))
    assert [str(row["value"]) for row in landed.rows] == ["nan", "inf", "-inf"]
    assert landed.reasons == []


def test_a_series_without_a_name_takes_the_file_s(land_bytes):
    unnamed = {"metric": {"job": "shop"}, "values": [[1674981600, "1"]]}
    landed = land_bytes("prometheus", gzip.compress(matrix(unnamed)), "error_rate.json.gz")
    assert (landed.rows[0]["metric_name"], landed.rows[0]["service_name"]) == ("error_rate", "shop")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "not_json"),
        (b"[]", "other_format"),
        (matrix(kind="vector"), "other_format"),
        (json.dumps({"status": "error", "data": {}, "error": "timeout"}).encode(), "other_format"),
        (gzip.compress(matrix(series([1674981600, "1"])))[:-12], "truncated_gzip"),
    ],
)
def test_another_document_is_refused_as_a_whole(land_bytes, content, reason):
    landed = land_bytes("prometheus", content)
    assert landed.reasons == [(1, None, reason)]
    assert landed.outcome.status == "failed"


def test_a_broken_series_is_refused_alone(land_bytes):
    landed = land_bytes("prometheus", matrix({"values": []}, series([1674981600, "1"]), {"metric": {}, "values": 3}))
    assert [row["line"] for row in landed.rows] == [2]
    assert landed.reasons == [(1, None, "structure"), (3, None, "structure")]


def test_a_matrix_without_points_is_empty(land_bytes):
    assert land_bytes("prometheus", matrix(series())).outcome.status == "empty"


# --- incidents --------------------------------------------------------------------------------------------------------


def incident(**changes: object) -> dict[str, object]:
    good = {"incident_id": "INC-1", "title": "down", "severity": "P1", "created_at": "2023-01-29T08:44:04Z"}
    return {name: value for name, value in (good | changes).items() if value is not ...}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"resolved_at": None},
        {"resolved_at": "2023-01-29T08:00:00Z"},  # before it was created: staging flags it
        {"created_at": "2023-01-29T08:44:04+08:00"},
        {"created_at": "2023-01-29"},
        {"incident_id": 7},
    ],
)
def test_an_incident_lands_as_it_was_sent(land_bytes, changes):
    landed = land_bytes("incidents", json.dumps([incident(**changes)]).encode())
    assert landed.reasons == []
    assert json.loads(landed.rows[0]["payload"]) == incident(**changes)
    assert [str(day) for day in landed.outcome.event_days] == ["2023-01-29"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"incident_id": ...}, "id_missing"),
        ({"incident_id": " "}, "id_missing"),
        ({"created_at": ...}, "time_missing"),
        ({"created_at": "soon"}, "time_malformed"),
        ({"created_at": 1674981600}, "time_malformed"),
        ({"created_at": "1970-01-01T00:00:00Z"}, "time_out_of_range"),
        ({"resolved_at": "later"}, "time_malformed"),
        ({"created_at": "20240129T084404"}, "time_malformed"),  # Python reads it, the engine does not
        ({"created_at": "2024-W05-1"}, "time_malformed"),
        ({"created_at": "2024-01-29T08"}, "time_malformed"),
    ],
)
def test_a_bad_incident_is_refused_alone(land_bytes, changes, reason):
    landed = land_bytes("incidents", json.dumps([incident(), incident(**changes), incident(incident_id="2")]).encode())
    assert [row["record"] for row in landed.rows] == [1, 3]
    assert landed.reasons == [(1, 2, reason)]
    assert json.loads(landed.refusals[0]["raw"]) == incident(**changes)


def test_an_incident_nested_beyond_reading_is_refused_alone(land_bytes):
    deep = "[" * 300 + "]" * 300
    content = json.dumps([incident(), incident(note="deep"), incident(incident_id="2")]).replace('"deep"', deep)
    landed = land_bytes("incidents", content.encode())
    assert [row["record"] for row in landed.rows] in ([1, 3], [1, 2, 3])
    assert landed.outcome.records_read == 3


def test_fields_without_a_use_are_kept_and_named(land_bytes):
    landed = land_bytes("incidents", json.dumps([incident(colour="red")]).encode())
    assert landed.outcome.unknown_fields == ("colour",)
    assert json.loads(landed.rows[0]["payload"])["colour"] == "red"


@pytest.mark.parametrize(("content", "reason"), [(b"[", "not_json"), (b"{}", "other_format"), (b"[3]", "structure")])
def test_a_document_of_something_else_has_failed(land_bytes, content, reason):
    landed = land_bytes("incidents", content)
    assert landed.outcome.status == "failed"
    assert landed.reasons[0][2] == reason


# --- PagerDuty --------------------------------------------------------------------------------------------------------


def test_incidents_and_log_entries_are_filed_under_the_incident(land_bytes):
    ticket = {"id": "PABC", "type": "incident", "incident_key": "INC-1", "created_at": "2023-01-29T08:44:04Z"}
    entry = {
        "id": "R1",
        "type": "acknowledge_log_entry",
        "created_at": "2023-01-29T08:45:00Z",
        "incident": {"id": "PABC", "type": "incident_reference"},
    }
    orphan = entry | {"incident": None}
    first = land_bytes("pagerduty", json.dumps({"incidents": [ticket], "more": False}).encode(), "incidents.json")
    second = land_bytes("pagerduty", json.dumps({"log_entries": [entry, orphan]}).encode(), "log.json")
    assert [(row["system"], row["ticket_id"]) for row in first.rows + second.rows] == [("pagerduty", "PABC")] * 2
    assert json.loads(second.rows[0]["payload"]) == entry
    assert second.reasons == [(1, 2, "id_missing")]


# --- ServiceNow -------------------------------------------------------------------------------------------------------

HEADER = "number,ident_state,sys_mod_count,sys_updated_at,category,category"


def event_log(*rows: str) -> bytes:
    return "\n".join([HEADER, *rows, ""]).encode()


GOOD_ROW = "0000045,Active,0,29/2/2016 01:23,204,45"


def test_rows_are_kept_as_strings_with_both_categories(land_bytes):
    landed = land_bytes("servicenow", event_log(GOOD_ROW))
    assert [(row["line"], row["system"], row["ticket_id"]) for row in landed.rows] == [(2, "servicenow", "0000045")]
    assert json.loads(landed.rows[0]["payload"]) == {
        "number": "0000045",
        "ident_state": "Active",
        "sys_mod_count": "0",
        "sys_updated_at": "29/2/2016 01:23",
        "category": "204",
        "category_1": "45",
    }
    assert [str(day) for day in landed.outcome.event_days] == ["2016-02-29"]


def test_a_zip_of_the_log_lands(land_bytes):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("log/log.csv", event_log(GOOD_ROW))
    assert len(land_bytes("servicenow", content.getvalue(), "log.zip").rows) == 1


def test_bad_rows_are_refused_and_the_lines_stay_right(land_bytes):
    landed = land_bytes(
        "servicenow",
        event_log(
            GOOD_ROW,
            "too,short",
            GOOD_ROW,
            GOOD_ROW + ",long",
            ",A,0,29/2/2016 01:23,1,2",
            "7,A,0,2016-02-29,1,2",
            GOOD_ROW,
        ),
    )
    assert [row["line"] for row in landed.rows] == [2, 4, 8]
    assert landed.reasons == [
        (3, None, "row_malformed"),
        (5, None, "row_malformed"),
        (6, 1, "id_missing"),
        (7, 1, "time_malformed"),
    ]
    assert landed.refusals[0]["raw"] == "too,short"
    assert json.loads(landed.refusals[3]["raw"])["number"] == "7"


def test_lines_stay_right_over_many_batches(land_bytes):
    rows = [GOOD_ROW if n % 1000 else "bad" for n in range(60_000)]
    landed = land_bytes("servicenow", event_log(*rows))
    expected = [n + 2 for n, row in enumerate(rows) if row == GOOD_ROW]
    assert [row["line"] for row in landed.rows] == expected
    assert [line for line, _, _ in landed.reasons] == [n + 2 for n, row in enumerate(rows) if row != GOOD_ROW]


def test_a_truncated_log_keeps_whole_rows_only(land_bytes):
    rows = [f"{n},A,0,29/2/2016 01:23,{n * 7919},{n * 104729}" for n in range(3000)]
    packed = gzip.compress(event_log(*rows))
    landed = land_bytes("servicenow", packed[: len(packed) // 2], "log.csv.gz")
    assert 500 < len(landed.rows) < 2500
    assert [json.loads(row["payload"])["category_1"] for row in landed.rows] == [
        str(n * 104729) for n in range(len(landed.rows))
    ]
    assert landed.reasons == [(len(landed.rows) + 2, None, "truncated_gzip")]


def test_bytes_of_another_encoding_lose_no_row_and_are_told(land_bytes):
    other = GOOD_ROW.replace("0000045", "INC-2")
    landed = land_bytes("servicenow", event_log(GOOD_ROW, other, GOOD_ROW).replace(b"INC-2", b"INC-\xe9"))
    assert [row["ticket_id"] for row in landed.rows] == ["0000045", "INC-\ufffd", "0000045"]
    assert (len(landed.rows), landed.reasons) == (3, [])
    assert any("UTF-8" in name for name in landed.outcome.unknown_fields)


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
    assert landed.reasons == [(1, 2, reason)]
