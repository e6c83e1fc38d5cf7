"""The SQL of the project's dbt models without dbt: a stand-in for the few functions that their templates call.

So that a gate stages spans by the same text as a night does and starts in a fraction of a second. Runs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import jinja2
import yaml

from dagster_project.settings import shipped

_MACRO: Final = re.compile(r"(\{%-?\s*macro\s+)(\w+)\(")
_SAID: Final = "said_"  # before the name of a macro inside its template; under its own name stands what calls it
# The fast one where it was built; both make plain values alone.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_GENERATED: Final = "generated"


class _Returned(Exception):
    """How a macro hands back a value that is no text, as in dbt."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


class DbtSql:
    """Renders models as dbt does for a first run over DuckDB; no attribute is promoted to a column."""

    def __init__(self, dbt_dir: Path | None = None) -> None:
        root = dbt_dir or shipped("dbt")
        self._models = {file.stem: file for file in (root / "models").rglob("*.sql") if file.parent.name != _GENERATED}
        self._variables = yaml.load((root / "dbt_project.yml").read_text("utf-8"), _LOADER)["vars"]  # noqa: S506  # a safe one
        self._asked: list[str] = []
        self._rendered: dict[str, tuple[str, tuple[str, ...]]] = {}
        # The text is SQL, not markup: nothing is to be escaped.
        self._jinja = jinja2.Environment(
            extensions=["jinja2.ext.do"],
            undefined=jinja2.StrictUndefined,
            autoescape=False,  # noqa: S701
        )
        self._jinja.globals.update(self._context())
        self._load_macros(root / "macros")

    def has(self, model: str) -> bool:
        """Whether there is a model of that name."""
        return model in self._models

    def schema(self, model: str) -> str:
        """`staging` or `intermediate`: the folder of the model."""
        return self._models[model].parent.name

    def table(self, model: str) -> str:
        """The table of a model, with its schema."""
        return f"{self.schema(model)}.{model}"

    def render(self, model: str) -> tuple[str, tuple[str, ...]]:
        """The query of a model, and the models that it reads, in the order in which it names them."""
        if model not in self._rendered:
            self._asked.clear()
            query = self._jinja.from_string(self._models[model].read_text("utf-8")).render()
            self._rendered[model] = query, tuple(dict.fromkeys(self._asked))
        return self._rendered[model]

    def in_order(self, models: tuple[str, ...]) -> dict[str, str]:
        """The queries of these models and of all that they read, each after what it reads."""
        made: dict[str, str] = {}

        def add(model: str) -> None:
            if model not in made:
                query, read = self.render(model)
                for other in read:
                    add(other)
                made[model] = query

        for model in models:
            add(model)
        return made

    def _context(self) -> dict[str, Any]:
        return {
            "adapter": SimpleNamespace(dispatch=self._dispatch, quote=lambda name: '"' + name.replace('"', '""') + '"'),
            "config": lambda **_settings: "",
            "exceptions": SimpleNamespace(raise_compiler_error=_refuse),
            "is_incremental": lambda: False,
            "modules": SimpleNamespace(re=re),
            "promoted_attributes": lambda _entity: [],
            "ref": self._ref,
            "return": _return,
            "source": lambda schema, table: f"{schema}.{table}",
            "this": "this",
            "var": lambda name, default=None: self._variables.get(name, default),
        }

    def _load_macros(self, folder: Path) -> None:
        texts = [file.read_text("utf-8") for file in sorted(folder.glob("*.sql"))]
        text = _MACRO.sub(rf"\1{_SAID}\2(", "\n".join(texts))
        names = re.findall(rf"macro\s+{_SAID}(\w+)\(", text)
        self._jinja.globals.update({name: self._called(name) for name in names})
        self._macros = self._jinja.from_string(text).module

    def _called(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            try:
                return getattr(self._macros, _SAID + name)(*arguments, **named)
            except _Returned as returned:
                return returned.value

        return call

    def _dispatch(self, name: str, _package: str | None = None) -> Any:
        for prefix in ("duckdb__", "default__"):
            if (found := self._jinja.globals.get(prefix + name)) is not None:
                return found
        raise KeyError(name)

    def _ref(self, model: str) -> str:
        self._asked.append(model)
        return self.table(model)


@cache
def shipped_sql() -> DbtSql:
    """The models of this installation, read once a process: a gate stages twice, and reading takes longer than SQL."""
    return DbtSql()


def _return(value: Any = None) -> None:
    raise _Returned(value)


def _refuse(message: str) -> None:
    raise ValueError(message)
