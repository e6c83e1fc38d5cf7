"""`hindcast retention`, `compact`, `backfill`, `load --again`: what they say and do on a project."""

from dagster_project.warehouse import lock, personal_data, state
from dagster_project.warehouse.connection import connect
from tests.cli.conftest import SOURCES, span

DAY = 86_400
AT = 1704103200


def with_option(hindcast, option):
    hindcast.declare(SOURCES.replace("format: otlp_traces", f"format: otlp_traces, {option}"))


def spans(hindcast):
    with connect(hindcast.project.warehouse_file) as connection:
        return connection.execute("select count(*) from raw.spans").fetchall()[0][0]


def test_retention_counts_before_it_removes(hindcast):
    (hindcast.folder / "a.jsonl").write_bytes(span(1) + span(2, AT + 9 * DAY))
    hindcast("load")
    assert "every source keeps all" in hindcast("retention")
    with_option(hindcast, "retention_days: 3")
    said = hindcast("retention", "--dry-run")
    assert "traces raw.spans 2024-01-08 1" in said
    assert spans(hindcast) == 2
    assert "nothing is older" in hindcast("retention", "--as-of", "2024-01-02")
    assert "hindcast compact" in hindcast("retention")
    assert spans(hindcast) == 1
    assert "nothing is older" in hindcast("retention")


def test_compaction_says_what_there_is_to_gain(hindcast):
    assert "there is no warehouse" in hindcast("compact", code=2)
    (hindcast.folder / "a.jsonl").write_bytes(span(1))
    hindcast("load")
    with connect(hindcast.project.warehouse_file) as connection:
        connection.execute("create table ballast as select random() as x from range(1000000); checkpoint")
        connection.execute("drop table ballast; checkpoint")
    assert "nothing was written" in hindcast("compact", "--dry-run")
    assert "MiB less" in hindcast("compact")
    assert "nothing to gain" in hindcast("compact")
    assert spans(hindcast) == 1


def test_a_backfill_says_what_it_takes_and_what_is_wrong(hindcast):
    (hindcast.folder / "a.jsonl").write_bytes(span(1))
    days = ("--start", "2024-01-01", "--end", "2024-01-31")
    said = hindcast("backfill", *days, "--dry-run")
    assert "1 files not yet loaded will be read to know their days" in said
    assert "nothing was changed" in said
    assert "did you mean" in hindcast("backfill", *days, "--source", "trace", code=2)
    assert "before it starts" in hindcast("backfill", "--start", "2024-02-01", "--end", "2024-01-01", code=2)


def test_personal_data_needs_its_key_and_another_key_a_load_anew(hindcast, monkeypatch):
    monkeypatch.delenv(personal_data.KEY_VARIABLE, raising=False)
    (hindcast.folder / "a.jsonl").write_bytes(span(1))
    with_option(hindcast, "personal_data: [user.email]")
    assert "HINDCAST_PERSONAL_DATA_KEY is not set" in hindcast("load", code=2)
    monkeypatch.setenv(personal_data.KEY_VARIABLE, "0123456789abcdef")
    hindcast("load")
    assert "took the place" not in hindcast("load")
    assert "took the place of load 1" in hindcast("load", "--again")
    assert spans(hindcast) == 1


def test_doctor_finds_a_ledger_unlike_its_rows(hindcast):
    (hindcast.folder / "a.jsonl").write_bytes(span(1) + b"nonsense\n")
    hindcast("load")
    assert "hindcast quarantine list" in hindcast("doctor")
    with connect(hindcast.project.warehouse_file) as connection:
        connection.execute("delete from raw.spans")
    assert "the rows of 1 loads (1) are not as many as the ledger says" in hindcast("doctor", code=2)


def test_doctor_tells_a_running_night_from_a_killed_one(hindcast):
    state.begin_night(hindcast.project.state_file, "n1", "2024-01-01T03:00:00+00:00")
    with lock.hold(hindcast.project.night_lock_file, "nightly"):
        said = hindcast("doctor")
        assert "a night is running since 2024-01-01T03:00:00+00:00" in said
        assert "all is well" not in said
    assert "the night that began at 2024-01-01T03:00:00+00:00 was killed" in hindcast("doctor", code=2)
