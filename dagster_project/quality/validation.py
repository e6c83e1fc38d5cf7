"""Running a suite: SQL makes two small frames, Great Expectations judges them. `suites.py` says what is expected."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import duckdb
import pandas as pd

from dagster_project.quality.suites import SAMPLE_ROWS, Expectation, Severity, Suite


@dataclass(frozen=True)
class Judged:
    """One expectation and what was found."""

    name: str
    reason: str
    severity: Severity
    is_met: bool
    observed: str


@dataclass(frozen=True)
class Validation:
    """A suite's outcome. Nothing can be said of an empty table: it is `is_empty`, and met."""

    table: str
    rows: int
    judged: tuple[Judged, ...]

    @property
    def is_empty(self) -> bool:
        return self.rows == 0

    @property
    def broken(self) -> tuple[Judged, ...]:
        return tuple(each for each in self.judged if not each.is_met)

    @property
    def worst(self) -> Severity | None:
        """The severity of the worst broken expectation, or None when all are met."""
        severities = {each.severity for each in self.broken}
        return "error" if "error" in severities else "warning" if severities else None


def validate(connection: duckdb.DuckDBPyConnection, suite: Suite) -> Validation:
    """Judge one raw table by its suite.

    Parameters
    ----------
    connection
        On the warehouse; reading is enough.
    """
    ((rows,),) = connection.table(suite.table).aggregate("count(*)").fetchall()
    if rows == 0:
        return Validation(suite.table, 0, ())
    aggregates = connection.execute(suite.aggregates).df()
    sample = connection.execute(suite.sample, {"rows": SAMPLE_ROWS}).df()
    judged = [*_judge(aggregates, suite.of_aggregates), *_judge(sample, suite.of_sample)]
    return Validation(suite.table, rows, tuple(judged))


def _judge(frame: pd.DataFrame, expectations: tuple[Expectation, ...]) -> list[Judged]:
    # Great Expectations takes three seconds to import and would report its use over the network.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx  # noqa: PLC0415
    from great_expectations.data_context.types.base import ProgressBarsConfig  # noqa: PLC0415

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    batch = (
        context.data_sources.add_pandas("frame").add_dataframe_asset("frame").add_batch_definition_whole_dataframe("it")
    )
    suite = gx.ExpectationSuite(name="suite")
    for position, each in enumerate(expectations):
        suite.add_expectation(getattr(gx.expectations, each.kind)(**each.arguments, meta={"position": position}))
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name="run", data=batch, suite=context.suites.add(suite))
    )
    results = definition.run(batch_parameters={"dataframe": frame}).results
    return [_outcome(expectations[_position(result)], result) for result in results]


def _position(result: Any) -> int:
    return int(result.expectation_config.meta["position"])


def _outcome(expectation: Expectation, result: Any) -> Judged:
    found = result.result
    samples = found.get("partial_unexpected_list") or []
    observed = f"{found.get('unexpected_count', 0)} of {found.get('element_count', 0)} unexpected"
    if samples:
        observed += f", such as {', '.join(map(str, samples[:3]))}"
    name = f"{expectation.kind}({', '.join(f'{key}={value!r}' for key, value in expectation.arguments.items())})"
    return Judged(name, expectation.reason, expectation.severity, bool(result.success), observed)
