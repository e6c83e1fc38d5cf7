import json
from datetime import date

import pytest
from typer.testing import CliRunner

from dagster_project.cli.app import app
from dagster_project.warehouse import generations, suppressions
from dagster_project.warehouse.connection import connect, migrate

TRACE = "00000000-0000-0000-0000-000000000001"
RULE = """
id: paid-once
title: T
severity: low
owner: shop
never: any(span("x"))
tests:
  - {name: a, verdict: violated, spans: [{name: x}]}
  - {name: b, verdict: satisfied, spans: [{name: y}]}
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/sources.yml").write_text("sources: []\n")
    (tmp_path / "rules/shop").mkdir(parents=True)
    (tmp_path / "rules/shop/paid-once.yml").write_text(RULE)
    with connect(tmp_path / "data/warehouse/hindcast.duckdb") as connection:
        migrate(connection)
        connection.execute("create schema violations")
        connection.execute(
            "create table violations.fct_violations as select * from (values"
            f" ('3fa81c22aa', 'paid-once', '\"A-17\"'), ('3fa81cffbb', 'paid-once', '{TRACE}'))"
            " as v(violation_id, rule_id, scope_key)"
        )
        generations.publish(connection, tmp_path / "data/warehouse/generations")
    return tmp_path


def suppress(project, target, until="2999-01-01", owner="ana"):
    arguments = ["suppress", target, "--owner", owner, "--reason", "known", "--until", until]
    return CliRunner().invoke(app, [*arguments, "--project", str(project)])


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("paid-once", (None, "paid-once", None)),
        ("paid-once:A-17", (None, "paid-once", '"A-17"')),
        (f"paid-once:{TRACE.replace('-', '')}", (None, "paid-once", TRACE)),
        ("3fa81c2", ("3fa81c22aa", None, None)),
    ],
)
def test_a_violation_a_rule_or_one_key_is_suppressed_listed_and_removed(project, target, expected):
    done = suppress(project, target)
    assert done.exit_code == 0, done.output
    (kept,) = suppressions.suppressions(project / "data/state/hindcast.sqlite")
    assert (kept.violation_id, kept.rule_id, kept.scope_key) == expected
    assert (kept.owner, kept.until) == ("ana", date(2999, 1, 1))
    listed = CliRunner().invoke(app, ["suppressions", "list", "--project", str(project)])
    assert "ana" in listed.output
    for code in (0, 2):
        done = CliRunner().invoke(app, ["suppressions", "remove", "1", "--project", str(project)])
        assert done.exit_code == code


@pytest.mark.parametrize(
    ("target", "more"),
    [
        ("paid-onec", {}),
        ("paid-once:A-18", {}),
        ("3fa81c", {}),  # two begin so
        ("ffffff", {}),
        ("paid-once", {"until": "2001-01-01"}),
        ("paid-once", {"owner": " "}),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_kept(project, target, more):
    assert suppress(project, target, **more).exit_code == 2
    assert suppressions.suppressions(project / "data/state/hindcast.sqlite") == []


@pytest.mark.parametrize(("target", "key"), [("42", "42"), ('"42"', '"42"')])
def test_a_key_is_first_taken_as_it_is_written(project, target, key):
    republish(project, "42", '"42"')
    done = suppress(project, f"paid-once:{target}")
    assert done.exit_code == 0, done.output
    (kept,) = suppressions.suppressions(project / "data/state/hindcast.sqlite")
    assert kept.scope_key == key


def test_keys_that_are_meant_alike_are_both_named(project):
    republish(project, json.dumps(TRACE), TRACE)
    done = suppress(project, f"paid-once:{TRACE.replace('-', '').upper()}")
    assert done.exit_code == 0, "digits without hyphens mean the trace alone"
    republish(project, json.dumps(TRACE.replace("-", "")), TRACE)
    done = suppress(project, f"paid-once:{TRACE.replace('-', '')}")
    assert done.exit_code == 2
    said = " ".join(done.output.replace("│", " ").split())
    assert "no violation" not in said
    assert TRACE in said


def test_what_steers_a_terminal_is_shown_and_not_run(project):
    arguments = [
        "suppress",
        "paid-once",
        "--owner",
        "a\x1b[31mna",
        "--reason",
        "x\x1b]0;t\x07",
        "--until",
        "2999-01-01",
    ]
    CliRunner().invoke(app, [*arguments, "--project", str(project)])
    listed = CliRunner().invoke(app, ["suppressions", "list", "--project", str(project)]).output
    assert "\x1b" not in listed
    assert "⟨U+001B⟩" in listed


def republish(project, *keys):
    with connect(project / "data/warehouse/hindcast.duckdb") as connection:
        connection.execute("delete from violations.fct_violations")
        connection.executemany(
            "insert into violations.fct_violations values (?, 'paid-once', ?)",
            [(f"{place:010x}", key) for place, key in enumerate(keys)],
        )
        generations.publish(connection, project / "data/warehouse/generations")
