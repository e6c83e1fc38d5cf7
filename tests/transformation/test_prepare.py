"""The keeping of generated files; compiling itself is tested with the rule language, dbt with the dbt project."""

import pytest

from dagster_project.settings import Project
from dagster_project.transformation import prepare


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


def test_a_project_that_was_not_prepared_says_what_to_run(project):
    with pytest.raises(prepare.NotPrepared, match="hindcast prepare"):
        prepare.require_prepared(project)
