"""Of which items a relation is asked: conditions that are cheap to check and leave no such item out.

A relation inside `span("pay", a > 1) ...` is worked out for spans called `pay` only. What a relation gives for items
that are left out is false, which changes nothing: another part of the same condition is false of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.meaning.model import Type
from dagster_project.rule_language.sql.entity import field_column, is_never_null
from dagster_project.rule_language.sql.item import ItemSql, own_parts
from dagster_project.rule_language.sql.nodes import call
from dagster_project.rule_language.text.syntax import Entity

_NAMES = {("intrinsic", "name"), ("intrinsic", "service")}
_BY_VALUE = (model.Comparison, model.Membership, model.GlobMatched, model.PatternFound)


@dataclass(frozen=True)
class Context:
    """Where a relation stands: beside which plain conditions, and whether in a set of the rule's own scopes."""

    plain: frozenset[model.Condition]
    bounded: bool

    def of_names(self) -> Context:
        """The part of it that says what spans are called; without bounds."""
        return Context(frozenset(one for one in self.plain if _reads(one) <= _NAMES), bounded=False)

    def conditions(self, item_sql: ItemSql, entity: Entity) -> list[exp.Expression]:
        """Conditions that are true unless a plain condition is false."""
        return [_not_false(item_sql, one, entity) for one in sorted(self.plain, key=repr)]


def plain_parts(condition: model.Condition) -> frozenset[model.Condition]:
    """The conditions that all must hold and that look at the item's own row only."""
    operands = condition.operands if isinstance(condition, model.Conjunction) else (condition,)
    return frozenset(one for one in operands if _is_plain(one))


def breadth(plain: frozenset[model.Condition]) -> tuple[int, int]:
    """Smaller is rarer: a name picks few spans, and so do many conditions."""
    named = sum(isinstance(one, model.Comparison) and one.op == "==" for one in plain)
    return -named, -len(plain)


def widest(sets: list[model.Items]) -> list[model.Items]:
    """The sets without those inside another, as `x where c` is in `x`: one plain condition prunes, an `or` does not."""
    parts = [
        set(one.condition.operands) if isinstance(one.condition, model.Conjunction) else {one.condition} for one in sets
    ]
    kept = []
    for number, one in enumerate(sets):
        before, after = parts[:number], parts[number + 1 :]
        if not any(other <= parts[number] for other in before) and not any(other < parts[number] for other in after):
            kept.append(one)
    return kept


def _reads(node: model.Condition) -> set[tuple[str, str]]:
    return {(one.origin, one.key) if isinstance(one, model.Field) else ("", "") for one in own_parts(node)}


def _is_plain(node: model.Condition) -> bool:
    """Whether only stored columns of the row decide it."""
    parts: list[object] = [node]
    while parts:
        part = parts.pop()
        if isinstance(part, (model.Related, model.Nearby, model.Member)):
            return False
        if isinstance(part, model.Field) and (part.of != "item" or part.key in {"depth", "children"}):
            return False
        if isinstance(part, tuple):
            parts.extend(part)
        else:
            parts.extend(getattr(part, name) for name in getattr(part, "__slots__", ()))
    return True


def _not_false(item_sql: ItemSql, node: model.Condition, entity: Entity) -> exp.Expression:
    """True where the condition is true or unknown; written so that engines can skip blocks of rows by it."""
    condition = item_sql.condition(node, entity)
    read = [part for part in own_parts(node) if isinstance(part, model.Field)]
    if all(one.origin == "intrinsic" and is_never_null(entity, one.key) for one in read):
        return condition
    if isinstance(node, _BY_VALUE) and len(read) == 1 and read[0].type in {Type.TEXT, Type.ANY}:
        one = read[0]
        stored = field_column(entity, one.key) if one.origin == "intrinsic" else item_sql.value(one)
        missing = exp.Paren(this=exp.Is(this=stored, expression=exp.null()))
        return exp.Paren(this=exp.Or(this=condition, expression=missing))
    return call("coalesce", condition, exp.true())
