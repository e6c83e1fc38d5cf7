"""Small constructors of sqlglot nodes that all generated SQL is made of: names are quoted, texts are literals.

No meaning of the language is here.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from sqlglot import exp

ITEM = "i"
"""The alias of a row of items, wherever they are aggregated."""


def column(name: str, table: str | None = None) -> exp.Column:
    """A quoted column; every identifier of generated SQL comes from here."""
    return exp.Column(
        this=exp.Identifier(this=name, quoted=True),
        table=exp.Identifier(this=table, quoted=True) if table else None,
    )


def text(value: str) -> exp.Expression:
    """A string literal; sqlglot escapes it. One that dbt would run as a template is broken up into several."""
    parts = re.split(r"(?<=\{)(?=[{%#])", value)
    literals = [exp.Literal.string(part) for part in parts]
    return literals[0] if len(literals) == 1 else call("concat", *literals)


def cast(expression: exp.Expression, type_: str) -> exp.Cast:
    """`cast(expression as type_)`, with a type of DuckDB."""
    return exp.Cast(this=expression, to=data_type(type_))


_TYPES: dict[str, exp.DataType] = {}


def data_type(type_: str) -> exp.DataType:
    """A type of DuckDB by its name; parsed once."""
    if type_ not in _TYPES:
        # Shared by all that cast to it: types are never changed, and copying one costs as much as building it.
        _TYPES[type_] = exp.DataType.build(type_, dialect="duckdb")
    return _TYPES[type_]


def call(name: str, *arguments: exp.Expression) -> exp.Anonymous:
    """A function that sqlglot need not know."""
    return exp.Anonymous(this=name, expressions=list(arguments))


def is_true(expression: exp.Expression) -> exp.Expression:
    """Unknown counts as not true."""
    return call("coalesce", expression, exp.false())


def every_of(parts: list[exp.Expression]) -> exp.Expression:
    """`and` of any number of parts, with brackets; true of none."""
    return _joined(exp.And, parts, exp.true())


def one_of(parts: list[exp.Expression]) -> exp.Expression:
    """`or` of any number of parts, with brackets; false of none."""
    return _joined(exp.Or, parts, exp.false())


def _joined(kind: type[exp.Connector], parts: list[exp.Expression], empty: exp.Expression) -> exp.Expression:
    if not parts:
        return empty
    # Balanced, so that a thousand operands nest ten deep and no recursion of the generator runs out.
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    left, right = _joined(kind, parts[:middle], empty), _joined(kind, parts[middle:], empty)
    return exp.Paren(this=kind(this=left, expression=right))


def aliased(expression: exp.Expression, name: str) -> exp.Alias:
    """`expression as "name"`."""
    return exp.Alias(this=expression, alias=exp.Identifier(this=name, quoted=True))


def item_row(table: str) -> exp.Expression:
    """An item as what it is ordered by: comparing rows compares start, then trace, then span."""
    return struct({name: column(name, table) for name in ("at", "trace_id", "span_id")})


def struct(parts: dict[str, exp.Expression]) -> exp.Expression:
    """`{'name': value, ...}`."""
    return exp.Struct(
        expressions=[exp.PropertyEQ(this=exp.to_identifier(name), expression=value) for name, value in parts.items()]
    )


def filtered(aggregate: exp.Expression, condition: exp.Expression) -> exp.Expression:
    """`aggregate filter (where condition)`."""
    return exp.Filter(this=aggregate, expression=exp.Where(this=condition))


def not_null(expression: exp.Expression) -> exp.Expression:
    """`not (expression is null)`."""
    return exp.Not(this=exp.Paren(this=exp.Is(this=expression, expression=exp.null())))


def table(name: str, alias: str | None = None) -> exp.Table:
    """A named part of the query itself."""
    return exp.table_(name, quoted=True, alias=alias)


def select(*columns: exp.Expression) -> exp.Select:
    """`select columns`."""
    return exp.Select(expressions=list(columns))


def in_query(what: exp.Expression, query: exp.Select) -> exp.Expression:
    """`what in (query)`; the query must give no null."""
    return exp.In(this=what, query=exp.Subquery(this=query))


def joined(query: exp.Select, side: str, other: exp.Expression, on: exp.Expression) -> exp.Select:
    """`query <side> join other on ...`; the builder of sqlglot would parse the side anew each time."""
    kind = {"kind": side} if side == "INNER" else {"side": side}
    query.append("joins", exp.Join(this=other, on=on, **kind))
    return query


@contextmanager
def without_collector() -> Iterator[None]:
    """Pause the garbage collector while many trees are built.

    Trees point back to their parents, so the collector walks all of them again and again: two thirds of the time that a
    thousand rules take. They are freed when it runs the next time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def same(left: str, right: str, *names: str) -> exp.Expression:
    """Both tables have the same values in these columns."""
    return every_of([exp.EQ(this=column(name, left), expression=column(name, right)) for name in names])


def timestamp(moment: datetime) -> exp.Expression:
    """A moment as the telemetry's type."""
    return cast(text(moment.isoformat(sep=" ")), "TIMESTAMP_NS")


def union_all(queries: list[exp.Select]) -> exp.Expression:
    """The rows of all queries; there is at least one."""
    result: exp.Expression = queries[0]
    for query in queries[1:]:
        result = exp.Union(this=result, expression=query, distinct=False)
    return result


def sorted_set(name: str) -> exp.Expression:
    """The values that occur, each once, in order."""
    value = column(name, ITEM)
    return call("list_sort", call("list_distinct", call("list", value)))


def integer(value: int) -> exp.Expression:
    """A whole number."""
    literal = exp.Literal.number(abs(value))
    return exp.Neg(this=literal) if value < 0 else literal


def of(kind: type[exp.Binary], left: exp.Expression, right: exp.Expression) -> exp.Expression:
    """`(left <kind> right)`, of copies: the same part may stand in several places."""
    return exp.Paren(this=kind(this=left.copy(), expression=right.copy()))


def is_null(expression: exp.Expression) -> exp.Expression:
    """`(expression is null)`."""
    return exp.Paren(this=exp.Is(this=expression.copy(), expression=exp.null()))


def star(table: str) -> exp.Expression:
    """All columns of a part of the query."""
    return exp.Column(this=exp.Star(), table=exp.to_identifier(table, quoted=True))


def part_of(row: exp.Expression, name: str) -> exp.Expression:
    """A field of a struct."""
    return exp.Dot(this=row, expression=exp.to_identifier(name))


FAR_NS = 2**61
"""Longer than all telemetry, 73 years; twice as much can still be added to a time."""


def stretch(
    function: exp.Expression, partition: Sequence[exp.Expression], at: exp.Expression, start: int, end: int
) -> exp.Expression:
    """An aggregate over the rows of a partition whose `at` is from `start` to `end` away from the row's own."""
    spec = exp.WindowSpec(kind="RANGE", **_side("start", start), **_side("end", end))
    order = exp.Order(expressions=[exp.Ordered(this=at.copy(), nulls_first=False)])
    return exp.Window(this=function, partition_by=[one.copy() for one in partition], order=order, spec=spec)


def _side(name: str, away: int) -> dict[str, object]:
    if away == 0:
        return {name: "CURRENT ROW"}
    return {name: exp.Literal.number(abs(away)), f"{name}_side": "PRECEDING" if away < 0 else "FOLLOWING"}
