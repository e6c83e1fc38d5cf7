"""Every example of docs/rules.md and of the cookbook is read, and every rule in them is run."""

import json
import re
from pathlib import Path

import pytest

from dagster_project.replay import rule_tests
from dagster_project.rule_language import load_catalogue, read_inline

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "rules.md").read_text(encoding="utf-8")
COOKBOOK = (DOCS / "rules-cookbook.md").read_text(encoding="utf-8")
COMING = (DOCS / "coming-from.md").read_text(encoding="utf-8")
LET = 'let: {charge: span("payment.charge"), error_log: log(severity >= error)}'


def blocks(kind, text=TEXT):
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def lines(kind):
    return [line for block in blocks(kind) for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize(
    "text",
    [*blocks("yaml rule"), *blocks("yaml rule", COOKBOOK), *blocks("yaml rule", COMING)],
    ids=lambda text: text.split()[1],
)
def test_rules_of_the_document_pass_their_tests(text):
    identity = text.split()[1]
    catalogue = load_catalogue({f"rules/docs/{identity}.yml": text})
    outcomes = rule_tests.run(catalogue)
    assert outcomes
    assert not rule_tests.failures(outcomes)


@pytest.mark.parametrize("text", lines("set"))
def test_sets_of_the_document_are_read(text):
    read_inline(f"let:\n  x: {json.dumps(text)}\n  y: x where exists(a)\nalways: any(y)")


@pytest.mark.parametrize("text", lines("where"))
def test_item_conditions_of_the_document_are_read(text):
    read_inline(f"always: any(span() where {text})")


@pytest.mark.parametrize("text", lines("condition"))
def test_scope_conditions_of_the_document_are_read(text):
    used = {name: name in text for name in ("charge", "error_log")}
    bound = [
        part
        for name, part in (
            ("charge", 'charge: span("payment.charge")'),
            ("error_log", "error_log: log(severity >= error)"),
        )
        if used[name]
    ]
    let = "let:\n" + "".join(f"  {part}\n" for part in bound) if bound else ""
    read_inline(f"{let}always: {text}")


def test_the_cookbook_has_twenty_patterns():
    assert len(blocks("yaml rule", COOKBOOK)) >= 20


def test_the_document_has_examples_of_each_kind():
    assert all(len(blocks(kind)) >= 1 for kind in ("yaml rule", "set", "where", "condition"))
