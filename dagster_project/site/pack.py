"""The index of an export of several rules: a line a rule, what failed and why, and what all of the answers rest on.

The pages of each rule are `replayed`'s; what is found is the room `replay`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dagster_project.facts import Stamp
from dagster_project.replay.certificate import rests_on
from dagster_project.replay.query import Replay
from dagster_project.replay.window import Window
from dagster_project.rule_language import Rule
from dagster_project.rule_language.rule_file import SEVERITIES
from dagster_project.site.tables import Column, Table, table
from dagster_project.site.workshop import Row, lay_assets, write_page
from dagster_project.warehouse.generations import Generation
from dagster_project.wording import counted, utc, visible

INDEX = "index.html"
# No id of a rule has a dot, so no rule's folder can be called so.
ASSETS = "hindcast.assets"
_MARK = '<meta name="generator" content="hindcast query, several rules">'
_MARK_WITHIN = 4_096

COLUMNS = (
    Column("title", "Rule", "wide", link="href"),
    Column("severity", "Severity", "severity"),
    Column("owner", "Owner"),
    Column("violated", "Violated", "count", share="share"),
    Column("satisfied", "Satisfied", "count"),
    Column("inconclusive", "Inconclusive", "count"),
    Column("not_applicable", "Not applicable", "count"),
    Column("first", "First (UTC)", "minute"),
    Column("last", "Last (UTC)", "minute"),
    Column("certainty", "Answer"),
)
UNAPPLIED_COLUMNS = (
    Column("title", "Rule", "wide", link="href"),
    Column("severity", "Severity", "severity"),
    Column("owner", "Owner"),
    Column("certainty", "Answer"),
    Column("note", "What is known of it", "wide"),
)
FAILED_COLUMNS = (
    Column("title", "Rule", "wide"),
    Column("severity", "Severity", "severity"),
    Column("owner", "Owner"),
    Column("how", "What happened", "verdict"),
    Column("why", "Why", "sentences"),
)


class IndexTaken(FileExistsError):
    """The folder holds an index that is no export's of several rules."""


@dataclass(frozen=True)
class Failure:
    """A rule without an answer, or the path of a file that could not be read: why, and whether time was up."""

    rule: Rule | str
    why: str
    is_stopped: bool


def require_free(folder: Path) -> None:
    """Refuse a folder whose index another tool or command has written; to be asked before a replay that takes long.

    Raises
    ------
    IndexTaken
        Names the file and what to do.
    """
    index = folder / INDEX
    if not index.exists() and not index.is_symlink():
        return
    if not index.is_file() or _MARK.encode() not in index.read_bytes()[:_MARK_WITHIN]:
        raise IndexTaken(f"{index} is no summary of several rules: name another folder, or move that file away")


def write(
    folder: Path,
    answers: Sequence[Replay],
    failures: Sequence[Failure],
    notes: Mapping[str, Sequence[str]],
    window: Window,
    generation: Generation | None,
) -> Path:
    """Write the index, and what all pages of the export share, beside the folders of the rules.

    Parameters
    ----------
    folder
        One that is set aside: it becomes visible with all of it or not at all. Each answer's pages are, or will be,
        in a folder of it that is called as the rule.
    answers, failures
        Of the rules that were asked for, those that were judged and those that were not.
    notes
        By the id of a rule, what it names and nobody sent, a sentence each.
    window
        The window that was asked.

    Returns
    -------
    Path
        Of index.html.
    """
    lay_assets(folder / ASSETS)
    facts = [rests_on(one.certificate) for one in answers]
    shared = [said for said in facts[0] if all(said in others for others in facts)] if facts else []
    ordered = sorted(answers, key=_place)
    applied = [one for one in ordered if _has_applied(one)]
    write_page(
        folder / INDEX,
        "pack.html.j2",
        root="",
        assets=f"{ASSETS}/",
        current="",
        stamp=Stamp(generation.id if generation else None, generation.as_of if generation else None),
        mark=_MARK,
        asked=len(answers) + len(failures),
        judged=len(answers),
        lede=_lede(answers, applied, failures),
        violated=sum(bool(one.certificate.violated) for one in answers),
        violations=sum(one.certificate.violated for one in answers),
        inconclusive=sum(one.certificate.inconclusive for one in answers),
        failed=sum(not one.is_stopped for one in failures),
        stopped=sum(one.is_stopped for one in failures),
        answers=_answers(applied),
        unapplied=_unapplied([one for one in ordered if not _has_applied(one)], notes),
        failures=_failures(failures),
        notes=[(one.rule.id, said) for one in applied if (said := _notes(one, shared, notes))],
        window=_said(window),
        available=_available(answers),
        shared=shared,
    )
    return folder / INDEX


def _place(answer: Replay) -> tuple[int, int, str]:
    return SEVERITIES.index(answer.rule.severity), -answer.certificate.violated, answer.rule.id


def _has_applied(answer: Replay) -> bool:
    found = answer.certificate
    return bool(found.violated or found.satisfied or found.inconclusive)


def _lede(answers: Sequence[Replay], applied: Sequence[Replay], failures: Sequence[Failure]) -> str:
    if not answers:
        return "No rule was judged."
    if not any(one.certificate.has_scanned for one in answers):
        return "The answers say nothing: nothing that was received lies in this window."
    violated = sum(bool(one.certificate.violated) for one in answers)
    bounds = sum(not one.certificate.is_exhaustive for one in answers)
    said = [f"Of what was received, {counted(violated, 'rule is', 'rules are')} violated"]
    if bounds:
        said.append(f"{counted(bounds, 'answer is a lower bound', 'answers are lower bounds')}")
    if len(applied) < len(answers):
        said.append(f"{counted(len(answers) - len(applied), 'rule')} applied to nothing")
    if failures:
        said.append(f"{counted(len(failures), 'rule')} could not be judged")
    return "; ".join(said) + "."


def _about(answer: Replay) -> Row:
    found = answer.certificate
    certain = "exhaustive" if found.is_exhaustive else "lower bound" if found.has_scanned else "says nothing"
    rule = answer.rule
    return {
        "title": rule.title,
        "href": f"{rule.id}/{INDEX}",
        "severity": rule.severity,
        "owner": rule.owner,
        "certainty": certain,
    }


def _answers(applied: Sequence[Replay]) -> Table:
    most = max((one.certificate.violated for one in applied), default=0) or 1
    rows: list[Row] = [
        {
            **_about(one),
            "violated": one.certificate.violated,
            "share": one.certificate.violated / most,
            "satisfied": one.certificate.satisfied,
            "inconclusive": one.certificate.inconclusive,
            "not_applicable": one.certificate.not_applicable,
            "first": one.first_violation_at,
            "last": one.last_violation_at,
        }
        for one in applied
    ]
    return table("By severity, then by violations", COLUMNS, rows)


def _unapplied(answers: Sequence[Replay], notes: Mapping[str, Sequence[str]]) -> Table:
    rows = [{**_about(one), "note": "; ".join(notes.get(one.rule.id, ()))} for one in answers]
    return table("Nothing that was received has what they are about", UNAPPLIED_COLUMNS, rows)


def _notes(answer: Replay, shared: Sequence[str], notes: Mapping[str, Sequence[str]]) -> list[str]:
    """What limits the answer and not all of the others, and what the rule names and nobody sent."""
    own = [said for said in rests_on(answer.certificate) if said not in shared]
    return [visible(said, 400) for said in (*own, *notes.get(answer.rule.id, ()))]


def _failures(failures: Sequence[Failure]) -> Table:
    judged = [(one.rule, one) for one in failures if isinstance(one.rule, Rule)]
    judged.sort(key=lambda one: (SEVERITIES.index(one[0].severity), one[0].id))
    rows: list[Row] = [
        {"title": one.rule, "severity": None, "owner": None, "how": "failed", "why": one.why}
        for one in failures
        if isinstance(one.rule, str)
    ]
    rows += [
        {
            "title": rule.title,
            "severity": rule.severity,
            "owner": rule.owner,
            "how": "stopped" if one.is_stopped else "failed",
            "why": one.why.removeprefix(f"{rule.id}: "),
        }
        for rule, one in judged
    ]
    return table("By severity", FAILED_COLUMNS, rows)


def _said(window: Window) -> str:
    if window.start is None and window.end is None:
        return "everything that was received"
    since = "the first that was received" if window.start is None else utc(window.start)
    return f"{since} to {'the last' if window.end is None else utc(window.end)}"


def _available(answers: Sequence[Replay]) -> str | None:
    """First and last trace there is, which are the same for all rules."""
    first, last = answers[0].certificate.window_available if answers else (None, None)
    return None if first is None or last is None else f"{utc(first)} to {utc(last)}"
