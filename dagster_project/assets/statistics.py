"""Marts that Python infers from incidents: comparisons of them. `statistics/` has the methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import dagster as dg
import duckdb
import pyarrow as pa

from dagster_project.resources import Warehouse
from dagster_project.settings import Project
from dagster_project.statistics import marts
from dagster_project.statistics.plan import ComparisonPlan, load_plans
from dagster_project.warehouse.results import replace_table

Infer = Callable[[duckdb.DuckDBPyConnection], pa.Table]


def build(project: Project) -> list[dg.AssetsDefinition]:
    """One asset a mart."""
    incidents = [dg.AssetKey(["marts", "fct_incidents"])]
    return [
        mart(
            "mart_significance",
            "Comparisons of two arms of incidents: effect, interval, frequency beside it, verdict in one sentence.",
            lambda connection: marts.significance(connection, _comparisons(project)),
            after=incidents,
        ),
    ]


def mart(
    name: str, description: str, infer: Infer, *, after: list[dg.AssetKey] | None = None, group: str = "statistics"
) -> dg.AssetsDefinition:
    """An asset `marts.<name>` that holds the rows which `infer` returns."""

    @dg.asset(
        key=["marts", name], group_name=group, kinds={"python", "duckdb"}, description=description, deps=after or []
    )
    def inferred(warehouse: Warehouse) -> dg.MaterializeResult[None]:
        with warehouse.writer(f"write {name}") as connection:
            rows = infer(connection)
            count = replace_table(connection, f"marts.{name}", rows)
        columns = [
            dg.TableColumn(field.name, str(field.type), (field.metadata or {}).get(b"description", b"").decode())
            for field in rows.schema
        ]
        return dg.MaterializeResult(
            metadata={"dagster/row_count": count, "dagster/column_schema": dg.TableSchema(columns)}
        )

    return inferred


def _comparisons(project: Project) -> Sequence[ComparisonPlan]:
    """The project's comparisons; a project without the file asks for none."""
    file = project.comparisons_file
    return load_plans(file).comparisons if file.is_file() else ()
