"""A replay as a table for terminals, JSON, CSV or Parquet.

Layout only: what was found and how sure it is, `query` says.
"""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from dagster_project.replay.query import Replay
from dagster_project.replay.window import Window

FORMATS: Final = ("table", "json", "csv", "parquet")
_SHOWN_ROWS: Final = 20
# Columns of a terminal from which on services and witness fit beside a trace id and what a rule reports.
_WIDE: Final = 140
# A cell that starts with one of these is run as a formula by spreadsheets; some strip the leading white space first.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class FormatNotSupported(ValueError):
    """The format is none that a replay can be written in, or cannot go where it was asked to."""


def render(replay: Replay, format_: str) -> str:
    """The replay as text, for the formats `table`, `json` and `csv`.

    Raises
    ------
    FormatNotSupported
        For anything else; Parquet is written with `export`.
    """
    if format_ == "table":
        console = Console(width=_WIDE, file=io.StringIO(), record=True)
        console.print(as_table(replay, console.width))
        return console.export_text()
    if format_ == "json":
        return json.dumps(as_json(replay), indent=2, ensure_ascii=False) + "\n"
    if format_ == "csv":
        return as_csv(replay)
    raise _refused(format_)


def export(replay: Replay, format_: str, path: Path) -> None:
    """Write the replay to a file.

    Raises
    ------
    FormatNotSupported
        For a format that is not in `FORMATS`.
    """
    if format_ == "parquet":
        pq.write_table(_with_certificate(replay), path)
        return
    path.write_text(render(replay, format_), encoding="utf-8")


def as_table(replay: Replay, width: int) -> Group:
    """What a terminal of `width` columns shows: the counts, the first violations, and what was scanned."""
    certificate = replay.certificate
    headline = Text(
        f"{replay.rule.id}: {certificate.violated} violated", style="bold red" if certificate.violated else "bold green"
    )
    headline.append(f", {certificate.satisfied} satisfied, {certificate.inconclusive} inconclusive", style="default")
    if certificate.not_applicable is not None:
        headline.append(f", {certificate.not_applicable} not applicable", style="default")
    parts: list[Any] = [headline, Text(replay.rule.title, style="italic")]
    if certificate.violated:
        parts.append(_violations(replay, width))
    parts += [_certificate(replay), Text(replay.confidence), Text(certificate.undetectable_loss_note, style="dim")]
    return Group(*parts)


def as_json(replay: Replay) -> dict[str, Any]:
    """The violations with all their values, and what the answer rests on. Times are ISO 8601 in UTC."""
    return {
        "rule": replay.rule.id,
        "title": replay.rule.title,
        "severity": replay.rule.severity,
        "violations": replay.certificate.violated,
        "first_violation": _iso(replay.first_violation_at),
        "last_violation": _iso(replay.last_violation_at),
        "affected": [_affected(row) for row in replay.violations.to_pylist()],
        "inconclusive": [_affected(row) for row in replay.inconclusive.to_pylist()],
        "confidence": replay.confidence,
        "certificate": certificate_json(replay),
    }


def certificate_json(replay: Replay) -> dict[str, Any]:
    """The certificate with plain values."""
    plain: dict[str, Any] = {}
    for name, value in vars(replay.certificate).items():
        if isinstance(value, Window):
            plain[name] = [_iso(value.start), _iso(value.end)]
        elif isinstance(value, tuple):
            plain[name] = [_iso(moment) for moment in value]
        else:
            plain[name] = round(value, 3) if isinstance(value, float) else value
    return plain


def as_csv(replay: Replay) -> str:
    """One line a violation; reported values are columns of their own. Cells cannot start a formula."""
    names = [reported.name for reported in replay.rule.judgement.report]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    fixed = ["scope_key", "first_span_at", "last_span_at", "service_names", "trace_ids", "witness", "violation_id"]
    fixed.append("reason")
    writer.writerow([*fixed, *(_inert(name) for name in names)])
    for row in replay.violations.to_pylist():
        reported = json.loads(row["reported"])
        row["witness"] = [_pair(span) for span in row["witness"] or []]
        values = [_cell(row[name]) for name in fixed] + [_cell(reported.get(name)) for name in names]
        writer.writerow(values)
    return out.getvalue()


def rows_as_csv(rows: list[dict[str, Any]]) -> str:
    """Rows of any table, their names first; cells cannot start a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0] if rows else [])
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return out.getvalue() if rows else ""


def rows_as_json(rows: list[dict[str, Any]]) -> str:
    """Rows of any table as an array of objects."""
    return json.dumps(rows, indent=2, ensure_ascii=False, default=str) + "\n"


def _refused(format_: str) -> FormatNotSupported:
    if format_ == "parquet":
        return FormatNotSupported("parquet is no text: write it to a file with `--export FILE`")
    if format_ == "html":
        return FormatNotSupported("html is not in this version; write one of: table, json, csv, parquet")
    return FormatNotSupported(f"`{format_}` is no format; write one of: {', '.join(FORMATS)}")


def _violations(replay: Replay, width: int) -> Table:
    """Whole scopes first: they are what one copies. Services and witness stand beside them where there is room."""
    names = [reported.name for reported in replay.rule.judgement.report]
    is_wide = width >= _WIDE
    table = Table(box=None, pad_edge=False)
    for heading in ("first span", "scope"):
        table.add_column(heading, no_wrap=True)
    for heading in (*names, *(("services", "witness") if is_wide else ())):
        table.add_column(heading, overflow="fold")
    for row in replay.violations.slice(0, _SHOWN_ROWS).to_pylist():
        reported = json.loads(row["reported"])
        witness = " ".join(str(span["span_id"]) for span in row["witness"][:3])
        more = f" +{len(row['witness']) - 3}" if len(row["witness"]) > 3 else ""
        beside = [" ".join(row["service_names"]), witness + more] if is_wide else []
        cells = [f"{row['first_span_at']:%Y-%m-%d %H:%M:%S}", row["scope_key"], *map(_shown, map(reported.get, names))]
        table.add_row(*(Text(cell) for cell in (*cells, *beside)))
    left = replay.certificate.violated - _SHOWN_ROWS
    if left > 0:
        table.caption = f"and {left} more: export them as json, csv or parquet"
    return table


def _certificate(replay: Replay) -> Table:
    certificate = replay.certificate
    table = Table(title="What was scanned", title_justify="left", show_header=False, box=None, pad_edge=False)
    first, last = certificate.window_available
    asked = certificate.window_asked
    table.add_row("asked", f"{_iso(asked.start) or 'the beginning'} to {_iso(asked.end) or 'the end'}")
    table.add_row("available", f"{_iso(first) or 'nothing'} to {_iso(last) or 'nothing'}")
    table.add_row("spans, logs", f"{certificate.spans_scanned:,}, {certificate.logs_scanned:,}")
    table.add_row("traces", f"{certificate.traces_scanned:,}, of which incomplete {certificate.traces_incomplete:,}")
    quarantined = certificate.records_quarantined
    table.add_row("quarantined", "not known here" if quarantined is None else f"{quarantined:,} records")
    if certificate.null_keys is not None:
        table.add_row("without a key", f"{certificate.null_keys:,} items")
    if certificate.unsettled is not None:
        table.add_row("unsettled", f"{certificate.unsettled:,} groups may still grow")
    for reason, count in certificate.inconclusive_reasons.items():
        table.add_row("inconclusive", f"{count:,}: {reason}")
    table.add_row("took", f"{certificate.seconds:.2f} s, {certificate.engine}, hindcast {certificate.code_version}")
    return table


def _affected(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "scope_key": row["scope_key"],
        **json.loads(row["reported"]),
        "first_span_at": _iso(row["first_span_at"]),
        "last_span_at": _iso(row["last_span_at"]),
        "services": row["service_names"],
        "versions": row["service_versions"],
        "trace_ids": row["trace_ids"],
        "witness": row["witness"],
        "reason": row["reason"],
        "violation_id": row["violation_id"],
    }


def _with_certificate(replay: Replay) -> pa.Table:
    """The violations, with the certificate in the metadata of the file."""
    table = replay.violations
    certificate = json.dumps(certificate_json(replay)).encode()
    return table.replace_schema_metadata({**(table.schema.metadata or {}), b"hindcast.certificate": certificate})


def _cell(value: Any) -> str:
    return _inert(" ".join(map(str, value)) if isinstance(value, list) else _shown(value))


def _pair(span: dict[str, str | None]) -> str:
    """`trace:span`; a log record that names no span is found by its trace alone."""
    return ":".join(part for part in (span["trace_id"], span["span_id"]) if part)


def _inert(cell: str) -> str:
    """A quote before what a spreadsheet would run; numbers stay numbers."""
    if not cell.lstrip(" ").startswith(_FORMULA_STARTS):
        return cell
    try:
        float(cell)
    except ValueError:
        return "'" + cell
    return cell


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return _iso(value) or ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%S.%f}".rstrip("0").rstrip(".") + "Z"
