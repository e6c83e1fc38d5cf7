"""The files of a dbt project: which of them count, their hash, the copy of the shipped ones, what runs leave behind.

What is generated into the project is `prepare`'s business.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path

GENERATED = (Path("models/violations/generated"), Path("macros/generated"))
"""Folders of a dbt project that belong to the rule compiler; nobody else's files are looked for in them."""

BUILDING = ("dbt_project.yml", "models/**/*.sql", "macros/**/*.sql")
"""What the content of tables depends on. Descriptions and tests read tables; they do not make them."""

SHIPPED = (*BUILDING, "profiles.yml", "models/**/*.yml", "macros/**/*.yml", "tests/**/*.sql", "tests/**/*.yml")
"""Everything that dbt reads."""

KEPT_RUNS = 5
"""Folders of dbt runs that stay, for whoever asks why last night failed."""


def matching(root: Path, patterns: Iterable[str]) -> list[Path]:
    """The files below `root` that fit a pattern, in order; none that is generated, or that an editor has open."""
    found = {file.relative_to(root) for pattern in patterns for file in root.glob(pattern) if file.is_file()}
    return sorted(
        file
        for file in found
        if not any(part.startswith(".") for part in file.parts)
        and not any(file.is_relative_to(folder) for folder in GENERATED)
    )


def content_hash(root: Path, files: Iterable[Path]) -> str:
    """16 hexadecimal digits for the names and bytes of files, given relative to `root`."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.as_posix()}\0".encode())
        digest.update(hashlib.sha256((root / file).read_bytes()).digest())
    return digest.hexdigest()[:16]


def is_copy(shipped: Path, copy: Path) -> bool:
    """Whether `copy` holds what is shipped and nothing else that dbt would read."""
    return content_hash(shipped, matching(shipped, SHIPPED)) == content_hash(copy, matching(copy, SHIPPED))


def replace_copy(shipped: Path, copy: Path) -> None:
    """Put a fresh copy of the shipped project in the place of `copy`, so that no model of an older version stays.

    It is copied aside and renamed; when that is cut short the copy is absent or whole, and the next call mends it.
    """
    aside, old = copy.with_name(f".{copy.name}.new"), copy.with_name(f".{copy.name}.old")
    for left_over in (aside, old):
        shutil.rmtree(left_over, ignore_errors=True)
    for file in matching(shipped, SHIPPED):
        (aside / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shipped / file, aside / file)
    if copy.exists():
        copy.rename(old)
    aside.rename(copy)
    shutil.rmtree(old, ignore_errors=True)


def prune_runs(target_dir: Path, keep: int = KEPT_RUNS) -> None:
    """Remove the folders that all but the newest dbt runs left in `target_dir`."""
    runs = [folder for folder in target_dir.glob("models-*") if folder.is_dir()]
    for folder in sorted(runs, key=lambda folder: (folder.stat().st_mtime_ns, folder.name))[: max(len(runs) - keep, 0)]:
        shutil.rmtree(folder, ignore_errors=True)
