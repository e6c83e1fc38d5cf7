"""What the data cannot say about an incident, and where it contradicts itself; each line names its row."""

from __future__ import annotations

from itertools import pairwise

from dagster_project.facts import Clock, IncidentFacts
from dagster_project.post_mortem import against_baseline
from dagster_project.post_mortem.model import Bullets, References, Section, Statement, code, say
from dagster_project.wording import count, counted, duration, share, utc

FEW_BASELINE_TRACES = 30
DURATIONS = {"detected": "detect", "acknowledged": "acknowledge", "mitigated": "mitigate", "resolved": "resolve"}


def unknowns_and_conflicts(facts: IncidentFacts, references: References) -> Section:
    """The section that a reader needs before believing the others."""
    unknown = [*_clocks(facts, references), *_telemetry(facts, references), *_replay(facts, references)]
    conflicts = _conflicts(facts, references)
    none = say("None was found; only the clocks, counts and order of events were compared.", "note")
    return Section(
        "unknowns",
        "Unknowns and conflicts",
        (Bullets("Unknown", tuple(unknown)), Bullets("Conflicts", tuple(conflicts), none)),
    )


def _clocks(facts: IncidentFacts, references: References) -> list[Statement]:
    cite = references.cite(facts.reference)
    lines = []
    missing = [
        one.name for one in facts.clocks if one.at is None and one.name in {"detected", "acknowledged", "mitigated"}
    ]
    if missing:
        lines.append(say("When it was {names} is not recorded.", "unknown", cite, names=_either(missing)))
    lines += _null_durations(facts, references)
    if facts.is_open:
        lines.append(say("It has no recorded end, so no time to resolve and no final impact.", "unknown", cite))
    if facts.severity is None:
        sent = f" (the source says {facts.severity_as_sent})" if facts.severity_as_sent else ""
        lines.append(say("Its severity is not known in terms of P1 to P5{sent}.", "unknown", cite, sent=sent))
    if facts.service_name is None:
        lines.append(say("The source names no service.", "unknown", cite))
    elif not facts.service_in_telemetry:
        sentence = "{service}, where it was noticed, appears in no telemetry."
        lines.append(say(sentence, "unknown", cite, service=code(facts.service_name)))
    lines.append(
        say("Users affected, error budget, money and cause: the sources hold no field for them.", "unknown", cite)
    )
    return lines


def _null_durations(facts: IncidentFacts, references: References) -> list[Statement]:
    """Durations that are missing though nothing contradicts: detection before the record, an end without its time."""
    cite = references.cite(facts.reference)
    if gap := _seen_before_start(facts):
        sentence = (
            "It was detected {gap} before its recorded start, as is usual when the record is made after the alarm; "
            "not computed: {durations}."
        )
        return [say(sentence, "unknown", cite, gap=duration(gap), durations=_withheld(facts))]
    if facts.clock_problem and " before " not in facts.clock_problem:
        sentence = "Its clocks are not whole ({problem}); not computed: {durations}."
        durations = _withheld(facts) or "nothing else"
        return [say(sentence, "unknown", cite, problem=facts.clock_problem, durations=durations)]
    return []


def _seen_before_start(facts: IncidentFacts) -> float:
    """Seconds from detection to the recorded start, when it came first; else 0."""
    start, detected = facts.started.at, _named(facts, "detected").at
    return max(0.0, (start - detected).total_seconds()) if start and detected else 0.0


def _named(facts: IncidentFacts, name: str) -> Clock:
    return next(one for one in facts.clocks if one.name == name)


def _withheld(facts: IncidentFacts) -> str:
    """The durations that no clock gives though the clock struck, or though the incident is over."""
    return ", ".join(
        f"time to {DURATIONS[one.name]}"
        for one in facts.clocks
        if one.name in DURATIONS and one.seconds is None and (one.at or (one.name == "resolved" and not facts.is_open))
    )


def _either(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _telemetry(facts: IncidentFacts, references: References) -> list[Statement]:
    impact = facts.impact
    if impact is None:
        sentence = "No window was measured for it, so nothing is known of its impact."
        return [say(sentence, "unknown", references.cite(facts.reference))]
    cite = references.cite(impact.reference)
    if not impact.traces:
        return [say("No trace falls in its window: what was not recorded cannot be replayed.", "unknown", cite)]
    if not impact.baseline_traces:
        return [say("There is no baseline trace, so no count of the window can be called unusual.", "unknown", cite)]
    if impact.baseline_traces < FEW_BASELINE_TRACES:
        sentence = "The baseline holds {traces}: differences to it are weak."
        return [say(sentence, "unknown", cite, traces=counted(impact.baseline_traces, "trace"))]
    return []


def _replay(facts: IncidentFacts, references: References) -> list[Statement]:
    certificates = {one.rule_id: one.reference for one in facts.certificates}
    lines = []
    for rule in facts.violations:
        if not rule.inconclusive_during:
            continue
        certificate = certificates.get(rule.rule_id)
        why = "; the column verdict_reasons of its certificate says why" if certificate else ""
        lines.append(
            say(
                "{rule} is inconclusive for {traces} of the window{why}.",
                "unknown",
                references.cite(rule.reference, *([certificate] if certificate else [])),
                rule=code(rule.rule_id),
                traces=counted(rule.inconclusive_during, "trace"),
                why=why,
            )
        )
    if not facts.certificates:
        return lines
    worst = max(facts.certificates, key=lambda one: one.traces_incomplete)
    cite = references.cite(worst.reference)
    if worst.traces_incomplete:
        sentence = (
            "{incomplete} of {traces} scanned traces ({part}) are incomplete; in those an absence proves nothing."
        )
        incomplete, traces = count(worst.traces_incomplete), count(worst.traces_scanned)
        part = share(worst.traces_incomplete, worst.traces_scanned)
        lines.append(say(sentence, "unknown", cite, incomplete=incomplete, traces=traces, part=part))
    if worst.records_quarantined:
        refused = counted(worst.records_quarantined, "record")
        lines.append(say("{refused} of the scanned time were refused on loading.", "unknown", cite, refused=refused))
    if worst.undetectable_loss_note:
        lines.append(say("{note}", "unknown", cite, note=worst.undetectable_loss_note))
    return lines


def _conflicts(facts: IncidentFacts, references: References) -> list[Statement]:
    cite = references.cite(facts.reference)
    lines = []
    problem = facts.clock_problem
    # Detection before the record is made is the usual order; `_null_durations` says what it costs.
    if problem and " before " in problem and not problem.startswith("detected "):
        sentence = "The incident's clocks contradict each other ({problem}); not computed: {durations}."
        durations = _withheld(facts) or "none, for no duration ends at that clock"
        lines.append(say(sentence, "conflict", cite, problem=problem, durations=durations))
    lines += _order(facts, references)
    if facts.reopened_count:
        sentence = "It was reopened {times}; a time to resolve counts to the last resolution."
        lines.append(say(sentence, "conflict", cite, times=counted(facts.reopened_count, "time")))
    if facts.severity and facts.severity_as_sent and facts.severity != facts.severity_as_sent:
        sentence = "The source calls its severity {sent}, the policy reads that as {severity}."
        sent, severity = facts.severity_as_sent, facts.severity
        lines.append(say(sentence, "conflict", cite, sent=sent, severity=severity))
    return lines


def _order(facts: IncidentFacts, references: References) -> list[Statement]:
    """Clocks that run against the order of an incident, and effects before the recorded start."""
    lines = []
    first = _seen_before_start(facts)
    clocks = [one for one in facts.clocks if not (first and one.name == "detected")]
    dated = [one for one in (facts.started, *clocks) if one.at is not None]
    for before, after in pairwise(dated):
        if before.at and after.at and after.at < before.at:
            sentence = "It was {after} {gap} before it was {before}, if both clocks are right."
            gap = duration((before.at - after.at).total_seconds())
            cite = references.cite(facts.reference)
            lines.append(say(sentence, "conflict", cite, after=after.name, gap=gap, before=before.name))
    start = facts.started.at
    lines += [
        say(
            "{rule}, rare in the baseline, was first violated {at}, before the recorded start: the start may be later "
            "than the trouble.",
            "conflict",
            references.cite(rule.reference),
            rule=code(rule.rule_id),
            at=utc(rule.first_at),
        )
        for rule in facts.violations
        if start and rule.first_at and rule.first_at < start and against_baseline.is_rare(rule)
    ]
    return lines
