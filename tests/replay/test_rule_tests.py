import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from dagster_project.replay import rule_tests
from dagster_project.rule_language import RuleErrors, load_catalogue
from dagster_project.rule_language.rule_file import FIELDS

ROOT = Path(__file__).parents[2]
RULE = """
id: x
title: x
severity: low
owner: x
never: any(span("bad"))
tests:
  - {name: first, verdict: %s, spans: [{name: bad}]}
  - {name: second, verdict: satisfied, spans: [{name: good}]}
"""


def shipped():
    files = sorted((ROOT / "rules").glob("*/*.yml"))
    return {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in files}


def test_the_shipped_catalogue_passes_its_tests():
    outcomes = rule_tests.run(load_catalogue(shipped()))
    assert "payment-idempotency" in {outcome.rule_id for outcome in outcomes}
    assert not rule_tests.failures(outcomes)


def test_a_wrong_expectation_is_an_error_of_the_file():
    text = RULE % "satisfied" + "  - {name: third, verdict: violated, spans: [{name: bad}]}\n"
    (error,) = rule_tests.failures(rule_tests.run(load_catalogue({"rules/x/x.yml": text})))
    assert (error.path, error.line) == ("rules/x/x.yml", 8)
    assert error.message == "test `first`: expected satisfied, found violated"
    assert error.hint == "t1: violated (never is true)"


@pytest.mark.parametrize("pattern", ["(((x{100}){100}){100}){100}", "(?x)a", "[[:foo:]]", r"\\u0041"])
def test_what_the_engine_would_refuse_fails_the_reading(pattern):
    text = RULE.replace('span("bad")', f'span(name matches "{pattern}")') % "violated"
    with pytest.raises(RuleErrors, match="no pattern of RE2"):
        load_catalogue({"rules/x/x.yml": text})


@pytest.mark.parametrize("path", sorted(shipped()))
def test_shipped_rules_satisfy_the_schema_for_editors(path):
    schema = json.loads((ROOT / "rules/rule.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(shipped()[path]), schema, cls=jsonschema.Draft202012Validator)


def test_the_schema_knows_the_fields_of_the_reader():
    schema = json.loads((ROOT / "rules/rule.schema.json").read_text())
    assert set(schema["properties"]) == set(FIELDS)
