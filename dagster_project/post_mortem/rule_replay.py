"""The section of a post-mortem on what the rules found: verdicts that say something, examples, what was scanned."""

from __future__ import annotations

from datetime import datetime

from dagster_project.facts import Certificate, IncidentFacts, Reference, RuleViolations
from dagster_project.post_mortem.model import (
    Block,
    Bullets,
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
from dagster_project.wording import count, counted, utc

SCANNED = (
    "spans_scanned", "logs_scanned", "traces_complete", "traces_scanned", "inconclusive", "records_quarantined",
)  # fmt: skip


def replay(facts: IncidentFacts, references: References) -> Section:
    """Violations by rule in the window, examples to open, and the certificates of what was scanned."""
    title = "Rule replay"
    blocks: list[Block] = []
    quiet = tuple(rule for rule in facts.violations if _is_quiet(rule))
    told = tuple(rule for rule in facts.violations if not _is_quiet(rule))
    if told:
        rows = tuple(_rule_row(rule, references) for rule in told)
        columns = ("Rule", "Severity", "During", "Baseline", "Inconclusive", "First (UTC)", "Last (UTC)")
        caption = "Violated of recorded traces, during the window and in the baseline"
        blocks.append(Table(caption, columns, rows, len(rows), numeric=(2, 3, 4), times=(5, 6)))
        if quiet:
            blocks.append(_quiet_rules(facts, len(quiet), references))
        examples = [(rule, one) for rule in told for one in rule.examples]
        if examples:
            lines = tuple(
                say(
                    "{rule}: {scope} from {at}, through {services}.",
                    "fact",
                    references.cite(one.reference),
                    rule=code(rule.rule_id),
                    scope=code(one.scope_key),
                    at=utc(one.first_span_at),
                    services=", ".join(one.service_names) or "no named service",
                )
                for rule, one in examples
            )
            blocks.append(Bullets("The first violations of each rule", lines))
    else:
        cite = references.cite(facts.impact.reference if facts.impact else facts.reference)
        blocks.append(say("No violation of any rule falls in the window.", "fact", cite))
    if facts.certificates:
        blocks.append(_certificates(facts.certificates, references))
    return Section("replay", title, tuple(blocks))


def _rule_row(rule: RuleViolations, references: References) -> Row:
    return Row(
        (
            code(rule.rule_id),
            Run(rule.severity or "\N{EN DASH}"),
            strong(f"{count(rule.violated_during)} of {count(rule.traces_during)}"),
            Run(f"{count(rule.violated_baseline)} of {count(rule.traces_baseline)}"),
            Run(count(rule.inconclusive_during)),
            Run(_time(rule.first_at), "code"),
            Run(_time(rule.last_at), "code"),
        ),
        references.cite(rule.reference),
    )


def _time(at: datetime | None) -> str:
    return utc(at).removesuffix(" UTC") if at else "\N{EN DASH}"


def _is_quiet(rule: RuleViolations) -> bool:
    return not (rule.violated_during or rule.violated_baseline or rule.inconclusive_during)


def _quiet_rules(facts: IncidentFacts, rules: int, references: References) -> Statement:
    key = {
        "incident_id": facts.incident_id,
        "violated_during": "0",
        "violated_baseline": "0",
        "inconclusive_during": "0",
    }
    return say(
        "{rules} {were} replayed without a violation in the window or the baseline; some may never have applied.",
        "fact",
        references.cite(Reference("marts.mart_incident_violations", tuple(key.items()))),
        rules=counted(rules, "other rule"),
        were="was" if rules == 1 else "were",
    )


def _certificates(certificates: tuple[Certificate, ...], references: References) -> Table:
    """A row a rule; rules whose figures are the same share one. The reference names no window, so all must have one."""
    is_one_window = len({(one.window_from, one.window_until) for one in certificates}) == 1
    groups: dict[object, list[Certificate]] = {}
    for one in certificates:
        figures = tuple((name, str(getattr(one, name))) for name in SCANNED)
        groups.setdefault(figures if is_one_window else one.rule_id, []).append(one)
    rows = tuple(_certificate_row(alike, references) for alike in groups.values())
    columns = ("Rule", "Window (UTC)", "Spans", "Logs", "Complete traces", "Inconclusive", "Refused records")
    return Table("Certificate: what the replay scanned", columns, rows, len(rows), numeric=(2, 3, 4, 5, 6))


def _certificate_row(alike: list[Certificate], references: References) -> Row:
    one = alike[0]
    name, reference = code(one.rule_id), one.reference
    if len(alike) > 1:
        name = Run(f"{counted(len(alike), 'rule')}, the same of each")
        reference = Reference(one.reference.relation, tuple((figure, str(getattr(one, figure))) for figure in SCANNED))
    return Row(
        (
            name,
            Run(f"{_time(one.window_from)} to {_time(one.window_until)}"),
            Run(count(one.spans_scanned)),
            Run(count(one.logs_scanned)),
            Run(f"{count(one.traces_complete)} of {count(one.traces_scanned)}"),
            Run(count(one.inconclusive)),
            Run(count(one.records_quarantined)),
        ),
        references.cite(reference),
    )
