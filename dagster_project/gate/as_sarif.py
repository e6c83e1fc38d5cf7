"""The answer of a gate as SARIF 2.1.0: a result a finding, at the line of the rule, with its fingerprint."""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import quote

from dagster_project import __version__
from dagster_project.gate.outcome import Outcome, Reviewed
from dagster_project.gate.selection import line_of
from dagster_project.gate.sentences import evidence, headline, is_failing, remarks, why_broken
from dagster_project.rule_language import Rule
from dagster_project.wording import revealed

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS: Final = {"critical": "error", "high": "error", "medium": "warning", "low": "note"}
# What readers of results sort by; out of ten, as for weaknesses.
RANKS: Final = {"critical": 95.0, "high": 75.0, "medium": 50.0, "low": 25.0}
FINGERPRINT: Final = "hindcastFinding/v1"
# The one that code scanning of GitHub goes by; without it, all findings of a rule would be one.
GITHUB_FINGERPRINT: Final = "primaryLocationLineHash"


def render(outcome: Outcome) -> str:
    """One log with one run."""
    rules = [judged.rule for judged in outcome.judged]
    places = {rule.id: number for number, rule in enumerate(rules)}
    driver = {
        "name": "hindcast",
        "semanticVersion": _semantic(__version__),
        "rules": [_descriptor(rule) for rule in rules],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [_invocation(outcome)],
        "columnKind": "unicodeCodePoints",
        "results": [_result(one, places[one.finding.rule.id]) for one in outcome.reviewed],
    }
    # As ASCII: halves of surrogates in what was sent are no UTF-8.
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _descriptor(rule: Rule) -> dict[str, Any]:
    expressions = "\n".join(f"{name}: {text}" for name, text in rule.expressions.items())
    description = rule.description or rule.title
    described: dict[str, Any] = {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": description},
        "help": {
            "text": f"{description}\n\n{expressions}\n\nOwner: {rule.owner}",
            "markdown": f"{description}\n\n```yaml\n{expressions}\n```\n\nOwner: {rule.owner}",
        },
        "defaultConfiguration": {"level": LEVELS[rule.severity], "rank": RANKS[rule.severity]},
        "properties": {"tags": sorted({rule.domain, *rule.controls}), "severity": rule.severity, "status": rule.status},
    }
    if rule.references and rule.references[0].startswith(("https://", "http://")):
        described["helpUri"] = quote(rule.references[0], safe=":/?#[]@!$&'()*+,;=%~")
    return described


def _result(one: Reviewed, rule_index: int) -> dict[str, Any]:
    finding = one.finding
    # A result that is open or in review has no level.
    is_open = finding.verdict == "inconclusive" and not is_failing(one)
    level = "none" if is_open else LEVELS[finding.rule.severity] if one.state != "shown" else "note"
    lines = [
        f"{finding.rule.title}: {headline(one)}.",
        *(evidence(sample) for sample in finding.samples[:3]),
        one.remark,
    ]
    result: dict[str, Any] = {
        "ruleId": finding.rule.id,
        "ruleIndex": rule_index,
        "kind": "open" if is_open else "fail",
        "level": level,
        "message": {"text": _plain("\n".join(line for line in lines if line))},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": _artifact(finding.rule.path),
                    "region": {"startLine": line_of(finding.rule)},
                },
                "logicalLocations": [{"fullyQualifiedName": name, "kind": "function"} for name in finding.place[:10]],
            }
        ],
        "partialFingerprints": {FINGERPRINT: finding.fingerprint, GITHUB_FINGERPRINT: f"{finding.fingerprint}:1"},
        "occurrenceCount": finding.scopes,
        "baselineState": "unchanged" if one.state == "known" else "new",
        "properties": {"verdict": finding.verdict, "state": one.state, "traces": _traces(one)},
    }
    if one.state == "known":
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": one.remark}]
    return result


def _plain(text: str) -> str:
    """A message of SARIF that reads as the text: braces are placeholders in it, `[a](b)` is a link (3.11.5, 3.11.6)."""
    shown = revealed(text).replace("{", "{{").replace("}", "}}")
    return re.sub(r"([\\\[\]])", r"\\\1", shown) if "](" in shown else shown


def _traces(one: Reviewed) -> list[str]:
    return [trace for sample in one.finding.samples for trace in sample.trace_ids[:1]]


def _invocation(outcome: Outcome) -> dict[str, Any]:
    notes: list[dict[str, Any]] = [{"level": "note", "message": {"text": _plain(text)}} for text in remarks(outcome)]
    notes += [
        {
            "level": "error",
            "message": {"text": _plain(why_broken(one))},
            "associatedRule": {"id": one.rule.id},
        }
        for one in outcome.broken
    ]
    return {
        "executionSuccessful": not outcome.broken,
        "exitCode": int(outcome.exit_code),
        "toolExecutionNotifications": notes,
    }


def _artifact(path: str) -> dict[str, str]:
    if PurePosixPath(path).is_absolute():
        return {"uri": f"file://{quote(path)}"}
    return {"uri": quote(path), "uriBaseId": "%SRCROOT%"}


def _semantic(version: str) -> str:
    """The version without what only Python's versions have."""
    numbers = version.split("+", maxsplit=1)[0].split(".")[:3]
    return ".".join([*(number for number in numbers if number.isdigit()), "0", "0", "0"][:3])
