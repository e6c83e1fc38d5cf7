"""What the reports of a gate have in common: its sentences, and how many violations are shown."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from dagster_project.gate.findings import NO_LOGS, Finding, Judged, Sample
from dagster_project.gate.outcome import ExitCode, Outcome, Reviewed
from dagster_project.gate.selection import line_of
from dagster_project.rule_language import Rule
from dagster_project.rule_language.rule_file import RESERVED_REPORT_NAME
from dagster_project.wording import counted

SHOWN_A_RULE = 20
LEFT_OUT_SHOWN = 5
NAMES_SHOWN = 10


def summary(outcome: Outcome) -> str:
    """The answer in one line."""
    states = outcome.states
    parts = [f"{counted(states['new'], 'new finding')} of {counted(len(outcome.judged), 'rule')}"]
    if states["new"]:
        rules = {one.finding.rule.id for one in outcome.reviewed if one.state == "new"}
        scopes = sum(one.finding.scopes for one in outcome.reviewed if one.state == "new")
        parts[0] += (
            f": {counted(scopes, 'violation')} in {', '.join(sorted(rules)[:5])}{', …' if len(rules) > 5 else ''}"
        )
    parts += [f"{states['known']:,} known"] if states["known"] else []
    parts += [f"{states['shown']:,} shown that stop nothing"] if states["shown"] else []
    parts += [f"{counted(len(outcome.broken), 'rule')} could not be judged"] if outcome.broken else []
    if outcome.exit_code is ExitCode.NOTHING_TO_JUDGE:
        parts.append("there was nothing to judge: no span was received")
    return "; ".join(parts)


def received(outcome: Outcome) -> str:
    """What was judged, of what was received."""
    seen = outcome.telemetry
    parts = [
        f"{counted(seen.spans, 'span')}, {counted(seen.logs, 'log record')}, {counted(seen.traces, 'trace')}"
        f" ({seen.traces_complete:,} complete) of {counted(len(seen.files), 'file')}"
    ]
    parts += [f"{counted(seen.repeats, 'record')} sent again, counted once"] if seen.repeats else []
    parts += [f"{counted(seen.records_refused, 'record')} refused"] if seen.records_refused else []
    parts += [f"{counted(len(seen.left_out), 'file')} left out"] if seen.left_out else []
    return "; ".join(parts)


def remarks(outcome: Outcome) -> Iterator[str]:
    """What a reader should know beside the findings: refusals, silent rules, stale acceptances."""
    yield from _of_files(outcome)
    yield from _of_silence(outcome)
    for one in outcome.judged:
        if one.counts is not None and one.counts.null_keys:
            keys = ", ".join(one.rule.judgement.group_by)
            yield f"{one.rule.id}: {counted(one.counts.null_keys, 'item')} without {keys}, in no group and not judged"
    for entry in outcome.stale:
        yield f"accepted and not seen: {entry.rule} {entry.fingerprint} ({entry.where}); mended, or not exercised here"


def _of_files(outcome: Outcome) -> Iterator[str]:
    for file in outcome.telemetry.files:
        if file.records_refused:
            yield f"{file.path}: {counted(file.records_refused, 'record')} refused; first: {file.refusals[0]}"
        if file.unknown_fields:
            yield f"{file.path}: read over unknown fields {', '.join(file.unknown_fields)}"
    for left in outcome.telemetry.left_out[:LEFT_OUT_SHOWN]:
        yield f"{left.path}: left out, {left.reason}"
    if (more := len(outcome.telemetry.left_out) - LEFT_OUT_SHOWN) > 0:
        yield f"and {counted(more, 'file')} more left out"


def _of_silence(outcome: Outcome) -> Iterator[str]:
    if unasked := [one.rule.id for one in outcome.judged if one.unasked]:
        yield (
            f"{counted(len(unasked), 'rule')} not judged, for logs are spoken of and {NO_LOGS}: {some(unasked)};"
            " --logs names files of them"
        )
    if silent := [one.rule.id for one in outcome.judged if not one.error and not one.unasked and not one.applied]:
        says = "so it says" if len(silent) == 1 else "so they say"
        yield f"{counted(len(silent), 'rule')} met nothing to judge here, {says} nothing: {some(silent)}"


def some(names: list[str]) -> str:
    """The first names of a long list."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def headline(one: Reviewed) -> str:
    """A finding in one line."""
    finding = one.finding
    if finding.verdict == "inconclusive":
        return f"{counted(finding.scopes, 'scope')} cannot be judged: {finding.where}"
    return f"{counted(finding.scopes, 'violation')} at {finding.where}"


def shown(findings: tuple[Reviewed, ...], limit: int = SHOWN_A_RULE) -> tuple[tuple[Reviewed, Sample], ...]:
    """The violations of a rule that are shown: one of each finding first, what is new before what is known."""
    order = {"new": 0, "known": 1, "shown": 2}
    ordered = sorted(findings, key=lambda one: order[one.state])
    longest = max((len(one.finding.samples) for one in ordered), default=0)
    rounds = ((one, one.finding.samples[n]) for n in range(longest) for one in ordered if n < len(one.finding.samples))
    return tuple(islice(rounds, limit))


def evidence(sample: Sample) -> str:
    """The traces of a violation and what it reports, in one line."""
    is_keyed = sample.scope_key and sample.scope_key not in sample.trace_ids
    parts = [f"of {sample.scope_key}"] if is_keyed else []
    parts += [f"trace {', '.join(sample.trace_ids)}"] if sample.trace_ids else []
    parts.append(f"at {sample.first_span_at} UTC")
    parts += [
        f"{name} = {value}"
        for name, value in sample.reported.items()
        if value is not None and name != RESERVED_REPORT_NAME
    ]
    return "; ".join(parts)


def location(rule: Rule) -> str:
    """File and line of what a rule forbids."""
    return f"{rule.path}:{line_of(rule)}"


def why_broken(one: Judged) -> str:
    """The error of a rule, without an end of line."""
    return one.error.strip()


def is_failing(one: Reviewed) -> bool:
    """Whether a finding stops the pipeline."""
    return one.state == "new"


def total_scopes(findings: tuple[Reviewed, ...]) -> int:
    """How many scopes these findings stand for."""
    return sum(one.finding.scopes for one in findings)


def title(finding: Finding) -> str:
    """What a finding is called in lists."""
    return f"{finding.rule.id}: {finding.rule.title}"
