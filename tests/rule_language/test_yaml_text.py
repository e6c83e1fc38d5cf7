"""Numbers that YAML may hold and a rule cannot: refused with their place, never a crash or another word."""

import pytest

from dagster_project.rule_language import RuleErrors
from dagster_project.rule_language.text.yaml_text import YamlText


@pytest.mark.parametrize("number", ["1" * 5_000, "-" + "1" * 5_000, "1e999", "-1e999"])
def test_a_number_that_is_too_large_is_refused_with_its_place(number):
    with pytest.raises(RuleErrors) as raised:
        YamlText("x.yml", f"a: 1\nb: {number}\n").root()
    (error,) = raised.value.errors
    assert (error.line, error.column) == (2, 4)
    assert "too large a number" in error.message
    assert len(error.message) < 100


def test_numbers_that_a_double_holds_are_read():
    root = YamlText("x.yml", "a: 1e308\nb: 123456789012345678901234567890\nc: -0.5\n").root()
    assert [value.value for _, value in root.value.values()] == [1e308, 123456789012345678901234567890, -0.5]
