from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from dagster_project import post_mortem, site
from dagster_project.facts import (
    FailedStep,
    LoadedFile,
    NightSummary,
    ReasonCount,
    Stamp,
    ViolationChange,
    ViolationLine,
)
from tests.site import stand_in_marts

STAND_IN = Path(__file__).with_name("stand_in_warehouse.sql")
STAMP = Stamp("3f2a9c01bd77", datetime(2024, 3, 5, 2, 0, 5))


@dataclass(frozen=True)
class Built:
    folder: Path
    documents: Path

    def pages(self) -> list[Path]:
        return sorted(self.folder.rglob("*.html"))


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with _stand_in() as made:
        yield made


@contextmanager
def _stand_in() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as made:
        made.execute(STAND_IN.read_text(encoding="utf-8"))
        stand_in_marts.fill(made)
        yield made


@pytest.fixture(scope="session")
def night() -> NightSummary:
    line = ViolationLine("v1", "cart-needs-stock", "A <b>cart</b>", "high", "=1+1", datetime(2024, 3, 4, 10), ("cart",))
    return NightSummary(
        night_id="7d0f3a91c2b4",
        started_at=datetime(2024, 3, 5, 2),
        finished_at=datetime(2024, 3, 5, 2, 3, 12),
        exit_code=1,
        generation=STAMP.generation,
        as_of=STAMP.as_of,
        loads=(
            LoadedFile("shop", "otlp_traces", "traces.jsonl.gz", "loaded", 1000, 5),
            LoadedFile("shop", "otlp_traces", "<i>broken</i>.gz", "failed", 0, 0, "the compressed stream ends early"),
        ),
        refused=(ReasonCount("no_trace_id", 3), ReasonCount("not_json", 1)),
        new=ViolationChange(3, (("cart-needs-stock", 3),), (line,)),
        ongoing=ViolationChange(42, (("cart-needs-stock", 37), ("payment-idempotency", 5))),
        gone=ViolationChange(1, (("payment-idempotency", 1),)),
        failed_steps=(FailedStep("land", "<script>alert(1)</script>"),),
    )


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, night: NightSummary) -> Built:
    """A site for tests that only look at it; `own_site` is for those that change it."""
    folder = tmp_path_factory.mktemp("built")
    documents = folder / "post_mortems"
    with _stand_in() as connection:
        written = post_mortem.write(connection, documents, stamp=STAMP)
        site.build(connection, folder / "site", STAMP, documents=written, night=night)
    return Built(folder / "site", documents)


@pytest.fixture
def own_site(built: Built, tmp_path: Path) -> Built:
    shutil.copytree(built.folder.parent, tmp_path / "own")
    return Built(tmp_path / "own/site", tmp_path / "own/post_mortems")
