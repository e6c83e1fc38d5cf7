"""Texts with TraceQL queries in them → drafts of rules, one a query; a query that cannot be carried over is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Final

from dagster_project.rule_imports.example_traces import traces_for
from dagster_project.rule_imports.imported import Assumptions, Decisions, Draft, Imported, drafted
from dagster_project.rule_imports.source_text import Query, identities, queries
from dagster_project.rule_imports.traceql.reading import Reading
from dagster_project.rule_imports.traceql.walk import trace_condition
from dagster_project.rule_language.writing.expression_text import scope_text

FINDS: Final = "a query says what to find; every trace that it finds is a violation"


def recognises(text: str) -> bool:
    """Whether the text looks like TraceQL: a selector in braces, or an aggregate alone."""
    plain = re.sub(r"(?m)^\s*(?://|#).*$", "", text).strip()
    return re.match(r"\(*\s*\{|(count|avg|min|max|sum)\s*\(", plain) is not None


def read(text: str, decisions: Decisions, name: str) -> Iterator[Imported]:
    """Every query of the text; queries stand between blank lines."""
    found = queries(text)
    for identity, query in zip(identities(found, name), found, strict=True):
        yield drafted(identity, query.line, partial(_draft, query, identity, decisions))


def _draft(query: Query, identity: str, decisions: Decisions) -> Draft:
    assumed = Assumptions()
    condition = trace_condition(Reading(query, assumed))
    assumed.add(query.line, FINDS)
    return Draft(
        id=identity,
        title=query.title or identity,
        line=query.line,
        expressions={"detect": scope_text(condition)},
        group_by=decisions.group_by,
        gap_ns=decisions.gap_ns,
        assumed=assumed.notes,
        tests=traces_for(condition, keys=decisions.group_by),
    )
