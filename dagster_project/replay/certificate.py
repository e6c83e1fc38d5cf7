"""What one replay looked at, what it found, and what it could not see.

Counts only, each by a query; what all rules over a window share is in `totals`; how it is said, `formats` decides.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import duckdb

from dagster_project import __version__
from dagster_project.replay.judging import RESULT, Screened, judged
from dagster_project.replay.tables import Row, row
from dagster_project.replay.totals import Sampling, WindowTotals
from dagster_project.replay.window import LATEST, Window
from dagster_project.rule_language.meaning.model import ALWAYS_TRUE, Disjunction, Negation
from dagster_project.rule_language.planning.planner import plan
from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.sql.query import null_keys_query, to_sql
from dagster_project.rule_language.sql.scan import Source
from dagster_project.wording import counted

UNDETECTABLE_LOSS = (
    "A lost span that had no children leaves no mark, and neither does a lost log record: "
    "every total is of what was received."
)
# How many groups there are at all is counted up to so many spans: it takes forming every one of them.
COUNTED_GROUPS_OF_SPANS = 2_000_000


@dataclass(frozen=True)
class Certificate:
    """What a replay looked at, and what it could not see.

    Attributes
    ----------
    window_asked, window_available
        The window of the question, and the first and last trace there is; UTC.
    settled_until
        Scopes that end before it are not touched by what arrives in order: one gap (for traces, the longest trace
        that was received) before the last span; None when there is no span.
    days_scanned, days_without_traces
        Days of the window on which a trace begins, and those between its first and last on which none does.
    spans_scanned, logs_scanned
        Of the traces that start in the window; for groups also what lies a gap before it.
    log_only_traces
        Traces with a verdict of which only logs came; None for groups.
    records_quarantined
        Records that landing refused in loads that hold a day of the window, or no day at all; None when unknown.
    late_records
        Records of loads that landed more than a day after the first load of a day of the window; None when unknown.
    null_keys
        Items of the window that the rule looks at and that lack a group key; None for traces.
    not_applicable
        Scopes that are not listed; None for groups when counting them would take longer than the question.
    unsettled
        Listed scopes that an item arriving later could still extend.
    """

    rule_id: str
    meaning_hash: str
    window_asked: Window
    window_available: tuple[datetime | None, datetime | None]
    settled_until: datetime | None
    days_scanned: int
    days_without_traces: int
    spans_scanned: int
    logs_scanned: int
    traces_scanned: int
    traces_complete: int
    traces_incomplete: int
    log_only_traces: int | None
    records_quarantined: int | None
    late_records: int | None
    null_keys: int | None
    sampling: Sampling
    violated: int
    satisfied: int
    inconclusive: int
    not_applicable: int | None
    unsettled: int
    inconclusive_reasons: dict[str, int]
    undetectable_loss_note: str
    engine: str
    code_version: str
    seconds: float

    @property
    def has_scanned(self) -> bool:
        """Whether anything that was received lies in the window."""
        return bool(self.spans_scanned or self.logs_scanned or self.violated + self.satisfied + self.inconclusive)

    @property
    def is_exhaustive(self) -> bool:
        """Whether every scope of what was received has been judged; of what was not received nothing is known."""
        return self.has_scanned and not self.inconclusive


@dataclass(frozen=True)
class _Found:
    """How many scopes have each verdict, those that were only counted among them, and why some cannot be judged."""

    violated: int
    satisfied: int
    inconclusive: int
    reasons: dict[str, int]

    @property
    def judged(self) -> int:
        """All scopes with a verdict."""
        return self.violated + self.satisfied + self.inconclusive


def certify(
    connection: duckdb.DuckDBPyConnection,
    rule: Rule,
    totals: WindowTotals,
    source: Source,
    screened: Screened,
    groups: int | None,
    began: float,
) -> Certificate:
    """The certificate of the verdicts that stand in the temporary table `RESULT`.

    Parameters
    ----------
    totals
        Of the window that was asked.
    source
        Where the rule was read from.
    screened
        The satisfied scopes that are not in the table.
    groups
        What `groups_formed` said before.
    began
        `time.perf_counter()` at the start of the replay.
    """
    scanned, settled = totals.scanned, totals.settled_until(rule)
    found = _found(connection, scanned, screened)
    grouped = rule.scope_kind != "trace"
    log_only = None if grouped else _log_only(connection, rule)
    return Certificate(
        rule_id=rule.id,
        meaning_hash=rule.meaning_hash,
        window_asked=totals.window,
        window_available=(scanned["first_at"], scanned["last_at"]),
        settled_until=settled,
        days_scanned=scanned["days"],
        days_without_traces=_days_without_traces(scanned),
        spans_scanned=scanned["spans"],
        logs_scanned=scanned["logs"],
        traces_scanned=scanned["traces"],
        traces_complete=scanned["complete"],
        traces_incomplete=scanned["traces"] - scanned["complete"],
        log_only_traces=log_only,
        records_quarantined=totals.quarantined,
        late_records=totals.late,
        null_keys=_null_keys(connection, rule, source) if grouped else None,
        sampling=totals.sampling,
        violated=found.violated,
        satisfied=found.satisfied,
        inconclusive=found.inconclusive,
        not_applicable=_not_applicable(rule, scanned, found, log_only, groups),
        unsettled=_unsettled(connection, settled) + screened.unsettled,
        inconclusive_reasons=found.reasons,
        undetectable_loss_note=UNDETECTABLE_LOSS,
        engine=f"duckdb {duckdb.__version__}",
        code_version=__version__,
        seconds=time.perf_counter() - began,
    )


def _found(connection: duckdb.DuckDBPyConnection, scanned: Row, screened: Screened) -> _Found:
    verdicts = connection.execute(
        f"select verdict, reason, count(*) from {RESULT} group by all order by all"  # noqa: S608
    ).fetchall()
    listed = {kind: sum(n for verdict, _, n in verdicts if verdict == kind) for kind, _, _ in verdicts}
    violated, inconclusive = listed.get("violated", 0), listed.get("inconclusive", 0)
    satisfied = listed.get("satisfied", 0) + screened.satisfied
    if screened.of_all_traces:
        satisfied = scanned["traces"] - violated - inconclusive
    reasons = {str(why): n for verdict, why, n in verdicts if verdict == "inconclusive"}
    return _Found(violated, satisfied, inconclusive, reasons)


def _days_without_traces(scanned: Row) -> int:
    if not scanned["days"]:
        return 0
    between = int((scanned["last_day"] - scanned["first_day"]).days) + 1
    return max(0, between - int(scanned["days"]))


def _log_only(connection: duckdb.DuckDBPyConnection, rule: Rule) -> int:
    if "log" not in plan(rule.judgement).entities:
        return 0
    query = f"""
        select count(*) as scopes from {RESULT} as r
        anti join intermediate.int_traces as t on r.trace_ids[1] = t.trace_id
    """  # noqa: S608
    return int(row(connection, query)["scopes"])


def _unsettled(connection: duckdb.DuckDBPyConnection, settled: datetime | None) -> int:
    if settled is None or settled >= LATEST:
        return 0
    query = f"select count(*) as scopes from {RESULT} where last_span_at > $at::timestamp"  # noqa: S608
    return int(row(connection, query, {"at": settled})["scopes"])


def _null_keys(connection: duckdb.DuckDBPyConnection, rule: Rule, source: Source) -> int:
    query = to_sql(null_keys_query(rule, source), pretty=False)
    return int(connection.execute(query).fetchall()[0][0])


def groups_formed(
    connection: duckdb.DuckDBPyConnection, rule: Rule, totals: WindowTotals, source: Source
) -> int | None:
    """How many groups there are at all, whether the rule applies to them or not; None of traces, and of too many.

    Judged as the rule itself is, so before it.
    """
    if rule.scope_kind == "trace" or rule.judgement.when == ALWAYS_TRUE:
        return None
    if totals.scanned["spans"] > COUNTED_GROUPS_OF_SPANS:
        return None
    # True or unknown of every group, and the items that `when` looks at still form groups.
    when = Disjunction((rule.judgement.when, Negation(rule.judgement.when)))
    every = replace(rule, judgement=replace(rule.judgement, when=when, report=()))
    with judged(connection, every, source, None) as screened:
        return screened.satisfied + int(row(connection, f"select count(*) as n from {RESULT}")["n"])  # noqa: S608


def _not_applicable(rule: Rule, scanned: Row, found: _Found, log_only: int | None, groups: int | None) -> int | None:
    """The scopes that are not listed."""
    if log_only is not None:
        # A trace of which only logs came has a verdict but is no trace that was scanned.
        return int(scanned["traces"]) - (found.judged - log_only)
    if rule.judgement.when == ALWAYS_TRUE:
        return 0
    return None if groups is None else max(0, groups - found.judged)


def rests_on(certificate: Certificate) -> list[str]:
    """What the answer rests on and what limits it, a sentence each."""
    spans, logs = counted(certificate.spans_scanned, "span"), counted(certificate.logs_scanned, "log record")
    said: list[Any] = [
        f"scanned: {counted(certificate.traces_scanned, 'trace')} with {spans} and {logs},"
        f" of {counted(certificate.days_scanned, 'day')}",
        certificate.days_without_traces
        and f"no trace begins on {counted(certificate.days_without_traces, 'day')} between the first and the last",
        certificate.traces_incomplete and f"incomplete: {counted(certificate.traces_incomplete, 'trace')}",
        certificate.inconclusive and f"{counted(certificate.inconclusive, 'scope')} cannot be judged",
        certificate.log_only_traces
        and f"known from log records alone: {counted(certificate.log_only_traces, 'judged trace')}",
        certificate.records_quarantined
        and f"{counted(certificate.records_quarantined, 'record')} of these days could not be read",
        certificate.null_keys and f"without a key, and so in no group: {counted(certificate.null_keys, 'item')}",
        certificate.sampling.lowest is not None and _sampled(certificate.sampling),
        certificate.late_records and f"{counted(certificate.late_records, 'record')} came more than a day late",
        certificate.unsettled and f"{counted(certificate.unsettled, 'scope')} may still change with what arrives next",
        certificate.undetectable_loss_note,
    ]
    return [one for one in said if one]


def _sampled(sampling: Sampling) -> str:
    words = [f"the source {source} says that it kept {kept:.4g} of all" for source, kept in sampling.declared.items()]
    of = f"of {sampling.spans_looked_at:,} spans looked at" if sampling.is_sample else "spans"
    if sampling.with_probability:
        words.append(f"{sampling.with_probability:,} {of} say that they were kept with probability"
                     f" {sampling.lowest_probability:.4g} or more")  # fmt: skip
    if sampling.with_threshold and sampling.lowest_threshold_probability is not None:
        words.append(f"{sampling.with_threshold:,} {of} carry a threshold that keeps"
                     f" {sampling.lowest_threshold_probability:.4g} or more")  # fmt: skip
    return "what was received is a sample: " + "; ".join(words)


__all__ = ["RESULT", "UNDETECTABLE_LOSS", "Certificate", "Sampling", "certify", "groups_formed", "rests_on"]
