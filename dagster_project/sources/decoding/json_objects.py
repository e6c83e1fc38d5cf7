"""Small entities that arrive as JSON objects: each is kept as it was sent, under its id.

A document may be an array of them, an object with a list of them, one of them, or one a line; none is held whole, save
one that is no list. What an entity's id is and which clocks it must have, its own module says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import pyarrow as pa

from dagster_project.sources.decoding.elements import Elements
from dagster_project.sources.decoding.reading import Block, ByteStream, blocks, document, head
from dagster_project.sources.otlp.otlp_checks import EARLIEST, LATEST
from dagster_project.sources.otlp.otlp_salvage import raw_text
from dagster_project.sources.otlp.otlp_values import Malformed
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

OBJECTS_A_BATCH = 10_000

Placed = tuple[int, int, object]  # line, record, value


@dataclass(frozen=True)
class Entity:
    """How one kind of entity is read.

    Parameters
    ----------
    objects
        From a decoded document to its objects, for one that is not read element by element; raises `Malformed` when
        the document is another one.
    columns
        From an object to the target's columns without origin; the payload is the object as sent, unless they have
        another one. Raises `Malformed`.
    known
        The names of fields that Hindcast has a use for: others are kept in the payload and named in the ledger. None
        for a format that adds fields as it likes.
    arrays
        The keys of a document under which lists of such objects stand; they are read in bounded memory.
    """

    objects: Callable[[object], Sequence[object]]
    columns: Callable[[Mapping[str, Any]], dict[str, str]]
    known: frozenset[str] | None = None
    arrays: tuple[str, ...] = ()


def batches(stream: ByteStream, entity: Entity) -> Iterator[Batch]:
    """Decode a file.

    `line` is the number of the object in its document; of documents that stand one a line it is the line, and `record`
    the object's position in it.
    """
    start = head(stream.path)
    if _is_one_a_line(start, entity):
        yield from _from_lines(stream, entity)
    elif start.lstrip().startswith(b"[") or has_array(start, entity.arrays):
        yield from _from_elements(stream, entity)
    else:
        yield from _from_document(stream, entity)


def has_array(start: bytes, names: Iterable[str]) -> bool:
    """Whether one of the names has a list, as far as the first bytes of a file tell."""
    listed = b"|".join(re.escape(name).encode() for name in names)
    return bool(listed) and re.search(rb'"(?:' + listed + rb')"\s{0,99}:\s{0,99}\[', start) is not None


LINES_ASKED = 20  # of a file whose first line is damaged


def _is_one_a_line(start: bytes, entity: Entity) -> bool:
    """Several documents, one a line; or one line that is too long to tell, of which no list is known."""
    first, newline, rest = start.lstrip().partition(b"\n")
    if not newline:
        return first.startswith(b"{") and not has_array(start, entity.arrays)
    if first.startswith(b"{") and _is_object(first):
        return bool(rest.strip())
    # One damaged line must not take the others with it. Of a document with indents most lines are no objects.
    following = [line for line in rest.split(b"\n")[:-1] if line.strip()][:LINES_ASKED]
    whole = sum(line.lstrip().startswith(b"{") and _is_object(line) for line in following)
    return whole > 1 and 2 * whole > len(following)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _from_lines(stream: ByteStream, entity: Entity) -> Iterator[Batch]:
    for block in blocks(stream):
        if isinstance(block, Refusal):
            yield Batch(refusals=[block])
            continue
        refusals: list[Refusal] = []
        placed: list[Placed] = []
        for line, text in block.lines():
            if not text.strip():
                continue
            try:
                found = entity.objects(orjson.loads(text))
            except orjson.JSONDecodeError as error:
                refusals.append(Refusal(line, None, Reason.NOT_JSON, str(error), clipped(text)))
            except Malformed as error:
                refusals.append(Refusal(line, None, error.reason, str(error), clipped(text)))
            else:
                placed.extend((line, record, value) for record, value in enumerate(found, 1))
        yield Batch(refusals=refusals, lines=block)
        yield from _in_batches(placed, entity, block)


def _from_elements(stream: ByteStream, entity: Entity) -> Iterator[Batch]:
    elements = Elements(stream, or_at=[(name,) for name in entity.arrays])
    is_empty = True
    for block in elements:
        is_empty = False
        if isinstance(block, Refusal):
            yield Batch(refusals=[block])
            continue
        refusals: list[Refusal] = []
        yield from _in_batches(_decoded(block, refusals), entity, block)
        yield Batch(refusals=refusals, lines=block)
    envelope = elements.envelope
    has_list = isinstance(envelope, dict) and any(isinstance(envelope.get(name), list) for name in entity.arrays)
    if is_empty and not has_list and envelope is not None:
        yield from _from_value(envelope, entity, raw_text(envelope))


def _decoded(block: Block, refusals: list[Refusal]) -> Iterator[Placed]:
    for line, text in block.lines():
        try:
            yield line, 1, orjson.loads(text)
        except orjson.JSONDecodeError as error:
            refusals.append(Refusal(line, None, Reason.NOT_JSON, str(error), clipped(text)))


def _from_document(stream: ByteStream, entity: Entity) -> Iterator[Batch]:
    content = document(stream)
    if isinstance(content, Refusal):
        yield Batch(refusals=[content])
        return
    if not content.strip():
        return
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        yield Batch(refusals=[Refusal(1, None, Reason.NOT_JSON, str(error), clipped(content))])
    else:
        yield from _from_value(value, entity, clipped(content))


def _from_value(value: object, entity: Entity, raw: str | None) -> Iterator[Batch]:
    try:
        found = entity.objects(value)
    except Malformed as error:
        yield Batch(refusals=[Refusal(1, None, error.reason, str(error), raw)])
    else:
        yield from _in_batches(((line, 1, each) for line, each in enumerate(found, 1)), entity)


def _in_batches(placed: Iterable[Placed], entity: Entity, lines: Block | None = None) -> Iterator[Batch]:
    some: list[Placed] = []
    for each in placed:
        some.append(each)
        if len(some) == OBJECTS_A_BATCH:
            yield batch(iter(some), entity, lines)
            some = []
    if some:
        yield batch(iter(some), entity, lines)


def batch(objects: Iterator[Placed], entity: Entity, lines: Block | None = None) -> Batch:
    """One batch of (line, record, object), and the lines that they came from, where they have any."""
    rows: list[dict[str, object]] = []
    refusals: list[Refusal] = []
    unknown: set[str] = set()
    for line, record, value in objects:
        try:
            if not isinstance(value, dict):
                raise Malformed(f"a {type(value).__name__}, not an object", Reason.STRUCTURE)
            columns = entity.columns(value)
            payload = {} if "payload" in columns else {"payload": as_json(value)}
        except Malformed as error:
            refusals.append(Refusal(line, record, error.reason, str(error), raw_text(value)))
            continue
        unknown |= value.keys() - entity.known if entity.known is not None else set()
        rows.append({"line": line, "record": record, **columns, **payload})
    if not rows:
        return Batch(refusals=refusals, lines=lines)
    select = "select *, null::varchar as reason, null::varchar as detail from json_objects"
    tables = {"json_objects": pa.Table.from_pylist(rows)}
    return Batch(len(rows), tables, select, refusals, frozenset(unknown), lines=lines)


def as_json(value: object) -> str:
    """A decoded value as text again.

    Raises
    ------
    Malformed
        It is nested too deeply.
    """
    try:
        return orjson.dumps(value).decode()
    except (TypeError, RecursionError) as error:
        raise Malformed(f"cannot be kept as JSON: {error}", Reason.STRUCTURE) from error


def array(value: object) -> Sequence[object]:
    """The document itself, when it is an array."""
    if isinstance(value, list):
        return value
    raise Malformed(f"the document is {type(value).__name__}, not an array", Reason.OTHER_FORMAT)


def listed_or_single(*arrays: str, is_single: Callable[[dict[str, Any]], bool]) -> Callable[[object], Sequence[object]]:
    """`Entity.objects` for documents that are an array, an object with a list under one of the names, or one object."""

    def objects(value: object) -> Sequence[object]:
        if isinstance(value, list):
            return value
        if isinstance(value, dict):
            for name in arrays:
                if isinstance(found := value.get(name), list):
                    return found
            if is_single(value):
                return [value]
        raise Malformed(f"has no list under {' or '.join(arrays)}, and is no such object", Reason.OTHER_FORMAT)

    return objects


def identifier(value: Mapping[str, Any], name: str) -> str:
    """A non-empty id; a number is taken as its digits."""
    found = value.get(name)
    if isinstance(found, int) and not isinstance(found, bool):
        return str(found)
    if isinstance(found, str) and found.strip():
        return found
    raise Malformed(f"{name} is {found!r:.80}", Reason.ID_MISSING)


def nested(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object under a name.

    Raises
    ------
    Malformed
        There is none.
    """
    found = value.get(name)
    if isinstance(found, dict):
        return found
    raise Malformed(f"{name} is {found!r:.80}, not an object", Reason.STRUCTURE)


_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII)


def check_clock(value: Mapping[str, Any], name: str, *, is_required: bool = False) -> None:
    """Refuse an object whose clock is no ISO 8601 time between 2000 and 2100; a time without a zone is UTC.

    Whether clocks contradict each other is not looked at: staging keeps such entities and flags them.
    """
    if value.get(name) is not None or is_required:
        clock(value, name)


def clock(value: Mapping[str, Any], name: str) -> datetime:
    """The time under a name, with its zone; raises `Malformed` as `check_clock` does, and when there is none."""
    found = value.get(name)
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
    return at
