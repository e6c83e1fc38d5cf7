"""`hindcast rules diff | new`."""

import json

from dagster_project.replay import scratch
from dagster_project.rule_language import load_catalogue

FILE = """
id: never-pay
title: Nobody pays
severity: low
owner: x
never: any(span("pay"))
tests:
  - name: data
    verdict: violated
    spans: [{name: pay, trace: t1}, {name: pay, trace: t2, at: 1h, duration: 2s}, {name: look, trace: t3, at: 2h}]
  - {name: well, verdict: satisfied, spans: [{name: other}]}
"""


def prepared(hindcast):
    from test_queries import publish

    file = hindcast.project.rules_dir / "shop/never-pay.yml"
    file.parent.mkdir(parents=True)
    file.write_text(FILE)
    connection = scratch.connect()
    scratch.fill(connection, load_catalogue({"rules/shop/never-pay.yml": FILE}).rules[0].examples[0])
    publish(hindcast.project, connection)
    connection.close()
    return file


def test_diff_tells_what_a_file_of_any_name_would_change(hindcast, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(__file__.rpartition("/")[0])
    prepared(hindcast)
    changed = tmp_path / "proposal.yml"
    changed.write_text(FILE.replace('span("pay")', 'span("pay", duration > 1s)').replace("{name: pay, trace: t1}", ""
                       "{name: pay, trace: t1, duration: 2s}"))  # fmt: skip
    said = hindcast("rules", "diff", "never-pay", str(changed), code=1)
    assert "2 violations before, 1 after: 0 added, 1 removed, 1 kept" in said
    assert (
        f"removed: 1 satisfied after first span scope after 2024-01-01 00:00:00 {scratch.trace_uuid('t1').hex}" in said
    )
    assert "2024-01-01 0 1" in said
    hindcast("rules", "diff", "never-pay", str(changed), "--format", "json", code=1)
    assert json.loads(hindcast.stdout)["removed"]["violations"] == 1


def test_diff_of_another_title_is_none(hindcast, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(__file__.rpartition("/")[0])
    prepared(hindcast)
    changed = tmp_path / "never-pay.yml"
    changed.write_text(FILE.replace("Nobody pays", "Nobody ever pays"))
    assert "The two mean the same" in hindcast("rules", "diff", str(changed), "never-pay")


def test_new_writes_a_rule_that_is_well_and_alerts_nobody(hindcast):
    said = hindcast("rules", "new", "shop/refund-is-approved", "--title", 'A "refund": approved', "--severity", "high")
    file = hindcast.project.rules_dir / "shop/refund-is-approved.yml"
    assert str(file) in said
    text = file.read_text()
    assert "status: shadow" in text
    assert 'owner: "shop"' in text
    assert "1 rule is well" in hindcast("rules", "check", str(file))
    assert "there is a rule `refund-is-approved` already" in hindcast(
        "rules", "new", "other/refund-is-approved", "--title", "x", code=2
    )
    assert file.read_text() == text


def test_new_refuses_names_that_are_none(hindcast):
    for name in ("refund", "Shop/refund", "shop/../refund", "shop/re fund"):
        assert "is no domain and id" in hindcast("rules", "new", name, "--title", "x", code=2)
    assert not hindcast.project.rules_dir.exists()
    assert "did you mean `high`?" in hindcast("rules", "new", "a/b", "--title", "x", "--severity", "hig", code=2)
