"""YAML text → nodes with positions: safely, with limits, without YAML's surprises.

Refused are anchors, aliases, tags, duplicate keys, several documents, deep nesting and large files. `yes` is a word,
not a boolean, and a date is a text. What the nodes mean is `rule_file`'s business.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import yaml

from dagster_project.rule_language.errors import RuleError, RuleErrors
from dagster_project.rule_language.limits import MAX_DEPTH, MAX_FILE_BYTES

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True)
class Node:
    """A value of the file. `value` is a scalar, a list of nodes, or a dict of key → (key node, value node)."""

    value: Any
    line: int
    column: int
    end_line: int
    end_column: int


# The C parser is ten times faster and present in every wheel of PyYAML; both give the same marks.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]  # chosen at run time
    """YAML 1.2's core scalars only: no `yes`, no dates, no base-60 numbers."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # PyYAML's own name and shape


for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", "n~\0"),
    ("int", r"-?(0|[1-9][0-9]*)", "-0123456789"),
    ("float", r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", "-0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.yaml_implicit_resolvers.setdefault("", []).extend(_Loader.yaml_implicit_resolvers.pop("\0", []))

_READ: Final[dict[str, Callable[[str], Scalar]]] = {
    "bool": lambda text: text == "true",
    "null": lambda _text: None,
    "int": int,
    "float": float,
    "str": str,
}


@dataclass(frozen=True)
class YamlText:
    """The text of one file: composes its nodes and says where in it something is."""

    path: str
    text: str

    def error(self, message: str, line: int, column: int, hint: str = "") -> RuleError:
        """An error at a line and column, both from 1."""
        lines = self.text.split("\n")
        source = lines[line - 1].rstrip("\r") if 0 < line <= len(lines) else ""
        return RuleError(self.path, line, column, message, hint, source)

    def root(self) -> Node:
        """The top node.

        Raises
        ------
        RuleErrors
            With the one thing that makes the text unreadable.
        """
        size = len(self.text.encode("utf-8", "surrogatepass"))
        if size > MAX_FILE_BYTES:
            raise RuleErrors([RuleError(self.path, 1, 1, f"{size} bytes; a rule file has at most {MAX_FILE_BYTES}")])
        try:
            self._refuse_hostile()
            top = yaml.compose(self.text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            hint = "quote it, or put it on the next line after `|`" if "mapping values" in str(error.problem) else ""
            raise RuleErrors([self.error(f"no YAML: {error.problem}", line, column, hint)]) from None
        except yaml.YAMLError as error:
            raise RuleErrors([RuleError(self.path, 1, 1, f"no YAML: {error}")]) from None
        if top is None:
            raise RuleErrors([RuleError(self.path, 1, 1, "the file is empty")])
        return self._node(top)

    def _refuse_hostile(self) -> None:
        """Look at the events before a tree is built: a tree of a bomb is the bomb."""
        depth = documents = 0
        for event in yaml.parse(self.text, Loader=_Loader):
            mark: Any = event.start_mark
            where = (mark.line + 1, mark.column + 1)
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise RuleErrors([self.error("anchors and aliases are not allowed in a rule", *where)])
            tag = getattr(event, "tag", None)
            if tag:
                raise RuleErrors([self.error(f"tags such as `{tag}` are not allowed in a rule", *where)])
            documents += isinstance(event, yaml.DocumentStartEvent)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise RuleErrors([self.error(f"nested deeper than {MAX_DEPTH}", *where)])
            if documents > 1:
                raise RuleErrors([self.error("one file holds one rule", *where)])

    def _node(self, raw: yaml.Node) -> Node:
        value: Any
        if isinstance(raw, yaml.MappingNode):
            value = {}
            for key, child in raw.value:
                name = self._node(key)
                if not isinstance(name.value, str):
                    raise RuleErrors(
                        [self.error(f"the key `{name.value}` is no text; quote it", name.line, name.column)]
                    )
                if name.value in value:
                    first = value[name.value][0].line
                    message = f"`{name.value}` is here a second time; the first is in line {first}"
                    raise RuleErrors([self.error(message, name.line, name.column)])
                value[name.value] = (name, self._node(child))
        elif isinstance(raw, yaml.SequenceNode):
            value = [self._node(child) for child in raw.value]
        else:
            value = self._scalar(raw)
        start: Any = raw.start_mark
        end: Any = raw.end_mark
        return Node(value, start.line + 1, start.column + 1, end.line + 1, end.column + 1)

    def _scalar(self, raw: yaml.Node) -> Scalar:
        try:
            value = _READ[raw.tag.rsplit(":", 1)[1]](raw.value)
        except ValueError:  # Python reads no whole number of thousands of digits
            value = math.inf
        if isinstance(value, float) and not math.isfinite(value):
            mark: Any = raw.start_mark
            shown = raw.value if len(raw.value) <= 40 else f"{raw.value[:40]}…"
            error = self.error(
                f"`{shown}` is too large a number", mark.line + 1, mark.column + 1, "quote it, if it is a text"
            )
            raise RuleErrors([error])
        return value

    def position_in(self, node: Node, offset: int) -> tuple[int, int]:
        """Line and column of the character at `offset` of a text scalar, whichever way YAML lets it be written.

        Quoting and folding change only white space, quotes and escapes, so the characters are found in order.
        """
        lines = self.text.split("\n")
        line, column = node.line - 1, node.column - 1
        if lines[line][column : column + 1] in {"|", ">"}:
            line, column = line + 1, 0
        place = (node.line, node.column)
        wanted = re.sub(r"\s", "", str(node.value)[: offset + 1])
        past_end = offset >= len(str(node.value).rstrip())
        for character in wanted:
            while line < len(lines) and (found := lines[line].find(character, column)) < 0:
                line, column = line + 1, 0
            if line >= len(lines):
                return place
            place, column = (line + 1, found + 1), found + 1
        return (place[0], place[1] + 1) if past_end else place
