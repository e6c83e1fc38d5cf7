"""What every page is made with: reading rows, writing CSV files and pages into a folder set aside."""

from __future__ import annotations

import glob
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dagster_project.facts import Stamp
from dagster_project.replay.formats import inert_columns
from dagster_project.settings import shipped
from dagster_project.wording import clock, count, duration, revealed, size, slug, utc, visible

Row = dict[str, Any]
ASSETS = "assets"
THEME = ("hindcast.css", "waterfall.css", "charts.js")
_LEFT = re.compile(r"\.([1-9][0-9]{0,9})(?:\.[0-9a-f]{8})?\.(partial|old)")


@dataclass(frozen=True)
class Workshop:
    """A connection to read from, a folder to write to, what every page prints in its foot, and where its assets are.

    `assets` is relative to the folder.
    """

    connection: duckdb.DuckDBPyConnection
    folder: Path
    stamp: Stamp
    assets: str = ASSETS

    def rows(self, query: str, **values: Any) -> list[Row]:
        """The rows of a query whose caps are its own."""
        cursor = self.connection.execute(query, values or None)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def row(self, query: str, **values: Any) -> Row:
        """The first row of a query, which has one."""
        return self.rows(query, **values)[0]

    def has(self, relation: str) -> bool:
        """Whether the warehouse holds `schema.table`: what Python infers is not there before its first night."""
        schema, _, table = relation.partition(".")
        found = self.connection.execute(
            "select 1 from information_schema.tables where table_schema = ? and table_name = ? limit 1", [schema, table]
        ).fetchall()
        return bool(found)

    def csv(self, name: str, query: str, **values: Any) -> str:
        """Write a query's rows to `csv/<name>.csv` and return that path. Texts cannot act as formulas in it."""
        target = self.folder / "csv" / f"{name}.csv"
        target.parent.mkdir(exist_ok=True)
        rows = self.connection.sql(query, params=values or None)
        rows.select(*inert_columns(rows)).write_csv(str(target), header=True)
        return f"csv/{name}.csv"

    def incident_page(self, incident_id: str, pages: frozenset[str], prefix: str = "incidents/") -> str | None:
        """The address of an incident's page, when it has one."""
        name = slug(incident_id)
        return f"{prefix}{name}.html" if name in pages else None

    def page(self, path: str, template: str, **values: Any) -> None:
        """Render a template of `site/` to `path` below the folder."""
        root = "../" * path.count("/")
        write_page(self.folder / path, template, root=root, assets=f"{root}{self.assets}/", stamp=self.stamp, **values)


def write_page(target: Path, template: str, **values: Any) -> None:
    """Render a template of `site/` into a file that appears by a rename."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    aside.write_text(environment().get_template(f"site/{template}").render(**values), encoding="utf-8")
    aside.replace(target)


@cache
def environment() -> Environment:
    """Templates in which a missing value is an error and every value is escaped."""
    made = Environment(
        loader=FileSystemLoader(shipped("reports") / "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_revealed,
    )
    made.filters.update(utc=utc, clock=clock, duration=duration, count=count, size=size, visible=visible)
    return made


@contextmanager
def set_aside(target: Path) -> Iterator[Path]:
    """A folder beside `target` to fill; it takes target's place when the block ends well, and is removed when not."""
    target = target.resolve()  # `.` has no name, and a link would be renamed instead of the folder
    target.parent.mkdir(parents=True, exist_ok=True)
    # Nobody else's, whoever writes the same pages meanwhile: process ids alone repeat from container to container.
    own = f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}"
    aside, old = target.with_name(f"{own}.partial"), target.with_name(f"{own}.old")
    aside.mkdir()
    try:
        yield aside
        if target.exists():
            target.rename(old)
        try:
            aside.rename(target)
        except OSError:
            if old.exists() and not target.exists():
                old.rename(target)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def sweep(target: Path) -> None:
    """Remove what runs that were killed left beside `target`; only for who holds the lock, so that nobody fills it.

    What stood at `target` before is put back when the run was killed between its two renames.
    """
    target = target.resolve()
    left = [
        (found, matched)
        for found in target.parent.glob(f".{glob.escape(target.name)}.*")
        if (matched := _LEFT.fullmatch(found.name[len(target.name) + 1 :])) and not _is_running(int(matched[1]))
    ]
    for found, matched in left:
        if matched[2] == "old" and not target.exists():
            found.rename(target)
        else:
            shutil.rmtree(found, ignore_errors=True)


def _is_running(process: int) -> bool:
    if process == os.getpid():
        return False  # an earlier one of the same number: this one has set nothing aside yet
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def lay_assets(assets: Path) -> None:
    """A folder with the style sheets, the script and plotly's script, for pages to share offline."""
    import plotly  # noqa: PLC0415 - only for where it is installed; nothing of it runs

    assets.mkdir(exist_ok=True)
    for name in THEME:
        shutil.copyfile(shipped("reports") / "theme" / name, assets / name)
    installed = Path(next(iter(plotly.__path__))) / "package_data" / "plotly.min.js"
    shutil.copyfile(installed, assets / "plotly.min.js")


def _revealed(value: Any) -> Any:
    return revealed(value) if isinstance(value, str) and not isinstance(value, Markup) else value
