"""Marts that Python infers from incidents: comparisons of them. `statistics/` has the methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import dagster as dg
import duckdb
import pyarrow as pa

from dagster_project.resources import Warehouse
from dagster_project.settings import Project
from dagster_project.statistics import marts
from dagster_project.statistics.plan import ComparisonPlan, load_plans
from dagster_project.warehouse.results import replace_table

Infer = Callable[[duckdb.DuckDBPyConnection], pa.Table]


MARTS = {
    "mart_significance": "Comparisons of two arms: effect, interval, frequency beside it, verdict in one sentence.",
    "mart_significance_plans": "Versions of the plans, with the time at which each was stored before its results.",
    "mart_significance_steps": "The thirteen steps of each comparison, with what each found.",
    "mart_significance_estimates": "Every estimate of each comparison: what a forest plot shows.",
    "mart_significance_slices": "Exploratory ratios within severities, services, teams and categories.",
    "mart_significance_mix": "How much of each change is the mix of incidents, and how much lies within each kind.",
    "mart_survival_curves": "Survival curves of the arms, open incidents counted.",
    "mart_placebo_cut_overs": "Each cut-over among those at which nothing is known to have happened.",
    "mart_significance_points": "Incidents of the arms as points, as rows of fct_incidents.",
}


def build(project: Project) -> list[dg.AssetsDefinition]:
    """The marts of comparisons, which are computed together."""

    @dg.multi_asset(
        name="comparisons",
        specs=[
            dg.AssetSpec(
                ["marts", name],
                description=description,
                group_name="statistics",
                kinds={"python", "duckdb"},
                deps=[dg.AssetKey(["marts", "fct_incidents"])],
            )
            for name, description in MARTS.items()
        ],
    )
    def comparisons(warehouse: Warehouse) -> Iterator[dg.MaterializeResult[None]]:
        plans = _comparisons(project)
        with warehouse.writer("compare incidents") as connection:
            judged = marts.judge(connection, plans, marts.Registry(project.state_file))
            made = marts.tables(judged) | {"mart_significance_plans": marts.plan_rows(project.state_file, plans)}
            for name in MARTS:
                replace_table(connection, f"marts.{name}", made[name])
        for name in MARTS:
            yield dg.MaterializeResult(asset_key=["marts", name], metadata=_metadata(made[name]))

    return [comparisons]


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
            replace_table(connection, f"marts.{name}", rows)
        return dg.MaterializeResult(metadata=_metadata(rows))

    return inferred


def _metadata(rows: pa.Table) -> dict[str, int | dg.TableSchema]:
    columns = [
        dg.TableColumn(field.name, str(field.type), (field.metadata or {}).get(b"description", b"").decode())
        for field in rows.schema
    ]
    return {"dagster/row_count": rows.num_rows, "dagster/column_schema": dg.TableSchema(columns)}


def _comparisons(project: Project) -> Sequence[ComparisonPlan]:
    """The project's comparisons; a project without the file asks for none."""
    file = project.comparisons_file
    return load_plans(file).comparisons if file.is_file() else ()
