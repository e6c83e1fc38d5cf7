from dataclasses import replace

import pytest

from dagster_project.replay import rule_tests
from dagster_project.rule_imports.imported import Decisions, TestTrace
from dagster_project.rule_imports.importing import STAND_INS, import_rules
from dagster_project.rule_imports.rule_text import rule_text
from dagster_project.rule_language import Catalogue, read_rule

HOUR = 3_600 * 10**9


def translated(text, dialect, decisions=None):
    """The draft of the one rule of the text."""
    (imported,) = import_rules(text, "some.txt", decisions or Decisions(owner="x", severity="low"), dialect)
    assert imported.draft is not None, [note.text for note in imported.refused]
    return imported.draft


def refusal(text, dialect, decisions=None):
    """The first reason why the one rule of the text is refused, with its line."""
    (imported,) = import_rules(text, "some.txt", decisions or Decisions(owner="x", severity="low"), dialect)
    assert imported.draft is None, dict(imported.draft.expressions)
    return imported.refused[0]


@pytest.fixture
def judge():
    """Runs a translated rule over records in the real engine and gives its verdict."""

    def run(text, dialect, spans=(), logs=(), decisions=None):
        decided = decisions or Decisions(owner="x", severity="low")
        draft = translated(text, dialect, decided)
        trace = TestTrace("the trace", "violated", tuple(spans), tuple(logs))
        written = rule_text(replace(draft, tests=()), decided, (trace, *STAND_INS))
        rule = read_rule(f"rules/imported/{draft.id}.yml", written)
        (outcome,) = rule_tests.run(Catalogue((replace(rule, examples=rule.examples[:1]),)))
        assert not outcome.error, outcome.error
        return outcome.found

    return run
