"""The window that a replay is asked about, and how people write its ends.

Times are UTC; a window holds its start and not its end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_UNITS = {"minute": 60, "hour": 3600, "day": 86_400, "week": 7 * 86_400}
# Recorded times count nanoseconds in 64 bits, which reach from 1677 to 2262: beyond, nothing can be recorded.
EARLIEST = datetime(1677, 9, 22)
LATEST = datetime(2262, 4, 11)


class WindowError(ValueError):
    """A moment that cannot be read, or an end before its start."""


@dataclass(frozen=True)
class Window:
    """[start, end), UTC without zone; None: no bound."""

    start: datetime | None = None
    end: datetime | None = None

    def __post_init__(self) -> None:
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise WindowError(f"the window ends ({self.end}) before it starts ({self.start})")

    @property
    def recordable(self) -> Window:
        """The part of it in which anything can be recorded, as bounds that the engine can compare with."""
        start = None if self.start is None or self.start <= EARLIEST else min(self.start, LATEST)
        end = None if self.end is None or self.end > LATEST else max(self.end, EARLIEST)
        # What begins at the end of recordable time holds nothing, and needs no end to say so.
        return Window(start, None if start is not None and end is not None and start >= end else end)


def parse_window(start: str | None, end: str | None, now: datetime) -> Window:
    """The window between two moments as people write them; None leaves an end open.

    Raises
    ------
    WindowError
        Says which text is no moment and what one looks like.
    """
    return Window(*(None if moment is None else parse_moment(moment, now) for moment in (start, end)))


def parse_range(text: str, now: datetime) -> Window:
    """The window of `120 days ago..90 days ago`; an end that is left out is open.

    Raises
    ------
    WindowError
        Says what a window looks like.
    """
    start, dots, end = text.partition("..")
    if not dots or not (start.strip() or end.strip()):
        raise WindowError(f"`{text}` is no window: write two moments with `..` between them, such as "
                          "`120 days ago..90 days ago`")  # fmt: skip
    return parse_window(start.strip() or None, end.strip() or None, now)


def parse_moment(text: str, now: datetime) -> datetime:
    """`now`, `90 days ago`, a date, or an ISO 8601 time; without an offset it is UTC.

    Parameters
    ----------
    now
        What `now` and `ago` count from; with a zone, or UTC.

    Raises
    ------
    WindowError
        When it is none of these.
    """
    word = " ".join(text.strip().lower().split())
    now = _utc(now)
    if word == "now":
        return now
    ago = re.fullmatch(r"(\d{1,6}) (minute|hour|day|week)s? ago", word)
    try:
        if ago:
            return now - timedelta(seconds=int(ago.group(1)) * _UNITS[ago.group(2)])
        return _utc(datetime.fromisoformat(text.strip()))
    except (ValueError, OverflowError):
        raise WindowError(
            f"`{text}` is no moment: write `now`, `90 days ago` (minutes, hours, days, weeks), 2023-01-29"
            " or 2023-01-29T08:50:00Z"
        ) from None


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def before(moment: datetime | None, back_ns: int) -> datetime | None:
    """So much earlier; None for what nothing recorded is before."""
    if moment is None:
        return None
    try:
        earlier = moment - timedelta(microseconds=-(-back_ns // 1000))
    except OverflowError:
        return None
    return earlier if earlier > EARLIEST else None
