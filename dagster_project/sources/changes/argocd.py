"""The history of Argo CD applications (`kubectl get applications.argoproj.io -o json`), as rows of `raw.deploys`.

An application with ten entries in `status.history` is ten rows, each with the application's name and place beside the
entry. Annotations are left out, for they repeat the manifest with the secrets it may hold; so is who started a deploy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from dagster_project.sources.decoding import json_objects
from dagster_project.sources.decoding.elements import Elements
from dagster_project.sources.decoding.json_objects import Entity, as_json, check_clock, identifier, nested
from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.otlp.otlp_salvage import raw_text
from dagster_project.sources.otlp.otlp_values import Malformed
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason, Refusal, clipped

_METADATA = ("name", "namespace", "labels")
_SPEC = ("project", "destination")


def _columns(deploy: Mapping[str, Any]) -> dict[str, str]:
    """Of one entry of a history, in the shape that `_deploys` gives it."""
    entry = deploy["entry"]
    if not isinstance(entry, dict):
        raise Malformed(f"an entry of status.history is a {type(entry).__name__}, not an object", Reason.STRUCTURE)
    identifier(entry, "id")
    check_clock(entry, "deployedAt", is_required=True)
    if not isinstance(entry.get("revisions"), list):
        identifier(entry, "revision")
    kept = {name: value for name, value in entry.items() if name != "initiatedBy"}
    return {"system": "argocd", "payload": as_json({**deploy, "entry": kept})}


_ENTITY = Entity(objects=lambda _: [], columns=_columns)


def _deploys(application: object) -> Sequence[dict[str, Any]]:
    if not isinstance(application, dict):
        raise Malformed(f"a {type(application).__name__}, not an application", Reason.STRUCTURE)
    if application.get("kind", "Application") != "Application":
        raise Malformed(f"kind is {application['kind']!r:.80}, not Application", Reason.OTHER_FORMAT)
    metadata = nested(application, "metadata")
    identifier(metadata, "name")
    spec, status = application.get("spec") or {}, application.get("status") or {}
    history = status.get("history") if isinstance(status, dict) else status
    if not isinstance(spec, dict) or not isinstance(history or [], list):
        raise Malformed("spec is no object, or status.history no list", Reason.STRUCTURE)
    above = {
        "metadata": {name: metadata[name] for name in _METADATA if name in metadata},
        "spec": {name: spec[name] for name in _SPEC if name in spec},
    }
    return [{**above, "entry": entry} for entry in history or []]


def _batches(stream: ByteStream, _options: ReadOptions) -> Iterator[Batch]:
    elements = Elements(stream, or_at=[("items",)])
    is_empty = True
    for block in elements:
        is_empty = False
        if isinstance(block, Refusal):
            yield Batch(refusals=[block])
            continue
        for line, text in block.lines():
            yield from _of_text(line, text)
    if is_empty and isinstance(elements.envelope, dict) and "items" not in elements.envelope:
        yield from _of_value(1, elements.envelope)
    elif is_empty and elements.envelope is not None and not isinstance(elements.envelope, (dict, list)):
        refusal = Refusal(1, None, Reason.OTHER_FORMAT, "no application and no list of them", None)
        yield Batch(refusals=[refusal])


def _of_text(line: int, text: bytes) -> Iterator[Batch]:
    try:
        application = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        yield Batch(refusals=[Refusal(line, None, Reason.NOT_JSON, str(error), clipped(text))])
        return
    yield from _of_value(line, application)


def _of_value(line: int, application: object) -> Iterator[Batch]:
    try:
        deploys = _deploys(application)
    except Malformed as error:
        yield Batch(refusals=[Refusal(line, None, error.reason, str(error), _shown(application))])
        return
    yield json_objects.batch(((line, record, deploy) for record, deploy in enumerate(deploys, 1)), _ENTITY)


def _shown(application: object) -> str | None:
    """What quarantine shows of a refused application: not its annotations and sources."""
    if not isinstance(application, dict):
        return raw_text(application)
    metadata = application.get("metadata")
    return raw_text(
        {
            "kind": application.get("kind"),
            "metadata": {name: metadata.get(name) for name in _METADATA} if isinstance(metadata, dict) else metadata,
            "status": application.get("status"),
        }
    )


def _recognises(start: bytes) -> bool:
    # kubectl sorts keys: a long manifest may stand before the history, so that the kind alone has to do.
    return start.lstrip().startswith((b"[", b"{")) and b"argoproj.io/" in start and b'"Application"' in start


FORMAT = Format(
    name="argocd",
    table="raw.deploys",
    happened_at="try_cast(payload -> 'entry' ->> 'deployedAt' as timestamptz) at time zone 'UTC'",
    recognises=_recognises,
    batches=_batches,
)
