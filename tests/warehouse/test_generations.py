import duckdb
import pytest

from dagster_project.warehouse import generations
from dagster_project.warehouse.connection import connect, migrate


@pytest.fixture
def warehouse(tmp_path):
    with connect(tmp_path / "warehouse.duckdb") as connection:
        migrate(connection)
        connection.execute("create schema staging")
        connection.execute(
            "create table staging.stg_spans as"
            " select i as span_id, date '2024-01-01' + (i % 3)::int as started_on from range(30) as t(i)"
        )
        connection.execute("create schema marts")
        connection.execute("create table marts.dim_rules as select 'a' as rule_id")
        yield connection


def test_a_generation_serves_the_tables_under_their_names(warehouse, tmp_path):
    generation = generations.publish(warehouse, tmp_path / "generations")
    with generations.open_generation(generation) as reader:
        assert reader.execute("select count(*), max(span_id) from staging.stg_spans").fetchall() == [(30, 29)]
        assert reader.execute("select * from marts.dim_rules").fetchall() == [("a",)]
    assert {part.file for part in generation.parts if part.table == "staging.stg_spans"} == {
        f"staging.stg_spans/2024-01-0{day}.parquet" for day in (1, 2, 3)
    }


def test_the_same_state_is_the_same_generation_and_a_changed_one_links_its_unchanged_days(warehouse, tmp_path):
    folder = tmp_path / "generations"
    first = generations.publish(warehouse, folder)
    assert generations.publish(warehouse, folder).id == first.id
    warehouse.execute("insert into staging.stg_spans values (100, date '2024-01-03')")
    second = generations.publish(warehouse, folder)
    assert second.id != first.id
    assert generations.latest(folder).id == second.id

    def inode(generation, day):
        return (generation.path / f"staging.stg_spans/2024-01-0{day}.parquet").stat().st_ino

    assert inode(first, 1) == inode(second, 1)
    assert inode(first, 3) != inode(second, 3)


def test_two_generations_are_kept_and_an_older_one_is_found_by_its_id(warehouse, tmp_path):
    folder = tmp_path / "generations"
    ids = []
    for rule in "bcd":
        warehouse.execute("insert into marts.dim_rules values (?)", [rule])
        ids.append(generations.publish(warehouse, folder).id)
    assert generations.find(folder).id == ids[2]
    assert generations.find(folder, ids[1][:8]).id == ids[1]
    with pytest.raises(generations.GenerationNotFound, match=ids[1]):
        generations.find(folder, ids[0])


def test_a_publication_that_was_killed_leaves_the_old_one_current(warehouse, tmp_path, monkeypatch):
    folder = tmp_path / "generations"
    first = generations.publish(warehouse, folder)
    warehouse.execute("insert into marts.dim_rules values ('z')")
    monkeypatch.setattr(generations, "_copy", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        generations.publish(warehouse, folder)
    assert generations.latest(folder).id == first.id
    monkeypatch.undo()
    second = generations.publish(warehouse, folder)
    assert generations.latest(folder).id == second.id
    assert not list(folder.glob(".*.partial"))


def test_the_hash_of_a_table_ignores_order_and_sees_a_row_that_is_there_twice():
    connection = duckdb.connect()
    connection.execute("create schema s")
    connection.execute("create table s.a as select * from (values (1, 'x'), (2, 'y'), (3, null)) as t(i, j)")
    connection.execute("create table s.b as select * from s.a order by i desc")
    connection.execute("create table s.c as select * from s.a union all select 1, 'x' union all select 1, 'x'")
    hashes = generations.table_hashes(connection, ["s.a", "s.b", "s.c"])
    assert hashes["s.a"] == hashes["s.b"] != hashes["s.c"]


def test_nothing_published_says_what_to_run(tmp_path):
    with pytest.raises(generations.GenerationNotFound, match="hindcast nightly"):
        generations.find(tmp_path)


def test_a_table_of_days_without_rows_is_there_all_the_same(warehouse, tmp_path):
    warehouse.execute("delete from staging.stg_spans")
    with generations.open_generation(generations.publish(warehouse, tmp_path / "g")) as reader:
        assert reader.execute("select count(*) from staging.stg_spans").fetchall() == [(0,)]


def test_when_a_replay_ran_is_no_part_of_what_a_generation_is(warehouse, tmp_path):
    first = generations.publish(warehouse, tmp_path / "g")
    warehouse.execute("insert into audit.replays values (1, null, null, 1, 'f', 'v', now()::timestamp)")
    assert generations.publish(warehouse, tmp_path / "g").id == first.id


def publish_another(warehouse, folder, rule, keep=()):
    warehouse.execute("insert into marts.dim_rules values (?)", [rule])
    return generations.publish(warehouse, folder, keep)


def test_a_generation_that_somebody_compares_with_is_kept(warehouse, tmp_path):
    first = publish_another(warehouse, tmp_path, "b")
    for rule in "cde":
        publish_another(warehouse, tmp_path, rule, keep={first.id})
    assert generations.find(tmp_path, first.id).id == first.id


def test_a_generation_that_is_open_keeps_its_files_until_it_is_closed(warehouse, tmp_path):
    first = publish_another(warehouse, tmp_path, "b")
    with generations.open_generation(first) as reader:
        for rule in "cde":
            publish_another(warehouse, tmp_path, rule)
        assert reader.execute("select count(*) from marts.dim_rules").fetchall() == [(2,)]
    publish_another(warehouse, tmp_path, "f")
    assert not first.path.exists()
