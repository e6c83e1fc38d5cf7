"""Proposes rules for an incident: candidates that chance does not explain become rules, which are run over traces that
were kept aside. What holds there is proposed; a person accepts it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import duckdb
import numpy as np

from dagster_project.replay import rule_tests
from dagster_project.replay.query import source_of
from dagster_project.replay.window import Window
from dagster_project.rule_language import Rule, RuleErrors, load_catalogue
from dagster_project.rule_language.meaning.model import INTRINSICS
from dagster_project.rule_language.sql.query import to_sql, verdicts_query
from dagster_project.rule_suggestions import rule_text
from dagster_project.rule_suggestions.arms import Arms, Part, compared, incident
from dagster_project.rule_suggestions.candidates import Candidate, candidates, fisher
from dagster_project.wording import counted

MOST_TESTED: Final = 40  # rules that are run over the traces kept aside; each makes the others' proof harder
MOST_PROPOSED: Final = 5
ALPHA: Final = 0.05
_KEPT_ASIDE: Final[tuple[Part, ...]] = ("other", "test")
SAME: Final = 0.8  # of the traces that two rules are violated by: they say one thing


@dataclass(frozen=True)
class Figures:
    """What a rule finds in one part: violated ones of all traces, during and before."""

    violated_during: int
    during: int
    violated_before: int
    before: int
    p_value: float

    @property
    def precision(self) -> float | None:
        """Of what violates it, the share that is of the incident; None when nothing does."""
        found = self.violated_during + self.violated_before
        return self.violated_during / found if found else None

    @property
    def recall(self) -> float:
        return self.violated_during / self.during

    def said(self) -> str:
        """The figures in words."""
        precision = "none" if self.precision is None else f"{self.precision:.2f}"
        return (
            f"precision {precision}, recall {self.recall:.2f}: violated by {self.violated_during:,} of"
            f" {counted(self.during, 'trace')} during and {self.violated_before:,} of {self.before:,} before;"
            f" p = {self.p_value:.2g}"
        )


@dataclass(frozen=True)
class Proposal:
    """A rule that holds on traces it was not made from. `holds_on` names the parts; `text` is its file."""

    rule_id: str
    title: str
    text: str
    candidate: Candidate
    figures: dict[Part, Figures]
    holds_on: tuple[Part, ...]


@dataclass(frozen=True)
class Suggestions:
    """The answer: `tried` candidates were counted, `separating` are beyond chance, `tested` were run as rules."""

    arms: Arms
    tried: int
    separating: int
    tested: int
    proposals: tuple[Proposal, ...]


@dataclass(frozen=True)
class _Tested:
    candidate: Candidate
    figures: dict[Part, Figures]
    violated: frozenset[str]
    holds_on: tuple[Part, ...]


def suggest(connection: duckdb.DuckDBPyConnection, incident_id: str, before: timedelta) -> Suggestions:
    """Propose rules for an incident of a published generation.

    Raises
    ------
    IncidentNotFound, TooFewTraces
        There is nothing to propose from.
    """
    with compared(connection, incident(connection, incident_id), before) as arms:
        tried = candidates(connection)
        finalists = _finalists(tried.separating)
        proofs = len(finalists) * (len(arms.sizes) - 1)
        tested = [found for one in finalists if (found := _run(connection, arms, one, proofs)) is not None]
        proposals: list[Proposal] = []
        for one in _different(sorted((one for one in tested if one.holds_on), key=_merit)):
            if (
                len(proposals) < MOST_PROPOSED
                and (proposal := _proposal(connection, arms, one, tried.count)) is not None
            ):
                proposals.append(proposal)
    return Suggestions(arms, tried.count, len(tried.separating), len(finalists), tuple(proposals))


def _finalists(separating: Sequence[Candidate]) -> list[Candidate]:
    """The best candidates, one of those that say the same of the same spans."""
    seen: set[tuple[object, ...]] = set()
    chosen = []
    for one in separating:
        same = (one.kind, one.subject if one.kind == "missing" else "", one.bad_during, one.during, one.bad_before)
        if same not in seen and one.number < rule_text.MOST_SPANS:
            seen.add(same)
            chosen.append(one)
    return chosen[:MOST_TESTED]


def _run(traces: duckdb.DuckDBPyConnection, arms: Arms, one: Candidate, proofs: int) -> _Tested | None:
    """Judge the candidate as a rule over every trace of every part; None when the language cannot say it."""
    # The clauses alone are no file: tests follow once there are verdicts to cut them from.
    draft = rule_text.rule_file(one, arms.incident, "draft", _PLACEHOLDERS)
    try:
        rule = _read(one, arms, draft)
    except RuleErrors:
        return None
    # Of the promoted columns the parts have none; how old their shapes are, the warehouse that they come from decides.
    source = replace(source_of(traces, Window()), columns={entity: frozenset() for entity in INTRINSICS})
    query = to_sql(verdicts_query(rule, source), pretty=False)
    chosen = f"select scope_key::uuid as trace_id, verdict from ({query})"  # noqa: S608  # of the rule's compiler
    traces.execute(f"create or replace temp table verdicts as {chosen}")
    figures = _figures(traces)
    violated = traces.execute("select trace_id::varchar from verdicts where verdict = 'violated'").fetchall()
    holds_on = tuple(part for part in _KEPT_ASIDE if part in figures and figures[part].p_value * proofs <= ALPHA)
    return _Tested(one, figures, frozenset(trace for (trace,) in violated), holds_on)


def _figures(traces: duckdb.DuckDBPyConnection) -> dict[Part, Figures]:
    """What the verdicts say of each part. Where the rule does not apply, no trace speaks for or against it."""
    rows = traces.execute("""
        select
            part,
            count(*) filter (arm = 'during' and verdict = 'violated'), count(*) filter (arm = 'during'),
            count(*) filter (arm = 'before' and verdict = 'violated'), count(*) filter (arm = 'before'),
            count(*) filter (arm = 'during' and verdict in ('violated', 'satisfied')),
            count(*) filter (arm = 'before' and verdict in ('violated', 'satisfied'))
        from arms left join verdicts using (trace_id) group by part
    """).fetchall()
    figures: dict[Part, Figures] = {}
    for part, bad_during, during, bad_before, before, judged_during, judged_before in rows:
        counts = (np.array([count]) for count in (bad_during, judged_during, bad_before, judged_before))
        figures[part] = Figures(bad_during, during, bad_before, before, float(fisher(*counts)[0]))
    return figures


def _merit(one: _Tested) -> tuple[object, ...]:
    """The better first: what holds on another incident, then precision and recall together on what was kept aside."""
    shown = one.figures[one.holds_on[0]]
    precision, recall = shown.precision or 0.0, shown.recall
    harmonic = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return "other" not in one.holds_on, -round(harmonic, 3), one.candidate.p_value, one.candidate.subject


def _different(tested: Sequence[_Tested]) -> list[_Tested]:
    """Without those that are violated by nearly the same traces as a better one."""
    kept: list[_Tested] = []
    for one in tested:
        if all(len(one.violated & other.violated) < SAME * len(one.violated | other.violated) for other in kept):
            kept.append(one)
    return kept


def _proposal(traces: duckdb.DuckDBPyConnection, arms: Arms, one: _Tested, tried: int) -> Proposal | None:
    """The rule file; None when no test traces can be cut that show what it says."""
    candidate = one.candidate
    # `verdicts` holds those of the rule that was run last.
    if _run(traces, arms, candidate, 1) is None:
        return None
    examples = []
    for arm, verdict, said in (("during", "violated", "during the incident"), ("before", "satisfied", "before it")):
        rows = traces.execute(
            "select trace_id::varchar from verdicts inner join arms using (trace_id)"
            " inner join intermediate.int_traces using (trace_id)"
            " where arm = ? and part <> 'other' and verdict = ?"
            " order by is_complete desc, span_count, md5(trace_id::varchar) limit 1",
            [arm, verdict],
        ).fetchall()
        if not rows:
            return None
        examples.append(rule_text.cut(traces, candidate, rows[0][0], f"a trace {said}, cut down", verdict))
    text = rule_text.rule_file(candidate, arms.incident, _description(arms, one, tried), examples)
    try:
        catalogue = load_catalogue({_path(candidate, arms): text})
    except RuleErrors:
        return None
    if rule_tests.failures(rule_tests.run(catalogue)):
        return None
    return Proposal(
        rule_text.identity(candidate, arms.incident),
        rule_text.title(candidate),
        text,
        candidate,
        one.figures,
        one.holds_on,
    )


def _description(arms: Arms, one: _Tested, tried: int) -> str:
    """What a reader of the rule must know: where it comes from, how well it tells, and how much was tried."""
    train, candidate = one.figures["train"], one.candidate
    paragraphs = [
        f"Proposed from incident {arms.incident.id} ({arms.incident.title}); not yet accepted by anybody. It tells"
        f" traces of the incident from those of {arms.before_said}. Say here why it matters and what to do, and whether"
        " it is a cause or a symptom.",
        f"Made from {counted(train.during, 'trace')} during and {train.before:,} before: {train.said()}.",
        *(f"On {arms.said(part)}: {figures.said()}." for part, figures in one.figures.items() if part != "train"),
        f"One of {tried:,} candidate conditions that were tried; among those chosen with it at most"
        f" {candidate.q_value:.2g} are expected to be false (Benjamini-Hochberg). Traces of one incident are not"
        " independent, so the p-values are too small.",
    ]
    if "other" in one.figures and "other" not in one.holds_on:
        paragraphs.append(f"It does not hold on {arms.said('other')}: it may be about this incident alone.")
    return "\n".join(line for text in paragraphs for line in textwrap.wrap(text, 110)) + "\n"


def _read(one: Candidate, arms: Arms, text: str) -> Rule:
    (rule,) = load_catalogue({_path(one, arms): text})
    return rule


def _path(one: Candidate, arms: Arms) -> str:
    return f"rules/suggested/{rule_text.identity(one, arms.incident)}.yml"


_PLACEHOLDERS: Final = [
    rule_text.Example("violated", "violated", [{"name": "x"}], []),
    rule_text.Example("satisfied", "satisfied", [{"name": "x"}], []),
]
