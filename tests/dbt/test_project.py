"""The project as a whole: it repeats itself, stands without rules, and says what each table and column is."""

import pytest
import yaml

LAYERS = ("staging", "intermediate", "violations", "marts")


@pytest.fixture
def loaded(warehouse):
    """A little of everything, with a refused record."""
    warehouse.insert_spans(
        [{"span": 1}, {"span": 1}, {"span": 2, "parent": 1, "seconds": 3}, {"trace": 2, "parent": 9}]
    )
    warehouse.insert_payloads(
        "incidents",
        [{"incident_id": "INC-1", "created_at": "2024-01-01T10:00:00Z", "resolved_at": "2024-01-01T10:10:00Z"}],
        incident_id="incident_id",
    )
    warehouse.write(
        "insert into audit.loads values (1, 'shop', 'otlp_traces', 'a.jsonl', 'ab', 'loaded', null, 9, 9, 6, 4, 2, [],"
        " [date '2024-01-01'], null, now()::timestamp, now()::timestamp, 'x', 'raw.spans', null, null, null, null,"
        " null, 0)"
    )
    warehouse.write(
        "insert into audit.quarantine (load_id, line, record, reason, detail, raw)"
        " values (1, 1, 5, 'time_missing', null, null), (1, 2, null, 'bad_json', null, null)"
    )
    return warehouse


def test_a_second_run_changes_no_row_and_tests_pass(shared_project, loaded, make_warehouse, differences, tmp_path):
    done = shared_project.run(loaded, "build", "--exclude", "resource_type:unit_test")
    assert "mart_certificates_never_null" in done
    copy = make_warehouse("copy")
    copy.path.write_bytes(loaded.path.read_bytes())
    shared_project.run(loaded)
    assert differences(loaded, copy) == set()
    assert loaded.rows(
        "select spans_scanned, spans_repeated, traces_scanned, traces_complete, traces_incomplete, records_quarantined,"
        " violated, satisfied, inconclusive, not_applicable, days, window_until::varchar from marts.mart_certificates"
    ) == [(3, 1, 2, 1, 1, 2, 1, 1, 0, 0, 1, "2024-01-02 00:00:00")]
    assert loaded.rows("select rejected_by_reason, records_repeated from marts.mart_load_summary") == [
        ([{"reason": "bad_json", "records": 1}, {"reason": "time_missing", "records": 1}], 1)
    ]


def test_without_rules_and_without_records_every_table_is_there_and_empty(own_project, warehouse):
    own_project.generate(promoted=[], groups=[])
    own_project.run(warehouse, "build", "--exclude", "resource_type:unit_test")
    assert warehouse.rows("select count(*) from violations.fct_verdicts") == [(0,)]
    assert warehouse.rows("select count(*) from marts.mart_certificates") == [(0,)]


def test_every_model_and_column_is_described_in_a_file_of_its_own(shared_project, loaded):
    shared_project.run(loaded)
    built = dict(
        loaded.rows(
            "select table_schema || '.' || table_name, list(column_name order by column_name)"
            " from information_schema.columns group by all"
        )
    )
    for layer in LAYERS:
        for model in sorted((shared_project.root / "models" / layer).glob("*.sql")):
            (described,) = yaml.safe_load(model.with_suffix(".yml").read_text())["models"]
            assert described["name"] == model.stem
            assert described["description"]
            assert all(column["description"] for column in described["columns"]), model.stem
            assert sorted(column["name"] for column in described["columns"]) == built[f"{layer}.{model.stem}"]
