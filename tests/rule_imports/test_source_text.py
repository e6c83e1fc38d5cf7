"""Where one query ends and the next begins, in linear time."""

import time

import pytest

from dagster_project.rule_imports.source_text import queries


@pytest.mark.parametrize(("text", "found"), [
    ("a\n\nb", ["a", "b"]),
    ("{ a\n\n}\n\nb", ["{ a\n\n}", "b"]),
    ('{ "}" \n\n}\n\nb', ['{ "}" \n\n}', "b"]),
    ('{ "\\"}" \n\n}\n\nb', ['{ "\\"}" \n\n}', "b"]),
    ("{ `{` }\n\nb", ["{ `{` }", "b"]),
    ('{ a = "x }\n\n{ b }', ['{ a = "x }', "{ b }"]),
    ('"a\n{"\n\nb', ['"a\n{"', "b"]),
    ("{ a\n// }\n\n}", ["{ a\n\n\n}"]),
    (") (\n\nb", [") (", "b"]),
])  # fmt: skip
def test_a_query_ends_at_a_blank_line_outside_of_brackets(text, found):
    assert [query.text for query in queries(text)] == found


def test_blank_lines_inside_of_a_bracket_cost_no_more_than_others():
    started = time.perf_counter()
    assert len(queries("{\n" + "a\n\n" * 150_000)) == 1
    assert time.perf_counter() - started < 10
