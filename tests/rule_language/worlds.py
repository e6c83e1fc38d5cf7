"""Generators of small recorded worlds and of rules, and the way of both into the real engine.

What they mean is not known here: `oracle` judges with Python, the compiled SQL with DuckDB.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
from hypothesis import strategies as st
from oracle import NS, Log, Rule, Span  # type: ignore[import-not-found]

from dagster_project.rule_language import syntax as tree

MIDNIGHT = 1_706_745_600 * NS  # 2024-02-01, so that times a day apart cross a month's end too
NAMES = ["pay", "pay.retry", "get", "db.query"]
SERVICES = ["shop", "bank", None]
ATTRIBUTES = ["a", "b", "c.d"]
NUMBERS = [0, 1, 2, 3, 0.5, -1]
TEXTS = ["x", "y", "2", ""]
GAPS = [1 * NS, 60 * NS, 3600 * NS]

values = st.one_of(st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.booleans(), st.none())
attributes = st.dictionaries(st.sampled_from(ATTRIBUTES), values, max_size=3)
# Few different times, so that ties, exact gaps and midnights are common.
times = st.sampled_from([0, 1, 2, NS, NS + 1, 60 * NS, 61 * NS, 86_399 * NS, 86_400 * NS, 86_400 * NS + 1])


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Span], list[Log]]:
    """Up to four traces of up to five spans: whole, orphans, several roots, none, dropped attributes; logs anywhere."""
    spans: list[Span] = []
    for trace in range(1, draw(st.integers(1, 4)) + 1):
        whole = draw(st.booleans())
        for number in range(1, draw(st.integers(1, 5)) + 1):
            usual = None if number == 1 else draw(st.integers(1, number - 1))
            parent = usual if whole else draw(st.sampled_from([usual, usual, usual, None, 99]))
            dropped = 0 if whole else draw(st.sampled_from([0, 0, 0, 1]))
            spans.append(draw(_spans(trace, number, parent, dropped)))
    logs = draw(st.lists(_logs(), max_size=4))
    return spans, logs


@st.composite
def _spans(draw: st.DrawFn, trace: int, number: int, parent: int | None, dropped: int) -> Span:
    return Span(
        trace=trace,
        id=number,
        parent=parent,
        name=draw(st.sampled_from(NAMES)),
        service=draw(st.sampled_from(SERVICES)),
        version=draw(st.sampled_from(["1.0", None])),
        kind=draw(st.sampled_from(["internal", "server", "client"])),
        status=draw(st.sampled_from(["unset", "ok", "error"])),
        start=draw(times),
        duration=draw(st.sampled_from([0, 1_000_000, 500_000_000])),
        attributes=draw(attributes),
        dropped=dropped,
    )


@st.composite
def _logs(draw: st.DrawFn) -> Log:
    return Log(
        trace=draw(st.sampled_from([1, 1, 2, 3, 77, None])),
        span=draw(st.sampled_from([1, 2, None])),
        service=draw(st.sampled_from(SERVICES)),
        severity=draw(st.sampled_from([0, 1, 9, 12, 13, 17, 20, 24])),
        body=draw(st.sampled_from(["timeout", "ok x1", "", None])),
        start=draw(times),
        attributes=draw(attributes),
    )


def at_most(depth: int) -> st.SearchStrategy[int]:
    return st.integers(0, depth)


def number(value: float) -> tree.Value:
    return tree.Value(Decimal(str(value)), "number")


def text(value: str) -> tree.Value:
    return tree.Value(value, "text")


attribute_nodes = st.one_of(
    st.sampled_from([tree.Name("a"), tree.Name("b")]),
    st.sampled_from([tree.Path("attribute", key) for key in ATTRIBUTES]),
)
quoted_or_bare = st.one_of(attribute_nodes, st.just(text("c.d")))
number_nodes = st.sampled_from(NUMBERS).map(number)
text_nodes = st.sampled_from(TEXTS).map(text)
equalities = st.sampled_from(["==", "!="])
orders = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])


@st.composite
def terms(draw: st.DrawFn, depth: int = 2) -> tree.Expression:
    """A number of an item."""
    if depth == 0 or draw(st.booleans()):
        return draw(st.one_of(attribute_nodes, number_nodes))
    left, right = draw(terms(depth - 1)), draw(terms(depth - 1))
    return tree.Arithmetic(draw(st.sampled_from(["+", "-", "*", "/"])), left, right)


def has_field(node: Any) -> bool:
    if isinstance(node, tree.Arithmetic):
        return has_field(node.left) or has_field(node.right)
    return isinstance(node, (tree.Name, tree.Path))


SHARED_LEAVES: list[st.SearchStrategy[tree.Expression]] = [
    st.builds(tree.Compare, orders, quoted_or_bare, number_nodes),
    st.builds(tree.Compare, equalities, quoted_or_bare, text_nodes),
    st.builds(tree.Compare, equalities, attribute_nodes, st.booleans().map(lambda one: tree.Value(one, "boolean"))),
    st.builds(tree.Compare, orders, attribute_nodes, attribute_nodes),
    st.builds(tree.Presence, st.booleans(), attribute_nodes),
    st.builds(tree.Presence, st.booleans(), st.just(tree.Name("service"))),
    attribute_nodes.map(lambda one: one),
    st.builds(tree.Compare, equalities, st.just(tree.Name("service")), st.sampled_from(["shop", "bank"]).map(text)),
    st.builds(tree.Compare, equalities, attribute_nodes, st.just(tree.Name("service"))),
    st.builds(tree.In, attribute_nodes, st.just(tree.ValueList((number(1), number(2))))),
    st.builds(tree.In, attribute_nodes, st.just(tree.ValueList((text("x"), text("2"))))),
    st.builds(tree.Matches, attribute_nodes, st.sampled_from(["x|y", "^$", "2"]).map(text)),
    st.builds(tree.Compare, orders, terms(), terms()).filter(
        lambda one: (
            (has_field(one.left) or has_field(one.right))
            and not (isinstance(one.left, tree.Value) and isinstance(one.right, tree.Value))
        )
    ),
]
SPAN_LEAVES: list[st.SearchStrategy[tree.Expression]] = [
    st.builds(
        tree.Compare,
        orders,
        st.just(tree.Name("duration")),
        st.sampled_from([0, 1_000_000, 400_000_000]).map(lambda one: tree.Value(one, "duration")),
    ),
    st.builds(tree.Compare, equalities, st.just(tree.Name("status")), st.sampled_from(["ok", "error"]).map(tree.Name)),
    st.builds(
        tree.Compare, equalities, st.just(tree.Name("kind")), st.sampled_from(["server", "client"]).map(tree.Name)
    ),
    st.builds(
        tree.Compare,
        orders,
        st.sampled_from([tree.Name("depth"), tree.Name("children")]),
        st.sampled_from([0, 1, 2]).map(number),
    ),
    st.just(tree.Name("is_root")),
    st.builds(tree.Compare, orders, st.just(tree.Name("start")), st.just(tree.Name("end"))),
    st.builds(tree.Compare, equalities, st.just(tree.Name("version")), st.just(text("1.0"))),
    st.builds(tree.Matches, st.just(tree.Name("name")), st.just(text("^pay"))),
]
LOG_LEAVES: list[st.SearchStrategy[tree.Expression]] = [
    st.builds(
        tree.Compare, orders, st.just(tree.Name("severity")), st.sampled_from(["info", "warn", "error"]).map(tree.Name)
    ),
    st.builds(tree.Matches, st.just(tree.Name("body")), st.sampled_from(["time", "^$", "x1?"]).map(text)),
    st.builds(tree.Presence, st.booleans(), st.sampled_from([tree.Name("body"), tree.Name("severity")])),
]


def conditions(entity: str, depth: int = 2) -> st.SearchStrategy[tree.Expression]:
    """A condition on one span or log."""
    leaves = st.one_of(*SHARED_LEAVES, *(SPAN_LEAVES if entity == "span" else LOG_LEAVES))
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(tree.Not, inner),
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: tree.And(tuple(parts))),
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: tree.Or(tuple(parts))),
        ),
        max_leaves=depth + 1,
    )


@st.composite
def selectors(draw: st.DrawFn, entity: str) -> tree.Selector:
    name = draw(st.sampled_from(["pay", "pay*", "*", "?et", None])) if entity == "span" else None
    return tree.Selector(entity, name, tuple(draw(st.lists(conditions(entity, 1), max_size=1))))  # type: ignore[arg-type]


@st.composite
def bindings(draw: st.DrawFn) -> tuple[tuple[str, tree.Expression], ...]:
    """Two selectors and a narrowing of one, over spans and over logs."""
    first: tree.Expression = draw(selectors("span"))
    narrowed = tree.Filtered(tree.Name("s"), draw(conditions("span")))
    return (("s", first), ("n", narrowed), ("l", draw(selectors("log"))))


@st.composite
def calls(draw: st.DrawFn, functions: list[str]) -> tree.Call:
    function = draw(st.sampled_from(functions))
    word = draw(st.sampled_from(["s", "s", "n", "l", "inline"]))
    entity = "log" if word == "l" else "span"
    items = draw(selectors("span")) if word == "inline" else tree.Name(word)
    condition = draw(conditions(entity)) if function == "all" or draw(st.booleans()) else None
    field_name = None
    if function in {"distinct", "first", "sum"}:
        fields = ["a", "b", "c.d"] if function == "sum" else ["a", "b", "c.d", "service"]
        field_name = draw(st.sampled_from(fields))
    return tree.Call(function, items, field_name, condition)  # type: ignore[arg-type]


@st.composite
def quantities(draw: st.DrawFn) -> tree.Expression:
    count = draw(calls(["count", "distinct"]))
    shape = draw(st.sampled_from(["plain", "plain", "plain", "sum", "scaled"]))
    if shape == "sum":
        return tree.Arithmetic(draw(st.sampled_from(["+", "-"])), count, draw(calls(["count", "distinct"])))
    if shape == "scaled":
        return tree.Arithmetic(draw(st.sampled_from(["*", "/"])), count, number(draw(st.sampled_from([2, -1, 0.5]))))
    return count


@st.composite
def comparisons(draw: st.DrawFn) -> tree.Expression:
    left = draw(quantities())
    right = draw(st.one_of(st.sampled_from([0, 1, 2, 3, 1.5]).map(number), quantities()))
    if isinstance(right, tree.Value) and draw(st.booleans()):
        left, right = right, left
    return tree.Compare(draw(orders), left, right)


def scope_conditions() -> st.SearchStrategy[tree.Expression]:
    leaves = st.one_of(calls(["any", "all", "none"]), calls(["any", "none"]), comparisons())
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(tree.Not, inner),
            st.lists(inner, min_size=2, max_size=2).map(lambda parts: tree.And(tuple(parts))),
            st.lists(inner, min_size=2, max_size=2).map(lambda parts: tree.Or(tuple(parts))),
        ),
        max_leaves=3,
    )


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    report = tuple(
        (f"r{number}", draw(calls(["first", "sum", "count", "distinct"]))) for number in range(draw(st.integers(0, 2)))
    )
    group_by: tuple[str, ...] = ()
    gap = 0
    if draw(st.booleans()):
        group_by = draw(st.sampled_from([("a",), ("b",), ("service",), ("a", "service"), ("c.d",)]))
        gap = draw(st.sampled_from(GAPS))
    base = Rule(let=draw(bindings()), report=report, group_by=group_by, gap=gap)
    if draw(st.integers(0, 3)) == 0:
        return replace(base, detect=draw(scope_conditions()))
    when = draw(st.one_of(st.none(), scope_conditions()))
    always = draw(st.one_of(st.none(), scope_conditions()))
    never = draw(scope_conditions()) if always is None or draw(st.booleans()) else None
    return replace(base, when=when, always=always, never=never)


# Rules as text: the way through YAML, parser and resolver.


def written(node: tree.Expression) -> str:  # noqa: C901, PLR0911  # one return a kind of node
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
    if isinstance(node, (tree.Compare, tree.Arithmetic)):
        both = f"{written(node.left)} {node.op} {written(node.right)}"
        return f"({both})" if isinstance(node, tree.Arithmetic) else both
    if isinstance(node, tree.Matches):
        return f"{written(node.subject)} matches {written(node.pattern)}"
    if isinstance(node, tree.In):
        return f"{written(node.subject)} in [{', '.join(map(written, node.values.items))}]"
    if isinstance(node, tree.Presence):
        return f"{'exists' if node.present else 'missing'}({written(node.subject)})"
    if isinstance(node, tree.Filtered):
        return f"{written(node.items)} where {written(node.condition)}"
    if isinstance(node, tree.Selector):
        name = [json.dumps(node.name)] if node.name is not None else []
        return f"{node.entity}({', '.join([*name, *map(written, node.conditions)])})"
    assert isinstance(node, tree.Call)
    field = (
        f".{json.dumps(node.field_name)}"
        if node.field_name and not node.field_name.isidentifier()
        else f".{node.field_name}"
        if node.field_name
        else ""
    )
    where = f" where {written(node.condition)}" if node.condition is not None else ""
    return f"{node.function}({written(node.items)}{field}{where})"


def _literal(node: tree.Value) -> str:
    if node.unit == "duration":
        return f"{node.value}ns"
    if isinstance(node.value, bool):
        return "true" if node.value else "false"
    return json.dumps(node.value) if isinstance(node.value, str) else str(node.value)


def rule_text(rule: Rule) -> str:
    """The rule as YAML; JSON strings are YAML strings."""
    used = json.dumps(
        [written(part) for part in (rule.when, rule.always, rule.never, rule.detect) if part]
        + [written(call) for _n, call in rule.report]
    )
    lines = ["let:"]
    needed = [name for name, _node in rule.let if _is_used(name, rule, used)]
    lines += [f"  {name}: {json.dumps(written(node))}" for name, node in rule.let if name in needed]
    lines = lines if needed else []
    for name in ("when", "always", "never", "detect"):
        if (node := getattr(rule, name)) is not None:
            lines.append(f"{name}: {json.dumps(written(node))}")
    if rule.report:
        lines.append("report:")
        lines += [f"  {name}: {json.dumps(written(call))}" for name, call in rule.report]
    if rule.group_by:
        lines += [f"group_by: {json.dumps(list(rule.group_by))}", f"gap: {rule.gap // NS}s"]
    return "\n".join(lines)


def _is_used(name: str, rule: Rule, used: str) -> bool:
    direct = f"({name})" in used or f"({name}." in used or f"({name} " in used
    return direct or (name == "s" and _is_used("n", rule, used))


# The recorded world in the engine.


def trace_uuid(trace: int) -> uuid.UUID:
    return uuid.UUID(int=trace << 64)


def load(connection: duckdb.DuckDBPyConnection, spans: list[Span], logs: list[Log]) -> None:
    """Fill the staged tables; ids are numbers, so that their order is the oracle's."""
    for table in ("staging.stg_spans", "staging.stg_logs"):
        connection.execute(f"delete from {table}")
    _insert(connection, "staging.stg_spans", [_span_row(span) for span in spans])
    _insert(connection, "staging.stg_logs", [_log_row(log) for log in logs])


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.register("given", pa.Table.from_pylist(rows))
        connection.execute(f"insert into {table} by name select * from given")
        connection.unregister("given")


def _moment(start: int) -> Any:
    return pa.scalar(MIDNIGHT + start, pa.timestamp("ns"))


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values)


def _span_row(span: Span) -> dict[str, Any]:
    return {
        "trace_id": str(trace_uuid(span.trace)),
        "span_id": pa.scalar(span.id, pa.uint64()),
        "parent_span_id": pa.scalar(span.parent, pa.uint64()),
        "service_name": span.service,
        "service_version": span.version,
        "span_name": span.name,
        "kind": span.kind,
        "started_at": _moment(span.start),
        "ended_at": _moment(span.start + span.duration),
        "duration_ns": span.duration,
        "status_code": span.status,
        "dropped_attributes_count": span.dropped,
        "attributes": _json(span.attributes),
        "resource_attributes": "{}",
    }


def _log_row(log: Log) -> dict[str, Any]:
    return {
        "occurred_at": _moment(log.start),
        "trace_id": None if log.trace is None else str(trace_uuid(log.trace)),
        "span_id": pa.scalar(log.span, pa.uint64()),
        "service_name": log.service,
        "severity_number": log.severity,
        "body": log.body,
        "attributes": _json(log.attributes),
        "resource_attributes": "{}",
    }
