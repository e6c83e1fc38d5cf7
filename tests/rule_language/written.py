"""The text of syntax trees and of whole rules: the way back through YAML, parser and resolver."""

# ruff: noqa: C901, PLR0911, PLR0912  # one return a kind of node

from __future__ import annotations

import json
from typing import Any

from oracle_scopes import Rule  # type: ignore[import-not-found]

from dagster_project.rule_language.text import syntax as tree


def written(node: Any) -> str:
    """The text of a tree, fully bracketed."""
    if isinstance(node, tree.Value):
        return _literal(node)
    if isinstance(node, tree.Name):
        return node.word
    if isinstance(node, tree.Path):
        return f"{node.base}.{json.dumps(node.field_name)}"
    if isinstance(node, tree.Not):
        return f"(not {written(node.operand)})"
    if isinstance(node, (tree.And, tree.Or)):
        word = " and " if isinstance(node, tree.And) else " or "
        return f"({word.join(map(written, node.operands))})"
    if isinstance(node, tree.Compare):
        per = f" per {node.per_ns}ns" if node.per_ns is not None else ""
        return f"{written(node.left)} {node.op} {written(node.right)}{per}"
    if isinstance(node, tree.Arithmetic):
        return f"({written(node.left)} {node.op} {written(node.right)})"
    if isinstance(node, tree.Matches):
        return f"{written(node.subject)} matches {written(node.pattern)}"
    if isinstance(node, tree.In):
        return f"{written(node.subject)} in [{', '.join(map(written, node.values.items))}]"
    if isinstance(node, tree.Presence):
        return f"{'exists' if node.present else 'missing'}({written(node.subject)})"
    if isinstance(node, tree.Selector):
        name = [json.dumps(node.name)] if node.name is not None else []
        return f"{node.entity}({', '.join([*name, *map(written, node.conditions)])})"
    if isinstance(node, tree.Filtered):
        return f"{written_set(node.items)} where {written(node.condition)}"
    if isinstance(node, tree.Baseline):
        parts = [f"{node.back_ns}ns", *(["same hour"] if node.same_hour else [])]
        parts += [] if node.at_least is None else [f"at least {node.at_least}"]
        return f"baseline({', '.join(parts)})"
    if isinstance(node, tree.Ordered):
        sides = [
            written(one) if edge == "start" else f"{written(one)}.{edge}"
            for one, edge in ((node.first, node.first_edge), (node.second, node.second_edge))
        ]
        within = f" within {node.within_ns}ns" if node.within_ns is not None else ""
        return f"{sides[0]} {node.kind} {sides[1]}{within}"
    return written_call(node) if isinstance(node, tree.Call) else written_set(node)


def written_set(node: Any) -> str:
    """A set; what is not one word or selector in brackets where it stands on the right."""
    if isinstance(node, tree.Structured):
        return f"{written_set(node.left)} {'!' if node.negated else ''}{node.op} {_operand(node.right)}"
    if isinstance(node, tree.Unless):
        return f"{written_set(node.left)} unless {_operand(node.right)}"
    if isinstance(node, tree.Joined):
        keys = "" if node.on is None else f" on {', '.join(map(_field, node.on)) or 'anything'}"
        return f"{written_set(node.left)} {node.direction} {_operand(node.right)} within {node.within_ns}ns{keys}"
    return _operand(node)


def _operand(node: Any) -> str:
    return written(node) if isinstance(node, (tree.Name, tree.Selector)) else f"({written(node)})"


def _field(name: str) -> str:
    return name if name.isidentifier() else json.dumps(name)


def written_call(node: tree.Call) -> str:
    by = f" by {', '.join(map(_field, node.by))}" if node.by else ""
    if node.variable is not None:
        assert node.condition is not None
        return f"{node.function}({node.variable} in {written_set(node.items)}: {written(node.condition)}){by}"
    where = f" where {written(node.condition)}" if node.condition is not None else ""
    what = f"{_operand(node.items)}.{_field(node.field_name)}" if node.field_name else written_set(node.items)
    return f"{node.function}({what}{where}){by}"


def _literal(node: tree.Value) -> str:
    if node.unit == "duration":
        return f"{node.value}ns"
    if isinstance(node.value, bool):
        return "true" if node.value else "false"
    return json.dumps(node.value) if isinstance(node.value, str) else str(node.value)


def rule_text(rule: Rule) -> str:
    """The rule as YAML; JSON strings are YAML strings."""
    lines = ["let:"] if rule.let else []
    lines += [f"  {name}: {json.dumps(written(node))}" for name, node in rule.let]
    for name in ("when", "always", "never", "detect"):
        if (node := getattr(rule, name)) is not None:
            lines.append(f"{name}: {json.dumps(written(node))}")
    if rule.report:
        lines.append("report:")
        lines += [f"  {name}: {json.dumps(written(call))}" for name, call in rule.report]
    if rule.group_by:
        lines += [f"group_by: {json.dumps(list(rule.group_by))}", f"gap: {rule.gap}ns"]
    return "\n".join([*lines, f"skew: {rule.skew}ns"])
