"""Formulas of decks: names, numbers, + - * / and parentheses, computed without running anything.

Nothing else of Python's expressions is allowed: no power, no call, no attribute.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping

from dagster_project.statistics.claims.finding import say

LONGEST = 300
DEEPEST = 30
_SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "x", ast.Div: "/"}


class FormulaInvalid(ValueError):
    """A formula is no arithmetic of its inputs, or has no result."""


def parse(formula: str) -> ast.expr:
    """The formula as a tree.

    Raises
    ------
    FormulaInvalid
        When it is too long or deep, or anything but arithmetic.
    """
    if len(formula) > LONGEST:
        raise FormulaInvalid(f"longer than {LONGEST} characters: split the claim")
    try:
        tree = ast.parse(formula, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise FormulaInvalid(f"{formula!r} is no arithmetic: use names, numbers, + - * / and parentheses") from None
    _require_arithmetic(tree, 0)
    return tree


def names(tree: ast.expr) -> set[str]:
    """The inputs that a formula names."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def evaluate(tree: ast.expr, inputs: Mapping[str, float]) -> float:
    """The formula's result.

    Raises
    ------
    FormulaInvalid
        When it divides by zero or has no finite result.
    """
    try:
        found = _value(tree, inputs)
    except (ZeroDivisionError, OverflowError):
        raise FormulaInvalid("it divides by zero or grows beyond any number") from None
    if not math.isfinite(found):
        raise FormulaInvalid("it grows beyond any number")
    return found


def spelled(tree: ast.expr, inputs: Mapping[str, float]) -> str:
    """The formula with its numbers."""
    if isinstance(tree, ast.BinOp):
        left, right = (spelled(each, inputs) for each in (tree.left, tree.right))
        is_product = isinstance(tree.op, ast.Mult | ast.Div)
        if is_product and _is_sum(tree.left):
            left = f"({left})"
        if isinstance(tree.right, ast.BinOp) and (is_product or isinstance(tree.op, ast.Sub)):
            right = f"({right})"
        return f"{left} {_SIGNS[type(tree.op)]} {right}"
    if isinstance(tree, ast.UnaryOp):
        operand = spelled(tree.operand, inputs)
        is_whole = not isinstance(tree.operand, ast.BinOp) and not operand.startswith("-")
        return f"-{operand}" if is_whole else f"-({operand})"
    return say(_value(tree, inputs))


def _is_sum(tree: ast.expr) -> bool:
    return isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Add | ast.Sub)


def _value(tree: ast.expr, inputs: Mapping[str, float]) -> float:
    match tree:
        case ast.BinOp(left=left, op=op, right=right):
            one, other = _value(left, inputs), _value(right, inputs)
            if isinstance(op, ast.Add):
                return one + other
            if isinstance(op, ast.Sub):
                return one - other
            return one * other if isinstance(op, ast.Mult) else one / other
        case ast.UnaryOp(operand=operand):
            return -_value(operand, inputs)
        case ast.Name(id=name):
            return inputs[name]
        case ast.Constant(value=value) if isinstance(value, int | float):
            return float(value)
    raise FormulaInvalid("only names, numbers, + - * / and parentheses are arithmetic")


def _require_arithmetic(tree: ast.expr, depth: int) -> None:
    if depth > DEEPEST:
        raise FormulaInvalid(f"nested more than {DEEPEST} deep")
    match tree:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _SIGNS:
            _require_arithmetic(left, depth + 1)
            _require_arithmetic(right, depth + 1)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            _require_arithmetic(operand, depth + 1)
        case ast.Name():
            pass
        case ast.Constant(value=value) if isinstance(value, int | float) and not isinstance(value, bool):
            pass
        case _:
            raise FormulaInvalid("only names, numbers, + - * / and parentheses are arithmetic")
