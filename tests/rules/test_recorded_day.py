"""Every rule over the whole recorded day: loaded once, replayed once, counted again by other means.

What the rules say about that day is counted a second time over the raw tables, by plain SQL and pandas that know
nothing of the compiler, its tables or its tree of spans.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from dagster_project.replay.fused import fused
from dagster_project.replay.query import replay, source_of
from dagster_project.replay.window import Window
from dagster_project.rule_language.planning.fusing import shared_by_all
from dagster_project.rule_language.sql.query import to_sql, verdicts_query
from dagster_project.settings import Project
from dagster_project.sources.registry import FORMATS
from dagster_project.transformation import prepare
from dagster_project.warehouse.connection import connect, migrate
from dagster_project.warehouse.landing import InputFile, land
from tests.rules.conftest import REPOSITORY, read_catalogue
from tests.rules.figures import COUNTS, TRACES, measure, one_line

RECORDINGS = Path(os.environ.get("HINDCAST_RECORDINGS", REPOSITORY.parent / "shared/data"))
DAY = RECORDINGS / "trainticket-2023-01-29"
FILES = {
    "traces.otlp.jsonl.gz": "otlp_traces",
    "logs.otlp.jsonl.gz": "otlp_logs",
    "incidents.json": "incidents",
    "metrics/cpuusagerate_percent.json.gz": "prometheus",
}
MODELS = ("int_traces", "int_trace_shape", "stg_logs", "stg_span_events", "stg_span_links", "stg_metric_points",
          "int_incidents", "stg_deploys")  # fmt: skip

MEASURED = [rule for rule in read_catalogue() if "Over the whole day:" in one_line(rule.description)]


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """A connection to the day as dbt stages it: traces, logs, incidents, one metric."""
    if not DAY.is_dir():
        pytest.skip(f"the recorded day is not at {DAY}; name the recordings' folder with HINDCAST_RECORDINGS")
    project = Project(tmp_path_factory.mktemp("day"))
    project.warehouse_file.parent.mkdir(parents=True)
    (project.root / "rules").symlink_to(REPOSITORY / "rules")
    with connect(project.warehouse_file) as connection:
        migrate(connection)
        for name, kind in FILES.items():
            assert not land(connection, [InputFile(DAY / name, FORMATS[kind])]).has_failed
    prepare.prepare(project)
    done = subprocess.run(
        [prepare.dbt_executable(), "run", "--project-dir", str(project.dbt_dir)]
        + [part for model in MODELS for part in ("--select", f"+{model}")],
        env=os.environ | prepare.dbt_environment(project),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with connect(project.warehouse_file, read_only=True) as connection:
        # What other means count over: each span once, as its sender meant it.
        connection.execute(
            "create temp table spans as select distinct on (trace_id, span_id) * from raw.spans"
            " order by trace_id, span_id, line, record"
        )
        yield connection


@pytest.fixture(scope="module")
def answers(day, catalogue):
    """The answer of every rule over the day."""
    return {rule.id: replay(day, rule) for rule in catalogue}


def test_each_rule_finds_what_it_found_when_it_was_written(answers):
    found = {
        name: (of.violated, of.satisfied, of.inconclusive)
        for name, of in ((name, answer.certificate) for name, answer in answers.items())
        if of.violated or of.satisfied or of.inconclusive
    }
    assert found == COUNTS


def test_what_is_not_judged_is_not_applicable(answers, catalogue):
    for rule in catalogue:
        of = answers[rule.id].certificate
        if rule.scope_kind == "trace":
            assert of.violated + of.satisfied + of.inconclusive + of.not_applicable == TRACES, rule.id
        assert of.traces_scanned == TRACES, rule.id
        assert of.traces_incomplete == 0, rule.id


@pytest.mark.parametrize("rule", MEASURED, ids=lambda rule: rule.id)
def test_figures_of_the_day(rule, day):
    verdicts = to_sql(verdicts_query(rule, source_of(day, Window())))
    text = measure(day, verdicts, (DAY / "ground_truth.json").read_text()).text
    assert f"Over the whole day: {text}" in one_line(rule.description)


def test_every_rule_that_speaks_of_the_day_is_measured(catalogue):
    speaking = {rule.id for rule in catalogue if "TrainTicket recording" in one_line(rule.description)}
    assert speaking == set(COUNTS)
    assert len(MEASURED) >= 12


# Each query counts violated and applicable traces, or a function counts groups.
AGAIN = {
    "no-unhandled-exception": f"""
        select count(distinct trace_id) filter (span_name = 'BasicErrorController.error'), {TRACES} from spans""",
    "failed-booking-leaves-no-order": """
        select count(*) filter (failed), count(*)
        from (
            select
                bool_or(span_name = 'BasicErrorController.error') as failed,
                bool_or(span_name in ('PreserveController.preserve', 'PreserveOtherController.preserve')) as booked,
                bool_or(starts_with(span_name, 'INSERT ts.orders')) as written
            from spans
            group by trace_id
        )
        where booked and written""",
    "logged-error-reaches-the-caller": """
        select count(*) filter (trace_id not in (
            select trace_id from spans where span_name = 'BasicErrorController.error'
        )), count(*)
        from (select distinct trace_id from raw.logs where severity_number >= 17)""",
    "login-needs-its-verification-code": """
        select count(*) filter (given), count(*)
        from (
            select
                bool_or(service_name = 'ts-auth-service' and contains(body, '[getToken][success]')) as given,
                bool_or(service_name = 'ts-verification-code-service' and contains(body, 'verify result: false'))
                    as refused
            from raw.logs
            group by trace_id
        )
        where refused""",
    "routes-are-read-together": """
        select count(*) filter (queries > 1), count(*)
        from (
            select list.trace_id, count(query.span_id) as queries
            from spans as list
            left join spans as query
                on list.trace_id = query.trace_id
                and list.span_id = query.parent_span_id
                and query.span_name = 'SELECT ts.route_distances'
            where list.span_name = 'RouteController.queryByIds'
            group by list.trace_id
        )""",
    "database-share-of-a-request": """
        select count(*) filter (queries > 0.5 * whole), count(*)
        from (
            select
                sum(epoch_ns(ended_at) - epoch_ns(started_at)) filter (starts_with(span_name, 'SELECT ts.')) as queries,
                max(epoch_ns(ended_at) - epoch_ns(started_at)) filter (parent_span_id is null) as whole
            from spans
            group by trace_id
        )
        where queries is not null""",
    # No two of these are closer than the clocks of two services may be apart, so plain times will do.
    "refund-before-cancellation": """
        select count(*) filter (returned is null or returned > closed + 10000000), count(*)
        from (
            select
                min(epoch_ns(started_at)) filter (span_name = 'INSERT ts.inside_money') as returned,
                min(epoch_ns(started_at)) filter (starts_with(span_name, 'UPDATE ts.orders')) as closed,
                bool_or(span_name = 'CancelController.cancelTicket') as cancelled
            from spans
            group by trace_id
        )
        where cancelled and closed is not null""",
    "food-order-reaches-delivery": """
        select count(*) filter (noted is null or noted < sent or noted - sent > 1000000000), count(*)
        from (
            select
                max(epoch_ns(started_at)) filter (span_name = '<default> send') as sent,
                max(epoch_ns(started_at)) filter (span_name = 'INSERT ts.delivery') as noted
            from spans
            group by trace_id
        )
        where sent is not null""",
    "error-page-has-its-cause": """
        select count(distinct trace_id) filter (not explained), count(distinct trace_id)
        from (
            select page.trace_id, page.span_id, coalesce(bool_or(
                abs(epoch_ns(line.occurred_at) - epoch_ns(page.started_at)) <= 1000000000
            ), false) as explained
            from spans as page
            left join raw.logs as line on page.trace_id = line.trace_id and line.severity_number >= 17
            where page.span_name = 'BasicErrorController.error'
            group by page.trace_id, page.span_id
        )""",
    "slow-while-cpu-is-used-up": """
        select
            count(distinct trace_id) filter (epoch_ns(ended_at) - epoch_ns(spans.started_at) > 300000000),
            count(distinct trace_id)
        from spans
        inner join raw.metric_points as points on spans.service_name = points.service_name
        where
            points.metric_name = 'cpuusagerate_percent'
            and points.value > 80
            and starts_with(span_name, '/api/')
            and abs(epoch_ns(observed_at) - epoch_ns(spans.started_at)) <= 60000000000""",
}


@pytest.mark.parametrize("name", AGAIN)
def test_plain_sql_over_the_raw_tables_counts_the_same(name, day, answers):
    ((violated, applicable),) = day.execute(AGAIN[name]).fetchall()
    of = answers[name].certificate
    assert (of.violated, of.violated + of.satisfied) == (violated, applicable)


@pytest.mark.parametrize(
    ("name", "hint", "pattern"),
    [
        ("no-token-in-logs", "eyJ", r"\beyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\."),
        ("no-email-address-in-logs", "@", r"[A-Za-z0-9._%+-]@[A-Za-z0-9.-]+\.[A-Za-z]{2}"),
    ],
)
def test_pythons_patterns_find_the_same_lines(name, hint, pattern, day, answers):
    lines = day.execute(
        "select trace_id, body from raw.logs where trace_id is not null and contains(body, ?)", [hint]
    ).fetchall()
    assert len({trace for trace, body in lines if re.search(pattern, body)}) == answers[name].certificate.violated


def test_lines_of_five_services_are_missing_as_often(day, answers):
    services = "('ts-basic-service', 'ts-station-service', 'ts-train-service', 'ts-route-service', 'ts-price-service')"
    called = day.execute(
        f"select distinct trace_id, service_name from spans where service_name in {services}"
    ).fetchall()
    wrote = set(
        day.execute(f"select distinct trace_id, service_name from raw.logs where service_name in {services}").fetchall()
    )
    of = answers["lookup-leaves-a-log-line"].certificate
    assert len({trace for trace, _service in called}) == of.violated + of.satisfied
    assert len({trace for trace, service in called if (trace, service) not in wrote}) == of.violated


def test_pandas_finds_the_same_slow_hours(day, answers):
    frame = pd.DataFrame(
        day.execute(
            "select service_name, date_trunc('hour', started_at::timestamp), epoch_ns(ended_at) - epoch_ns(started_at)"
            " from spans where starts_with(span_name, '/api/')"
        ).fetchall(),
        columns=["service", "hour", "duration"],
    )

    def p95(values):
        return sorted(values)[math.ceil(0.95 * len(values)) - 1]

    slow, unknown, judged = set(), 0, 0
    for (service, hour), group in frame.groupby(["service", "hour"]):
        earlier = frame[(frame.service == service) & (frame.hour < hour)].duration
        judged += 1
        if len(earlier) < 30:
            unknown += 1
        elif p95(group.duration) > 2 * p95(earlier):
            slow.add(f'["{service}","{hour:%Y-%m-%dT%H:%M:%SZ}"]')
    answer = answers["slower-than-earlier-today"]
    assert set(answer.violations["scope_key"].to_pylist()) == slow
    assert answer.certificate.inconclusive == unknown
    assert answer.certificate.violated + answer.certificate.satisfied + unknown == judged


def test_pandas_finds_the_same_bursts(day, answers):
    lines = pd.DataFrame(
        day.execute(
            "select service_name, epoch_ns(occurred_at) / 1e9 from raw.logs"
            " where severity_number >= 17 and trace_id is not null order by all"
        ).fetchall(),
        columns=["service", "at"],
    )
    pauses = lines.groupby("service")["at"].diff()
    lines["group"] = (pauses.isna() | (pauses > 300)).cumsum()
    bursts = lines.groupby("group")["at"].apply(lambda at: ((at - at.shift(7)) <= 10).any())
    of = answers["errors-do-not-come-in-bursts"].certificate
    assert (int(bursts.sum()), len(bursts)) == (of.violated, of.violated + of.satisfied)


def test_the_tallies_of_witnesses_hold(answers):
    """The witness of a violation is what the description speaks of."""
    pages = answers["no-unhandled-exception"].violations
    assert all(len(witness) == 1 for witness in pages["witness"].to_pylist())
    lists = answers["routes-are-read-together"].violations
    assert all('"queries":5' in reported for reported in lists["reported"].to_pylist())
    bursts = answers["errors-do-not-come-in-bursts"].violations
    assert set(bursts["scope_key"].to_pylist()) == {'"ts-basic-service"'}


@pytest.mark.parametrize("window", [Window(), Window(end=datetime(2023, 1, 29, 9)), Window(datetime(2023, 1, 29, 9))])
def test_rules_asked_together_answer_as_each_does_alone(day, catalogue, answers, window):
    rules = list(catalogue)
    alone = answers if window == Window() else {rule.id: replay(day, rule, window) for rule in rules}
    with fused(day, rules, window, source_of(day, window), choice=shared_by_all(rules)) as shared:
        assert len(shared.tables) == 3
        for rule in rules:
            together, own = replay(day, rule, window, shared=shared), alone[rule.id]
            assert together.violations.equals(own.violations), rule.id
            assert together.inconclusive.equals(own.inconclusive), rule.id
            assert replace(together.certificate, seconds=0) == replace(own.certificate, seconds=0), rule.id
