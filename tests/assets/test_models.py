import json
from datetime import date

import dagster as dg
import pytest

from dagster_project.assets.models import DbtRun, dbt_arguments, only_what_is_missing
from dagster_project.transformation.replay_window import ReplayWindow

DAY = date(2024, 2, 29)
VARIABLES = {"incident_lead_minutes": 5, "replay_from": "2024-02-29"}


def due(*, full_refresh):
    return ReplayWindow(DAY, DAY, due_days=1, full_refresh=full_refresh, through_load_id=7, built_from="models")


def test_dbt_is_handed_the_variables_as_they_are():
    arguments = dbt_arguments(due(full_refresh=False), VARIABLES)
    assert json.loads(arguments[arguments.index("--vars") + 1]) == VARIABLES
    assert "--full-refresh" not in arguments


def test_changed_models_and_an_empty_history_are_built_from_scratch():
    assert "--full-refresh" in dbt_arguments(due(full_refresh=True), VARIABLES)
    assert "--full-refresh" in dbt_arguments(None, VARIABLES)


def test_unit_tests_of_models_are_not_the_night_s_business():
    assert dbt_arguments(None, {})[:3] == ["build", "--exclude-resource-type", "unit_test"]


LIMIT = "Runtime Error: INTERRUPT Error: Interrupted!"
HIT = {
    "model.hindcast.stg_spans": ("success", "OK"),
    "model.hindcast.stg_logs": ("success", "OK"),
    "test.hindcast.unique_stg_spans.1": ("pass", ""),
    "model.hindcast.verdicts__trace": ("error", LIMIT),
    "model.hindcast.fct_verdicts": ("skipped", ""),
}


def test_after_a_limit_only_what_hit_it_and_what_hangs_on_it_runs_again():
    hit = DbtRun([], None, HIT)
    assert hit.limited == {"verdicts__trace": LIMIT}
    assert hit.leave_out_built == ["--indirect-selection", "cautious", "--exclude", "stg_spans stg_logs"]


@pytest.mark.parametrize(("status", "message"), [("fail", "Got 3 results"), ("error", "Binder Error: no column x")])
def test_all_runs_again_when_something_else_failed_too(status, message):
    """What a failed test kept from being built would be built without it."""
    assert DbtRun([], None, HIT | {"test.hindcast.another.2": (status, message)}).leave_out_built == []


@pytest.mark.parametrize("message", ["Out of Memory Error: could not allocate", LIMIT])
def test_a_test_that_hit_a_limit_is_asked_again(message):
    """Without its model it would not be chosen again, and the night would be green without its answer."""
    with_test = DbtRun([], None, HIT | {"test.hindcast.never_null_stg_spans.3": ("error", message)})
    assert with_test.limited == {"verdicts__trace": LIMIT}
    assert with_test.leave_out_built == []


def test_a_test_alone_that_hit_a_limit_is_no_model_to_look_for_rules_in():
    of_a_test = {"test.hindcast.never_null_stg_spans.3": ("error", LIMIT), "model.hindcast.stg_spans": ("success", "")}
    assert DbtRun([], None, of_a_test).limited == {}


@pytest.mark.parametrize("status", ["partial success", "no-op"])
def test_a_model_that_did_not_simply_succeed_is_no_reason_to_leave_others_out(status):
    assert DbtRun([], None, HIT | {"model.hindcast.stg_tags": (status, "")}).leave_out_built == []


SPANS, LOGS = dg.AssetKey("stg_spans"), dg.AssetKey("stg_logs")


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (dg.AssetSelection.all(), ["--indirect-selection", "cautious", "--exclude", "stg_spans stg_logs"]),
        (dg.AssetSelection.assets(SPANS), []),
        (dg.AssetSelection.all() - dg.AssetSelection.checks_for_assets(SPANS), []),
        (dg.AssetSelection.checks_for_assets(SPANS), []),
    ],
)
def test_nothing_is_left_out_of_what_was_asked_for_in_part(selection, expected):
    """Dagster tells dbt of a part in the very option that leaving out would set, so that other tests would run."""
    told = []

    @dg.multi_asset(
        specs=[dg.AssetSpec(SPANS, skippable=True), dg.AssetSpec(LOGS, skippable=True)],
        check_specs=[dg.AssetCheckSpec("unique", asset=SPANS), dg.AssetCheckSpec("never_null", asset=SPANS)],
        can_subset=True,
    )
    def models(context: dg.AssetExecutionContext):
        told.append(only_what_is_missing(context, DbtRun([], None, HIT)))
        for check in context.selected_asset_check_keys:
            yield dg.AssetCheckResult(passed=True, asset_key=check.asset_key, check_name=check.name)

    dg.materialize([models], selection=selection)
    assert told == [expected]


def test_of_two_runs_what_the_later_says_counts():
    check = {"asset_key": dg.AssetKey(["staging", "stg_spans"]), "check_name": "unique"}
    first = [
        dg.Output(1, output_name="spans"), dg.Output(1, output_name="logs"), dg.AssetCheckResult(passed=False, **check)
    ]  # fmt: skip
    later = [dg.Output(2, output_name="spans"), dg.AssetCheckResult(passed=True, **check)]
    both = DbtRun(first, RuntimeError(), HIT).followed_by(DbtRun(later))
    assert both.events == [first[1], *later]
    assert both.failure is None
