"""What the wheel holds: everything the command needs without a checkout, nothing that a tool wrote beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
FOLDERS = ["dagster_project", "dbt", "rules", "reports/templates", "reports/theme", "data/policy.yml"]
WRITTEN_BY_TOOLS = [
    "dbt/models/violations/generated/verdicts__trace.sql",
    "dbt/macros/generated/plan_groups.sql",
    "dbt/target/manifest.json",
    "dbt/logs/dbt.log",
    "dbt/models/marts/.dim_rules.sql.swp",
    "rules/payments/payment-idempotency.yml~",
    "dagster_project/__pycache__/settings.cpython-311.pyc",
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> set[str]:
    """Names in a wheel built from a copy in which tools have left files."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("uv, which builds the wheel, is not on the PATH")
    root = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("__pycache__", "generated", "target")
    for name in (*FOLDERS, "pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        source, target = REPO / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target, ignore=ignored) if source.is_dir() else shutil.copyfile(source, target)
    for name in WRITTEN_BY_TOOLS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("left here")
    built = subprocess.run(
        [uv, "build", "--wheel", "--quiet", "--out-dir", str(root / "dist")],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if built.returncode != 0 and "hatchling" in built.stderr and not list((root / "dist").glob("*.whl")):
        pytest.skip(f"the build backend cannot be had here: {built.stderr[-200:]}")
    assert built.returncode == 0, built.stderr
    (file,) = (root / "dist").glob("*.whl")
    return set(zipfile.ZipFile(file).namelist())


def bundled(name: str) -> str:
    """Where a file of the checkout is in the wheel."""
    return name if name.startswith("dagster_project/") else f"dagster_project/bundle/{name}"


def test_it_holds_what_the_command_needs_without_a_checkout(wheel):
    wanted = {
        str(file.relative_to(REPO))
        for folder, pattern in [
            ("dagster_project", "*.py"), ("dagster_project", "*.lark"), ("dagster_project", "*.jinja"),
            ("dagster_project/warehouse/migrations", "*.sql"), ("dagster_project/project_template", "*.yml"),
            ("dbt/models", "*.sql"), ("dbt/models", "*.yml"), ("dbt/macros", "*.sql"), ("dbt/tests", "*.sql"),
            ("rules", "*.yml"), ("reports/templates", "*.j2"), ("reports/theme", "*"),
        ]
        for file in (REPO / folder).rglob(pattern)
        if "generated" not in file.parts and not file.name.startswith(".")
    }  # fmt: skip
    wanted |= {"dbt/dbt_project.yml", "dbt/profiles.yml", "data/policy.yml"}
    assert len(wanted) > 150
    assert {bundled(name) for name in wanted} - wheel == set()


def test_it_holds_nothing_that_a_tool_wrote(wheel):
    assert {bundled(name) for name in WRITTEN_BY_TOOLS} & wheel == set()
    assert not [name for name in wheel if "sqlfluff" in name or "/generated/" in name or Path(name).name[0] == "."]


def test_a_working_installation_finds_the_package_in_the_checkout():
    target = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert target["dev-mode-dirs"] == ["."]  # paths are rewritten, which hatch refuses to do for an editable one
