"""The figures in the rules' descriptions, measured again: on the samples always, on the whole recorded day where it is.

A figure is the number of traces that violate a rule, of the traces that it applies to, in three times: while a fault is
active, in the quiet stretch, and shortly before a fault. When this fails, the message is the sentence to print.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
from scipy.stats import fisher_exact

from dagster_project.replay.query import replay
from dagster_project.rule_language import Rule, load_catalogue
from dagster_project.settings import Project
from dagster_project.sources.registry import FORMATS
from dagster_project.transformation import prepare
from dagster_project.warehouse import generations
from dagster_project.warehouse.connection import connect, migrate
from dagster_project.warehouse.landing import InputFile, land

REPOSITORY = Path(__file__).resolve().parents[2]
RECORDINGS = Path(os.environ.get("HINDCAST_RECORDINGS", REPOSITORY.parent / "shared/data"))
DAY = RECORDINGS / "trainticket-2023-01-29"
SAMPLE_TRUTH = REPOSITORY / "tests/end_to_end/trainticket_truth.json"
# Nothing on the recorded day is in its scope: it has no spans of a payment provider.
NOT_MEASURED = {"payment-idempotency"}

# A trace belongs to the time in which it starts; a fault goes before the quiet stretch, that before "shortly before".
FIGURES = """
    with faults as (
        select unnest(from_json($truth, '[{"injected_at": "TIMESTAMP"}]'), recursive := true)
    ),
    timed as (
        select
            trace_id,
            case
                when exists (
                    from faults
                    where started_at >= injected_at and started_at < injected_at + interval 180 second
                ) then 'fault'
                when started_at >= timestamp '2023-01-29 08:49:00' and started_at < timestamp '2023-01-29 08:52:06'
                then 'quiet'
                when exists (
                    from faults where started_at < injected_at and started_at >= injected_at - interval 70 second
                ) then 'before'
            end as time
        from (select trace_id, started_at::timestamp as started_at from intermediate.int_traces)
    )
    select
        time,
        count(*) filter (verdict = 'violated'),
        count(*),
        count(*) filter (verdict = 'inconclusive')
    from violations.fct_verdicts
    inner join timed on timed.trace_id = fct_verdicts.trace_ids[1]
    where rule_id = $rule and time is not null
    group by time
"""


def catalogue() -> tuple[Rule, ...]:
    files = sorted((REPOSITORY / "rules").rglob("*.yml"))
    return load_catalogue({file.relative_to(REPOSITORY).as_posix(): file.read_text() for file in files}).rules


MEASURED = [rule for rule in catalogue() if rule.id not in NOT_MEASURED]


@dataclass(frozen=True)
class Figures:
    """Violated and applicable traces of the three times."""

    fault: tuple[int, int]
    quiet: tuple[int, int]
    before: tuple[int, int]

    @property
    def p_value(self) -> float:
        """Fisher's exact test, two-sided, of faulty time against the other two together."""
        violated, of = self.fault
        calm_violated, calm_of = self.quiet[0] + self.before[0], self.quiet[1] + self.before[1]
        table = [[violated, of - violated], [calm_violated, calm_of - calm_violated]]
        return float(fisher_exact(table).pvalue)

    @property
    def text(self) -> str:
        fault, quiet, before = (f"{violated:,} of {of:,}" for violated, of in (self.fault, self.quiet, self.before))
        return (
            f"{fault} while a fault was active, {quiet} in the quiet stretch, {before} in the 70 s before a fault "
            f"(Fisher's exact test of the first against the others: p = {self.p_value:.2g})"
        )


def measure(connection: duckdb.DuckDBPyConnection, rule: Rule, truth: str) -> Figures:
    rows = connection.execute(FIGURES, {"truth": truth, "rule": rule.id}).fetchall()
    assert sum(row[3] for row in rows) == 0, (
        f"{rule.id}: some verdicts are inconclusive; the sentence has no words for them"
    )
    found = {time: (violated, of) for time, violated, of, _ in rows}
    return Figures(*(found.get(time, (0, 0)) for time in ("fault", "quiet", "before")))


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="session")
def sampled(sample_project):
    with generations.open_generation(generations.latest(sample_project.generations_dir)) as connection:
        yield connection


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """Traces and logs of the whole day, landed and judged; no marts."""
    if not DAY.is_dir():
        pytest.skip(f"the recorded day is not at {DAY}; name the recordings' folder with HINDCAST_RECORDINGS")
    project = Project(tmp_path_factory.mktemp("day"))
    project.warehouse_file.parent.mkdir(parents=True)
    (project.root / "rules").symlink_to(REPOSITORY / "rules")
    with connect(project.warehouse_file) as connection:
        migrate(connection)
        for name, kind in (("traces.otlp.jsonl.gz", "otlp_traces"), ("logs.otlp.jsonl.gz", "otlp_logs")):
            assert not land(connection, [InputFile(DAY / name, FORMATS[kind])]).has_failed
    prepare.prepare(project)
    done = subprocess.run(
        [prepare.dbt_executable(), "run", "--select", "+fct_verdicts", "--project-dir", str(project.dbt_dir)],
        env=os.environ | prepare.dbt_environment(project),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with connect(project.warehouse_file, read_only=True) as connection:
        yield connection


@pytest.mark.parametrize("rule", MEASURED, ids=lambda rule: rule.id)
def test_figures_of_the_sample(rule, sampled):
    assert f"In the sample: {measure(sampled, rule, SAMPLE_TRUTH.read_text()).text}" in one_line(rule.description)


@pytest.mark.parametrize("rule", MEASURED, ids=lambda rule: rule.id)
def test_figures_of_the_day(rule, recorded):
    truth = (DAY / "ground_truth.json").read_text()
    assert f"Over the whole day: {measure(recorded, rule, truth).text}" in one_line(rule.description)


@pytest.mark.parametrize("rule", catalogue(), ids=lambda rule: rule.id)
def test_a_question_and_a_night_find_the_same(rule, sampled):
    """`hindcast query` and the generated dbt models are two roads to one answer."""
    ((violated, judged),) = sampled.execute(
        "select count(*) filter (verdict = 'violated'), count(*) from violations.fct_verdicts where rule_id = ?",
        [rule.id],
    ).fetchall()
    found = replay(sampled, rule).certificate
    assert (found.violated, found.violated + found.satisfied + found.inconclusive) == (violated, judged)
    assert (judged == 0) == (rule.id in NOT_MEASURED)


def test_the_rules_say_how_many_were_tried_and_what_they_cannot_see():
    for rule in catalogue():
        assert "Cannot see:" in rule.description, rule.id
        assert ("Not measured:" if rule.id in NOT_MEASURED else "candidate conditions") in rule.description, rule.id


def test_the_catalogue_is_small_and_every_rule_is_owned():
    assert len(MEASURED) <= 6
    for rule in catalogue():
        assert rule.owner
        assert rule.controls
        assert len(rule.examples) >= 3


def test_the_sample_holds_a_fault_of_every_kind():
    truth = json.loads(SAMPLE_TRUTH.read_text())
    assert {fault["fault_type"] for fault in truth} == {"return", "exception", "cpu_contention"}


def test_the_readme_says_what_the_sample_holds(sampled):
    readme = (REPOSITORY / "README.md").read_text()
    rows = sampled.execute(
        "select rule_id, count(*) filter (verdict = 'violated'), count(*) from violations.fct_verdicts group by rule_id"
    ).fetchall()
    titles = {rule.id: rule.title for rule in MEASURED}
    assert len(rows) == len(MEASURED)
    for rule_id, violated, judged in rows:
        assert f"| {titles[rule_id]} | {violated:,} of {judged:,} |" in readme
