"""Changes of configuration as a JSON array, JSON lines or CSV, as rows of `raw.changes`.

`{key, service, changed_at, from, to, environment}`. Values that look like secrets, by key or by themselves, are stored
nowhere: neither in a table nor in quarantine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from dagster_project.sources.changes.change_lists import USES, ChangeList, content_id, without_refused_values
from dagster_project.sources.changes.secret_values import without_secrets
from dagster_project.sources.decoding.json_objects import as_json, check_clock, identifier
from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.warehouse.batches import Batch

_PLAIN = ("change_id", "key", "service", "changed_at", "environment")
_VALUES = ("from", "to")


def _stored(change: Mapping[str, Any]) -> dict[str, Any]:
    key = str(change.get("key"))
    plain = {name: without_secrets(change[name]) for name in _PLAIN if name in change}
    return plain | {name: without_secrets(change[name], key) for name in _VALUES if name in change}


def _columns(change: Mapping[str, Any]) -> dict[str, str]:
    key = identifier(change, "key")
    check_clock(change, "changed_at", is_required=True)
    stored = _stored(change)
    change_id = (
        identifier(change, "change_id")
        if change.get("change_id") is not None
        # Of what is stored: a hash of a secret would let it be guessed.
        else content_id(key, change.get("service"), change.get("environment"), change["changed_at"], stored)
    )
    return {"system": "configuration", "change_id": change_id, "payload": as_json(stored)}


_LIST = ChangeList(
    frozenset({*_PLAIN, *_VALUES, "changed_by"}),
    "changed_at",
    _columns,
    frozenset({"key", "changed_at"}),
)


def _batches(stream: ByteStream, options: ReadOptions) -> Iterator[Batch]:
    return without_refused_values(_LIST.batches(stream, options), _shown)


def _shown(raw: str) -> str | None:
    """A refused record as it would have been stored; text that is no record is not shown at all."""
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return as_json(_stored(found)) if isinstance(found, dict) else None


def _recognises(start: bytes) -> bool:
    is_json = start.lstrip().startswith((b"[", b"{")) and all(
        name in start for name in (b'"key"', b'"changed_at"', b'"to"')
    )
    return (is_json and b'"flag"' not in start) or _LIST.is_csv(start)


FORMAT = Format(
    name="configuration_changes",
    table="raw.changes",
    happened_at="try_cast(payload ->> 'changed_at' as timestamptz) at time zone 'UTC'",
    recognises=_recognises,
    batches=_batches,
    name_patterns=("configuration_changes*",),
    uses=USES,
    fields=_LIST.names,
    filled_from={"change_id": ("key", "service", "environment")},
)
