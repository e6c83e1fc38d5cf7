"""What the data cannot say about an incident, and where it contradicts itself; each line names its row."""

from __future__ import annotations

from itertools import pairwise

from dagster_project.facts import IncidentFacts
from dagster_project.post_mortem.model import Bullets, References, Section, Statement, code, say
from dagster_project.wording import count, counted, duration, share, utc

FEW_BASELINE_TRACES = 30


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
    lines = [
        say(
            "{rule} could not decide {scopes} of the window, because traces are incomplete or values are missing.",
            "unknown",
            references.cite(rule.reference),
            rule=code(rule.rule_id),
            scopes=counted(rule.inconclusive_during, "case"),
        )
        for rule in facts.violations
        if rule.inconclusive_during
    ]
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
    if facts.clock_problem:
        sentence = "The incident's clocks contradict each other ({problem}); no duration is computed from them."
        lines.append(say(sentence, "conflict", cite, problem=facts.clock_problem))
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
    dated = [one for one in (facts.started, *facts.clocks) if one.at is not None]
    for before, after in pairwise(dated):
        if before.at and after.at and after.at < before.at:
            sentence = "It was {after} {gap} before it was {before}, if both clocks are right."
            gap = duration((before.at - after.at).total_seconds())
            cite = references.cite(facts.reference)
            lines.append(say(sentence, "conflict", cite, after=after.name, gap=gap, before=before.name))
    start = facts.started.at
    lines += [
        say(
            "{rule} was first violated {at}, before the recorded start: the start may be later than the trouble.",
            "conflict",
            references.cite(rule.reference),
            rule=code(rule.rule_id),
            at=utc(rule.first_at),
        )
        for rule in facts.violations
        if start and rule.first_at and rule.first_at < start and rule.excess > 0
    ]
    return lines
