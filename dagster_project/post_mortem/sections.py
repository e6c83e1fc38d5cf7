"""The sections of a post-mortem, each a function from facts to blocks. Blameless: services and clocks, never people.

What a row does not say is not written here; it goes under "Unknowns and conflicts" (`unknowns.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from dagster_project.facts import (
    Clock,
    Impact,
    IncidentFacts,
    RuleViolations,
    ServiceShift,
    SuspectService,
)
from dagster_project.post_mortem import against_baseline
from dagster_project.post_mortem.model import (
    Block,
    Hypothesis,
    References,
    Row,
    Run,
    Section,
    Statement,
    Table,
    code,
    say,
    strong,
)
from dagster_project.post_mortem.rule_replay import replay
from dagster_project.post_mortem.unknowns import unknowns_and_conflicts
from dagster_project.wording import count, counted, duration, quantity, share, utc

METHOD = (
    "A shift is the distance between the medians of window and baseline in standard deviations of the baseline "
    "(interquartile range over 1.35, or 2 % of the median when that is larger); for error logs it is how far the "
    "number of traces with them lies from the number expected (Anscombe). {signals} signals were compared; at 3 or "
    "more a signal counts as moved, but not when it moved to the better (durations, latency or error logs down, a "
    "success rate up). Services with more error logs than expected come first, then those of whose "
    "signals the larger share moved. Abnormal is not causal: a service that waits for a broken one looks broken too."
)

# Fields of incident systems that say when the record was made.
CREATION_FIELDS = frozenset({"created_at", "opened_at"})
# A window smaller than this says little about a median.
FEW = 20


def summary(facts: IncidentFacts, references: References) -> Section:
    """What happened, in a few sentences."""
    cite = references.cite(facts.reference)
    severity = strong(facts.severity) if facts.severity else "without a severity"
    where = code(facts.service_name) if facts.service_name else "no named service"
    began = utc(facts.started.at)
    blocks: list[Block] = []
    if facts.is_open:
        sentence = "{id} ({severity}) was noticed at {where}. It began {began} and has no end in the data."
        blocks.append(
            say(sentence, "fact", cite, id=code(facts.incident_id), severity=severity, where=where, began=began)
        )
    else:
        resolved = _clock(facts, "resolved")
        sentence = "{id} ({severity}) was noticed at {where}. It began {began}{ended}."
        ended = ", but its clocks give no length"
        if resolved.seconds is not None:
            ended = f" and was resolved after {duration(resolved.seconds)}"
        blocks.append(
            say(
                sentence,
                "fact",
                cite,
                id=code(facts.incident_id),
                severity=severity,
                where=where,
                began=began,
                ended=ended,
            )
        )
    blocks += [*_summary_of_traces(facts, references), *_summary_of_rules(facts, references)]
    if facts.suspects:
        blocks.append(_summary_of_suspects(facts, references))
    return Section("summary", "Summary", tuple(blocks))


def _summary_of_traces(facts: IncidentFacts, references: References) -> list[Statement]:
    impact = facts.impact
    if impact is None or not impact.traces:
        cite = references.cite(impact.reference if impact else facts.reference)
        return [say("No trace was recorded in its window, so nothing below rests on telemetry.", "unknown", cite)]
    sentence = (
        "In its window {traces} were recorded; {errors} of them ({part}) have error logs. The traces reach {services}."
    )
    return [
        say(
            sentence,
            "fact",
            references.cite(impact.reference),
            traces=strong(counted(impact.traces, "trace")),
            errors=count(impact.traces_with_error_logs),
            part=share(impact.traces_with_error_logs, impact.traces),
            services=counted(len(impact.services_reached), "service"),
        )
    ]


def _summary_of_rules(facts: IncidentFacts, references: References) -> list[Statement]:
    violated = [rule for rule in facts.violations if rule.violated_during]
    if not violated:
        return []
    counts: dict[str, str | Run] = {
        "rules": strong(counted(len(violated), "rule")),
        "replayed": count(max(len(facts.certificates), len(violated))),
        "were": "was" if len(violated) == 1 else "were",
    }
    above = against_baseline.clearly_above(facts.violations)
    if not above:
        ending = "none in a clearly larger share of traces than before"
        if not against_baseline.compared(facts.violations):
            ending = "and there is no baseline to compare them with"
        sentence = "{rules} of {replayed} replayed {were} violated in it, {ending}."
        cite = references.cite(*(rule.reference for rule in violated))
        return [say(sentence, "fact", cite, ending=ending, **counts)]
    most = above[0]
    sentence = (
        "{rules} of {replayed} replayed {were} violated in it. Furthest above its baseline is {rule}: {during} of "
        "{traces} traces ({part}), against {before} of {baseline} ({rest})."
    )
    return [
        say(
            sentence,
            "fact",
            references.cite(most.reference),
            rule=code(most.rule_id),
            during=count(most.violated_during),
            traces=count(most.traces_during),
            part=share(most.violated_during, most.traces_during),
            before=count(most.violated_baseline),
            baseline=count(most.traces_baseline),
            rest=share(most.violated_baseline, most.traces_baseline),
            **counts,
        )
    ]


def _summary_of_suspects(facts: IncidentFacts, references: References) -> Statement:
    suspect = facts.suspects[0]
    return say(
        "The most abnormal service is {service}{aside}: {moved} of its {compared} moved far from their baseline. "
        "That is a place to look, not a cause.",
        "hypothesis",
        references.cite(suspect.reference),
        service=code(suspect.service_name),
        aside="" if _is_reached(suspect, facts) else ", which no trace of the window reached",
        moved=strong(count(suspect.moved_count)),
        compared=counted(suspect.compared_count, "signal"),
    )


def _is_reached(suspect: SuspectService, facts: IncidentFacts) -> bool:
    return facts.impact is not None and suspect.service_name in facts.impact.services_reached


def impact(facts: IncidentFacts, references: References) -> Section:
    """Measured impact during the window, beside the baseline."""
    seen = facts.impact
    title = "Impact"
    if seen is None or not seen.traces:
        cite = references.cite(seen.reference if seen else facts.reference)
        return Section(
            "impact", title, (say("There is no telemetry to measure an impact with in this window.", "unknown", cite),)
        )
    cite = references.cite(seen.reference)
    window = say(
        "Measured over {begin} to {end}; the window opens a little before the recorded start. {baseline}",
        "fact",
        cite,
        begin=utc(seen.window_from),
        end=utc(seen.window_until),
        baseline=_baseline(seen),
    )
    rows = [
        ("Traces recorded", count(seen.traces), count(seen.baseline_traces)),
        (
            "Traces with error logs",
            _with_share(seen.traces_with_error_logs, seen.traces),
            _with_share(seen.baseline_traces_with_error_logs, seen.baseline_traces),
        ),
        ("Median trace duration", _ms(seen.median_duration_ms), _ms(seen.baseline_median_duration_ms)),
        ("95th percentile of trace duration", _ms(seen.p95_duration_ms), _ms(seen.baseline_p95_duration_ms)),
    ]
    table = Table(
        caption="Requests seen in traces",
        columns=("Measure", "During", "Baseline"),
        numeric=(1, 2),
        rows=tuple(Row((Run(name), strong(during), Run(before)), cite) for name, during, before in rows),
        total=len(rows),
    )
    return Section("impact", title, (window, table))


def _baseline(seen: Impact) -> str:
    if not seen.baseline_traces:
        return "There is no quiet trace to compare it with."
    kinds = {"hour before": "the quiet traces of the hour before", "quiet day": "all quiet traces of that day"}
    return f"The baseline is {kinds.get(seen.baseline_kind or '', seen.baseline_kind or 'not named')}."


def _with_share(part: int, whole: int) -> str:
    return f"{count(part)} ({share(part, whole)})"


def _ms(value: float | None) -> str:
    return duration(None if value is None else value / 1e3)


def detection(facts: IncidentFacts, references: References) -> Section:
    """How the incident became known, and what the rules would have shown by then."""
    blocks: list[Block] = []
    cite = references.cite(facts.reference)
    detected = _clock(facts, "detected")
    if detected.at is None:
        blocks.append(say("No detection time is recorded.", "unknown", cite))
    else:
        sentence = "Detected {at} according to {source}{after}."
        after, source = _after_start(facts.started, detected), detected.said_by or "the incident's own row"
        blocks.append(say(sentence, "fact", cite, at=utc(detected.at), after=after, source=source))
    rare = [rule for rule in facts.violations if rule.first_at and against_baseline.is_rare(rule)]
    first = min(rare, key=_first_at, default=None)
    if first and first.first_at and facts.started.at:
        gap = (first.first_at - facts.started.at).total_seconds()
        blocks.append(
            say(
                "The first violation in the window of a rule that is rare in the baseline, {rule} ({before} of "
                "{baseline} traces), is from {at}: {gap} the recorded start.",
                "fact",
                references.cite(first.reference),
                rule=code(first.rule_id),
                before=count(first.violated_baseline),
                baseline=count(first.traces_baseline),
                at=utc(first.first_at),
                gap=f"{duration(abs(gap))} {'after' if gap >= 0 else 'before'}",
            )
        )
    return Section("detection", "Detection", tuple(blocks))


def _after_start(started: Clock, detected: Clock) -> str:
    if is_one_creation(started, detected):
        return ", which is the creation that counts as the start: how long it went unseen is not recorded"
    if detected.seconds is not None:
        return (
            f", {duration(detected.seconds)} after the recorded start" if detected.seconds else ", at the start itself"
        )
    if detected.at and started.at and detected.at < started.at:
        return f", {duration((started.at - detected.at).total_seconds())} before the recorded start"
    return ""


def is_one_creation(started: Clock, stopped: Clock) -> bool:
    """Whether both clocks were set when the incident's record was made, so that no time passed between them."""
    fields = {(one.said_by or "").rpartition(".")[2] for one in (started, stopped)}
    return stopped.name == "detected" and stopped.seconds == 0 and fields <= CREATION_FIELDS


def _first_at(rule: RuleViolations) -> datetime:
    return rule.first_at or datetime.max


def timeline(facts: IncidentFacts, references: References) -> Section:
    """What happened when, from before the incident on."""
    rows = tuple(
        Row(
            (
                Run(utc(entry.at).removesuffix(" UTC"), "code"),
                Run(_offset(entry.at, facts.started.at)),
                Run(entry.kind),
                Run(entry.text),
                Run(entry.source or entry.reference.relation),
            ),
            references.cite(entry.reference),
        )
        for entry in facts.timeline
    )
    if not rows:
        cite = references.cite(facts.reference)
        return Section("timeline", "Timeline (UTC)", (say("No dated event is recorded.", "unknown", cite),))
    table = Table(
        caption="Events in order; T is the recorded start",
        columns=("Time (UTC)", "T", "Kind", "What", "Said by"),
        numeric=(1,),
        times=(0, 2),
        wide=(3,),
        rows=rows,
        total=facts.timeline_total,
    )
    return Section("timeline", "Timeline (UTC)", (table,))


def _offset(at: datetime, start: datetime | None) -> str:
    if start is None:
        return ""
    seconds = (at - start).total_seconds()
    if seconds == 0:
        return "T"
    return ("+" if seconds > 0 else "") + duration(seconds)


def metrics(facts: IncidentFacts, references: References) -> Section:
    """Each response time with both ends of its clock."""
    cite = references.cite(facts.reference)
    names = {
        "detected": "Time to detect",
        "acknowledged": "Time to acknowledge",
        "mitigated": "Time to mitigate",
        "resolved": "Time to resolve",
    }
    rows = tuple(
        Row(
            (
                Run(names[one.name]),
                _measured(facts.started, one),
                Run(utc(facts.started.at), "code"),
                Run(utc(one.at) if one.at else "not recorded", "code" if one.at else "plain"),
                Run(one.said_by or "\N{EN DASH}"),
            ),
            cite,
        )
        for one in facts.clocks
        if one.name in names
    )
    table = Table(
        caption="Response times, each with its clock",
        columns=("Measure", "Duration", "Clock starts", "Clock stops", "Said by"),
        numeric=(1,),
        times=(2, 3),
        rows=rows,
        total=len(rows),
    )
    return Section("metrics", "Response times", (table,))


def _measured(started: Clock, one: Clock) -> Run:
    if is_one_creation(started, one):
        return Run("not measured (the start is the time of creation)")
    return strong(duration(one.seconds)) if one.seconds is not None else Run("not measurable")


def services(facts: IncidentFacts, references: References) -> Section:
    """Every service that the window's traces touch."""
    seen = facts.impact
    if seen is None or not seen.services_reached:
        cite = references.cite(seen.reference if seen else facts.reference)
        return Section(
            "services", "Services reached", (say("No trace of the window names a service.", "unknown", cite),)
        )
    runs: list[Run] = [Run(f"Traces of the window pass through {counted(len(seen.services_reached), 'service')}: ")]
    for position, name in enumerate(seen.services_reached):
        runs += [Run(", ")] * bool(position) + [code(name)]
    named = Statement((*runs, Run(".")), "fact", references.cite(seen.reference))
    note = say("Reached says that a request went there, not that the service was at fault.", "note")
    return Section("services", "Services reached", (named, note))


def hypotheses(facts: IncidentFacts, references: References) -> Section:
    """The most abnormal services, each with what speaks for it and what against."""
    title = "Most abnormal services: hypotheses"
    if not facts.suspects:
        cite = references.cite(facts.impact.reference if facts.impact else facts.reference)
        nothing = say(
            "No signal of any service moved far from its baseline to the worse, or none could be compared.",
            "unknown",
            cite,
        )
        return Section("hypotheses", title, (nothing,))
    note = say(METHOD, "note", signals=count(facts.signals_compared))
    blocks: list[Block] = [note]
    for suspect in facts.suspects:
        supporting, contradicting = _supporting(suspect, references), _contradicting(suspect, facts, references)
        blocks.append(Hypothesis(code(suspect.service_name), supporting, contradicting))
    return Section("hypotheses", title, tuple(blocks))


def _supporting(suspect: SuspectService, references: References) -> tuple[Statement, ...]:
    lines = [_moved(one, references) for one in suspect.moved]
    if suspect.moved_count > len(suspect.moved):
        rest = suspect.moved_count - len(suspect.moved)
        cite = references.cite(suspect.reference)
        lines.append(say("{more} of it moved by 3 or more as well.", "hypothesis", cite, more=counted(rest, "signal")))
    return tuple(lines)


def _moved(one: ServiceShift, references: References) -> Statement:
    cite = references.cite(one.reference)
    if one.kind == "error logs":
        sentence = (
            "{seen} of {traces} carry error logs of it, where {expected} were to be expected: a shift of {shift}."
        )
        seen, expected = quantity(one.incident_median), quantity(one.baseline_median)
        traces, shift = counted(one.incident_n, "trace"), strong(_shift(one.shift))
        return say(sentence, "hypothesis", cite, seen=seen, traces=traces, expected=expected, shift=shift)
    return say(
        "{signal} moved {direction} from {before} to {now} (medians of {n} and {m} observations): a shift of {shift}.",
        "hypothesis",
        cite,
        signal=code(one.signal),
        direction="up" if (one.incident_median or 0) > (one.baseline_median or 0) else "down",
        before=quantity(one.baseline_median, one.unit),
        now=quantity(one.incident_median, one.unit),
        n=count(one.baseline_n),
        m=count(one.incident_n),
        shift=strong(_shift(one.shift)),
    )


def _contradicting(suspect: SuspectService, facts: IncidentFacts, references: References) -> tuple[Statement, ...]:
    lines: list[Statement] = []
    if facts.impact and not _is_reached(suspect, facts):
        sentence = "No trace of the window reached it: what moved was measured outside of the recorded requests."
        lines.append(say(sentence, "hypothesis", references.cite(facts.impact.reference)))
    for template, number, names in (
        ("{signals} of it stayed within 1 of the baseline ({names}).", suspect.still_count, suspect.still_examples),
        ("{signals} of it moved far to the better ({names}).", suspect.improved_count, suspect.improved_examples),
    ):
        if number:
            shown = ", ".join(names) + (", …" if number > len(names) else "")
            cite = references.cite(suspect.reference)
            lines.append(say(template, "hypothesis", cite, signals=counted(number, "signal"), names=shown))
    few = [one for one in suspect.moved if min(one.baseline_n, one.incident_n) < FEW]
    if few:
        sentence = "{few} of the signals above {rest} on fewer than {least} observations on one side."
        at = references.cite(*(one.reference for one in few))
        lines.append(
            say(
                sentence,
                "hypothesis",
                at,
                few=count(len(few)),
                least=str(FEW),
                rest="rests" if len(few) == 1 else "rest",
            )
        )
    if facts.impact and any(rule.violated_during for rule in facts.violations) and not suspect.violating_traces:
        lines.append(
            say("No violation of the window touches it.", "hypothesis", references.cite(facts.impact.reference))
        )
    others = [one for one in facts.suspects if one is not suspect and one.moved_share >= suspect.moved_share]
    if others:
        at = references.cite(*(other.reference for other in others))
        sentence = "At least as large a share of the signals of {others} moved."
        lines.append(say(sentence, "hypothesis", at, others=", ".join(other.service_name for other in others)))
    if not lines:
        sentence = "Nothing in the data speaks against it; no test of cause was made."
        lines.append(say(sentence, "hypothesis", references.cite(suspect.reference)))
    return tuple(lines)


def _shift(size: float) -> str:
    return f"{size:,.0f}" if size >= 100 else f"{size:.1f}"


def action_items(facts: IncidentFacts, references: References) -> Section:
    """Action items that the data hold."""
    if not facts.action_items:
        cite = references.cite(facts.reference)
        return Section("actions", "Action items", (say("None is recorded in the data.", "unknown", cite),))
    rows = tuple(
        Row(
            (code(one.item_id), Run(one.kind), Run(one.text), Run(one.owner_role or "\N{EN DASH}"), Run(one.due or ""),
             Run(one.status)),
            references.cite(one.reference),
        )
        for one in facts.action_items
    )  # fmt: skip
    columns = ("Id", "Kind", "What", "Owner", "Due", "Status")
    return Section("actions", "Action items", (Table("Recorded action items", columns, rows, len(rows), wide=(2,)),))


def _clock(facts: IncidentFacts, name: str) -> Clock:
    return next(one for one in facts.clocks if one.name == name)


IN_ORDER: tuple[Callable[[IncidentFacts, References], Section], ...] = (
    *(summary, impact, detection, timeline, metrics, services, hypotheses, replay),
    *(unknowns_and_conflicts, action_items),
)
