"""The dbt models as assets: one run of dbt for a range of event days, row counts taken when dbt is done."""

# No `from __future__ import annotations` here: Dagster looks at the annotation of `context` itself.
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import orjson
from dagster_dbt import DagsterDbtTranslator, DbtCliInvocation, DbtCliResource, dbt_assets
from dagster_dbt.errors import DagsterDbtCliRuntimeError

from dagster_project import __version__, rule_language
from dagster_project.partitions import days_of
from dagster_project.policy import policy
from dagster_project.resources import Warehouse
from dagster_project.settings import Project
from dagster_project.sources import declaration
from dagster_project.transformation import limits, prepare, replay_window, time_limit
from dagster_project.warehouse import suppressions

# Unit tests are the developers': they read no data, so a night would learn nothing from them.
BUILD = ("build", "--exclude-resource-type", "unit_test")


class Translator(DagsterDbtTranslator):
    """A model's key is its place in the warehouse, its group its layer."""

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        return dg.AssetKey([dbt_resource_props["schema"], dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        is_source = dbt_resource_props["resource_type"] == "source"
        return "landing" if is_source else str(dbt_resource_props["schema"])


def build(project: Project, event_days: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The assets of the prepared dbt project.

    Raises
    ------
    prepare.NotPrepared
        When `hindcast prepare` must run first.
    """

    @dbt_assets(
        manifest=prepare.require_prepared(project),
        dagster_dbt_translator=Translator(),
        partitions_def=event_days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        name="models",
    )
    def models(
        context: dg.AssetExecutionContext, dbt: DbtCliResource, warehouse: Warehouse
    ) -> Iterator[dg.Output[Any] | dg.AssetCheckResult | dg.AssetObservation]:
        first_day, last_day = days_of(context.partition_key_range, context.run.tags)
        bound = declaration.read(project.sources_file).first_day
        with warehouse.writer("begin a replay") as connection:
            due = replay_window.due(connection, prepare.models_fingerprint(project), bound)
            replay_window.begin(connection)
            limits.begin(connection)
            suppressions.snapshot(connection, project.state_file, datetime.now(UTC).date())
        if due and due.full_refresh:
            first_day, last_day = due.first_day, due.last_day
        variables = {**_policy_vars(project), **replay_window.dbt_vars(first_day, last_day, bound=bound)}
        arguments = dbt_arguments(due, variables)
        done = _run(context, dbt, project, arguments)
        if done.limited and (longer := _take_out(project, warehouse, done.limited)):
            # The others each end in time, but perhaps not all together.
            with time_limit.of(longer):
                done = done.followed_by(_run(context, dbt, project, [*arguments, *only_what_is_missing(context, done)]))
        yield from _with_row_counts(context, done.events, warehouse)
        if done.failure:
            raise done.failure
        with warehouse.writer("finish a replay") as connection:
            if due and due.is_within(first_day, last_day):
                replay_window.record(connection, due, __version__)
            replay_window.finish(connection)

    return models


def dbt_arguments(due: replay_window.ReplayWindow | None, variables: Mapping[str, Any]) -> list[str]:
    """What to tell dbt: build every table from scratch when the models changed, else the window alone.

    Without any day to replay all is built from scratch too: what an earlier `first_day` took in must go.
    """
    from_scratch = ["--full-refresh"] if due is None or due.full_refresh else []
    return [*BUILD, *from_scratch, "--vars", orjson.dumps(variables).decode()]


def _policy_vars(project: Project) -> Mapping[str, Any]:
    """What the project's policy says to the models; a project without one has their defaults."""
    return policy.dbt_vars(policy.load_policy(project.policy_file)) if project.policy_file.is_file() else {}


@dataclass(frozen=True)
class DbtRun:
    """What one run of dbt came to. A failure is kept beside the events: what was built before it is reported, too."""

    events: list[Any]
    failure: DagsterDbtCliRuntimeError | None = None
    results: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Status and message of each model and test, by its unique id."""

    @property
    def limited(self) -> dict[str, str]:
        """The models that failed because they hit a limit of the engine, each with what it said."""
        found = filter(self._is_limited, self.results)
        return {name.rsplit(".", 1)[1]: self.results[name][1] for name in found}

    @property
    def leave_out_built(self) -> list[str]:
        """What tells dbt to run again only what hit a limit and what hangs on it.

        Nothing is left out when something else failed, too: what a test kept from being built stays so, and a test
        that itself hit a limit, which dbt chooses by its model, is asked again.
        """
        others = {status for name, (status, _) in self.results.items() if not self._is_limited(name)}
        built = [
            name.rsplit(".", 1)[1]
            for name, (status, _) in self.results.items()
            if status == "success" and name.startswith("model.")
        ]
        if not built or not others <= {"success", "pass", "warn", "skipped"}:
            return []
        # Cautious: a test goes only when all that it reads was built.
        return ["--indirect-selection", "cautious", "--exclude", " ".join(built)]

    def _is_limited(self, name: str) -> bool:
        return name.startswith("model.") and limits.is_a_limit(self.results[name][1])

    def followed_by(self, later: "DbtRun") -> "DbtRun":
        """Both as one; what the later run says counts where both say something."""
        again = set(map(_subject, later.events))
        return replace(later, events=[*(one for one in self.events if _subject(one) not in again), *later.events])


def only_what_is_missing(context: dg.AssetExecutionContext, done: DbtRun) -> list[str]:
    """What tells dbt to run again only what a run did not build; nothing when Dagster asked for a part of the models.

    For a part dagster-dbt itself sets which tests go with the models that it names, and our option would undo that.
    """
    return [] if context.is_subset else done.leave_out_built


def _subject(event: Any) -> tuple[Any, ...]:
    """The model that an event reports, or the test of one."""
    if isinstance(event, dg.Output):
        return (event.output_name,)
    return (event.asset_key, getattr(event, "check_name", None))


def _run(context: dg.AssetExecutionContext, dbt: DbtCliResource, project: Project, arguments: list[str]) -> DbtRun:
    """One run of dbt to its end, whatever that is."""
    events: list[Any] = []
    with prepare.parsed_for_dbt(project):
        run = dbt.cli(arguments, context=context)
    try:
        events.extend(run.stream())
    except DagsterDbtCliRuntimeError as error:
        return DbtRun(events, error, _results(run))
    return DbtRun(events)


def _results(run: DbtCliInvocation) -> dict[str, tuple[str, str]]:
    try:
        results = run.get_artifact("run_results.json")["results"]
    except (OSError, ValueError, KeyError):
        return {}  # dbt ended before it ran anything
    return {result["unique_id"]: (result["status"], str(result.get("message"))) for result in results}


def _take_out(project: Project, warehouse: Warehouse, limited: dict[str, str]) -> float | None:
    """Take out the rules that hit the limit by themselves. Says how long a plan group may take when dbt runs again.

    None when that would help nothing: no rule was found, and it was not time that was short.
    """
    catalogue = rule_language.load_catalogue(prepare.rule_texts(project))
    with warehouse.writer("find the rules that hit a limit") as connection:
        found = limits.take_out(connection, catalogue, limited)
    if found or any(map(limits.is_of_time, limited.values())):
        return limits.seconds_a_group(catalogue)
    return None


def _with_row_counts(context: dg.AssetExecutionContext, events: list[Any], warehouse: Warehouse) -> Iterator[Any]:
    # dagster-dbt's own fetch_row_counts keeps a connection open that the next writer would meet.
    with warehouse.reader("count rows") as connection:
        for event in events:
            if isinstance(event, dg.Output):
                table = ".".join(context.asset_key_for_output(event.output_name).path)
                ((rows,),) = connection.table(table).aggregate("count(*)").fetchall()
                yield event.with_metadata({**event.metadata, "dagster/row_count": rows})
            else:
                yield event
