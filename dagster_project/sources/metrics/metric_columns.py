"""What the formats of metrics share: small columns of text, points by the position of their series, labels.

No format is decoded here. As in `columns.py`, `pyarrow.array` is not used: it imports pandas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import orjson
import pyarrow as pa

from dagster_project.sources.decoding.columns import Numbers, int64
from dagster_project.sources.otlp.otlp_checks import EARLIEST, LATEST
from dagster_project.sources.otlp.otlp_salvage import raw_text

Doubles = np.ndarray[tuple[int], np.dtype[np.float64]]

SERVICE_LABELS = ("service", "service_name", "job")

_EARLIEST_S, _LATEST_S = int(EARLIEST.timestamp()), int(LATEST.timestamp())


def texts(values: Sequence[str | None]) -> pa.Array:
    """A column of text; what is no UTF-8 (half a surrogate pair) is shown as a question mark."""
    encoded = [(value or "").encode(errors="replace") for value in values]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(value) for value in encoded], out=offsets[1:])
    valid = np.packbits(np.array([value is not None for value in values], np.bool_), bitorder="little")
    buffers = [pa.py_buffer(valid.tobytes()), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.large_string(), len(encoded), buffers)


def doubles(column: pa.Array) -> Doubles:
    """As `columns.numbers`, for double precision."""
    found = np.frombuffer(column.buffers()[1], np.float64)
    return found[column.offset : column.offset + len(column)]


def floats(values: Sequence[float] | Doubles) -> pa.Array:
    """A column of double precision."""
    column = np.ascontiguousarray(values, np.float64)
    return pa.Array.from_buffers(pa.float64(), len(column), [None, pa.py_buffer(column)])


def by_series(series: Numbers, columns: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """Columns of the points from columns of the series: dictionaries, so that no label is repeated.

    Parameters
    ----------
    series
        For each point, the position of its series in `columns`.
    """
    places = int64(series)
    # Positions are made by us: nothing is left to check.
    return {name: pa.DictionaryArray.from_arrays(places, column, safe=False) for name, column in columns.items()}


def positions(counts: Numbers) -> tuple[Numbers, Numbers]:
    """For series of so many points, one after the other: the series of each point from 0, its place in it from 1."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(np.arange(len(counts)), counts), np.arange(1, total + 1) - np.repeat(ends - counts, counts)


def described(labels: Mapping[str, object], service: str | None) -> tuple[str | None, str]:
    """The service that labels name, else `service`; and the labels as JSON."""
    told = {name: value if isinstance(value, str) else raw_text(value) or "" for name, value in labels.items()}
    named = next((told[label] for label in SERVICE_LABELS if label in told), service)
    return named, orjson.dumps(told).decode()


def moments(seconds: Doubles) -> pa.Array:
    """Seconds since 1970 as times of whole microseconds; null where they are outside of the years, or no number.

    A double holds no more: at this century's times its steps are a quarter of a microsecond.
    """
    is_time = (seconds >= _EARLIEST_S) & (seconds < _LATEST_S)
    is_whole = bool(is_time.all())
    microseconds = np.rint((seconds if is_whole else np.where(is_time, seconds, 0)) * 1e6).astype(np.int64)
    valid = None if is_whole else pa.py_buffer(np.packbits(is_time, bitorder="little").tobytes())
    return pa.Array.from_buffers(pa.timestamp("ns"), len(seconds), [valid, pa.py_buffer(microseconds * 1000)])


def microseconds(text: str, zone: str) -> str:
    """SQL: a time written as seconds since 1970, or in ISO 8601, as a BIGINT of microseconds; null when it is none.

    Parameters
    ----------
    text
        The column of it.
    zone
        The column of the IANA zone of times that name none.
    """
    number = f"try_cast({text} as double)"
    day = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
    clock = "[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?"
    return f"""case
        when isfinite({number}) and abs({number}) < 1e12 then round({number} * 1e6)::bigint
        when regexp_full_match({text}, '{day}[T ]{clock} ?(Z|z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)')
            then epoch_us(try_cast({text} as timestamptz))
        when regexp_full_match({text}, '{day}([T ]{clock})?')
            then epoch_us(timezone({zone}, try_cast({text} as timestamp)))
    end"""


def moment(micros: str) -> str:
    """SQL: microseconds since 1970 as a time; null outside of the years."""
    within = f"{micros} >= {_EARLIEST_S * 1_000_000} and {micros} < {_LATEST_S * 1_000_000}"
    return f"case when {within} then make_timestamp_ns({micros} * 1000) end"


def time_reason(text: str, micros: str) -> str:
    """SQL: why `moment` is null for the microseconds of a text."""
    return (
        f"case when coalesce(trim({text}), '') = '' then 'time_missing' "
        f"when {micros} is null and try_cast({text} as double) is null then 'time_malformed' "
        "else 'time_out_of_range' end"
    )
