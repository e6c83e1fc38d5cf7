"""The kinds of item → where their rows are: table, alias, columns of their fields, the key that joins them.

What is said of an item is `item`'s business; how items are related `relation`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from sqlglot import exp

from dagster_project.rule_language.sql.nodes import call, cast, column, joined, same
from dagster_project.rule_language.text.syntax import Entity

TableOf: TypeAlias = Callable[[str, str | None], exp.Expression]

TABLES = {
    "spans": ("staging", "stg_spans"),
    "logs": ("staging", "stg_logs"),
    "events": ("staging", "stg_span_events"),
    "links": ("staging", "stg_span_links"),
    "metrics": ("staging", "stg_metric_points"),
    "deploys": ("staging", "stg_deploys"),
    "tickets": ("intermediate", "int_incidents"),
    "shapes": ("intermediate", "int_trace_shape"),
    "traces": ("intermediate", "int_traces"),
}

SPAN_KEY = ("trace_id", "span_id", "kind")
"""What names a node of a trace: Zipkin lets a client and a server share a span id."""


def schema_table(name: str, alias: str | None = None) -> exp.Expression:
    """A table of a warehouse or a published generation: `staging.stg_spans` and the like."""
    schema, table = TABLES[name]
    return exp.table_(table, db=schema, quoted=True, alias=alias)


@dataclass(frozen=True)
class EntityTable:
    """Where the items of a kind are.

    Attributes
    ----------
    table, alias
        Its name in `TABLES`, and what a query calls it.
    columns
        Field → column. One of the span that carries the item is written `s.column`.
    document
        The JSON object of its attributes; "" when it has none.
    beside_span
        Whether service, version and some times are those of the span that carries it.
    """

    table: str
    alias: str
    columns: dict[str, str]
    document: str = "attributes"
    beside_span: bool = False


ENTITY_TABLES: dict[Entity, EntityTable] = {
    "span": EntityTable(
        "spans",
        "s",
        {
            "name": "span_name", "service": "service_name", "version": "service_version", "kind": "kind",
            "status": "status_code", "duration": "duration_ns", "start": "started_at", "end": "ended_at",
            "scope.name": "scope_name", "scope.version": "scope_version",
        },
    ),
    "log": EntityTable(
        "logs",
        "l",
        {
            "service": "service_name", "severity": "severity_number", "body": "body", "start": "occurred_at",
            "end": "occurred_at", "scope.name": "scope_name",
        },
    ),
    "event": EntityTable(
        "events",
        "e",
        {"name": "event_name", "service": "s.service_name", "start": "occurred_at", "end": "occurred_at"},
        beside_span=True,
    ),
    "link": EntityTable(
        "links",
        "n",
        {
            "service": "s.service_name", "start": "s.started_at", "end": "s.ended_at",
            "linked_trace_id": "linked_trace_id",
        },
        beside_span=True,
    ),
    "metric": EntityTable(
        "metrics",
        "m",
        {
            "name": "metric_name", "service": "service_name", "value": "value", "unit": "unit",
            "start": "observed_at", "end": "observed_at",
        },
        document="labels",
    ),
    "deploy": EntityTable(
        "deploys",
        "d",
        {
            "service": "service_name", "version": "version", "previous_version": "previous_version",
            "environment": "environment", "status": "status", "commit": "commit_sha", "is_rollback": "is_rollback",
            "start": "deployed_at", "end": "deployed_at",
        },
        document="",
    ),
    "ticket": EntityTable(
        "tickets",
        "k",
        {
            "id": "incident_id", "system": "system", "title": "title", "severity": "severity",
            "service": "service_name", "team": "team", "category": "category", "start": "started_at",
            "end": "resolved_at",
        },
        document="",
    ),
}  # fmt: skip

ALIASES: dict[Entity, str] = {entity: one.alias for entity, one in ENTITY_TABLES.items()}


def from_entity(query: exp.Select, entity: Entity, table_of: TableOf) -> exp.Select:
    """Add the table of an entity, and for what spans carry the span."""
    one = ENTITY_TABLES[entity]
    query = query.from_(table_of(one.table, one.alias), copy=False)
    if one.beside_span:
        query = joined(query, "INNER", table_of("spans", ALIASES["span"]), same(one.alias, ALIASES["span"], *SPAN_KEY))
    return query


def field_column(entity: Entity, key: str) -> exp.Expression:
    """The column of an intrinsic field, as it is stored."""
    one = ENTITY_TABLES[entity]
    name = one.columns[key]
    return column(name.removeprefix("s."), ALIASES["span"] if name.startswith("s.") else one.alias)


def started_at(entity: Entity) -> exp.Expression:
    """When an item starts. An event without a time of its own is as old as its span."""
    moment = field_column(entity, "start")
    if entity == "event":
        return call("coalesce", moment, column("started_at", ALIASES["span"]))
    return moment


def ended_at(entity: Entity) -> exp.Expression:
    """When an item ends; what has no length ends when it starts."""
    return started_at(entity) if entity == "event" else field_column(entity, "end")


def trace_id(entity: Entity) -> exp.Expression:
    """The trace of a scoped item."""
    return column("trace_id", ALIASES[entity])


def version(entity: Entity) -> exp.Expression:
    """The version of the service that a scoped item is of; null where nothing says it."""
    if entity == "log":
        return cast(exp.null(), "VARCHAR")
    return column("service_version", ALIASES["span"])


def is_never_null(entity: Entity, key: str) -> bool:
    """Whether every item has the field, so that a comparison of it with a constant is never unknown."""
    return (entity, key) in _NEVER_NULL


_NEVER_NULL: frozenset[tuple[Entity, str]] = frozenset(
    [("span", key) for key in ("name", "kind", "status", "duration", "start", "end", "is_root")]
    + [("log", "start"), ("log", "end"), ("metric", "name"), ("metric", "start"), ("metric", "end")]
)
