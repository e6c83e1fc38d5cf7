"""Incidents as CSV with a mapping: names, times of every spelling and zone, and what is refused."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.sources.decoding.csv_rows import header
from dagster_project.sources.format import ReadOptions
from dagster_project.sources.incidents.incident_csv import FORMAT, _read
from dagster_project.warehouse.landing import InputFile, land

FIELDS = {
    "incident_id": "Ticket #",
    "created_at": "Opened",
    "resolved_at": "Fixed",
    "service": "System",
    "title": "Text",
}


@pytest.fixture
def land_csv(warehouse, tmp_path):
    """Lands rows with options; gives the outcome, payloads without `sent` by line, refusals by line."""

    def landed(rows, header="Ticket #,Opened,Fixed,System,Text", **options):
        path = tmp_path / "incidents.csv"
        path.write_bytes("\n".join([header, *rows, ""]).encode())
        read = FORMAT.with_options(ReadOptions(**({"fields": FIELDS} | options)))
        (outcome,) = land(warehouse, [InputFile(path, read)]).files
        payloads = warehouse.execute(
            "select line, payload from raw.incidents where load_id = ? order by line", [outcome.load_id]
        ).fetchall()
        refusals = warehouse.execute(
            "select line, reason, detail from audit.quarantine where load_id = ? order by line", [outcome.load_id]
        ).fetchall()
        assert outcome.records_read == len(payloads) + len(refusals)
        return outcome, {line: json.loads(payload) for line, payload in payloads}, refusals

    return landed


def test_columns_get_hindcast_s_names_and_the_row_stays(land_csv):
    outcome, payloads, refusals = land_csv(["7,2023-01-29 08:44,2023-01-29T09:44:00Z,shop,Slow"])
    assert payloads[2] == {
        "incident_id": "7",
        "created_at": "2023-01-29T08:44:00Z",
        "resolved_at": "2023-01-29T09:44:00Z",
        "service": "shop",
        "title": "Slow",
        "sent": {
            "Ticket #": "7",
            "Opened": "2023-01-29 08:44",
            "Fixed": "2023-01-29T09:44:00Z",
            "System": "shop",
            "Text": "Slow",
        },
    }
    assert refusals == []
    assert [str(day) for day in outcome.event_days] == ["2023-01-29"]


def test_hindcast_s_own_names_need_no_mapping_and_others_are_named(land_csv):
    outcome, payloads, _ = land_csv(
        ["7,2023-01-29,2,Colour"], header="Incident_ID,created_at,reopened_count,Colour", fields={}
    )
    assert {name: payloads[2][name] for name in ("incident_id", "created_at", "reopened_count")} == {
        "incident_id": "7",
        "created_at": "2023-01-29T00:00:00Z",
        "reopened_count": 2,
    }
    assert outcome.unknown_fields == ("Colour",)
    assert FORMAT.recognises(b"Incident_ID,created_at\n")


@pytest.mark.parametrize(
    ("zone", "written", "utc"),
    [
        ("Europe/Berlin", "2023-01-29 08:44", "2023-01-29T07:44:00Z"),
        ("Europe/Berlin", "2023-07-29 08:44", "2023-07-29T06:44:00Z"),
        ("Europe/Berlin", "2023-07-29T08:44:00+00:00", "2023-07-29T08:44:00Z"),  # a zone that is named counts
        ("America/New_York", "2023-01-29 22:44:01.5", "2023-01-30T03:44:01.500000Z"),
        ("UTC", "29.1.2023 08:44", "2023-01-29T08:44:00Z"),
        ("UTC", "3.4.2023 08:44", "2023-04-03T08:44:00Z"),  # with dots the day is first
        ("UTC", "2023/01/29 8:44 PM", "2023-01-29T20:44:00Z"),
        ("UTC", "2023-01-29 12:05 a.m.", "2023-01-29T00:05:00Z"),
        ("UTC", "29/1/2023 08:44", "2023-01-29T08:44:00Z"),
        ("UTC", "1/29/2023, 8:44 AM", "2023-01-29T08:44:00Z"),
        ("UTC", "4/4/2023 08:44", "2023-04-04T08:44:00Z"),  # the same either way
    ],
)
def test_times_are_written_in_utc(land_csv, zone, written, utc):
    _, payloads, refusals = land_csv([f'1,"{written}",,,'], time_zone=zone)
    assert (payloads[2]["created_at"], refusals) == (utc, [])


def test_one_date_tells_how_all_are_meant(land_csv):
    _, payloads, _ = land_csv(["1,3/4/2023 10:00,,,", "2,3/4/2023 10:00,25/4/2023 10:00,,"])
    assert payloads[2]["created_at"] == "2023-04-03T10:00:00Z"
    _, payloads, _ = land_csv(["1,3/4/2023 10:00,,,", "2,3/4/2023 10:00,4/25/2023 10:00,,"])
    assert payloads[2]["created_at"] == "2023-03-04T10:00:00Z"


@pytest.mark.parametrize("rest", [[], ["2,25/4/2023 10:00,4/25/2023 10:00,,"]])
def test_dates_of_which_nothing_tells_are_refused(land_csv, rest):
    outcome, payloads, refusals = land_csv(["1,3/4/2023 10:00,,,", *rest])
    assert payloads == {}
    assert refusals[0][:2] == (2, "time_malformed")
    assert "date_format" in refusals[0][2]
    assert outcome.status == "failed"


def test_a_declared_format_is_kept_to(land_csv):
    declared = FIELDS | {"date_format": "%m/%d/%Y %H:%M"}
    _, payloads, refusals = land_csv(["1,3/4/2023 10:00,,,", "2,25/4/2023 10:00,,,"], fields=declared)
    assert payloads[2]["created_at"] == "2023-03-04T10:00:00Z"
    assert [refusal[:2] for refusal in refusals] == [(3, "time_malformed")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",2023-01-29 08:44,,,", "id_missing"),
        ("1,,,,", "time_missing"),
        ("1,soon,,,", "time_malformed"),
        ("1,2023-02-30 08:44,,,", "time_malformed"),
        ("1,2023-01-29 25:44,,,", "time_malformed"),
        ("1,2023-01-29 13:44 PM,,,", "time_malformed"),
        ("1,1970-01-01 08:44,,,", "time_out_of_range"),
        ("1,9999-12-31 23:59,,,", "time_out_of_range"),
        ("1,0001-01-01 00:00,,,", "time_out_of_range"),
        ("1,2023-01-29 08:44,later,,", "time_malformed"),
        ("1,2023-01-29", "row_malformed"),
    ],
)
def test_a_bad_row_is_refused_alone(land_csv, row, reason):
    good = "1,2023-01-29 08:44,,,"
    _, payloads, refusals = land_csv([good, row, good])
    assert list(payloads) == [2, 4]
    assert [refusal[:2] for refusal in refusals] == [(3, reason)]


@pytest.mark.parametrize(
    ("fields", "word"), [({"incident_id": "Number"}, "Number"), (FIELDS | {"colour": "Text"}, "colour")]
)
def test_a_mapping_that_does_not_fit_is_told(land_csv, fields, word):
    outcome, _, refusals = land_csv(["1,2023-01-29 08:44,,,"], fields=fields)
    assert (outcome.status, [refusal[:2] for refusal in refusals]) == ("failed", [(1, "other_format")])
    assert word in refusals[0][2]


@given(st.text(max_size=40), st.sampled_from([True, False, None]))
def test_no_text_ends_the_reading_of_times(text, days_first):
    with suppress(ValueError):
        _read(text, days_first)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters='",;\t\r\n"'), max_size=3), min_size=1))
def test_names_of_columns_are_unique_to_the_engine(names):
    found = header(",".join(names).encode())
    assert len({name.lower() for name in found}) == len(found)
