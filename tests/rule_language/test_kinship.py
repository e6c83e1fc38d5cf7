"""Where spans stand in their traces is read off the shapes alone where that is enough, and says the same either way."""

from random import Random

import engine
import pytest
from worlds import world

from dagster_project.replay import scratch
from dagster_project.rule_language import read_inline
from dagster_project.rule_language.sql.query import to_sql, verdicts_query
from dagster_project.rule_language.sql.scan import Scan, Source

NAMED = Source(columns=engine.NO_COLUMNS)
UNNAMED = Source(columns=engine.NO_COLUMNS, shapes_have_names=False)


def parts(text, source=NAMED):
    return {name: to_sql(query, pretty=False) for name, query in Scan(read_inline(text), source).related()}


@pytest.mark.parametrize("operator", [">", ">>", "<", "<<", "~"])
def test_names_alone_are_looked_up_in_the_shapes(operator):
    text = f'never: any(span("a", kind = server) {operator} span(name = "b*", service = "x"))'
    made = parts(text)
    assert "stg_spans" not in made["r0_others"] + made["r0_asked"]
    unnamed = parts(text, UNNAMED)
    assert "stg_spans" in unnamed["r0_others"]
    assert "stg_spans" in unnamed["r0_asked"]


def test_what_shapes_do_not_say_is_looked_up_in_the_spans_of_that_name():
    made = parts('never: any(span("a") >> span("b", duration > 1s, service = "x"))')
    assert "stg_spans" not in made["r0_others"]
    assert '"hp"."span_name" = \'b\'' in made["r0_asked"]
    assert "stg_spans" in made["r0_asked"]


def test_a_window_is_looked_up_in_the_spans():
    source = Source(columns=engine.NO_COLUMNS, start=engine._moment(10**18))
    assert "stg_spans" in parts('never: any(span("a") >> span("b"))', source)["r0_asked"]


def test_tables_whose_shapes_have_no_names_say_the_same():
    random = Random(6)
    connection = scratch.connect()
    for _world in range(8):
        recorded = world(random, traces=20)
        engine.load(connection, recorded)
        names = sorted({span.name for span in recorded.spans})
        for operator in (">", ">>", "<", "<<", "~", "!>", "!>>", "!<<"):
            first, second = random.choices(names, k=2)
            more = random.choice(["", ", status = error", ", duration > 1ms", ', service = "shop"'])
            text = f'detect: \'any(span("{first}"{more}) {operator} span("{second}"))\''
            found = [
                connection.execute(
                    f"select * from ({to_sql(verdicts_query(read_inline(text), source))}) order by scope_key"
                ).fetchall()
                for source in (NAMED, UNNAMED)
            ]
            assert found[0] == found[1], text
