"""A draft → the text of a rule file: which fields it has; `rule_writer` writes them.

Which tests it gets is the caller's decision; whether they hold is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from dagster_project.rule_imports.imported import Decisions, Draft, TestTrace
from dagster_project.rule_language.writing.expression_text import duration
from dagster_project.rule_language.writing.rule_writer import rule_yaml

TESTS_TO_WRITE: Final = "# To be written: `tests`, at least one trace that violates the rule and one that satisfies it."


def rule_text(draft: Draft, decisions: Decisions, tests: Iterable[TestTrace] = ()) -> str:
    """The YAML of a rule. Without tests it ends in a line that says which are missing.

    Parameters
    ----------
    draft
        The rule.
    decisions
        Owner and severity come before those of the source.
    tests
        The test traces to write.
    """
    assumed = "\n".join(f"- {note.text}" for note in draft.assumed)
    description = "\n\n".join(
        part for part in (draft.description, f"Imported. Taken for granted:\n{assumed}" if assumed else "") if part
    )
    fields: dict[str, Any] = {
        "id": draft.id,
        "title": draft.title,
        "description": description,
        "severity": decisions.severity or draft.severity or "medium",
        "status": "shadow",
        "owner": decisions.owner or "nobody yet",
        "controls": list(draft.controls),
        "references": list(draft.references),
        "group_by": list(draft.group_by),
        "gap": duration(draft.gap_ns) if draft.group_by else "",
        **draft.expressions,
        "tests": [_test(test) for test in tests],
    }
    shown = {key: value for key, value in fields.items() if value not in ("", [])}
    text = rule_yaml(shown)
    return text if shown.get("tests") else f"{text}{TESTS_TO_WRITE}\n"


def _test(test: TestTrace) -> dict[str, Any]:
    kinds = {"spans": test.spans, "logs": test.logs}
    return {"name": test.name, "verdict": test.verdict, **{kind: list(items) for kind, items in kinds.items() if items}}
