"""Values as the cells of a CSV file, and any rows as CSV or JSON. No cell can start a formula.

What is written of violations, which may be millions, the engine writes.
"""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import duckdb
from duckdb import CaseExpression, ColumnExpression, ConstantExpression, Expression, FunctionExpression

from dagster_project.replay.query import Replay
from dagster_project.wording import FORMULA, NUMBER, inert, pointer

_NUMBERS: Final = frozenset(
    "tinyint smallint integer bigint hugeint utinyint usmallint uinteger ubigint uhugeint float double decimal".split()  # noqa: SIM905
)


def write_csv(replay: Replay, path: Path) -> None:
    """One line a violation; reported values are columns of their own, `reported_…` where a column has their name."""
    names = [one.name for one in replay.rule.judgement.report]
    with duckdb.connect() as engine:
        engine.register("violations", replay.violations)
        fixed = f"""
            scope_key, {iso_sql("first_span_at")} as first_span_at, {iso_sql("last_span_at")} as last_span_at,
            array_to_string(service_names, ' ') as services, array_to_string(trace_ids, ' ') as trace_ids,
            array_to_string(list_transform(witness, lambda one: concat_ws(':', one.trace_id, one.span_id)), ' ')
                as witness,
            violation_id, reason
        """
        columns = engine.sql(f"select {fixed} from violations limit 0").columns  # noqa: S608
        values = []
        for place, name in enumerate(names):
            value = f"json_extract(reported, $p{place})"
            text = f"json_extract_string(reported, $p{place})"
            values.append(f"case when json_type({value}) <> 'NULL' then {text} end as {_identifier(name, columns)}")
        query = f"select {', '.join([fixed, *values])} from violations"  # noqa: S608
        found = engine.sql(query, params={f"p{place}": pointer(name) for place, name in enumerate(names)})
        found.select(*inert_columns(found)).write_csv(str(path), header=True)


def _identifier(name: str, taken: list[str]) -> str:
    """The name of a column that no other has, whatever its case; `taken` gets it."""
    while name.lower() in {one.lower() for one in taken}:
        name = f"reported_{name}"
    taken.append(name)
    return '"' + inert(name).replace('"', '""') + '"'


def inert_columns(rows: duckdb.DuckDBPyRelation) -> list[Expression]:
    """The columns of rows for a CSV file: what is no number as text that no spreadsheet runs."""
    return [
        ColumnExpression(name) if str(kind).lower().split("(")[0] in _NUMBERS else _inert_column(name)
        for name, kind in zip(rows.columns, rows.types, strict=True)
    ]


def _inert_column(name: str) -> Expression:
    text = ColumnExpression(name).cast("varchar")
    acts = FunctionExpression("regexp_matches", text, ConstantExpression(FORMULA))
    is_number = FunctionExpression("regexp_full_match", text, ConstantExpression(NUMBER))
    quoted = FunctionExpression("concat", ConstantExpression("'"), text)
    return CaseExpression(acts & ~is_number, quoted).otherwise(text).alias(name)


def rows_as_csv(rows: list[dict[str, Any]]) -> str:
    """Rows of any table, their names first; cells cannot start a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0] if rows else [])
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return out.getvalue() if rows else ""


def rows_as_json(rows: list[dict[str, Any]]) -> str:
    """Rows of any table as an array of objects."""
    return json.dumps(rows, indent=2, ensure_ascii=False, default=str) + "\n"


def shown(value: Any) -> str:
    """A value of a report as text."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return iso(value) or ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def iso(moment: datetime | None) -> str | None:
    """A time in UTC as ISO 8601, with as much of a second as it has."""
    if moment is None:
        return None
    text = f"{moment:%Y-%m-%dT%H:%M:%S.%f}".rstrip("0").rstrip(".")
    # strftime writes years before 1000 without their zeros on some systems.
    return text.rjust(len(text) + 4 - text.index("-"), "0") + "Z"


def iso_sql(column: str) -> str:
    """The same of a column."""
    return f"rtrim(rtrim(strftime({column}, '%Y-%m-%dT%H:%M:%S.%f'), '0'), '.') || 'Z'"


def _cell(value: Any) -> str:
    return inert(" ".join(map(str, value)) if isinstance(value, list) else shown(value))
