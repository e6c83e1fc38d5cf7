"""What dbt reads when it parses: nothing of it may hang on a variable, for a night uses what was parsed without any."""

import re
from pathlib import Path

import pytest
from dbt_common.clients.jinja import parse
from jinja2 import nodes

from dagster_project import rule_language
from dagster_project.rule_language.dbt import models as dbt_models
from dagster_project.settings import Project
from dagster_project.transformation import prepare

ROOT = Path(__file__).parents[2]
DBT = ROOT / "dbt"
# The profile is read anew by each run of dbt and is no part of what was parsed.
HARMLESS = {Path("profiles.yml"): ["env_var('HINDCAST_WAREHOUSE')"]}
VARIABLE = re.compile(r"\b(?:env_)?var\s*\([^)]*\)")
READS_VARIABLES = {"var", "env_var"}
SEEN_BY_THE_PARSER = {"config", "ref", "source"}


def templates():
    """The SQL of the project by its path, with what is generated of the shipped rules."""
    written = {path: path.read_text() for path in sorted(DBT.rglob("*.sql")) if "target" not in path.parts}
    catalogue = rule_language.load_catalogue(prepare.rule_texts(Project(ROOT)))
    return {path.relative_to(DBT).as_posix(): text for path, text in written.items()} | {
        name: text for name, text in dbt_models.generate(catalogue).items() if name.endswith(".sql")
    }


def calls(node, names):
    found = [node, *node.find_all(nodes.Call)]
    return [call for call in found if isinstance(call, nodes.Call) and getattr(call.node, "name", None) in names]


def wrong(text):
    """What a template lets the parser see differently from one run to the next."""
    tree = parse(text)
    for call in calls(tree, {"config"}):
        given = [*call.args, *(one.value for one in call.kwargs), *filter(None, (call.dyn_args, call.dyn_kwargs))]
        for value in given:
            if any(isinstance(value, kind) or value.find(kind) for kind in (nodes.Name, nodes.Call)):
                yield f"line {call.lineno}: config() is given what is no constant"
    for branch in tree.find_all((nodes.If, nodes.CondExpr)):
        tests = [part.test for part in (branch, *getattr(branch, "elif_", []))]
        if any(calls(test, READS_VARIABLES) for test in tests) and calls(branch, SEEN_BY_THE_PARSER):
            yield f"line {branch.lineno}: a variable decides on config(), ref() or source()"


def test_no_template_parses_otherwise_with_other_variables():
    """dbt keeps config() and the graph of ref() and source() of the time when it parsed; `hindcast prepare` gives no
    variables then, and a night with other ones takes over what it left. A config() of a variable would keep its
    default for ever, without a word. Hooks are strings, and SQL a template: a run renders both again.
    """
    found = {name: list(wrong(text)) for name, text in templates().items()}
    assert len(found) > 60
    assert {name: mistakes for name, mistakes in found.items() if mistakes} == {}


def test_no_yaml_reads_a_variable():
    """Likewise of the YAML: what it says is rendered once, when the project is parsed."""
    files = [path for kind in ("*.yml", "*.yaml") for path in DBT.rglob(kind) if "target" not in path.parts]
    found = {path.relative_to(DBT): VARIABLE.findall(path.read_text()) for path in files}
    assert len(found) > 30
    assert {name: read for name, read in found.items() if read} == HARMLESS


@pytest.mark.parametrize(
    "text",
    [
        "{{ config(enabled=var('x')) }}",
        "{{ config({'alias': env_var('X')}) }}",
        "{% set x = var('x') %}{{ config(tags=['a', x]) }}",
        "{{ config(alias='a' ~ named_by_a_macro()) }}",
        "{{ config(**var('all')) }}",
        "{% if var('x') %}{{ config(enabled=false) }}{% endif %}",
        "{% if var('x') == 1 %}select 1{% else %}select * from {{ ref('y') }}{% endif %}",
        "{% if x %}select 1{% elif env_var('X') %}select 2{% else %}select * from {{ ref('y') }}{% endif %}",
        "{{ ref('y') if env_var('X') else source('y', 'z') }}",
    ],
)
def test_what_would_be_wrong_is_found(text):
    assert list(wrong(text))


@pytest.mark.parametrize(
    "text",
    [
        "{{ config(materialized='table', tags=['a'], pre_hook=\"{{ delete(var('x')) }}\") }}",
        "select {{ var('x') }} from {{ ref('y') }} {% if var('x') %}where true{% endif %}",
        "{% if is_incremental() %}select * from {{ this }}{% else %}select * from {{ ref('y') }}{% endif %}",
    ],
)
def test_what_a_run_renders_again_is_right(text):
    assert not list(wrong(text))
