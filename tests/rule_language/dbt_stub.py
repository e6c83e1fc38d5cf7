"""Just enough of dbt to run generated models and our macros on a connection, in milliseconds: no DAG, no threads.

It renders the very text that dbt renders. That dbt itself does the same, tests/dbt shows on a few runs.
"""

import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import jinja2

MACROS = Path(__file__).parents[2] / "dbt/macros"
SCHEMAS = {"stg": "staging", "int": "intermediate", "fct": "violations", "verdicts": "violations", "rule": "violations"}
MACRO = re.compile(r"\{%-?\s*macro\s+(\w+)\(.*?\{%-?\s*endmacro\s*-?%\}", re.DOTALL)


ENVIRONMENT = jinja2.Environment(extensions=["jinja2.ext.do"], undefined=jinja2.StrictUndefined)  # noqa: S701  # it makes SQL, not HTML


@cache
def template_of(text):
    return ENVIRONMENT.from_string(text)


@cache
def macros_of(text):
    """The macros of a file, each as a template of its own: so each is called through `Dbt`, which knows `return`."""
    return {found[1]: template_of(found[0]) for found in MACRO.finditer(text)}


class Returned(Exception):  # it is no error: dbt's `return` leaves a macro in the same way
    """What a macro hands back."""


class Killed(Exception):
    """The run ends here, and its transaction with it."""


class Relation:
    """A table as templates see it."""

    def __init__(self, name):
        self.database, self.identifier = None, name
        self.schema = SCHEMAS[re.split("_", name, maxsplit=1)[0]]

    def __str__(self):
        return f'{self.schema}."{self.identifier}"'


class Dbt:
    """Macros and models over one connection."""

    def __init__(self, connection, macro_files):
        self.connection = connection
        self.variables = {}
        self.full_refresh = False
        self.known = {
            "execute": True,
            "ref": lambda name: str(Relation(name)),
            "var": lambda name, default=None: self.variables.get(name, default),
            "modules": SimpleNamespace(re=re),
            "return": self._return,
            "run_query": self._run_query,
            "is_incremental": lambda: not self.full_refresh and self._exists(self.known["this"]),
            "adapter": SimpleNamespace(
                get_relation=lambda _database, schema, name: Relation(name) if self._exists(Relation(name)) else None,
                get_columns_in_relation=self._columns,
                quote=lambda name: f'"{name}"',
                dispatch=lambda name, _package: self.known[f"duckdb__{name}"],
            ),
            "api": SimpleNamespace(
                Relation=SimpleNamespace(create=lambda database, schema, identifier: Relation(identifier))
            ),
        }
        names = ("replay_window.sql", "promoted_columns.sql", "verdict_history.sql")
        for text in [*((MACROS / name).read_text() for name in names), *macro_files]:
            for name, template in macros_of(text).items():
                self.known[name] = self._macro(name, template)

    def run_model(self, name, text, killed_after=None):
        """One model as dbt builds it: body first, then hooks and rows in one transaction."""
        config = {}
        relation = self.known["this"] = Relation(name)
        body = self._render(text, config=lambda **given: config.update(given) or "")
        is_incremental = self.known["is_incremental"]()
        steps = [
            lambda: self._render(config.get("pre_hook", "")),
            lambda: (
                f"insert into {relation} {body}" if is_incremental else f"create or replace table {relation} as {body}"
            ),
            lambda: self._render(config.get("post_hook", "")),
        ]
        self.connection.execute("begin")
        try:
            for number, step in enumerate(steps):
                if killed_after == number:
                    raise Killed
                if sql := step().strip():
                    self.connection.execute(sql)
            if killed_after == len(steps):
                raise Killed
        except BaseException:
            self.connection.execute("rollback")
            raise
        self.connection.execute("commit")

    def call(self, macro, *arguments, this):
        """Run what a macro says, for a table."""
        self.known["this"] = Relation(this)
        if sql := str(self.known[macro](*arguments)).strip():
            self.connection.execute(sql)

    def _macro(self, name, template):
        def called(*arguments, **named):
            try:
                return getattr(template.make_module(self.known), name)(*arguments, **named)
            except Returned as returned:
                return returned.args[0]

        return called

    def _render(self, text, **more):
        return template_of(text).render(self.known | more)

    def _return(self, value):
        raise Returned(value)

    def _run_query(self, sql):
        rows = self.connection.execute(sql).fetchall()
        return SimpleNamespace(columns=[SimpleNamespace(values=lambda: [row[0] for row in rows])])

    def _exists(self, relation):
        return bool(
            self.connection.execute(
                "select 1 from information_schema.tables where table_schema = ? and table_name = ?",
                [relation.schema, relation.identifier],
            ).fetchall()
        )

    def _columns(self, relation):
        return [SimpleNamespace(name=name) for name in self.connection.table(str(relation)).columns]
