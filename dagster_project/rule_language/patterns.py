"""Asks the engine's own RE2 whether it accepts a regular expression.

No table is read and nothing is written: one function call in an in-memory engine, remembered per pattern.
"""

from __future__ import annotations

from functools import lru_cache

import duckdb


@lru_cache(maxsize=4096)
def complaint(pattern: str) -> str | None:
    """Why RE2 refuses the pattern, or None when it accepts it."""
    try:
        _engine().execute("select regexp_matches('', ?)", [pattern]).fetchall()
    except duckdb.Error as error:
        return str(error).split(": ", 1)[-1].strip()
    return None


@lru_cache(maxsize=1)
def _engine() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:", config={"threads": 1})
