"""Commits that set the image tag of a service, as CSV, a row a commit, as rows of `raw.deploys`.

`app,commit,unix_ts,prev_tag,tag`, or `app,commit,unix_ts,from_tag,to_tag,subject` for a list of rollbacks: what teams
whose deploys are commits to a repository of charts get out of its log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dagster_project.sources.changes.change_lists import csv_batches
from dagster_project.sources.decoding import csv_rows
from dagster_project.sources.decoding.json_objects import Entity, identifier
from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.otlp.otlp_checks import EARLIEST, LATEST
from dagster_project.sources.otlp.otlp_values import Malformed
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason

_FIRST, _UNTIL = int(EARLIEST.timestamp()), int(LATEST.timestamp())


def _columns(bump: Mapping[str, Any]) -> dict[str, str]:
    identifier(bump, "app")
    is_rollback = "to_tag" in bump
    identifier(bump, "to_tag" if is_rollback else "tag")
    _check_seconds(bump)
    return {"system": "image_tag_rollbacks" if is_rollback else "image_tag_bumps"}


def _check_seconds(bump: Mapping[str, Any]) -> None:
    found = bump.get("unix_ts")
    if found is None:
        raise Malformed("unix_ts is empty", Reason.TIME_MISSING)
    if not (found.isascii() and found.isdigit() and len(found) <= 18):
        raise Malformed(f"unix_ts is {found!r:.80}, not seconds since 1970", Reason.TIME_MALFORMED)
    if not _FIRST <= int(found) < _UNTIL:
        raise Malformed(f"unix_ts is {found}", Reason.TIME_OUT_OF_RANGE)


_BUMP = {"app", "commit", "unix_ts", "prev_tag", "tag"}
_ROLLBACK = {"app", "commit", "unix_ts", "from_tag", "to_tag"}
_ENTITY = Entity(objects=lambda _: [], columns=_columns, known=frozenset(_BUMP | _ROLLBACK | {"subject"}))


def _batches(stream: ByteStream, _options: ReadOptions) -> Iterator[Batch]:
    return csv_batches(stream, _ENTITY)


def _recognises(start: bytes) -> bool:
    names = set(csv_rows.header(start))
    return names >= _BUMP or names >= _ROLLBACK


FORMAT = Format(
    name="image_tag_bumps",
    table="raw.deploys",
    happened_at="make_timestamp(try_cast(payload ->> 'unix_ts' as bigint) * 1000000)",
    recognises=_recognises,
    batches=_batches,
)
