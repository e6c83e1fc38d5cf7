"""Writes docs/rules-catalogue.md from the rules: `python -m tests.rules.catalogue_table`.

Each fact in it is read from a rule's file or its model; a test says when the document is out of date.
"""

from __future__ import annotations

from collections.abc import Iterator

from dagster_project.rule_language import Catalogue
from dagster_project.rule_language.meaning.model import Scope
from dagster_project.rule_language.rule_file import Rule
from tests.rules.conftest import REPOSITORY, read_catalogue
from tests.rules.figures import COUNTS, TRACES
from tests.rules.shapes import constructs

DOCUMENT = REPOSITORY / "docs/rules-catalogue.md"
SEVERITIES = ("critical", "high", "medium", "low")
SCOPES = {Scope.TRACE: "trace", Scope.GROUP: "group", Scope.LIFTED: "lifted group", Scope.HOUR: "hour"}
# Selectors and quantifiers are in nearly all of them and tell nothing.
CONSTRUCTS = {
    2: "attributes", 4: "structure", 5: "order", 6: "root and parent", 7: "groups", 8: "rate or baseline", 9: "joins",
    10: "BeTrace's syntax",
}  # fmt: skip

OPENING = """\
# The catalogue of rules

The {rules} rules that ship in [rules/](../rules), by domain. A rule's file says what to do when it is violated, what
it cannot see, and carries the traces that test it; [rules](rules.md) describes the language.

This page is written by `python -m tests.rules.catalogue_table`, run in the root of the repository; a test fails when it
is out of date.

*Scope* is what is judged as one: a trace, a group of spans or log records with the same key, a group of whole traces,
or an hour of one key. *Uses* leaves out what nearly every rule does: select spans or log records, and quantify over
them.
"""

DAY = """\
## On the recorded day

What these rules find in the TrainTicket recording of 2023-01-29 ({traces:,} traces, 28 injected faults). The other
rules speak of spans and attributes that this system does not send, and judge nothing there. The descriptions say how
often a rule is violated while faults are active and while none is.

| Rule | Violated | Satisfied | Inconclusive |
|---|---:|---:|---:|
"""


def document(catalogue: Catalogue) -> str:
    """The whole page."""
    parts = [OPENING.format(rules=len(catalogue.rules))]
    for domain in sorted({rule.domain for rule in catalogue}):
        rules = sorted((rule for rule in catalogue if rule.domain == domain), key=_place)
        heading = f"\n## {domain}\n\n| Rule | Says | Severity | Scope | Uses | Controls |\n|---|---|---|---|---|---|\n"
        parts.append(heading + "".join(_row(rule) for rule in rules))
    parts.append("\n" + DAY.format(traces=TRACES) + "".join(_day_rows()))
    return "".join(parts)


def _place(rule: Rule) -> tuple[int, str]:
    return SEVERITIES.index(rule.severity), rule.id


def _row(rule: Rule) -> str:
    used = constructs(rule)
    uses = ", ".join(word for point, word in CONSTRUCTS.items() if point in used)
    scope = SCOPES[rule.judgement.scope]
    controls = ", ".join(rule.controls)
    title = rule.title.replace("|", r"\|")
    return f"| [{rule.id}](../{rule.path}) | {title} | {rule.severity} | {scope} | {uses} | {controls} |\n"


def _day_rows() -> Iterator[str]:
    for rule_id, counts in sorted(COUNTS.items()):
        yield f"| {rule_id} | " + " | ".join(f"{number:,}" for number in counts) + " |\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(read_catalogue()), encoding="utf-8")
