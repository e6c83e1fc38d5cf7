"""The keeping of generated files; compiling itself is tested with the rule language, dbt with the dbt project."""

import hashlib
import json
import os

import pytest

from dagster_project.settings import Project
from dagster_project.transformation import dbt_files, prepare
from dagster_project.transformation.locked_dbt import PARSED_VARIABLE
from dagster_project.warehouse import lock


@pytest.fixture
def project(tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yml").write_text("id: a\n")
    (tmp_path / "dbt" / "models").mkdir(parents=True)
    (tmp_path / "dbt" / "dbt_project.yml").write_text("name: hindcast\n")
    return Project(tmp_path)


def test_generated_files_are_replaced_and_those_of_gone_rules_removed(project):
    generated = project.dbt_dir / "models/violations/generated"
    prepare._replace_generated(project.dbt_dir, {"models/violations/generated/one.sql": "select 1"})
    prepare._replace_generated(project.dbt_dir, {"models/violations/generated/two.sql": "select 2"})
    assert [file.name for file in generated.iterdir()] == ["two.sql"]
    assert (generated / "two.sql").read_text() == "select 2"


def test_a_generated_file_outside_its_folder_is_refused(project):
    with pytest.raises(ValueError, match="outside"):
        prepare._replace_generated(project.dbt_dir, {"models/staging/stg_spans.sql": "select 1"})
    assert not (project.dbt_dir / "models/staging").exists()


def test_the_fingerprint_follows_rules_and_models_but_not_what_is_generated(project):
    before, models_before = prepare.fingerprint(project), prepare.models_fingerprint(project)
    prepare._replace_generated(project.dbt_dir, {"models/violations/generated/one.sql": "select 1"})
    assert prepare.fingerprint(project) == before
    assert prepare.models_fingerprint(project) == models_before
    (project.rules_dir / "a.yml").write_text("id: b\n")
    assert prepare.fingerprint(project) != before
    assert prepare.models_fingerprint(project) == models_before


@pytest.mark.parametrize("name", ["models/x.sql", "models/marts/x.sql", "macros/x.sql", "dbt_project.yml"])
def test_what_builds_tables_changes_both_fingerprints(project, name):
    before, models_before = prepare.fingerprint(project), prepare.models_fingerprint(project)
    (project.dbt_dir / name).parent.mkdir(exist_ok=True)
    (project.dbt_dir / name).write_text("changed")
    assert prepare.fingerprint(project) != before
    assert prepare.models_fingerprint(project) != models_before


@pytest.mark.parametrize("name", ["models/x.yml", "profiles.yml", "tests/generic/x.sql"])
def test_what_dbt_reads_and_builds_nothing_with_asks_for_no_new_tables(project, name):
    before, models_before = prepare.fingerprint(project), prepare.models_fingerprint(project)
    (project.dbt_dir / name).parent.mkdir(parents=True, exist_ok=True)
    (project.dbt_dir / name).write_text("changed")
    assert prepare.fingerprint(project) != before
    assert prepare.models_fingerprint(project) == models_before


@pytest.mark.parametrize(
    "name", [".sqlfluff", "README.md", "models/.x.sql.swp", "models/.x.sql", "models/x.sql~", "target/x.sql", "logs/x"]
)
def test_files_of_tools_and_editors_change_nothing(project, name):
    before, models_before = prepare.fingerprint(project), prepare.models_fingerprint(project)
    (project.dbt_dir / name).parent.mkdir(exist_ok=True)
    (project.dbt_dir / name).write_text("changed")
    assert (prepare.fingerprint(project), prepare.models_fingerprint(project)) == (before, models_before)


@pytest.mark.parametrize("package", ["hindcast", "dbt-core", "dbt-duckdb", "sqlglot"])
def test_another_version_asks_for_a_new_manifest_and_no_new_tables(project, package, monkeypatch):
    before, models_before = prepare.fingerprint(project), prepare.models_fingerprint(project)
    real = prepare.version
    monkeypatch.setattr(prepare, "version", lambda name: "99" if name == package else real(name))
    if package == "hindcast":
        monkeypatch.setattr(prepare, "__version__", "99")
    assert prepare.fingerprint(project) != before
    assert prepare.models_fingerprint(project) == models_before


def test_the_text_of_a_rule_is_the_bytes_of_its_file(project):
    (project.rules_dir / "a.yml").write_bytes(b"id: a\r\n")
    assert prepare.rule_texts(project) == {"rules/a.yml": "id: a\r\n"}


def test_a_project_that_was_not_prepared_says_what_to_run(project):
    with pytest.raises(prepare.NotPrepared, match="hindcast prepare"):
        prepare.require_prepared(project)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A project outside a checkout, with a shipped dbt project that can be changed."""
    (tmp_path / "shipped/dbt/models").mkdir(parents=True)
    (tmp_path / "shipped/dbt/dbt_project.yml").write_text("name: hindcast\n")
    (tmp_path / "shipped/dbt/models/old_name.sql").write_text("select 1")
    (tmp_path / "project/rules").mkdir(parents=True)
    monkeypatch.setattr(prepare, "shipped", lambda name: tmp_path / "shipped" / name)
    monkeypatch.setattr(prepare, "_parse", lambda project: _manifest(project).touch())
    return Project(tmp_path / "project")


def _manifest(project):
    project.dbt_target_dir.mkdir(parents=True, exist_ok=True)
    return project.dbt_target_dir / "manifest.json"


def test_a_model_that_was_renamed_in_a_newer_version_does_not_stay(elsewhere, tmp_path):
    prepare.prepare(elsewhere)
    models = elsewhere.dbt_dir / "models"
    (tmp_path / "shipped/dbt/models/old_name.sql").rename(tmp_path / "shipped/dbt/models/new_name.sql")
    assert prepare.prepare(elsewhere).changed
    assert [file.name for file in models.glob("*.sql")] == ["new_name.sql"]
    assert (models / "violations/generated/rule_catalogue.sql").is_file()
    assert not prepare.prepare(elsewhere).changed
    assert [file.name for file in elsewhere.dbt_dir.parent.glob(".dbt*")] == []


def test_a_copy_that_was_tampered_with_or_cut_short_is_mended(elsewhere):
    prepare.prepare(elsewhere)
    (elsewhere.dbt_dir / "models/old_name.sql").write_text("select 2")
    prepare.prepare(elsewhere)
    assert (elsewhere.dbt_dir / "models/old_name.sql").read_text() == "select 1"
    elsewhere.dbt_dir.rename(elsewhere.dbt_dir.with_name(".dbt.old"))  # stopped between the two renames
    assert prepare.prepare(elsewhere).changed
    assert (elsewhere.dbt_dir / "models/violations/generated/rule_catalogue.sql").is_file()


def test_two_do_not_prepare_at_once(elsewhere, monkeypatch):
    held = []
    real = prepare._replace_generated

    def noting(*given):
        held.append(lock.holder(elsewhere.root / prepare.PREPARE_LOCK))
        real(*given)

    monkeypatch.setattr(prepare, "_replace_generated", noting)
    prepare.prepare(elsewhere)
    assert [holder["purpose"] for holder in held] == ["prepare"]
    monkeypatch.setattr(prepare, "WAIT_SECONDS", 0.0)
    with lock.hold(elsewhere.root / prepare.PREPARE_LOCK, "another"), pytest.raises(lock.WarehouseLocked):
        prepare.prepare(elsewhere)


def test_folders_of_old_runs_go_and_the_newest_stay(elsewhere):
    prepare.prepare(elsewhere)
    for age in range(8):
        folder = elsewhere.dbt_target_dir / f"models-{age}"
        (folder / "run").mkdir(parents=True)
        os.utime(folder, (1_700_000_000 - age, 1_700_000_000 - age))
    prepare.prepare(elsewhere)
    kept = sorted(folder.name for folder in elsewhere.dbt_target_dir.glob("models-*"))
    assert kept == [f"models-{age}" for age in range(dbt_files.KEPT_RUNS)]
    assert (elsewhere.dbt_target_dir / "manifest.json").is_file()


def _parses_as(content):
    def parse(project):
        _manifest(project).touch()
        (project.dbt_target_dir / "partial_parse.msgpack").write_bytes(content)

    return parse


def test_what_dbt_parsed_is_handed_over_only_while_nothing_has_changed(project, monkeypatch):
    monkeypatch.setenv(PARSED_VARIABLE, "another's")
    project.dbt_target_dir.mkdir(parents=True)
    stamp = {"fingerprint": prepare.fingerprint(project), "parsed": "abc"}
    (project.dbt_target_dir / prepare.STAMP).write_text(json.dumps(stamp))
    with prepare.parsed_for_dbt(project):
        assert os.environ[PARSED_VARIABLE] == f"abc {project.dbt_target_dir / 'partial_parse.msgpack'}"
    (project.dbt_dir / "models/x.yml").write_text("changed")
    with prepare.parsed_for_dbt(project):
        assert PARSED_VARIABLE not in os.environ
    assert os.environ[PARSED_VARIABLE] == "another's"


def test_what_another_run_of_dbt_left_is_not_what_prepare_parsed(elsewhere, monkeypatch):
    """A dbt that somebody runs by hand writes the same file, with the variables and the profile of its own."""
    monkeypatch.setattr(prepare, "_parse", _parses_as(b"ours"))
    prepare.prepare(elsewhere)
    file = elsewhere.dbt_target_dir / "partial_parse.msgpack"
    ours = f"{hashlib.sha256(b'ours').hexdigest()} {file}"
    assert prepare.parsed_by_dbt(elsewhere) == ours
    file.write_bytes(b"another's")
    assert prepare.parsed_by_dbt(elsewhere) == ours, "whoever reads the file compares: it may change until then"
    assert prepare.prepare(elsewhere).changed, "else every night from here on would parse by itself"
    assert file.read_bytes() == b"ours"
    assert not prepare.prepare(elsewhere).changed


@pytest.mark.parametrize("without", [{}, {"parsed": None}, {"parsed": 7}])
def test_a_stamp_that_tells_no_hash_hands_nothing_over(project, without):
    project.dbt_target_dir.mkdir(parents=True)
    stamp = {"fingerprint": prepare.fingerprint(project), **without}
    (project.dbt_target_dir / prepare.STAMP).write_text(json.dumps(stamp))
    assert prepare.parsed_by_dbt(project) is None
