"""What dbt gives templates and sqlfluff's own stand-ins do not: enough for models to be linted without dbt.

Only sqlfluff loads this (dbt/.sqlfluff names it); dbt never does.
"""

import re
from pathlib import Path
from types import SimpleNamespace

import yaml
from jinja2 import pass_context

PROJECT = yaml.safe_load((Path(__file__).parent.parent / "dbt_project.yml").read_text(encoding="utf-8"))


class Adapter:
    """Dispatches to DuckDB's macros, as dbt does with the target of profiles.yml."""

    @pass_context
    def dispatch(self, context, name, package=None):
        return context[f"duckdb__{name}"]

    def quote(self, name):
        return f'"{name}"'

    def get_columns_in_relation(self, relation):
        return []


class Exceptions:
    """Stops the lint where the template would stop dbt."""

    def raise_compiler_error(self, message):
        raise ValueError(message)


def var(name, default=None):
    """The value in dbt_project.yml."""
    return PROJECT["vars"].get(name, default)


adapter = Adapter()
exceptions = Exceptions()
modules = SimpleNamespace(re=re)
