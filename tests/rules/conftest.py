"""The catalogue as it stands in the repository, read once."""

from pathlib import Path

import pytest

from dagster_project.rule_language import Catalogue, load_catalogue

REPOSITORY = Path(__file__).resolve().parents[2]


def read_catalogue() -> Catalogue:
    files = sorted((REPOSITORY / "rules").rglob("*.yml"))
    return load_catalogue({file.relative_to(REPOSITORY).as_posix(): file.read_text() for file in files})


@pytest.fixture(scope="session")
def catalogue():
    return read_catalogue()
