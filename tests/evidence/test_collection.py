import hashlib

import duckdb
import pytest

from dagster_project.evidence.collection import (
    EVIDENCE_SCHEMA,
    Artefact,
    ArtefactMissing,
    ArtefactType,
    collect,
    evidence,
    tables,
)


@pytest.fixture
def warehouse():
    connection = duckdb.connect()
    connection.execute(
        """
        create schema audit; create schema marts; create schema violations;
        create table audit.loads (load_id bigint, source varchar, format varchar, path varchar, sha256 varchar,
                                  file_bytes bigint, records_landed bigint, status varchar, superseded_by bigint);
        insert into audit.loads values
            (1, 'day', 'otlp_traces', 'data/landing/traces.jsonl.gz', 'aa', 10, 7, 'loaded', null),
            (2, 'day', 'otlp_traces', 'data/landing/copy.jsonl.gz', 'aa', 10, 0, 'duplicate', null),
            (3, 'day', 'otlp_logs', 'data/landing/broken.gz', 'bb', 5, 0, 'failed', null),
            (4, 'day', 'incidents', '../elsewhere/incidents.json', 'cc', 3, 2, 'loaded', null),
            (5, 'day', 'otlp_logs', 'data/landing/grown.jsonl', 'ee', 3, 2, 'loaded', 6);
        create table marts.dim_rules (rule_id varchar, title varchar, file varchar, controls varchar[],
                                      file_sha256 varchar, file_bytes bigint);
        insert into marts.dim_rules
            values ('pays-once', 'Paid once', 'rules/pay/pays-once.yml', ['SOC2 CC7.3', 'PCI 10.2'], sha256('rule'), 4);
        create table violations.fct_violations as select n as violation_id from range(3) t(n);
        create table marts.mart_evidence (seq bigint);
        """
    )
    yield connection
    connection.close()


@pytest.fixture
def project(tmp_path):
    for name, text in {
        "rules/pay/pays-once.yml": "rule",
        "data/policy.yml": "policy",
        "reports/site/INC-1.md": "one",
        "reports/site/INC-1.html": "<p>one",
        "reports/site/index.html": "<p>all",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def gather(warehouse, project):
    site = project / "reports/site"
    return collect(
        warehouse,
        root=project,
        warehouse_file=project / "data/warehouse/hindcast.duckdb",
        rules_root=project,
        post_mortems={"INC-1": [site / "INC-1.md", site / "INC-1.html"]},
        configuration=[project / "data/policy.yml", project / "data/roi.yml"],
        reports=[site / "index.html"],
    )


def test_one_row_an_artefact_in_order(warehouse, project):
    table = gather(warehouse, project)
    assert table.schema == EVIDENCE_SCHEMA
    assert [(row["seq"], row["type"], row["source_path"]) for row in table.to_pylist()] == [
        (1, "source", "../elsewhere/incidents.json"),
        (2, "source", "data/landing/traces.jsonl.gz"),
        (3, "rule", "rules/pay/pays-once.yml"),
        (4, "configuration", "data/policy.yml"),
        (5, "table", "data/warehouse/hindcast.duckdb#marts.dim_rules"),
        (6, "table", "data/warehouse/hindcast.duckdb#violations.fct_violations"),
        (7, "post_mortem", "reports/site/INC-1.html"),
        (8, "post_mortem", "reports/site/INC-1.md"),
        (9, "report", "reports/site/index.html"),
    ]


def test_hashes_sizes_and_subjects(warehouse, project):
    rows = {row["source_path"]: row for row in gather(warehouse, project).to_pylist()}
    rule = rows["rules/pay/pays-once.yml"]
    assert rule["source_sha256"] == hashlib.sha256(b"rule").hexdigest()
    assert rule["bytes"] == 4
    assert (rule["rule_id"], rule["controls"]) == ("pays-once", ["PCI 10.2", "SOC2 CC7.3"])
    assert rows["reports/site/INC-1.md"]["incident_id"] == "INC-1"
    landed = rows["data/landing/traces.jsonl.gz"]  # its file is gone; the ledger speaks for it
    assert (landed["source_sha256"], landed["bytes"], landed["row_count"]) == ("aa", 10, 7)


def test_a_rule_is_what_was_compiled_whatever_its_file_says_now(warehouse, project):
    before = gather(warehouse, project)
    (project / "rules/pay/pays-once.yml").write_text("edited while the night ran")
    assert gather(warehouse, project).equals(before)
    (project / "rules/pay/pays-once.yml").unlink()
    assert gather(warehouse, project).equals(before)


def test_the_same_run_gives_the_same_rows(warehouse, project):
    assert gather(warehouse, project).equals(gather(warehouse, project))


def test_one_changed_byte_changes_hash_and_id(warehouse, project):
    before = {row["source_path"]: row for row in gather(warehouse, project).to_pylist()}
    (project / "reports/site/INC-1.md").write_text("One")
    after = {row["source_path"]: row for row in gather(warehouse, project).to_pylist()}
    changed = {path for path in before if before[path] != after[path]}
    assert changed == {"reports/site/INC-1.md"}
    assert before["reports/site/INC-1.md"]["id"] != after["reports/site/INC-1.md"]["id"]


def test_a_tables_hash_follows_its_rows_and_not_their_order(project):
    connection = duckdb.connect()
    connection.execute("create schema marts")

    def hash_of(query):
        connection.execute(f"create or replace table marts.m as {query}")
        (found,) = tables(connection, project / "w.duckdb")
        return found.sha256, found.row_count

    rows = "select n as a, n / 3 as b from range(100) t(n)"
    assert hash_of(f"{rows} order by a") == hash_of(f"{rows} order by a desc")
    assert hash_of(rows) != hash_of(f"{rows} where a <> 50")
    assert hash_of(rows) != hash_of(f"{rows} union all select 50, 50 / 3")
    one = hashlib.sha256(b'{"a":1}').hexdigest()
    assert hash_of("select 1 as a") == (hashlib.sha256(one.encode()).hexdigest(), 1)
    assert hash_of("select 1 as a where false") == (hashlib.sha256(b"").hexdigest(), 0)


def test_a_path_that_was_read_with_other_bytes_is_listed_for_each(warehouse, project):
    warehouse.execute(
        """
        insert into audit.loads values
            (7, 'day', 'otlp_traces', 'data/landing/traces.jsonl.gz', 'dd', 12, 9, 'loaded', null),
            (8, 'day', 'otlp_traces', 'data/landing/traces.jsonl.gz', 'aa', 10, 0, 'duplicate', null)
        """
    )
    rows = [row for row in gather(warehouse, project).to_pylist() if row["source_path"].endswith("traces.jsonl.gz")]
    assert [(row["source_sha256"], row["bytes"], row["row_count"]) for row in rows] == [("aa", 10, 7), ("dd", 12, 9)]
    assert len({row["id"] for row in rows}) == 2


def test_order_of_the_arguments_does_not_matter(project):
    files = [
        Artefact(ArtefactType.REPORT, name, project / f"reports/site/{name}") for name in ("index.html", "INC-1.md")
    ]
    assert evidence(files, root=project).equals(evidence([*files[::-1], files[0]], root=project))


def test_a_missing_file_is_named(project):
    gone = Artefact(ArtefactType.RULE, "Paid once", project / "rules/gone.yml")
    with pytest.raises(ArtefactMissing, match=r"rules/gone\.yml: the rule 'Paid once' is not there"):
        evidence([gone], root=project)


def test_no_artefact_no_row(project):
    assert evidence([], root=project).num_rows == 0
