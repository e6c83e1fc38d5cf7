"""Staging of logs: what an earlier load brought is kept once, what one load holds several times stays."""

LOGS = """
insert into raw.logs by name
select
    load_id, line, 1 as record, occurred_at::timestamp_ns as occurred_at, 'shop' as service_name,
    9 as severity_number, body, 0 as dropped_attributes_count, attributes::json as attributes
from (values {}) as sent (load_id, line, occurred_at, body, attributes)
"""
MODELS = ("stg_log_repeats", "stg_logs")


def _insert(warehouse, *rows):
    values = ", ".join(
        "({}, {}, '{}', {}, {})".format(
            load, line, at, *("null" if text is None else f"'{text}'" for text in (body, attributes))
        )
        for load, line, at, body, attributes in rows
    )
    warehouse.write(LOGS.format(values))


def test_what_is_kept_of_a_content_is_the_most_that_one_load_has(shared_project, warehouse):
    at = "2024-01-01 10:00:00.000000001"
    _insert(
        warehouse,
        *((1, line, at, "tick", None) for line in (1, 2)),
        *((2, line, at, "tick", None) for line in (5, 6, 7)),
        (3, 1, at, "tick", None),
        (3, 2, at, "tick", '{"n":1}'),
        (3, 3, at, None, None),
        (4, 1, at, None, None),
        *((4, line, "2024-01-02 00:00:00", "only here", None) for line in (2, 3)),
    )
    shared_project.run(warehouse, "run", "-s", *MODELS)
    assert warehouse.rows(
        "select load_id, line, kept_load_id, kept_line from staging.stg_log_repeats order by all"
    ) == [(2, 5, 1, 1), (2, 6, 1, 2), (3, 1, 1, 1), (4, 1, 3, 3)]
    assert warehouse.rows("select load_id, line from staging.stg_logs order by all") == [
        (1, 1), (1, 2), (2, 7), (3, 2), (3, 3), (4, 2), (4, 3),
    ]  # fmt: skip


def test_days_staged_again_one_by_one_equal_a_full_rebuild(shared_project, make_warehouse, differences):
    early = [(1, 1, "2024-01-01 23:59:59.999999999", "last", None), (1, 2, "2024-01-02 10:00:00", "tick", None)]
    late = [(2, 1, "2024-01-01 23:59:59.999999999", "last", None), (2, 2, "2024-01-02 10:00:00", "tock", None)]
    updated, rebuilt = make_warehouse("updated"), make_warehouse("rebuilt")
    _insert(updated, *early)
    shared_project.run(updated, "run", "-s", *MODELS)
    _insert(updated, *late)
    for first, after in (("2024-01-01", "2024-01-02"), ("2024-01-02", "2024-01-03")):
        shared_project.run(updated, "run", "-s", *MODELS, replay_from=first, replay_until=after)
    _insert(rebuilt, *early, *late)
    shared_project.run(rebuilt, "run", "-s", *MODELS)
    assert differences(updated, rebuilt, schemas=("staging",)) == set()
    assert updated.rows("select count(*) from staging.stg_logs") == [(3,)]


def test_the_load_summary_counts_repeated_records(shared_project, warehouse):
    _insert(warehouse, (1, 1, "2024-01-01 10:00:00", "tick", None), (2, 1, "2024-01-01 10:00:00", "tick", None))
    for load in (1, 2):
        warehouse.write(
            "insert into audit.loads by name select ? as load_id, 'x' as source, 'json_lines' as format, 'x' as path,"
            " 'x' as sha256, 'loaded' as status, 1 as file_bytes, 1 as decoded_bytes, 1 as records_read,"
            " 1 as records_landed, 0 as records_rejected, [] as unknown_fields, [] as event_days,"
            " timestamp '2024-01-01' as started_at, timestamp '2024-01-01' as finished_at, '1' as code_version",
            [load],
        )
    shared_project.run(warehouse, "run", "-s", *MODELS, "stg_span_repeats", "mart_load_summary")
    assert warehouse.rows("select load_id, records_repeated from marts.mart_load_summary order by 1") == [
        (1, 0),
        (2, 1),
    ]
