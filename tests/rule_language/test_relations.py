"""Relations between items, and every kind of item: each with a sure, a false and an unknown case."""

import json
import time

import pytest

from dagster_project.replay import scratch
from dagster_project.rule_language import load_catalogue
from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.sql.domain import Context, plain_parts
from dagster_project.rule_language.sql.entity import ALIASES, from_entity, schema_table
from dagster_project.rule_language.sql.nodes import aliased, column, select
from dagster_project.rule_language.sql.query import null_keys_query, to_sql, verdicts_query
from dagster_project.rule_language.sql.relation import Relations, looks_beside
from dagster_project.rule_language.sql.scan import Source

NOTHING = {"span": frozenset(), "log": frozenset()}
TRUE, FALSE, UNKNOWN, LOST = "true", "false", "unknown", "lost"


@pytest.fixture(scope="module")
def connection():
    made = scratch.connect()
    yield made
    made.close()


def read(rule, records):
    parts = "".join(f"\n    {name}: {json.dumps(rows)}" for name, rows in records.items())
    text = f"id: x\ntitle: X\nseverity: low\nowner: me\n{rule}\ntests:\n  - name: t\n    verdict: violated{parts}\n"
    text += "  - {name: u, verdict: satisfied, spans: [{name: zzz}]}\n"
    return load_catalogue({"rules/x/x.yml": text}).rules[0]


def filled(connection, rule, records):
    parsed = read(rule, records)
    scratch.fill(connection, parsed.examples[0])
    return parsed


def membership(connection, items, **records):
    """Per item, by its id (or position): true, false, unknown as a fact, or lost."""
    parsed = filled(connection, f"always: {json.dumps(f'any({items})')}", records)
    found = parsed.judgement.bad
    while not isinstance(found, model.Some):
        found = found.operand
    asked = found.items
    relations = Relations(schema_table, NOTHING, lambda _entity: [], one_trace=True)
    relations.note(asked.entity, [asked.condition], Context(plain_parts(asked.condition), bounded=True))
    value = relations.item_sql.condition(asked.condition, asked.entity)
    lost = relations.item_sql.may_be_lost(asked.condition, asked.entity)
    query = select(column("span_id", ALIASES[asked.entity]), aliased(value, "value"), aliased(lost, "lost"))
    query = relations.joined_to(from_entity(query, asked.entity, schema_table), asked.entity, [asked.condition])
    for name, part in relations.parts():
        query = query.with_(name, as_=part, copy=False)
    rows = connection.execute(f"select * from ({to_sql(query)}) order by 1").fetchall()
    words = {True: TRUE, False: FALSE}
    return {span: words[value] if value is not None else LOST if lost else UNKNOWN for span, value, lost in rows}


def span(name, number, parent=None, **fields):
    fields.setdefault("at", f"{number}ms")
    return {"name": name, "id": f"s{number}", "parent": None if parent is None else f"s{parent}", **fields}


def true_of(found):
    return {key for key, value in found.items() if value == TRUE}


def lost_of(found):
    return {key for key, value in found.items() if value == LOST}


#   1 a ─ 2 b ─ 3 b ─ 4 c
#     └── 5 b
TREE = [span("a", 1), span("b", 2, 1), span("b", 3, 2), span("c", 4, 3), span("b", 5, 1)]
#   the same below a lost span, and whole in another component
CUT = [span("r", 9), span("a", 1, 99), span("b", 2, 1), span("b", 3, 2), span("c", 4, 3), span("b", 5, 88)]


@pytest.mark.parametrize(
    ("items", "sure", "lost"),
    [
        ('span("a") > span("b")', {2, 5}, set()),
        ('span("a") >> span("b")', {2, 3, 5}, set()),
        ('span("b") < span("a")', {1}, set()),
        ('span("c") < span("a")', set(), set()),
        ('span("c") << span()', {1, 2, 3}, set()),
        ('span("b") << span("b")', {2}, set()),
        ('span("b") ~ span("b")', {2, 5}, set()),
        ('span("c") ~ span("b")', set(), set()),
        ('span("a") !> span("b")', {3}, set()),
        ('span("b") !>> span("c")', set(), set()),
        ('span("c") !<< span("b")', {5}, set()),
        ('span("b") !~ span("b")', {3}, set()),
        ('(span("a") > span("b")) > span()', {3}, set()),
        ('span("b") unless (span("a") > span("b"))', {3}, set()),
        ('(span("b") < span("b")) > (span("b") << span())', set(), set()),
        ('(span("c") << span("b")) > span("b")', {3}, set()),
    ],
)
def test_structure_of_a_whole_trace(connection, items, sure, lost):
    found = membership(connection, items, spans=TREE)
    assert (true_of(found), lost_of(found)) == (sure, lost)


@pytest.mark.parametrize(
    ("items", "sure", "lost"),
    [
        ('span("a") > span("b")', {2}, {5}),
        ('span("a") >> span("b")', {2, 3}, {5}),
        ('span("r") >> span("b")', set(), {2, 3, 5}),
        ('span("r") > span("b")', set(), {5}),
        ('span("x") < span("b")', set(), {2, 3, 5}),
        ('span("c") < span("b")', {3}, {2, 5}),
        ('span("c") << span()', {1, 2, 3}, {4, 5, 9}),
        ('span("b") ~ span("b")', set(), {2, 3, 5}),
        ('span("a") !> span("b")', {3}, {5}),
        ('span("r") !>> span("b")', set(), {2, 3, 5}),
        ('(span("r") > span("b")) > span()', set(), {1, 5}),
        ('span("b") unless (span("r") > span("b"))', {2, 3}, {5}),
    ],
)
def test_structure_of_a_trace_that_lost_spans(connection, items, sure, lost):
    found = membership(connection, items, spans=CUT)
    assert (true_of(found), lost_of(found)) == (sure, lost)


def test_a_parent_that_may_be_one_of_the_others_leaves_it_open(connection):
    spans = [span("a", 1, dropped=1), span("b", 2, 1), span("a", 3, 1, attributes={"k": 1}), span("b", 4, 3)]
    assert membership(connection, 'span("a", k == 1) > span("b")', spans=spans) == {
        1: FALSE,
        2: LOST,
        3: FALSE,
        4: TRUE,
    }
    assert lost_of(membership(connection, 'span("a", k == 1) >> span("b")', spans=spans)) == {2}
    # Of a span that dropped nothing, what it lacks is a fact.
    assert membership(connection, 'span("a", k == 1) > span("b")', spans=[span("a", 1), span("b", 2, 1)])[2] == FALSE


def test_halves_of_one_id_are_parent_and_child(connection):
    spans = [
        span("a", 1),
        span("call", 2, 1, kind="client"),
        span("serve", 2, 1, kind="server", at="3ms"),
        span("b", 3, 2, at="4ms"),
    ]
    parsed = filled(connection, 'always: any(span("call") > span("serve") where kind == server)', {"spans": spans})
    assert verdicts(connection, parsed) == ["satisfied"]
    parsed = filled(connection, 'always: any(span("serve") > span("b"))', {"spans": spans})
    assert verdicts(connection, parsed) == ["satisfied"]


def test_a_span_on_a_cycle_hangs_loose(connection):
    spans = [span("r", 9), span("a", 1, 2), span("b", 2, 1), span("c", 3, 2)]
    assert membership(connection, 'span("a") > span()', spans=spans) == {1: LOST, 2: TRUE, 3: FALSE, 9: FALSE}
    assert lost_of(membership(connection, "span(parent.status == error)", spans=spans)) >= {1}
    assert true_of(membership(connection, "span(depth >= 0) > span(children >= 0)", spans=TREE)) == {2, 3, 4, 5}
    assert lost_of(membership(connection, 'span("r") >> span()', spans=spans)) == {1, 2, 3}


def verdicts(connection, parsed, **source):
    sql = to_sql(verdicts_query(parsed, Source(columns=NOTHING, **source)))
    return [row[0] for row in connection.execute(f"select verdict from ({sql}) order by scope_key").fetchall()]


# Nearness.

POINTS = [
    span("a", 1, at="0s", service="x"),
    span("b", 2, 1, at="10s", service="x"),
    span("b", 3, 1, at="20s", service="y"),
    span("b", 4, 1, at="21s", service="y"),
]


@pytest.mark.parametrize(
    ("items", "sure"),
    [
        ('span("b") near span("a") within 10s', {2}),
        ('span("b") near span("a") within 9999ms', set()),
        ('span("a") near span("b") within 10s', {1}),
        ('span("a") after span("b") within 1h', set()),
        ('span("b") after span("a") within 20s on service', {2}),
        ('span("b") after span("a") within 20s on anything', {2, 3}),
        ('span("b") near span("b") within 1s', {3, 4}),
        ('span("b") after span("b") within 1s', {4}),
        ('span("b") near span("b") within 10s', {2, 3, 4}),
        ('span("b") near (span("b") after span("b") within 1s) within 10s', {3}),
    ],
)
def test_nearness_in_a_whole_trace(connection, items, sure):
    found = membership(connection, items, spans=POINTS)
    assert (true_of(found), lost_of(found)) == (sure, set())


def test_two_at_the_same_moment_are_each_others_partners_and_one_is_not_its_own(connection):
    twins = [span("a", 1), span("b", 2, 1, at="5s"), span("b", 3, 1, at="5s"), span("b", 4, 1, at="9s")]
    assert true_of(membership(connection, 'span("b") near span("b") within 0s', spans=twins)) == {2, 3}


def test_a_partner_may_have_been_lost_with_its_trace(connection):
    spans = [*POINTS, span("c", 5, 77)]
    assert lost_of(membership(connection, 'span("b") near span("a") within 1s', spans=spans)) == {2, 3, 4}
    assert true_of(membership(connection, 'span("b") near span("a") within 10s', spans=spans)) == {2}
    assert not lost_of(membership(connection, 'span("b") near span("a") within 1s on service', spans=spans))
    assert not lost_of(membership(connection, 'span("b") near log() within 1s', spans=spans))


def test_nearness_on_attributes_compares_what_was_sent(connection):
    spans = [
        span("a", 1, attributes={"order": 2, "k": "x"}),
        span("b", 2, 1, attributes={"order": 2, "k": "x"}),
        span("b", 3, 1, attributes={"order": "2", "k": "x"}),
        span("b", 4, 1, attributes={"order": 2}),
        span("b", 5, 1),
    ]
    assert true_of(membership(connection, 'span("b") near span("a") within 1s on order', spans=spans)) == {2, 4}
    assert true_of(membership(connection, 'span("b") near span("a") within 1s on order, k', spans=spans)) == {2}


@pytest.mark.parametrize(
    ("items", "sure"),
    [
        ('span() after deploy(version == "2") within 1m', {1, 2}),
        ("span() after deploy(is_rollback) within 1m", set()),
        ('span() near metric("cpu", value > 0.9, unit == "1") within 4s', {1}),
        ('span() near metric("cpu", host == "h") within 1h', {1, 2}),
        ('span() after ticket(severity == "SEV1", id == "I-1") within 10s on service', {2}),
        ("span() after ticket() within 10s on anything", {2, 3}),
        ('span() near log(body matches "oom") within 1s on trace', {2, 3}),
        ('span() near event("exception") within 2s', {1}),
        ("span() near link() within 0s", {4, 5}),
    ],
)
def test_what_stands_beside_traces(connection, items, sure):
    found = membership(
        connection,
        items,
        spans=[
            span("a", 1, at="0s", service="x", events=[{"name": "exception", "at": "2s"}]),
            span("b", 2, 1, at="10s", service="x"),
            span("b", 3, 1, at="10s", service="y"),
            span("b", 4, 1, at="50s", service="z", links=[{}]),
            span("b", 5, 1, at="50s", service="z", links=[{}]),
        ]
        if "link" in items
        else [
            span("a", 1, at="0s", service="x", events=[{"name": "exception", "at": "2s"}]),
            span("b", 2, 1, at="10s", service="x"),
            span("b", 3, 1, at="10s", service="y"),
        ],
        logs=[{"body": "oom", "at": "11s"}],
        metrics=[{"name": "cpu", "service": "x", "value": 0.95, "unit": "1", "at": "4s", "attributes": {"host": "h"}}],
        deploys=[{"service": "x", "version": "2", "at": "-1s"}],
        tickets=[{"id": "I-1", "service": "x", "severity": "SEV1", "at": "1s"}],
    )
    assert true_of(found) == sure
    assert not lost_of(found)


# The root and the parent.


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ('span("b", root.k == 1)', {2: TRUE, 3: TRUE}),
        ('span("b", root.service == "zz")', {2: FALSE, 3: FALSE}),
        ('span("b", parent.name == "b")', {2: FALSE, 3: TRUE}),
        ("span(parent.duration > 1s)", {1: UNKNOWN, 2: FALSE, 3: FALSE}),
        ("span(missing(parent.k))", {1: TRUE, 2: FALSE, 3: TRUE}),
        ("span(exists(parent.k) and root.k == 1)", {1: FALSE, 2: TRUE, 3: FALSE}),
    ],
)
def test_fields_of_the_root_and_the_parent(connection, items, expected):
    spans = [span("a", 1, attributes={"k": 1}), span("b", 2, 1), span("b", 3, 2)]
    found = membership(connection, items, spans=spans)
    assert {key: value for key, value in found.items() if key in expected} == expected


def test_what_was_lost_of_the_root_and_the_parent(connection):
    two_roots = [span("a", 1, attributes={"k": 1}), span("b", 2, 1), span("r", 3)]
    assert lost_of(membership(connection, "span(root.k == 1)", spans=two_roots)) == {1, 2, 3}
    orphan = [span("a", 1), span("b", 2, 99)]
    assert membership(connection, "span(missing(parent.k))", spans=orphan) == {1: TRUE, 2: LOST}
    dropped = [span("a", 1, dropped=1), span("b", 2, 1)]
    assert membership(connection, "span(parent.k == 1)", spans=dropped) == {1: UNKNOWN, 2: LOST}
    assert membership(connection, 'span(parent.name == "a")', spans=dropped)[2] == TRUE
    logs = [{"body": "x", "span": "s1"}]
    assert membership(connection, "log(root.name == 'a')".replace("'", '"'), spans=orphan[:1], logs=logs) == {1: TRUE}
    assert membership(connection, "log(root.name == 'a')".replace("'", '"'), spans=two_roots, logs=logs) == {1: LOST}


# Events and links as items.


def test_events_and_links_are_items(connection):
    spans = [
        span("a", 1, service="x", events=[{"name": "exception", "attributes": {"n": 2}}, {"name": "other"}]),
        span("b", 2, 1, links=[{"trace": "t9", "attributes": {"n": 1}}]),
    ]
    for condition, verdict in [
        ('any(event("exception", n > 1, service == "x"))', "satisfied"),
        ('count(event()) == 2 and none(event("exception", n > 2))', "satisfied"),
        (f'any(link(linked_trace_id == "{scratch.trace_uuid("t9")}", n == 1))', "satisfied"),
        ('any(link(root.name == "b"))', "violated"),
        ('all(event() where start >= root.start) and any(span("b") near event("other") within 1s)', "satisfied"),
    ]:
        assert verdicts(connection, filled(connection, f"always: {json.dumps(condition)}", {"spans": spans})) == [
            verdict
        ]


def test_events_group_by_their_own_attributes(connection):
    spans = [span("a", 1, attributes={"k": 9}, events=[{"name": "e", "attributes": {"k": 1}}, {"name": "e"}])]
    parsed = filled(connection, "group_by: k\ngap: 1h\nalways: count(event()) == 1", {"spans": spans})
    assert verdicts(connection, parsed) == ["satisfied"]
    assert connection.execute(to_sql(null_keys_query(parsed, Source(columns=NOTHING)))).fetchall() == [(1,)]


# Whole traces by key.


def lifted(connection, condition, spans, **records):
    parsed = filled(
        connection, f"group_by: trace.k\ngap: 1h\nalways: {json.dumps(condition)}", {"spans": spans, **records}
    )
    sql = to_sql(verdicts_query(parsed, Source(columns=NOTHING)))
    return dict(connection.execute(f"select scope_key, verdict from ({sql}) order by all").fetchall())


def test_a_trace_belongs_whole_to_the_group_of_each_key_it_carries(connection):
    spans = [
        span("a", 1, trace="one"),
        span("b", 2, 1, trace="one", attributes={"k": "x"}),
        span("b", 3, 1, trace="one", attributes={"k": "y"}),
        span("a", 4, trace="two", attributes={"k": "x"}),
        span("a", 5, trace="three"),
    ]
    assert lifted(connection, 'count(span("a")) == 2', spans) == {'"x"': "satisfied", '"y"': "violated"}
    logs = [{"trace": "one", "body": "l"}, {"trace": "three", "body": "l"}]
    assert lifted(connection, "count(log()) == 1", spans, logs=logs) == {'"x"': "satisfied", '"y"': "satisfied"}
    parsed = filled(connection, "group_by: trace.k\ngap: 1h\nalways: any(span())", {"spans": spans})
    assert connection.execute(to_sql(null_keys_query(parsed, Source(columns=NOTHING)))).fetchall() == [(1,)]


def test_an_incomplete_trace_leaves_the_groups_of_its_keys_open(connection):
    spans = [
        span("a", 1, trace="one", attributes={"k": "x"}),
        span("b", 2, 99, trace="one"),
        span("a", 3, trace="two", attributes={"k": "z"}),
    ]
    assert lifted(connection, 'count(span("a")) == 1', spans) == {'"x"': "inconclusive", '"z"': "satisfied"}


# What arrives later, values, sizes.


def test_what_looks_beside_its_traces_is_known():
    def of(items):
        return looks_beside(read(f"always: any({items})", {"spans": [{"name": "a"}]}).judgement)

    assert of("span() near span() within 1s on service")
    assert of("(span() after deploy() within 1s) > span()")
    assert not of("span() near span() within 1s")
    assert not of("span() > span()")


def test_whole_numbers_beyond_doubles_are_told_apart(connection):
    large = 2**53
    spans = [span("a", 1, attributes={"id": large + 1, "other": large}), span("a", 2, 1, attributes={"id": large})]
    for condition, sure in [
        (f"id == {large}", {2}),
        (f"id == {large + 1}", {1}),
        (f"id > {large}", {1}),
        (f"id in [{large + 1}, 5]", {1}),
        ("other < id", {1}),
        ("id >= other", {1}),
    ]:
        assert true_of(membership(connection, f"span({condition})", spans=spans)) == sure, condition


def test_infinity_below_a_line_is_unknown(connection):
    spans = [span("a", 1, attributes={"big": 1e308})]
    assert membership(connection, "span(1 / (big * 10) == 0)", spans=spans) == {1: UNKNOWN}
    assert membership(connection, "span(1 / (big * 1) > 0)", spans=spans) == {1: TRUE}


def test_many_alternatives_of_one_field_are_one_lookup(connection):
    alternatives = " or ".join(f'k == "v{number}"' for number in range(400))
    began = time.perf_counter()
    found = membership(connection, f"span({alternatives} or j == 1)", spans=[span("a", 1, attributes={"k": "v399"})])
    assert found == {1: TRUE}
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("items", ['span("a") >> span("z")', 'span("a") !>> span("z")', 'span("z") << span("a")'])
def test_deep_and_wide_traces_are_fast(connection, items):
    deep = [span("a", 1)] + [span("b", number, number - 1) for number in range(2, 200)] + [span("z", 200, 199)]
    wide = [span("a", 1, trace="w"), {"name": "z", "parent": "s1", "trace": "w", "repeat": {"times": 5_000}}]
    began = time.perf_counter()
    found = filled(connection, f"always: {json.dumps(f'any({items})')}", {"spans": deep + wide})
    wanted = ["violated", "violated"] if "!" in items else ["satisfied", "satisfied"]
    assert verdicts(connection, found) == wanted
    assert time.perf_counter() - began < 20
