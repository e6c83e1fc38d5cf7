"""Cut the samples in this folder out of two public recordings, and draw the few records that no recording has.

Every kept span, log record, metric value and ticket row is the recording's own, in its order; what is drawn
(deploys, acknowledgements) is named in `trainticket/README.md`. Nothing here belongs to the pipeline: the
warehouse reads the files, never this script. One run takes about ten seconds:

    python data/samples/cut_samples.py RECORDINGS

RECORDINGS holds `trainticket-2023-01-29/` and `servicenow-incidents/`. The same recordings give the same bytes.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import shutil
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

Json = dict[str, Any]
Counts = dict[str, int]

SAMPLES = Path(__file__).resolve().parent
TRAINTICKET = "trainticket-2023-01-29"
SEED = "hindcast samples 1"

# Seven faults of three kinds on five services; the first follows the quiet stretch, the third holds the log
# records of the year 1754. Small ones were preferred: 6 MB is the limit of the folder.
INCIDENTS = tuple(f"INC-2023-01-29-{number:03d}" for number in (2, 7, 9, 15, 23, 25, 27))
QUIET = (datetime(2023, 1, 29, 8, 49, tzinfo=UTC), datetime(2023, 1, 29, 8, 52, 6, tzinfo=UTC))
# The recording's page fires 60 s after the injection and its traces begin at most 70 s before it.
TRACES_BEFORE_PAGE = timedelta(seconds=130)
METRICS_BEFORE_PAGE = timedelta(minutes=16)
METRICS_AFTER_END = timedelta(minutes=3)
BATCH = 500  # records a line: a line that a person can still open

# Incidents drawn a priority; P1 and P2 are rare in the log (270 and 408 of 24,918) and would not be in an even draw.
TICKETS = {"1": 150, "2": 200, "3": 450, "4": 200}


class UnusableRecording(ValueError):
    """The recordings' folder lacks what a sample is cut from; the message names the path and what was wanted."""


@dataclass(frozen=True)
class Window:
    """A half-open stretch of time, in nanoseconds since 1970 UTC."""

    begin: int
    end: int

    @classmethod
    def between(cls, begin: datetime, end: datetime) -> Window:
        return cls(nanoseconds(begin), nanoseconds(end))

    def __contains__(self, at: int) -> bool:
        return self.begin <= at < self.end


def nanoseconds(at: datetime) -> int:
    """Whole seconds of `at` as nanoseconds since 1970."""
    return int(at.timestamp()) * 1_000_000_000


def parsed(text: str) -> datetime:
    """An ISO 8601 time with offset or Z."""
    return datetime.fromisoformat(text)


def iso(at: datetime) -> str:
    """`at` in UTC, to the second, with Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def draw(*key: object) -> float:
    """A number in [0, 1) that depends on the key alone: no generator's state, no Python version, no order of calls."""
    digest = hashlib.sha256("\x1f".join([SEED, *map(str, key)]).encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56


def token(length: int, *key: object) -> str:
    """Upper-case letters and digits of a PagerDuty id, drawn from the key."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    return "P" + "".join(letters[int(draw(*key, place) * len(letters))] for place in range(length - 1))


def write_gzip(path: Path, content: bytes) -> None:
    """Compress without name and time in the header, so that equal content gives equal files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=9, fileobj=raw, mtime=0) as packed:
        packed.write(content)


def write_json(path: Path, value: object) -> None:
    """Indented JSON with a newline at the end: these files are read by people too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def lines(path: Path) -> Iterator[Json]:
    """The requests of an OTLP/JSON lines file, one at a time."""
    with gzip.open(path) as handle:
        for line in handle:
            yield orjson.loads(line)


# --- traces and logs -------------------------------------------------------------------------------------------


def kept_traces(path: Path, windows: Sequence[Window]) -> set[str]:
    """Trace ids whose earliest span starts inside a window: traces are kept or left whole."""
    first: dict[str, int] = {}
    for request in lines(path):
        for resource in request["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    start = int(span["startTimeUnixNano"])
                    if start < first.get(span["traceId"], start + 1):
                        first[span["traceId"]] = start
    return {trace for trace, start in first.items() if any(start in window for window in windows)}


def cut_otlp(source: Path, target: Path, names: tuple[str, str, str], keep: Callable[[Json], bool]) -> tuple[int, int]:
    """Copy the records that `keep` accepts, in their order, in lines of at most `BATCH`.

    Parameters
    ----------
    source, target
        OTLP/JSON lines, gzip.
    names
        Keys of the resources, the scopes and the records: ("resourceSpans", "scopeSpans", "spans").
    keep
        Decides on one record. Repeated and impossible records are kept like any other: a demo should show them.

    Returns
    -------
    tuple of int
        Records written and lines written.
    """
    resources, scopes, records = names
    written, out = 0, io.BytesIO()
    line_count = 0
    for request in lines(source):
        for resource in request[resources]:
            for scope in resource[scopes]:
                chosen = [record for record in scope[records] if keep(record)]
                for at in range(0, len(chosen), BATCH):
                    batch = scope | {records: chosen[at : at + BATCH]}
                    out.write(orjson.dumps({resources: [resource | {scopes: [batch]}]}) + b"\n")
                    line_count += 1
                written += len(chosen)
    write_gzip(target, out.getvalue())
    return written, line_count


def log_keeper(traces: set[str], windows: Sequence[Window]) -> Callable[[Json], bool]:
    """Keep the log records of kept traces; one that names no trace goes by its own time."""

    def keep(record: Json) -> bool:
        trace = record.get("traceId")
        if trace:
            return trace in traces
        return any(int(record["timeUnixNano"]) in window for window in windows)

    return keep


# --- metrics ---------------------------------------------------------------------------------------------------


def cut_metric(source: Path, target: Path, windows: Sequence[Window]) -> int:
    """Copy the points of a `query_range` response that lie in a window; returns how many.

    A series without a point in any window is left out, as Prometheus leaves it out of its answer.
    """
    body: Json = orjson.loads(gzip.decompress(source.read_bytes()))
    result = []
    for series in body["data"]["result"]:
        inside = [point for point in series["values"] if any(int(point[0]) * 10**9 in window for window in windows)]
        if inside:
            result.append(series | {"values": inside})
    write_gzip(target, orjson.dumps(body | {"data": body["data"] | {"result": result}}))
    return sum(len(series["values"]) for series in result)


# --- what is drawn ---------------------------------------------------------------------------------------------


def reference(kind: str, name: str) -> Json:
    """A PagerDuty reference object to something named `name`."""
    return {"id": token(7, kind, name), "type": f"{kind}_reference", "summary": name, "self": None, "html_url": None}


def acknowledged_at(incident: Json) -> datetime:
    """The page is taken 20 to 89 s after it fired: drawn, since the recording has no people in it."""
    return parsed(incident["created_at"]) + timedelta(seconds=20 + int(draw("ack", incident["incident_id"]) * 70))


def pagerduty_incident(incident: Json, number: int) -> Json:
    """The incident as `GET /incidents` of PagerDuty's REST API v2 returns it once it is resolved.

    `acknowledgements` and `assignments` are empty then: when somebody took the page is in the log entries only.
    """
    key, resolved = incident["incident_id"], incident["resolved_at"]
    title = f"[#{number}] {incident['title']}"
    service = reference("service", incident["service"])
    return {
        "id": token(14, "incident", key),
        "type": "incident",
        "summary": title,
        "self": None,
        "html_url": None,
        "incident_number": number,
        "title": incident["title"],
        "created_at": incident["created_at"],
        "updated_at": resolved,
        "status": "resolved",
        "incident_key": key,
        "service": service,
        "assignments": [],
        "assigned_via": "escalation_policy",
        "last_status_change_at": resolved,
        "last_status_change_by": service,
        "resolved_at": resolved,
        "first_trigger_log_entry": {
            "id": token(14, "trigger_log_entry", key),
            "type": "trigger_log_entry_reference",
            "summary": "Triggered through the API",
            "self": None,
            "html_url": None,
        },
        "alert_counts": {"all": 1, "triggered": 0, "resolved": 1},
        "is_mergeable": False,
        "escalation_policy": reference("escalation_policy", "Bookings on call"),
        "teams": [reference("team", "Bookings")],
        "pending_actions": [],
        "acknowledgements": [],
        "alert_grouping": None,
        "priority": {"id": token(7, "priority", incident["severity"]), "type": "priority"}
        | {"summary": incident["severity"], "name": incident["severity"]},
        "resolve_reason": None,
        "incidents_responders": [],
        "responder_requests": [],
        "subscriber_requests": [],
        "urgency": "high",
    }


def pagerduty_log_entries(incident: Json, number: int) -> list[Json]:
    """Trigger, acknowledgement and resolution as `GET /log_entries` returns them, newest first."""
    key = incident["incident_id"]
    monitoring = reference("service", incident["service"])
    engineer = reference("user", "On-call engineer, bookings")
    steps = [
        ("trigger", incident["created_at"], monitoring, "api", "Triggered through the API"),
        ("acknowledge", iso(acknowledged_at(incident)), engineer, "mobile", "Acknowledged by the on-call engineer"),
        ("resolve", incident["resolved_at"], monitoring, "api", "Resolved through the API"),
    ]
    return [
        {
            "id": token(14, f"{step}_log_entry", key),
            "type": f"{step}_log_entry",
            "summary": summary,
            "self": None,
            "html_url": None,
            "created_at": at,
            "agent": agent,
            "channel": {"type": channel},
            "service": monitoring,
            "incident": {
                "id": token(14, "incident", key),
                "type": "incident_reference",
                "summary": f"[#{number}] {incident['title']}",
                "self": None,
                "html_url": None,
            },
            "teams": [reference("team", "Bookings")],
            "contexts": [],
        }
        for step, at, agent, channel, summary in reversed(steps)
    ]


def page_of(name: str, items: list[Json]) -> Json:
    """One page of a PagerDuty list answer."""
    return {name: items, "limit": 100, "offset": 0, "total": None, "more": False}


def drawn_deploys(services: Sequence[str], incidents: Sequence[Json]) -> list[Json]:
    """Ten deploys at drawn times of the 30 hours before the last incident, three a few minutes before drawn ones.

    The draw knows neither what was broken nor when: a deploy of the broken service just before a fault is chance.
    """
    last = parsed(incidents[-1]["created_at"])
    times = [last - timedelta(seconds=int(draw("at", number) * 30 * 3600)) for number in range(10)]
    chosen = sorted(incidents, key=lambda incident: draw("before", incident["incident_id"]))[:3]
    for incident in chosen:
        minutes = 4 + int(draw("lead", incident["incident_id"]) * 12)
        times.append(parsed(incident["created_at"]) - timedelta(minutes=minutes))
    released: dict[str, int] = defaultdict(int)
    deploys = []
    for number, at in enumerate(sorted(times), 1):
        service = services[int(draw("service", number) * len(services))]
        minor = int(draw("minor", service) * 9)
        patch = released[service]
        failed = draw("failed", number) < 0.1
        deploys.append(
            {
                "deploy_id": f"DEP-{at:%Y-%m-%d}-{number:03d}",
                "service": service,
                "version": f"1.{minor}.{patch + 1}",
                "previous_version": f"1.{minor}.{patch}",
                "deployed_at": iso(at),
                "commit": hashlib.sha256(f"{SEED} {number}".encode()).hexdigest()[:40],
                "environment": "production",
                "status": "failed" if failed else "succeeded",
            }
        )
        released[service] += not failed
    return deploys


# --- tickets ---------------------------------------------------------------------------------------------------


def opened_at(row: Json) -> datetime:
    """When the ticket was opened; the log writes d/m/Y in an unnamed zone."""
    return datetime.strptime(row["opened_at"], "%d/%m/%Y %H:%M").replace(tzinfo=UTC)


def drawn_tickets(last_rows: Sequence[Json], wanted: dict[str, int]) -> set[str]:
    """Numbers of the tickets to keep.

    Each priority's share is split evenly between the two halves of the period (cut at the median opening time) and,
    inside a half, between tickets with and without `resolved_at` as they are in the log.

    Parameters
    ----------
    last_rows
        The last row of every ticket: its state at the end.
    wanted
        Tickets a priority. A stratum that is smaller gives all it has.
    """
    opened = sorted(opened_at(row) for row in last_rows)
    middle = opened[len(opened) // 2]
    strata: dict[tuple[str, bool], list[Json]] = defaultdict(list)
    for row in last_rows:
        strata[row["priority"], opened_at(row) >= middle].append(row)
    kept: set[str] = set()
    for (priority, _late), rows in sorted(strata.items()):
        share = wanted.get(priority, 0) // 2
        rows.sort(key=lambda row: draw("ticket", row["number"]))
        unresolved = [row["number"] for row in rows if row["resolved_at"] == "?"]
        resolved = [row["number"] for row in rows if row["resolved_at"] != "?"]
        quota = round(share * len(unresolved) / len(rows))
        kept.update(unresolved[:quota], resolved[: share - quota])
    return kept


def cut_tickets(source: Path, target: Path, wanted: dict[str, int]) -> tuple[int, int]:
    """Copy all rows of the drawn tickets as they are; returns rows and tickets written."""
    with zipfile.ZipFile(source) as archive:
        member = next((name for name in archive.namelist() if name.endswith(".csv")), None)
        if member is None:
            raise UnusableRecording(f"{source}: no .csv in the archive; wanted incident_event_log.csv")
        text = archive.read(member).decode("utf-8")
    # `category` stands twice in the header; a dict keeps the second, which the draw does not look at.
    header, *rows = io.StringIO(text, newline="")
    names = next(csv.reader([header]))
    last = {row[0]: dict(zip(names, row, strict=True)) for row in csv.reader(rows)}
    kept = drawn_tickets(list(last.values()), wanted)
    chosen = [row for row in rows if row.partition(",")[0] in kept]
    write_gzip(target, "".join([header, *chosen]).encode())
    return len(chosen), len(kept)


# --- the samples -----------------------------------------------------------------------------------------------


def services_in(path: Path) -> list[str]:
    """Names of the services that sent spans, sorted."""
    found = set()
    for request in lines(path):
        for resource in request["resourceSpans"]:
            for attribute in resource["resource"]["attributes"]:
                if attribute["key"] == "service.name":
                    found.add(attribute["value"]["stringValue"])
    return sorted(found)


def chosen_incidents(recording: Path, wanted: Iterable[str]) -> list[Json]:
    """The recording's incidents with the wanted ids, as they are.

    Raises
    ------
    UnusableRecording
        When an id is not among the recording's incidents.
    """
    file = recording / "incidents.json"
    by_id: dict[str, Json] = {row["incident_id"]: row for row in orjson.loads(file.read_bytes())}
    missing = sorted(set(wanted) - set(by_id))
    if missing:
        raise UnusableRecording(f"{file}: no incident {', '.join(missing)}; name the recording of {TRAINTICKET}")
    return [by_id[key] for key in wanted]


def trace_windows(incidents: Sequence[Json], quiet: tuple[datetime, datetime]) -> list[Window]:
    """The quiet stretch, and every incident from 130 s before its page to its end."""
    windows = [Window.between(*quiet)]
    for incident in incidents:
        page, end = parsed(incident["created_at"]), parsed(incident["resolved_at"])
        windows.append(Window.between(page - TRACES_BEFORE_PAGE, end))
    return windows


def metric_windows(incidents: Sequence[Json]) -> list[Window]:
    """Every incident from 16 minutes before its page to 3 minutes after its end; the first covers the quiet stretch."""
    return [
        Window.between(
            parsed(incident["created_at"]) - METRICS_BEFORE_PAGE, parsed(incident["resolved_at"]) + METRICS_AFTER_END
        )
        for incident in incidents
    ]


def cut_telemetry(recording: Path, out: Path, incidents: Sequence[Json], quiet: tuple[datetime, datetime]) -> Counts:
    """Write traces, logs and metrics of the windows around the incidents; returns how much, by name."""
    windows = trace_windows(incidents, quiet)
    traces = kept_traces(recording / "traces.otlp.jsonl.gz", windows)
    spans, span_lines = cut_otlp(
        recording / "traces.otlp.jsonl.gz",
        out / "traces.otlp.jsonl.gz",
        ("resourceSpans", "scopeSpans", "spans"),
        lambda span: span["traceId"] in traces,
    )
    logs, log_lines = cut_otlp(
        recording / "logs.otlp.jsonl.gz",
        out / "logs.otlp.jsonl.gz",
        ("resourceLogs", "scopeLogs", "logRecords"),
        log_keeper(traces, windows),
    )
    points = sum(
        cut_metric(file, out / "metrics" / file.name, metric_windows(incidents))
        for file in sorted((recording / "metrics").glob("*.json.gz"))
    )
    counts = {"traces": len(traces), "spans": spans, "span_lines": span_lines}
    return counts | {"logs": logs, "log_lines": log_lines, "points": points}


def write_drawn(out: Path, incidents: Sequence[Json], services: Sequence[str]) -> Counts:
    """Write the pager's export and the deploys, the only records that no recording has; returns how many, by name."""
    numbered = list(enumerate(incidents, 1))
    tickets = [pagerduty_incident(incident, number) for number, incident in numbered]
    entries = [entry for number, incident in numbered for entry in pagerduty_log_entries(incident, number)]
    entries.sort(key=lambda entry: str(entry["created_at"]), reverse=True)
    deploys = drawn_deploys(services, incidents)
    write_json(out / "pagerduty/incidents.json", page_of("incidents", tickets))
    write_json(out / "pagerduty/log_entries.json", page_of("log_entries", entries))
    write_json(out / "deploys.json", deploys)
    return {"log_entries": len(entries), "deploys": len(deploys)}


def cut_trainticket(
    recording: Path,
    out: Path,
    *,
    wanted: Sequence[str] = INCIDENTS,
    quiet: tuple[datetime, datetime] = QUIET,
) -> Counts:
    """Write the whole TrainTicket sample into `out`; returns what was written, by name.

    Parameters
    ----------
    recording
        Folder with `traces.otlp.jsonl.gz`, `logs.otlp.jsonl.gz`, `metrics/*.json.gz`, `incidents.json`, `LICENSE`.
    out
        Folder to write into; files of the same names are replaced, others are left.
    wanted
        Incident ids, in the order of time.
    quiet
        A stretch without a fault, kept as the baseline.

    Raises
    ------
    UnusableRecording
        When the folder is not the recording, or lacks a wanted incident.
    """
    if not (recording / "incidents.json").is_file():
        raise UnusableRecording(f"{recording}: no incidents.json; name the folder that holds {TRAINTICKET}")
    incidents = chosen_incidents(recording, wanted)
    counts = cut_telemetry(recording, out, incidents, quiet)
    write_json(out / "incidents.json", incidents)
    shutil.copyfile(recording / "LICENSE", out / "LICENSE")
    drawn = write_drawn(out, incidents, services_in(out / "traces.otlp.jsonl.gz"))
    return counts | {"incidents": len(incidents)} | drawn


def main(
    recordings: Annotated[Path, typer.Argument(help="Folder that holds the recordings.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option(help="Folder to write the samples into.")] = SAMPLES,
    truth: Annotated[Path | None, typer.Option(help="Also write what was broken, for tests only.")] = None,
) -> None:
    """Cut both samples and print what was written.

    The answer to "what was broken" never lies among the samples: `--truth tests/end_to_end/trainticket_truth.json`.
    """
    counts = cut_trainticket(recordings / TRAINTICKET, out / "trainticket")
    rows, tickets = cut_tickets(
        recordings / "servicenow-incidents/incident_event_log.zip",
        out / "servicenow/incident_event_log.csv.gz",
        TICKETS,
    )
    if truth:
        answers = orjson.loads((recordings / TRAINTICKET / "ground_truth.json").read_bytes())
        write_json(truth, [answer for answer in answers if answer["incident_id"] in INCIDENTS])
    for name, count in (counts | {"ticket_rows": rows, "tickets": tickets}).items():
        typer.echo(f"{name:12} {count:>8,}")


if __name__ == "__main__":
    typer.run(main)
