"""Conditions that may tell the traces of an incident from those before it, generated and counted by SQL.

Each is counted over the training traces only; how likely its counts are by chance, Fisher's exact test says, and how
many conditions were tried counts against every one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import duckdb
import numpy as np

Kind: TypeAlias = Literal["missing", "new span", "failed", "repeated", "fewer", "order", "attribute", "log", "severity"]

# What is usual before the incident: a condition that breaks it in more than one trace of twenty is no alarm.
USUAL: Final = 0.95
MOST_NAMES: Final = 80  # the most frequent; pairs of them are tried
MOST_VALUES: Final = 50  # of an attribute: one with more is an id, or says something of a person
MOST_TEMPLATES: Final = 400
LEAST_SUPPORT: Final = 3  # traces: what fewer show, no test can tell from chance
FALSE_DISCOVERY_RATE: Final = 0.05

# Names of attributes whose values may be of a person, or secret: no rule is made of them.
_PERSONAL: Final = "user|mail|phone|address|client[._]ip|peer|token|secret|passw|session|cookie|customer|account|card"

# Words with a digit or an @ in a log line are values of the moment; what is left is the template.
_WORD: Final = r"""[^\s\[\](){}<>,;:="'']*"""
MASKED_BODY: Final = f"regexp_replace(split_part(body, chr(10), 1)[:400], '{_WORD}[0-9@]{_WORD}', '#', 'g')"

_NAMES: Final = f"""
    create view train as select trace_id, arm from arms where part = 'train';

    create table names as
    select span_name, trace_id, count(*) as spans, min(started_at) as first_at, any_value(service_name) as service_name
    from staging.stg_spans inner join train using (trace_id)
    where regexp_full_match(span_name, '[^\\x00-\\x1f]{{1,200}}')
    group by span_name, trace_id;

    create table frequent as
    select span_name from names group by span_name having count(*) >= {LEAST_SUPPORT}
    order by count(*) desc, span_name limit {MOST_NAMES};
"""  # noqa: S608  # numbers of this module

# Each query yields kind, subject, object, number, and the traces that are (applies) and that are bad.
_PAIRS: Final = """
    select
        '{kind}' as kind, a.span_name as subject, b.span_name as object, 0 as number,
        a.trace_id, {bad} as bad
    from names as a
    inner join frequent on a.span_name = frequent.span_name
    cross join frequent as other
    {join} join names as b on a.trace_id = b.trace_id and b.span_name = other.span_name
    where a.span_name <> other.span_name
"""

_COUNTED: Final = """
    select
        kind, subject, object, number,
        count(*) filter (bad and arm = 'during') as bad_during, count(*) filter (arm = 'during') as during,
        count(*) filter (bad and arm = 'before') as bad_before, count(*) filter (arm = 'before') as before
    from ({query}) inner join train using (trace_id)
    group by kind, subject, object, number
"""


@dataclass(frozen=True)
class Candidate:
    """A condition that would be bad: `subject`, `object` and `number` mean what `kind` says.

    Parameters
    ----------
    bad_during, during, bad_before, before
        Of the training traces to which it applies, how many are bad.
    p_value
        One-sided, by Fisher's exact test.
    q_value
        The share of false ones among all candidates up to this one (Benjamini and Hochberg).
    """

    kind: Kind
    subject: str
    object: str
    number: int
    bad_during: int
    during: int
    bad_before: int
    before: int
    p_value: float
    q_value: float


@dataclass(frozen=True)
class Tried:
    """All candidates that were counted, and those that chance does not explain, best first."""

    count: int
    separating: tuple[Candidate, ...]


def candidates(connection: duckdb.DuckDBPyConnection) -> Tried:
    """Generate and count all candidates over the training traces."""
    connection.execute(_NAMES)
    rows: list[tuple[Any, ...]] = []
    for query in (*_span_queries(), *_other_queries(connection)):
        rows += connection.execute(_COUNTED.format(query=query)).fetchall()
    # A condition that is bad in hardly a trace cannot be told from chance: it was looked at, and not tested.
    rows = sorted(row for row in rows if row[4] + row[6] >= LEAST_SUPPORT)
    if not rows:
        return Tried(0, ())
    bad_during, during, bad_before, before = (np.array([row[place] for row in rows]) for place in range(4, 8))
    p_values = fisher(bad_during, during, bad_before, before)
    q_values = benjamini_hochberg(p_values)
    is_usual = bad_before <= (1 - USUAL) * before
    chosen = np.flatnonzero((q_values <= FALSE_DISCOVERY_RATE) & is_usual)
    found = [_candidate(rows[place], float(p_values[place]), float(q_values[place])) for place in chosen]
    return Tried(len(rows), tuple(sorted(found, key=lambda one: (one.p_value, one.kind, one.subject, one.object))))


def _candidate(row: tuple[Any, ...], p_value: float, q_value: float) -> Candidate:
    kind, subject, other, number, bad_during, during, bad_before, before = row
    return Candidate(kind, subject, other, number, bad_during, during, bad_before, before, p_value, q_value)


def fisher(bad_during: np.ndarray, during: np.ndarray, bad_before: np.ndarray, before: np.ndarray) -> np.ndarray:
    """How likely so many bad ones, or more, are among those during, were all alike: one-sided, exact."""
    from scipy.stats import hypergeom  # noqa: PLC0415 - half of the time in which any command starts

    total, bad = during + before, bad_during + bad_before
    return np.asarray(hypergeom.sf(bad_during - 1, total, bad, during))


def benjamini_hochberg(p_values: np.ndarray) -> np.ndarray:
    """The q-value of each p-value, in their order."""
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * len(p_values) / np.arange(1, len(p_values) + 1)
    monotone = np.minimum.accumulate(scaled[::-1])[::-1]
    q_values = np.empty_like(monotone)
    q_values[order] = np.minimum(monotone, 1.0)
    return q_values


def _span_queries() -> tuple[str, ...]:
    return (
        _PAIRS.format(kind="missing", bad="b.trace_id is null", join="left").replace(
            "b.span_name as", "other.span_name as"
        ),
        # Clocks of two services may differ: a pair nearer than the usual skew says nothing.
        _PAIRS.format(
            kind="order",
            bad="not (a.first_at < b.first_at)"
            " and (a.service_name = b.service_name or epoch_ns(a.first_at) - epoch_ns(b.first_at) > 10000000)",
            join="inner",
        ),
        "select 'new span' as kind, frequent.span_name as subject, '' as object, 0 as number, train.trace_id,"
        " names.trace_id is not null as bad from frequent cross join train"
        " left join names on train.trace_id = names.trace_id and frequent.span_name = names.span_name",
        "select 'failed' as kind, span_name as subject, '' as object, 0 as number, trace_id,"
        " bool_or(status_code = 'error') as bad from staging.stg_spans"
        " where span_name in (select span_name from frequent) group by span_name, trace_id",
        # The limits are what nearly every trace before the incident keeps to.
        _limits("repeated", "spans > number", USUAL, "true"),
        _limits("fewer", "spans < number", 1 - USUAL, "number >= 2"),
    )


def _limits(kind: str, bad: str, fraction: float, condition: str) -> str:
    return f"""
        select '{kind}' as kind, span_name as subject, '' as object, number, trace_id, {bad} as bad
        from names
        inner join (
            select span_name, quantile_disc(spans, {fraction}) as number
            from names inner join train using (trace_id)
            where arm = 'before'
            group by span_name having count(*) >= {LEAST_SUPPORT}
        ) using (span_name)
        where {condition}
    """  # noqa: S608


def _other_queries(connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """Values of attributes, and log records, as tables of what occurs in which trace."""
    connection.execute(f"""
        create table sent as
        select distinct trace_id, key, json_extract(attributes, pointer)::varchar as value
        from (
            select trace_id, attributes, key, '/' || replace(replace(key, '~', '~0'), '/', '~1') as pointer
            from (
                select trace_id, attributes, unnest(json_keys(attributes)) as key
                from staging.stg_spans inner join train using (trace_id)
            )
        )
        where json_type(attributes, pointer) in ('VARCHAR', 'BOOLEAN', 'UBIGINT', 'BIGINT')
            and regexp_full_match(key, '[^\\x00-\\x1f]{{1,100}}');
        delete from sent where key in (
            select key from sent group by key having count(distinct value) > {MOST_VALUES}
        )
        or not regexp_full_match(value, '[^\\x00-\\x1f@]{{1,100}}')
        or regexp_matches(key, '{_PERSONAL}', 'i');
        create table frequent_values as
        select key as subject, value as object from sent group by all having count(*) >= {LEAST_SUPPORT};
        create table templates as
        select distinct trace_id, {MASKED_BODY} as template
        from staging.stg_logs inner join train using (trace_id);
        delete from templates where template not in (
            select template from templates where regexp_full_match(template, '[^\\x00-\\x1f]{{8,400}}')
            group by template having count(*) >= {LEAST_SUPPORT}
            order by count(*) desc, template limit {MOST_TEMPLATES}
        );
    """)  # noqa: S608  # numbers of this module
    return (
        "select 'attribute' as kind, subject, object, 0 as number, train.trace_id, sent.trace_id is not null as bad"
        " from frequent_values"
        " cross join train left join sent"
        " on train.trace_id = sent.trace_id and subject = sent.key and object = sent.value",
        "select 'log' as kind, subject, '' as object, 0 as number, train.trace_id,"
        " templates.trace_id is not null as bad"
        " from (select distinct template as subject from templates) cross join train left join templates"
        " on train.trace_id = templates.trace_id and subject = templates.template",
        "select 'severity' as kind, word as subject, '' as object, lowest as number, train.trace_id,"
        " coalesce(highest >= lowest, false) as bad"
        " from (values ('warn', 13), ('error', 17), ('fatal', 21)) as severities (word, lowest) cross join train"
        " left join (select trace_id, max(severity_number) as highest from staging.stg_logs group by trace_id)"
        " as logs on train.trace_id = logs.trace_id",
    )
