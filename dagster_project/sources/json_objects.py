"""Small entities that arrive as a JSON document of objects: each is kept as it was sent, under its id.

What an entity's id is and which clocks it must have, its own module says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import pyarrow as pa

from dagster_project.sources.otlp_checks import EARLIEST, LATEST
from dagster_project.sources.otlp_salvage import raw_text
from dagster_project.sources.otlp_values import Malformed
from dagster_project.sources.reading import ByteStream, document
from dagster_project.warehouse.landing import Batch
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

OBJECTS_A_BATCH = 10_000


@dataclass(frozen=True)
class Entity:
    """How one kind of entity is read.

    Parameters
    ----------
    objects
        From the decoded document to its objects; raises `Malformed` when the document is another one.
    columns
        From an object to the target's columns without origin and payload; raises `Malformed`.
    known
        The names of fields that Hindcast has a use for: others are kept in the payload and named in the ledger. None
        for a format that adds fields as it likes.
    """

    objects: Callable[[object], Sequence[object]]
    columns: Callable[[Mapping[str, Any]], dict[str, str]]
    known: frozenset[str] | None = None


def batches(stream: ByteStream, entity: Entity) -> Iterator[Batch]:
    """Decode a document; `line` is 1 throughout, `record` the position of the object."""
    content = document(stream)
    if isinstance(content, Refusal):
        yield Batch(refusals=[content])
        return
    if not content.strip():
        return
    try:
        objects = entity.objects(orjson.loads(content))
    except orjson.JSONDecodeError as error:
        yield Batch(refusals=[Refusal(1, None, Reason.NOT_JSON, str(error), clipped(content))])
        return
    except Malformed as error:
        yield Batch(refusals=[Refusal(1, None, error.reason, str(error), clipped(content))])
        return
    for start in range(0, len(objects), OBJECTS_A_BATCH):
        yield batch(
            ((1, start + n, value) for n, value in enumerate(objects[start : start + OBJECTS_A_BATCH], 1)), entity
        )


def batch(objects: Iterator[tuple[int, int, object]], entity: Entity) -> Batch:
    """One batch of (line, record, object)."""
    rows: list[dict[str, object]] = []
    refusals: list[Refusal] = []
    unknown: set[str] = set()
    for line, record, value in objects:
        try:
            if not isinstance(value, dict):
                raise Malformed(f"a {type(value).__name__}, not an object", Reason.STRUCTURE)
            columns = entity.columns(value)
            payload = _payload(value)
        except Malformed as error:
            refusals.append(Refusal(line, record, error.reason, str(error), raw_text(value)))
            continue
        unknown |= value.keys() - entity.known if entity.known is not None else set()
        rows.append({"line": line, "record": record, **columns, "payload": payload})
    if not rows:
        return Batch(refusals=refusals)
    select = "select *, null::varchar as reason, null::varchar as detail from json_objects"
    return Batch(len(rows), {"json_objects": pa.Table.from_pylist(rows)}, select, refusals, frozenset(unknown))


def _payload(value: dict[str, Any]) -> str:
    try:
        return orjson.dumps(value).decode()
    except (TypeError, RecursionError) as error:
        raise Malformed(f"cannot be kept as JSON: {error}", Reason.STRUCTURE) from error


def array(value: object) -> Sequence[object]:
    """The document itself, when it is an array."""
    if isinstance(value, list):
        return value
    raise Malformed(f"the document is {type(value).__name__}, not an array", Reason.OTHER_FORMAT)


def identifier(value: Mapping[str, Any], name: str) -> str:
    """A non-empty id; a number is taken as its digits."""
    found = value.get(name)
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    if isinstance(found, str) and found.strip():
        return found
    raise Malformed(f"{name} is {found!r:.80}", Reason.ID_MISSING)


_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d(?::?\d\d)?)?)?")


def check_clock(value: Mapping[str, Any], name: str, *, is_required: bool = False) -> None:
    """Refuse an object whose clock is no ISO 8601 time between 2000 and 2100; a time without a zone is UTC.

    Whether clocks contradict each other is not looked at: staging keeps such entities and flags them.
    """
    found = value.get(name)
    if found is None and not is_required:
        return
    if found is None or found == "":
        raise Malformed(f"{name} is {found!r}", Reason.TIME_MISSING)
    try:
        # Python reads more kinds of ISO 8601 than the engine casts: only those that both read are times here.
        at = datetime.fromisoformat(found if _TIME.fullmatch(found) else "")
    except (TypeError, ValueError):
        raise Malformed(
            f"{name} is {found!r:.80}, not a time such as 2023-01-29T08:44:04Z", Reason.TIME_MALFORMED
        ) from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if not EARLIEST <= at < LATEST:
        raise Malformed(f"{name} is {found}", Reason.TIME_OUT_OF_RANGE)
