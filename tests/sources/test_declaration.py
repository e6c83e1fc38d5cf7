"""`data/sources.yml`: what may be said, what is refused, and where the message points."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_project.settings import Project
from dagster_project.sources.declaration import SourcesInvalid, declared_files, read
from dagster_project.sources.registry import FORMATS

GOOD = """
version: 1
folders: [landing]
sources:
  - name: traces
    format: otlp_traces
    path: landing/**/*.jsonl
  - {name: incidents, format: incidents, path: landing/incidents.json, optional: true}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "data").mkdir()
    (tmp_path / "landing" / "deep").mkdir(parents=True)
    for name in ("b.jsonl", "a.jsonl", "deep/c.jsonl", "other.txt"):
        (tmp_path / "landing" / name).touch()
    (tmp_path / "data/sources.yml").write_text(GOOD)
    return Project(tmp_path)


def test_files_come_in_the_order_of_sources_and_paths(project):
    files = declared_files(project)
    assert [file.ledger_path for file in files] == ["landing/a.jsonl", "landing/b.jsonl", "landing/deep/c.jsonl"]
    assert {(file.source, file.format.name) for file in files} == {("traces", "otlp_traces")}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version: 1", "version: 2", "version"),
        ("format: otlp_traces", "format: xml", "sources.0.format.*known are otlp_traces"),
        ("path: landing/**/*.jsonl", "path: landing/../x", "sources.0.path.*climb"),
        ("name: traces", "name: 'Bad Name'", "sources.0.name"),
        ("name: traces", "name: incidents", "declared twice: incidents"),
        ("optional: true", "optionale: true", "sources.1.optionale"),
        ("folders: [landing]", "folders: []", "folders"),
        ("folders: [landing]", "folders: [landing", r":4: expected ',' or '\]'"),
        ("version: 1", "version: !!python/object/apply:os.system ['true']", ":2: could not determine a constructor"),
        ("version: 1", "version: 1\nfirst_day: 2023-02-30", ":3: '2023-02-30' is no timestamp"),
        ("version: 1", "version: 1\nfirst_day: soon", r":3: first_day: .*found 'soon'"),
        ("version: 1", "version: 1\nversion: 1", ":3: the key 'version' is given twice"),
        ("version: 1", "version: {[a]: 1}", ":2: a key is a word"),
        ("version: 1", f"version: {'[' * 5_000}", ":2: nested more than 50 deep"),
        (GOOD, "- a\n", ":1: the file: .*valid dictionary"),
        (GOOD, "word\n", ":1: the file: "),
        (GOOD, "", ":1: sources: Field required"),
        ("landing/**/*.jsonl", "landing/*.nothing", "source traces: no file matches"),
        ("folders: [landing]", "folders: [data]", "outside of the declared folders"),
        ("landing/incidents.json", "landing/a.jsonl", "matched by the sources traces and incidents"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_field(project, old, new, message):
    assert old in GOOD
    project.sources_file.write_text(GOOD.replace(old, new))
    with pytest.raises(SourcesInvalid, match=r"(?s)sources\.yml.*" + message):
        declared_files(project)


def test_a_symbolic_link_does_not_lead_out(project):
    (project.root / "secret").touch()
    (project.root / "landing" / "link.jsonl").symlink_to(project.root / "secret")
    with pytest.raises(SourcesInvalid, match="outside of the declared folders"):
        declared_files(project)


def test_an_absolute_folder_that_is_declared_is_read(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "x.jsonl").touch()
    declared = GOOD.replace("[landing]", f"[landing, {elsewhere}]").replace(
        "landing/**/*.jsonl", f"{elsewhere}/*.jsonl"
    )
    project.sources_file.write_text(declared)
    assert [file.ledger_path for file in declared_files(project)] == [str(elsewhere.resolve() / "x.jsonl")]


def test_no_file_at_all_says_how_to_make_one(tmp_path):
    with pytest.raises(SourcesInvalid, match="hindcast init"):
        read(tmp_path / "sources.yml")


DESCRIBED = """
version: 1
folders: [landing]
sources:
  - {name: system-log, format: syslog, path: landing/*.txt, time_zone: Europe/Berlin, year: 2023, tenant: shop,
     retention_days: 30, sampling_ratio: 0.1, personal_data: [user.email], max_refused_share: 0.2}
  - name: pulled
    prometheus: {url: "http://127.0.0.1:9090", queries: {up: up}, start: 2023-01-29T00:00:00Z}
  - name: history
    git: {repository: ../shop, ref: main}
"""


def test_a_source_describes_how_its_files_are_read(project):
    project.sources_file.write_text(DESCRIBED)
    (file,) = declared_files(project)
    assert (file.tenant, file.sampling_ratio, file.max_refused_share) == ("shop", 0.1, 0.2)
    assert '"time_zone": "Europe/Berlin"' in (file.format.reading or "")
    assert '"year": 2023' in (file.format.reading or "")


def test_what_was_fetched_is_landed_from_its_folder(project):
    project.sources_file.write_text(DESCRIBED)
    fetched = project.extracted_dir / "pulled" / "up" / "2023.json.gz"
    fetched.parent.mkdir(parents=True)
    fetched.touch()
    found = {file.source: file for file in declared_files(project)}
    assert found["pulled"].format.name == "prometheus"
    assert found["pulled"].ledger_path == "data/landing/pulled/up/2023.json.gz"


@pytest.mark.parametrize("secret", ["someone:s3cret@", "s3cret@", ":s3cret@", "a:s3cret@b:c"])
def test_a_password_in_a_url_is_refused_and_not_repeated(project, secret):
    project.sources_file.write_text(DESCRIBED.replace("http://", f"http://{secret}"))
    with pytest.raises(SourcesInvalid, match="token_env") as refused:
        declared_files(project)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Europe/Berlin", "Mars/Olympus", "time_zone.*IANA"),
        ("Europe/Berlin", "../../etc/passwd", "time_zone.*IANA"),
        ("year: 2023", "fields: {body: b}", "fields: not heeded by syslog"),
        ("sampling_ratio: 0.1", "sampling_ratio: 10", "sampling_ratio"),
        ("git: {repository: ../shop, ref: main}", "path: landing/*", "say the `format`"),
        ("ref: main}", "ref: '--output=x'}", "ref"),
        ("ref: main}", "ref: main}\n    path: landing/*", "exactly one"),
        ("ref: main}", "ref: main}\n    format: deploys", "leave it out"),
        ("2023-01-29T00:00:00Z", "2023-01-29T00:00:00", "start"),
        ("queries: {up: up}", "queries: {../up: up}", "queries"),
        ("queries: {up: up}", "queries: {}", "queries"),
        ("http://127.0.0.1", "file:///etc/passwd#", "url"),
    ],
)
def test_wrong_descriptions_are_refused(project, old, new, message):
    project.sources_file.write_text(DESCRIBED.replace(old, new))
    with pytest.raises(SourcesInvalid, match=message):
        declared_files(project)


@pytest.mark.parametrize(
    ("name", "hint"), [("ocurred_at", "did you mean `occurred_at`?"), ("who", "known here: body, ")]
)
def test_a_field_that_the_format_has_not_is_refused_with_its_line(project, name, hint):
    entry = f"  - {{name: app, format: json_lines, path: a.jsonl, fields: {{{name}: x}}}}\n"
    project.sources_file.write_text(GOOD + entry)
    with pytest.raises(SourcesInvalid) as refused:
        read(project.sources_file)
    assert "sources.yml:9: " in str(refused.value)
    assert f"fields.{name}: json_lines has no such field; {hint}" in str(refused.value)


def test_every_format_that_heeds_fields_names_them():
    assert {name for name, known in FORMATS.items() if known.fields} == {
        name for name, known in FORMATS.items() if "fields" in known.uses
    }
