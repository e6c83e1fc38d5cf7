"""Clocks, baselines, targets and deliveries beside the same numbers found another way, and on the full recordings."""

import csv
import gzip
import io
import os
import zipfile
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight

from dagster_project.sources.registry import FORMATS
from dagster_project.warehouse.connection import connect
from dagster_project.warehouse.landing import InputFile, land

RECORDINGS = Path(os.environ.get("HINDCAST_RECORDINGS", Path(__file__).parents[3] / "shared" / "data"))
TICKETS = RECORDINGS / "servicenow-incidents" / "incident_event_log.zip"
DEPLOYS = RECORDINGS / "govuk-deploys"
needs_recordings = pytest.mark.skipif(
    not TICKETS.exists() or not DEPLOYS.is_dir(),
    reason="the recordings are absent; name their folder with HINDCAST_RECORDINGS",
)
CREATED = datetime(2024, 1, 1, tzinfo=UTC)


def build(project, warehouse, *models, **variables):
    """Make the models, and hold them to their tests."""
    project.run(warehouse, "run", "-s", *(f"+{model}" for model in models), **variables)
    project.run(warehouse, "test", "-s", *models, "--exclude", "resource_type:unit_test", **variables)


def incidents_of(groups):
    """Incidents of a table of seconds: `groups` from a team to (ended, ages of open ones at the end of the data)."""
    end = 10_000_000
    for team, (ended, ages) in groups.items():
        for number, (seconds, is_open) in enumerate([(e, False) for e in ended] + [(a, True) for a in ages]):
            start = end - int(seconds) if is_open else 1000
            yield {
                "incident_id": f"{team}-{number}", "team": team, "title": "x", "created_at": _iso(start),
                "resolved_at": None if is_open else _iso(start + int(seconds)),
            }  # fmt: skip
    yield {"incident_id": "last", "title": "x", "created_at": _iso(end), "resolved_at": _iso(end)}


def _iso(seconds):
    return datetime.fromtimestamp(CREATED.timestamp() + seconds, tz=UTC).isoformat()


def censored_quantile(ended, open_ages, share):
    """By scipy's curve; where that is flat at 1 - share, the middle of the flat piece, as R's survfit has it."""
    values = np.concatenate([ended, open_ages])
    curve = stats.ecdf(stats.CensoredData.right_censored(values, np.arange(values.size) >= len(ended))).sf
    reached = np.flatnonzero(curve.probabilities <= 1 - share + 1e-12)
    below = np.flatnonzero(curve.probabilities < 1 - share - 1e-12)
    if reached.size == 0:
        return None
    return float(curve.quantiles[[reached[0], below[0] if below.size else reached[0]]].mean())


def test_medians_count_open_incidents_as_the_statistics_do(shared_project, warehouse):
    random = np.random.default_rng(7)
    groups = {}
    for number in range(60):
        size = int(random.integers(1, 40))
        # Few different values, so that many are equal, and steps lie exactly at the half and at nine tenths.
        values = random.integers(0, 12 if number % 2 else 5000, size)
        is_open = random.random(size) < random.choice([0.0, 0.1, 0.5, 0.9])
        groups[f"team {number:02}"] = (values[~is_open].astype(float), values[is_open].astype(float))
    payloads = list(incidents_of(groups))
    warehouse.insert_payloads("incidents", payloads, incident_id="incident_id")
    shared_project.run(warehouse, "run", "-s", "+mart_mttr_baseline")
    found = {
        team: numbers
        for team, *numbers in warehouse.rows(
            "select team, n, n_open, median_minutes, p90_minutes, median_low_minutes, median_high_minutes"
            " from marts.mart_mttr_baseline where slice = 'team' and clock = 'resolve'"
        )
    }
    assert found.keys() == groups.keys()
    for team, (ended, ages) in groups.items():
        n, n_open, median, p90, low, high = found[team]
        assert (n, n_open) == (len(ended), len(ages))
        for share, minutes in ((0.5, median), (0.9, p90)):
            wanted = censored_quantile(ended, ages, share) if len(ended) else None
            assert minutes == (None if wanted is None else pytest.approx(wanted / 60)), (team, share)
        assert low is None or median is None or low <= median
        assert high is None or median <= high


def test_the_interval_of_the_median_is_near_that_of_statsmodels(shared_project, warehouse):
    random = np.random.default_rng(11)
    values = np.unique(np.exp(random.normal(9, 1.3, 400)).astype(int))
    is_open = random.random(values.size) < 0.15
    groups = {"web": (values[~is_open], values[is_open])}
    warehouse.insert_payloads("incidents", list(incidents_of(groups)), incident_id="incident_id")
    shared_project.run(warehouse, "run", "-s", "+mart_mttr_baseline")
    ((low, high),) = warehouse.rows(
        "select median_low_minutes * 60, median_high_minutes * 60 from marts.mart_mttr_baseline"
        " where slice = 'team' and clock = 'resolve'"
    )
    with np.errstate(all="ignore"):
        wanted = SurvfuncRight(values, (~is_open).astype(int)).quantile_ci(0.5)
    # The variance is that at the median instead of at each time: a few places at most.
    for one, other in zip((low, high), wanted, strict=True):
        assert abs(np.searchsorted(values, one) - np.searchsorted(values, other)) <= 0.01 * values.size


def test_equal_durations_leave_the_interval_where_statsmodels_has_it(shared_project, warehouse):
    random = np.random.default_rng(23)
    groups = {}
    for number in range(30):
        values = np.ceil(random.exponential(4, 60))
        is_open = random.random(values.size) < 0.15
        groups[f"team {number:02}"] = (values[~is_open], values[is_open])
    warehouse.insert_payloads("incidents", list(incidents_of(groups)), incident_id="incident_id")
    shared_project.run(warehouse, "run", "-s", "+mart_mttr_baseline")
    found = warehouse.rows(
        "select team, median_low_minutes * 60, median_high_minutes * 60 from marts.mart_mttr_baseline"
        " where slice = 'team' and clock = 'resolve' order by team"
    )
    differences = []
    for team, *ends in found:
        ended, ages = groups[team]
        happened = np.repeat([1, 0], [ended.size, ages.size])
        with np.errstate(all="ignore"):
            wanted = SurvfuncRight(np.concatenate([ended, ages]), happened).quantile_ci(0.5)
        differences += [one - other for one, other in zip(ends, wanted, strict=True)]
    # In seconds, of which each step of the curve is one.
    assert len(differences) == 60
    assert max(map(abs, differences)) <= 1
    assert np.mean(np.abs(differences)) < 0.3


def test_one_more_open_incident_never_shortens_the_median(shared_project, make_warehouse):
    ended = np.array([60.0, 120.0, 180.0, 240.0, 300.0])
    medians = []
    for ages in ([], [1.0], [1.0, 200.0], [1.0, 200.0, 10_000.0]):
        warehouse = make_warehouse(f"open-{len(ages)}")
        payloads = list(incidents_of({"web": (ended, np.array(ages))}))
        warehouse.insert_payloads("incidents", payloads, incident_id="incident_id")
        shared_project.run(warehouse, "run", "-s", "+mart_mttr_baseline")
        ((median,),) = warehouse.rows(
            "select median_minutes from marts.mart_mttr_baseline where slice = 'team' and clock = 'resolve'"
        )
        medians.append(median)
    assert medians == sorted(medians)
    assert medians[0] < medians[-1]


def test_the_policy_sets_the_targets(shared_project, warehouse):
    groups = {"web": (np.array([600.0, 3600.0, 7200.0]), np.array([]))}
    payloads = [each | {"severity": "P1", "service": "shop"} for each in incidents_of(groups)][:3]
    warehouse.insert_payloads("incidents", payloads, incident_id="incident_id")
    targets = {"required_share": 0.5, "basis": "agreement", "source": "it's so", "minutes": {"P1": {"resolve": 60}}}
    levels = {"window_days": 7, "counted_severities": ["P1"], "services": {},
              "default": {"availability_percent": 100, "basis": "agreement", "source": "never down"}}  # fmt: skip
    build(
        shared_project, warehouse, "mart_target_attainment", "mart_error_budget", "mart_kpi_alerts",
        response_targets=targets, service_levels=levels,
    )  # fmt: skip
    assert warehouse.rows(
        "select clock, n_met, n, is_attained, target_source from marts.mart_target_attainment where slice = 'all'"
    ) == [("resolve", 2, 3, True, "it's so")]
    assert warehouse.rows(
        "select n_incidents, n_outages, downtime_minutes, allowed_minutes, spent_share, is_attained"
        " from marts.mart_error_budget where n_incidents > 0"
    ) == [(3, 1, 120.0, 0.0, None, False)]


@needs_recordings
def test_a_year_of_tickets_beside_pandas(shared_project, warehouse):
    with connect(warehouse.path) as connection:
        land(connection, [InputFile(TICKETS, FORMATS["servicenow"])])
    build(shared_project, warehouse, "mart_mttr_baseline", "mart_incident_clocks", "mart_target_attainment")
    last = _last_states()
    assert (len(last), int(last["resolved"].isna().sum())) == (24_918, 1_556)
    found = {
        severity: numbers
        for severity, *numbers in warehouse.rows(
            "select severity, n_incidents, n, n_unrecorded, median_minutes, mean_minutes from marts.mart_mttr_baseline"
            " where slice = 'severity' and clock = 'resolve'"
        )
    }
    for severity, rows in last.groupby("severity"):
        minutes = rows["minutes"].dropna()
        wanted = (len(rows), len(minutes), int(rows["minutes"].isna().sum()), minutes.median(), minutes.mean())
        assert tuple(found[severity]) == pytest.approx(wanted), severity
    # The trap: the worst severity seems to take longest, because it is of another kind of work.
    assert found["P1"][3] / 60 == pytest.approx(81, abs=1)
    assert found["P4"][3] / 60 == pytest.approx(5, abs=0.5)
    ((met, n),) = warehouse.rows(
        "select n_met, n from marts.mart_target_attainment"
        " where slice = 'all' and severity = 'P3' and clock = 'resolve'"
    )
    third = last.loc[last["severity"] == "P3", "minutes"].dropna()
    assert (met, n) == (int((third <= 1440).sum()), len(third))
    assert warehouse.rows(
        "select count(*), count(seconds), count(*) filter (where reason = 'closed, never resolved')"
        " from marts.mart_incident_clocks where clock = 'resolve'"
    ) == [(24_918, 23_362, 1_556)]


def _last_states():
    with zipfile.ZipFile(TICKETS) as archive, archive.open(archive.namelist()[-1]) as file:
        log = pd.read_csv(io.TextIOWrapper(file, "utf-8"), na_values="?", dtype=str)
    log["place"] = log["sys_mod_count"].astype(int)
    last = log.sort_values(["number", "place"], kind="stable").groupby("number").tail(1)
    opened, resolved = (pd.to_datetime(last[name], format="%d/%m/%Y %H:%M") for name in ("opened_at", "resolved_at"))
    severity = "P" + last["priority"].str[0]
    return pd.DataFrame(
        {"severity": severity, "resolved": resolved, "minutes": (resolved - opened).dt.total_seconds() / 60}
    )


@needs_recordings
def test_two_years_of_deploys_beside_plain_python(shared_project, warehouse):
    with connect(warehouse.path) as connection:
        land(
            connection,
            [InputFile(DEPLOYS / name, FORMATS["image_tag_bumps"]) for name in ("deploys.csv.gz", "rollbacks.csv")],
        )
    build(shared_project, warehouse, "mart_delivery_performance")
    with gzip.open(DEPLOYS / "deploys.csv.gz", "rt") as file:
        bumps = {(row["app"], row["tag"], int(row["unix_ts"])) for row in csv.DictReader(file)}
    with (DEPLOYS / "rollbacks.csv").open() as file:
        back = {(row["app"], row["to_tag"], int(row["unix_ts"])) for row in csv.DictReader(file)}
    ((deploys, rollbacks),) = warehouse.rows(
        "select n_deploys, n_rollbacks from marts.mart_delivery_performance where slice = 'all'"
    )
    assert deploys + rollbacks == len(bumps | back)
    assert rollbacks >= len(back) == 107
    kinds = warehouse.rows(
        "select service_name, deploy_id, epoch(deployed_at)::bigint, is_rollback from staging.stg_deploys"
        " order by deployed_at, deploy_id"
    )
    services = defaultdict(set)
    for app, _, at, is_rollback in kinds:
        if is_rollback:
            services[_day(at)].add(app)
    bulk = {day for day, apps in services.items() if len(apps) >= 5}
    assert "2024-10-02" in bulk
    causes, failures, taken_back = _taken_back(kinds, bulk)
    assert len(causes) < rollbacks
    shares = warehouse.rows(
        "select n_rollback_causes, n_bulk_days, change_failure_share, change_failure_share_by_cause"
        " from marts.mart_delivery_performance where slice = 'all'"
    )
    assert shares == [
        (len(causes), len(bulk), pytest.approx(taken_back / deploys), pytest.approx(len(failures) / deploys))
    ]
    months = Counter(_day(at)[:7] for *_, at, is_rollback in kinds if not is_rollback)
    found = warehouse.rows(
        "select strftime(month_on, '%Y-%m'), n_deploys from marts.mart_delivery_performance where slice = 'month'"
    )
    assert dict(found) == dict(months)


def _taken_back(kinds, bulk):
    """Causes of rollbacks; those that took a deploy back; and how many deploys were."""
    newest, before, causes, failures, taken_back = {}, {}, set(), set(), 0
    for app, deploy_id, at, is_rollback in kinds:
        if is_rollback:
            cause = _day(at) if _day(at) in bulk else newest.get(app, deploy_id)
            causes.add(cause)
            if before.get(app) is False:
                failures.add(cause)
                taken_back += 1
        else:
            newest[app] = deploy_id
        before[app] = is_rollback
    return causes, failures, taken_back


def _day(seconds):
    return datetime.fromtimestamp(seconds, tz=UTC).date().isoformat()
