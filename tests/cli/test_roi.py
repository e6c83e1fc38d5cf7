import csv
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dagster_project.cli.app import app
from dagster_project.policy.document import DocumentError
from dagster_project.settings import ProjectNotFound
from dagster_project.statistics.schemas import SIGNIFICANCE_SCHEMA
from dagster_project.warehouse import generations
from dagster_project.warehouse.connection import connect, migrate

REPO = Path(__file__).parents[2]
CONFIG = REPO / "data/roi.yml"


def run(*arguments):
    return CliRunner().invoke(app, ["roi", *map(str, arguments)])


def said(done):
    """The words of an error, whose frame breaks lines."""
    return " ".join(done.output.replace("│", " ").split())


@pytest.fixture
def project(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/sources.yml").write_text("sources: []\n")
    shutil.copyfile(CONFIG, tmp_path / "data/roi.yml")
    return tmp_path


def test_the_whitepaper_stands_beside_what_holds():
    done = run("--config", CONFIG, "--estimate", "whitepaper")
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    for part in ("51.95 is a benefit/cost ratio", "50.95x", "(12,000) in every year", "Labour only", "7,329,187",
                 "14 of 14 inputs are not supported", "10,000 draws", "incidents_per_year"):  # fmt: skip
        assert part in said


def test_every_table_as_json_and_another_seed(project):
    one, other = (run("--project", project, "--format", "json", "--draws", 500, "--seed", seed) for seed in (1, 2))
    tables = json.loads(one.output)[0]
    assert set(tables) == {"summary", "lines", "inputs", "draws", "histogram", "tornado"}
    assert {row["draws"] for row in tables["draws"]} == {500}
    assert tables["draws"] != json.loads(other.output)[0]["draws"]
    assert run("--project", project, "--format", "json", "--draws", 500, "--seed", 1).output == one.output


def test_an_estimate_whose_comparison_was_never_made_credits_nothing(project):
    done = run("--project", project, "--estimate", "measured-effect")
    assert "no comparison servicenow-p3-halves in the warehouse" in " ".join(done.output.split())


def test_an_effect_is_that_of_the_current_generation(project):
    with connect(project / "data/warehouse/hindcast.duckdb") as connection:
        migrate(connection)
        connection.execute("create schema if not exists marts")
        connection.register("made", SIGNIFICANCE_SCHEMA.empty_table())
        connection.execute("create or replace table marts.mart_significance as select * from made")
        connection.execute(
            "insert into marts.mart_significance (comparison_id, verdict, estimand, level, primary_ratio,"
            " primary_ratio_low, primary_ratio_high)"
            " values ('servicenow-p3-halves', 'IMPROVED', 'geometric_mean_ratio', 0.05, 0.8, 0.7, 0.9)"
        )
        generations.publish(connection, project / "data/warehouse/generations")
    done = run("--project", project, "--estimate", "measured-effect", "--format", "json")
    (tables,) = json.loads(done.output)
    # A fifth of two hours, at 60 an hour, on each of 1,000 incidents.
    assert [row["amount"] for row in tables["lines"] if row["roi_line_id"].endswith("all_lines/labour/1")] == [
        pytest.approx(0.2 * 2 * 60 * 1_000)
    ]
    effect = next(row for row in tables["tornado"] if row["driver_id"].startswith("effect."))
    assert (effect["low"], effect["high"], effect["is_supported"]) == (0.7, 0.9, True)


def test_an_effect_needs_a_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HINDCAST_PROJECT", raising=False)
    assert isinstance(run("--config", CONFIG, "--estimate", "measured-effect").exception, ProjectNotFound)
    assert run("--config", CONFIG, "--estimate", "whitepaper").exit_code == 0


def test_csv_is_the_lines_and_starts_no_formula(tmp_path):
    config, out = tmp_path / "roi.yml", tmp_path / "roi.csv"
    config.write_text(CONFIG.read_text().replace("label: Licence\n", "label: '=cmd|x'\n"))
    done = run("--config", config, "--estimate", "whitepaper", "--format", "csv", "--out", out)
    assert done.exit_code == 0
    rows = list(csv.DictReader(out.open(encoding="utf-8")))
    assert {row["year"] for row in rows} == {"0", "1", "2", "3"}
    assert rows[0]["label"] == "'=cmd|x"


def test_markdown_keeps_cells_and_tags_apart(tmp_path):
    config = tmp_path / "roi.yml"
    config.write_text(CONFIG.read_text().replace("label: Licence\n", "label: 'a | <b>'\n"))
    done = run("--config", config, "--estimate", "whitepaper", "--format", "markdown")
    assert r"| a \| \<b\> | 0 | 48,000 |" in done.output


def test_a_file_that_is_there_is_left_alone_unless_it_is_given_up(tmp_path):
    there = tmp_path / "policy.yml"
    there.write_text("severities: {}\n")
    done = run("--config", CONFIG, "--estimate", "whitepaper", "--out", there)
    assert done.exit_code == 2
    assert "is there already" in said(done)
    assert there.read_text() == "severities: {}\n"
    assert run("--config", CONFIG, "--estimate", "whitepaper", "--out", there, "--force").exit_code == 0
    assert "Rule replay" in there.read_text()


@pytest.mark.parametrize("place", ["absent/roi.md", "."])
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_computed(tmp_path, monkeypatch, place):
    monkeypatch.setattr("dagster_project.cli.roi.TABLES", {"summary": lambda *_: pytest.fail("was computed")})
    done = run("--config", CONFIG, "--estimate", "whitepaper", "--out", tmp_path / place)
    assert done.exit_code == 2
    assert "--out" in said(done)
    assert ("lies in a folder that does not exist" if "/" in place else "is a folder") in said(done)


def test_what_is_wrong_is_said(tmp_path):
    assert isinstance(run("--config", tmp_path / "absent.yml").exception, DocumentError)
    unknown = run("--config", CONFIG, "--estimate", "whitepapr")
    assert unknown.exit_code == 2
    assert "has no estimate 'whitepapr'; did you mean `whitepaper`?" in said(unknown)
    (tmp_path / "roi.yml").write_text("estimates: []\n")
    assert run("--config", tmp_path / "roi.yml").exit_code == 2
    assert run("--config", CONFIG, "--draws", 5).exit_code == 2
