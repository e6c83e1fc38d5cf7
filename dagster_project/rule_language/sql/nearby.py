"""Nearness in time: which items have another of a set close to them, or before them → parts of a query.

Partners are counted by subtracting two running counts, which are found by two `asof` joins: no pairs. An item that is
in the set itself is in the count, so that it needs one more; so nothing has to name an item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlglot import exp

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.meaning.model import Type
from dagster_project.rule_language.sql.domain import breadth, plain_parts
from dagster_project.rule_language.sql.entity import field_column, from_entity, started_at, trace_id
from dagster_project.rule_language.sql.item import ItemSql
from dagster_project.rule_language.sql.nodes import (
    aliased,
    call,
    column,
    every_of,
    in_query,
    is_true,
    not_null,
    select,
    table,
)
from dagster_project.rule_language.text.syntax import Entity

if TYPE_CHECKING:
    from dagster_project.rule_language.sql.relation import Relations

Part = tuple[str, exp.Expression]

# A hundred years; beyond it, a time and a distance together would leave 64 bits.
_FURTHEST_NS: Final = 100 * 366 * 86_400 * 10**9


def parts(relations: Relations, entity: Entity, node: model.Nearby, number: int) -> list[Part]:
    """The parts that end in `r<number>`: keys and times of items, and how many `partners` are close to each."""
    name, contexts = f"r{number}", relations.contexts[number]
    others, asked = f"{name}_others", f"{name}_asked"
    of_others, of_asked = _others(relations, node), _asked(relations, entity, node, number)
    others_first = breadth(plain_parts(node.other.condition)) < max(breadth(one.plain) for one in contexts)
    if others_first:
        made = [(others, of_others), (asked, _with_keys_of(of_asked, others, relations, entity, node))]
    else:
        made = [(asked, of_asked), (others, _with_keys_of(of_others, asked, relations, node.other.entity, node))]
    counts = f"{name}_counts"
    return [*made, (counts, _counts(others, node)), (name, _partners(node, asked, counts))]


def is_found(node: model.Nearby, entity: Entity, alias: str, item_sql: ItemSql) -> exp.Expression:
    """Whether the item has a partner beside itself."""
    partners = call("coalesce", column("partners", alias), exp.Literal.number(0))
    own: exp.Expression = exp.Literal.number(0)
    if node.other.entity == entity:
        itself = is_true(item_sql.condition(node.other.condition, entity))
        own = exp.Case().when(itself, exp.Literal.number(1), copy=False).else_(own, copy=False)
    return exp.Paren(this=exp.GT(this=partners, expression=own))


def joins_on(node: model.Nearby, entity: Entity, alias: str, item_sql: ItemSql) -> exp.Expression:
    """How an item finds its count."""
    conditions: list[exp.Expression] = [
        exp.EQ(this=key, expression=column(name, alias))
        for key, name in zip(_keys(node, entity, item_sql), _names(node), strict=True)
    ]
    at = call("epoch_ns", started_at(entity))
    return every_of([*conditions, exp.EQ(this=at, expression=column("at_ns", alias))])


def _names(node: model.Nearby) -> list[str]:
    return [f"g{number}" for number in range(len(_shared(node)))]


def _shared(node: model.Nearby) -> list[str]:
    return [key for key in node.on if key != "anything"]


def _keys(node: model.Nearby, entity: Entity, item_sql: ItemSql) -> list[exp.Expression]:
    """What an item and its partner must have in common."""
    values: list[exp.Expression] = []
    for key in _shared(node):
        if key == "trace":
            values.append(trace_id(entity))
        elif key == "service":
            values.append(field_column(entity, "service"))
        else:
            values.append(item_sql.value(model.Field(entity, "attribute", key, Type.ANY)))
    return values


def _rows(relations: Relations, entity: Entity, node: model.Nearby) -> exp.Select:
    """Keys and start of items; those that lack one have no partner and are nobody's."""
    keys = _keys(node, entity, relations.item_sql)
    at = started_at(entity)
    named = [aliased(key, name) for key, name in zip(keys, _names(node), strict=True)]
    query = select(*named, aliased(call("epoch_ns", at), "at_ns"))
    query = from_entity(query, entity, relations.table_of)
    return query.where(*(not_null(key.copy()) for key in keys), not_null(at.copy()), copy=False)


def _others(relations: Relations, node: model.Nearby) -> exp.Select:
    query = relations.joined_to(_rows(relations, node.other.entity, node), node.other.entity, [node.other.condition])
    return query.where(*relations.members(node.other, unknown=False), copy=False)


def _asked(relations: Relations, entity: Entity, node: model.Nearby, number: int) -> exp.Select:
    query = _rows(relations, entity, node)
    return query.where(*relations.domain(entity, relations.contexts[number]), copy=False).distinct(copy=False)


def _with_keys_of(query: exp.Select, name: str, relations: Relations, entity: Entity, node: model.Nearby) -> exp.Select:
    """Leave out what shares no key with any row of the other side."""
    names = _names(node)
    if not names:
        return query
    keys = _keys(node, entity, relations.item_sql)
    chosen = select(*(column(one) for one in names)).from_(table(name), copy=False)
    return query.where(in_query(keys[0] if len(keys) == 1 else exp.Tuple(expressions=keys), chosen), copy=False)


def _counts(others: str, node: model.Nearby) -> exp.Select:
    """How many of the others there are up to each of their times."""
    names = _names(node)
    window = exp.Window(
        this=exp.Sum(this=exp.Count(this=exp.Star())),
        partition_by=[column(one) for one in names],
        order=exp.Order(expressions=[exp.Ordered(this=column("at_ns"), nulls_first=False)]),
    )
    query = select(*(column(one) for one in names), column("at_ns"), aliased(window, "so_far"))
    query = query.from_(table(others), copy=False)
    return query.group_by(*(column(one) for one in names), column("at_ns"), copy=False)


def _partners(node: model.Nearby, asked: str, counts: str) -> exp.Select:
    names = _names(node)
    within = exp.Literal.number(min(node.within_ns, _FURTHEST_NS))
    at = column("at_ns", "x")
    until: exp.Expression = at if node.direction == "after" else exp.Paren(this=exp.Add(this=at, expression=within))
    since = exp.Paren(this=exp.Sub(this=at.copy(), expression=within.copy()))
    so_far = [call("coalesce", column("so_far", one), exp.Literal.number(0)) for one in ("u", "v")]
    partners = exp.Sub(this=so_far[0], expression=so_far[1])
    columns = [*(column(one, "x") for one in names), column("at_ns", "x"), aliased(partners, "partners")]
    query = select(*columns).from_(table(asked, "x"), copy=False)
    for alias, kind, bound in (("u", exp.GTE, until), ("v", exp.GT, since)):
        keys = [exp.EQ(this=column(one, "x"), expression=column(one, alias)) for one in names]
        on = every_of([*keys, kind(this=bound, expression=column("at_ns", alias))])
        query.append("joins", exp.Join(this=table(counts, alias), method="ASOF", side="LEFT", on=on))
    return query.where(exp.GT(this=exp.Paren(this=partners.copy()), expression=exp.Literal.number(0)), copy=False)
