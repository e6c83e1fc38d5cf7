"""The index of several rules: what it counts and in which order, what it says of rules without an answer, its links."""

from datetime import datetime
from pathlib import Path

import pytest

from dagster_project.replay import scratch
from dagster_project.replay.query import replay
from dagster_project.replay.window import Window
from dagster_project.rule_language import load_catalogue, read_rule
from dagster_project.site import pack, replayed
from dagster_project.site.pack import Failure, IndexTaken
from tests.site.test_replayed import DATA, HOSTILE, Page

RULE = """
id: {id}
title: "{title}"
severity: {severity}
owner: "{owner}"
{condition}
tests:
  - {{name: a, verdict: violated, spans: [{{name: pay}}]}}
  - {{name: b, verdict: satisfied, spans: [{{name: other}}]}}
"""


def rule(rule_id, severity="low", condition='never: any(span("pay"))', title=None, owner="x"):
    text = RULE.format(
        id=rule_id, title=title or f"{rule_id} holds", severity=severity, owner=owner, condition=condition
    )
    return read_rule(f"rules/shop/{rule_id}.yml", text)


@pytest.fixture(scope="module")
def connection():
    made = scratch.connect()
    scratch.fill(made, load_catalogue({"rules/x/x.yml": DATA}).rules[0].examples[0])
    yield made
    made.close()


@pytest.fixture(scope="module")
def folder(connection, tmp_path_factory):
    made = tmp_path_factory.mktemp("pack")
    rules = [
        rule("many", "low", title=HOSTILE, owner=HOSTILE),
        rule("few", "low", 'never: any(span("<script>*"))'),
        rule("strict", "critical", 'never: any(span("x"))'),
        rule("unapplied", "high", 'when: any(span("x"))\nalways: any(span("y"))'),
    ]
    answers = [replay(connection, one, with_investigation=True) for one in rules]
    for answer in answers:
        replayed.write(connection, answer, made / answer.rule.id, None, assets=f"../{pack.ASSETS}")
    failures = [
        Failure(rule("slow", "low"), "slow: stopped after 1 s (--timeout)", is_stopped=True),
        Failure(rule("broken", "critical"), f"no memory {HOSTILE}" + 300 * "!", is_stopped=False),
    ]
    notes = {"unapplied": ["no span of the window is called `x`"], "few": ["no service is called `s`"]}
    pack.write(made, answers, failures, notes, Window(datetime(2024, 1, 1), None), None)
    return made


@pytest.fixture(scope="module")
def index(folder):
    return Page((folder / "index.html").read_text(encoding="utf-8"))


def test_rules_stand_by_severity_and_then_by_violations(index):
    shown = index.shown
    places = [shown.index(title) for title in ("strict holds", HOSTILE, "few holds")]
    assert places == sorted(places)
    assert f"{HOSTILE} low {HOSTILE} 3 0 0 0 2024-01-01 00:00 2024-01-01 02:00 exhaustive" in shown
    assert (
        "Of what was received, 2 rules are violated; 1 rule applied to nothing; 2 rules could not be judged." in shown
    )
    assert "judged rules violated 2 of 4" in shown


def test_rules_without_an_answer_say_why(index):
    shown = index.shown
    assert shown.index("broken holds") < shown.index("slow holds")
    assert "stopped after 1 s (--timeout)" in shown
    assert f"no memory {HOSTILE}" + 300 * "!" in shown, "what to do stands at the end"
    assert "1 failed, 1 stopped by the limit of time" in shown


def test_what_limits_single_rules_stands_with_them(index):
    shown = index.shown
    assert "1 rule that applies to nothing in the window" in shown
    assert shown.count("no span of the window is called `x`") == 1
    assert "few : 1 scope" in shown
    assert "; no service is called `s`" in shown
    assert "scanned: 3 traces with 4 spans and 1 log record, of 1 day" in shown
    assert "2024-01-01 00:00:00 UTC to the last" in shown


def test_links_lead_to_pages_and_assets_are_there_once(folder):
    for file in folder.rglob("*.html"):
        page = Page(file.read_text(encoding="utf-8"))
        assert not [tag for tag, _ in page.elements if tag == "img"]
        for tag, attrs in page.elements:
            address = attrs.get("src") or (attrs.get("href") if tag in {"a", "link"} else None) or ""
            if address and not address.startswith(("#", "data:")):
                assert (file.parent / address).resolve().is_file(), f"{file}: {address}"
    assert [file.relative_to(folder).as_posix() for file in folder.rglob("plotly.min.js")] == [
        "hindcast.assets/plotly.min.js"
    ]
    assert len(list(folder.rglob("*.css"))) == 2


def test_all_rules_can_fail(tmp_path):
    pack.write(tmp_path, [], [Failure(rule("slow"), "stopped", is_stopped=True)], {}, Window(), None)
    shown = Page((tmp_path / "index.html").read_text()).shown
    assert "No rule was judged." in shown
    assert "everything that was received" in shown


@pytest.mark.parametrize("text", ["", "<html>mine</html>", "\xff"])
def test_an_index_of_somebody_else_is_refused(tmp_path: Path, text):
    pack.require_free(tmp_path)
    pack.require_free(tmp_path / "new")
    (tmp_path / "index.html").write_text(text, encoding="latin-1")
    with pytest.raises(IndexTaken, match="name another folder, or move that file away"):
        pack.require_free(tmp_path)


def test_its_own_index_is_replaced(folder):
    pack.require_free(folder)


def test_the_index_of_a_single_rule_is_no_summary(connection, tmp_path):
    replayed.write(connection, replay(connection, rule("few")), tmp_path / "out", None)
    with pytest.raises(IndexTaken):
        pack.require_free(tmp_path / "out")
