"""The published rules: how many become rules of ours, and that the docs say the same."""

from collections import Counter
from pathlib import Path

import pytest

from tests.rule_imports.published_rules import all_published, tables

PAGE = Path(__file__).parents[2] / "docs" / "imports.md"


@pytest.fixture(scope="module")
def published():
    return all_published()


def test_the_page_has_the_tables_as_they_come_out():
    assert tables() in PAGE.read_text(encoding="utf-8"), "run: python tests/rule_imports/published_rules.py"


def test_all_45_rules_of_betrace_are_looked_at(published):
    of_betrace = [one for one in published if one.dialect == "betrace" and one.group != "the whitepaper"]
    assert Counter(one.outcome for one in of_betrace) == {"translated": 29, "refused": 16}
    assert Counter(one.fires for one in of_betrace) == {True: 18, False: 11, None: 16}


def test_every_translated_rule_can_be_run(published):
    """Its test traces, as far as some could be made, hold in the engine."""
    both = 0
    for one in published:
        if one.imported.draft is not None:
            both += {test.verdict for test in one.tests} == {"violated", "satisfied"}
    translated = sum(one.imported.draft is not None for one in published)
    assert both >= translated * 0.8, f"{both} of {translated} have a proven test of each verdict"
