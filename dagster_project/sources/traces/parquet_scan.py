"""Parquet as DuckDB reads it, which is several times faster than Arrow's way: columns as SQL, and rows as a stream.

What a span is `parquet_spans.py` knows; it also reads what DuckDB cannot: damaged files, texts that are not UTF-8.
"""

from __future__ import annotations

import atexit
import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from string import Template

import duckdb
import pyarrow as pa

LONG_MAP = 64  # keys; beyond that, comparing each with each costs more than hashing them
UNITS = ("s", "ms", "us", "ns")


@cache
def _memory() -> duckdb.DuckDBPyConnection:
    # Lossless: identifiers and JSON keep their types, so that nothing is parsed again where it lands.
    found = duckdb.connect(":memory:", config={"threads": 1, "arrow_lossless_conversion": True})
    atexit.register(found.close)
    return found


class Scan:
    """A Parquet file, one query at a time; whatever DuckDB does not read raises `duckdb.Error`."""

    def __init__(self, path: Path) -> None:
        # A bracket in a name is no pattern; and folders such as `day=1` add no columns.
        self._file = glob.escape(str(path.absolute()))
        self._connection = _memory().cursor()
        self._connection.execute("set TimeZone = 'UTC'")

    def types(self) -> dict[str, str]:
        """DuckDB's types of the columns, by name."""
        rows = self._connection.execute(_DESCRIBE, {"file": self._file}).fetchall()
        return {name: kind for name, kind, *_ in rows}

    def schema(self, sql: str) -> pa.Schema:
        """What a query would yield; `{file}` in it stands for the rows of the file."""
        sql = sql.replace("{file}", _FILE)
        return self._connection.sql(f"{sql} limit 0", params={"file": self._file}).to_arrow_table().schema

    def rows(self, sql: str, batch_rows: int, tables: Mapping[str, pa.Table]) -> Iterator[pa.Table]:
        """What a query yields, in the order of the file; memory is bounded by some batches."""
        for name, table in tables.items():
            self._connection.register(name, table)
        found = self._connection.sql(sql.replace("{file}", _FILE), params={"file": self._file})
        for batch in found.to_arrow_reader(batch_rows):
            yield pa.Table.from_batches([batch])

    def texts(self, columns: Sequence[str], lines: Sequence[int]) -> dict[int, str | None]:
        """Some rows as JSON, by their numbers from 1."""
        sql = _TEXTS.substitute(rows=_FILE, columns=", ".join(map(quoted, columns)))
        # A connection of its own: this one is in the middle of a stream.
        found = self._connection.cursor().execute(
            sql, {"file": self._file, "lines": list(lines), "first": min(lines), "last": max(lines)}
        )
        return dict(found.fetchall())


_FILE = "read_parquet($file, file_row_number = true, hive_partitioning = false)"
_DESCRIBE = f"describe select * from {_FILE}"  # noqa: S608 (no value is in it)
_TEXTS = Template("""
    select line, to_json(sent)::varchar
    from (
        select file_row_number + 1 as line, struct_pack($columns) as sent
        from $rows
        where file_row_number between $$first - 1 and $$last - 1
    )
    where list_contains($$lines, line)
""")


def quoted(name: str) -> str:
    """A column's name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


_AS_IT_IS = re.compile(r"VARCHAR(\[\])?|U?(TINYINT|SMALLINT|INTEGER|BIGINT)|UHUGEINT|HUGEINT")
_TIMES = {
    "TIMESTAMP_MS": "ms",
    "TIMESTAMP": "us",
    "TIMESTAMP WITH TIME ZONE": "us",
    "TIMESTAMP_NS": "ns",
    "TIMESTAMPTZ_NS": "ns",
}


def time_unit(kind: str) -> str | None:
    """The unit of a time, or of a list of times; None of anything else."""
    return _TIMES.get(kind.removesuffix("[]"))


def expression(column: str, kind: str, *, is_object: bool, keeps_bytes: bool) -> str | None:
    """SQL: a column as `parquet_spans.py` prepares it from Arrow; None for a type that only Arrow's way reads.

    Parameters
    ----------
    is_object
        A map becomes a JSON object.
    keeps_bytes
        Bytes are no text.
    """
    name = quoted(column)
    if is_map(kind):
        return f"case when cardinality({name}) > 0 then {_object(name)} end" if is_object else None
    if kind == "MAP(VARCHAR, VARCHAR)[]":
        return f"list_transform({name}, lambda pairs: {_first_pairs('pairs')})"
    if unit := time_unit(kind):
        return (
            f"list_transform({name}, lambda moment: epoch_{unit}(moment))"
            if kind.endswith("[]")
            else f"epoch_{unit}({name})"
        )
    if kind == "BLOB":
        return name if keeps_bytes else f"decode({name})"
    if kind == "JSON":
        return f"{name}::varchar"
    return (
        name if _AS_IT_IS.fullmatch(kind) or (is_object and kind.startswith("STRUCT(") and "BLOB" not in kind) else None
    )


def is_map(kind: str) -> bool:
    """Whether a type is a map of texts."""
    return kind == "MAP(VARCHAR, VARCHAR)"


def _object(name: str) -> str:
    """SQL: a map of texts as a JSON object, of a repeated key the first one only, which hardly any map has."""
    keys = f"map_keys({name})"
    repeats = (
        f"case when len({keys}) > {LONG_MAP} then list_unique({keys}) < len({keys}) "
        f"else len(list_filter({keys}, lambda key, place: list_position({keys}, key) <> place)) > 0 end"
    )
    return f"case when {repeats} then to_json(map_from_entries({_first_pairs(name)})) else to_json({name}) end"


def _first_pairs(name: str) -> str:
    keys = f"map_keys({name})"
    return f"list_filter(map_entries({name}), lambda pair, place: list_position({keys}, pair.key) = place)"
