"""What is said of other items → named parts of the query that items are joined with: relations, roots and parents.

Every relation of a rule, however deep inside another, becomes one part `r<i>`, made by `kinship` or `nearby`.
What conditions mean is `item`'s business; here is which parts there are, in which order, and how an item finds its
row in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import TypeAlias

from sqlglot import exp

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.meaning.model import LOSSABLE
from dagster_project.rule_language.planning.planner import may_be_lost
from dagster_project.rule_language.sql import kinship as kinship_sql
from dagster_project.rule_language.sql import nearby as nearby_sql
from dagster_project.rule_language.sql.domain import Context, plain_parts
from dagster_project.rule_language.sql.entity import ALIASES, SPAN_KEY, TableOf, from_entity
from dagster_project.rule_language.sql.item import PARENT, ROOT, SHAPE, TRACE, ItemSql, own_parts, reads_beside
from dagster_project.rule_language.sql.nodes import column, every_of, in_query, is_true, joined, same, select, table
from dagster_project.rule_language.text.syntax import Entity

BROKEN, BROKEN_ALIAS = "broken", "bk"
ROOTS, PARENTS = "roots", "parents"

Relation: TypeAlias = model.Related | model.Nearby
Bounds: TypeAlias = Callable[[Entity], list[exp.Expression]]

_BY_TRACE_LOSS = frozenset({"parent", "ancestor", "sibling"})


@dataclass
class Relations:
    """The relations of one rule.

    Attributes
    ----------
    bounds
        What an item of an entity needs to belong to some scope that is asked for.
    one_trace
        Whether these hold for all items of a trace or for none, so that they hold for related spans too.
    shapes_have_names
        Whether the shapes of traces say what their spans are called.
    """

    table_of: TableOf
    columns: Mapping[Entity, Set[str]] | None
    bounds: Bounds
    one_trace: bool
    shapes_have_names: bool = True
    numbers: dict[tuple[Entity, Relation], int] = field(default_factory=dict)
    contexts: dict[int, list[Context]] = field(default_factory=dict)
    reads_beside: bool = False
    root_fields: list[model.Field] = field(default_factory=list)
    parent_fields: list[model.Field] = field(default_factory=list)
    parent_contexts: list[Context] = field(default_factory=list)
    root_contexts: list[Context] = field(default_factory=list)
    _parts: list[tuple[str, exp.Expression]] = field(default_factory=list)
    _made: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.item_sql = ItemSql(self.columns, self)
        self._names: dict[str, str] = {}

    # What there is.

    def note(self, entity: Entity, nodes: Iterable[object], context: Context) -> None:
        """Note the relations and fields of others in conditions on items of an entity."""
        nodes = list(nodes)
        self.reads_beside |= any(map(reads_beside, nodes))
        for part in (part for node in nodes for part in own_parts(node)):
            if isinstance(part, model.Field):
                self._note_field(part, context)
                continue
            number = self.numbers.setdefault((entity, part), len(self.numbers))
            known = self.contexts.setdefault(number, [])
            if context in known:
                continue
            known.append(context)
            other = part.other
            self.note(other.entity, [other.condition], Context(plain_parts(other.condition), bounded=False))
            if isinstance(part, model.Nearby) and other.entity == entity:
                # Whether the item is among its own partners is looked up in its own row.
                self.note(entity, [other.condition], context)

    def _note_field(self, part: model.Field, context: Context) -> None:
        if part.of == "item":
            return
        plain = model.Field("span", part.origin, part.key, part.type)
        known = self.root_fields if part.of == "root" else self.parent_fields
        if plain not in known:
            known.append(plain)
        contexts = self.parent_contexts if part.of == "parent" else self.root_contexts
        if context not in contexts:
            contexts.append(context)

    # How an item finds what is related to it.

    def related(self, node: Relation, entity: Entity) -> exp.Expression:
        """Whether the item is so related: true, false, or null where what was lost may tell."""
        alias = f"r{self.numbers[entity, node]}"
        if isinstance(node, model.Nearby):
            found: exp.Expression = nearby_sql.is_found(node, entity, alias, self.item_sql)
        else:
            found = column("state", alias)
        case = exp.Case().when(found, exp.true(), copy=False)
        if isinstance(node, model.Related) and node.kinship not in _BY_TRACE_LOSS:
            return case.when(exp.Is(this=column("state", alias), expression=exp.null()), exp.false(), copy=False)
        if isinstance(node, model.Nearby) and not self._can_miss(node):
            return case.else_(exp.false(), copy=False)
        return case.when(self._is_whole(entity), exp.false(), copy=False)

    def value(self, read: model.Field) -> exp.Expression:
        """A field of the root or of the parent."""
        plain = model.Field("span", read.origin, read.key, read.type)
        if read.of == "root":
            return column(f"v{self.root_fields.index(plain)}", ROOT)
        return column(f"v{self.parent_fields.index(plain)}", PARENT)

    def joined_to(self, query: exp.Select, entity: Entity, nodes: Iterable[object]) -> exp.Select:
        """Join the parts that these conditions on items of the entity read."""
        wanted = self._wanted(entity, nodes)
        own = ALIASES[entity]
        for number in sorted(wanted.relations):
            node = wanted.relations[number]
            on = (
                nearby_sql.joins_on(node, entity, f"r{number}", self.item_sql)
                if isinstance(node, model.Nearby)
                else same(own, f"r{number}", *SPAN_KEY)
            )
            query = joined(query, "LEFT", table(f"r{number}", f"r{number}"), on)
        if wanted.shape:
            query = joined(query, "LEFT", self.table_of("shapes", SHAPE), same(own, SHAPE, *SPAN_KEY))
        if wanted.trace:
            query = joined(query, "LEFT", self.table_of("traces", TRACE), same(own, TRACE, "trace_id"))
        for is_read, name, alias, key in (
            (wanted.broken, BROKEN, BROKEN_ALIAS, ("trace_id",)),
            (wanted.root, ROOTS, ROOT, ("trace_id",)),
            (wanted.parent, PARENTS, PARENT, SPAN_KEY),
        ):
            if is_read:
                query = joined(query, "LEFT", table(name, alias), same(own, alias, *key))
        return query

    def _wanted(self, entity: Entity, nodes: Iterable[object]) -> _Wanted:
        wanted = _Wanted()
        for node in nodes:
            self._want(wanted, entity, node)
        return wanted

    def _want(self, wanted: _Wanted, entity: Entity, node: object) -> None:
        for part in own_parts(node):
            if isinstance(part, model.Field):
                wanted.root |= part.of == "root"
                wanted.parent |= part.of == "parent"
                if part.of == "item" and part.origin == "intrinsic" and part.key in {"depth", "children"}:
                    wanted.shape = wanted.trace = True
                continue
            wanted.relations[self.numbers[entity, part]] = part
            if isinstance(part, model.Related):
                by_loss = part.kinship in _BY_TRACE_LOSS
            else:
                by_loss = self._can_miss(part)
                if part.other.entity == entity:
                    self._want(wanted, entity, part.other.condition)
            wanted.trace |= by_loss and entity == "log"
            wanted.broken |= by_loss and entity != "log"

    def _can_miss(self, node: model.Nearby) -> bool:
        """Whether a partner may have been lost with a part of the item's own trace; elsewhere nothing is looked for."""
        if "trace" not in node.on:
            return False
        return node.other.entity in LOSSABLE or may_be_lost(node.other.condition)

    def _is_whole(self, entity: Entity) -> exp.Expression:
        """Nothing of the item's trace was lost, or it belongs to none."""
        if entity != "log":
            return exp.Paren(this=exp.Is(this=column("trace_id", BROKEN_ALIAS), expression=exp.null()))
        without = exp.Paren(this=exp.Is(this=column("trace_id", ALIASES[entity]), expression=exp.null()))
        return exp.Paren(this=exp.Or(this=is_true(column("is_complete", TRACE)), expression=without))

    # The parts.

    def parts(self) -> list[tuple[str, exp.Expression]]:
        """The named parts of the query, each after those that it reads."""
        if not self.reads_beside:
            return []
        self._parts = [(BROKEN, self._broken())]
        if self.root_fields:
            self._parts.append((ROOTS, self._roots()))
        if self.parent_fields:
            self._parts += kinship_sql.parents(self)
        for key, number in list(self.numbers.items()):
            self._make(*key, number)
        return self._parts

    def _make(self, entity: Entity, node: Relation, number: int) -> None:
        if number in self._made:
            return
        self._made.add(number)
        other = node.other
        inner = list(own_parts(other.condition))
        # The context's own conditions are plain, so only what lies inside must stand before.
        for part in inner:
            if not isinstance(part, model.Field):
                self._make(other.entity, part, self.numbers[other.entity, part])
        if isinstance(node, model.Nearby):
            self._parts += nearby_sql.parts(self, entity, node, number)
        else:
            self._parts += kinship_sql.parts(self, node, number)

    def _broken(self) -> exp.Expression:
        incomplete = exp.Not(this=column("is_complete", TRACE))
        query = select(column("trace_id", TRACE)).from_(self.table_of("traces", TRACE), copy=False)
        return query.where(incomplete, copy=False)

    def _roots(self) -> exp.Expression:
        """The root span of every trace that has exactly one, with the fields that are read of it."""
        own = ALIASES["span"]
        query = from_entity(
            select(column("trace_id", own), *self.fields_of_span(self.root_fields)), "span", self.table_of
        )
        query = joined(query, "INNER", self.table_of("shapes", SHAPE), same(own, SHAPE, *SPAN_KEY))
        # The few with none or several are left out, rather than all others looked up.
        several = exp.NEQ(this=column("root_count", TRACE), expression=exp.Literal.number(1))
        others = select(column("trace_id", TRACE)).from_(self.table_of("traces", TRACE), copy=False)
        only = exp.Not(this=exp.Paren(this=in_query(column("trace_id", own), others.where(several, copy=False))))
        # No root names a parent, though not all that name none are roots: most spans are not looked up.
        parentless = exp.Is(this=column("parent_span_id", own), expression=exp.null())
        bounds = self.bounds_of_others(self.root_contexts)
        return query.where(column("is_root", SHAPE), only, parentless, *bounds, copy=False)

    def fields_of_span(self, read: list[model.Field]) -> list[exp.Expression]:
        """Fields of a span as `v0`, `v1`, ..., and how many attributes it dropped."""
        own = ALIASES["span"]
        values = [_named(self.item_sql.value(one), f"v{number}") for number, one in enumerate(read)]
        return [_named(column("dropped_attributes_count", own), "dropped"), *values]

    def domain(self, entity: Entity, contexts: list[Context]) -> list[exp.Expression]:
        """Conditions that leave no item out of which the relation is asked in one of these contexts."""
        asked = []
        for context in contexts:
            conditions = context.conditions(self.item_sql, entity)
            asked.append(every_of([*conditions, *(self.bounds(entity) if context.bounded else [])]))
        return [_any_of(asked)]

    def bounds_of_others(self, contexts: list[Context]) -> list[exp.Expression]:
        """Conditions that related spans fulfil because the items do, of whose trace they are."""
        if self.one_trace and all(context.bounded for context in contexts):
            return self.bounds("span")
        return []

    def members(self, items: model.Items, *, unknown: bool) -> list[exp.Expression]:
        """Conditions that keep the items of a set; with `unknown`, those too that what was lost may put in it."""
        inside = self.item_sql.condition(items.condition, items.entity)
        if not unknown:
            return [inside]
        lost = self.item_sql.may_be_lost(items.condition, items.entity)
        if lost == exp.false():
            return [inside]
        may_be = every_of([exp.Paren(this=exp.Is(this=inside.copy(), expression=exp.null())), lost])
        plain = Context(plain_parts(items.condition), bounded=False).conditions(self.item_sql, items.entity)
        return [*plain, exp.Paren(this=exp.Or(this=is_true(inside), expression=may_be))]


@dataclass
class _Wanted:
    """What conditions on an item read beside it."""

    relations: dict[int, Relation] = field(default_factory=dict)
    shape: bool = False
    trace: bool = False
    broken: bool = False
    root: bool = False
    parent: bool = False


def looks_beside(node: object) -> bool:
    """Whether a part of the model looks at more than its own scope, so that what arrives elsewhere may change it."""
    if isinstance(node, model.Nearby) and "trace" not in node.on:
        return True
    if isinstance(node, tuple):
        return any(map(looks_beside, node))
    return any(looks_beside(getattr(node, name)) for name in getattr(node, "__slots__", ()))


def _any_of(parts: list[exp.Expression]) -> exp.Expression:
    if any(part == exp.true() for part in parts):
        return exp.true()
    result = parts[0]
    for part in parts[1:]:
        result = exp.Paren(this=exp.Or(this=result, expression=part))
    return result


def _named(value: exp.Expression, name: str) -> exp.Alias:
    return exp.Alias(this=value, alias=exp.Identifier(this=name, quoted=True))
