"""Text of an expression → syntax tree, or one error that says where and what to write.

Names and types are not looked at here.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Any, Final, Literal, TypeAlias, cast, get_args

from lark import Lark, Token, Transformer, Tree, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken, VisitError

from dagster_project.rule_language.errors import ExpressionError
from dagster_project.rule_language.limits import MAX_DEPTH, MAX_DURATION_NS
from dagster_project.rule_language.text import syntax
from dagster_project.rule_language.text.syntax import At, Expression
from dagster_project.wording import did_you_mean

Start = Literal["condition", "definition", "report"]

_NANOSECONDS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3_600 * 10**9,
    "d": 86_400 * 10**9,
}
_BYTES: Final = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_ESCAPES: Final = {'"': '"', "\\": "\\", "n": "\n", "t": "\t", "r": "\r", "/": "/"}

AGGREGATES: Final = ("sum", "avg", "min", "max", "p50", "p90", "p95", "p99")
FUNCTIONS: Final = ("any", "all", "none", "count", "distinct", "first", *AGGREGATES)
ENTITIES: Final = get_args(syntax.Entity)


def parse(text: str, start: Start = "condition") -> Expression:
    """The syntax tree of one expression.

    Parameters
    ----------
    text
        The expression alone, without its YAML key.
    start
        `condition` for when, always, never and detect; `definition` for a `let`; `report` for a reported value.

    Raises
    ------
    ExpressionError
        Where the text stops making sense, with offsets into `text`.
    """
    if not text.strip():
        raise ExpressionError("the expression is empty", 0)
    try:
        parsed = _lark().parse(text, start=start)
    except UnexpectedInput as error:
        raise _explained(text, error) from None
    _refuse_deep(parsed)
    try:
        return cast("Expression", _builder().transform(parsed))
    except VisitError as error:
        if isinstance(error.orig_exc, ExpressionError):
            raise error.orig_exc from None
        raise


# What people write for a unit, by its whole word.
_UNITS: Final = {
    "nanoseconds": "ns", "microseconds": "us", "milliseconds": "ms", "msec": "ms", "seconds": "s", "minutes": "m",
    "hours": "h", "hrs": "h", "days": "d",
}  # fmt: skip


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration such as `24h` or `1h30m`.

    Raises
    ------
    ValueError
        When it is none, is not whole nanoseconds, or is longer than 292 years.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"`{text}` is no duration; write a number with ns, us, ms, s, m, h or d, such as 500ms or 24h")
    total = sum(Decimal(number) * _NANOSECONDS[unit] for number, unit in parts)
    if total != int(total) or total > MAX_DURATION_NS:
        raise ValueError(f"`{text}` is not a whole number of nanoseconds below 292 years")
    return int(total)


@lru_cache(maxsize=1)
def _lark() -> Lark:
    grammar = FilePath(__file__).with_name("grammar.lark").read_text(encoding="utf-8")
    return Lark(
        grammar,
        parser="lalr",
        start=["condition", "definition", "report"],
        propagate_positions=True,
        maybe_placeholders=True,
    )


@lru_cache(maxsize=1)
def _builder() -> _TreeBuilder:
    return _TreeBuilder()


def _refuse_deep(parsed: Tree[Token]) -> None:
    """Measure nesting without recursion: what comes after this may recurse."""
    stack = [(parsed, 1)]
    while stack:
        tree, level = stack.pop()
        if level > MAX_DEPTH:
            hint = "name parts of it with `let`, or split the rule"
            raise ExpressionError(f"nested deeper than {MAX_DEPTH}", tree.meta.start_pos, tree.meta.end_pos, hint)
        stack.extend((child, level + 1) for child in tree.children if isinstance(child, Tree))


def _explained(text: str, error: UnexpectedInput) -> ExpressionError:
    """The parser's complaint in the words of somebody who writes rules."""
    position = len(text) if isinstance(error, UnexpectedToken) and error.token.type == "$END" else _offset(error)
    word = re.match(r"\w+|\S", text[position:])
    found = f"`{word.group()}`" if word else "the end"
    before = _word_before(text, position)
    if before in {"within", "per"} and word:
        return _no_duration(text, position, before)
    called = before if found == "`(`" else ""
    if called:
        hint = did_you_mean(called, (*FUNCTIONS, "exists", "missing", "baseline", *ENTITIES))
        start = text.rindex(called, 0, position)
        return ExpressionError(f"`{called}` is no function of this language", start, position, hint)
    if position < len(text) and _awaits_set(error):
        hint = "a condition on items stands after `where`: any(x where amount > 1)"
        return ExpressionError("a set of spans or logs is expected here", position, hint=hint)
    if re.match(r"\d", text[position:]):
        number = cast("re.Match[str]", re.match(r"[\w.]+", text[position:])).group()
        return ExpressionError(
            f"`{number}` is no number",
            position,
            position + len(number),
            "units: ns us ms s m h d, B KB MB GB TB KiB MiB",
        )
    if text[position : position + 1] in {'"', "'"}:
        quote = "the string does not end" if text[position] == '"' else "strings are written in double quotes"
        return ExpressionError(quote, position)
    hint = _hint_of_place(_expected(error), before, found) or _hint_at(text, position)
    return ExpressionError(f"did not expect {found} here", position, hint=hint)


def _no_duration(text: str, position: int, before: str) -> ExpressionError:
    """What stands after `within` or `per` and is no duration, with one that was probably meant."""
    written = cast("re.Match[str]", re.match(r"[\w.]+|\S", text[position:])).group()
    number = re.match(r"\d+(?:\.\d+)?", written)
    unit = written[number.end() :].lower() if number else written.lower()
    meant = next((short for word, short in _UNITS.items() if word.startswith(unit.rstrip("s")) and unit), "s")
    hint = f"a duration stands after `{before}`: {number.group() if number else '1'}{meant}"
    return ExpressionError(f"`{written}` is no duration", position, position + len(written), hint)


def _hint_of_place(expected: Collection[str], before: str, found: str) -> str:
    if found == "`per`":
        return "it stands behind a whole comparison: count(x) > 5 per 1m"
    if set(expected) == {"FUNCTION"} and not before:
        return "a value is reported of a set: write first(...), count(...), sum(...) and the like"
    return ""


def _word_before(text: str, position: int) -> str:
    """The word that ends at a position, blanks aside; walking back, for a search from the left is quadratic."""
    end = position
    while end and text[end - 1].isspace():
        end -= 1
    start = end
    while start and (text[start - 1].isalnum() or text[start - 1] == "_"):
        start -= 1
    return text[start:end]


def _awaits_set(error: UnexpectedInput) -> bool:
    """Whether the parser stopped where only a selector or the name of a set can stand."""
    allowed = _expected(error)
    return "ENTITY" in allowed and "NUMBER" not in allowed


def _expected(error: UnexpectedInput) -> Collection[str]:
    return getattr(error, "allowed", None) or getattr(error, "accepts", None) or ()


def _offset(error: UnexpectedInput) -> int:
    if isinstance(error, UnexpectedCharacters):
        return int(cast("Any", error).pos_in_stream)
    return int(cast("Any", error).pos_in_stream or 0)


def _hint_at(text: str, position: int) -> str:
    rest = text[position:]
    if rest.startswith(("&&", "||", "!")):
        return "logic is written `and`, `or`, `not`"
    if re.match(r">>|<<|~|!", rest) or re.match(r"[><]>|<<", text[max(0, position - 1) :]):
        return "structure stands between sets, inside a quantifier: any(a >> b); name parts of it with `let`"
    if re.match(r"(near|after|unless)\b", rest):
        return "it stands between sets, inside a quantifier: any(a near b within 5s)"
    if rest.startswith(":"):
        return "a variable is written all(x: x.field == ...), or all(x in a >> b: x.field == ...)"
    if re.match(r"\w", rest) and re.search(r'["\w)]\s*$', text[:position]):
        return "an operator is missing before it: and, or, ==, !=, <, <=, >, >=, in, matches"
    return "" if rest.strip() else "something is missing at the end: a value or a closing bracket"


# A method of the builder is called `list`, after the grammar's rule.
Children: TypeAlias = list[Any]


def _at(meta: Any) -> At:
    return At(meta.start_pos, meta.end_pos)


def _unescaped(token: Token) -> str:
    """The text between the quotes of a STRING token."""
    body, out, index = token.value[1:-1], [], 0
    while index < len(body):
        character = body[index]
        if character != "\\":
            out.append(character)
            index += 1
            continue
        code = body[index + 1]
        if code == "u" and re.fullmatch(r"[0-9a-fA-F]{4}", body[index + 2 : index + 6]):
            out.append(chr(int(body[index + 2 : index + 6], 16)))
            index += 6
        elif code in _ESCAPES:
            out.append(_ESCAPES[code])
            index += 2
        else:
            where = (token.start_pos or 0) + 1 + index
            hint = f'write `\\\\{code}` for a backslash, or a raw string r"..." for a pattern'
            raise ExpressionError(f"`\\{code}` is no escape", where, where + 2, hint)
    text = "".join(out)
    if "\x00" in text or any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        raise ExpressionError("a string holds a NUL or half a surrogate pair", token.start_pos or 0)
    return text


@v_args(meta=True)
class _TreeBuilder(Transformer[Token, Any]):
    """Parse tree → syntax tree. A method a grammar rule or alias."""

    def __init__(self) -> None:
        super().__init__(visit_tokens=False)
        # Looked up on the class, lark would wrap a method anew for every node of every tree.
        for name in [name for name in vars(type(self)) if not name.startswith("_")]:
            setattr(self, name, getattr(self, name))

    def condition(self, _meta: Any, children: Children) -> Expression:
        return cast("Expression", children[0])

    report = condition

    def disjunction(self, meta: Any, children: Children) -> Expression:
        return syntax.Or(tuple(children), _at(meta))

    def conjunction(self, meta: Any, children: Children) -> Expression:
        return syntax.And(tuple(children), _at(meta))

    def negated(self, meta: Any, children: Children) -> Expression:
        return syntax.Not(children[0], _at(meta))

    def compared(self, meta: Any, children: Children) -> Expression:
        left, op, right, per = children
        symbol = "==" if op.value == "=" else op.value
        per_ns = None if per is None else _nanoseconds(per)
        return syntax.Compare(cast("syntax.CompareOp", symbol), left, right, per_ns, _at(meta))

    def matched(self, meta: Any, children: Children) -> Expression:
        return syntax.Matches(children[0], children[1], _at(meta))

    def contained(self, meta: Any, children: Children) -> Expression:
        return syntax.In(children[0], children[1], _at(meta))

    def not_contained(self, meta: Any, children: Children) -> Expression:
        return syntax.Not(self.contained(meta, children), _at(meta))

    def arithmetic(self, meta: Any, children: Children) -> Expression:
        left, op, right = children
        return syntax.Arithmetic(op.value, left, right, _at(meta))

    def sign(self, meta: Any, children: Children) -> Expression:
        sign, operand = children
        if sign.value == "+":
            return cast("Expression", operand)
        if isinstance(operand, syntax.Value) and isinstance(operand.value, (Decimal, int)):
            return syntax.Value(-operand.value, operand.unit, _at(meta))
        return syntax.Arithmetic("-", syntax.Value(Decimal(0), "number", _at(meta)), operand, _at(meta))

    def number(self, meta: Any, children: Children) -> Expression:
        return syntax.Value(_decimal(children[0]), "number", _at(meta))

    def duration(self, meta: Any, children: Children) -> Expression:
        return syntax.Value(_nanoseconds(children[0]), "duration", _at(meta))

    def size(self, meta: Any, children: Children) -> Expression:
        number, unit = cast("re.Match[str]", re.match(r"([\d.]+)(\w+)", children[0].value)).groups()
        return syntax.Value(Decimal(number) * _BYTES[unit], "number", _at(meta))

    def text(self, meta: Any, children: Children) -> Expression:
        return syntax.Value(_unescaped(children[0]), "text", _at(meta))

    def raw_text(self, meta: Any, children: Children) -> Expression:
        return syntax.Value(children[0].value[2:-1], "text", _at(meta))

    def true(self, meta: Any, _children: Children) -> Expression:
        return syntax.Value(True, "boolean", _at(meta))

    def false(self, meta: Any, _children: Children) -> Expression:
        return syntax.Value(False, "boolean", _at(meta))

    def null(self, meta: Any, _children: Children) -> Expression:
        return syntax.Value(None, "null", _at(meta))

    def list(self, meta: Any, children: Children) -> Expression:
        return syntax.ValueList(tuple(child for child in children if child is not None), _at(meta))

    def name(self, meta: Any, children: Children) -> Expression:
        return syntax.Name(children[0].value, _at(meta))

    def path(self, meta: Any, children: Children) -> Expression:
        return syntax.Path(children[0].value, children[1], _at(meta))

    def field(self, _meta: Any, children: Children) -> str:
        token = children[0]
        return _unescaped(token) if token.type == "STRING" else str(token.value)

    def presence(self, meta: Any, children: Children) -> Expression:
        return syntax.Presence(children[0].value == "exists", children[1], _at(meta))

    def selector(self, meta: Any, children: Children) -> Expression:
        entity, *arguments = [child for child in children if child is not None]
        name = None
        if arguments and isinstance(arguments[0], syntax.Value) and isinstance(arguments[0].value, str):
            name = arguments.pop(0).value
        return syntax.Selector(cast("syntax.Entity", entity.value), name, tuple(arguments), _at(meta))

    def keys(self, _meta: Any, children: Children) -> tuple[str, ...]:
        return tuple(children)

    # Sets.

    def filtered(self, meta: Any, children: Children) -> Expression:
        items, where = children
        return cast("Expression", items) if where is None else syntax.Filtered(items, where, _at(meta))

    definition = filtered

    def set_op(self, _meta: Any, children: Children) -> str:
        op = children[0]
        if op.type == "COMPARE" and op.value not in {"<", ">"}:
            hint = "structure is > >> < << ~ and their negations; a condition stands after `where`"
            raise ExpressionError(f"no `{op.value}` between sets", *_extent(op), hint)
        return str(op.value)

    def structured(self, meta: Any, children: Children) -> Expression:
        left, op, right = children
        return syntax.Structured(cast("syntax.StructureOp", op.lstrip("!")), op[0] == "!", left, right, _at(meta))

    def unless(self, meta: Any, children: Children) -> Expression:
        left, right = children
        return syntax.Unless(left, right, _at(meta))

    def joined(self, meta: Any, children: Children) -> Expression:
        left, direction, right, within, keys = children
        on = () if keys == ("anything",) else keys
        return syntax.Joined(direction.value, left, right, _nanoseconds(within), on, _at(meta))

    # Calls.

    def call(self, meta: Any, children: Children) -> syntax.Call:
        function, items, where = children
        return syntax.Call(cast("syntax.Function", function.value), items, None, where, at=_at(meta))

    def call_of_field(self, meta: Any, children: Children) -> syntax.Call:
        function, items, field_name, where = children
        return syntax.Call(cast("syntax.Function", function.value), items, field_name, where, at=_at(meta))

    def call_of_each(self, meta: Any, children: Children) -> syntax.Call:
        function, word, condition = children
        items = syntax.Name(word.value, At(*_extent(word)))
        return syntax.Call(cast("syntax.Function", function.value), items, None, condition, at=_at(meta))

    def call_of_each_in(self, meta: Any, children: Children) -> syntax.Call:
        function, word, items, condition = children
        return syntax.Call(cast("syntax.Function", function.value), items, None, condition, word.value, at=_at(meta))

    def grouped_call(self, _meta: Any, children: Children) -> Expression:
        made, keys = children
        return cast("Expression", made if keys is None else replace(made, by=keys))

    def baseline(self, meta: Any, children: Children) -> Expression:
        _, back, same_hour, at_least = children
        least = None if at_least is None else _decimal(at_least)
        if least is not None and (least != int(least) or least < 1):
            raise ExpressionError("`at least` takes a whole number from 1", *_extent(at_least))
        return syntax.Baseline(
            _nanoseconds(back), same_hour is not None, None if least is None else int(least), _at(meta)
        )

    # Order.

    def ordered_before(self, meta: Any, children: Children) -> Expression:
        return _ordered("before", meta, children)

    def ordered_followed(self, meta: Any, children: Children) -> Expression:
        return _ordered("followed by", meta, children)


def _ordered(kind: Literal["before", "followed by"], meta: Any, children: Children) -> syntax.Ordered:
    first, second, within = children
    within_ns = None if within is None else _nanoseconds(within)
    return syntax.Ordered(kind, *_side(first), *_side(second), within_ns, _at(meta))


def _side(node: Expression) -> tuple[syntax.Set, syntax.Edge]:
    """A set and the moment of its items that counts: a name, a selector, or one of them with `.start` or `.end`."""
    if isinstance(node, (syntax.Name, syntax.Selector)):
        return node, "start"
    if isinstance(node, syntax.Path) and node.field_name in {"start", "end"}:
        return syntax.Name(node.base, node.at), cast("syntax.Edge", node.field_name)
    hint = "name the set with `let` and write: a before b, a.end before b.start"
    raise ExpressionError("a set is expected on each side of an order", node.at.start, node.at.end, hint)


def _nanoseconds(token: Token) -> int:
    try:
        return parse_duration(token.value)
    except ValueError as error:
        raise ExpressionError(str(error), *_extent(token)) from None


def _extent(token: Token) -> tuple[int, int]:
    return token.start_pos or 0, token.end_pos or 0


def _decimal(token: Token) -> Decimal:
    try:
        number = Decimal(token.value)
    except InvalidOperation:  # pragma: no cover - the lexer lets only numbers through
        raise ExpressionError(f"`{token.value}` is no number", *_extent(token)) from None
    if abs(number) > Decimal("1e300"):
        raise ExpressionError(f"`{token.value}` is too large; numbers reach to 1e300", *_extent(token))
    return number
