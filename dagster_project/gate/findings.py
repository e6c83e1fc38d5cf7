"""Rules over staged telemetry → findings: a place in the system where a rule is violated, with what stands for it.

A finding is known again in another run. Ids of traces and spans, times and counts differ from run to run of the same
staging test, so none of them is in its fingerprint; see `docs/gate.md`.
"""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

import duckdb

from dagster_project.rule_language import Rule
from dagster_project.rule_language.meaning.model import INTRINSICS
from dagster_project.rule_language.sql.query import RESULT_TYPES, null_keys_query, to_sql, verdicts_query
from dagster_project.rule_language.sql.scan import Source

Verdict: TypeAlias = Literal["violated", "inconclusive"]
SHOWN: Final[tuple[Verdict, ...]] = ("violated", "inconclusive")
SAMPLES: Final = 20  # violations that stand for a finding; the rest is a number
_TABLE: Final = re.compile(r'"?(?:staging|intermediate)"?\."?(\w+)"?')
_LOGS: Final = "stg_logs"
NO_LOGS: Final = "no log record was received"
WORKERS: Final = 2  # small queries keep one core busy each

# Raise it when the same violation gets another fingerprint: baselines written before then match nothing.
FINGERPRINT_VERSION: Final = 1

# What differs between two runs of one test inside a name or a value: a UUID, a number, a word with three digits or more
# (order_8812, 4bf92f35). `v1`, `s3` and `oauth2` stay.
_MASKED: Final = r"""
    regexp_replace(
        regexp_replace({0}, '\b[0-9a-fA-F]{{8}}(-[0-9a-fA-F]{{4}}){{3}}-[0-9a-fA-F]{{12}}\b', '#', 'g'),
        '\b([0-9]+|\w*[0-9]\w*[0-9]\w*[0-9]\w*)\b', '#', 'g'
    )
"""

# A name in what a rule reports, as a JSON pointer: names hold what a path would have to escape.
_POINTER: Final = "'/' || replace(replace(key, '~', '~0'), '/', '~1')"

_TO_SHOW: Final = f"""
    create table shown_verdicts ({", ".join(f"{name} {type_}" for name, type_ in RESULT_TYPES.items())})
"""

_FINDINGS: Final = f"""
    with scopes as (
        select *, row_number() over (order by rule_id, verdict, first_span_at, scope_key) as place_in_order
        from shown_verdicts
    ),
    shown as (
        select place_in_order, unnest(witness) as span from scopes
    ),
    named as (
        select
            shown.place_in_order,
            coalesce(spans.service_name, 'unknown service') || ': ' || {_MASKED.format("spans.span_name")} as label
        from shown
        inner join staging.stg_spans as spans
            on shown.span.trace_id = spans.trace_id and shown.span.span_id = spans.span_id
    ),
    labelled as (
        select place_in_order, list_sort(list(distinct label)) as labels from named group by place_in_order
    ),
    -- Numbers and what they add up to change with the load of a test; words that a rule reports seldom do.
    keys as (
        select place_in_order, unnest(json_keys(reported::json)) as key, reported::json as reported from scopes
    ),
    words as (
        select place_in_order, key, {_MASKED.format("json_extract_string(reported, pointer)")} as word
        from (select *, {_POINTER} as pointer from keys)
        where json_type(reported, pointer) = 'VARCHAR'
    ),
    reported_words as (
        select
            place_in_order,
            list(key || '=' || word order by key) as words
        from words
        group by place_in_order
    ),
    identified as (
        select
            scopes.*,
            case
                when verdict = 'inconclusive' then [coalesce(reason, 'unknown')]
                else coalesce(labels, service_names::varchar[])
            end as place,
            case
                when scope_kind = 'trace' or verdict = 'inconclusive' then ''
                else {_MASKED.format("scope_key")}
            end as key,
            case when verdict = 'inconclusive' then [] else coalesce(words, []) end as words
        from scopes
        left join labelled using (place_in_order)
        left join reported_words using (place_in_order)
    )
    select
        rule_id, verdict,
        left(sha256(json_array({FINGERPRINT_VERSION}, rule_id, meaning_hash, verdict, place, key, words)::varchar), 32)
            as fingerprint,
        any_value(place) as place, any_value(key) as key, count(*) as scopes, min(first_span_at) as first_at,
        arg_min({{
            'id': violation_id,
            'scope': if(scope_kind = 'trace', replace(scope_key, '-', ''), scope_key),
            'traces': list_transform(trace_ids[:3], lambda one: replace(one::varchar, '-', '')),
            'at': first_span_at::varchar,
            'witness': list_transform(witness[:10], lambda one: {{
                'trace_id': replace(one.trace_id::varchar, '-', ''),
                'span_id': lower(lpad(to_hex(one.span_id), 16, '0'))
            }}),
            'reported': reported::varchar
        }}, place_in_order, {SAMPLES}) as samples
    from identified
    group by rule_id, verdict, fingerprint
    order by rule_id, verdict, first_at, fingerprint
"""  # noqa: S608


@dataclass(frozen=True)
class Sample:
    """One violated scope. `witness` holds (trace id, span id) in hexadecimal digits, at most ten."""

    violation_id: str
    scope_key: str
    trace_ids: tuple[str, ...]
    first_span_at: str
    witness: tuple[tuple[str, str], ...]
    reported: dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """A place where a rule is violated, or why it could not be judged.

    Parameters
    ----------
    place
        Service and span name of the spans that show it, each once; of what is inconclusive, the reason.
    key
        The key of a group, numbers and ids masked; empty for traces.
    scopes
        How many scopes it stands for; `samples` are the first of them.
    """

    rule: Rule
    verdict: Verdict
    fingerprint: str
    place: tuple[str, ...]
    key: str
    scopes: int
    samples: tuple[Sample, ...]

    @property
    def where(self) -> str:
        """The place in one line."""
        shown = "; ".join(self.place[:4]) + (f"; and {len(self.place) - 4} more" if len(self.place) > 4 else "")
        return f"{shown} (of {', '.join(self.rule.judgement.group_by)} {self.key})" if self.key else shown


@dataclass(frozen=True)
class Counts:
    """How many scopes have which verdict.

    Parameters
    ----------
    null_keys
        Items that the rule looks at and that lack a key of its groups: in no group, not judged. None for traces.
    """

    violated: int
    satisfied: int
    inconclusive: int
    null_keys: int | None

    @property
    def judged(self) -> int:
        return self.violated + self.satisfied + self.inconclusive


@dataclass(frozen=True)
class Judged:
    """What one rule says; `error` when it could not be run, `unasked` why it was not asked."""

    rule: Rule
    counts: Counts | None = None
    findings: tuple[Finding, ...] = ()
    error: str = ""
    seconds: float = 0.0
    unasked: str = ""

    @property
    def applied(self) -> bool:
        """Whether there was anything that the rule speaks about."""
        return self.counts is not None and self.counts.judged > 0


@dataclass(frozen=True)
class Query:
    """A rule as SQL; `null_keys` counts what lacks a key of its groups."""

    rule: Rule
    verdicts: str
    null_keys: str | None

    @property
    def tables(self) -> frozenset[str]:
        """The tables of staging and intermediate that it reads, without their schema."""
        return frozenset(_TABLE.findall(self.verdicts))


def compiled(rule: Rule) -> Query:
    """The SQL of a rule over tables in which nothing is promoted to a column: that does not pay for a single run."""
    source = Source(columns={entity: frozenset() for entity in INTRINSICS})
    null_keys = to_sql(null_keys_query(rule, source), pretty=False) if rule.judgement.group_by else None
    return Query(rule, to_sql(verdicts_query(rule, source), pretty=False), null_keys)


def judge(
    connection: duckdb.DuckDBPyConnection, queries: Sequence[Query], *, has_logs: bool = True
) -> tuple[Judged, ...]:
    """Judge every rule over the staged tables; one that cannot be run does not stop the others.

    Rules that speak of logs are not asked where none was received: every record would be missing.
    """

    def one(query: Query) -> Judged:
        if not has_logs and _LOGS in query.tables:
            return Judged(query.rule, unasked=NO_LOGS)
        with connection.cursor() as cursor:
            return _judged(cursor, query)

    connection.execute(_TO_SHOW)
    with ThreadPoolExecutor(WORKERS) as pool:
        return _with_findings(connection, tuple(pool.map(one, queries)))


def _judged(cursor: duckdb.DuckDBPyConnection, query: Query) -> Judged:
    """The counts of a rule; what is to be shown of it is put beside that of the others.

    It is what `replay` says without the rest of its certificate: a gate reads everything that it was given.
    """
    began, rule = time.perf_counter(), query.rule
    try:
        cursor.execute(f"create or replace temp table one_rule as {query.verdicts}")
        counted = dict(cursor.execute("select verdict, count(*) from one_rule group by verdict").fetchall())
        null_keys = int(cursor.execute(query.null_keys).fetchall()[0][0]) if query.null_keys else None
        if any(verdict in counted for verdict in SHOWN):
            cursor.execute("insert into shown_verdicts from one_rule where verdict <> 'satisfied'")
        violated, satisfied, unsure = (counted.get(word, 0) for word in ("violated", "satisfied", "inconclusive"))
        return Judged(rule, Counts(violated, satisfied, unsure, null_keys), seconds=time.perf_counter() - began)
    except duckdb.Error as error:
        return _broken(rule, error)


def _with_findings(connection: duckdb.DuckDBPyConnection, judged: tuple[Judged, ...]) -> tuple[Judged, ...]:
    """The findings of all rules, in order, from one query: to plan it takes longer than to run it."""
    rules = {one.rule.id: one.rule for one in judged}
    found: dict[tuple[str, Verdict], list[Finding]] = defaultdict(list)
    try:
        for rule, verdict, fingerprint, place, key, scopes, _, samples in connection.execute(_FINDINGS).fetchall():
            shown = tuple(_sample(one) for one in samples)
            found[rule, verdict].append(Finding(rules[rule], verdict, fingerprint, tuple(place), key, scopes, shown))
    except duckdb.Error as error:
        return tuple(
            _broken(one.rule, error) if one.counts and one.counts.violated + one.counts.inconclusive else one
            for one in judged
        )
    return tuple(
        replace(one, findings=tuple(finding for verdict in SHOWN for finding in found[one.rule.id, verdict]))
        for one in judged
    )


def _broken(rule: Rule, error: duckdb.Error) -> Judged:
    return Judged(rule, error=f"the rule `{rule.id}` could not be judged: {error}")


def _sample(one: dict[str, Any]) -> Sample:
    return Sample(
        violation_id=one["id"],
        scope_key=one["scope"],
        trace_ids=tuple(one["traces"]),
        first_span_at=one["at"],
        witness=tuple((span["trace_id"], span["span_id"]) for span in one["witness"]),
        reported=json.loads(one["reported"] or "{}"),
    )
