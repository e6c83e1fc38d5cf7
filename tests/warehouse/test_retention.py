"""Retention removes what is older, and nothing else; compaction writes the same warehouse anew."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest

from dagster_project.sources.format import ReadOptions
from dagster_project.sources.registry import FORMATS
from dagster_project.transformation import replay_window
from dagster_project.warehouse import compaction, ledger, retention
from dagster_project.warehouse.connection import connect, migrate
from dagster_project.warehouse.landing import InputFile, land
from dagster_project.warehouse.retention import Expired, Kept, expire
from tests.warehouse.test_landing import spans

ROOT = Path(__file__).parents[2]
DAY = 1674950400 * 10**9  # 2023-01-29
NS_A_DAY = 86_400 * 10**9
WEEK = Kept("shop", 3)


def on_day(number: int, count: int = 2) -> bytes:
    return spans(count, DAY + number * NS_A_DAY, first=1 + number * 100)


@pytest.fixture
def warehouse(tmp_path):
    with connect(tmp_path / "w.duckdb") as connection:
        migrate(connection)
        yield connection


@pytest.fixture
def load(warehouse, tmp_path):
    def loaded(name: str, content: bytes, source: str = "shop"):
        (tmp_path / name).write_bytes(content)
        (outcome,) = land(warehouse, [InputFile(tmp_path / name, FORMATS["otlp_traces"], source)]).files
        return outcome

    return loaded


def days(connection) -> list[str]:
    return [
        str(day)
        for (day,) in connection.execute("select distinct started_at::date from raw.spans order by 1").fetchall()
    ]


def test_rows_that_are_older_go_and_the_ledger_says_so(warehouse, load):
    load("a", on_day(0) + on_day(1) + on_day(4))
    load("b", on_day(5))
    load("other", on_day(0, 5), source="kept")
    assert expire(warehouse, [WEEK], FORMATS) == [Expired("shop", "raw.spans", date(2023, 2, 1), 4)]
    assert warehouse.execute("select load_id, count(*) from raw.spans group by all order by all").fetchall() == [
        (1, 2), (2, 2), (3, 5),
    ]  # fmt: skip
    assert warehouse.execute("select load_id, rows_expired, event_days from audit.loads order by 1").fetchall() == [
        (1, 4, [date(2023, 2, 2)]), (2, 0, [date(2023, 2, 3)]), (3, 0, [date(2023, 1, 29)]),
    ]  # fmt: skip
    ((source, rows),) = warehouse.execute("select source, rows_removed from audit.expirations").fetchall()
    assert (source, rows) == ("shop", 4)
    assert ledger.loads_unlike_their_rows(warehouse) == []
    assert expire(warehouse, [WEEK], FORMATS) == [], "a second time there is nothing"


def test_as_many_days_are_kept_as_the_source_says(warehouse, load):
    load("a", b"".join(on_day(number) for number in range(6)))
    expire(warehouse, [WEEK], FORMATS)
    assert days(warehouse) == ["2023-02-01", "2023-02-02", "2023-02-03"]


def test_a_dry_run_counts_alone_and_a_day_can_be_named(warehouse, load):
    load("a", on_day(0) + on_day(5))
    assert expire(warehouse, [WEEK], FORMATS, dry_run=True)[0].rows == 2
    assert expire(warehouse, [WEEK], FORMATS, as_of=date(2023, 1, 31)) == []
    assert expire(warehouse, [WEEK], FORMATS, as_of=date(2023, 2, 20))[0].rows == 4
    assert warehouse.execute("select status, event_days from audit.loads").fetchall() == [("loaded", [])]


def test_a_wrong_clock_in_the_future_removes_nothing(warehouse, load):
    load("a", on_day(0) + spans(1, 4_000_000_000 * 10**9, first=900))
    assert expire(warehouse, [WEEK], FORMATS) == []


@pytest.fixture
def load_syslog(warehouse, tmp_path):
    def loaded(content: bytes, year: int):
        (tmp_path / "syslog").write_bytes(content)
        read_as = FORMATS["syslog"].with_options(ReadOptions(year=year))
        (outcome,) = land(warehouse, [InputFile(tmp_path / "syslog", read_as, "shop")]).files
        return outcome

    return loaded


def test_a_corrected_year_does_not_expire_all(warehouse, load_syslog):
    lines = b"".join(b"<34>Feb %2d 22:14:15 host su: tried %d\n" % (day, day) for day in range(1, 21))
    assert load_syslog(lines, 2025).status == "loaded"
    warehouse.execute(
        "create schema staging;"
        "create table staging.stg_logs as select load_id, occurred_at::date as occurred_on from raw.logs"
    )
    assert load_syslog(lines, 2024).replaces == 1
    assert expire(warehouse, [Kept("shop", 90)], FORMATS) == []
    assert warehouse.execute("select count(*) from raw.logs").fetchall() == [(20,)]
    expire(warehouse, [Kept("shop", 1)], FORMATS, as_of=date(2026, 1, 1))
    assert warehouse.execute("select count(*) from staging.stg_logs").fetchall() == [(0,)], "of the load it replaced"


def test_days_that_expired_are_due_no_more_and_their_files_stay_known(warehouse, load):
    load("a", on_day(0))
    load("b", on_day(9))
    assert replay_window.due(warehouse, "m", date(2020, 1, 1)).due_days == 2
    expire(warehouse, [WEEK], FORMATS)
    due = replay_window.due(warehouse, "other models", date(2020, 1, 1))
    assert (due.first_day, due.due_days) == (date(2023, 2, 7), 1)
    assert load("a", on_day(0)).status == "unchanged"


def test_a_file_that_grew_expires_anew(warehouse, load):
    load("a", on_day(0) + on_day(8))
    expire(warehouse, [WEEK], FORMATS)
    assert load("a", on_day(0) + on_day(8) + on_day(9)).replaces == 1
    assert expire(warehouse, [WEEK], FORMATS)[0].rows == 2
    assert days(warehouse) == ["2023-02-06", "2023-02-07"]
    assert ledger.loads_unlike_their_rows(warehouse) == []


STAGED = """
    create schema staging; create schema intermediate; create schema violations;
    create table staging.stg_spans as select load_id, trace_id, started_at::date as started_on from raw.spans;
    create table staging.stg_span_events as select trace_id, started_at::date as started_on from raw.spans;
    insert into staging.stg_spans values (99, null, '2023-02-07');
    create table intermediate.int_traces as
        select trace_id, min(started_at)::date as started_on from raw.spans group by 1;
    create table violations.verdicts as select * from intermediate.int_traces;
"""


def test_staging_forgets_the_same_and_verdicts_stay(warehouse, load, tmp_path):
    load("a", on_day(0).replace(b"5b8efff7", b"00000001") + on_day(9))
    load("other", on_day(0).replace(b"5b8efff7", b"00000002"), source="kept")
    warehouse.execute(STAGED)
    expire(warehouse, [WEEK], FORMATS)
    assert [
        warehouse.execute(f"select count(*) from {table}").fetchall()[0][0]
        for table in ("staging.stg_spans", "staging.stg_span_events", "intermediate.int_traces", "violations.verdicts")
    ] == [5, 4, 2, 3]


REPEATED = """
    create schema staging; create schema intermediate;
    create table staging.stg_span_repeats as
        select theirs.load_id, theirs.line, theirs.record, ours.load_id as kept_load_id, ours.line as kept_line,
            ours.record as kept_record, theirs.started_at::date as started_on
        from raw.spans as ours join raw.spans as theirs using (trace_id, span_id)
        where ours.load_id = 1 and theirs.load_id = 2;
    create table staging.stg_spans as
        select load_id, trace_id, started_at::date as started_on from raw.spans where load_id = 1;
"""


def test_items_without_a_key_are_counted_again_where_some_are_gone(warehouse, load):
    load("a", on_day(0) + on_day(5))
    judged = "select model from audit.judged_rules order by model"
    for model in ("rule_unkeyed_items", "verdicts__trace"):
        warehouse.execute("insert into audit.judged_rules (model, rule_id, meaning_hash) values (?, 'r', 'm')", [model])
    expire(warehouse, [WEEK], FORMATS, dry_run=True)
    assert warehouse.execute(judged).fetchall() == [("rule_unkeyed_items",), ("verdicts__trace",)]
    expire(warehouse, [WEEK], FORMATS)
    assert warehouse.execute(judged).fetchall() == [("verdicts__trace",)]


def test_a_day_of_which_another_source_has_the_records_is_due_again(warehouse, load):
    load("a", on_day(0) + on_day(1) + on_day(8))
    load("b", on_day(0) + on_day(8) + b" ", source="kept")
    first_day = date(2020, 1, 1)
    replayed = replay_window.due(warehouse, "m", first_day)
    replay_window.record(warehouse, replayed, "1")
    warehouse.execute(REPEATED)
    expire(warehouse, [WEEK], FORMATS)
    due = replay_window.due(warehouse, "m", first_day)
    assert (due.first_day, due.last_day, due.due_days) == (date(2023, 1, 29), date(2023, 1, 29), 1)
    assert due.through_load_id == replayed.through_load_id
    assert not due.full_refresh
    replay_window.record(warehouse, due, "1")
    assert replay_window.due(warehouse, "m", first_day).due_days == 0


def test_what_a_killed_run_removed_is_in_the_expirations(warehouse, load, monkeypatch):
    load("a", on_day(0))
    load("b", on_day(1, 3) + on_day(9))
    whole = retention._expire_load

    def killed_at_the_second(connection, source, load_id, *rest):
        if load_id == 2:
            raise KeyboardInterrupt
        return whole(connection, source, load_id, *rest)

    monkeypatch.setattr(retention, "_expire_load", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        expire(warehouse, [WEEK], FORMATS)
    monkeypatch.undo()
    expire(warehouse, [WEEK], FORMATS)
    noted = warehouse.execute("select source, target, rows_removed from audit.expirations order by all").fetchall()
    assert noted == [("shop", "raw.spans", 2), ("shop", "raw.spans", 3)]


def test_a_failure_in_the_middle_of_a_load_removes_nothing_of_it(warehouse, load):
    load("a", on_day(0) + on_day(9))
    warehouse.execute("create schema staging; create table staging.stg_x (load_id varchar, started_on date)")
    warehouse.execute("insert into staging.stg_x values ('no number', '2023-01-01')")
    with pytest.raises(Exception, match="VARCHAR and BIGINT"):
        expire(warehouse, [WEEK], FORMATS)
    assert warehouse.execute("select count(*) from raw.spans").fetchall() == [(4,)]


# --- compaction -------------------------------------------------------------------------------------------------------


@pytest.fixture
def worn(tmp_path):
    """A warehouse file of which most rows were removed."""
    file = tmp_path / "worn.duckdb"
    (tmp_path / "a").write_bytes(b"".join(spans(15_000, DAY + n * NS_A_DAY, first=1 + n * 20_000) for n in range(4)))
    with connect(file) as connection:
        migrate(connection)
        land(connection, [InputFile(tmp_path / "a", FORMATS["otlp_traces"], "shop")])
        connection.execute("create view raw.seen as select count(*) as n from raw.spans; create sequence raw.numbers")
        connection.execute("create table ballast as select random() as x from range(1000000)")
        connection.execute("checkpoint")
        expire(connection, [Kept("shop", 1)], FORMATS)
        connection.execute("drop table ballast; checkpoint")
    return file


def contents(file):
    with connect(file) as connection:
        return compaction._contents(connection, file.name.removesuffix(".duckdb"))


def test_a_compacted_warehouse_is_the_same_and_smaller(worn):
    before = contents(worn)
    assert before["raw.deploys"][1] == contents(worn)["raw.deploys"][1]
    space = compaction.space(worn)
    assert space.is_worth_it
    after = compaction.compact(worn)
    assert after.file_bytes < space.file_bytes - space.free_bytes / 2
    assert contents(worn) == before
    assert not compaction.space(worn).is_worth_it
    assert sorted(path.name for path in worn.parent.glob("worn*")) == ["worn.duckdb"]
    with connect(worn) as connection:
        assert connection.execute("select n from raw.seen").fetchall() == [(15_000,)]
        with pytest.raises(Exception, match="NOT NULL"):
            connection.execute("insert into raw.deploys (load_id) values (1)")
        with pytest.raises(Exception, match=r"[Dd]uplicate key"):
            connection.execute("insert into audit.loads select * from audit.loads")


def test_a_compacted_warehouse_keeps_its_mode_and_the_link_to_it(worn, tmp_path):
    (tmp_path / "linked").mkdir()
    link = tmp_path / "linked" / "w.duckdb"
    link.symlink_to(worn)
    worn.chmod(0o600)
    before = worn.stat().st_size
    compaction.compact(link)
    assert link.is_symlink()
    assert worn.stat().st_size < before
    assert stat.S_IMODE(worn.stat().st_mode) == 0o600


def test_rows_that_came_twice_are_seen_to_be_missing(tmp_path):
    found = []
    for name, values in (("a", "(1), (1), (2)"), ("b", "(3), (3), (2)")):
        with connect(tmp_path / f"{name}.duckdb") as connection:
            connection.execute(f"create table t as select * from (values {values}) as of (x)")
            found.append(compaction._contents(connection, name)["main.t"])
    assert found[0] != found[1], "in an exclusive or the two rows of a pair are nothing"


def test_a_copy_that_differs_is_thrown_away(worn, monkeypatch):
    before, whole = worn.read_bytes(), compaction._contents
    monkeypatch.setattr(
        compaction, "_contents",
        lambda connection, catalog: whole(connection, catalog) | ({"raw.spans": ()} if catalog == "new" else {}),
    )  # fmt: skip
    with pytest.raises(compaction.CompactionFailed, match=r"raw\.spans"):
        compaction.compact(worn)
    assert contents(worn)["raw.spans"][2] == 15_000
    assert len(before) == worn.stat().st_size
    assert not list(worn.parent.glob("*.compacting*"))


COMPACT = """
import sys
from pathlib import Path
from dagster_project.warehouse.compaction import compact
print("ready", flush=True)
compact(Path(sys.argv[1]))
"""


def test_a_killed_compaction_leaves_a_whole_warehouse(worn):
    before, interrupted = contents(worn), 0
    for seconds in (0, 0, 0.05, 0.1, 0.3):
        with subprocess.Popen(
            [sys.executable, "-c", COMPACT, str(worn)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            process.stdout.readline()
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
            interrupted += process.wait() == -signal.SIGKILL
        assert contents(worn) == before
    assert interrupted > 0
    compaction.compact(worn)
    assert contents(worn) == before
    assert not list(worn.parent.glob("*.compacting*"))
