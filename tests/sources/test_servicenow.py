"""ServiceNow's event log as CSV, and what every CSV has to bear: damage, other bytes, odd headers."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import zipfile
from pathlib import Path

import pytest

from dagster_project.sources.decoding import csv_rows
from dagster_project.sources.registry import FORMATS
from dagster_project.warehouse.landing import InputFile, land

RECORDINGS = Path(os.environ.get("HINDCAST_RECORDINGS", Path(__file__).parents[3] / "shared" / "data"))

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
    rows = [GOOD_ROW if n % 1000 else "bad" for n in range(200_000)]
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


def test_a_row_of_another_encoding_is_refused_alone(land_bytes):
    other = GOOD_ROW.replace("0000045", "INC-2")
    genuine = GOOD_ROW.replace("204", "\ufffd")
    landed = land_bytes("servicenow", event_log(GOOD_ROW, other, genuine).replace(b"INC-2", b"INC-\xe9"))
    assert [row["line"] for row in landed.rows] == [2, 4]
    assert json.loads(landed.rows[1]["payload"])["category"] == "\ufffd"
    assert landed.reasons == [(3, None, "not_utf8")]
    assert json.loads(landed.refusals[0]["raw"])["number"] == "INC-\ufffd"


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("sys_updated_at", "", "time_missing"),
        ("sys_updated_at", "?", "time_missing"),
        ("sys_updated_at", "31/2/2016 01:23", "time_malformed"),
        ("sys_updated_at", "1/1/1970 00:00", "time_out_of_range"),
        ("opened_at", "1/1/2100 00:00", "time_out_of_range"),
        ("resolved_at", "later", "time_malformed"),
        ("closed_at", "29/2/0001 00:00", "time_malformed"),
        ("number", "?", "id_missing"),
    ],
)
def test_every_time_of_a_row_is_a_time(land_bytes, column, value, reason):
    row = {
        "number": "1",
        "sys_updated_at": "29/2/2016 01:23",
        "opened_at": "2016-02-29 01:16:00",
        "resolved_at": "?",
        "closed_at": "",
    }
    lines = [",".join(row), *(",".join(each.values()) for each in (row, row | {column: value}, row))]
    landed = land_bytes("servicenow", "\n".join(lines).encode())
    assert [row["line"] for row in landed.rows] == [2, 4]
    assert landed.reasons == [(3, 1, reason)]
    assert f'{column} = "{value}"' in landed.refusals[0]["detail"]


def test_names_in_other_capitals_are_told_apart(land_bytes):
    content = b"number,sys_updated_at,Category,category,CATEGORY_1,,\n1,29/2/2016 01:23,a,b,c,d,e\n"
    payload = json.loads(land_bytes("servicenow", content).rows[0]["payload"])
    assert list(payload.values())[2:] == list("abcde")
    assert len({name.lower() for name in payload}) == 7


def test_semicolons_and_tabs_separate_too(land_bytes):
    for mark in (";", "\t"):
        landed = land_bytes("servicenow", event_log(GOOD_ROW).replace(b",", mark.encode()))
        assert [row["ticket_id"] for row in landed.rows] == ["0000045"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"number,other\n1,2\n", "other_format"),
        (b"n\xfcmber,sys_updated_at\n1,2\n", "other_format"),
        (b"\xff\xfen\x00u\x00m\x00", "other_format"),
        (b"a" * 100_000, "other_format"),
    ],
)
def test_another_header_is_refused_as_a_whole(land_bytes, content, reason):
    landed = land_bytes("servicenow", content)
    assert (landed.outcome.status, landed.reasons) == ("failed", [(1, None, reason)])


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_header_alone_is_empty(land_bytes, end):
    landed = land_bytes("servicenow", HEADER.encode() + end)
    assert (landed.outcome.status, landed.reasons) == ("empty", [])


def test_an_open_quote_is_told_and_rows_before_it_land(land_bytes):
    rows = [GOOD_ROW] * 300_000
    rows[250_000] = rows[250_000].replace("Active", '"Active')
    landed = land_bytes("servicenow", event_log(*rows))
    assert len(landed.rows) >= 100_000
    assert [reason for _, _, reason in landed.reasons] == ["row_malformed"]


def test_a_zip_whose_bzip2_is_damaged_is_quarantined(land_bytes):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("log.csv", event_log(*([GOOD_ROW] * 1000)))
    damaged = bytearray(content.getvalue())
    magic = damaged.index(bz2.compress(b"")[:3])
    damaged[magic : magic + 40] = b"\0" * 40
    landed = land_bytes("servicenow", bytes(damaged), "log.zip")
    assert landed.outcome.load_id is not None  # in the ledger: the next run leaves it alone
    assert [reason for _, _, reason in landed.reasons] == ["corrupt_zip"]


@pytest.mark.parametrize(
    ("sent", "unique"),
    [
        (b"a,a,a", ["a", "a_1", "a_2"]),
        (b"a,A,a_1", ["a", "A_1", "a_1_1"]),
        (b",b,", ["column_1", "b", "column_3"]),
        (b'"a,b",c', ["a,b", "c"]),
    ],
)
def test_names_are_made_unique(sent, unique):
    assert csv_rows.header(sent) == unique


def test_the_recorded_log_lands_whole(warehouse):
    path = RECORDINGS / "servicenow-incidents" / "incident_event_log.zip"
    if not path.exists():
        pytest.skip("the recorded log is absent; name the recordings' folder with HINDCAST_RECORDINGS")
    (outcome,) = land(warehouse, [InputFile(path, FORMATS["servicenow"])]).files
    assert (outcome.records_landed, outcome.records_rejected) == (141_712, 0)
    last = (
        "select ticket_id, arg_max(payload, (payload ->> 'sys_mod_count')::int) as payload from raw.tickets group by 1"
    )
    assert warehouse.execute(
        f"select count(*), count(*) filter (payload ->> 'resolved_at' = '?') from ({last})"
    ).fetchall() == [(24_918, 1_556)]
