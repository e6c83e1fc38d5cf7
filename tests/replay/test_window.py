from datetime import UTC, datetime, timedelta, timezone

import pytest

from dagster_project.replay.window import (
    EARLIEST,
    LATEST,
    Window,
    WindowError,
    parse_moment,
    parse_range,
    parse_window,
)

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
NOW_UTC = NOW.replace(tzinfo=None)


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


def test_a_range_is_two_moments_either_of_which_may_be_left_open():
    assert parse_range("2 days ago..1 day ago", NOW) == Window(NOW_UTC - timedelta(days=2), NOW_UTC - timedelta(days=1))
    assert parse_range("2024-01-01..", NOW) == Window(datetime(2024, 1, 1), None)
    assert parse_range("..2024-01-01", NOW) == Window(None, datetime(2024, 1, 1))
    for text in ("..", "2024-01-01", "INC-1"):
        with pytest.raises(WindowError, match="is no window"):
            parse_range(text, NOW)


@pytest.mark.parametrize(
    ("window", "recordable"),
    [
        (Window(), Window()),
        (Window(datetime(1, 1, 1), datetime(9999, 1, 1)), Window()),
        (Window(datetime(2300, 1, 1), datetime(2400, 1, 1)), Window(LATEST, None)),
        (Window(datetime(1500, 1, 1), datetime(1600, 1, 1)), Window(None, EARLIEST)),
        (Window(datetime(2024, 1, 1), datetime(2024, 1, 2)), Window(datetime(2024, 1, 1), datetime(2024, 1, 2))),
    ],
)
def test_what_cannot_be_recorded_is_no_bound(window, recordable):
    assert window.recordable == recordable
