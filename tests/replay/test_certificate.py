"""For each field of a certificate its cause is changed, and the field is seen to change."""

import dataclasses
from datetime import datetime, timedelta

import pytest

from dagster_project import __version__
from dagster_project.replay import scratch
from dagster_project.replay.certificate import Certificate, rests_on
from dagster_project.replay.query import replay
from dagster_project.replay.window import Window
from dagster_project.rule_language import load_catalogue, read_inline

DATA = """
id: x
title: x
severity: low
owner: x
detect: any(span())
tests:
  - name: data
    verdict: violated
    spans: [%s]
    logs: [%s]
  - {name: b, verdict: satisfied, spans: [{name: a}]}
"""
MIDNIGHT = datetime(2024, 1, 1)
PLAIN = "{name: a, trace: t1}, {name: a, trace: t2, at: 1h, duration: 1s}, {name: b, trace: t3, at: 2h}"
NEVER_B = 'never: any(span("b"))'
GROUPED = 'group_by: k gap: 1h when: any(span("a") where hot == true) never: any(span("b"))'
LEDGER = """
    create schema if not exists audit;
    create table audit.quarantine (load_id bigint);
    create table audit.loads (
        load_id bigint, source varchar, target varchar, event_days date[], records_landed bigint, finished_at timestamp,
        sampling_ratio double, replaces bigint, superseded_by bigint
    );
    insert into audit.loads values
        (1, 'shop', 'raw.spans', ['2024-01-01'], 3, timestamp '2024-01-02 01:00', 1, null, null),
        (2, 'shop', 'raw.spans', ['2024-02-01'], 9, timestamp '2024-02-02 01:00', 0.5, null, null);
"""


def warehouse(spans=PLAIN, logs="", sql=""):
    connection = scratch.connect()
    scratch.fill(connection, load_catalogue({"rules/x/x.yml": DATA % (spans, logs)}).rules[0].examples[0])
    connection.execute("alter table staging.stg_spans add column trace_state varchar")
    if sql:
        connection.execute(sql)
    return connection


def certificate(spans=PLAIN, logs="", rule=NEVER_B, window=None, sql="") -> Certificate:
    return replay(warehouse(spans, logs, sql), read_inline(rule), window).certificate


def grouped(*spans):
    return ", ".join(f"{{name: {name}, trace: t{n}, at: {at}, attributes: {{{attributes}}}}}"
                     for n, (name, at, attributes) in enumerate(spans))  # fmt: skip


GROUPS = grouped(("a", "0s", "k: 1, hot: true"), ("b", "1m", "k: 1"), ("a", "2h", "k: 2"), ("b", "4h", "x: 1"))
ONE_HOUR = Window(MIDNIGHT, MIDNIGHT + timedelta(hours=1))

CAUSES = {
    "meaning_hash": ({}, {"rule": 'never: any(span("c"))'}),
    "window_asked": ({}, {"window": ONE_HOUR}),
    "window_available": ({}, {"spans": PLAIN + ", {name: a, trace: t4, at: 3h}"}),
    "settled_until": ({}, {"spans": PLAIN + ", {name: a, trace: t4, at: 3h}"}),
    "days_scanned": ({}, {"spans": PLAIN + ", {name: a, trace: t4, at: 30h}"}),
    "days_without_traces": ({}, {"spans": PLAIN + ", {name: a, trace: t4, at: 60h}"}),
    "spans_scanned": ({}, {"window": ONE_HOUR}),
    "logs_scanned": ({}, {"logs": "{body: x, trace: t1}"}),
    "traces_scanned": ({}, {"window": ONE_HOUR}),
    "traces_complete": ({}, {"spans": PLAIN + ", {name: a, trace: t4}"}),
    "traces_incomplete": ({}, {"spans": PLAIN + ", {name: a, trace: t4, parent: gone}"}),
    "log_only_traces": (
        {"rule": "always: any(log())"},
        {"rule": "always: any(log())", "logs": "{body: x, trace: elsewhere}"},
    ),
    "records_quarantined": ({"sql": LEDGER}, {"sql": LEDGER + "insert into audit.quarantine values (1)"}),
    "late_records": (
        {"sql": LEDGER},
        {"sql": LEDGER + "insert into audit.loads values (3, 'shop', 'raw.spans', ['2024-01-01'], 7,"
                         " timestamp '2024-01-04 01:00', 1, null, null)"},
    ),
    "null_keys": ({"spans": GROUPS, "rule": GROUPED}, {"spans": GROUPS.replace("x: 1", "k: 2"), "rule": GROUPED}),
    "sampling": ({}, {"spans": PLAIN + ", {name: a, trace: t4, attributes: {sampling.probability: 0.25}}"}),
    "violated": ({}, {"spans": PLAIN + ", {name: b, trace: t4}"}),
    "satisfied": ({}, {"spans": PLAIN + ", {name: a, trace: t4}"}),
    "inconclusive": ({}, {"spans": PLAIN + ", {name: a, trace: t4, parent: gone}"}),
    "not_applicable": (
        {"rule": 'when: any(span("a")) ' + NEVER_B},
        {"rule": 'when: any(span("a")) ' + NEVER_B, "spans": PLAIN + ", {name: b, trace: t4}"},
    ),
    "unsettled": ({}, {"spans": PLAIN + ", {name: a, trace: t4, at: 2h}"}),
    "inconclusive_reasons": (
        {"spans": PLAIN + ", {name: a, trace: t4, parent: gone}"},
        {"spans": PLAIN + ", {name: a, trace: t4}, {name: a, trace: t4, parent: null}"},
    ),
    "seconds": ({}, {}),
}  # fmt: skip
# What no test can change without another engine or another Hindcast; they are read below.
FIXED = {"rule_id", "engine", "code_version", "undetectable_loss_note"}


@pytest.mark.parametrize("name", CAUSES)
def test_a_changed_cause_changes_its_field(name):
    before, after = (getattr(certificate(**cause), name) for cause in CAUSES[name])
    assert before != after


def test_every_field_has_its_cause():
    assert {field.name for field in dataclasses.fields(Certificate)} == CAUSES.keys() | FIXED


def test_engine_version_and_the_loss_that_cannot_be_seen_are_named():
    import duckdb

    (rule,) = load_catalogue({"rules/x/x.yml": DATA % (PLAIN, "")}).rules
    found = replay(warehouse(), rule).certificate
    assert (found.rule_id, certificate().rule_id) == ("x", "inline")
    assert found.engine == f"duckdb {duckdb.__version__}"
    assert found.code_version == __version__
    assert "leaves no mark" in found.undetectable_loss_note
    assert found.undetectable_loss_note == rests_on(found)[-1]


def test_refused_records_count_when_their_load_holds_a_day_of_the_window_or_none():
    refused = LEDGER + "insert into audit.quarantine values (1), (2), (2), (9)"
    assert certificate(sql=refused).records_quarantined == 3
    assert certificate(sql=refused, window=ONE_HOUR).records_quarantined == 1
    nowhere = refused + "; insert into audit.loads values (9, 's', 'raw.spans', [], 0, null, 1, null, null)"
    assert certificate(sql=nowhere, window=ONE_HOUR).records_quarantined == 2
    gone = nowhere + "; update audit.loads set superseded_by = 5 where load_id = 1"
    assert certificate(sql=gone, window=ONE_HOUR).records_quarantined == 1


def test_late_is_what_a_later_load_added_a_day_after_the_first_of_its_day():
    def late(values, window=None):
        return certificate(sql=f"{LEDGER}; insert into audit.loads values {values}", window=window).late_records

    after = "timestamp '2024-01-09'"
    assert late(f"(3, 's', 'raw.spans', ['2024-01-01'], 7, {after}, 1, null, null)") == 7
    assert late(f"(3, 's', 'raw.spans', ['2024-01-01'], 7, {after}, 1, 1, null)") == 4, "it grew from 3"
    assert late("(3, 's', 'raw.spans', ['2024-01-01'], 7, timestamp '2024-01-03', 1, null, null)") == 0, "within a day"
    assert late(f"(3, 's', 'raw.spans', ['2024-01-05'], 7, {after}, 1, null, null)") == 0, "the first of its day"
    assert late(f"(3, 's', 'raw.spans', ['2024-02-01'], 7, {after}, 1, null, null)", ONE_HOUR) == 0


def test_sampling_is_found_in_attributes_tracestate_and_what_sources_declare():
    marks = PLAIN + ", {name: a, trace: t4, attributes: {sampling.probability: 0.25}}"
    marked = warehouse(marks)
    for state, rows in (("ot=th:c;rv:1", 1), ("other=x, ot=rv:00;th:8", 1), ("ot=th:0", 1), ("x=th:f", 1)):
        marked.execute(
            "update staging.stg_spans set trace_state = ? where (trace_id, span_id) in"
            " (select trace_id, span_id from staging.stg_spans where trace_state is null order by all limit ?)",
            [state, rows],
        )
    found = replay(marked, read_inline(NEVER_B)).certificate.sampling
    assert (found.spans_looked_at, found.is_sample) == (4, False)
    assert (found.with_probability, found.lowest_probability) == (1, 0.25)
    assert (found.with_threshold, found.lowest_threshold_probability) == (2, 0.25)
    february = Window(datetime(2024, 2, 1), datetime(2024, 2, 2))
    assert certificate(sql=LEDGER).sampling.declared == {"shop": 0.5}
    assert certificate(sql=LEDGER, window=ONE_HOUR).sampling.declared == {}
    assert certificate(sql=LEDGER, window=february).sampling.lowest == 0.5
    answer = replay(warehouse(marks), read_inline(NEVER_B))
    assert "its senders sampled, down to 0.25 of all" in answer.confidence
    assert any("what was received is a sample" in said for said in rests_on(answer.certificate))


def test_keys_are_missed_in_the_window_alone():
    assert certificate(spans=GROUPS, rule=GROUPED).null_keys == 1
    assert certificate(spans=GROUPS, rule=GROUPED, window=Window(None, MIDNIGHT + timedelta(hours=4))).null_keys == 0
    assert certificate(spans=GROUPS, rule=GROUPED, window=Window(MIDNIGHT + timedelta(hours=4))).null_keys == 1


def test_groups_that_are_not_listed_are_not_applicable():
    found = certificate(spans=GROUPS, rule=GROUPED)
    assert (found.violated, found.satisfied, found.not_applicable) == (1, 0, 1)
    always = certificate(spans=GROUPS, rule=GROUPED.replace('when: any(span("a") where hot == true) ', ""))
    assert (always.violated, always.satisfied, always.not_applicable) == (1, 0, 0)


def test_traces_of_logs_alone_do_not_count_against_those_that_were_scanned():
    found = certificate(
        spans="{name: a, trace: t1}, {name: a, trace: t2}",
        logs="{body: x, trace: t1}, {body: x, trace: l1}, {body: x, trace: l2}, {body: x, trace: l3}",
        rule="when: any(log()) never: any(log(severity >= error))",
    )
    assert (found.traces_scanned, found.satisfied, found.log_only_traces) == (2, 4, 3)
    assert found.not_applicable == 1, "t2 has no log record"


@pytest.mark.parametrize(
    ("start", "end", "spans"),
    [
        (datetime(1, 1, 1), datetime(9999, 1, 1), 3),
        (datetime(1500, 1, 1), datetime(1600, 1, 1), 0),
        (datetime(2300, 1, 1), None, 0),
        (datetime(2300, 1, 1), datetime(2400, 1, 1), 0),
        (None, datetime(1600, 1, 1), 0),
    ],
)
@pytest.mark.parametrize("rule", [NEVER_B, GROUPED])
def test_windows_beyond_what_can_be_recorded_are_asked_like_others(start, end, spans, rule):
    assert certificate(rule=rule, window=Window(start, end)).spans_scanned == spans


def test_exhaustive_is_said_only_of_what_was_received_and_when_nothing_is_undecided():
    whole = replay(warehouse(), read_inline(NEVER_B))
    assert whole.certificate.is_exhaustive
    assert whole.confidence == "exhaustive scan: every violation of what was received"
    damaged = replay(warehouse(PLAIN + ", {name: a, trace: t4, parent: gone}"), read_inline(NEVER_B))
    assert not damaged.certificate.is_exhaustive
    assert "exhaustive" not in damaged.confidence
    nothing = replay(warehouse(), read_inline(NEVER_B), Window(datetime(2025, 1, 1)))
    assert not nothing.certificate.is_exhaustive
