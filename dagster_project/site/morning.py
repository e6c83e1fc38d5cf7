"""morning.html: what the night loaded, refused, found new and found gone, from a NightSummary alone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from dagster_project.facts import NightSummary, Stamp, ViolationChange
from dagster_project.site.tables import Column, Table, table
from dagster_project.site.workshop import ASSETS, Row, write_page
from dagster_project.wording import slug

MOST_FILES = 100
MEANINGS = {
    0: "Nothing failed and no violation is new.",
    1: "Nothing failed; there are violations that the night before did not have.",
    2: "A step failed.",
}
_LOADS = (
    Column("path", "File", "code"),
    Column("source", "Source"),
    Column("status", "Status", "verdict"),
    Column("records_landed", "Landed", "count"),
    Column("records_rejected", "Refused", "count"),
    Column("message", "Message", "wide"),
)
_REFUSED = (Column("reason", "Reason", "code"), Column("records", "Records", "count"))
_CHANGES = (
    Column("rule_id", "Rule", "code", link="href"),
    Column("new", "New", "count"),
    Column("ongoing", "Ongoing", "count"),
    Column("gone", "Gone", "count"),
    Column("suppressed", "Suppressed", "count"),
    Column("shadow", "In shadow", "count"),
    Column("inconclusive", "Newly inconclusive", "count"),
)
# The kinds of change that are counted by rule, as `NightSummary` has them.
_COUNTED = ("new", "ongoing", "gone", "suppressed", "shadow", "inconclusive")
_LINES = (
    Column("first_span_at", "First span (UTC)", "time"),
    Column("rule_id", "Rule", "code", link="href"),
    Column("severity", "Severity", "severity"),
    Column("scope_key", "Trace or group", "scope"),
    Column("service_names", "Services", "wide"),
)


def write(target: Path, night: NightSummary, *, has_site: bool = True) -> None:
    """Write the page of a night. Without a site around it, rules are not links."""
    loads = [asdict(load) for load in night.loads[:MOST_FILES]]
    write_page(
        target,
        "morning.html.j2",
        root="",
        assets=f"{ASSETS}/",
        current="morning",
        stamp=Stamp(night.generation, night.as_of),
        night=night,
        meaning=_meaning(night),
        landed=sum(load.records_landed for load in night.loads),
        refused_total=sum(reason.records for reason in night.refused),
        loads=table("Files that the night met", _LOADS, loads, len(night.loads)),
        refused=table("Refused records by reason", _REFUSED, [asdict(one) for one in night.refused]),
        changes=table("Violations by rule", _CHANGES, _by_rule(night, has_site=has_site)),
        new=_lines("New violations, the latest first", night.new, has_site=has_site),
        gone=_lines("Violations that are gone, the latest first", night.gone, has_site=has_site),
        suppressed=_lines("Suppressed violations, the latest first", night.suppressed, has_site=has_site),
        shadow=_lines("Violations of rules in shadow, the latest first", night.shadow, has_site=has_site),
        inconclusive=_lines("Newly inconclusive, the latest first", night.inconclusive, has_site=has_site),
        failed=[step for step in night.failed_steps if step not in night.taken_out],
    )


def _meaning(night: NightSummary) -> str:
    meaning = MEANINGS.get(night.exit_code, "Not a code that a night ends with.")
    if night.exit_code != 2:
        return meaning
    if night.generation is None:
        return f"{meaning} Nothing was published: what is shown elsewhere is the last generation that was whole."
    return (
        f"{meaning} What did succeed was replayed and published; what the failed step should have brought is missing."
    )


def write_empty(target: Path, stamp: Stamp) -> None:
    """Write the page of a project that had no night yet."""
    write_page(target, "morning.html.j2", root="", assets=f"{ASSETS}/", current="morning", stamp=stamp, night=None)


def _by_rule(night: NightSummary, *, has_site: bool) -> list[Row]:
    changes = {name: dict(getattr(night, name).by_rule) for name in _COUNTED}
    rules = sorted(
        {rule for counts in changes.values() for rule in counts}, key=lambda rule: (-changes["new"].get(rule, 0), rule)
    )
    return [
        {
            "rule_id": rule,
            "href": _href(rule, has_site),
            **{name: counts.get(rule, 0) for name, counts in changes.items()},
        }
        for rule in rules
    ]


def _lines(caption: str, change: ViolationChange, *, has_site: bool) -> Table:
    rows = [{**asdict(line), "href": _href(line.rule_id, has_site)} for line in change.listed]
    return table(caption, _LINES, rows, change.total)


def _href(rule_id: str, has_site: bool) -> str | None:
    return f"rules/{slug(rule_id)}.html" if has_site else None
