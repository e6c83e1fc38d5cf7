"""How times, durations, counts and text from outside are written for people, the same everywhere.

No HTML and no SQL: whoever renders escapes. Of Markdown only how text from outside is written in it.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, date, datetime

LONGEST_TEXT = 280
_SLUG = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,79}")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NOT_IN_A_SLUG = re.compile(r"[^a-zA-Z0-9]+")
# Everything that steers how text runs or hides in it: controls, formats (bidirectional marks, zero width), surrogates,
# private use, line and paragraph separators. A soft hyphen or a joiner inside a word is not worth the risk either.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})

# What a spreadsheet runs: one of these signs, also as East Asian keyboards write them, after anything that it strips
# before it looks. For Python and for DuckDB's regular expressions alike, whose \\s is of ASCII alone.
FORMULA = (
    r"^[\s\x00-\x20\x7f" + "".join(map(chr, (0x85, 0xA0, 0xAD, 0x1680, 0x180E, 0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF)))
    + f"{chr(0x2000)}-{chr(0x200F)}{chr(0x2028)}-{chr(0x202E)}]*"
    + r"[=+\-@|" + "".join(map(chr, (0xFF1D, 0xFF0B, 0xFF0D, 0xFF20, 0xFF5C))) + r"]|^[\t\r\n]"
)  # fmt: skip
# Begins like one, and is none.
NUMBER = r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_FORMULA, _NUMBER = re.compile(FORMULA), re.compile(NUMBER)


LONGEST_CELL = 2_000
_MARKS = re.compile(r"[\\`*_{}\[\]<>|#~&$!]")


def markdown_cell(text: str) -> str:
    """Text from outside on one line of Markdown: no mark-up, no HTML, no picture, no new column, nothing unseen."""
    return _MARKS.sub(r"\\\g<0>", visible(text, LONGEST_CELL))


def inert(cell: str) -> str:
    """A cell of a CSV file that no spreadsheet runs: a quote before what it would; numbers stay numbers."""
    return "'" + cell if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


def pointer(*keys: str) -> str:
    """The JSON pointer to a value below these keys, whatever signs they have."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)


def visible(text: str, limit: int = LONGEST_TEXT) -> str:
    """Text from outside as one line in which everything can be seen.

    White space becomes single blanks, a character that hides or reorders text is written as its code point, and text
    longer than `limit` characters is cut with a note of its whole length.
    """
    head = text[: limit + 1] if len(text) > limit else text
    one_line = " ".join(head.split())
    shown = revealed(one_line)
    if len(text) <= limit:
        return shown
    return f"{shown[:limit]}… ({len(text):,} characters, cut)"


def revealed(text: str) -> str:
    """The text with every character that hides or reorders text written as its code point; lines and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        f"⟨U+{ord(sign):04X}⟩" if sign not in "\n\t" and unicodedata.category(sign) in _UNSEEN else sign
        for sign in text
    )


def slug(text: str) -> str:
    """A file name for an identifier: itself when it is tame, else its letters and digits with a piece of its hash."""
    if _SLUG.fullmatch(text) and text.lower() != "index":
        return text
    tame = _NOT_IN_A_SLUG.sub("-", text[:60]).strip("-") or "x"
    return f"{tame}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"


def scope(key: str) -> str:
    """What was judged: a trace as the 32 digits that tracing tools take; a group's key, which is JSON, as it is."""
    return key.replace("-", "") if _UUID.fullmatch(key) else key


def utc(moment: datetime | date | None) -> str:
    """`2023-01-29 08:44:04 UTC`; a fraction of a second is kept to the millisecond when there is one."""
    if moment is None:
        return "unknown"
    if not isinstance(moment, datetime):
        return moment.isoformat()
    moment = moment.astimezone(UTC) if moment.tzinfo else moment
    fraction = f".{moment.microsecond // 1000:03d}" if moment.microsecond >= 1000 else ""
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction} UTC"


def clock(moment: datetime) -> str:
    """`08:44:04`: the time of day alone, where the date stands beside it."""
    return utc(moment)[11:].removesuffix(" UTC")


def duration(seconds: float | None) -> str:
    """`2 min`, `3 h 20 min`, `4 d 2 h`, `850 ms`: two units at most, and a minus sign when time ran backwards."""
    if seconds is None:
        return "unknown"
    sign = "\N{MINUS SIGN}" if seconds < 0 else ""
    size = abs(seconds)
    if size == 0:
        return "0 s"
    if size < 1:
        return sign + _fraction_of_second(size)
    if size < 60:
        return f"{sign}{size:.3g} s"
    whole = round(size)
    for unit, name, below, below_name in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            rest = whole % unit // below
            return f"{sign}{whole // unit:,} {name}" + (f" {rest} {below_name}" if rest else "")
    return f"{sign}{whole} s"


def _fraction_of_second(size: float) -> str:
    for factor, name in ((1e3, "ms"), (1e6, "µs"), (1e9, "ns")):
        if size * factor >= 1:
            return f"{size * factor:.3g} {name}"
    return f"{size:.2g} s"


def count(number: int | None) -> str:
    """`12,345`."""
    return "unknown" if number is None else f"{number:,}"


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """`1 trace`, `12,345 traces`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def quantity(value: float | None, unit: str | None = None) -> str:
    """A measured value to four significant digits, with its unit; nanoseconds and seconds as a duration."""
    if value is None:
        return "unknown"
    if unit in {"ns", "s", "seconds"}:
        return duration(value / 1e9 if unit == "ns" else value)
    digits = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{digits} {unit}" if unit else digits


def share(part: int, whole: int) -> str:
    """`12.5 %` of a whole; `of none` when there is no whole, for 0 % would say more than is known."""
    if not whole:
        return "of none"
    return percent(part / whole)


def percent(fraction: float) -> str:
    """`12.5 %` of 0.125, to three digits; whole percents from 100 on."""
    value = 100 * fraction
    return f"{value:,.0f} %" if abs(value) >= 100 else f"{value:.3g} %"


def size(octets: int | None) -> str:
    """`11.4 MB`, in powers of ten."""
    if octets is None:
        return "unknown"
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if octets >= unit:
            return f"{octets / unit:.1f} {name}"
    return f"{octets} B"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence with the nearest known word, or with all of them when none is near and they are few."""
    choices = sorted(set(known))
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{near[0]}`?"
    return f"known here: {', '.join(choices)}" if 0 < len(choices) <= 20 else ""
