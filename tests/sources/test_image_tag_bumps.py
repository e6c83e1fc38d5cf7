"""Commits that set image tags; the recording is of GOV.UK (alphagov/govuk-helm-charts, MIT), authors left out."""

from __future__ import annotations

import csv
import gzip
import json
import os
from pathlib import Path

import pytest

RECORDINGS = (
    Path(os.environ.get("HINDCAST_RECORDINGS", Path(__file__).parents[3] / "shared" / "data")) / "govuk-deploys"
)
HEADER, ROLLBACKS = "app,commit,unix_ts,prev_tag,tag", "app,commit,unix_ts,from_tag,to_tag,subject"
GOOD = f"till,{'a' * 40},1704189600,v1,v2"


def table(header: str, *rows: str) -> bytes:
    return "\n".join([header, *rows, ""]).encode()


def test_bumps_and_rollbacks_land_as_sent(land_bytes):
    bump = land_bytes("image_tag_bumps", table(HEADER, GOOD, f"till,{'b' * 40},1704189700,,v3"), "bumps")
    back = land_bytes("image_tag_bumps", table(ROLLBACKS, f"till,{'c' * 40},1704189800,v3,v2,Go back"), "back")
    assert [(row["line"], row["system"]) for row in bump.rows] == [(2, "image_tag_bumps"), (3, "image_tag_bumps")]
    assert [row["system"] for row in back.rows] == ["image_tag_rollbacks"]
    assert json.loads(bump.rows[1]["payload"])["prev_tag"] is None
    assert json.loads(back.rows[0]["payload"])["to_tag"] == "v2"
    assert [str(day) for day in bump.outcome.event_days] == ["2024-01-02"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",a,1704189600,v1,v2", "id_missing"),
        ("till,a,1704189600,v1,", "id_missing"),
        ("till,a,,v1,v2", "time_missing"),
        ("till,a,yesterday,v1,v2", "time_malformed"),
        ("till,a,-1,v1,v2", "time_malformed"),
        ("till,a,1704189600000,v1,v2", "time_out_of_range"),
        ("till,a,0,v1,v2", "time_out_of_range"),
        ("till,a,99999999999999999999,v1,v2", "time_malformed"),
        ("till,a,\u0661\u0662,v1,v2", "time_malformed"),
        ("till,a,1704189600,v1", "row_malformed"),
    ],
)
def test_a_bad_row_is_refused_alone(land_bytes, row, reason):
    landed = land_bytes("image_tag_bumps", table(HEADER, GOOD, row, GOOD))
    assert [each["line"] for each in landed.rows] == [2, 4]
    assert [(line, found) for line, _, found in landed.reasons] == [(3, reason)]


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no recordings in {RECORDINGS}: set HINDCAST_RECORDINGS")
@pytest.mark.parametrize(("name", "count"), [("deploys.csv.gz", 16_167), ("rollbacks.csv", 107)])
def test_the_whole_recording_lands(land_bytes, name, count):
    content = (RECORDINGS / name).read_bytes()
    text = (gzip.decompress(content) if name.endswith(".gz") else content).decode()
    rows = list(csv.DictReader(text.splitlines()))
    landed = land_bytes("image_tag_bumps", content)
    assert len(landed.rows) == len(rows) == count
    assert landed.reasons == []
    sent = sorted(json.dumps({key: value or None for key, value in row.items()}, sort_keys=True) for row in rows)
    assert sorted(json.dumps(json.loads(row["payload"]), sort_keys=True) for row in landed.rows) == sent
