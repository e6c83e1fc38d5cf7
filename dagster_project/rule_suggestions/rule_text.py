"""A candidate as the text of a rule file, with test traces that are cut down from real ones.

Of a real trace stays what the rule reads: names and services of the spans in question, their order where it matters,
one attribute. Log records keep their severity and their words without the values of the moment.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Final

import duckdb

from dagster_project.rule_language.writing.rule_writer import rule_yaml
from dagster_project.rule_suggestions.arms import Incident
from dagster_project.rule_suggestions.candidates import MASKED_BODY, Candidate, Kind

MOST_SPANS: Final = 200  # of a test trace: a limit of repetitions beyond it is no readable test
_SPECIAL: Final = re.compile(r"([\\.+*?()|\[\]{}^$])")

Expressions = dict[str, str]


@dataclass(frozen=True)
class Example:
    """A test of a rule, as its file says it."""

    name: str
    verdict: str
    spans: list[dict[str, Any]]
    logs: list[dict[str, Any]]


def expressions(candidate: Candidate) -> Expressions:
    """The clauses of the rule."""
    one, other = _span(candidate.subject), _span(candidate.object)
    limit = candidate.number
    clauses: dict[Kind, Expressions] = {
        "missing": {"when": f"any({one})", "always": f"any({other})"},
        "order": {"when": f"any({one}) and any({other})", "always": f"{one} before {other}"},
        "new span": {"never": f"any({one})"},
        "failed": {"when": f"any({one})", "never": f"any({_span(candidate.subject, 'status = error')})"},
        "repeated": {"when": f"any({one})", "never": f"count({one}) > {limit}"},
        "fewer": {"when": f"any({one})", "never": f"count({one}) < {limit}"},
        "attribute": {"never": f"any(span(attribute.{_text(candidate.subject)} == {candidate.object}))"},
        "log": {"never": f"any(log(body matches {_text(pattern(candidate.subject))}))"},
        "severity": {"never": f"any(log(severity >= {candidate.subject}))"},
    }
    return clauses[candidate.kind]


def title(candidate: Candidate) -> str:
    """What the rule asks, in a line."""
    one, other = candidate.subject, candidate.object
    said = {
        "missing": f"{one} comes with {other}",
        "order": f"{one} comes before {other}",
        "new span": f"There is no {one}",
        "failed": f"{one} does not fail",
        "repeated": f"{one} happens at most {candidate.number} times in a trace",
        "fewer": f"{one} happens at least {candidate.number} times in a trace",
        "attribute": f"No span has {one} = {other}",
        "log": f"Nothing logs: {_end(pattern_words(one))}",
        "severity": f"Nothing is logged as {one} or worse",
    }[candidate.kind]
    return said if len(said) <= 140 else said[:139] + "…"


def _end(words: str) -> str:
    """What a long log line says in the end: it begins with places and ids."""
    return words if len(words) <= 110 else "…" + words[-110:]


def identity(candidate: Candidate, incident: Incident) -> str:
    """The id of the rule, and the name of its file."""
    words = " ".join((incident.id, candidate.kind, candidate.subject, candidate.object))
    tame = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
    digest = hashlib.sha256(f"{words}|{candidate.number}".encode()).hexdigest()[:6]
    return f"{tame[:70].strip('-')}-{digest}"


def pattern(template: str) -> str:
    """An RE2 pattern that finds the words of a template, with anything where a value stood."""
    return r"\S+".join(_SPECIAL.sub(r"\\\1", part) for part in pattern_words(template).split("#"))


def pattern_words(template: str) -> str:
    """A template without the values that it begins and ends with; its length is bounded where it is made."""
    return template.lstrip("#:., -").rstrip("# ")


def rule_file(candidate: Candidate, incident: Incident, description: str, examples: list[Example]) -> str:
    """The whole text of the rule."""
    document: dict[str, Any] = {
        "id": identity(candidate, incident),
        "title": title(candidate),
        "description": description,
        "severity": "medium",
        "status": "shadow",
        "owner": incident.team or "unassigned",
        **expressions(candidate),
        "tests": [
            {"name": one.name, "verdict": one.verdict}
            | ({"spans": one.spans} if one.spans else {})
            | ({"logs": one.logs} if one.logs else {})
            for one in examples
        ],
    }
    return rule_yaml(document)


def cut(connection: duckdb.DuckDBPyConnection, candidate: Candidate, trace_id: str, name: str, verdict: str) -> Example:
    """A test from a real trace: what the rule reads of it, and its root."""
    names = [word for word in (candidate.subject, candidate.object) if word and candidate.kind not in _NO_SPANS]
    rows = connection.execute(
        """
        select span_name, service_name, status_code, is_root, epoch_ns(started_at) as at, value
        from (
            select *, row_number() over (partition by span_name, is_root order by started_at, span_id) as place
            from (
                select spans.*, shape.is_root, json_extract(attributes, $pointer)::varchar as value
                from staging.stg_spans as spans
                left join intermediate.int_trace_shape as shape using (trace_id, span_id, kind)
                where trace_id = $trace::uuid
            )
            where is_root or list_contains($names, span_name) or ($pointer <> '' and value is not null)
        )
        where place <= $most
        order by is_root desc, started_at, span_id, kind
        """,
        {
            "trace": trace_id,
            "names": names,
            "most": candidate.number + 1 if candidate.kind in ("repeated", "fewer") else 1,
            "pointer": _pointer(candidate.subject) if candidate.kind == "attribute" else "",
        },
    ).fetchall()
    spans = [_cut_span(candidate, row, rows[0][4]) for row in rows]
    return Example(name, verdict, spans or [{"name": "root"}], _cut_logs(connection, candidate, trace_id))


_NO_SPANS: Final = ("attribute", "log", "severity")


def _cut_span(candidate: Candidate, row: tuple[Any, ...], first_at: int) -> dict[str, Any]:
    name, service, status, _is_root, at, value = row
    span: dict[str, Any] = {"name": name} | ({"service": service} if service else {})
    if candidate.kind == "order":
        span["at"] = f"{max(0, at - first_at) // 1000}us"
    if candidate.kind == "failed" and name == candidate.subject and status == "error":
        span["status"] = "error"
    if candidate.kind == "attribute" and value is not None:
        span["attributes"] = {candidate.subject: json.loads(value)}
    return span


def _cut_logs(connection: duckdb.DuckDBPyConnection, candidate: Candidate, trace_id: str) -> list[dict[str, Any]]:
    """One record at most: the telling one, its values of the moment replaced by 0."""
    if candidate.kind not in ("log", "severity"):
        return []
    wanted = "template = $template" if candidate.kind == "log" else "severity_number >= $least"
    given: dict[str, Any] = {"template": candidate.subject} if candidate.kind == "log" else {"least": candidate.number}
    rows = connection.execute(
        f"""
        select template, severity_number
        from (select *, {MASKED_BODY} as template from staging.stg_logs where trace_id = $trace::uuid)
        where {wanted} order by occurred_at limit 1
        """,  # noqa: S608  # fragments of this module
        {"trace": trace_id} | given,
    ).fetchall()
    if not rows:
        return []
    template, number = rows[0]
    words = ("trace", "debug", "info", "warn", "error", "fatal")
    log: dict[str, Any] = {"severity": words[min(max((number - 1) // 4, 0), 5)]}
    return [log | {"body": template.replace("#", "0")} if candidate.kind == "log" else log]


def _span(name: str, condition: str = "") -> str:
    """A selector for a name exactly: `*` and `?` in it are no glob."""
    is_glob = "*" in name or "?" in name
    inside = [f"name == {_text(name)}" if is_glob else _text(name), *([condition] if condition else [])]
    return f"span({', '.join(inside)})"


def _pointer(key: str) -> str:
    return "/" + key.replace("~", "~0").replace("/", "~1")


def _text(value: str) -> str:
    """A text of the language; its escapes are those of JSON."""
    return json.dumps(value, ensure_ascii=False)
