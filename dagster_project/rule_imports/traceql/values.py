"""Sides of comparisons: constants, intrinsics and attributes of TraceQL as fields of ours, with types and nil."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from dagster_project.rule_imports.traceql.reading import Reading
from dagster_project.rule_language.text.parser import parse_duration
from dagster_project.rule_language.writing.expression_text import (
    Scalar,
    attribute,
    duration,
    key,
    literal,
    number_of,
    resource,
)

UNSCOPED: Final = "`{name}` without a scope is the span's attribute, and the resource's when the span has none"
_INTRINSICS: Final = {
    "name": "name",
    "span:name": "name",
    "duration": "duration",
    "span:duration": "duration",
    "status": "status",
    "span:status": "status",
    "kind": "kind",
    "span:kind": "kind",
    "childCount": "children",
    "span:childCount": "children",
    "rootName": "root.name",
    "trace:rootName": "root.name",
    "rootServiceName": "root.service",
    "trace:rootService": "root.service",
    "trace:rootServiceName": "root.service",
    "instrumentation:name": "scope.name",
    "instrumentation:version": "scope.version",
}
WORDS: Final = {
    "status": ("ok", "error", "unset"),
    "kind": ("unspecified", "internal", "server", "client", "producer", "consumer"),
}


@dataclass(frozen=True)
class Value:
    """A side of a comparison. `present` says that it is not null; `example` names the field for test traces."""

    text: str
    type: str
    present: str = ""
    example: str = ""
    constant: Scalar | None = None
    fallback: Value | None = None


def value_of(query: Reading, node: Any) -> Value:
    """One side of a comparison.

    Raises
    ------
    Refusal
        It is a condition, or a field that has no counterpart here.
    """
    read: dict[str, Callable[[Any], Value]] = {
        "number": lambda tree: _number(number_of(str(tree.children[0]))),
        "duration": lambda tree: _duration(parse_duration(str(tree.children[0]))),
        "text": lambda tree: _text(re.sub(r"\\([\"\\])", r"\1", str(tree.children[0])[1:-1])),
        "raw": lambda tree: _text(str(tree.children[0])[1:-1]),
        "word": lambda tree: _word(query, tree),
        "attribute": lambda tree: _attribute(query, tree),
        "arithmetic": lambda tree: _arithmetic(query, tree),
        "minus": lambda tree: _minus(query, tree),
    }
    kind = str(node.data)
    if kind not in read:
        raise query.refuse(node, "a value is expected here, not a condition")
    try:
        return read[kind](node)
    except ValueError as error:
        raise query.refuse(node, str(error)) from None


def constant_of(query: Reading, node: Any) -> Value:
    """A value that is written out; a field is refused."""
    value = value_of(query, node)
    if value.constant is None:
        raise query.refuse(node, "a value is expected here")
    return value


def _minus(query: Reading, node: Any) -> Value:
    value = value_of(query, node.children[0])
    if isinstance(value.constant, Decimal):
        return _number(-value.constant)
    raise query.refuse(node, "only a number can be negative here")


def _word(query: Reading, node: Any) -> Value:
    word = str(node.children[0])
    if word in {"true", "false"}:
        return Value(word, "boolean", constant=word == "true")
    if word in {"minInt", "maxInt"}:
        return _number(Decimal(-(2**63) if word == "minInt" else 2**63 - 1))
    if word in {"event:name", "link:traceID"}:
        return Value("name" if word == "event:name" else "linked_trace_id", "text", example="name")
    name = _INTRINSICS.get(word)
    if name is not None:
        return _intrinsic(name)
    if any(word in words for words in WORDS.values()):
        return Value(word, "word", constant=word)
    raise query.refuse(node, f"`{word}` has no counterpart here")


def _attribute(query: Reading, node: Any) -> Value:
    written = str(node.children[0])
    of_parent = written.startswith("parent.")
    scope, _, rest = written.removeprefix("parent.").partition(".") if of_parent else written.partition(".")
    if of_parent and scope in {"name", "duration", "status", "kind"} and not rest:
        return replace(_intrinsic(scope), text=f"parent.{scope}", example="", present=f"exists(parent.{scope})")
    name = re.sub(r'"((?:\\.|[^"\\])*)"', lambda part: re.sub(r"\\(.)", r"\1", part.group(1)), rest)
    if of_parent:
        if scope != "span":
            raise query.refuse(
                node, f"`{written}`: of a parent only `parent.span.x` and its own fields are carried over"
            )
        text = f"parent.{key(name)}"
        return Value(text, "any", f"exists({text})")
    return _scoped(query, scope, name, written, node)


def _scoped(query: Reading, scope: str, name: str, written: str, node: Any) -> Value:
    if scope == "resource":
        if name == "service.name":
            return Value("service", "text", "exists(service)", "service")
        return Value(resource(name), "any", f"exists({resource(name)})", f"resource.{name}")
    if scope in {"span", "event", "link"}:
        return Value(attribute(name), "any", f"exists({attribute(name)})", f"attribute.{name}")
    if scope == "":
        query.assume(UNSCOPED.format(name=written))
        other = _scoped(query, "resource", name, written, node)
        own = Value(attribute(name), "any", f"exists({attribute(name)})", f"attribute.{name}")
        return replace(own, fallback=other)
    raise query.refuse(node, f"`{written}`: attributes of the scope `{scope}` are not kept here")


def _arithmetic(query: Reading, node: Any) -> Value:
    parts = [value_of(query, part) for part in node.children[0::2]]
    operators = [str(operator) for operator in node.children[1::2]]
    if {"%", "^"} & set(operators):
        raise query.refuse(node, "`%` and `^` have no counterpart here")
    if any(part.type not in {"number", "any"} or part.fallback is not None for part in parts):
        raise query.refuse(node, "arithmetic is of numbers and scoped attributes here")
    text = (
        f"({parts[0].text}" + "".join(f" {op} {part.text}" for op, part in zip(operators, parts[1:], strict=True)) + ")"
    )
    present = [part.present for part in parts if part.present]
    if len(present) > 1:
        raise query.refuse(node, "arithmetic between two attributes cannot be denied as Tempo does")
    return Value(text, "number", present[0] if present else "")


def _intrinsic(name: str) -> Value:
    types = {"duration": "duration", "status": "status", "kind": "kind", "children": "number"}
    example = name if name in {"name", "duration", "status", "kind"} else ""
    present = f"exists({name})" if "." in name else ""
    return Value(name, types.get(name, "text"), present, example)


def _number(value: Decimal) -> Value:
    return Value(f"{value:f}", "number", constant=value)


def _duration(nanoseconds: int) -> Value:
    return Value(duration(nanoseconds), "duration", constant=nanoseconds)


def _text(value: str) -> Value:
    return Value(literal(value), "text", constant=value)
