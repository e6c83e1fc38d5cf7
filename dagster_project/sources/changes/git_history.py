"""Commits and tags of git repositories as `extraction/git_repository.py` exports them, as rows of `raw.changes`.

One JSON object a line. The lines that say what an export reached are for the next export, and no records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson

from dagster_project.sources.decoding import json_objects
from dagster_project.sources.decoding.json_objects import Entity, Placed, check_clock, identifier
from dagster_project.sources.decoding.reading import Block, ByteStream, blocks
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.otlp.otlp_values import Malformed
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def _columns(change: Mapping[str, Any]) -> dict[str, str]:
    kind = change.get("type")
    if kind not in ("commit", "tag"):
        raise Malformed(f"type is {kind!r:.80}, neither commit nor tag", Reason.ENUM_UNKNOWN)
    repository = identifier(change, "repository")
    sha = identifier(change, "sha")
    if not _SHA.fullmatch(sha):
        raise Malformed(f"sha is {sha!r:.80}, not 40 or 64 hexadecimal digits", Reason.FIELD_MALFORMED)
    if kind == "tag":
        check_clock(change, "tagged_at")
        return {"system": "git_tag", "change_id": f"{repository}@{identifier(change, 'name')}"}
    check_clock(change, "committed_at", is_required=True)
    _check_lists(change)
    return {"system": "git_commit", "change_id": f"{repository}@{sha}"}


def _check_lists(commit: Mapping[str, Any]) -> None:
    for name, kind in (("parents", str), ("reverts", str), ("files", dict)):
        found = commit.get(name)
        if found is not None and not (isinstance(found, list) and all(isinstance(each, kind) for each in found)):
            raise Malformed(f"{name} is no list of {kind.__name__}", Reason.STRUCTURE)


_ENTITY = Entity(objects=lambda value: [value], columns=_columns)


def _batches(stream: ByteStream, _options: ReadOptions) -> Iterator[Batch]:
    """Always line by line: a damaged first line must not make a document of the others."""
    for block in blocks(stream):
        if isinstance(block, Refusal):
            yield Batch(refusals=[block])
            continue
        refusals: list[Refusal] = []
        batch = json_objects.batch(_placed(block, refusals), _ENTITY)
        yield replace(batch, refusals=[*refusals, *batch.refusals], lines=block)


def _placed(block: Block, refusals: list[Refusal]) -> Iterator[Placed]:
    for line, text in block.lines():
        if not text.strip():
            continue
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            refusals.append(Refusal(line, None, Reason.NOT_JSON, str(error), clipped(text)))
            continue
        if not (isinstance(value, dict) and value.get("type") == "export"):
            yield line, 1, value


def _recognises(start: bytes) -> bool:
    line = start.split(b"\n", 1)[0]
    return line.startswith(b'{"') and (
        (b'"type":"export"' in line and b'"refs"' in line) or (b'"type":"commit"' in line and b'"parents"' in line)
    )


FORMAT = Format(
    name="git_history",
    table="raw.changes",
    happened_at=(
        "try_cast(coalesce(payload ->> 'committed_at', payload ->> 'tagged_at') as timestamptz) at time zone 'UTC'"
    ),
    recognises=_recognises,
    batches=_batches,
    filled_from={"change_id": ("repository", "name", "sha")},
)
