"""Reads one YAML file into a pydantic model, or says file, line, value and what to do.

No model of a particular file lives here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

Model = TypeVar("Model", bound=BaseModel)


class DocumentError(ValueError):
    """A configuration file is missing, is not YAML, or says something that its model does not allow."""

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        self.path = path
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class StrictModel(BaseModel):
    """Base of every configuration model: unknown keys are errors, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


MAX_DEPTH = 50
"""How deep a document may be nested: far beyond any model, and far below where Python's own stack ends."""
MOST_MERGED = 20_000
"""Keys that merging (`<<`) may copy in one document: each level of `<<: [*a, *b]` may hold all levels below it."""


class _Loader(yaml.SafeLoader):
    """YAML in which every mistake has a line.

    YAML lets a repeated key win silently; in a policy that hides half of what somebody wrote. PyYAML lets errors of
    Python through where a value is no date, a key cannot be a key or the nesting has no end.
    """

    depth = 0
    merged = merge_depth = 0

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._flattened: set[int] = set()

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            problem = f"nested more than {MAX_DEPTH} deep: no setting is"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Copy what is merged into a mapping: once, within bounds, and after its own keys were looked at."""
        if id(node) in self._flattened:
            return
        self._flattened.add(id(node))
        _require_words_once(node)
        merges = [value for key, value in node.value if key.tag.endswith(":merge")]
        for value in merges:
            sources = [id(each) for each in value.value] if isinstance(value, yaml.SequenceNode) else []
            if len(sources) != len(set(sources)):
                raise _wrong(value, "the same mapping is merged twice: name it once")
        self.merge_depth += 1
        if self.merge_depth > MAX_DEPTH:
            raise _wrong(node, f"merged over more than {MAX_DEPTH} mappings: no setting is")
        super().flatten_mapping(node)
        self.merge_depth -= 1
        self.merged += len(node.value) if merges else 0
        if self.merged > MOST_MERGED:
            raise _wrong(node, f"merging copies more than {MOST_MERGED:,} keys: write them out")

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (AttributeError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            kind = node.tag.rsplit(":", 1)[-1]
            raise _wrong(node, f"{str(node.value)[:60]!r} is no {kind} ({error}): mend it, or quote it") from None


def _require_words_once(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key_node, _ in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise _wrong(key_node, "a key is a word, not a list or a mapping")
        if key_node.tag.rsplit(":", 1)[-1] not in {"str", "merge"}:
            raise _wrong(key_node, f"the key {key_node.value!r} is no word to YAML: quote it")
        if key_node.value in seen:
            raise _wrong(key_node, f"the key {key_node.value!r} is given twice: keep one")
        seen.add(key_node.value)


def _wrong(node: yaml.Node, problem: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def read_document(path: Path, model: type[Model]) -> Model:
    """The file at `path` as a `model`.

    Raises
    ------
    DocumentError
        Every problem of the file at once, each as `file:line: key: what is wrong (value)`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DocumentError(path, [f"{path}: no such file. `hindcast init DIR` writes a commented one."]) from None
    except OSError as error:
        raise DocumentError(path, [f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise DocumentError(path, [f"{path}: not UTF-8 at byte {error.start}: save the file as UTF-8"]) from None
    return parse_document(text, model, path)


def parse_document(text: str, model: type[Model], path: Path) -> Model:
    """`read_document` for text already read; `path` only names the file in errors."""
    tree, content = _loaded(text, path)
    try:
        return model.model_validate({} if content is None else content)
    except ValidationError as error:
        raise DocumentError(path, [_problem(path, tree, detail) for detail in error.errors()]) from None


def _loaded(text: str, path: Path) -> tuple[yaml.Node | None, Any]:
    """The text as nodes, which know their lines, and as values."""
    try:
        loader = _Loader(text)
        tree = loader.get_single_node()
        return tree, None if tree is None else loader.construct_document(tree)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, problem = (mark.line + 1 if mark else 1), error.problem or "not YAML"
    except yaml.reader.ReaderError as error:
        line, problem = text.count("\n", 0, error.position) + 1, f"not YAML: {error.reason}"
    raise DocumentError(path, [f"{path}:{line}: {problem}"])


def _problem(path: Path, tree: yaml.Node | None, detail: Any) -> str:
    """One pydantic error as a line that an editor can jump to."""
    location = tuple(detail["loc"])
    where = ".".join(str(part) for part in location) or "the file"
    value = detail.get("input")
    shown = f" (found {value!r})" if isinstance(value, str | int | float | bool) else ""
    return f"{path}:{_line(tree, location)}: {where}: {detail['msg']}{shown}"


def _line(tree: yaml.Node | None, location: tuple[int | str, ...]) -> int:
    """The line of the deepest node on the way to `location`."""
    node, line = tree, tree.start_mark.line + 1 if tree is not None else 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(part)]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = [(node.value[part], node.value[part])]
        else:
            found = []
        if not found:
            continue  # pydantic adds parts that are in no file: names of union members, of functions
        line, node = found[0][0].start_mark.line + 1, found[0][1]
    return line
