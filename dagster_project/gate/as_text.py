"""The answer of a gate as text, for a terminal or a job's log."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from dagster_project.gate.outcome import Outcome, Reviewed
from dagster_project.gate.sentences import evidence, headline, location, received, remarks, some, summary, why_broken
from dagster_project.wording import counted, revealed

FINDINGS_SHOWN = 50
SAMPLES_SHOWN = 2


def render(outcome: Outcome) -> str:
    """The whole answer; control characters of what was sent do not reach the terminal."""
    return "".join(f"{_shown(line)}\n" for line in _lines(outcome))


def _shown(line: str) -> str:
    """A line that neither a terminal acts on nor a runner of pipelines: `##[…]` anywhere commands Azure's and GitHub's,
    `::…` at the beginning GitHub's.
    """
    shown = revealed(" ".join(line.splitlines())).replace("##[", "# #[").replace("##vso[", "# #vso[")
    return shown.replace("::", ": :", 1) if shown.lstrip().startswith("::") else shown


def _lines(outcome: Outcome) -> Iterator[str]:
    yield summary(outcome)
    yield received(outcome)
    for broken in outcome.broken:
        yield ""
        yield f"ERROR  {location(broken.rule)}  {broken.rule.id}"
        yield f"       {why_broken(broken)}"
    told = [one for one in outcome.reviewed if not _stops_nothing_and_says_nothing(one)]
    ordered = sorted(told, key=lambda one: ("new", "shown", "known").index(one.state))
    for one in ordered[:FINDINGS_SHOWN]:
        yield from _finding(one)
    if len(ordered) > FINDINGS_SHOWN:
        yield f"and {len(ordered) - FINDINGS_SHOWN:,} findings more: --format json lists all"
    said = (*_undecided(outcome), *remarks(outcome))
    if said:
        yield ""
    yield from said


def _stops_nothing_and_says_nothing(one: Reviewed) -> bool:
    return one.finding.verdict == "inconclusive" and one.state == "shown"


def _undecided(outcome: Outcome) -> Iterator[str]:
    """What could not be judged and stops nothing, a line a reason: incomplete telemetry makes it of every rule."""
    rules: defaultdict[str, list[str]] = defaultdict(list)
    scopes: Counter[str] = Counter()
    for one in outcome.reviewed:
        if _stops_nothing_and_says_nothing(one):
            rules[one.finding.where].append(one.finding.rule.id)
            scopes[one.finding.where] += one.finding.scopes
    for reason, ids in sorted(rules.items(), key=lambda item: -len(item[1])):
        yield (
            f"cannot be judged, {reason}: {counted(scopes[reason], 'scope')} of {counted(len(ids), 'rule')}:"
            f" {some(ids)}; --format json lists them"
        )


def _finding(one: Reviewed) -> Iterator[str]:
    rule = one.finding.rule
    status = f", {rule.status}" if rule.status != "active" else ""
    yield ""
    yield f"{one.state.upper():6} {location(rule)}  {rule.id} ({rule.severity}{status}): {rule.title}"
    yield f"       {headline(one)}"
    for sample in one.finding.samples[:SAMPLES_SHOWN]:
        yield f"       {evidence(sample)}"
    if one.remark:
        yield f"       {one.remark}"
    yield f"       owner {rule.owner}; fingerprint {one.finding.fingerprint}"
