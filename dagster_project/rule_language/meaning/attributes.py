"""Attributes that rules read: which there are, with which types, and what their promoted columns are called.

A promoted column is a typed copy of one attribute in the span or log table; dbt makes it, generated SQL reads it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from dagster_project.rule_language.meaning.model import Field, Items, Judgement, Nearby, Scope, Type, parts
from dagster_project.rule_language.meaning.resolve import group_key
from dagster_project.rule_language.text.syntax import Entity

SPAN: frozenset[Entity] = frozenset({"span"})
PROMOTED: frozenset[Entity] = frozenset({"span", "log"})
"""Whose attributes get columns of their own; the other tables are small beside these."""
ColumnType = Literal["number", "text", "boolean", "any"]


@dataclass(frozen=True, order=True)
class PromotedAttribute:
    """One column of `stg_spans` (entity span) or `stg_logs` (entity log)."""

    entity: Entity
    path: str
    type: ColumnType

    @property
    def column(self) -> str:
        return promoted_column(self.path, self.type)


def promoted_column(path: str, type_: ColumnType) -> str:
    """The name of the column of one attribute read as one type.

    DuckDB ignores case in identifiers and attributes do not: a path that is not plain lower case gets a hash of itself.
    """
    plain = re.sub(r"[^a-z0-9_]", "_", path.lower())
    if plain != path:
        plain += "_" + hashlib.sha256(path.encode()).hexdigest()[:8]
    return f"attr__{plain}__{type_}"


def fields_of(node: object) -> Iterator[Field]:
    """Every field that a part of the model reads."""
    if isinstance(node, Field):
        yield node
        return
    for part in parts(node):
        yield from fields_of(part)


def entities_of(node: object) -> set[Entity]:
    """What kinds of item the scopes are made of; what relations look at beside them does not count."""
    if isinstance(node, Items):
        return {node.entity}
    return {entity for part in parts(node) for entity in entities_of(part)}


def promoted(judgements: Iterable[Judgement]) -> tuple[PromotedAttribute, ...]:
    """The columns that these rules read, each once, in order."""
    found: set[PromotedAttribute] = set()
    for judgement in judgements:
        read = set(fields_of(judgement))
        # A lost span is looked for by its key in spans whatever the rule selects.
        grouped = SPAN if judgement.scope is Scope.LIFTED else entities_of(judgement).union(SPAN)
        for entity in sorted(grouped):
            read.update(group_key(key, entity) for key in judgement.group_by)
        read.update(_join_keys(judgement))
        found.update(
            PromotedAttribute(entity, field.key, column_type(field.type))
            for field in read
            if field.origin == "attribute" and (entity := _holder(field)) in PROMOTED
        )
    return tuple(sorted(found))


def _holder(field: Field) -> Entity:
    """Whose column is read: the root and the parent of an item are spans."""
    return field.entity if field.of == "item" else "span"


def _join_keys(node: object, entity: Entity | None = None) -> Iterator[Field]:
    """The attributes that `near ... on key` compares, of both sides."""
    if isinstance(node, Items):
        entity = node.entity
    if isinstance(node, Nearby) and entity is not None:
        for key in node.on:
            if key not in {"trace", "service"}:
                yield Field(entity, "attribute", key, Type.ANY)
                yield Field(node.other.entity, "attribute", key, Type.ANY)
    for part in parts(node):
        yield from _join_keys(part, entity)


def column_type(type_: Type) -> ColumnType:
    """As what an attribute is read that is compared with this type."""
    known: dict[Type, ColumnType] = {Type.NUMBER: "number", Type.TEXT: "text", Type.BOOLEAN: "boolean"}
    return known.get(type_, "any")
