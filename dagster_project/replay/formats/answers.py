"""A replay as plain values for JSON: the violations, the four answers, what they rest on. Times are ISO 8601 in UTC."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from dagster_project.replay.certificate import Certificate, rests_on
from dagster_project.replay.formats.cells import iso
from dagster_project.replay.investigation import Investigation
from dagster_project.replay.query import Comparison, Replay, share_violated
from dagster_project.replay.window import Window


def as_json(replay: Replay) -> dict[str, Any]:
    """The violations with all their values, the four answers when they were asked for, and what the answer rests on."""
    told: dict[str, Any] = {
        "rule": replay.rule.id,
        "title": replay.rule.title,
        "severity": replay.rule.severity,
        "violations": replay.certificate.violated,
        "first_violation": iso(replay.first_violation_at),
        "last_violation": iso(replay.last_violation_at),
        "affected": [affected(row) for row in replay.violations.to_pylist()],
        "inconclusive": [affected(row) for row in replay.inconclusive.to_pylist()],
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


def affected(row: Mapping[str, Any]) -> dict[str, Any]:
    """One violated scope with what the rule reports of it."""
    return {
        "scope_key": row["scope_key"],
        **json.loads(row["reported"]),
        "first_span_at": iso(row["first_span_at"]),
        "last_span_at": iso(row["last_span_at"]),
        "services": row["service_names"],
        "versions": row["service_versions"],
        "trace_ids": row["trace_ids"],
        "witness": row["witness"],
        "reason": row["reason"],
        "violation_id": row["violation_id"],
    }


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
