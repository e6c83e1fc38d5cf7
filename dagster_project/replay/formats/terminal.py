"""A replay as a terminal shows it: the violations, the four answers with a histogram, and what was scanned.

Every width is laid out for: a narrow terminal loses columns, never the end of an identifier that one copies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dagster_project.replay.certificate import Certificate, Sampling
from dagster_project.replay.formats.cells import iso, shown
from dagster_project.replay.found import Investigation, Ranked, Timeline
from dagster_project.replay.query import Comparison, Replay, share_violated
from dagster_project.wording import counted, duration, percent, revealed, visible

# Columns of a terminal from which on services and witness fit beside a trace id and what a rule reports.
WIDE: Final = 140
SHOWN_ROWS: Final = 20
# Below this, a table keeps what is copied and what is counted first, and leaves out the rest.
_NARROW: Final = 72
_SHOWN_RANKS: Final = 8
_SHOWN_PLACES: Final = 4
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_WIDEST_CHART: Final = 96
_CHART_ROWS: Final = 4


def as_table(replay: Replay, width: int, *, is_all_found: bool = True) -> Group:
    """What a terminal of `width` columns shows; `is_all_found`: nothing was said above of what the rule names."""
    certificate = replay.certificate
    headline = Text(
        f"{replay.rule.id}: {certificate.violated:,} violated",
        style="bold red" if certificate.violated else "bold green",
    )
    headline.append(
        f", {certificate.satisfied:,} satisfied, {certificate.inconclusive:,} inconclusive", style="default"
    )
    if certificate.not_applicable is not None:
        headline.append(f", {certificate.not_applicable:,} not applicable", style="default")
    parts: list[Any] = [headline, Text(visible(replay.rule.title), style="italic")]
    if not certificate.has_scanned:
        parts.append(Text(replay.confidence, style="yellow"))
    if certificate.violated:
        parts.append(_violations(replay, width))
    if replay.investigation is not None and certificate.violated:
        parts += [
            *_who(replay.investigation),
            *_when(replay.investigation.timeline),
            *_how_far(replay.investigation, width),
        ]
    parts += _together(replay, width)
    parts += [_heading("What was scanned"), _certificate(certificate)]
    if certificate.has_scanned:
        but = "" if is_all_found else "; but the rule names what was not found there: see above"
        parts.append(Text(replay.confidence + but))
    parts.append(Text(certificate.undetectable_loss_note, style="dim"))
    return Group(*parts)


@dataclass(frozen=True)
class PackTable:
    """Several rules, a line each, those with most violations first; below it what failed, and what is said of each.

    `complaints` say by rule what it names and nobody sent; the first of each is told.
    """

    replays: Sequence[Replay]
    failures: Sequence[tuple[str, str]]
    complaints: Mapping[str, Sequence[str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table, with times where there is room for them, and a sentence a rule."""
        del console
        yield self._table(options.max_width)
        for rule_id, why in self.failures:
            yield Text(f"{rule_id}: failed: {visible(why)}", style="bold red")
        for one in sorted(self.replays, key=lambda one: one.rule.id):
            if said := _note(one.certificate, self.complaints.get(one.rule.id, ())):
                yield Text(f"{one.rule.id}: {said}", style="dim")

    def _table(self, width: int) -> Table:
        table = Table(box=None, pad_edge=False)
        numbers = ("violated", "satisfied", "inconclusive")
        names = [one.rule.id for one in self.replays] + [rule_id for rule_id, _why in self.failures]
        room = width - max(map(len, names), default=0) - sum(2 + len(heading) for heading in numbers)
        times = ("first", "last")[: max(0, room // (2 + len("2024-01-01 00:00")))]
        for heading in ("rule", *numbers, *times):
            # What is copied is never cut; below the narrowest terminals it is folded.
            table.add_column(heading, justify="right" if heading in numbers else "left", overflow="fold")
        for rule_id, _why in self.failures:
            table.add_row(Text(rule_id), Text("failed", style="bold red"))
        for one in sorted(self.replays, key=lambda one: (-one.certificate.violated, one.rule.id)):
            found = one.certificate
            moments = (_minute(one.first_violation_at), _minute(one.last_violation_at))
            table.add_row(
                Text(one.rule.id),
                Text(f"{found.violated:,}", style="bold red" if found.violated else "green"),
                f"{found.satisfied:,}",
                f"{found.inconclusive:,}",
                *moments[: len(times)],
            )
        return table


def pack_table(
    replays: Sequence[Replay], failures: Sequence[tuple[str, str]], complaints: Mapping[str, Sequence[str]]
) -> PackTable:
    """What a terminal of any width shows of several rules."""
    return PackTable(replays, failures, complaints)


def _note(found: Certificate, complaints: Sequence[str]) -> str:
    said = [] if found.violated + found.satisfied + found.inconclusive else ["never applied"]
    if complaints:
        more = f" (and {len(complaints) - 1} more: ask the rule alone)" if len(complaints) > 1 else ""
        said.append(visible(complaints[0], 160) + more)
    return ": ".join(said)


@dataclass(frozen=True)
class Histogram:
    """Violations over time as columns of blocks; the line below them is drawn where telemetry was received."""

    timeline: Timeline

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines of the chart; characters that every terminal has where the encoding asks for them."""
        yield from (Text(line, no_wrap=True) for line in self.lines(options.max_width, options.ascii_only))
        if self.timeline.bars:
            step, _ = self._columns(self._room(options.max_width))
            yield Text(f"a column is {duration(step)}; the line is drawn where telemetry was received", style="dim")

    def lines(self, width: int, ascii_only: bool = False) -> list[str]:
        """The chart in at most `width` columns; nothing when there is nothing to draw, or no room to draw it in."""
        bars = self.timeline.bars
        if not bars or width < 24:
            return []
        room = self._room(width)
        _, columns = self._columns(room)
        peak = max(violations for violations, _ in columns)
        wide = max(1, min(4, room // len(columns)))
        label = len(f"{peak:,}")
        lines = []
        for row in reversed(range(_CHART_ROWS)):
            name = f"{peak:,}" if row == _CHART_ROWS - 1 else ""
            cells = "".join(_block(violations, peak, row, ascii_only) * wide for violations, _ in columns)
            lines.append(f"{name:>{label}} {cells}".rstrip())
        ground = "-" if ascii_only else "─"
        lines.append(f"{0:>{label}} " + "".join((ground if traces else " ") * wide for _, traces in columns))
        begin, end = _minute(bars[0]["bucket_at"]), _minute(self.timeline.last)
        line = wide * len(columns)
        axis = begin + end.rjust(line - len(begin)) if line > len(begin) + len(end) else begin
        return [*lines, f"{'':>{label}} {axis}"]

    def _room(self, width: int) -> int:
        """Columns for blocks, beside the largest number."""
        total = sum(bar["violations"] for bar in self.timeline.bars)
        return max(1, min(width, _WIDEST_CHART + 10) - len(f"{total:,}") - 2)

    def _columns(self, room: int) -> tuple[int, list[tuple[int, int]]]:
        """Seconds a column, and violations and traces of each from the first to the last."""
        bars, step = self.timeline.bars, self.timeline.bucket_seconds
        begin = bars[0]["bucket_at"]
        places = [int((bar["bucket_at"] - begin).total_seconds()) // step for bar in bars]
        together = -(-(places[-1] + 1) // room)
        columns = [(0, 0)] * (places[-1] // together + 1)
        for place, bar in zip(places, bars, strict=True):
            violations, traces = columns[place // together]
            columns[place // together] = (violations + bar["violations"], traces + bar["traces"])
        return step * together, columns


def _block(value: int, peak: int, row: int, ascii_only: bool) -> str:
    """What stands in one row of a column; the least of values is seen."""
    eighths = max(1, round(value / peak * _CHART_ROWS * 8)) if value else 0
    filled = min(8, max(0, eighths - row * 8))
    if ascii_only:
        return "#" if filled >= 4 or (filled and not row) else " "
    return _BLOCKS[filled - 1] if filled else " "


def _violations(replay: Replay, width: int) -> Table:
    """Whole scopes first: they are what one copies. Services and witness stand beside them where there is room."""
    names = [reported.name for reported in replay.rule.judgement.report]
    is_wide = width >= WIDE
    time = "%Y-%m-%d %H:%M:%S" if width >= _NARROW else "%H:%M:%S"
    table = Table(box=None, pad_edge=False)
    for heading in ("first span", "scope"):
        table.add_column(heading, no_wrap=True)
    for heading in (*names, *(("services", "witness") if is_wide else ())):
        table.add_column(heading, overflow="fold")
    for row in replay.violations.slice(0, SHOWN_ROWS).to_pylist():
        reported = json.loads(row["reported"])
        witness = " ".join(str(span["span_id"]) for span in row["witness"][:3])
        more = f" +{len(row['witness']) - 3}" if len(row["witness"]) > 3 else ""
        beside = [visible(" ".join(row["service_names"])), witness + more] if is_wide else []
        # A key is copied: whole, however long, but nothing in it steers the terminal.
        said = [revealed(row["scope_key"]), *(visible(shown(reported.get(name))) for name in names), *beside]
        table.add_row(Text(f"{row['first_span_at']:{time}}"), *map(Text, said))
    left = replay.certificate.violated - SHOWN_ROWS
    if left > 0:
        table.caption = f"and {left:,} more: export them as json, csv or parquet"
    return table


# The four answers.


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _who(found: Investigation) -> list[Any]:
    if not found.reported:
        return []
    table = Table(box=None, pad_edge=False)
    for heading in ("reported", "different", "missing", "sum", "in most violations"):
        is_text = heading in {"reported", "in most violations"}
        table.add_column(heading, justify="left" if is_text else "right", overflow="fold")
    for one in found.reported:
        most = ", ".join(f"{visible(str(row['value']), 40)} ({row['violations']:,})" for row in one.most[:3])
        total = "" if one.total is None else f"{one.total:,.10g}"
        table.add_row(Text(one.name), f"{one.different:,}", f"{one.missing:,}", total, Text(most))
    return [_heading("Who"), table]


def _when(timeline: Timeline) -> list[Any]:
    parts: list[Any] = [_heading("When")]
    parts.append(Text(f"first {iso(timeline.first)}, last {iso(timeline.last)}"))
    early = timeline.seconds_received_before
    if early is not None and early < 3600:
        parts.append(Text(f"telemetry begins {duration(early)} before the first: it may be older", style="yellow"))
    parts.append(Histogram(timeline))
    for change in timeline.changes_before:
        version = f" {visible(change['version'], 40)}" if change["version"] else ""
        commit = f" ({visible(change['commit_sha'][:12])})" if change["commit_sha"] else ""
        subject = f": {visible(change['subject'], 80)}" if change["subject"] else ""
        aside = "" if change["is_affected"] or change["kind"] == "commit" else ", a service that is not affected"
        parts.append(
            Text(
                f"{duration(change['seconds_before'])} before: {change['kind']} {visible(change['service_name'] or '')}"
                f"{version}{commit}{subject}{aside}"
            )
        )
    return parts


def _how_far(found: Investigation, width: int) -> list[Any]:
    radius = found.blast_radius
    parts: list[Any] = [_heading("How far")]
    ranks = [
        ("service", radius.services, ("service_name",), "spans received"),
        ("version", radius.versions, ("service_name", "service_version"), "spans received"),
        ("endpoint", radius.endpoints, ("service_name", "span_name"), "traces received"),
        *((name, ranked, ("name",), "spans received") for name, ranked in radius.places.items()),
    ]
    for heading, ranked, names, received in ranks:
        if ranked.total and (ranked.total > 1 or heading not in radius.places):
            most = _SHOWN_PLACES if heading in radius.places else _SHOWN_RANKS
            columns = {"violations": "violations"}
            if width >= _NARROW:
                columns |= {"traces": "traces", "received": received}
            parts += [_ranked(heading, ranked, names, columns, most), _untouched(heading, ranked, names, most)]
    return parts


def _ranked(heading: str, ranked: Ranked, names: Sequence[str], columns: dict[str, str], most: int) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(heading, overflow="fold")
    for name in columns.values():
        table.add_column(name, justify="right", no_wrap=True)
    touched = [row for row in ranked.rows if row["violations"]]
    for row in touched[:most]:
        table.add_row(Text(_name(row, names)), *(f"{row[name]:,}" for name in columns))
    return table


def _untouched(heading: str, ranked: Ranked, names: Sequence[str], most: int) -> Text:
    """How many more are touched, and those that are not, by name."""
    said = []
    hidden = ranked.total - ranked.without - most
    if hidden > 0:
        said.append(f"and {hidden:,} more of {ranked.total:,}")
    if ranked.without:
        free = [_name(row, names) for row in ranked.rows if not row["violations"]][: 2 * most]
        more = f" and {ranked.without - len(free):,} more" if ranked.without > len(free) else ""
        said.append(f"none in {ranked.without:,} of {ranked.total:,}: {', '.join(free)}{more}")
    elif ranked.total > 1:
        said.append(f"every {heading} is touched")
    return Text("; ".join(said), style="dim")


def _name(row: dict[str, Any], names: Sequence[str]) -> str:
    return visible(" ".join(str(row[name]) for name in names if row[name]) or "(no name)", 80)


def _together(replay: Replay, width: int) -> list[Any]:
    found = replay.investigation
    parts: list[Any] = []
    if found is not None and replay.certificate.violated and found.outside_incidents is not None:
        for one in found.incidents:
            title = visible(one["title"] or "", 60)
            parts.append(Text(f"{one['violations']:,} in {visible(one['incident_id'])} ({title})"))
        parts.append(Text(f"{found.outside_incidents:,} in no incident"))
    if replay.comparisons:
        parts.append(_comparisons(replay, width))
    return [_heading("Together with"), *parts] if parts else []


def _comparisons(replay: Replay, width: int) -> Table:
    table = Table(box=None, pad_edge=False)
    headings = ("window", "violated", "satisfied", "inconclusive", "of judged", "first", "last")
    shown_headings = headings if width >= _NARROW else headings[:1] + headings[1:5:3]
    for heading in shown_headings:
        is_text = heading in {"window", "first", "last"}
        table.add_column(heading, justify="left" if is_text else "right", overflow="fold")
    here = Comparison("this window", replay.certificate, replay.first_violation_at, replay.last_violation_at)
    for one in (here, *replay.comparisons):
        found, share = one.certificate, share_violated(one.certificate)
        cells = {
            "window": visible(one.label, 60),
            "violated": f"{found.violated:,}",
            "satisfied": f"{found.satisfied:,}",
            "inconclusive": f"{found.inconclusive:,}",
            "of judged": "none judged" if share is None else percent(share),
            "first": _minute(one.first_violation_at),
            "last": _minute(one.last_violation_at),
        }
        table.add_row(*(Text(cells[heading]) for heading in shown_headings))
    return table


# What it rests on.


def _certificate(certificate: Certificate) -> Padding:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, said in certificate_lines(certificate):
        table.add_row(name, Text(revealed(said)))
    return Padding(table, 0)


def certificate_lines(certificate: Certificate) -> list[tuple[str, str]]:
    """The certificate as names and sentences, for people."""
    first, last = certificate.window_available
    asked = certificate.window_asked
    settled = iso(certificate.settled_until) or "nothing is"
    quarantined, late = certificate.records_quarantined, certificate.late_records
    lines = [
        ("meaning", certificate.meaning_hash),
        ("asked", f"{iso(asked.start) or 'the beginning'} to {iso(asked.end) or 'the end'}"),
        ("available", f"{iso(first) or 'nothing'} to {iso(last) or 'nothing'}"),
        ("settled", f"until {settled}; {_unsettled(certificate.unsettled)}"),
        (
            "days",
            f"{certificate.days_scanned:,}"
            + (f", and {certificate.days_without_traces:,} without a trace" if certificate.days_without_traces else ""),
        ),
        ("spans, logs", f"{certificate.spans_scanned:,}, {certificate.logs_scanned:,}"),
        ("traces", f"{certificate.traces_scanned:,}, of which incomplete {certificate.traces_incomplete:,}"),
    ]
    if certificate.log_only_traces:
        lines.append(("logs alone", f"{certificate.log_only_traces:,} judged traces without any span"))
    lines.append(("quarantined", "not known here" if quarantined is None else f"{quarantined:,} records of these days"))
    lines.append(("late", "not known here" if late is None else f"{late:,} records more than a day"))
    lines.append(("sampling", _sampling(certificate.sampling)))
    if certificate.null_keys is not None:
        lines.append(("without a key", f"{certificate.null_keys:,} items"))
    if certificate.not_applicable is None:
        lines.append(("not applicable", "not counted: that would take forming every group"))
    lines += [("inconclusive", f"{n:,}: {reason}") for reason, n in certificate.inconclusive_reasons.items()]
    lines.append(("took", f"{certificate.seconds:.2f} s, {certificate.engine}, hindcast {certificate.code_version}"))
    return lines


def _unsettled(scopes: int) -> str:
    if not scopes:
        return "no listed scope ends later"
    later = "it ends" if scopes == 1 else "they end"
    return f"{counted(scopes, 'listed scope')} may still change ({later} later than that)"


def _sampling(sampling: Sampling) -> str:
    looked = f"{sampling.spans_looked_at:,} spans looked at"
    if sampling.is_sample:
        looked += ", not all"
    if sampling.lowest is None:
        return f"no mark of any ({looked})"
    said = [f"{source} kept {kept:.4g} of all" for source, kept in sampling.declared.items()]
    if sampling.with_probability:
        said.append(f"{sampling.with_probability:,} spans kept with probability {sampling.lowest_probability:.4g}")
    if sampling.with_threshold:
        said.append(
            f"{sampling.with_threshold:,} spans with a threshold of {sampling.lowest_threshold_probability:.4g}"
        )
    return f"{'; '.join(said)} ({looked})"


def _minute(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
