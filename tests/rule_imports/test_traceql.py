"""TraceQL queries, judged: what Tempo's documents say of each construct, nil above all."""

import pytest

from dagster_project.cli.imports import proven
from dagster_project.rule_imports.imported import Decisions
from tests.rule_imports.conftest import refusal, translated

GOOD, BAD = "satisfied", "violated"


def span(name="work", **fields):
    attributes = fields.pop("attributes", None)
    return {"name": name, **({"attributes": attributes} if attributes else {}), **fields}


def with_a(value):
    return span(attributes={"a": value})


# A query, the spans of a trace, and whether Tempo finds the trace.
FOUND = [
    ("{ }", [span()], True),
    ('{ name = "work" }', [span()], True),
    ('{ name = "work" }', [span("other")], False),
    ('{ name = "w*k" }', [span()], False),  # no glob
    ('{ span.a = "x" }', [with_a("x")], True),
    ('{ span.a = "x" }', [span()], False),
    ('{ span.a != "x" }', [with_a("y")], True),
    ('{ span.a != "x" }', [span()], False),  # != drops the span without the attribute
    ('{ !(span.a = "x") }', [span()], True),  # ... and ! does not
    ('{ !(span.a = "x") }', [with_a("x")], False),
    ('{ !(span.a != "x") }', [span()], True),
    ('{ !(span.a = "x" && span.b = "y") }', [with_a("x")], True),
    ('{ !(span.a = "x" || span.b = "y") }', [with_a("x")], False),
    ("{ span.a = nil }", [span()], True),
    ("{ span.a = nil }", [with_a(1)], False),
    ("{ span.a != nil }", [with_a(1)], True),
    ("{ !(span.a != nil) }", [span()], True),
    ('{ span.a =~ "x.*" }', [with_a("xy")], True),
    ('{ span.a =~ "x" }', [with_a("xy")], False),  # anchored at both ends
    ('{ span.a =~ "x|xy" }', [with_a("xy")], True),
    ('{ span.a !~ "x" }', [with_a("xy")], True),
    ('{ span.a !~ "x" }', [span()], False),
    ("{ span.a }", [with_a(True)], True),
    ("{ span.a || span.b = 1 }", [span(attributes={"b": 1})], True),
    ("{ span.a > 1 && span.a < 3 }", [with_a(2)], True),
    ("{ 1 < span.a }", [with_a(2)], True),
    ("{ span.a > 2 * 3 + 1 }", [with_a(8)], True),
    ("{ span.a > -1 }", [with_a(0)], True),
    ("{ span.a = span.b }", [span(attributes={"a": 1, "b": 1})], True),
    ('{ .a = "x" }', [with_a("x")], True),
    ('{ .a = "x" }', [span(resource={"a": "x"})], True),
    ('{ .a = "x" }', [span(attributes={"a": "y"}, resource={"a": "x"})], False),  # the span's own comes first
    ("{ .a = nil }", [span(resource={"a": "x"})], False),
    ('{ resource.a = "x" }', [span(resource={"a": "x"})], True),
    ('{ resource.service.name = "s" }', [span(service="s")], True),
    ('{ span."a b" = "x" }', [span(attributes={"a b": "x"})], True),
    ('{ span.http.method = "GET" }', [span(attributes={"http.method": "GET"})], True),
    ("{ status = error }", [span(status="error")], True),
    ("{ status != ok }", [span()], True),
    ("{ kind = server }", [span(kind="server")], True),
    ('{ span.status = "x" }', [span(attributes={"status": "x"})], True),  # an attribute that is called like a field
    ("{ duration > 2ms }", [span(duration="3ms")], True),
    ("{ duration > 2ms }", [span(duration="2ms")], False),
    ("{ span:childCount = 0 }", [span()], True),
    ("{ nestedSetParent < 0 && name = `b` }", [span("a"), span("b")], False),
    ('{ rootName = "a" && name = "b" }', [span("a"), span("b")], True),
    ("{ trace:duration > 4ms }", [span(), span(at="3ms", duration="3ms")], True),
    ("{ trace:duration > 4ms }", [span(duration="4ms")], False),
    ('{ span.a = "x" } && { span.b = "y" }', [with_a("x"), span(attributes={"b": "y"})], True),
    ('{ span.a = "x" && span.b = "y" }', [with_a("x"), span(attributes={"b": "y"})], False),
    ('{ span.a = "x" } || { span.b = "y" }', [span(attributes={"b": "y"})], True),
    # One precedence, from left to right: (a or b) and c.
    ('{ name = "a" } || { name = "b" } && { name = "c" }', [span("a")], False),
    ('{ name = "a" || name = "b" && span.c = 1 }', [span("a")], False),
    ('{ name = "a" } > { name = "b" }', [span("a"), span("b")], True),
    ('{ name = "a" } > { name = "c" }', [span("a"), span("b"), span("c", parent="s2")], False),
    ('{ name = "a" } >> { name = "c" }', [span("a"), span("b"), span("c", parent="s2")], True),
    ('{ name = "b" } < { name = "a" }', [span("a"), span("b")], True),
    ('{ name = "c" } << { name = "a" }', [span("a"), span("b"), span("c", parent="s2")], True),
    ('{ name = "b" } ~ { name = "c" }', [span("a"), span("b"), span("c")], True),
    ('{ name = "b" } ~ { name = "b" }', [span("a"), span("b")], False),  # no sibling of itself
    ('{ name = "a" } !> { name = "b" }', [span("a"), span("b")], False),
    ('{ name = "x" } !> { name = "b" }', [span("a"), span("b")], True),  # nothing on the left
    ('{ } !< { name = "b" }', [span("a"), span("b")], True),  # a leaf
    ('{ } !< { name = "a" }', [span("a"), span("b")], False),
    ('{ name = "a" } &>> { name = "b" }', [span("a"), span("b")], True),
    ('{ name = "a" } > { name = "b" } > { name = "c" }', [span("a"), span("b"), span("c", parent="s2")], True),
    ('{ name = "a" } > ({ name = "b" } > { name = "c" })', [span("a"), span("b"), span("c", parent="s2")], False),
    ("{ span.a = 1 } | count() > 1", [with_a(1), with_a(1)], True),
    ("{ span.a = 1 } | count() > 1", [with_a(1), with_a(2)], False),
    ("{ span.a = 1 } | count() < 2", [with_a(2)], False),  # an empty set is no result
    ("{ span.a = 1 } | count() < 2", [with_a(1)], True),
    ('{ name = "a" } > { name = "b" } | count() > 1', [span("a"), span("b"), span("b")], True),
    ("({ span.a = 1 } || { span.b = 1 }) | count() > 1", [with_a(1), span(attributes={"b": 1})], True),
    ("{ } | avg(duration) > 2ms", [span(duration="1ms"), span(duration="4ms")], True),
    ("{ } | sum(span.a) >= 3", [with_a(1), with_a(2), span()], True),
    ("{ } | max(span.a) > 2", [with_a(1), with_a(2)], False),
    ('{ name = "none" } | min(span.a) < 2', [with_a(1)], False),
    ("{ span.a = 1 } | { span.b = 2 }", [span(attributes={"a": 1, "b": 2})], True),
    ("{ span.a = 1 } | { span.b = 2 }", [with_a(1), span(attributes={"b": 2})], False),
    ("{ status = error } | select(span.a)", [span(status="error")], True),
    ("{ } with (most_recent=true)", [span()], True),
    ('{ event.message =~ ".*bad.*" }', [span(events=[{"name": "e", "attributes": {"message": "a bad one"}}])], True),
    ('{ event:name = "exception" }', [span(events=[{"name": "exception"}])], True),
    ('{ event:name = "exception" }', [span()], False),
    ('{ span."status" = nil }', [span()], True),
    ("{ span.a = 1 } || { }", [span()], True),
    ("{ span.a = 1 || true }", [span()], True),
    # An event is no span by the same name.
    ('{ event:name = "e" } || { name = "b" }', [span("a", events=[{"name": "e"}])], True),
    ('{ event:name = "e" } || { name = "b" }', [span("e")], False),
    ('{ event:name = "e" } || { event:name = "f" }', [span(events=[{"name": "f"}])], True),
]


@pytest.mark.parametrize(("query", "spans", "is_found"), FOUND)
def test_a_trace_is_found_as_tempo_finds_it(judge, query, spans, is_found):
    assert judge(query, "traceql", spans) == (BAD if is_found else GOOD)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("{ } | rate()", "metric"),
        ("{ } | by(span.a) | count() > 1", "groups the spans of one trace"),
        ("{ span.a % 2 = 0 }", "no counterpart"),
        ('{ span.a > "x" }', "no order"),
        ("{ statusMessage = `x` }", "`statusMessage` has no counterpart"),
        ('{ instrumentation.x = "y" }', "not kept"),
        ("{ trace:duration > 1s || span.a = 1 }", "trace:duration"),
        ("{ trace:duration > 1s } >> { }", "beside structure"),
        ('{ event:name = "x" && span.a = 1 }', "need both at once"),
        ("{ event.a = nil }", "denial over the events"),
        ("({ } && { }) | count() > 1", "several spansets"),
        ("{ } | sum(resource.a) > 1", "only durations and attributes"),
        ("{ duration > 5 }", "compares duration with number"),
        ("{ status = bad }", "no counterpart"),
        ("{ span.a = b }", "`b` has no counterpart"),
        ('{ span.a =~ "(?=x)" }', "look-around"),
        ("{ span.a = ", "no TraceQL"),
        ("{ false }", "not a condition"),
        ("{ !(true) }", "nothing can match"),
        ("{ !(true || span.a = 1) }", "nothing can match"),
        ('{ event:name = "e" } | { span.a = 1 }', "a filter after or of structure, events"),
        ('{ event:name = "e" } | count() > 1', "an aggregate is over spans"),
    ],
)
def test_what_cannot_be_carried_over_is_refused_with_a_reason(query, reason):
    assert reason in refusal(query, "traceql").text


@pytest.mark.parametrize("query", [
    '{ name = "a" } >> { name = "b" } | count() > 1',
    '{ name = "a" } > { span.b = 1 } | count() = 3',
    '{ name = "a" } ~ { name = "b" } | count() >= 2',
])  # fmt: skip
def test_a_count_over_structure_brings_tests_that_hold(query):
    tests, _ = proven(translated(query, "traceql"), Decisions(owner="x", severity="low"))
    assert {test.verdict for test in tests} == {GOOD, BAD}


def test_a_refusal_names_its_line():
    assert refusal('// a title\n\n\n{ span.a = "x" &&\n  statusMessage = "y" }', "traceql").line == 5


def test_a_query_says_what_is_assumed():
    said = " ".join(
        note.text for note in translated('{ .a = "x" || !(span.b = 1) && span.c =~ "d" }', "traceql").assumed
    )
    for part in (
        "every trace that it finds",
        "from left to right",
        "without a scope",
        "whole value",
        "`!` of it is true",
    ):
        assert part in said
