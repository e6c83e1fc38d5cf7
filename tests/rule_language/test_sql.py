"""The generated SQL: what it reads, what it can never run, what is true under loss."""

import json
import time
from pathlib import Path

import duckdb
import jinja2
import pytest

from dagster_project.replay import rule_tests, scratch
from dagster_project.rule_language import load_catalogue, read_inline
from dagster_project.rule_language.meaning.attributes import promoted_column
from dagster_project.rule_language.meaning.model import Type
from dagster_project.rule_language.sql.item import json_value
from dagster_project.rule_language.sql.nodes import column, without_collector
from dagster_project.rule_language.sql.query import RESULT_TYPES, to_sql, verdicts_query
from dagster_project.rule_language.sql.scan import Source

NOTHING_PROMOTED = Source(columns={"span": frozenset(), "log": frozenset()})


@pytest.fixture
def connection():
    made = scratch.connect()
    yield made
    made.close()


def test_columns_and_types_are_those_of_the_models(connection):
    sql = to_sql(verdicts_query(read_inline("always: any(span())"), NOTHING_PROMOTED))
    described = connection.execute(f"describe {sql}").fetchall()
    assert [row[0] for row in described] == list(RESULT_TYPES)
    wanted = [connection.execute(f"select typeof(null::{one})").fetchone() for one in RESULT_TYPES.values()]
    found = [connection.execute(f"select typeof(null::{row[1]})").fetchone() for row in described]
    assert found == wanted


@pytest.mark.parametrize(
    "nasty", ["'; drop table staging.stg_spans; --", "\\", "%_", "'", '"', "{{ 1/0 }}", "{% raw %}", "é\t"]
)
def test_texts_of_rules_stay_texts(connection, nasty):
    written = json.dumps(nasty, ensure_ascii=False)
    glob = json.dumps(f"*{nasty}?", ensure_ascii=False)
    condition = f"any(span({written}, attribute.{written} == {written})) or none(span({glob}))"
    rule = read_inline(f"group_by: {written}\ngap: 1h\nalways: |\n  {condition}")
    connection.execute(to_sql(verdicts_query(rule, NOTHING_PROMOTED))).fetchall()
    assert connection.execute("select count(*) from staging.stg_spans").fetchone() == (0,)
    name = promoted_column(nasty, "text")
    assert name.isidentifier()


def test_promoted_columns_of_different_attributes_never_meet():
    keys = ["a.b", "a_b", "A.b", "a-b", "A_B", "a b"]
    assert len({promoted_column(key, "text").lower() for key in keys}) == len(keys)
    assert promoted_column("attempt", "number") == "attr__attempt__number"


VALUES = [
    "1",
    "-2.5",
    "1e3",
    "12345678901234567890",
    '"x"',
    '"2"',
    '""',
    "true",
    "false",
    "null",
    "[1, 2]",
    '{"k": 1}',
    None,
]


@pytest.mark.parametrize("type_", [Type.NUMBER, Type.TEXT, Type.BOOLEAN, Type.ANY])
@pytest.mark.parametrize("key", ["a", "http.route", "a/b", "a~b", "it's", '"q"', "0"])
def test_json_fallback_says_what_the_dbt_macro_says(type_, key):
    macro_file = Path(__file__).parents[2] / "dbt/macros/promoted_columns.sql"
    templates = jinja2.Environment()  # noqa: S701  # it makes SQL, not HTML
    macro = templates.from_string(macro_file.read_text()).module.duckdb__promoted_column
    promoted = macro({"path": key, "type": str(type_), "column": "x"}).strip()
    fallback = json_value(column("attributes"), key, type_).sql(dialect="duckdb")
    documents = ["{}", *("{" + json.dumps(key) + ": " + value + "}" for value in VALUES if value is not None), None]
    rows = duckdb.execute(
        f"select ({promoted}) is not distinct from ({fallback}) from (select unnest(?)::json as attributes)",
        [documents],
    ).fetchall()
    assert rows == [(True,)] * len(documents)


def verdict_of(term, spans, logs="[]"):
    """The verdict of `always: term` over one trace."""
    text = f"""
id: x
title: x
severity: low
owner: x
always: {json.dumps(term)}
tests:
  - {{name: t, verdict: violated, spans: {spans}, logs: {logs}}}
  - {{name: u, verdict: satisfied, spans: [{{name: a}}]}}
"""
    (first, _second) = rule_tests.run(load_catalogue({"rules/x/x.yml": text}))
    assert not first.error, first.error
    return first.found


LOST = "{name: r, id: r}, {name: y, parent: nowhere}"
A = "{name: a, attributes: {v: %d}}"


@pytest.mark.parametrize(
    ("term", "seen", "whole", "lossy"),
    [
        ('any(span("a"))', 1, "satisfied", "satisfied"),
        ('any(span("a"))', 0, "violated", "inconclusive"),
        ('none(span("a"))', 1, "violated", "violated"),
        ('none(span("a"))', 0, "satisfied", "inconclusive"),
        ('all(span("a") where v > 1)', 1, "violated", "violated"),
        ('all(span("a") where v < 9)', 2, "satisfied", "inconclusive"),
        ('count(span("a")) > 2', 3, "satisfied", "satisfied"),
        ('count(span("a")) > 2', 2, "violated", "inconclusive"),
        ('count(span("a")) < 2', 2, "violated", "violated"),
        ('count(span("a")) < 2', 1, "satisfied", "inconclusive"),
        ('count(span("a")) == 2', 3, "violated", "violated"),
        ('count(span("a")) == 2', 2, "satisfied", "inconclusive"),
        ('count(span("a")) != 2', 3, "satisfied", "satisfied"),
        ('distinct(span("a").v) == 1', 2, "violated", "violated"),
        ('distinct(span("a").v) == 1', 1, "satisfied", "inconclusive"),
        ('distinct(span("a").v) >= 2', 2, "satisfied", "satisfied"),
        ('count(span("a")) - count(log()) >= 1', 2, "satisfied", "satisfied"),
        ("none(log(severity >= error))", 0, "satisfied", "satisfied"),
        ("any(log(severity >= error))", 0, "violated", "violated"),
        ('any(span("a")) or any(log())', 1, "satisfied", "satisfied"),
        ('any(span("a")) and any(log())', 1, "violated", "violated"),
    ],
)
def test_a_loss_makes_inconclusive_what_it_could_change_and_nothing_else(term, seen, whole, lossy):
    spans = ", ".join(["{name: r, id: r}"] + [A % number for number in range(1, seen + 1)])
    assert verdict_of(term, f"[{spans}]") == whole
    assert verdict_of(term, f"[{spans}, {{name: y, parent: nowhere}}]") == lossy


@pytest.mark.parametrize(
    ("term", "attributes", "fact", "dropped"),
    [
        ("any(span() where v > 1)", "{}", "violated", "inconclusive"),
        ("any(span() where exists(v))", "{}", "violated", "inconclusive"),
        ("any(span() where missing(v))", "{}", "satisfied", "inconclusive"),
        ("any(span() where not v > 1)", "{}", "violated", "inconclusive"),
        ("any(span() where v > 1 or w > 1)", "{w: 2}", "satisfied", "satisfied"),
        ("all(span() where v > 1 and w > 1)", "{w: 0}", "violated", "violated"),
        ("all(span() where v > 1)", "{}", "violated", "inconclusive"),
        ("all(span() where v > 1)", "{v: x}", "violated", "violated"),
    ],
)
def test_a_missing_attribute_is_a_fact_unless_attributes_were_dropped(term, attributes, fact, dropped):
    if dropped == "violated" and attributes == "{v: x}":
        # A value of another type counts as missing; that it was dropped cannot be ruled out.
        dropped = "inconclusive"
    assert verdict_of(term, f"[{{name: a, attributes: {attributes}}}]") == fact
    assert verdict_of(term, f"[{{name: a, dropped: 1, attributes: {attributes}}}]") == dropped


def test_a_trace_of_which_only_logs_came_has_lost_its_spans():
    assert verdict_of('none(span("a"))', "[]", "[{body: x, trace: t9}]") == "not applicable"
    assert verdict_of('none(span("a")) and any(log())', "[]", "[{body: x, trace: t9}]") == "inconclusive"


def test_a_thousand_rules_compile_in_proportion():
    text = """
id: r{0}
title: Rule {0}
severity: low
owner: x
let:
  charge: span("payment.*", service = "s{0}")
  failed: log(severity >= error, body matches "timeout {0}")
when: any(charge where attempt > {0}) and count(failed) < 3
always: distinct(charge."payment.intent") == 1 or all(charge where amount * 2 <= limit and status != error)
report: {{total: sum(charge.amount)}}
tests:
  - {{name: a, verdict: violated, spans: [{{name: payment.x, service: s{0}, attributes: {{attempt: 5000}}}}]}}
  - {{name: b, verdict: satisfied, spans: [{{name: payment.x, service: s{0}, attributes: {{attempt: 5000}}}}]}}
"""
    texts = {f"rules/x/r{number}.yml": text.format(number) for number in range(1000)}
    began = time.process_time()
    catalogue = load_catalogue(texts)
    with without_collector():
        for rule in catalogue:
            to_sql(verdicts_query(rule), pretty=False)
    # Eight seconds of a quiet core; anything that looks at pairs of rules takes minutes.
    assert time.process_time() - began < 60
