"""Deploys as a JSON array or as CSV with the same names, as rows of `raw.deploys`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dagster_project.sources import csv_rows, json_objects
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.json_objects import Entity, array, check_clock, identifier
from dagster_project.sources.reading import ByteStream, head
from dagster_project.warehouse.landing import Batch

NAMES = frozenset(
    {"deploy_id", "service", "version", "previous_version", "deployed_at", "commit", "environment", "status"}
)


def _columns(deploy: Mapping[str, Any]) -> dict[str, str]:
    identifier(deploy, "deploy_id")
    identifier(deploy, "service")
    check_clock(deploy, "deployed_at", is_required=True)
    return {}


_ENTITY = Entity(objects=array, columns=_columns, known=NAMES)


def _batches(stream: ByteStream, _options: ReadOptions) -> Iterator[Batch]:
    if not _is_csv(head(stream.path)):
        yield from json_objects.batches(stream, _ENTITY)
        return
    for rows in csv_rows.rows(stream):
        yield Batch(refusals=rows.refusals, unknown_fields=rows.unknown)
        # A deploy list has thousands of rows, not millions: the checks of the JSON form serve here too.
        sent = ({name: value or None for name, value in row.items()} for row in rows.row.to_pylist())
        yield json_objects.batch(
            ((line, 1, row) for line, row in zip(rows.line.to_pylist(), sent, strict=True)), _ENTITY
        )


def _is_csv(start: bytes) -> bool:
    return {"service", "deployed_at"} <= set(csv_rows.header(start))


def _recognises(start: bytes) -> bool:
    return _is_csv(start) or (start.lstrip().startswith(b"[") and b'"deployed_at"' in start)


FORMAT = Format(
    name="deploys",
    table="raw.deploys",
    happened_at="try_cast(payload ->> 'deployed_at' as timestamptz)",
    recognises=_recognises,
    batches=_batches,
    name_patterns=("deploys*.json*", "deploys*.csv*"),
)
