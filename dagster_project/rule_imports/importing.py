"""A file of another tool's rules → drafts of ours: which dialect it is, limits, ids, and whether our reader takes them.

No I/O, and no test is run: that takes an engine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import PurePath
from typing import Final

from dagster_project.rule_imports import betrace, eql, sigma, traceql
from dagster_project.rule_imports.imported import (
    DIALECTS,
    MAX_BYTES,
    MAX_RULES,
    Decisions,
    Dialect,
    Draft,
    Imported,
    Note,
    TestTrace,
)
from dagster_project.rule_imports.rule_text import rule_text
from dagster_project.rule_language.errors import RuleErrors
from dagster_project.rule_language.rule_file import read_rule

_READERS: Final[dict[Dialect, Callable[[str, Decisions, str], Iterator[Imported]]]] = {
    "betrace": betrace.read,
    "sigma": sigma.read,
    "traceql": traceql.read,
    "eql": eql.read,
}
# Sigma and EQL first: they say what they are; a `{` may be TraceQL or many other things.
_RECOGNISES: Final[tuple[tuple[Dialect, Callable[[str], bool]], ...]] = (
    ("betrace", betrace.recognises),
    ("sigma", sigma.recognises),
    ("eql", eql.recognises),
    ("traceql", traceql.recognises),
)
# Stands in for the tests that a rule still lacks, so that everything else of it can be read.
STAND_INS: Final = (
    TestTrace("stand-in", "violated", spans=({"name": "x"},)),
    TestTrace("stand-in", "satisfied", spans=({"name": "x"},)),
)


def recognise(text: str) -> Dialect | None:
    """The dialect of a text, or None when none claims it."""
    return next((dialect for dialect, claims in _RECOGNISES if claims(text)), None)


def import_rules(text: str, name: str, decisions: Decisions, dialect: Dialect | None = None) -> tuple[Imported, ...]:
    """Every rule of a file, each a draft or refused.

    Parameters
    ----------
    text
        The whole file.
    name
        Its name; ids come from it where the text has none, and references name it.
    decisions
        What the person decided.
    dialect
        What the file is; recognised when None.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        return (Imported(name, 1, refused=(Note(1, f"{size} bytes; a file to import has at most {MAX_BYTES}"),)),)
    if re.search(r"(?m)^(assert|detect|always|never):", text) and re.search(r"(?m)^id:", text):
        message = "this is a rule file of ours already; put it below rules/, and `hindcast rules check` reads it"
        return (Imported(name, 1, refused=(Note(1, message),)),)
    chosen = dialect or recognise(text)
    if chosen is None:
        message = f"no dialect claims the text; name it with --from {' | '.join(DIALECTS)}"
        return (Imported(name, 1, refused=(Note(1, message),)),)
    stem = PurePath(name).stem
    found: list[Imported] = []
    for imported in _READERS[chosen](text.replace("\r\n", "\n"), decisions, stem):
        if len(found) == MAX_RULES:
            found.append(Imported(name, imported.line, refused=(Note(imported.line, f"more than {MAX_RULES} rules"),)))
            break
        found.append(_checked(imported, name, decisions))
    if not found:
        return (Imported(name, 1, refused=(Note(1, "there is no rule in the file"),)),)
    return _with_own_ids(found)


def _with_own_ids(found: list[Imported]) -> tuple[Imported, ...]:
    taken: set[str] = set()
    renamed = []
    for imported in found:
        draft = imported.draft
        if draft is not None:
            identity, at = draft.id, 1
            while identity in taken:
                at += 1
                identity = f"{draft.id}-{at}"
            taken.add(identity)
            imported = replace(imported, draft=replace(draft, id=identity))  # noqa: PLW2901
        renamed.append(imported)
    return tuple(renamed)


def _checked(imported: Imported, name: str, decisions: Decisions) -> Imported:
    """The rule as our own reader takes it; what it refuses was no translation."""
    draft = imported.draft
    if draft is None:
        return imported
    draft = _described(draft, name, decisions)
    text = rule_text(draft, decisions, STAND_INS)
    try:
        read_rule(f"{draft.id}.yml", text)
    except RuleErrors as error:
        notes = tuple(Note(imported.line, _own_refusal(draft, one.message, one.hint)) for one in error.errors)
        return Imported(imported.name, imported.line, refused=notes)
    return replace(imported, draft=draft)


def _own_refusal(draft: Draft, message: str, hint: str) -> str:
    written = "; ".join(f"{key}: {value}" for key, value in draft.expressions.items())
    shown = written if len(written) <= 300 else f"{written[:300]}..."
    return f"our language refuses what it becomes: {message}{f' ({hint})' if hint else ''}; it becomes {shown}"


def _described(draft: Draft, name: str, decisions: Decisions) -> Draft:
    assumed = list(draft.assumed)
    if not decisions.owner:
        assumed.append(Note(draft.line, "nobody owns it yet; --owner says who does"))
    if not decisions.severity and not draft.severity:
        assumed.append(Note(draft.line, "its severity is medium, as nothing says another; --severity does"))
    reference = f"imported from {PurePath(name).name}, line {draft.line}"
    title = " ".join(draft.title.split())[:200] or draft.id
    return replace(draft, title=title, assumed=tuple(assumed), references=(*draft.references, reference))


def safe_file_name(draft: Draft) -> str:
    """The name of the file that the rule goes into."""
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", draft.id):
        raise ValueError(f"`{draft.id}` is no id of a rule")
    return f"{draft.id}.yml"
