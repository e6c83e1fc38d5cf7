"""What the catalogue promises as a whole: enough rules, of many shapes, over all domains, each tested and explained."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import pytest

from dagster_project.replay import rule_tests
from dagster_project.rule_language import read_inline
from dagster_project.rule_language.meaning.model import Items, Nearby, Ordered, Related, Scope
from tests.rules.catalogue_table import DOCUMENT, document
from tests.rules.shapes import constructs, nodes, shape

DOMAINS = {
    "payments", "auth", "data-protection", "reliability", "ai-agents", "database", "messaging", "deployment",
}  # fmt: skip
CONTROLS = {
    "SOC2": r"(CC[1-9]|A1|PI1|C1|P[1-8])\.\d{1,2}",
    "ISO27001": r"A\.[5-8]\.\d{1,2}",
    "PCI-DSS": r"\d{1,2}(\.\d{1,2}){1,3}",
    "GDPR": r"\d{1,2}",
    "EU-AI-ACT": r"\d{1,3}",
}
# The imperatives that descriptions use: what whoever is on call does next.
ADVICE = re.compile(
    r"(?:^|[.:;,] |and |then )(look|find|stop|give|compare|lock|keep|pass|cancel|undo|close|revoke|end|route|run|ask"
    r"|mask|treat|take|fetch|check|put|roll|set|open|send|make|capture|refund|return|book|read|decide|begin|finish)\b",
    re.IGNORECASE,
)


def test_there_are_at_least_forty_rules_over_all_domains(catalogue):
    assert len(catalogue.rules) >= 40
    domains = Counter(rule.domain for rule in catalogue)
    assert domains.keys() >= DOMAINS
    assert min(domains[name] for name in DOMAINS) >= 5


def test_at_most_four_rules_share_a_shape(catalogue):
    of_shape = defaultdict(list)
    for rule in catalogue:
        of_shape[shape(rule.judgement)].append(rule.id)
    crowded = [ids for ids in of_shape.values() if len(ids) > 4]
    assert not crowded, crowded
    assert len(of_shape) >= 40


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("any(span('a'))", "any(span('b', status = error, x > 3))", True),
        ("count(span('a')) > 3", "count(span('b', y == 'z')) <= 700", True),
        ("sum(span('a').x) > 3", "sum(span('a').y) > 4", True),
        ("span('a') before span('b')", "span('c') before span('d') within 5s", True),
        ("any(span('a'))", "none(span('a'))", False),
        ("any(span('a'))", "any(log())", False),
        ("any(span('a') > span('b'))", "any(span('a') >> span('b'))", False),
        ("any(span(x == 1))", "any(span(x == root.x))", False),
        ("count(span('a')) > 3", "count(span('a')) == 3", False),
        ("sum(span('a').x) > 3", "avg(span('a').x) > 3", False),
        ("count(span('a')) > 3", "count(span('a')) > 3 per 1m", False),
        ("span('a') before span('b')", "span('a') followed by span('b')", False),
    ],
)
def test_a_shape_is_what_is_left_without_names_and_constants(one, other, same):
    shapes = [shape(read_inline("always: " + text.replace("'", '"')).judgement) for text in (one, other)]
    assert (shapes[0] == shapes[1]) == same


def test_together_they_use_all_ten_constructs(catalogue):
    used = Counter(point for rule in catalogue for point in constructs(rule))
    assert set(used) == set(range(1, 11))
    thin = {point: number for point, number in used.items() if number < 3}
    assert set(thin) <= {10}, thin


def test_every_kind_of_item_scope_relation_and_order_is_used(catalogue):
    found = [node for rule in catalogue for node in nodes(rule.judgement)]
    assert {node.entity for node in found if isinstance(node, Items)} == {
        "span", "log", "event", "link", "metric", "deploy", "ticket",
    }  # fmt: skip
    assert {rule.judgement.scope for rule in catalogue} == set(Scope)
    assert {node.kinship for node in found if isinstance(node, Related)} >= {"child", "descendant", "sibling"}
    assert {node.direction for node in found if isinstance(node, Nearby)} == {"near", "after"}
    assert {node.every for node in found if isinstance(node, Ordered)} == {"first", "second"}


def test_all_tests_of_all_rules_pass(catalogue):
    outcomes = rule_tests.run(catalogue)
    assert {outcome.rule_id for outcome in outcomes} == {rule.id for rule in catalogue}
    assert not [str(failure) for failure in rule_tests.failures(outcomes)]


def test_each_rule_has_a_violating_and_a_satisfying_test(catalogue):
    for rule in catalogue:
        expected = Counter(example.verdict for example in rule.examples)
        assert expected["violated"], rule.id
        assert expected["satisfied"], rule.id
        assert len({example.name for example in rule.examples}) == len(rule.examples), rule.id


def test_tests_say_what_loss_does_and_where_rules_do_not_apply(catalogue):
    with_loss = {rule.id for rule in catalogue if any(one.verdict == "inconclusive" for one in rule.examples)}
    not_applicable = {rule.id for rule in catalogue if any(one.verdict == "not applicable" for one in rule.examples)}
    assert len(with_loss) >= 12
    assert len(not_applicable) >= 15
    of_construct = Counter(point for rule in catalogue if rule.id in with_loss for point in constructs(rule))
    assert set(of_construct) >= {3, 4, 5, 6, 7, 8, 10}


def test_controls_are_well_formed(catalogue):
    for rule in catalogue:
        assert len(set(rule.controls)) == len(rule.controls), rule.id
        for control in rule.controls:
            framework, _, clause = control.partition(":")
            assert framework in CONTROLS, f"{rule.id}: {control}"
            assert re.fullmatch(CONTROLS[framework], clause), f"{rule.id}: {control}"
    # Where a rule guards money, access or personal data, it is evidence for somebody.
    guarding = [rule for rule in catalogue if rule.domain in {"payments", "auth", "data-protection"}]
    assert not [rule.id for rule in guarding if not rule.controls]


def test_descriptions_say_why_what_to_do_and_what_is_not_seen(catalogue):
    for rule in catalogue:
        assert rule.title.strip(), rule.id
        assert not rule.title.endswith("."), rule.id
        assert rule.owner, rule.id
        paragraphs = [" ".join(part.split()) for part in rule.description.split("\n\n")]
        assert ADVICE.search(paragraphs[0]), f"{rule.id} does not say what to do: {paragraphs[0]}"
        (cannot_see,) = [part for part in paragraphs if part.startswith("Cannot see: ")]
        assert len(cannot_see) > len("Cannot see: ") + 20, rule.id
        assert all(part.endswith((".", ")")) for part in paragraphs), rule.id


def test_titles_and_meanings_are_all_different(catalogue):
    assert len({rule.title for rule in catalogue}) == len(catalogue.rules)
    assert len({rule.meaning_hash for rule in catalogue}) == len(catalogue.rules)


def test_the_document_is_up_to_date(catalogue):
    assert DOCUMENT.read_text(encoding="utf-8") == document(catalogue), (
        "write it again: python -m tests.rules.catalogue_table"
    )
