"""A gate from files to answer: lands and stages telemetry, judges rules, holds findings against a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from dagster_project.gate import baseline, selection, telemetry
from dagster_project.gate.baseline import Baseline, BaselineInvalid
from dagster_project.gate.findings import compiled, judge
from dagster_project.gate.outcome import Outcome, Policy, review, to_accept
from dagster_project.gate.telemetry import Telemetry
from dagster_project.rule_language.sql.nodes import without_collector


@dataclass(frozen=True)
class Request:
    """What is asked of a gate.

    Parameters
    ----------
    paths
        Files and folders of traces, logs and whatever else the rules look at.
    rules
        Domains, ids, files, folders; none: all.
    baseline_file
        Where what is accepted stands; None: nothing is.
    """

    paths: Sequence[Path]
    rules: Sequence[str]
    policy: Policy
    today: date
    project_dir: Path | None = None
    baseline_file: Path | None = None
    update_baseline: bool = False


def run(request: Request) -> Outcome:
    """Judge the telemetry. With `update_baseline` the file is written, and then nothing that was found is new.

    Raises
    ------
    RuleErrors, UnknownRules, UnreadableInput, BaselineInvalid, OSError
        The gate cannot vouch for anything.
    """
    accepted = _accepted(request)
    # Decoding and staging mostly run outside of the interpreter's lock: rules are read and compiled meanwhile.
    with telemetry.warehouse() as connection, ThreadPoolExecutor(1) as beside:
        staging = beside.submit(_staged, connection, request.paths)
        with without_collector():
            catalogue = selection.select(request.rules, selection.rules_folder(request.project_dir))
            queries = [compiled(rule) for rule in catalogue]
        staged = staging.result()
        telemetry.stage_beside(connection, {table for query in queries for table in query.tables})
        judged = judge(connection, queries, has_logs=staged.logs > 0)
    outcome = review(staged, judged, accepted, request.policy, request.today)
    if not request.update_baseline or request.baseline_file is None or outcome.broken:
        return outcome
    accepted = baseline.updated(accepted, to_accept(outcome), request.today)
    baseline.write(accepted, request.baseline_file)
    return review(staged, judged, accepted, request.policy, request.today)


def _staged(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> Telemetry:
    return telemetry.stage(connection, telemetry.land(connection, paths))


def _accepted(request: Request) -> Baseline:
    path = request.baseline_file
    if path is None or (request.update_baseline and not path.exists()):
        return Baseline()
    if not path.exists():
        raise BaselineInvalid(f"the baseline {path} does not exist; --update-baseline writes it")
    return baseline.read(path)
