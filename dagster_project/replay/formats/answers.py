"""A replay as plain values for JSON: the violations, the four answers, what they rest on. Times are ISO 8601 in UTC."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from dagster_project.replay.certificate import Certificate, rests_on
from dagster_project.replay.formats.cells import iso, iso_sql
from dagster_project.replay.found import Investigation
from dagster_project.replay.query import Comparison, Replay, share_violated
from dagster_project.replay.window import Window

MOST_INCONCLUSIVE = 1_000
_AT_ONCE = 2_000
# An affected scope with what the rule reports of it: under a name of its own, for a rule may report under any name.
_AFFECTED = f"""
    to_json({{
        scope_key: scope_key, reported: reported::json,
        first_span_at: {iso_sql("first_span_at")}, last_span_at: {iso_sql("last_span_at")},
        services: service_names, versions: service_versions, trace_ids: trace_ids, witness: witness,
        reason: reason, violation_id: violation_id
    }})::varchar
"""


def json_parts(replay: Replay) -> Iterator[str]:
    """The answer as JSON, piece by piece: every violation on a line of its own, however many there are.

    The four answers are there when they were asked for. Of the scopes that cannot be judged the earliest
    `MOST_INCONCLUSIVE` are listed; the certificate counts them all.
    """
    lists = {"affected": replay.violations, "inconclusive": replay.inconclusive.slice(0, MOST_INCONCLUSIVE)}
    before = "{\n"
    for name, value in _told(replay).items():
        yield f"{before}  {json.dumps(name)}: "
        if name in lists:
            yield from _listed(lists[name])
        else:
            yield json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\n  ")
        before = ",\n"
    yield "\n}\n"


def _listed(scopes: pa.Table) -> Iterator[str]:
    if not scopes.num_rows:
        yield "[]"
        return
    with duckdb.connect() as engine:
        engine.register("scopes", scopes)
        found = engine.execute(f"select {_AFFECTED} from scopes")  # noqa: S608
        before = "[\n    "
        while part := found.fetchmany(_AT_ONCE):
            yield before + ",\n    ".join(text for (text,) in part)
            before = ",\n    "
    yield "\n  ]"


def _told(replay: Replay) -> dict[str, Any]:
    """Everything of the answer but the two lists, which have their places in it."""
    told: dict[str, Any] = {
        "rule": replay.rule.id,
        "title": replay.rule.title,
        "severity": replay.rule.severity,
        "violations": replay.certificate.violated,
        "first_violation": iso(replay.first_violation_at),
        "last_violation": iso(replay.last_violation_at),
        "affected": [],
        "inconclusive": [],
        "confidence": replay.confidence,
        "confidence_rests_on": rests_on(replay.certificate),
    }
    if replay.investigation is not None:
        told |= _four_answers(replay.investigation)
    if replay.comparisons:
        told.setdefault("correlation", {})["comparisons"] = [_comparison(one) for one in replay.comparisons]
    return {**told, "certificate": certificate_json(replay.certificate)}


def certificate_json(certificate: Certificate) -> dict[str, Any]:
    """The certificate with plain values."""
    told: dict[str, Any] = plain(certificate)
    told["window_asked"] = [iso(certificate.window_asked.start), iso(certificate.window_asked.end)]
    told["is_exhaustive_of_what_was_received"] = certificate.is_exhaustive
    return told


def plain(value: Any) -> Any:
    """Dataclasses as objects, times as texts, seconds to the millisecond."""
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, Window):
        return [iso(value.start), iso(value.end)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(one) for one in value]
    return round(value, 3) if isinstance(value, float) and abs(value) >= 0.01 else value


def _four_answers(found: Investigation) -> dict[str, Any]:
    return {
        "scope": {"reported": plain(found.reported)},
        "timeline": plain(found.timeline),
        "blast_radius": plain(found.blast_radius),
        "correlation": {"incidents": plain(found.incidents), "outside_incidents": found.outside_incidents},
    }


def _comparison(one: Comparison) -> dict[str, Any]:
    return {
        "with": one.label,
        "window": plain(one.certificate.window_asked),
        "violations": one.certificate.violated,
        "share_of_judged": share_violated(one.certificate),
        "first_violation": iso(one.first_violation_at),
        "last_violation": iso(one.last_violation_at),
        "certificate": certificate_json(one.certificate),
    }
