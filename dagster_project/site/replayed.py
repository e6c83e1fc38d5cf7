"""The pages of an ad-hoc replay: the four answers on an index, and a page a violation with its traces and logs.

A folder that needs nothing beside it. How many violations get a page is bounded, and so is what a page shows; both say
of how many. What is found is the room `replay`'s business.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from dagster_project.facts import Stamp
from dagster_project.replay.certificate import rests_on
from dagster_project.replay.formats import certificate_lines, export, rows_as_csv
from dagster_project.replay.found import Investigation, Ranked
from dagster_project.replay.query import Comparison, Replay, share_violated
from dagster_project.site import charts, waterfall
from dagster_project.site.tables import DASH, Column, Table, table
from dagster_project.site.workshop import ASSETS, Row, Workshop, lay_assets, set_aside
from dagster_project.warehouse.generations import Generation
from dagster_project.wording import visible

ANSWER = "answer.json"
MOST_ROWS = 40
OPEN_ROWS = 15
_ADDRESS = re.compile(r"https?://[^\s{}\"'<>\\]+\{trace_id\}[^\s{}\"'<>\\]*")


class FolderTaken(FileExistsError):
    """The folder holds something else than the pages of a replay."""


@dataclass(frozen=True)
class Page:
    """A violation's page, and those before and after it."""

    place: int
    row: Row
    path: str

    @property
    def reported(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.row["reported"])
        return {name: value for name, value in found.items() if name != "nulls_skipped"}


def write(
    connection: duckdb.DuckDBPyConnection,
    answer: Replay,
    folder: Path,
    generation: Generation | None,
    *,
    trace_link: str | None = None,
    most_pages: int = 200,
    assets: str | None = None,
) -> Path:
    """Write the pages of one replay.

    Parameters
    ----------
    connection
        The one that was replayed over.
    folder
        Appears by a rename, whole. One that is there is replaced when it holds pages of a replay or nothing.
    trace_link
        Address of a trace in a tracing tool, with `{trace_id}` in it; anything but http and https is left out.
    most_pages
        How many violations get a page, the earliest first.
    assets
        Where, as seen from the folder, style sheets and scripts lie that other pages use, too; without it they are laid
        into the folder.

    Raises
    ------
    FolderTaken
        When the folder holds anything else.

    Returns
    -------
    Path
        Of index.html.
    """
    require_free(folder)
    stamp = Stamp(generation.id if generation else None, generation.as_of if generation else None)
    with set_aside(folder) as aside:
        workshop = Workshop(connection, aside, stamp, assets or ASSETS)
        if assets is None:
            lay_assets(aside / ASSETS)
        export(answer, "json", aside / ANSWER)
        (aside / "csv").mkdir()
        export(answer, "csv", aside / "csv/violations.csv")
        pages = [
            Page(place, row, f"violations/{place:04d}-{row['violation_id'][:12]}.html")
            for place, row in enumerate(answer.violations.slice(0, most_pages).to_pylist(), start=1)
        ]
        _index(workshop, answer, pages)
        _violations(workshop, answer, pages, trace_link)
    return folder / "index.html"


def require_free(folder: Path) -> None:
    """Refuse a folder that pages would take the place of; to be asked before a replay that takes long.

    Raises
    ------
    FolderTaken
        When it holds anything but pages of a replay.
    """
    if folder.exists() and not (folder.is_dir() and (not any(folder.iterdir()) or (folder / ANSWER).is_file())):
        raise FolderTaken(f"{folder} holds something else than a replay: name a folder that is new or empty")


def link_of(template: str | None, trace_id: str) -> str | None:
    """The address of a trace in the tracing tool; None without a template, or with one that is no web address."""
    if template is None or _ADDRESS.fullmatch(template) is None:
        return None
    return template.replace("{trace_id}", trace_id)


# The index.


def _index(workshop: Workshop, answer: Replay, pages: Sequence[Page]) -> None:
    found = answer.investigation
    workshop.page(
        "index.html",
        "replayed.html.j2",
        current="",
        rule=answer.rule,
        expression=_expression(answer),
        certificate=answer.certificate,
        certificate_lines=certificate_lines(answer.certificate),
        confidence=answer.confidence,
        rests_on=rests_on(answer.certificate),
        first=answer.first_violation_at,
        last=answer.last_violation_at,
        timeline=found.timeline if found else None,
        figure=_figure(workshop, answer, found) if found else None,
        reported=_reported(found) if found else None,
        ranks=_ranks(found) if found else [],
        places=list(found.blast_radius.places) if found else [],
        changes=_changes(found) if found else None,
        incidents=_incidents(found) if found else None,
        outside_incidents=found.outside_incidents if found else None,
        comparisons=_comparisons(answer) if answer.comparisons else None,
        violations=_table_of(answer, pages[:OPEN_ROWS], csv="csv/violations.csv"),
        more_violations=_table_of(answer, pages[OPEN_ROWS:]) if len(pages) > OPEN_ROWS else None,
        reasons=_reasons(answer),
        pages=len(pages),
    )


def _expression(answer: Replay) -> str:
    parts = answer.rule.expressions.items()
    return "\n".join(
        f"{name}:\n  {text}".replace("\n", "\n  ") if "\n" in text else f"{name}: {text}" for name, text in parts
    )


def _conditions(answer: Replay) -> list[tuple[str, str]]:
    """What a verdict is about, by the words of the file: the reason of a violation names them."""
    names = ("when", "always", "never", "detect")
    return [(name, answer.rule.expressions[name]) for name in names if name in answer.rule.expressions]


def _table_of(answer: Replay, pages: Sequence[Page], csv: str | None = None) -> Table:
    names = [one.name for one in answer.rule.judgement.report]
    rows = [
        {**{f"r:{name}": _shown(page.reported.get(name)) for name in names}, **page.row, "href": page.path}
        for page in pages
    ]
    columns = (
        Column("first_span_at", "First span (UTC)", "time"),
        Column("scope_key", "Trace or group", "scope", link="href"),
        *(Column(f"r:{name}", visible(name)) for name in names),
        Column("service_names", "Services", "wide"),
    )
    total = answer.certificate.violated if csv else len(rows)
    return table("The earliest violations", columns, rows, total=total, csv=csv)


def _figure(workshop: Workshop, answer: Replay, found: Investigation) -> charts.Figure | None:
    line = found.timeline
    if not line.bars or line.first is None or line.last is None:
        return None
    csv = "csv/over-time.csv"
    (workshop.folder / csv).write_text(rows_as_csv(list(line.bars)), encoding="utf-8")
    violations = [
        {"rule": answer.rule.id, "position": 1, "bucket_at": one["bucket_at"], "violations": one["violations"]}
        for one in line.bars
        if one["violations"]
    ]
    incidents = [
        {**one, "seconds": (one["until"] - one["started_at"]).total_seconds(), "href": None} for one in found.incidents
    ]
    return charts.over_time(
        "over-time",
        violations=violations,
        traces=line.bars,
        incidents=incidents,
        bucket_seconds=line.bucket_seconds,
        window=_window(line.bars, line.bucket_seconds, line.last),
        csv=csv,
    )


def _window(bars: Sequence[Row], seconds: int, last: datetime) -> tuple[datetime, datetime]:
    begin: datetime = bars[0]["bucket_at"]
    end: datetime = bars[-1]["bucket_at"]
    return begin, max(last, end + timedelta(seconds=seconds))


def _reported(found: Investigation) -> Table | None:
    if not found.reported:
        return None
    rows = [
        {
            "name": one.name,
            "different": one.different,
            "missing": one.missing,
            "total": one.total,
            "most": [f"{visible(str(row['value']), 60)} ({row['violations']:,})" for row in one.most],
        }
        for one in found.reported
    ]
    columns = (
        Column("name", "Reported", "code"),
        Column("different", "Different", "count"),
        Column("missing", "Missing", "count"),
        Column("total", "Sum", "number"),
        Column("most", "In most violations", "wide"),
    )
    return table("What the rule reports, over all violations", columns, rows)


def _ranks(found: Investigation) -> list[tuple[str, Table, str]]:
    radius = found.blast_radius
    given: list[tuple[str, str, Ranked, tuple[Column, ...], str]] = [
        ("Services", "service", radius.services, (Column("service_name", "Service", "code"),), "Spans received"),
        (
            "Versions",
            "version",
            radius.versions,
            (Column("service_name", "Service", "code"), Column("service_version", "Version", "code")),
            "Spans received",
        ),
        (
            "Endpoints",
            "endpoint",
            radius.endpoints,
            (Column("service_name", "Service", "code"), Column("span_name", "Root span", "code")),
            "Traces received",
        ),
        *(
            (name, name, ranked, (Column("name", name, "code"),), "Spans received")
            for name, ranked in radius.places.items()
        ),
    ]
    made = []
    for title, thing, ranked, names, received in given:
        if not ranked.total:
            continue
        most = max((row["violations"] for row in ranked.rows), default=0) or 1
        rows = [{**row, "share": row["violations"] / most} for row in ranked.rows if row["violations"]][:MOST_ROWS]
        columns = (
            *names,
            Column("violations", "Violations", "count", share="share"),
            Column("traces", "Traces", "count"),
            Column("received", received, "count"),
        )
        made.append(
            (
                title,
                table(f"{title} by violations", columns, rows, ranked.total - ranked.without),
                _free(thing, ranked, names),
            )
        )
    return made


def _free(thing: str, ranked: Ranked, names: Sequence[Column]) -> str:
    """Those that nothing touches, by name: that they are well is an answer, too."""
    free = [
        " ".join(visible(str(row[one.key]), 80) for one in names if row[one.key]) or "(no name)"
        for row in ranked.rows
        if not row["violations"]
    ][:MOST_ROWS]
    if not ranked.without:
        return f"Every {thing} of the {ranked.total:,} is touched." if ranked.total > 1 else ""
    more = f" and {ranked.without - len(free):,} more" if ranked.without > len(free) else ""
    return f"No violation in {ranked.without:,} of {ranked.total:,}: {', '.join(free)}{more}."


def _changes(found: Investigation) -> Table:
    columns = (
        Column("changed_at", "When (UTC)", "time"),
        Column("seconds_before", "Before the first", "seconds"),
        Column("kind", "What", "state"),
        Column("service_name", "Of", "code"),
        Column("version", "Version", "code"),
        Column("commit_sha", "Commit", "code"),
        Column("subject", "Subject", "wide"),
    )
    return table("Changes before the first violation", columns, found.timeline.changes_before)


def _incidents(found: Investigation) -> Table:
    columns = (
        Column("incident_id", "Incident", "code"),
        Column("severity", "Severity", "severity"),
        Column("title", "Title", "wide"),
        Column("started_at", "Began (UTC)", "time"),
        Column("violations", "Violations", "count"),
    )
    return table("Incidents with violations in their window", columns, found.incidents)


def _comparisons(answer: Replay) -> Table:
    here = Comparison("this window", answer.certificate, answer.first_violation_at, answer.last_violation_at)
    rows = [
        {
            "window": one.label,
            "violated": one.certificate.violated,
            "satisfied": one.certificate.satisfied,
            "inconclusive": one.certificate.inconclusive,
            "share": share_violated(one.certificate),
            "first": one.first_violation_at,
            "last": one.last_violation_at,
        }
        for one in (here, *answer.comparisons)
    ]
    columns = (
        Column("window", "Window", "wide"),
        Column("violated", "Violated", "count"),
        Column("satisfied", "Satisfied", "count"),
        Column("inconclusive", "Inconclusive", "count"),
        Column("share", "Of judged", "share"),
        Column("first", "First (UTC)", "time"),
        Column("last", "Last (UTC)", "time"),
    )
    return table("The same rule over other windows", columns, rows)


def _reasons(answer: Replay) -> Table:
    rows = [{"reason": why, "scopes": n} for why, n in answer.certificate.inconclusive_reasons.items()]
    return table(
        "Why scopes cannot be judged", (Column("reason", "Why", "wide"), Column("scopes", "Cases", "count")), rows
    )


# A page a violation.


def _violations(workshop: Workshop, answer: Replay, pages: Sequence[Page], trace_link: str | None) -> None:
    if not pages:
        return
    shown = answer.violations.slice(0, len(pages))
    shown = shown.append_column("page", pa.array([page.place for page in pages], pa.int64()))
    waterfall.fetch(workshop.connection, shown)
    try:
        for page in pages:
            traces = waterfall.traces_of(workshop.connection, page.place)
            workshop.page(
                page.path,
                "violation.html.j2",
                current="",
                rule=answer.rule,
                row=page.row,
                conditions=_conditions(answer),
                place=page.place,
                pages=len(pages),
                total=answer.certificate.violated,
                before=pages[page.place - 2].path if page.place > 1 else None,
                after=pages[page.place].path if page.place < len(pages) else None,
                reported={name: _shown(value) for name, value in page.reported.items()},
                traces=[(one, link_of(trace_link, one.trace_id)) for one in traces],
                more_traces=len(page.row["trace_ids"]) - len(traces),
            )
    finally:
        waterfall.forget(workshop.connection)


def _shown(value: Any) -> str:
    if value is None:
        return DASH
    return visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 400)
