"""The stand-in warehouse has the columns that dbt and the statistics really make."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from dagster_project.evidence.collection import EVIDENCE_SCHEMA

MODELS = Path(__file__).resolve().parents[2] / "dbt/models"
DESCRIBED = {
    model["name"]: (file.parent.name, {column["name"] for column in model.get("columns", [])})
    for file in sorted(MODELS.glob("*/*.yml"))
    for model in yaml.safe_load(file.read_text(encoding="utf-8")).get("models", [])
}
MADE_BY_PYTHON: dict[str, pa.Schema] = {
    "mart_evidence": EVIDENCE_SCHEMA,
}


def columns(connection, schema, table):
    rows = connection.execute(
        "select column_name from information_schema.columns where table_schema = ? and table_name = ?", [schema, table]
    ).fetchall()
    return {name for (name,) in rows}


def test_it_invents_no_column_of_a_model(connection):
    checked = 0
    for name, (schema, described) in DESCRIBED.items():
        ours = columns(connection, schema, name)
        assert ours <= described | {"expression"}, f"{schema}.{name} has no {sorted(ours - described)}"
        checked += bool(ours)
    assert checked >= 19


@pytest.mark.parametrize("name", MADE_BY_PYTHON)
def test_it_invents_no_column_of_a_table_that_python_makes(connection, name):
    assert columns(connection, "marts", name) == set(MADE_BY_PYTHON[name].names)
