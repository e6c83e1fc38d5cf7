"""GitHub's deployments and their statuses (REST), as rows of `raw.deploys`. Who created them is left out.

`GET /repos/{owner}/{repo}/deployments`, and `GET …/deployments/{id}/statuses` in files of their own or as `statuses`
inside a deployment. Which status counts is staging's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dagster_project.sources.decoding import json_objects
from dagster_project.sources.decoding.json_objects import Entity, as_json, check_clock, identifier, listed_or_single
from dagster_project.sources.decoding.reading import ByteStream
from dagster_project.sources.format import Format, ReadOptions
from dagster_project.sources.otlp.otlp_values import Malformed
from dagster_project.warehouse.batches import Batch
from dagster_project.warehouse.quarantine import Reason

_DEPLOYMENT = re.compile(r"/deployments/\d{1,20}(?:/|$)")
_REPOSITORY = re.compile(r"/repos/[^/\s]{1,100}/[^/\s]{1,100}")
_PEOPLE = ("creator", "performed_via_github_app")


def _is_status(value: Mapping[str, Any]) -> bool:
    return "deployment_url" in value


def _columns(value: Mapping[str, Any], options: ReadOptions) -> dict[str, str]:
    identifier(value, "id")
    check_clock(value, "created_at", is_required=True)
    kept = _without_people(value)
    if _is_status(value):
        identifier(value, "state")
        _check_names(value, "deployment_url", _DEPLOYMENT)
        return {"system": "github_deployment_statuses", "payload": as_json(kept)}
    identifier(value, "sha")
    statuses = value.get("statuses")
    if statuses is not None:
        if not (isinstance(statuses, list) and all(isinstance(status, dict) for status in statuses)):
            raise Malformed("statuses is no list of objects", Reason.STRUCTURE)
        kept["statuses"] = [_without_people(status) for status in statuses]
    if options.service_name is not None:
        kept["service"] = options.service_name
    else:
        _check_names(value, "url", _REPOSITORY)
    return {"system": "github_deployments", "payload": as_json(kept)}


def _check_names(value: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> None:
    found = value.get(name)
    if not (isinstance(found, str) and pattern.search(found)):
        raise Malformed(f"{name} is {found!r:.80}, no address of GitHub's API", Reason.FIELD_MALFORMED)


def _without_people(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in value.items() if name not in _PEOPLE}


_OBJECTS = listed_or_single("deployments", "statuses", is_single=lambda value: "sha" in value or _is_status(value))


def _batches(stream: ByteStream, options: ReadOptions) -> Iterator[Batch]:
    # GitHub adds fields as it likes: they are kept, and not named in the ledger.
    entity = Entity(objects=_OBJECTS, columns=lambda value: _columns(value, options), arrays=("deployments",))
    return json_objects.batches(stream, entity)


def _recognises(start: bytes) -> bool:
    is_deployment = b'"statuses_url"' in start and b'"task"' in start and b'"sha"' in start
    return start.lstrip().startswith((b"[", b"{")) and (is_deployment or b'"deployment_url"' in start)


FORMAT = Format(
    name="github_deployments",
    table="raw.deploys",
    happened_at="try_cast(payload ->> 'created_at' as timestamptz) at time zone 'UTC'",
    recognises=_recognises,
    batches=_batches,
    uses=frozenset({"service_name"}),
)
