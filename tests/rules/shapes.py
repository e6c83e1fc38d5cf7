"""What is left of a rule's model when names, constants and fields are taken out: its shape, and the constructs it uses.

Tests ask here whether the rules of the catalogue are many rules, or few rules with other names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from dagster_project.rule_language.meaning.model import (
    Aggregate,
    Baseline,
    Comparison,
    Constant,
    Count,
    Distinct,
    Every,
    Field,
    Items,
    Judgement,
    Member,
    Nearby,
    Number,
    Ordered,
    QuantityComparison,
    Rate,
    Related,
    Scope,
    Some,
)
from dagster_project.rule_language.rule_file import Rule

PLAIN = {"<": "<>", "<=": "<>", ">": "<>", ">=": "<>", "==": "==", "!=": "=="}


def nodes(value: Any) -> Iterator[Any]:
    """Every node of a part of a model, itself included."""
    if is_dataclass(value):
        yield value
        for part in fields(value):
            yield from nodes(getattr(value, part.name))
    elif isinstance(value, tuple):
        for one in value:
            yield from nodes(one)


def shape(judgement: Judgement) -> Any:
    """The strict shape: conditions that hold one item against a constant are left out as well, whatever their number.

    Rules that differ in selectors, scopes, thresholds, durations, directions of comparison or reports share it.
    """
    return _outline(judgement.when), _outline(judgement.bad)


def _outline(node: Any) -> Any:
    outline: Any = node if isinstance(node, str) else None
    if isinstance(node, Items):
        outline = ("items", node.entity, tuple(sorted({repr(_outline(one)) for one in _telling(node.condition)})))
    elif isinstance(node, Comparison | QuantityComparison):
        outline = (type(node).__name__, PLAIN[node.op], _outline(node.left), _outline(node.right))
    elif isinstance(node, Field):
        outline = ("field", node.of)
    elif isinstance(node, Constant | Number):
        outline = "constant"
    elif is_dataclass(node):
        kept = (getattr(node, part.name) for part in fields(node) if not part.name.endswith("_ns"))
        outline = (type(node).__name__, *(_outline(one) for one in kept))
    elif isinstance(node, tuple):
        outline = tuple(_outline(one) for one in node)
    return outline


def _telling(condition: Any) -> Iterator[Any]:
    """Of the condition of one item: relations to other items, and fields held against fields."""
    if isinstance(condition, Related | Nearby | Member):
        yield condition
    elif isinstance(condition, Comparison):
        if len([one for one in nodes(condition) if isinstance(one, Field)]) > 1:
            yield condition
    elif is_dataclass(condition):
        for part in fields(condition):
            yield from _telling(getattr(condition, part.name))
    elif isinstance(condition, tuple):
        for one in condition:
            yield from _telling(one)


def constructs(rule: Rule) -> frozenset[int]:
    """Which of the ten points of what expressions must say the rule uses, each seen in what its model holds."""
    found = list(nodes(rule.judgement))
    items = [node for node in found if isinstance(node, Items)]
    read = [node for node in found if isinstance(node, Field)]
    of_others = {field.of for field in read} - {"item"}
    said = {
        1: any(list(nodes(one.selector))[1:] for one in items),
        2: any(field.origin != "intrinsic" for field in read),
        3: any(isinstance(node, Some | Every | Count | Distinct | Aggregate) for node in found),
        4: any(isinstance(node, Related) for node in found),
        5: any(isinstance(node, Ordered) for node in found),
        6: bool(of_others),
        7: rule.judgement.scope in {Scope.GROUP, Scope.LIFTED},
        8: any(isinstance(node, Rate | Baseline) for node in found),
        9: any(isinstance(node, Nearby) for node in found) or {one.entity for one in items} > {"log"},
        10: "assert" in rule.expressions,
    }
    return frozenset(point for point, is_used in said.items() if is_used)
