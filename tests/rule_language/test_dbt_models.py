"""The generated files of the dbt project, as dbt's own template language reads them."""

import hashlib
import json

import duckdb
import jinja2
import pytest
import yaml

from dagster_project.rule_language import load_catalogue
from dagster_project.rule_language.dbt.models import generate, group_name
from dagster_project.rule_language.meaning.model import Scope

RULE = """
id: {id}
title: {title}
severity: low
status: {status}
owner: shop
controls: [SOC2:CC7.2]
{group}
always: {always}
tests:
  - {{name: a, verdict: violated, spans: [{{name: x}}]}}
  - {{name: b, verdict: satisfied, spans: [{{name: y}}]}}
"""


def catalogue(*rules):
    texts = {}
    for number, rule in enumerate(rules):
        values = {
            "id": f"r{number}",
            "title": "T",
            "status": "active",
            "group": "",
            "always": 'none(span("x"))',
            **rule,
        }
        texts[f"rules/shop/r{number}.yml"] = RULE.format(**values)
    return load_catalogue(texts)


def rendered(text, **extra):
    """The text after dbt's templates ran, with stand-ins for what dbt gives them."""
    functions = {
        "ref": lambda name: f"<{name}>",
        "config": lambda **_settings: "",
        "rules_judged_before": lambda *_: ["r0:known"],
        "rules_taken_out": list,
        "touched_traces": lambda: "<touched>",
        "is_to_be_judged": lambda _before, rule: f"<{rule.split(':')[0]}>",
        **extra,
    }
    templates = jinja2.Environment()  # noqa: S701  # it makes SQL, not HTML
    return templates.from_string(text).render(**functions)


def test_equal_catalogues_give_equal_files():
    rules = ({"always": "any(span() where b > 1)"}, {"group": "group_by: k\ngap: 1h"})
    assert generate(catalogue(*rules)) == generate(catalogue(*rules))


def test_one_model_a_plan_group_and_no_retired_rule():
    files = generate(catalogue({}, {"group": "group_by: k\ngap: 1h"}, {"status": "retired"}, {"status": "shadow"}))
    names = {path.rsplit("/", 1)[1] for path in files}
    assert {
        "verdicts__trace.sql",
        "verdicts__by_k.sql",
        "rule_catalogue.sql",
        "plan_groups.sql",
        "promoted_attributes.sql",
    } <= names
    trace = files["models/violations/generated/verdicts__trace.sql"]
    assert "'r0'" in trace
    assert "'r3'" in trace
    assert "'r2'" not in trace
    assert "'r2'" in files["models/violations/generated/rule_catalogue.sql"]
    assert "['verdicts__by_k', 'verdicts__trace']" in files["macros/generated/plan_groups.sql"]


def test_the_catalogue_says_what_was_compiled():
    texts = {
        "rules/shop/r0.yml": RULE.format(
            id="r0",
            title="T",
            status="active",
            group='when: |\r\n  any(span("y"))\r\n  and any(span("z"))',
            always="'none(span(\"x\"))'  # a note",
        )
    }
    sql = rendered(generate(load_catalogue(texts))["models/violations/generated/rule_catalogue.sql"])
    columns = "file, file_sha256, file_bytes, expression"
    (row,) = duckdb.execute(f"select {columns} from ({sql.split('lost.', 1)[1]})").fetchall()
    content = texts["rules/shop/r0.yml"].encode()
    assert row[:3] == ("rules/shop/r0.yml", hashlib.sha256(content).hexdigest(), len(content))
    assert row[3] == 'when: any(span("y"))\n  and any(span("z"))\nalways: none(span("x"))'


def test_an_empty_catalogue_has_all_files():
    files = generate(load_catalogue({}))
    assert "WHERE\n  FALSE" in files["models/violations/generated/verdicts__trace.sql"]
    assert "WHERE\n  FALSE" in files["models/violations/generated/rule_catalogue.sql"]


@pytest.mark.parametrize("nasty", ["{{ 1 / 0 }}", "{% raw %}", "{# gone #}", "{{{", "it's {{ ref('x') }}"])
def test_texts_of_rules_are_no_templates(nasty):
    files = generate(catalogue({"title": json.dumps(nasty), "always": json.dumps(f"none(span({json.dumps(nasty)}))")}))
    shown = rendered(files["models/violations/generated/rule_catalogue.sql"])
    assert nasty.replace("'", "''") in shown.replace("', '", "")
    assert nasty.replace("'", "''") in rendered(files["models/violations/generated/verdicts__trace.sql"]).replace(
        "', '", ""
    )


@pytest.mark.parametrize("nasty", ["plain", "a.b", "{{ 1 / 0 }}", "it's", 'q"q', "a\\b", "100%}", "é"])
def test_promoted_attributes_reach_dbt_unchanged(nasty):
    always = f"any(span() where attribute.{json.dumps(nasty)} > 1)"
    files = generate(catalogue({"always": json.dumps(always)}))
    returned = []
    template = files["macros/generated/promoted_attributes.sql"] + "{{ promoted_attributes('span') }}"
    rendered(template, fromjson=json.loads, **{"return": returned.append})
    assert [one["path"] for one in returned[0]] == [nasty]
    assert returned[0][0]["type"] == "number"


def test_every_reading_of_an_attribute_is_a_column():
    found = catalogue(
        {"always": 'any(span() where a > 1 and a == "x" and exists(a))'}, {"group": "group_by: k\ngap: 1h"}
    )
    columns = [(one.entity, one.column) for one in found.promoted_attributes()]
    assert columns == [
        ("span", "attr__a__any"),
        ("span", "attr__a__number"),
        ("span", "attr__a__text"),
        ("span", "attr__k__any"),
    ]


def test_only_what_is_touched_is_judged_again():
    files = generate(catalogue({}, {"group": "group_by: [k, a]\ngap: 1h"}))
    sql = rendered(files["models/violations/generated/verdicts__trace.sql"])
    assert sql.count("<r0>") >= 2
    assert "<stg_spans>" in sql
    assert sql.count('FROM "temp"."main"."touched"') == sql.count("<r0>")
    by_key = rendered(files["models/violations/generated/verdicts__by_k__a.sql"])
    assert by_key.count("<r1>") >= 2
    assert by_key.count('FROM "temp"."main"."touched"') == by_key.count("<r1>")


def test_names_of_groups_never_meet():
    keys = [("a",), ("a.b",), ("a_b",), ("a", "b"), ("a__b",), ("A",)]
    names = {
        group_name(key, scope, beyond=beyond) for key in keys for scope in list(Scope)[1:] for beyond in (True, False)
    }
    # Hours that look beyond are judged with the others.
    assert len(names) == 5 * len(keys)
    assert group_name((), Scope.TRACE, beyond=True) == "verdicts__nearby_trace"
    assert group_name(("order_id",)) == "verdicts__by_order_id"


def test_models_are_described():
    described = yaml.safe_load(generate(catalogue({}))["models/violations/generated/_generated__models.yml"])
    names = [model["name"] for model in described["models"]]
    assert names == ["rule_catalogue", "rule_unkeyed_items", "rule_null_keys", "verdicts__trace"]
    assert len(described["models"][3]["columns"]) == 15
