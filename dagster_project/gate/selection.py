"""Which rules a gate judges: those of domains, ids, files and folders that were named, or a whole catalogue.

Only the files that are needed are read: a gate of one team is not stopped by another team's broken rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dagster_project import rule_language
from dagster_project.rule_language import Catalogue, Rule
from dagster_project.settings import ProjectNotFound, find_project, shipped
from dagster_project.wording import did_you_mean


class UnknownRules(ValueError):
    """A name that is no domain, rule, file or folder."""


def rules_folder(project_dir: Path | None = None) -> Path:
    """The rules of the project, or the catalogue that ships with Hindcast where there is no project.

    Raises
    ------
    ProjectNotFound
        A project was named and is none.
    """
    try:
        return find_project(project_dir).rules_dir
    except ProjectNotFound:
        if project_dir is not None:
            raise
        return shipped("rules")


def select(names: Sequence[str], folder: Path) -> Catalogue:
    """The rules that are named, each once; all of the folder when none is.

    A name is a domain or a rule of `folder`, else a file or folder of rules. A retired rule is judged only when it is
    named itself.

    Raises
    ------
    UnknownRules
        Says what comes near.
        Also when there is nothing left to judge: a gate of no rule would let everything pass.
    RuleErrors
        Every mistake of the files that were read.
    """
    files: dict[Path, None] = {}
    named: set[str] = set()
    for name in names:
        found = _files(name, folder)
        named |= {file.stem for file in found if file.stem in (name, Path(name).stem)}
        files.update(dict.fromkeys(found))
    if not names:
        files = dict.fromkeys(_some_below(folder))
    texts = {_shown(file, folder): file.read_bytes().decode("utf-8") for file in files}
    catalogue = rule_language.load_catalogue(texts)
    judged = tuple(rule for rule in catalogue if rule.status != "retired" or rule.id in named)
    if not judged:
        retired = ", ".join(rule.id for rule in catalogue)
        raise UnknownRules(f"nothing would be judged: {retired} are retired; a retired rule is judged when it is named")
    return replace(catalogue, rules=judged)


def line_of(rule: Rule) -> int:
    """The line of its file that says what is bad, counted from 1."""
    lines = rule.content.decode("utf-8", "replace").splitlines()
    for clause in ("always", "never", "detect", "assert", "id"):
        for number, line in enumerate(lines, start=1):
            if line.startswith(f"{clause}:"):
                return number
    return 1


def _files(name: str, folder: Path) -> list[Path]:
    if "/" not in name and (folder / name).is_dir():
        return _some_below(folder / name)
    if "/" not in name and (of_id := sorted(folder.glob(f"*/{_literally(name)}.yml"))):
        return of_id
    path = Path(name)
    if path.is_dir():
        return _some_below(path)
    if path.is_file():
        return [path]
    known = [file.stem for file in _below(folder)] + [each.name for each in folder.iterdir() if each.is_dir()]
    hint = (
        did_you_mean(name, known)
        or f"known domains: {', '.join(sorted(each.name for each in folder.iterdir() if each.is_dir()))}"
    )
    raise UnknownRules(f"`{name}` is no domain or rule of {folder}, and no file or folder; {hint}")


def _literally(name: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in name)


def _some_below(folder: Path) -> list[Path]:
    if found := _below(folder):
        return found
    misnamed = next((file for file in sorted(folder.rglob("*.yaml")) if file.is_file()), None)
    hint = f"; rename {misnamed} to {misnamed.stem}.yml" if misnamed else ""
    raise UnknownRules(f"{folder} holds no rule: no file in or below it ends in .yml{hint}")


def _below(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.rglob("*.yml")
        if not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def _shown(file: Path, folder: Path) -> str:
    """The path as reports name it: below the repository when it lies there, for annotations point at its files."""
    absolute = file.resolve()
    for root in (Path.cwd().resolve(), folder.resolve().parent):
        if absolute.is_relative_to(root):
            return absolute.relative_to(root).as_posix()
    return absolute.as_posix()
