"""Comparisons of attributes of records, as the security tools mean them: wildcards, letter case, address ranges.

EQL denies with unknowns, Sigma without; the caller says which.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import replace

from dagster_project.rule_imports.regex_samples import sample
from dagster_project.rule_language.limits import MAX_PATTERN_CHARACTERS
from dagster_project.rule_language.writing.expression_text import (
    ABSENT,
    AllOf,
    Example,
    ItemCondition,
    Scalar,
    Test,
    attribute,
    literal,
    text_literal,
)

_BODY = "body"


def subject(name: str) -> str:
    """The field that a name of another tool stands for: an attribute, or the log's `body`."""
    return _BODY if name == _BODY else attribute(name)


def _where(name: str) -> str:
    return _BODY if name == _BODY else f"attribute.{name}"


def compared(name: str, op: str, value: Scalar, *, strict: bool) -> ItemCondition:
    """`name op value`. `strict`: its denial is unknown for a missing field, else true of it."""
    opposite = {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
    written, field = literal(value), subject(name)
    test, deny = f"{field} {op} {written}", f"{field} {opposite[op]} {written}"
    exact = (name, value) if op == "==" else None
    return Test(test, _denial(field, deny, strict), _valued(name, op, value), _valued(name, opposite[op], value), exact)


def matching(name: str, pattern: str, *, strict: bool, example: str | None = None) -> ItemCondition:
    """`name matches pattern`."""
    field = subject(name)
    known = example if example is not None else sample(pattern)
    good: Example | None = {_where(name): known} if known is not None else None
    deny = f"not ({field} matches {text_literal(pattern)})"
    return Test(
        f"{field} matches {text_literal(pattern)}", _denial(field, deny, strict), good, {_where(name): "-other-"}
    )


def as_exact(test: ItemCondition, name: str, value: str) -> ItemCondition:
    """The same test, marked as one that only this text passes, whatever its case."""
    return replace(test, exact=(name, value.casefold())) if isinstance(test, Test) else test


def needs_a_list(condition: ItemCondition) -> str | None:
    """The field that must have two different values at once: a list there, which is compared as a whole here."""
    wanted: dict[str, Scalar] = {}
    for part in condition.parts if isinstance(condition, AllOf) else ():
        if isinstance(part, Test) and part.exact is not None:
            name, value = part.exact
            spelled = value.casefold() if isinstance(value, str) else value
            if wanted.setdefault(name, spelled) != spelled:
                return name
    return None


def missing(name: str) -> Test:
    """The record has no such field."""
    field = subject(name)
    return Test(f"missing({field})", f"exists({field})", {_where(name): ABSENT}, {_where(name): "x"})


def one_of(name: str, values: Iterable[Scalar], *, strict: bool) -> ItemCondition:
    """`name in [values]`."""
    listed = list(values)
    field = subject(name)
    text = f"{field} in [{', '.join(literal(value) for value in listed)}]"
    deny = f"{field} not in [{', '.join(literal(value) for value in listed)}]"
    return Test(text, _denial(field, deny, strict), {_where(name): listed[0]}, {_where(name): "-other-"})


def _denial(field: str, deny: str, strict: bool) -> str:
    return deny if strict else f"(missing({field}) or {deny})"


def _valued(name: str, op: str, value: Scalar) -> Example:
    if isinstance(value, (bool, str)):
        return {
            _where(name): value
            if op in {"==", "<=", ">="}
            else (not value if isinstance(value, bool) else f"-{value}-")
        }
    shift = {">": 1, "<": -1, "!=": 1}.get(op, 0)
    return {_where(name): value + shift}


def wildcard_pattern(text: str, *, any_case: bool, escapes: bool) -> tuple[str, str]:
    r"""The pattern of a text with `*` and `?`, whole and anchored, and a text that it matches.

    With `escapes`, `\*`, `\?` and `\\` stand for themselves, as in Sigma.
    """
    pattern, example = "", ""
    at = 0
    while at < len(text):
        character = text[at]
        if escapes and character == "\\" and text[at + 1 : at + 2] in {"*", "?", "\\"}:
            at += 1
            pattern, example = pattern + escaped(text[at]), example + text[at]
        elif character in "*?":
            pattern, example = (
                pattern + (".*" if character == "*" else "."),
                example + ("" if character == "*" else "x"),
            )
        else:
            pattern, example = pattern + escaped(character), example + character
        at += 1
    flags = "is" if any_case else "s"
    return f"(?{flags})^{pattern}$", example


def escaped(text: str) -> str:
    """The text as a pattern that RE2 reads as itself."""
    return re.sub(r"([\\.^$*+?()\[\]{}|])", r"\\\1", text)


def in_network(name: str, network: str, *, strict: bool) -> ItemCondition:
    """The text of the field is an IPv4 address of the network.

    Raises
    ------
    ValueError
        For what is no network, or one of IPv6, whose addresses are written in many ways.
    """
    parsed = ipaddress.ip_network(network, strict=False)
    if parsed.version != 4:
        raise ValueError(f"`{network}`: addresses of IPv6 are written in many ways, so no pattern finds them")
    octets = str(parsed.network_address).split(".")
    whole, bits = divmod(parsed.prefixlen, 8)
    parts = [escaped(octet) for octet in octets[:whole]]
    if bits:
        first = int(octets[whole])
        parts.append(f"(?:{'|'.join(str(number) for number in range(first, first + 2 ** (8 - bits)))})")
    parts += [r"\d{1,3}"] * (4 - len(parts))
    pattern = f"^{'[.]'.join(parts)}$"
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise ValueError(f"`{network}` becomes too long a pattern")
    return matching(
        name, pattern, strict=strict, example=str(parsed.network_address + (0 if parsed.num_addresses == 1 else 1))
    )
