"""Reads one YAML file into a pydantic model, or says file, line, value and what to do.

No model of a particular file lives here.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
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


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML lets a repeated key win silently; in a policy that hides half of what somebody wrote."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key_node.value!r} is given twice: keep one", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)


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
    except UnicodeDecodeError as error:
        raise DocumentError(path, [f"{path}: not UTF-8 at byte {error.start}: save the file as UTF-8"]) from None
    return parse_document(text, model, path)


def parse_document(text: str, model: type[Model], path: Path) -> Model:
    """`read_document` for text already read; `path` only names the file in errors."""
    try:
        tree = yaml.compose(text, Loader=_UniqueKeyLoader)
        content = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DocumentError(path, [f"{path}:{line}: {error.problem or 'not YAML'}"]) from None
    except yaml.YAMLError as error:
        raise DocumentError(path, [f"{path}: not YAML: {error}"]) from None
    try:
        return model.model_validate({} if content is None else content)
    except ValidationError as error:
        raise DocumentError(path, [_problem(path, tree, detail) for detail in error.errors()]) from None


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
