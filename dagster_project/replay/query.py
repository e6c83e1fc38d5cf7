"""Runs one rule over a connection that has the staged tables, and says what it found and what it scanned.

Reads only; the connection may be a warehouse, a published generation or an in-memory set of test traces.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import duckdb
import pyarrow as pa

from dagster_project.replay.certificate import RESULT, Certificate, certify, groups_formed
from dagster_project.replay.found import Investigation
from dagster_project.replay.fused import Shared, fused
from dagster_project.replay.investigation import investigate
from dagster_project.replay.judging import judged
from dagster_project.replay.totals import WindowTotals
from dagster_project.replay.window import Window
from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.sql.scan import Source
from dagster_project.rule_language.text.syntax import Entity
from dagster_project.wording import counted

_REQUIRED = ("staging.stg_spans", "staging.stg_logs", "intermediate.int_traces", "intermediate.int_trace_shape")


class NothingToReplay(RuntimeError):
    """The connection lacks the tables that rules are replayed over."""


class ReplayFailed(RuntimeError):
    """The engine gave up on a rule: a limit of memory or time, or a value that it cannot handle."""


@dataclass(frozen=True)
class Replay:
    """The answer to one rule.

    Attributes
    ----------
    violations
        One row a violated scope, by first span; the columns of `violations.fct_verdicts`, ids in hexadecimal digits.
    inconclusive
        The same columns for scopes that cannot be judged.
    investigation
        The four answers, when they were asked for.
    comparisons
        The same rule over other windows.
    """

    rule: Rule
    certificate: Certificate
    violations: pa.Table
    inconclusive: pa.Table
    first_violation_at: datetime | None
    last_violation_at: datetime | None
    investigation: Investigation | None = None
    comparisons: tuple[Comparison, ...] = ()

    @property
    def confidence(self) -> str:
        """How much the answer says, and of what; never more than was received."""
        certificate = self.certificate
        refused = certificate.records_quarantined
        aside = f"; {counted(refused, 'record')} could not be read" if refused else ""
        if certificate.sampling.lowest is not None:
            aside += f"; its senders sampled, down to {certificate.sampling.lowest:.4g} of all"
        if not certificate.has_scanned:
            return f"says nothing: nothing that was received lies in this window{aside}"
        if not certificate.is_exhaustive:
            return (
                "lower bound: every violation that is certain, of what was received;"
                f" {counted(certificate.inconclusive, 'scope')} cannot be judged{aside}"
            )
        return f"exhaustive scan: every violation of what was received{aside}"


@dataclass(frozen=True)
class Comparison:
    """The same rule over another window, which `label` names as it was asked for."""

    label: str
    certificate: Certificate
    first_violation_at: datetime | None
    last_violation_at: datetime | None


def share_violated(certificate: Certificate) -> float | None:
    """Of the scopes that could be judged, how many are violated; None when none could be."""
    judged = certificate.violated + certificate.satisfied
    return certificate.violated / judged if judged else None


def compared(connection: duckdb.DuckDBPyConnection, answer: Replay, windows: Sequence[tuple[str, Window]]) -> Replay:
    """The answer, with the same rule replayed over other windows beside it."""
    comparisons = []
    for label, window in windows:
        other = replay(connection, answer.rule, window, most_rows=0)
        comparisons.append(Comparison(label, other.certificate, other.first_violation_at, other.last_violation_at))
    return replace(answer, comparisons=tuple(comparisons))


def replay(
    connection: duckdb.DuckDBPyConnection,
    rule: Rule,
    window: Window | None = None,
    *,
    with_investigation: bool = False,
    most_rows: int | None = None,
    shared: Shared | None = None,
) -> Replay:
    """Judge every scope of the window.

    Parameters
    ----------
    connection
        Has the schemas staging and intermediate; audit is used when it is there.
    window
        Scopes whose first span is in it; everything when None.
    with_investigation
        Whether the four questions are answered, too; that reads the spans of the window once more.
    most_rows
        How many violations, and how many scopes that cannot be judged, the answer holds: the earliest; all when None.
        The certificate counts all of them.
    shared
        What rules asked over the same window have in common, if they were asked together.

    Raises
    ------
    NothingToReplay
        When a table is missing.
    ReplayFailed
        With the engine's words.
    """
    began = time.perf_counter()
    window = window or Window()
    source = source_of(connection, window)
    try:
        totals = shared.totals if shared else WindowTotals(connection, window)
        source = shared.source_of(rule, source) if shared else source
        groups = groups_formed(connection, rule, totals, source)
        with judged(connection, rule, source, totals.settled_until(rule)) as screened:
            certificate = certify(connection, rule, totals, source, screened, groups, began)
            answer = _answer(connection, rule, certificate, most_rows)
            if with_investigation:
                answer = replace(answer, investigation=investigate(connection, rule, window))
            return answer
    except duckdb.OutOfMemoryException as error:
        raise ReplayFailed(
            f"{rule.path}: the rule `{rule.id}` needs more memory or disk than it was given: narrow the window, or"
            f" raise --memory-limit ({str(error).splitlines()[0]})"
        ) from error
    except duckdb.Error as error:
        raise ReplayFailed(f"{rule.path}: the rule `{rule.id}` could not be judged: {error}") from error


@contextmanager
def together(
    connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule], window: Window | None = None
) -> Iterator[Shared]:
    """What `replay` needs to ask these rules over one window as a pack; every answer is what the rule's own would be.

    What several of them read is read when the block begins, where that pays. Memory that does not suffice for it is
    no error: those rules are then judged alone.

    Raises
    ------
    NothingToReplay
        When a table is missing.
    ReplayFailed
        When the engine fails in another way while it reads what they share.
    """
    window = window or Window()
    with ExitStack() as stack:
        try:
            shared = stack.enter_context(fused(connection, rules, window, source_of(connection, window)))
        except duckdb.Error as error:
            raise ReplayFailed(f"what the rules share could not be read: {error}") from error
        yield shared


def _answer(
    connection: duckdb.DuckDBPyConnection, rule: Rule, certificate: Certificate, most_rows: int | None
) -> Replay:
    spans = connection.execute(
        f"select min(first_span_at), max(last_span_at) from {RESULT} where verdict = 'violated'"  # noqa: S608
    ).fetchall()
    first, last = spans[0]
    return Replay(
        rule=rule,
        certificate=certificate,
        violations=_rows(connection, "violated", most_rows),
        inconclusive=_rows(connection, "inconclusive", most_rows),
        first_violation_at=first,
        last_violation_at=last,
    )


def source_of(connection: duckdb.DuckDBPyConnection, window: Window) -> Source:
    """Which promoted columns the tables have: a rule typed in line may name attributes that no column was made for."""
    found = connection.execute(
        "select table_schema || '.' || table_name, column_name from information_schema.columns"
        " where table_schema in ('staging', 'intermediate')"
    ).fetchall()
    tables = {table for table, _column in found}
    missing = [name for name in _REQUIRED if name not in tables]
    if missing:
        raise NothingToReplay(f"nothing to replay: {', '.join(missing)} is missing; run `hindcast nightly` first")
    columns: dict[Entity, frozenset[str]] = {
        "span": frozenset(name for table, name in found if table == "staging.stg_spans"),
        "log": frozenset(name for table, name in found if table == "staging.stg_logs"),
    }
    inside = window.recordable
    return Source(
        columns=columns,
        start=inside.start,
        end=inside.end,
        shapes_have_names=("intermediate.int_trace_shape", "span_name") in found,
    )


def _rows(connection: duckdb.DuckDBPyConnection, verdict: str, most: int | None) -> pa.Table:
    """Rows of one verdict; ids in hexadecimal without hyphens, as the sources carry them."""
    query = f"""
        select
            violation_id, rule_id, meaning_hash, scope_kind,
            case when scope_kind = 'trace' then replace(scope_key, '-', '') else scope_key end as scope_key,
            list_transform(trace_ids, lambda one: replace(one::varchar, '-', '')) as trace_ids,
            verdict, reason, first_span_at, last_span_at, service_names, service_versions,
            list_transform(witness, lambda one: {{
                'trace_id': replace(one.trace_id::varchar, '-', ''),
                'span_id': lower(lpad(to_hex(one.span_id), 16, '0'))
            }}) as witness,
            reported::varchar as reported
        from {RESULT}
        where verdict = ?
        order by first_span_at, scope_key
        {"" if most is None else f"limit {most:d}"}
    """  # noqa: S608
    return connection.sql(query, params=[verdict]).to_arrow_table()
