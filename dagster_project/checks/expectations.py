"""The suites of Great Expectations as asset checks: one check a raw table, made from `quality.suites`.

What is expected, and why, stands there; here is only how Dagster is told.
"""

from __future__ import annotations

import dagster as dg

from dagster_project.quality.suites import SUITES, Suite
from dagster_project.quality.validation import validate
from dagster_project.resources import Warehouse


def build() -> list[dg.AssetChecksDefinition]:
    """One check a suite."""
    return [_check(suite) for suite in SUITES.values()]


def _check(suite: Suite) -> dg.AssetChecksDefinition:
    count = len(suite.of_aggregates) + len(suite.of_sample)

    @dg.asset_check(
        asset=dg.AssetKey(suite.table.split(".")),
        name="great_expectations",
        blocking=True,
        description=f"{count} expectations of {suite.table}, over aggregates and a bounded sample.",
    )
    def great_expectations(warehouse: Warehouse) -> dg.AssetCheckResult:
        with warehouse.reader(f"check {suite.table}") as connection:
            validation = validate(connection, suite)
        broken = [f"- **{each.severity}** `{each.name}`: {each.observed} ({each.reason})" for each in validation.broken]
        return dg.AssetCheckResult(
            passed=validation.worst is None,
            severity=dg.AssetCheckSeverity.ERROR if validation.worst == "error" else dg.AssetCheckSeverity.WARN,
            metadata={
                "rows": validation.rows,
                "expectations": len(validation.judged),
                "broken": dg.MetadataValue.md("\n".join(broken) or "none"),
            },
        )

    return great_expectations
