"""The compiled SQL against a second reading of the document, on generated worlds and rules."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from oracle import Judge, Rule, Verdict, World
from worlds import load, rule_text, rules, trace_uuid, worlds

from dagster_project.replay import scratch
from dagster_project.rule_language import read_inline
from dagster_project.rule_language.scan_sql import Source
from dagster_project.rule_language.sql import to_sql, verdicts_query

# Each is one recorded world and four rules.
EXAMPLES = int(os.environ.get("HINDCAST_ORACLE_EXAMPLES", "75"))
NOTHING_PROMOTED = Source(columns={"span": frozenset(), "log": frozenset()})
MIDNIGHT_NS = 1_706_745_600 * 10**9

# Shrinking an example of two languages takes minutes; ask for it when one is found.
PHASES = list(Phase) if os.environ.get("HINDCAST_ORACLE_SHRINK") else [Phase.explicit, Phase.reuse, Phase.generate]
slow = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=EXAMPLES <= 75,
    phases=PHASES,
)


@pytest.fixture(scope="module")
def connection():
    made = scratch.connect()
    yield made
    made.close()


def recorded(connection, world) -> World:
    load(connection, *world)
    scratch.derive(connection)
    return World(*world)


def judged_by_sql(connection, rule: Rule) -> list[Verdict]:
    compiled = read_inline(rule_text(rule))
    rows = connection.execute(
        "select scope_key, trace_ids, verdict, epoch_ns(first_span_at), witness, reported, service_names from"
        f" ({to_sql(verdicts_query(compiled, NOTHING_PROMOTED), pretty=False)})"
    ).fetchall()
    numbers = {trace_uuid(number): number for number in range(100)}
    return [
        Verdict(
            key=key if rule.group_by else str(traces and numbers[traces[0]]),
            traces=tuple(numbers[trace] for trace in traces),
            verdict=verdict,
            first=first - MIDNIGHT_NS,
            witness=tuple((numbers.get(span["trace_id"]), span["span_id"]) for span in witness),
            reported=json.dumps(json.loads(reported), sort_keys=True),
            services=tuple(services),
        )
        for key, traces, verdict, first, witness, reported, services in rows
    ]


def in_order(verdicts: list[Verdict]) -> list[Verdict]:
    return sorted(verdicts, key=repr)


@slow
@given(world=worlds(), several=st.lists(rules(), min_size=4, max_size=4))
def test_sql_agrees_with_the_oracle_on_verdict_and_witness(connection, world, several):
    seen = recorded(connection, world)
    for rule in several:
        note(rule_text(rule))
        assert in_order(judged_by_sql(connection, rule)) == in_order(Judge(rule, seen).verdicts())
