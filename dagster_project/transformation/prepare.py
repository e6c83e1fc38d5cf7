"""`hindcast prepare`: compile the rules into dbt models, write them into the dbt project, parse it into a manifest.

Everything is keyed by one fingerprint (rules, rule compiler, dbt project, versions); when it is unchanged there is
nothing to do. Nothing here opens the warehouse.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dagster_project import __version__, rule_language
from dagster_project.rule_language import RuleError, RuleErrors
from dagster_project.rule_language.dbt import models as dbt_models
from dagster_project.settings import PACKAGE_ROOT, Project, shipped
from dagster_project.transformation import dbt_files
from dagster_project.transformation.locked_dbt import LOCK_VARIABLE, PARSED_VARIABLE
from dagster_project.warehouse import lock

STAMP = "prepared.json"
PARSED = "partial_parse.msgpack"
PREPARE_LOCK = Path("data/state/prepare.lock")
# Compiling and parsing takes seconds; whoever waits finds it done.
WAIT_SECONDS = 120.0
COMPILER = ("*.py", "*.jinja", "*.lark")
# Another version of these may generate other text from the same rules, or parse it otherwise.
PACKAGES = ("dbt-core", "dbt-duckdb", "sqlglot")


class DbtParseFailed(RuntimeError):
    """dbt could not parse the project; the message is dbt's own."""


class NotPrepared(RuntimeError):
    """The dbt project was not made ready, or the rules changed since."""


@dataclass(frozen=True)
class Prepared:
    """What `prepare` did."""

    fingerprint: str
    rules: int
    changed: bool
    manifest: Path


def prepare(project: Project, *, force: bool = False) -> Prepared:
    """Make the dbt project ready to run.

    Raises
    ------
    rule_language.RuleErrors
        Every mistake in every rule; nothing was written.
    DbtParseFailed
        With dbt's own words.
    WarehouseLocked
        Another process prepares the same project and does not come to an end.
    """
    with lock.hold(project.root / PREPARE_LOCK, "prepare", WAIT_SECONDS):
        _ensure_dbt_project(project)
        dbt_files.prune_runs(project.dbt_target_dir)
        catalogue = rule_language.load_catalogue(rule_texts(project))
        found = fingerprint(project)
        manifest = project.dbt_target_dir / "manifest.json"
        stamped = {"fingerprint": found, "parsed": _parsed_hash(project)}
        if not force and _stamped(project) == stamped and manifest.is_file():
            return Prepared(found, len(catalogue.rules), changed=False, manifest=manifest)
        (project.dbt_target_dir / STAMP).unlink(missing_ok=True)
        _replace_generated(project.dbt_dir, dbt_models.generate(catalogue))
        _parse(project)
        _write_aside(project.dbt_target_dir / STAMP, json.dumps(stamped | {"parsed": _parsed_hash(project)}))
        return Prepared(found, len(catalogue.rules), changed=True, manifest=manifest)


def require_prepared(project: Project) -> Path:
    """The manifest, when it belongs to the rules and the dbt project as they are now.

    Raises
    ------
    NotPrepared
        Says which command makes it.
    """
    manifest = project.dbt_target_dir / "manifest.json"
    if not manifest.is_file() or stamp(project) != fingerprint(project):
        raise NotPrepared(f"the rules or the dbt project of {project.root} changed: run `hindcast prepare` first")
    return manifest


def rule_texts(project: Project) -> dict[str, str]:
    """The text of each rule file, by its path relative to the project, in order of path."""
    paths = {file.relative_to(project.root).as_posix(): file for file in _rule_files(project)}
    return {path: rule_text(file, path) for path, file in paths.items()}


def rule_text(file: Path, path: str) -> str:
    """The text of one rule file, which mistakes call `path`.

    Raises
    ------
    RuleErrors
        When it is not UTF-8.
    """
    try:
        # From bytes, because a text file's own line ends are part of what its hash is taken of.
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        mistake = f"not UTF-8 at byte {error.start}"
        raise RuleErrors([RuleError(path, 1, 1, mistake, "save the file as UTF-8")]) from None


def fingerprint(project: Project) -> str:
    """A hash of all that the generated models and the manifest depend on."""
    compiler = PACKAGE_ROOT / "rule_language"
    rules = (path.relative_to(project.rules_dir) for path in _rule_files(project))
    parts = [
        dbt_files.content_hash(project.dbt_dir, dbt_files.matching(project.dbt_dir, dbt_files.SHIPPED)),
        dbt_files.content_hash(project.rules_dir, rules),
        dbt_files.content_hash(compiler, dbt_files.matching(compiler, COMPILER)),
        f"hindcast {__version__}",
        *(f"{name} {version(name)}" for name in PACKAGES),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def models_fingerprint(project: Project) -> str:
    """A hash of what builds tables, without what is generated: when it changes, tables are built from scratch.

    Rules are not in it: the generated models judge a rule over all history when its meaning is new to them.
    """
    return dbt_files.content_hash(project.dbt_dir, dbt_files.matching(project.dbt_dir, dbt_files.BUILDING))


def stamp(project: Project) -> str | None:
    """The fingerprint that the prepared models belong to, or None."""
    return _stamped(project).get("fingerprint")


def dbt_environment(project: Project) -> dict[str, str]:
    """The variables that dbt needs to find the warehouse, its lock and its folders."""
    return {
        "HINDCAST_WAREHOUSE": str(project.warehouse_file),
        LOCK_VARIABLE: str(project.lock_file),
        "DBT_PROFILES_DIR": str(project.dbt_dir),
        "DBT_TARGET_PATH": str(project.dbt_target_dir),
        "DBT_LOG_PATH": str(project.dbt_target_dir / "logs"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }


def parsed_by_dbt(project: Project) -> str | None:
    """What to hand over to dbt so that it need not parse: the SHA-256 and the path of what `prepare` had parsed.

    None when the rules or the dbt project changed since. Whoever reads the file compares the hash, because any other
    run of dbt may write the file until then.
    """
    stamped = _stamped(project)
    if stamped.get("fingerprint") != fingerprint(project) or not isinstance(stamped.get("parsed"), str):
        return None
    return f"{stamped['parsed']} {project.dbt_target_dir / PARSED}"


@contextmanager
def parsed_for_dbt(project: Project) -> Iterator[None]:
    """Meanwhile dbt starts without parsing anything, unless the rules or the dbt project changed since `prepare`."""
    before = os.environ.pop(PARSED_VARIABLE, None)
    if handed_over := parsed_by_dbt(project):
        os.environ[PARSED_VARIABLE] = handed_over
    try:
        yield
    finally:
        os.environ.pop(PARSED_VARIABLE, None)
        if before is not None:
            os.environ[PARSED_VARIABLE] = before


def dbt_executable() -> str:
    """The locked dbt of this very installation, whatever the PATH says."""
    return str(Path(sys.executable).with_name("hindcast-dbt"))


def _stamped(project: Project) -> dict[str, Any]:
    """All that the stamp says; nothing without one."""
    try:
        found = json.loads((project.dbt_target_dir / STAMP).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _parsed_hash(project: Project) -> str | None:
    """The SHA-256 of the project as dbt parsed it; None when dbt left no such file."""
    try:
        return hashlib.sha256((project.dbt_target_dir / PARSED).read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def _rule_files(project: Project) -> list[Path]:
    return sorted(project.rules_dir.rglob("*.yml"))


def _ensure_dbt_project(project: Project) -> None:
    """Outside a checkout the shipped dbt project is copied into the project's state, again when it differs."""
    if not project.dbt_dir.is_relative_to(project.root / "data/state"):
        return
    if not dbt_files.is_copy(shipped("dbt"), project.dbt_dir):
        # What was generated goes with the old copy, so that nothing is prepared any more from here on.
        (project.dbt_target_dir / STAMP).unlink(missing_ok=True)
        dbt_files.replace_copy(shipped("dbt"), project.dbt_dir)


def _replace_generated(dbt_dir: Path, files: dict[str, str]) -> None:
    """Write the generated files aside and rename them; files of rules that are gone are removed."""
    wanted = {dbt_dir / name: text for name, text in files.items()}
    for file, text in wanted.items():
        if not any(file.is_relative_to(dbt_dir / folder) for folder in dbt_files.GENERATED):
            raise ValueError(f"the rule compiler wants to write {file}, which is outside its folders")
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_aside(file, text)
    for folder in dbt_files.GENERATED:
        for file in (dbt_dir / folder).glob("*"):
            if file not in wanted:
                file.unlink()


def _write_aside(file: Path, text: str) -> None:
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    aside.replace(file)


def _parse(project: Project) -> None:
    project.dbt_target_dir.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(  # noqa: S603 -- our own executable, arguments from no input
        [dbt_executable(), "--quiet", "parse", "--project-dir", str(project.dbt_dir)],
        env=os.environ | dbt_environment(project),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DbtParseFailed(f"dbt cannot parse {project.dbt_dir}:\n{done.stdout}{done.stderr}")
