"""Counts and samples of the staged tables, for estimates; measured once and kept beside what they were measured of.

What is made of them is `rule_language.estimates`' business.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import duckdb
import orjson

from dagster_project.extraction.whole_files import whole_file
from dagster_project.rule_language.planning.estimates import Group, Statistics, Values
from dagster_project.rule_language.text.syntax import Entity

SAMPLED_ROWS: Final = 500_000
_COMMON: Final = 20  # values of a field that are kept one by one
# Closer at the ends: rules ask for what is rare.
_SHARES: Final = (0.0, 0.001, 0.01, *(step / 20 for step in range(1, 20)), 0.99, 0.999, 1.0)
_FORM: Final = 2  # of the file; another one is measured again

# Table, service, name, and the intrinsic fields whose values are sampled.
_TABLES: Final[dict[Entity, tuple[str, str, str | None, dict[str, str]]]] = {
    "span": (
        "staging.stg_spans",
        "service_name",
        "span_name",
        {
            "kind": "kind",
            "status": "status_code",
            "duration": "duration_ns",
            "version": "service_version",
            "is_root": "parent_span_id is null",
            "scope.name": "scope_name",
        },
    ),
    "log": ("staging.stg_logs", "service_name", None, {"severity": "nullif(severity_number, 0)"}),
    "metric": ("staging.stg_metric_points", "service_name", "metric_name", {"value": "value", "unit": "unit"}),
    "deploy": ("staging.stg_deploys", "service_name", None, {"environment": "environment", "status": "status"}),
    "ticket": ("intermediate.int_incidents", "service_name", None, {"severity": "severity", "team": "team"}),
}


def measure(connection: duckdb.DuckDBPyConnection) -> Statistics:
    """Count rows by service and name, and sample values; tables that are missing are left out.

    Reads two columns of each table, and of the others some blocks: about 500,000 rows, all of a smaller table.
    """
    columns = defaultdict(list)
    found = connection.execute(
        "select table_schema || '.' || table_name, column_name from information_schema.columns"
        " where table_schema in ('staging', 'intermediate') order by all"
    ).fetchall()
    for table, column in found:
        columns[table].append(column)
    return Statistics(
        {
            entity: _measured(connection, entity, columns[described[0]])
            for entity, described in _TABLES.items()
            if columns[described[0]]
        }
    )


def kept(connection: duckdb.DuckDBPyConnection, file: Path) -> Statistics:
    """The statistics in a file; measured and written when it is missing or of another form.

    Parameters
    ----------
    file
        Named after what is measured, such as a published generation by its id: what it says is taken to stay true.
    """
    if file.exists():
        found = from_json(file.read_bytes())
        if found is not None:
            return found
    statistics = measure(connection)
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as written:
        written.write(to_json(statistics))
    return statistics


def to_json(statistics: Statistics) -> bytes:
    """As the bytes of a file; common values are pairs, for they are not all texts."""
    groups = {entity: [_plain(group) for group in found] for entity, found in statistics.groups.items()}
    return orjson.dumps({"form": _FORM, "groups": groups})


def from_json(content: bytes) -> Statistics | None:
    """What `to_json` wrote; None when it is of another form, or damaged."""
    try:
        document = orjson.loads(content)
        if document["form"] != _FORM:
            return None
        groups = {
            entity: tuple(
                Group(
                    group["service"],
                    group["name"],
                    group["rows"],
                    {name: _values(values) for name, values in group["values"].items()},
                )
                for group in found
            )
            for entity, found in document["groups"].items()
        }
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
    return Statistics(groups)


def _plain(group: Group) -> dict[str, Any]:
    values = {
        name: {**asdict(one), "common": [[value, share] for value, share in one.common.items()]}
        for name, one in group.values.items()
    }
    return {"service": group.service, "name": group.name, "rows": group.rows, "values": values}


def _values(plain: dict[str, Any]) -> Values:
    common = dict(plain["common"])
    return Values(
        plain["sampled"], plain["filled"], common, plain["distinct"], tuple(tuple(pair) for pair in plain["quantiles"])
    )


def _measured(connection: duckdb.DuckDBPyConnection, entity: Entity, columns: Iterable[str]) -> tuple[Group, ...]:
    table, service, name, fields = _TABLES[entity]
    name = name or "null::varchar"
    rows = connection.execute(
        f"select {service}, {name}, count(*) from {table} group by all order by all"  # noqa: S608  # written here
    ).fetchall()
    promoted = {column: f'"{column}"' for column in columns if column.startswith("attr__")}
    values = _sampled(connection, (table, service, name), fields | promoted, sum(row[2] for row in rows))
    return tuple(Group(of, called, count, values.get((of, called), {})) for of, called, count in rows)


def _sampled(
    connection: duckdb.DuckDBPyConnection, place: tuple[str, str, str], fields: dict[str, str], rows: int
) -> dict[tuple[str | None, str | None], dict[str, Values]]:
    """The values of each service and name, field by field."""
    table, service, name = place
    share = min(100.0, 100.0 * SAMPLED_ROWS / max(1, rows))
    # Whole blocks are read or left out, so that what is not sampled costs nothing.
    sample = "" if share >= 100 else f"using sample {share} percent (system)"
    named = ", ".join(f'{expression} as "v{number}"' for number, expression in enumerate(fields.values()))
    connection.execute(
        f"""
        create or replace temp table hindcast_sample as
        select {service} as service, {name} as name, {named} from {table} {sample}
        """  # noqa: S608  # names of columns
    )
    found: dict[tuple[str | None, str | None], dict[str, Values]] = defaultdict(dict)
    for number, field_name in enumerate(fields):
        for of_service, of_name, *measured in connection.execute(_of_field(connection, f"v{number}")).fetchall():
            found[of_service, of_name][field_name] = _one(*measured)
    connection.execute("drop table hindcast_sample")
    return found


def _of_field(connection: duckdb.DuckDBPyConnection, column: str) -> str:
    """Per service and name: rows, rows with a value, different ones, the common ones with their counts, quantiles."""
    types = connection.execute("select column_name, column_type from (describe hindcast_sample)").fetchall()
    is_number = dict(types)[column] not in {"VARCHAR", "JSON", "BOOLEAN"}
    value = f"{column}::double" if is_number else column
    quantiles = f"quantile_disc({value}, {list(_SHARES)})" if is_number else "null"
    return f"""
        with counted as (
            select service, name, {value} as value, count(*) as n from hindcast_sample group by all
        ),
        common as (
            select service, name, list([to_json(value)::varchar, n::varchar] order by n desc, value) as pairs
            from (
                select * from counted where value is not null
                qualify row_number() over (partition by service, name order by n desc, value) <= {_COMMON}
            ) group by all
        ),
        summed as (
            select service, name, count(*) as sampled, count({value}) as filled, count(distinct {value}) as different,
                {quantiles} as quantiles
            from hindcast_sample group by all
        )
        select s.service, s.name, s.sampled, s.filled, s.different, c.pairs, s.quantiles
        from summed as s
        left join common as c on s.service is not distinct from c.service and s.name is not distinct from c.name
        order by all
    """  # noqa: S608  # columns of the sample's own


def _one(
    sampled: int, filled: int, different: int, pairs: list[list[str]] | None, quantiles: list[float] | None
) -> Values:
    common = {}
    for text, count in pairs or ():
        value = orjson.loads(text)
        common[float(value) if isinstance(value, int) and not isinstance(value, bool) else value] = int(count) / filled
    return Values(sampled, filled / sampled, common, different, tuple(zip(_SHARES, quantiles or (), strict=False)))
