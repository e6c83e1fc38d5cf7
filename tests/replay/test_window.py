from datetime import UTC, datetime, timedelta, timezone

import pytest

from dagster_project.replay.window import Window, WindowError, parse_moment, parse_window

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", datetime(2024, 3, 1, 12)),
        (" 90  Days ago ", datetime(2023, 12, 2, 12)),
        ("1 hour ago", datetime(2024, 3, 1, 11)),
        ("2 weeks ago", datetime(2024, 2, 16, 12)),
        ("2023-01-29", datetime(2023, 1, 29)),
        ("2023-01-29T08:50:00Z", datetime(2023, 1, 29, 8, 50)),
        ("2023-01-29T08:50:00+08:00", datetime(2023, 1, 29, 0, 50)),
        ("2023-01-29 08:50", datetime(2023, 1, 29, 8, 50)),
    ],
)
def test_moments(text, moment):
    assert parse_moment(text, NOW) == moment


def test_now_is_told_in_utc():
    assert parse_moment("now", datetime(2024, 3, 1, 12, tzinfo=timezone(timedelta(hours=8)))) == datetime(2024, 3, 1, 4)


@pytest.mark.parametrize("text", ["", "yesterday", "90 days", "999999 weeks ago", "2023-13-01", "-1 days ago"])
def test_no_moments(text):
    with pytest.raises(WindowError, match="is no moment: write `now`"):
        parse_moment(text, NOW)


def test_an_end_before_the_start_is_refused():
    with pytest.raises(WindowError, match="before it starts"):
        parse_window("now", "1 day ago", NOW)
    assert parse_window(None, None, NOW) == Window()
