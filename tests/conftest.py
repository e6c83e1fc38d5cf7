"""What every test shares: bytecode that is kept between processes, and the order of files. Fixtures stand with rooms.

Where PYTHONDONTWRITEBYTECODE is set, as in images of CI, each of them would compile a thousand modules again: half
of the time of a `hindcast`, and more of a `dbt`.
"""

import os
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
# Files that take longest. With `--dist loadfile` one that comes last keeps one worker while the others have nothing to
# do; and xdist itself begins with the files of most tests, which are quick ones. Two that want the night of the samples
# do not stand beside each other: one would wait for the other's.
FIRST = (
    "end_to_end/test_night.py",
    "end_to_end/test_limits.py",
    "end_to_end/test_bad_input.py",
    "rule_language/test_incremental.py",
    "rule_language/test_mutations.py",
    "rule_language/test_oracle.py",
    "dbt/test_judged_rules.py",
    "end_to_end/test_backfill.py",
    "dbt/test_incidents.py",
    "end_to_end/test_catalogue_figures.py",
    "dbt/test_staging.py",
    "dbt/test_project.py",
)

if sys.dont_write_bytecode:
    # Below the cache of pytest, so that nothing appears beside sources whose owner asked for that.
    cache = TESTS.parent / ".pytest_cache" / "bytecode"
    sys.dont_write_bytecode = False
    sys.pycache_prefix = os.environ.setdefault("PYTHONPYCACHEPREFIX", str(cache))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {str(TESTS / name): place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: rank.get(str(item.path), len(FIRST)))
