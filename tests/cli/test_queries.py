"""`hindcast query` over a small published generation, and over one that takes long enough to be stopped."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from dagster_project.cli.app import app
from dagster_project.cli.errors import EXPECTED
from dagster_project.replay import scratch
from dagster_project.rule_language import load_catalogue
from dagster_project.warehouse import lock
from dagster_project.warehouse.connection import connect

RULE = """
id: {id}
title: {id} holds
severity: low
owner: x
never: any(span({name}))
report: {{order: first(span({name}).order)}}
tests:
  - name: data
    verdict: violated
    spans:
      - {{name: pay, service: shop, trace: t1, attributes: {{order: "=1+1"}}}}
      - {{name: pay, service: shop, trace: t2, at: 2h, attributes: {{order: b}}}}
      - {{name: look, service: shop, trace: t3, at: 3h}}
      - {{name: {name}}}
  - {{name: well, verdict: satisfied, spans: [{{name: other}}]}}
"""


def rule_text(rule_id="never-pay", name='"pay"'):
    text = RULE.replace("      - {{name: {name}}}\n", "") if name == '"pay"' else RULE
    return text.format(id=rule_id, name=name)


def publish(project, connection, as_of="2024-01-02T00:00:00+00:00"):
    """Write the tables of a connection as a generation, by hand: what makes one is tested elsewhere."""
    folder = project.generations_dir / "0123456789ab"
    folder.mkdir(parents=True)
    found = connection.execute(
        "select table_schema || '.' || table_name from information_schema.tables where table_schema <> 'main'"
    ).fetchall()
    parts = []
    for (table,) in found:
        connection.table(table).write_parquet(str(folder / f"{table}.parquet"))
        parts.append({"table": table, "file": f"{table}.parquet", "rows": 0, "content_hash": ""})
    manifest = {"id": folder.name, "as_of": as_of, "published_at": as_of, "parts": parts}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (project.generations_dir / "current").symlink_to(folder.name)


@pytest.fixture
def asked(hindcast):
    """The command on a project with two rules and a generation of four spans."""
    for rule_id, name in (("never-pay", '"pay"'), ("never-look", '"look"')):
        file = hindcast.project.rules_dir / "shop" / f"{rule_id}.yml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(rule_text(rule_id, name))
    connection = scratch.connect()
    scratch.fill(connection, load_catalogue({"rules/x/never-pay.yml": rule_text()}).rules[0].examples[0])
    publish(hindcast.project, connection)
    connection.close()
    return hindcast


def test_a_violated_rule_is_exit_code_one(asked):
    said = asked("query", "--rule", "never-pay", code=1)
    assert "never-pay: 2 violated, 1 satisfied, 0 inconclusive, 0 not applicable" in said
    assert "exhaustive scan: every violation of what was received" in said
    assert "generation 0123456789ab, as of 2024-01-02 00:00:00 UTC" in said
    assert "0 violated" in asked("query", "--rule", "never-pay", "--start", "2024-01-02")


def test_json_has_the_four_answers(asked):
    asked("query", "--rule", "never-pay", "--format", "json", "--compare-with", "2024-01-01T01:00..2024-01-02", code=1)
    told = json.loads(asked.stdout)
    assert (told["violations"], told["first_violation"]) == (2, "2024-01-01T00:00:00Z")
    assert [one["reported"]["order"] for one in told["affected"]] == ["=1+1", "b"]
    assert [one["violations"] for one in told["timeline"]["per_hour"]] == [1, 1]
    assert told["blast_radius"]["services"]["rows"][0]["violations"] == 2
    assert told["correlation"]["comparisons"][0]["violations"] == 1
    assert told["confidence_rests_on"][0].startswith("scanned: 3 traces with 3 spans")


def test_a_broken_file_blocks_only_its_own_rule(asked):
    (asked.project.rules_dir / "shop/broken.yml").write_text("id: broken\nwhen: any(")
    (asked.project.rules_dir / "shop/bytes.yml").write_bytes(b"\xff\xfe")
    said = asked("query", "--rule", "never-look", code=1)
    assert said.startswith("2 rule files are broken and not asked for: `hindcast rules check` never-look: 1 violated")
    assert "broken.yml" not in said


@pytest.mark.parametrize("which", [["--domain", "shop"], ["--all"]])
def test_a_broken_file_that_is_asked_for_is_a_failure(asked, tmp_path, which):
    (asked.project.rules_dir / "shop/broken.yml").write_text("id: broken\nwhen: any(")
    (asked.project.rules_dir / "shop/bytes.yml").write_bytes(b"\xff\xfe")
    said = asked("query", *which, code=2)
    assert "rules/shop/broken.yml: failed: line 1, column 1:" in said
    assert "rules/shop/bytes.yml: failed: line 1, column 1: not UTF-8" in said
    assert "never-pay 2 1 0" in said
    assert "not asked for" not in said
    asked("query", *which, "--format", "html", "--export", str(tmp_path / "out"), code=2)
    assert "rules/shop/bytes.yml" in (tmp_path / "out/index.html").read_text()
    for rule_id in ("never-pay", "never-look"):
        (asked.project.rules_dir / f"shop/{rule_id}.yml").unlink()
    assert "rules/shop/bytes.yml:1:1: not UTF-8" in refused(asked, "query", *which)


def test_two_files_of_one_id_are_told_apart_and_neither_is_judged(asked, tmp_path):
    for domain in ("a", "b"):
        (asked.project.rules_dir / domain).mkdir()
        (asked.project.rules_dir / domain / "dup.yml").write_text(rule_text("dup"))
    said = asked("query", "--domain", "a", "--domain", "b", "--domain", "shop", "--format", "json", "--export",
                 str(tmp_path / "pack"), code=2)  # fmt: skip
    assert "rules/a/dup.yml: failed: line 1, column 1: the id `dup` is taken by rules/b/dup.yml" in said
    assert "rules/b/dup.yml: failed: line 1, column 1: the id `dup` is taken by rules/a/dup.yml" in said
    assert "2 answers in" in said
    assert sorted(file.name for file in (tmp_path / "pack").iterdir()) == ["never-look.json", "never-pay.json"]
    assert "the id `dup` is taken by" in refused(asked, "query", "--domain", "a", "--domain", "b")
    assert "dup 2 1 0" in asked("query", "--domain", "a", code=1)


def test_a_rule_is_explained_whatever_other_files_hold(asked):
    for domain in ("a", "b"):
        (asked.project.rules_dir / domain).mkdir()
        (asked.project.rules_dir / domain / "dup.yml").write_text(rule_text("dup"))
    (asked.project.rules_dir / "shop/broken.yml").write_text("id: broken\nwhen: any(")
    assert "never-pay" in asked("rules", "explain", "never-pay")
    assert "never-look" in asked("rules", "explain", "never-pay", "never-look")
    assert "did you mean `never-pay`?" in asked("rules", "explain", "never-pya", code=2)
    assert "the id `dup` is taken by rules/a/dup.yml" in refused(asked, "rules", "explain", "dup")


def test_several_rules_are_a_summary_and_a_file_each(asked, tmp_path):
    folder = tmp_path / "out"
    said = asked("query", "--domain", "shop", "--export", str(folder), code=1)
    assert said.index("never-pay") < said.index("never-look"), "most violations first"
    assert sorted(file.name for file in folder.iterdir()) == ["never-look.csv", "never-pay.csv"]
    rows = list(csv.DictReader((folder / "never-pay.csv").open()))
    assert [row["order"] for row in rows] == ["'=1+1", "b"]
    assert "never-look" in asked("query", "--all", "--rule", "never-pay", code=1)
    asked("query", "--all", "--format", "parquet", "--export", str(folder), code=1)
    assert pq.read_table(folder / "never-pay.parquet").num_rows == 2


def test_a_rule_that_the_engine_gives_up_on_does_not_stop_the_others(asked, monkeypatch):
    from dagster_project.cli import queries
    from dagster_project.replay.query import ReplayFailed, replay

    def failing(connection, rule, window, **options):
        if rule.id == "never-look":
            raise ReplayFailed("rules/shop/never-look.yml: no")
        return replay(connection, rule, window, **options)

    monkeypatch.setattr(queries, "replay", failing)
    said = asked("query", "--all", code=2)
    assert "failed: rules/shop/never-look.yml: no" in said
    assert "never-pay 2 1 0" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "name a rule with --rule"),
        (["-e", "never: any(span())", "--all"], "asked alone"),
        (["--domain", "shopp"], "did you mean `shop`?"),
        (["--rule", "never-pay", "--timeout", "soon"], "Invalid value"),
        (["--rule", "never-pay", "--memory-limit", "1MB"], "too little"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked, options, message):
    assert message in asked("query", *options, code=2)


def run(hindcast, *arguments):
    """The command in a process of its own, as a shell starts it, even where the tests are to outlive the terminal."""
    hears = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)"
    command = [sys.executable, "-c", f"{hears}; from dagster_project.cli import main; main()", *arguments]
    environment = {**os.environ, "HINDCAST_PROJECT": str(hindcast.project.root), "COLUMNS": "200"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_what_goes_into_a_pipe_is_as_wide_as_people_read(asked):
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "TERMINAL_WIDTH"}}
    long = "x" * 300

    def widest(*arguments, **more):
        command = [sys.executable, "-c", "from dagster_project.cli import main; main()", *arguments]
        environment_then = {**environment, "HINDCAST_PROJECT": str(asked.project.root), **more}
        done = subprocess.run(command, capture_output=True, text=True, env=environment_then, check=False)
        return max(map(len, done.stdout.splitlines()))

    (asked.project.rules_dir / "shop/long.yml").write_text(rule_text("long").replace("title: ", f"title: {long}"))
    assert widest("rules", "list") == 120
    assert widest("rules", "list", COLUMNS="90") == 90
    assert widest("query", "--help") == 100
    assert widest("query", "--rule", "never-pay", "--format", "json") > 300


def refused(hindcast, *arguments):
    """What the command line says of an error that its user can mend."""
    done = CliRunner().invoke(app, [*arguments, "--project", str(hindcast.project.root)])
    assert isinstance(done.exception, EXPECTED), done.output
    return str(done.exception)


def test_a_mistake_in_a_typed_rule_is_shown_where_it_was_typed(asked):
    said = refused(asked, "query", "-e", "when: any(span(foo = 1)) always: anny(span())")
    assert said.splitlines() == [
        "<in line>:1:34: `anny` is no function of this language",
        "    when: any(span(foo = 1)) always: anny(span())",
        "    " + 33 * " " + "^",
        "    did you mean `any`?",
    ]


@pytest.mark.parametrize("options", [["--format", "html"], ["--format", "parquet"], ["--format", "xlsx"]])
def test_formats_that_are_no_text_want_a_place(asked, options):
    assert len(refused(asked, "query", "--rule", "never-pay", *options).splitlines()) == 1


def test_it_answers_while_a_writer_holds_the_warehouse(asked):
    project = asked.project
    with lock.hold(project.lock_file, "a night"), connect(project.warehouse_file) as writer:
        writer.execute("begin")
        writer.execute("create table t as select 1")
        done = run(asked, "query", "--rule", "never-pay", "--format", "csv")
        out, _ = done.communicate(timeout=120)
    assert done.returncode == 1
    assert len(out.splitlines()) == 3


SLOW = " or ".join(f"f{n} == {n}" for n in range(60))


@pytest.fixture(scope="module")
def many_spans():
    """Spans enough for a rule of many conditions to take seconds."""
    connection = scratch.connect()
    connection.execute("""
        insert into staging.stg_spans by name
        select
            md5(i::varchar)::uuid as trace_id, i as span_id, 'svc' as service_name, 'a' as span_name,
            'internal' as kind, make_timestamp(1704067200000000 + i)::timestamp_ns as started_at,
            make_timestamp(1704067200000000 + i)::timestamp_ns as ended_at, date '2024-01-01' as started_on,
            1 as duration_ns, 'ok' as status_code, 0 as dropped_attributes_count,
            ('{"a": 1, "b": "' || repeat('x', 50) || '", "c": [1, 2, 3]}')::json as attributes,
            '{}'::json as resource_attributes
        from range(400000) as r(i)
    """)
    connection.execute("""
        insert into intermediate.int_traces by name
        select trace_id, started_at, ended_at, started_on, 1 as span_count, 0 as log_count, 1 as root_count,
            0 as orphan_count, 0 as dropped_attributes_count, true as is_complete
        from staging.stg_spans
    """)
    yield connection
    connection.close()


@contextmanager
def watched(*folders):
    """What the block adds to these folders."""
    before = {file for folder in folders for file in folder.iterdir()}
    added = []
    yield added
    added += [file for folder in folders for file in folder.iterdir() if file not in before]


@pytest.mark.parametrize("format_", ["csv", "html"])
def test_ctrl_c_leaves_nothing_and_says_so(hindcast, many_spans, tmp_path, format_, monkeypatch):
    publish(hindcast.project, many_spans)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with watched(tmp_path, temporary, hindcast.project.root) as added:
        done = run(hindcast, "query", "-e", f"never: any(span({SLOW}))", "--format", format_, "--export",
                   str(tmp_path / "out.x"))  # fmt: skip
        until = time.monotonic() + 120
        while not list(temporary.iterdir()) and time.monotonic() < until:
            time.sleep(0.02)
        assert list(temporary.iterdir()), "it has begun"
        time.sleep(0.5)
        assert done.poll() is None, "it is still running"
        done.send_signal(signal.SIGINT)
        out, said = done.communicate(timeout=120)
    assert (done.returncode, out) == (130, ""), said
    assert said.splitlines()[-1] == "interrupted: nothing was written"
    assert len(said.splitlines()) == 1
    assert added == []


def test_a_rule_that_runs_too_long_is_stopped_with_what_it_had_scanned(hindcast, many_spans):
    publish(hindcast.project, many_spans)
    done = run(hindcast, "query", "-e", f"never: any(span({SLOW}))", "--timeout", "500ms")
    _, said = done.communicate(timeout=120)
    assert done.returncode == 124
    assert "inline: stopped after 0.5" in said
    assert "over 400,000 spans and 0 log records of 400,000 traces on 1 day; nothing of it is judged" in said
    assert "--timeout 1h; 0: all it takes" in said


def test_a_rule_has_a_limit_of_time_unless_told_otherwise(asked, monkeypatch):
    from dagster_project.replay import running

    given = []

    def noting(connection, work, *, timeout_seconds=None, listener=None):
        given.append(timeout_seconds)
        return work()

    monkeypatch.setattr(running, "run", noting)
    asked("query", "--rule", "never-pay", code=1)
    asked("query", "--rule", "never-pay", "--timeout", "0", code=1)
    monkeypatch.setenv("HINDCAST_QUERY_TIMEOUT", "90s")
    asked("query", "--rule", "never-pay", code=1)
    assert given == [600, None, 90]


def test_html_is_refused_where_something_else_lies(asked, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")
    said = refused(asked, "query", "--rule", "never-pay", "--format", "html", "--export", str(tmp_path / "mine"))
    assert "holds something else than a replay" in said
    assert (tmp_path / "mine/thesis.txt").is_file()


def test_html_takes_the_link_of_the_policy(asked, tmp_path):
    policy = asked.project.policy_file
    shutil.copyfile(__file__.replace("tests/cli/test_queries.py", "data/policy.yml"), policy)
    policy.write_text(policy.read_text() + "\ntrace_link: https://jaeger.example/trace/{trace_id}\n")
    asked("query", "--rule", "never-pay", "--format", "html", "--export", str(tmp_path / "out"), code=1)
    (page, _) = sorted((tmp_path / "out/violations").iterdir())
    trace = scratch.trace_uuid("t1").hex
    assert f'href="https://jaeger.example/trace/{trace}"' in page.read_text()
    policy.write_text(policy.read_text().replace("https://", "javascript://"))
    said = refused(asked, "query", "--rule", "never-pay", "--format", "html", "--export", str(tmp_path / "out"))
    assert "is no address of a trace" in said


def test_an_incident_without_a_window_names_the_nearest(asked):
    assert "`INC-1` is no incident with a window" in refused(
        asked, "query", "--rule", "never-pay", "--compare-with", "INC-1"
    )


def test_folders_of_several_rules_are_refused_before_the_replay(asked, tmp_path, monkeypatch):
    from dagster_project.cli import queries

    mine = tmp_path / "out/never-pay"
    mine.mkdir(parents=True)
    (mine / "thesis.txt").write_text("x")
    monkeypatch.setattr(queries, "replay", lambda *_, **__: pytest.fail("it was replayed"))
    said = refused(asked, "query", "--all", "--format", "html", "--export", str(tmp_path / "out"))
    assert f"{mine} holds something else than a replay" in said
    assert (mine / "thesis.txt").is_file()
    (tmp_path / "csv/never-look.csv").mkdir(parents=True)
    said = refused(asked, "query", "--all", "--export", str(tmp_path / "csv"))
    assert "never-look.csv is a folder" in said
    (tmp_path / "file").touch()
    assert "is a file" in refused(asked, "query", "--all", "--export", str(tmp_path / "file"))


def test_pages_of_several_rules_replace_earlier_ones(asked, tmp_path):
    for _ in range(2):
        asked("query", "--all", "--format", "html", "--export", str(tmp_path / "out"), code=1)
    assert (tmp_path / "out/never-pay/index.html").is_file()
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


@pytest.mark.parametrize("format_", ["table", "json", "csv", "parquet"])
def test_a_folder_is_no_file_to_write_to(asked, tmp_path, format_, monkeypatch):
    from dagster_project.cli import queries

    monkeypatch.setattr(queries, "replay", lambda *_, **__: pytest.fail("it was replayed"))
    (tmp_path / "there").mkdir()
    said = refused(asked, "query", "--rule", "never-pay", "--format", format_, "--export", str(tmp_path / "there"))
    assert "there is a folder" in said
    monkeypatch.chdir(tmp_path)
    assert "is a folder" in refused(asked, "query", "--rule", "never-pay", "--format", format_, "--export", ".")
    (tmp_path / "file").touch()
    below = str(tmp_path / "file/x.csv")
    assert "file is no folder" in refused(asked, "query", "--rule", "never-pay", "--format", format_, "--export", below)


def test_the_folders_above_an_export_are_made(asked, tmp_path):
    asked("query", "--rule", "never-pay", "--export", str(tmp_path / "a/b/x.csv"), code=1)
    assert (tmp_path / "a/b/x.csv").is_file()


def test_several_rules_note_what_nobody_sent_and_print_no_lines_before(asked):
    (asked.project.rules_dir / "shop/never-fly.yml").write_text(rule_text("never-fly", '"pai"'))
    said = asked("query", "--all", code=1)
    assert "never applied" not in said
    assert "no span of the window is called `pai`; did you mean `pay`?" in said
    assert said.index("never-fly: no span of the window") > said.index("never-pay 2 1 0")


def test_a_file_name_is_no_folder_for_several_rules(asked, tmp_path):
    said = refused(asked, "query", "--all", "--export", str(tmp_path / "multi.csv"))
    assert "multi.csv is the name of a file: several rules are exported to a folder" in said
    assert not (tmp_path / "multi.csv").exists()


def test_an_empty_window_says_so_first(asked):
    said = asked("query", "--rule", "never-pay", "--start", "2030-01-01")
    assert said.index("says nothing: nothing that was received") < said.index("What was scanned")
    assert said.count("says nothing") == 1


def test_a_condition_alone_is_told_how_to_become_a_rule(asked):
    said = refused(asked, "query", "-e", "any(span(status = error))")
    assert "a condition alone is no rule" in said
    assert "write `detect: any(span(status = error))`, or `when: ... always: ...`" in said


def test_pages_of_several_rules_have_a_summary_above_them(asked, tmp_path, monkeypatch):
    from dagster_project.cli import queries
    from dagster_project.replay.query import ReplayFailed, replay
    from dagster_project.replay.running import TimedOut

    for rule_id in ("slow", "broken"):
        (asked.project.rules_dir / f"shop/{rule_id}.yml").write_text(rule_text(rule_id))

    def failing(connection, rule, window, **options):
        if rule.id == "slow":
            raise TimedOut(1.5, None)
        if rule.id == "broken":
            raise ReplayFailed("rules/shop/broken.yml: no memory")
        return replay(connection, rule, window, **options)

    monkeypatch.setattr(queries, "replay", failing)
    asked("query", "--all", "--format", "html", "--export", str(tmp_path / "out"), code=2)
    index = (tmp_path / "out/index.html").read_text()
    assert "stopped after 1.5 s (--timeout), over 3 spans" in index
    assert "rules/shop/broken.yml: no memory" in index
    assert 'href="never-pay/index.html"' in index
    assert 'href="slow/index.html"' not in index
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "hindcast.assets", "index.html", "never-look", "never-pay",
    ]  # fmt: skip
    assert not list((tmp_path / "out").glob("*/assets"))


def test_an_index_of_somebody_else_is_left_alone(asked, tmp_path, monkeypatch):
    from dagster_project.cli import queries

    monkeypatch.setattr(queries, "replay", lambda *_, **__: pytest.fail("it was replayed"))
    (tmp_path / "index.html").write_text("mine")
    said = refused(asked, "query", "--all", "--format", "html", "--export", str(tmp_path))
    assert "index.html is no summary of several rules: name another folder, or move that file away" in said
    assert (tmp_path / "index.html").read_text() == "mine"


def test_an_interrupted_move_puts_back_what_stood_there(asked, tmp_path, monkeypatch):
    out = tmp_path / "out"
    asked("query", "--all", "--format", "html", "--export", str(out), code=1)
    (out / "notes.txt").write_text("mine")
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    rename = Path.rename

    def interrupted(self, target):
        moved = rename(self, target)
        if Path(target) == out / "never-look":
            monkeypatch.undo()
            raise KeyboardInterrupt
        return moved

    monkeypatch.setattr(Path, "rename", interrupted)
    said = asked("query", "--all", "--start", "2024-01-02", "--format", "html", "--export", str(out), code=130)
    assert "interrupted: nothing was written" in said
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


@pytest.mark.parametrize("format_", ["table", "json", "csv", "parquet"])
def test_an_answer_takes_the_place_of_an_earlier_one_and_of_nothing_else(asked, tmp_path, format_):
    file = tmp_path / "answer"
    (tmp_path / "precious").write_text("precious")
    for start in ("2024-01-01", "2030-01-01"):
        code = 1 if start == "2024-01-01" else 0
        for other in ("json", "csv", format_):
            asked("query", "--rule", "never-pay", "--start", start, "--format", other, "--export", str(file), code=code)
    said = refused(asked, "query", "--rule", "never-pay", "--format", format_, "--export", str(tmp_path / "precious"))
    assert "precious is no earlier answer: name another file, or move that one away" in said
    assert (tmp_path / "precious").read_text() == "precious"


def test_answers_of_several_rules_take_the_place_of_earlier_ones_and_of_nothing_else(asked, tmp_path):
    out = tmp_path / "out"
    for _ in range(2):
        asked("query", "--all", "--export", str(out), code=1)
    (out / "never-look.csv").write_text("name,phone\nAnn,1\n")
    assert "never-look.csv is no earlier answer" in refused(asked, "query", "--all", "--export", str(out))
    assert (out / "never-look.csv").read_text() == "name,phone\nAnn,1\n"


@pytest.mark.parametrize(
    ("format_", "name", "right"),
    [("json", "odd.csv", "odd.json"), ("csv", "odd.PARQUET", "odd.csv"), ("html", "odd.txt", "odd")],
)
def test_a_name_that_says_another_format_is_refused(asked, tmp_path, format_, name, right):
    said = refused(asked, "query", "--rule", "never-pay", "--format", format_, "--export", str(tmp_path / name))
    assert f"and --format says {format_}: write `--export {tmp_path / right}` or `--format" in said
    assert not (tmp_path / name).exists()


def test_what_takes_too_long_to_share_is_said_and_each_rule_judged_alone(asked, monkeypatch):
    from dagster_project.cli import queries
    from dagster_project.replay.running import TimedOut

    def stopped(*_given):
        raise TimedOut(1.5, None)

    monkeypatch.setattr(queries, "together", stopped)
    said = asked("query", "--all", code=1)
    assert "what the rules share was not read in 1.5 s (--timeout): each is judged alone" in said


@pytest.mark.parametrize("condition", ["statsu = error", "error = statsu", 'name = "nobody"'])
def test_an_answer_over_what_nobody_sent_says_so_at_its_end(asked, condition):
    said = asked("query", "-e", f"never: any(span({condition}))")
    assert said.count("of the window") == 1, "one mistake is one hint"
    assert "every violation of what was received; but the rule names what was not found there: see above" in said
    assert "see above" not in asked("query", "--rule", "never-pay", code=1)


def test_the_help_leads_to_how_a_rule_is_run(asked):
    assert "hindcast rules explain ID" in asked("query", "--help")


@pytest.mark.parametrize("which", [["--rule", "never-pay"], ["--all"]])
@pytest.mark.parametrize("format_", ["csv", "html"])
def test_a_folder_that_cannot_be_written_to_is_told_before_the_replay(asked, tmp_path, monkeypatch, which, format_):
    from dagster_project.cli import queries

    locked = tmp_path / "locked"
    locked.mkdir()
    # Whoever runs the tests may be allowed everything.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked)
    monkeypatch.setattr(queries, "replay", lambda *_, **__: pytest.fail("it was replayed"))
    said = refused(asked, "query", *which, "--format", format_, "--export", str(locked / "out"))
    assert said == f"{locked} cannot be written to: name another place with --export"
    (locked / "out").mkdir()
    assert said == refused(asked, "query", *which, "--format", "html", "--export", str(locked / "out"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_query_that_is_killed_leaves_no_temporary_folder(hindcast, many_spans, tmp_path, monkeypatch, number):
    publish(hindcast.project, many_spans)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    done = run(hindcast, "query", "-e", f"never: any(span({SLOW}))")
    until = time.monotonic() + 120
    while not list(temporary.iterdir()) and time.monotonic() < until:
        time.sleep(0.02)
    assert list(temporary.iterdir()), "it has begun"
    time.sleep(0.5)
    done.send_signal(number)
    done.communicate(timeout=120)
    assert (done.returncode, list(temporary.iterdir())) == (128 + number, [])


def test_a_pipe_that_closes_leaves_no_temporary_folder(asked, tmp_path, monkeypatch):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    done = run(asked, "query", "--rule", "never-pay", "--format", "json")
    done.stdout.close()
    done.wait(timeout=120)
    assert list(temporary.iterdir()) == []
