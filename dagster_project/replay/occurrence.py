"""Whether what a rule names occurs in what was received: a misspelt attribute is null everywhere, and stops no rule.

Says so with the nearest name that does occur. Changes no verdict.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import duckdb

from dagster_project.replay.tables import SAMPLED_SPANS, Tables, bounds, looked_at, rows, tables_of, within
from dagster_project.replay.window import Window
from dagster_project.rule_language.meaning.attributes import fields_of
from dagster_project.rule_language.meaning.model import (
    ENUMERATIONS,
    INTRINSICS,
    Comparison,
    Constant,
    Field,
    GlobMatched,
)
from dagster_project.rule_language.meaning.resolve import group_key
from dagster_project.rule_language.near_fields import NearField, near_fields, nearest_field
from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.text.syntax import Entity
from dagster_project.wording import did_you_mean, visible

C = TypeVar("C")
_MOST_NAMES = 5_000
# The intrinsic fields that name things, with their columns.
_NAMED = {"name": ("span_name", "is called"), "service": ("service_name", "is of the service")}
# Those that say something of every span, with their columns and the word of senders that say nothing.
_SAID = {"kind": ("kind", "unspecified"), "status": ("status_code", "unset")}
# What has attributes beside spans and logs.
_DOCUMENTS: dict[Entity, tuple[str, str]] = {
    "event": ("staging.stg_span_events", "attributes"),
    "link": ("staging.stg_span_links", "attributes"),
    "metric": ("staging.stg_metric_points", "labels"),
}


def complaints(connection: duckdb.DuckDBPyConnection, rule: Rule, window: Window, spans: int) -> list[str]:
    """A sentence for each span name, service, kind, status and attribute that the rule names and that does not occur.

    Parameters
    ----------
    spans
        How many the window holds. Names are looked up in all of them; attributes in all when they are few, else in
        some of several days and of the spans that the rule names.
    """
    if not spans:
        return [one.sentence for one in near_fields(rule)]
    tables = tables_of(connection)
    found = []
    for name in sorted(_NAMED):
        found += _unknown_names(connection, rule, window, name)
    for name in sorted(_SAID):
        found += _never_said(connection, rule, window, name, spans)
    found += _unknown_attributes(connection, tables, rule, window, spans)
    found += [one.sentence for one in near_fields(rule) if _is_beside(one) and not _occurs(connection, tables, one)]
    return found


def _unknown_names(connection: duckdb.DuckDBPyConnection, rule: Rule, window: Window, name: str) -> list[str]:
    column, thing = _NAMED[name]
    asked = _constants(rule, name)
    if not asked and not _globs(rule, name):
        return []
    query = f"select distinct {column} as name from staging.stg_spans where {within('started_at')} limit {_MOST_NAMES}"  # noqa: S608
    known = {one["name"] for one in rows(connection, query, bounds(window)) if one["name"] is not None}
    if len(known) >= _MOST_NAMES:
        return []
    globs = [
        f"no span of the window {thing} anything like `{visible(glob, 80)}`"
        for glob in sorted(_globs(rule, name))
        if not any(fnmatchcase(one, glob.replace("[", "[[]")) for one in known)
    ]
    return _said(f"no span of the window {thing}", asked, known) + globs


def _never_said(connection: duckdb.DuckDBPyConnection, rule: Rule, window: Window, name: str, spans: int) -> list[str]:
    """That no sender says the kind (the status) of its spans, so that no rule finds one; not that no span failed."""
    column, nothing = _SAID[name]
    asked = sorted(_constants(rule, name) - {nothing})
    if not asked:
        return []
    query = f"select 1 as one from staging.stg_spans where {within('started_at')} and {column} <> '{nothing}' limit 1"  # noqa: S608
    if rows(connection, query, bounds(window)):
        return []
    words = ", ".join(f"`{visible(one, 80)}`" for one in asked)
    return [f"none of the {spans:,} spans of the window has the {name} {words}: all are `{nothing}`"]


def _unknown_attributes(
    connection: duckdb.DuckDBPyConnection, tables: Tables, rule: Rule, window: Window, spans: int
) -> list[str]:
    found = []
    looked_in: tuple[tuple[Entity, str, str], ...] = (
        ("span", "staging.stg_spans", "spans"),
        ("log", "staging.stg_logs", "log records"),
    )
    for entity, table, what in looked_in:
        for origin, column in (("attribute", "attributes"), ("resource", "resource_attributes")):
            asked = {one.key for one in _fields(rule) if _carrier(one) == entity and one.origin == origin}
            if not asked or not tables.has(table, column):
                continue
            known, looked, is_sample = (
                _span_keys(connection, rule, window, spans, column)
                if entity == "span"
                else _log_keys(connection, window, column)
            )
            of = (
                f"{looked:,} {what} of the window that were looked at"
                if is_sample
                else f"{looked:,} {what} of the window"
            )
            kind = "a resource attribute" if origin == "resource" else "an attribute"
            if looked:
                fields = {} if origin == "resource" else {key: nearest_field(entity, key) for key in asked}
                asked -= _values_of({key: field for key, field in fields.items() if key not in known}, entity, rule)
                found += _said(f"none of the {of} has {kind}", asked, known, fields)
    return found


def _values_of(misspelt: Mapping[str, str | None], entity: Entity, rule: Rule) -> set[str]:
    """Words that are compared with a field misspelt, and that are its values: `error` in `statsu = error`."""
    found = set()
    for one in _conditions(rule.judgement, Comparison):
        for left, right in ((one.left, one.right), (one.right, one.left)):
            if isinstance(left, Field) and isinstance(right, Field) and (field := misspelt.get(left.key)):
                values = ENUMERATIONS.get(INTRINSICS[entity][field], ())
                found |= {right.key} & set(values)
    return found


def _is_beside(one: NearField) -> bool:
    """Whether it is of what `_unknown_attributes` does not look at."""
    return one.entity not in {"span", "log"}


def _occurs(connection: duckdb.DuckDBPyConnection, tables: Tables, one: NearField) -> bool:
    """Whether an item of the kind has the attribute, of as many as are looked at, whenever they were received."""
    table, column = _DOCUMENTS[one.entity]
    if not tables.has(table, column):
        return False
    some = f"select {column} from {table} limit {SAMPLED_SPANS}"  # noqa: S608  # of the tables of `_DOCUMENTS`
    query = f"select 1 as one from ({some}) where list_contains(json_keys({column}), $key) limit 1"  # noqa: S608
    return bool(rows(connection, query, {"key": one.key}))


def _span_keys(
    connection: duckdb.DuckDBPyConnection, rule: Rule, window: Window, spans: int, column: str
) -> tuple[set[str], int, bool]:
    """The keys that occur, in how many spans they were looked for, and whether those are not all."""
    looked = looked_at(connection, window, spans)
    known, number = _keys(connection, looked.query, window, column)
    names = sorted(_constants(rule, "name"))
    if looked.is_sample and names:
        # A rare span is in no sample; those that the rule names are looked at by their name.
        more, count = _keys(
            connection,
            f"select {column} from staging.stg_spans where {within('started_at')}"  # noqa: S608
            f" and list_contains($names::varchar[], span_name) limit {SAMPLED_SPANS}",
            window,
            column,
            names=names,
        )
        known, number = known | more, number + count
    return known, number, looked.is_sample


def _log_keys(connection: duckdb.DuckDBPyConnection, window: Window, column: str) -> tuple[set[str], int, bool]:
    most = SAMPLED_SPANS * 16
    query = f"select {column} from staging.stg_logs where {within('occurred_at')} limit {most}"  # noqa: S608
    known, number = _keys(connection, query, window, column)
    return known, number, number == most


def _keys(
    connection: duckdb.DuckDBPyConnection, query: str, window: Window, column: str, **values: Any
) -> tuple[set[str], int]:
    found = rows(
        connection,
        f"""
        with looked as (select {column} as held from ({query}))
        select key, (select count(*) from looked) as looked
        from (select distinct unnest(json_keys(held)) as key from looked)
        union all select null, (select count(*) from looked)
        limit {_MOST_NAMES}
        """,  # noqa: S608
        {**bounds(window), **values},
    )
    return {one["key"] for one in found if one["key"] is not None}, found[0]["looked"]


def _carrier(read: Field) -> str:
    """What carries the field: `root.x` and `parent.x` of a log record are of spans."""
    return read.entity if read.of == "item" else "span"


def _fields(rule: Rule) -> list[Field]:
    """Every field that the rule reads of spans and logs, and its keys as spans carry them."""
    keys: list[Field] = []
    for key in rule.judgement.group_by:
        # A key of another form than a field of spans has none to look for.
        with contextlib.suppress(ValueError):
            keys.append(group_key(key, "span"))
    return [*fields_of(rule.judgement), *keys]


def _constants(rule: Rule, name: str) -> set[str]:
    """What the rule asks the intrinsic field of a span to be equal to."""
    return {
        str(one.right.value)
        for one in _conditions(rule.judgement, Comparison)
        if one.op == "==" and _is_of_spans(one.left, name) and isinstance(one.right, Constant)
    }


def _globs(rule: Rule, name: str) -> set[str]:
    return {one.glob for one in _conditions(rule.judgement, GlobMatched) if _is_of_spans(one.term, name)}


def _is_of_spans(term: object, name: str) -> bool:
    return isinstance(term, Field) and (term.entity, term.origin, term.key) == ("span", "intrinsic", name)


def _conditions(node: Any, kind: type[C]) -> Iterator[C]:
    """The conditions of one kind, wherever they stand in a rule."""
    if isinstance(node, kind):
        yield node
    elif dataclasses.is_dataclass(node) and not isinstance(node, type):
        for part in dataclasses.fields(node):
            yield from _conditions(getattr(node, part.name), kind)
    elif isinstance(node, tuple):
        for child in node:
            yield from _conditions(child, kind)


def _said(begin: str, asked: set[str], known: set[str], fields: Mapping[str, str | None] | None = None) -> list[str]:
    """A sentence for each word that has a near one, and one for all the others; `fields` are nearer than any."""
    far, said = [], []
    for word in sorted(asked - known):
        field = fields.get(word) if fields else None
        hint = did_you_mean(word, known) if field is None else f"did you mean the field `{field}`?"
        if hint:
            said.append(f"{begin} `{visible(word, 80)}`; {visible(hint, 600)}")
        else:
            far.append(f"`{visible(word, 80)}`")
    return [*said, *([f"{begin} {', '.join(far)}"] if far else [])]
