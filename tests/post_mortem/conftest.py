from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

STAND_IN = Path(__file__).parents[1] / "site/stand_in_warehouse.sql"


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as made:
        made.execute(STAND_IN.read_text(encoding="utf-8"))
        yield made
