"""Sets of items, as syntax → the same in the typed model: selectors, bindings, `where`, structure, `near`, `unless`.

What is said of one item is `item_conditions`' business, what is said of a scope `resolve`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from dagster_project.rule_language.errors import ExpressionError
from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.meaning.item_conditions import ItemResolver
from dagster_project.rule_language.meaning.model import INTRINSICS, SCOPED, Items, Type
from dagster_project.rule_language.text import syntax
from dagster_project.rule_language.text.syntax import Expression
from dagster_project.wording import did_you_mean

_KINSHIPS: Final[dict[syntax.StructureOp, model.Kinship]] = {
    ">": "child",
    ">>": "descendant",
    "<": "parent",
    "<<": "ancestor",
    "~": "sibling",
}


@dataclass
class Bindings:
    """The `let` names seen so far, which of them were used, and the keys that terms are taken `by`.

    `refuses_pattern` says why RE2 would refuse a pattern, or None. `by` is None until a term says it.
    """

    refuses_pattern: Callable[[str], str | None]
    items: dict[str, Items] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    by: tuple[str, ...] | None = None

    def resolver(self, entity: syntax.Entity, word: str | None) -> ItemResolver:
        """Resolves conditions on one item of the entity, which is called `word`."""
        return ItemResolver(entity, word, self.items.keys(), self.refuses_pattern)


def resolve_items(node: Expression, bindings: Bindings) -> Items:
    """The set that an expression describes.

    Raises
    ------
    ExpressionError
        With the position of the name or value that does not fit.
    """
    if isinstance(node, syntax.Filtered):
        base = resolve_items(node.items, bindings)
        return narrowed(base, bindings.resolver(base.entity, item_word(node)).condition(node.condition))
    if isinstance(node, syntax.Selector):
        return _selected(node, bindings)
    if isinstance(node, syntax.Name):
        return _bound(node, bindings)
    if isinstance(node, syntax.Structured):
        return _structured(node, bindings)
    if isinstance(node, syntax.Unless):
        return _unless(node, bindings)
    if isinstance(node, syntax.Joined):
        return _joined(node, bindings)
    raise misplaced(node, "a set of spans, logs or events is expected here")


def item_word(node: Expression) -> str | None:
    """What an item of the set is called in a condition on it: the name of the operand whose items the set holds."""
    if isinstance(node, syntax.Name):
        return node.word
    if isinstance(node, syntax.Filtered):
        return item_word(node.items)
    if isinstance(node, syntax.Structured):
        return item_word(node.right)
    if isinstance(node, (syntax.Unless, syntax.Joined)):
        return item_word(node.left)
    return None


def narrowed(items: Items, *conditions: model.Condition) -> Items:
    """The items for which further conditions are true."""
    parts = [part for condition in (items.condition, *conditions) for part in _operands(condition)]
    return Items(items.entity, items.selector, model.Conjunction(tuple(parts)))


def scoped_items(node: Expression, bindings: Bindings) -> Items:
    """A set of what belongs to scopes: spans, logs, span events and links.

    Raises
    ------
    ExpressionError
        For metrics, deploys and tickets, which only stand beside.
    """
    items = resolve_items(node, bindings)
    if items.entity not in SCOPED:
        hint = f"a {items.entity} stands on the right of `near` or `after`: any(x after {items.entity}(...) within 30m)"
        raise ExpressionError(f"a {items.entity} belongs to no trace", node.at.start, node.at.end, hint)
    return items


def misplaced(node: Expression, expected: str) -> ExpressionError:
    """Why this node cannot stand here, with what its writer probably meant."""
    hint = ""
    if isinstance(node, (syntax.Name, syntax.Path)):
        hint = "a field is looked at inside a quantifier: any(x where field == ...)"
    elif isinstance(node, (syntax.Selector, syntax.Filtered)):
        hint = 'write any(span("...")), none(span("...")) or count(span("...")) > n'
    elif isinstance(node, (syntax.Matches, syntax.In, syntax.Presence)):
        hint = "a condition on fields stands inside a quantifier: any(x where ...)"
    return ExpressionError(expected, node.at.start, node.at.end, hint)


def _bound(node: syntax.Name, bindings: Bindings) -> Items:
    if node.word not in bindings.items:
        hint = did_you_mean(node.word, bindings.items) or 'write a selector such as span("name")'
        raise ExpressionError(f"no binding is called `{node.word}`", node.at.start, node.at.end, hint)
    bindings.used.add(node.word)
    return bindings.items[node.word]


def _selected(node: syntax.Selector, bindings: Bindings) -> Items:
    resolver = bindings.resolver(node.entity, None)
    conditions: list[model.Condition] = []
    if node.name is not None:
        if "name" not in INTRINSICS[node.entity]:
            hint = 'write log(body matches "...")' if node.entity == "log" else f'{node.entity}(service = "...")'
            raise ExpressionError(f"a {node.entity} has no name", node.at.start, node.at.end, hint)
        name = model.Field(node.entity, "intrinsic", "name", Type.TEXT)
        if "*" in node.name or "?" in node.name:
            conditions.append(model.GlobMatched(name, node.name))
        else:
            conditions.append(model.Comparison("==", name, model.Constant(node.name, Type.TEXT)))
    conditions.extend(resolver.condition(argument) for argument in node.conditions)
    selector = model.Conjunction(tuple(part for one in conditions for part in _operands(one)))
    return Items(node.entity, selector, selector)


def _structured(node: syntax.Structured, bindings: Bindings) -> Items:
    left, right = resolve_items(node.left, bindings), resolve_items(node.right, bindings)
    for side, items in ((node.left, left), (node.right, right)):
        if items.entity != "span":
            hint = "events, links and logs are joined by `near ... on trace`"
            message = f"`{node.op}` stands between spans, and this is a set of {items.entity}s"
            raise ExpressionError(message, side.at.start, side.at.end, hint)
    related: model.Condition = model.Related(_KINSHIPS[node.op], left)
    return narrowed(right, model.Negation(related) if node.negated else related)


def _unless(node: syntax.Unless, bindings: Bindings) -> Items:
    left, right = resolve_items(node.left, bindings), resolve_items(node.right, bindings)
    if left.entity != right.entity:
        message = f"`unless` takes {right.entity}s from a set of {left.entity}s, so nothing"
        raise ExpressionError(message, node.at.start, node.at.end)
    return narrowed(left, model.Negation(model.Member(right)))


def _joined(node: syntax.Joined, bindings: Bindings) -> Items:
    left, right = scoped_items(node.left, bindings), resolve_items(node.right, bindings)
    on = node.on
    if on is None:
        on = ("trace",) if right.entity in SCOPED else ("service",)
    for key in on:
        if key == "trace" and right.entity not in SCOPED:
            message = f"a {right.entity} belongs to no trace"
            raise ExpressionError(message, node.at.start, node.at.end, "write `on service`, or `on anything`")
        if key not in {"trace", "service"} and right.entity in {"deploy", "ticket"}:
            raise ExpressionError(f"a {right.entity} has no attribute `{key}`", node.at.start, node.at.end)
    return narrowed(left, model.Nearby(node.direction, right, node.within_ns, on))


def _operands(condition: model.Condition) -> tuple[model.Condition, ...]:
    return condition.operands if isinstance(condition, model.Conjunction) else (condition,)
