"""How a pack says that its rules are asked."""

from dagster_project.replay import scratch
from dagster_project.replay.explanation import explain_pack
from dagster_project.rule_language import load_catalogue, read_inline

DATA = """
id: x
title: x
severity: low
owner: x
detect: any(span())
tests:
  - {name: data, verdict: violated, spans: [{name: a, trace: t1}, {name: b, trace: t2}]}
  - {name: b, verdict: satisfied, spans: [{name: a}]}
"""


def test_a_pack_says_which_rules_share_and_what_that_would_take():
    connection = scratch.connect()
    scratch.fill(connection, load_catalogue({"rules/x/x.yml": DATA}).rules[0].examples[0])
    texts = (
        'never: any(span("a"))',
        'group_by: k gap: 1h never: any(span("a"))',
        "never: any(span() near span() within 1s on service)",
    )
    said = explain_pack(connection, [read_inline(text) for text in texts])
    assert "3 rules over 2 spans of the window" in said
    assert "plan: each alone: 1 rules that read traces that begin in the window: about 2 spans" in said
    assert said.count("plan: each alone") == 3
