"""The answer of a gate as JSON: everything, for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from dagster_project import __version__
from dagster_project.gate.findings import Judged
from dagster_project.gate.outcome import Outcome, Reviewed
from dagster_project.gate.selection import line_of
from dagster_project.gate.sentences import remarks, summary


def render(outcome: Outcome) -> str:
    """One object."""
    telemetry = asdict(outcome.telemetry) | {"records_refused": outcome.telemetry.records_refused}
    document = {
        "version": 1,
        "hindcast": __version__,
        "exit_code": int(outcome.exit_code),
        "summary": summary(outcome),
        "telemetry": telemetry,
        "rules": [_rule(judged) for judged in outcome.judged],
        "findings": [_finding(one) for one in outcome.reviewed],
        "stale": [asdict(entry) for entry in outcome.stale],
        "remarks": list(remarks(outcome)),
    }
    return json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n"


def _rule(judged: Judged) -> dict[str, Any]:
    rule, counts = judged.rule, judged.counts
    said = {
        "id": rule.id, "title": rule.title, "severity": rule.severity, "status": rule.status, "owner": rule.owner,
        "file": rule.path, "line": line_of(rule), "meaning_hash": rule.meaning_hash, "error": judged.error or None,
        "unasked": judged.unasked or None,
    }  # fmt: skip
    return said | {"seconds": round(judged.seconds, 4)} | (asdict(counts) if counts is not None else {})


def _finding(one: Reviewed) -> dict[str, Any]:
    finding = one.finding
    return {
        "rule": finding.rule.id,
        "verdict": finding.verdict,
        "state": one.state,
        "fingerprint": finding.fingerprint,
        "place": finding.place,
        "key": finding.key or None,
        "scopes": finding.scopes,
        "remark": one.remark or None,
        "samples": [asdict(sample) for sample in finding.samples],
    }
