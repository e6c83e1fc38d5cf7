"""Whatever arrives in whatever order, and whatever rules change meanwhile: verdicts are those of one full replay.

A state machine over the SQL that dbt runs (dbt_stub). Mistakes that are planted in the models make it fail.
"""

import os
from datetime import UTC, datetime
from functools import lru_cache

import pytest
from dbt_stub import Dbt, Killed
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from dagster_project.replay import scratch
from dagster_project.rule_language import load_catalogue
from dagster_project.rule_language.dbt.models import generate
from dagster_project.warehouse.connection import migrate

RULE = """
id: {id}
title: {title}
severity: low
owner: shop
{says}
tests:
  - {{name: a, verdict: violated, {bad}}}
  - {{name: b, verdict: satisfied, {good}}}
"""
PAID = 'group_by: k\ngap: 1h\nwhen: any(span("pay"))\nalways: count(span("pay")) {}'
ORDER = "attributes: {k: 1}"
SAYS = {
    # A trace: with spans alone, with logs, by shape.
    "refunded": (
        'when: any(span("pay"))\nalways: any(span("refund"))',
        "spans: [{name: pay}]",
        "spans: [{name: pay}, {name: refund}]",
    ),
    "quiet": (
        'when: any(span("pay"))\nnever: any(log(severity >= error))',
        "spans: [{name: pay}], logs: [{severity: error}]",
        "spans: [{name: pay}]",
    ),
    # Groups: sessions grow and merge; an item can take the rule's condition away; logs without a trace; two keys.
    "paid-once": (
        PAID.format("== 1"),
        f"spans: [{{name: pay, {ORDER}}}, {{name: pay, {ORDER}}}]",
        f"spans: [{{name: pay, {ORDER}}}]",
    ),
    "few-tries": (
        'group_by: k\ngap: 1h\nwhen: none(span("refund"))\nalways: count(span("pay")) < 2',
        f"spans: [{{name: pay, {ORDER}}}, {{name: pay, {ORDER}}}]",
        f"spans: [{{name: pay, {ORDER}}}]",
    ),
    "no-error": (
        'group_by: k\ngap: 1h\nwhen: any(span("pay"))\nnever: any(log(severity >= error))',
        f"spans: [{{name: pay, {ORDER}}}], logs: [{{severity: error, {ORDER}}}]",
        f"spans: [{{name: pay, {ORDER}}}]",
    ),
    "one-service": (
        'group_by: [k, service]\ngap: 1h\nalways: count(span("pay")) <= 1',
        f"spans: [{{name: pay, {ORDER}}}, {{name: pay, {ORDER}}}]",
        f"spans: [{{name: pay, {ORDER}}}]",
    ),
    # Traces as they carry a key: what another of their spans brings takes all of them along.
    "lifted": (
        'group_by: trace.k\ngap: 1h\nalways: count(span("pay")) <= 1 and none(log(severity >= error))',
        f"spans: [{{name: pay, {ORDER}}}, {{name: pay}}]",
        f"spans: [{{name: pay, {ORDER}}}]",
    ),
    # Hours: with a past, with incidents in it, with losses that last; and without.
    "usual": (
        'always: count(span("pay")) by service <= 1 * baseline(2d, at least 1)',
        "from: 1h, spans: [{name: pay, service: a, at: 0}, {name: pay, service: a, at: 1h},"
        " {name: pay, service: a, at: 3601s}]",
        "from: 1h, spans: [{name: pay, service: a, at: 0}, {name: pay, service: a, at: 1h}]",
    ),
    "few-an-hour": (
        'always: count(span("pay")) by k <= 1',
        f"spans: [{{name: pay, {ORDER}}}, {{name: pay, {ORDER}}}]",
        f"spans: [{{name: pay, {ORDER}}}]",
    ),
    # What stands beside: in other traces, on other days, in tables that are staged whole.
    "near-an-error": (
        'never: any(span("pay") near log(severity >= error) within 2h on anything)',
        "spans: [{name: pay}], logs: [{severity: error}]",
        "spans: [{name: pay}]",
    ),
    "near-a-root": (
        'group_by: k\ngap: 1h\nnever: any(span("pay") after span("get", root.name = "refund") within 2h on anything)',
        f"spans: [{{name: refund, id: s1}}, {{name: get, parent: s1}}, {{name: pay, {ORDER}}}]",
        f"spans: [{{name: get}}, {{name: pay, {ORDER}}}]",
    ),
    "after-a-deploy": (
        'never: any(span("pay") after deploy() within 2h)',
        "spans: [{name: pay, service: a}], deploys: [{service: a, version: 1.0.0}]",
        "spans: [{name: pay, service: a}], deploys: [{service: b, version: 1.0.0}]",
    ),
    "hours-near-tickets": (
        'never: count(span("pay") near ticket() within 2h on service) by service >= 1',
        "spans: [{name: pay, service: a}], tickets: [{service: a}]",
        "spans: [{name: pay, service: a}], tickets: [{service: b}]",
    ),
}
HOURLY = {"usual", "few-an-hour", "hours-near-tickets"}
CHANGED = {
    "paid-twice": PAID.format('== 1 or count(span("pay")) == 2'),
}
CATALOGUES = [
    frozenset(SAYS),
    frozenset(SAYS) - {"paid-once"},
    frozenset(SAYS) | {"title"},
    frozenset(SAYS) | {"meaning"},
    frozenset({"quiet", "one-service", "usual", "near-a-root"}),
]

HOUR = 3600 * 10**9
DAY = 24 * HOUR
# Near midnight, exactly one gap apart, a nanosecond more, and days that nothing else touches.
MOMENTS = [0, HOUR, 2 * HOUR, 2 * HOUR + 1, DAY - HOUR // 2, DAY + HOUR // 2, DAY + HOUR, 2 * DAY, 3 * DAY + 1]
MIDNIGHT = 1_706_745_600 * 10**9  # 2024-02-01

spans = st.tuples(
    st.integers(1, 5),  # trace
    st.integers(1, 3),  # span
    st.sampled_from([None, None, 1, 2, 9]),  # parent; 9 never arrives
    st.sampled_from(["pay", "pay", "refund", "get"]),
    st.sampled_from(["shop", "bank"]),
    st.sampled_from(MOMENTS),
    st.sampled_from([1, 1, 2, None]),  # the key
)
logs = st.tuples(
    st.sampled_from([None, 1, 2, 6]),
    st.sampled_from([1, 2, None]),
    st.sampled_from([9, 17]),
    st.sampled_from(MOMENTS),
)


deploys = st.tuples(st.integers(1, 2), st.sampled_from(["shop", "bank"]), st.sampled_from(MOMENTS))
tickets = st.tuples(
    st.integers(1, 2),
    st.sampled_from(["shop", None]),
    st.sampled_from(MOMENTS),
    st.sampled_from([None, HOUR, DAY]),  # how long it lasts
    st.sampled_from(["incidents", "jira", "alertmanager"]),
)


@lru_cache
def generated(chosen):
    texts = {}
    for name, (says, bad, good) in SAYS.items():
        if name in chosen:
            changed = "meaning" in chosen and name == "paid-once"
            texts[f"rules/shop/{name}.yml"] = RULE.format(
                id=name,
                title="T" if "title" not in chosen else "Another",
                says=CHANGED["paid-twice"] if changed else says,
                bad=bad.replace("]", f", {{name: pay, {ORDER}}}]") if changed else bad,
                good=good,
            )
    return generate(load_catalogue(texts))


class Warehouse:
    """The staged tables and the verdicts on one connection."""

    def __init__(self, mutate=lambda files: files):
        self.connection = scratch.connect()
        migrate(self.connection)
        self.connection.execute("create schema violations")
        for table in ("stg_spans", "stg_logs"):
            self.connection.execute(f"alter table staging.{table} add column attr__k__any varchar")
        self.mutate = mutate

    def replay(self, raw, chosen, window=None, killed=None):
        """Stage the window anew and judge; over all history from scratch without a window."""
        files = self.mutate(dict(generated(chosen)))
        dbt = Dbt(self.connection, [text for path, text in files.items() if path.startswith("macros/")])
        dbt.full_refresh = window is None
        if window:
            dbt.variables = {"replay_from": window[0], "replay_until": window[1]}
        self._stage(dbt, "stg_spans", "started_on", raw.spans.items(), _span_row)
        self._stage(dbt, "stg_logs", "occurred_on", enumerate(raw.logs), _log_row)
        # What is not telemetry is staged whole, whatever the window.
        self._fill("staging.stg_deploys", map(_deploy_row, raw.deploys.items()))
        self._fill("intermediate.int_incidents", map(_ticket_row, raw.tickets.items()))
        scratch.derive(self.connection)
        models = [path for path in files if "/verdicts__" in path or "/rule_unkeyed" in path]
        models = [path for path in models if path.startswith("models/")]
        names = [path.rsplit("/", 1)[1].removesuffix(".sql") for path in models]
        for number, (path, name) in enumerate(zip(models, names, strict=True)):
            step = killed[1] if killed and killed[0] % len(models) == number else None
            dbt.run_model(name, files[path], step)
        self.connection.execute(
            "create or replace view violations.fct_verdicts as "
            + " union all ".join(f'select * from violations."{name}"' for name in names if name.startswith("verdicts"))
        )
        dbt.call("forget_gone_plan_groups", this="fct_verdicts")
        self.connection.execute("delete from audit.vanished_traces")

    def _stage(self, dbt, table, day, records, row):
        dbt.call("put_staged_aside", day, this=table)
        dbt.call("delete_replay_window", day, this=table)
        if dbt.full_refresh:
            self.connection.execute(f"delete from staging.{table}")
        rows = [row(*record) for record in records]
        if rows:
            where = dbt.known["in_replay_window"](day)
            listed = ", ".join(f"({', '.join(map(_literal, one.values()))})" for one in rows)
            self.connection.execute(
                f"insert into staging.{table} by name select {_TYPED[table]} from"
                f" (values {listed}) as given({', '.join(rows[0])}) where {where.replace(day, 'day::date')}"
            )
        dbt.call("note_vanished_traces", day, this=table)

    def _fill(self, table, rows):
        self.connection.execute(f"delete from {table}")
        for row in rows:
            listed = ", ".join(map(_literal, row.values()))
            self.connection.execute(f"insert into {table} ({', '.join(row)}) values ({listed})")

    def verdicts(self):
        return self.connection.execute("from violations.fct_verdicts order by all").fetchall()

    def unkeyed(self):
        return self.connection.execute("from violations.rule_unkeyed_items order by all").fetchall()


class Raw:
    """What has landed: a span that was sent twice is the one that was sent first."""

    def __init__(self):
        self.spans, self.logs = {}, []
        self.deploys, self.tickets = {}, {}


_TRACE = "('00000000-0000-0000-0000-' || lpad(trace::varchar, 12, '0'))::uuid as trace_id"
_TYPED = {
    "stg_spans": f"{_TRACE}, span::ubigint as span_id, parent::ubigint as parent_span_id, service as service_name,"
    " name as span_name, 'internal' as kind, make_timestamp_ns(ns::bigint) as started_at,"
    " make_timestamp_ns(ns::bigint + 1000) as ended_at, day::date as started_on, 1000 as duration_ns,"
    " 'unset' as status_code, 0 as dropped_attributes_count, key::varchar as attr__k__any",
    "stg_logs": f"{_TRACE}, make_timestamp_ns(ns::bigint) as occurred_at, day::date as occurred_on,"
    " severity::utinyint as severity_number, key::varchar as attr__k__any",
}


def _span_row(identity, rest):
    parent, name, service, at, key = rest
    trace, span = identity
    return {"trace": trace, "span": span, "parent": parent, "service": service, "name": name, "key": key} | _when(at)


def _log_row(_number, log):
    trace, key, severity, at = log
    return {"trace": trace, "key": key, "severity": severity} | _when(at)


def _deploy_row(deploy):
    number, (service, at) = deploy
    return {"deploy_id": number, "service_name": service, "version": "1", "deployed_at": _moment(at)}


def _ticket_row(ticket):
    number, (service, at, lasting, system) = ticket
    resolved = None if lasting is None else _moment(at + lasting)
    said = {"incident_id": number, "system": system, "service_name": service}
    return said | {"started_at": _moment(at), "resolved_at": resolved}


def _moment(at):
    return str(datetime.fromtimestamp((MIDNIGHT + at) // 10**9, UTC).replace(tzinfo=None))


def _when(at):
    return {"ns": MIDNIGHT + at, "day": f"2024-02-0{1 + at // DAY}"}


def _literal(value):
    return "null" if value is None else f"'{value}'"


class Nights(RuleBasedStateMachine):
    """Records arrive and go, rules change, nights run and are killed."""

    @initialize()
    def begin(self, mutate=None, chosen=CATALOGUES[0]):
        self.raw = Raw()
        self.kept = Warehouse(mutate or (lambda files: files))
        self.chosen = chosen
        self.due = set()
        self.kept.replay(self.raw, self.chosen)

    @rule(arriving=st.lists(spans, min_size=1, max_size=5))
    def spans_arrive(self, arriving):
        for trace, span, *rest in arriving:
            self.raw.spans.setdefault((trace, span), tuple(rest))
            self.due.add(rest[3] // DAY)

    @rule(arriving=st.lists(logs, min_size=1, max_size=3))
    def logs_arrive(self, arriving):
        self.raw.logs.extend(arriving)
        self.due.update(log[3] // DAY for log in arriving)

    @rule(deploy=deploys)
    def a_deploy_is_told_or_corrected(self, deploy):
        self.raw.deploys[deploy[0]] = deploy[1:]

    @rule(ticket=tickets)
    def a_ticket_is_opened_or_changed(self, ticket):
        self.raw.tickets[ticket[0]] = ticket[1:]

    @precondition(lambda self: self.raw.tickets)
    @rule(which=st.integers(0, 9))
    def a_ticket_is_gone(self, which):
        self.raw.tickets.pop(sorted(self.raw.tickets)[which % len(self.raw.tickets)])

    @precondition(lambda self: self.raw.spans)
    @rule(which=st.integers(0, 99))
    def a_load_gives_way(self, which):
        identity = sorted(self.raw.spans)[which % len(self.raw.spans)]
        self.due.add(self.raw.spans.pop(identity)[3] // DAY)

    @rule(chosen=st.sampled_from(CATALOGUES))
    def rules_change(self, chosen):
        self.chosen = chosen

    @rule(killed=st.tuples(st.integers(0, 9), st.integers(0, 3)))
    def a_night_is_killed(self, killed):
        try:
            self.kept.replay(self.raw, self.chosen, self._window(), killed)
        except Killed:
            return
        raise AssertionError("it was to be killed")

    @rule()
    def a_night(self):
        self.kept.replay(self.raw, self.chosen, self._window())
        self.due = set()
        once = Warehouse()
        once.replay(self.raw, self.chosen)
        assert self.kept.verdicts() == once.verdicts()
        assert self.kept.unkeyed() == once.unkeyed()
        once.connection.close()

    def teardown(self):
        if hasattr(self, "kept"):
            self.a_night()
            self.kept.connection.close()

    def _window(self):
        first, last = min(self.due, default=0), max(self.due, default=0)
        return f"2024-02-0{1 + first}", f"2024-02-0{2 + last}"


# HINDCAST_TEST_WORLDS=1000 is for a change of what is touched.
WORLDS = int(os.environ.get("HINDCAST_TEST_WORLDS", "5"))
CHECKS = {"deadline": None, "suppress_health_check": list(HealthCheck), "stateful_step_count": 12}


def test_incremental_nights_end_as_one_full_replay():
    run_state_machine_as_test(Nights, settings=settings(max_examples=WORLDS, **CHECKS))


def _instead(path, old, new):
    """A mistake: generated files with a piece of text replaced, which must be there."""

    def mutate(files):
        found = [name for name in files if path in name and old in " ".join(files[name].split())]
        if not found:
            raise LookupError(f"{path} does not say: {old}")
        return files | {name: " ".join(files[name].split()).replace(old, new) for name in found}

    return mutate


PAY, REFUND = ("pay", "shop"), ("refund", "shop")
# A mistake, and the least that happens for it to show. The random nights above find each of these, too, in 15 to 60 s.
MISTAKES = {
    "unkeyed: logs without a trace twice": (
        _instead("judged_scopes", "or (trace_id is null and {{ in_replay_window('day') }})", ""),
        [("logs_arrive", [(None, None, 17, 0)]), ("a_night",), ("logs_arrive", [(None, None, 17, HOUR)])],
    ),
    "unkeyed: what was counted before, too": (
        _instead("judged_scopes", "where trace_id in (select trace_id from temp.main.touched) or", "where"),
        [
            ("spans_arrive", [(1, 1, None, *PAY, 0, None)]),
            ("a_night",),
            ("spans_arrive", [(1, 2, None, *PAY, 0, None)]),
        ],
    ),
    "unkeyed: what a rule meant before, too": (
        _instead("judged_scopes", "or rule_id || ':' || meaning_hash not in (select unnest", "or '' in (select unnest"),
        [("spans_arrive", [(1, 1, None, *PAY, 2 * DAY, None)]), ("a_night",), ("rules_change", CATALOGUES[3])],
    ),
    "only keys of spans in the window": (
        _instead(
            "touched_by__verdicts__by_k.sql",
            '"s"."trace_id" IN ( SELECT "trace_id" FROM "touched_traces" )',
            '"s"."started_on" >= date \'2024-02-03\'',
        ),
        # The parent that was missing comes two days later, without the key.
        [
            ("spans_arrive", [(1, 1, 2, *PAY, 0, 1)]),
            ("a_night",),
            ("spans_arrive", [(1, 2, None, "get", "shop", 2 * DAY, None)]),
        ],
    ),
    "no logs without a trace": (
        _instead("touched_by__verdicts__by_k.sql", '{{ in_replay_window(\'"l"."occurred_on"\') }}', "false"),
        [
            ("spans_arrive", [(1, 1, None, *PAY, DAY - HOUR // 2, 1)]),
            ("a_night",),
            ("logs_arrive", [(None, 1, 17, DAY + HOUR // 2)]),
        ],
    ),
    "nothing for records that are gone": (
        _instead("judged_scopes", "if model != 'verdicts__trace'", "if false"),
        [
            ("spans_arrive", [(1, 1, None, *PAY, DAY - HOUR // 2, 1), (2, 1, None, *REFUND, DAY + HOUR // 2, 1)]),
            ("a_night",),
            ("a_load_gives_way", 1),
        ],
    ),
    "a changed rule only where it is touched": (
        _instead("judged_scopes", "'false' if rule in judged_before else 'true'", "'false'"),
        [
            ("spans_arrive", [(1, 1, None, *PAY, 0, 1), (1, 2, None, *PAY, 0, 1)]),
            ("a_night",),
            ("rules_change", CATALOGUES[3]),
            ("logs_arrive", [(None, None, 9, 2 * DAY)]),
        ],
    ),
    "what held before, too": (
        _instead("judged_scopes", "delete from {{ this }} where {{ is_judged_again(model) }};", ""),
        [("spans_arrive", [(1, 1, None, *PAY, 0, 1)]), ("a_night",), ("spans_arrive", [(2, 1, None, *PAY, 0, 1)])],
    ),
    "lifted: only keys of spans in the window": (
        _instead(
            "touched_by__verdicts__lifted_by_k.sql",
            '"s"."trace_id" IN ( SELECT "trace_id" FROM "touched_traces" )',
            '"s"."started_on" >= date \'2024-02-03\'',
        ),
        # A span without the key, of a trace that carries it.
        [
            ("spans_arrive", [(1, 1, None, *PAY, 0, 1)]),
            ("a_night",),
            ("spans_arrive", [(1, 2, 1, *PAY, 2 * DAY, None)]),
        ],
    ),
    "hours: not those whose baseline changed": (
        _instead(
            "judged_scopes", "days_around('reached_days', 0, reach.back_days)", "days_around('reached_days', 0, 0)"
        ),
        [
            ("spans_arrive", [(1, 1, None, *PAY, 2 * DAY, None)]),
            ("a_night",),
            ("spans_arrive", [(2, 1, None, *PAY, 2 * HOUR, None)]),
        ],
    ),
    "hours: baselines of what is judged again alone": (
        _instead(
            "judged_scopes", "days_around('touched_days', -reach.back_days, 0)", "days_around('touched_days', 0, 0)"
        ),
        [
            ("spans_arrive", [(1, 1, None, *PAY, 2 * HOUR, None)]),
            ("a_night",),
            ("spans_arrive", [(2, 1, None, *PAY, 2 * DAY, None)]),
        ],
    ),
    "hours: not all that an incomplete trace lasts": (
        _instead("judged_scopes", "{{ day_of('ended_at') }} as last_day", "{{ day_of('started_at') }} as last_day"),
        # The parent that was missing comes: no hour of the two days can have lost a span any more.
        [
            ("spans_arrive", [(1, 1, 3, *PAY, 0, 1), (1, 2, 1, "get", "shop", 2 * DAY, None)]),
            ("a_night",),
            ("spans_arrive", [(1, 3, None, "get", "shop", 0, None)]),
        ],
    ),
    "hours: incidents that are new change no baseline": (
        _instead(
            "judged_scopes", "( from temp.main.beside_now except", "( from temp.main.beside_now where false except"
        ),
        [
            ("spans_arrive", [(1, 1, None, *PAY, 0, None), (2, 1, None, *PAY, 2 * HOUR, None)]),
            ("a_night",),
            ("a_ticket_is_opened_or_changed", (1, "shop", 0, HOUR, "jira")),
            ("logs_arrive", [(None, None, 9, 3 * DAY + 1)]),
        ],
    ),
    "hours: incidents that are gone change no baseline": (
        _instead(
            "judged_scopes",
            "( select entity, first_day, last_day, said from audit.judged_beside where",
            "( select entity, first_day, last_day, said from audit.judged_beside where false and",
        ),
        [
            ("spans_arrive", [(1, 1, None, *PAY, 0, None), (2, 1, None, *PAY, 2 * HOUR, None)]),
            ("a_ticket_is_opened_or_changed", (1, "shop", 0, HOUR, "jira")),
            ("a_night",),
            ("a_ticket_is_gone", 0),
            ("logs_arrive", [(None, None, 9, 3 * DAY + 1)]),
        ],
    ),
    "near: only the days on which something arrived": (
        _instead(
            "judged_scopes",
            "days_around('arrived_days', -reach.near_days, reach.near_days)",
            "days_around('arrived_days', 0, 0)",
        ),
        [
            ("spans_arrive", [(1, 1, None, *PAY, DAY - HOUR // 2, None)]),
            ("a_night",),
            ("logs_arrive", [(None, None, 17, DAY + HOUR // 2)]),
        ],
    ),
    "near: only keys of traces to which something arrived": (
        _instead(
            "judged_scopes",
            "select trace_id from {{ spans }} where started_on in (select day from temp.main.near_days)",
            "select trace_id from temp.main.arrived_traces",
        ),
        # The root that tells what the other trace is about comes the day before.
        [
            ("spans_arrive", [(2, 2, 1, "get", "shop", DAY - HOUR // 2, None), (1, 1, None, *PAY, DAY + HOUR // 2, 1)]),
            ("a_night",),
            ("spans_arrive", [(2, 1, None, *REFUND, DAY - HOUR // 2, None)]),
        ],
    ),
    "near: deploys that are corrected touch nothing": (
        _instead("judged_scopes", "'service': service_name, 'version': version,", "'version': version,"),
        [
            ("spans_arrive", [(1, 1, None, *PAY, 2 * HOUR, None)]),
            ("a_deploy_is_told_or_corrected", (1, "bank", HOUR)),
            ("a_night",),
            ("a_deploy_is_told_or_corrected", (1, "shop", HOUR)),
            ("logs_arrive", [(None, None, 9, 3 * DAY + 1)]),
        ],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_found(mistake):
    mutate, happens = MISTAKES[mistake]
    # Rules of one kind of scope, so that a night is short.
    kinds = {"lifted": {"lifted"}, "hours": HOURLY, "near": {"near-an-error", "near-a-root", "after-a-deploy"}}
    chosen = frozenset(kinds.get(mistake.split(":")[0], {"quiet", "paid-once", "few-tries", "no-error"}))
    _happen(happens, None, chosen)
    with pytest.raises(AssertionError):
        _happen(happens, mutate, chosen)


def _happen(happens, mutate, chosen):
    machine = Nights()
    machine.begin(mutate=mutate, chosen=chosen)
    for step, *given in happens:
        getattr(machine, step).hypothesis_stateful_rule.function(machine, *given)
    machine.teardown()
