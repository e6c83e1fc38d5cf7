"""The frozen dataclasses that rooms hand each other. No reading, no computing, no rendering.

Text from outside enters a fact only through `wording.visible`. Times are UTC without a zone, as DuckDB hands them out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, order=True)
class Reference:
    """Rows that carry a statement: every row of `relation` ("schema.table") whose columns equal the key's values."""

    relation: str
    key: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """`marts.fct_incidents[incident_id=INC-1]`."""
        return f"{self.relation}[{', '.join(f'{column}={value}' for column, value in self.key)}]"


@dataclass(frozen=True)
class Stamp:
    """Which state of the warehouse something was made from: the published generation, and its newest data."""

    generation: str | None
    as_of: datetime | None


@dataclass(frozen=True)
class Clock:
    """One clock of an incident: when it struck and which field of which source says so.

    `at` is None when it is missing; `seconds` since the incident began is None when either end is missing or the two
    contradict each other.
    """

    name: str
    at: datetime | None
    said_by: str | None
    seconds: float | None


@dataclass(frozen=True)
class TimelineEntry:
    """Something that happened, at `at`, said by `source`."""

    at: datetime
    kind: str
    text: str
    source: str
    reference: Reference


@dataclass(frozen=True)
class Impact:
    """What telemetry says about the incident's window. Durations in milliseconds, None without traces.

    The window begins a little before the incident; `baseline_kind` says which quiet traces it is compared with.
    """

    window_from: datetime | None
    window_until: datetime | None
    traces: int
    traces_with_error_logs: int
    services_reached: tuple[str, ...]
    median_duration_ms: float | None
    p95_duration_ms: float | None
    baseline_kind: str | None
    baseline_traces: int
    baseline_traces_with_error_logs: int
    baseline_median_duration_ms: float | None
    baseline_p95_duration_ms: float | None
    reference: Reference


@dataclass(frozen=True)
class RuleViolations:
    """Traces that violate one rule in the incident's window and in its baseline, each with its denominator."""

    rule_id: str
    title: str
    severity: str | None
    violated_during: int
    traces_during: int
    violated_baseline: int
    traces_baseline: int
    first_at: datetime | None
    last_at: datetime | None
    inconclusive_during: int
    examples: tuple[ViolationExample, ...]
    reference: Reference

    @property
    def excess(self) -> float:
        """Share of violating traces in the window less that of the baseline."""
        during = self.violated_during / self.traces_during if self.traces_during else 0.0
        baseline = self.violated_baseline / self.traces_baseline if self.traces_baseline else 0.0
        return during - baseline


@dataclass(frozen=True)
class ViolationExample:
    """One violation of the window, to open and look at."""

    violation_id: str
    scope_key: str
    first_span_at: datetime | None
    service_names: tuple[str, ...]
    reference: Reference


@dataclass(frozen=True)
class ServiceShift:
    """How far one signal of one service moved from its baseline, in standard deviations of the baseline.

    Of kind 'error logs' the two medians are counts of traces: what the baseline's rate lets expect, and what was seen.
    """

    service_name: str
    kind: str
    signal: str
    unit: str | None
    baseline_median: float | None
    baseline_n: int
    incident_median: float | None
    incident_n: int
    shift: float
    rank: int
    reference: Reference


@dataclass(frozen=True)
class SuspectService:
    """One service as a hypothesis: the signals that moved, not to the better, and how many of its signals did not.

    `moved_share` is of the `compared_count` signals that could be compared.
    """

    service_name: str
    rank: int
    moved: tuple[ServiceShift, ...]
    moved_count: int
    compared_count: int
    moved_share: float
    still_count: int
    still_examples: tuple[str, ...]
    improved_count: int
    improved_examples: tuple[str, ...]
    violating_traces: int
    reference: Reference


@dataclass(frozen=True)
class Certificate:
    """What one rule's replay scanned and what it could not see."""

    rule_id: str
    meaning_hash: str | None
    window_from: datetime | None
    window_until: datetime | None
    spans_scanned: int
    spans_repeated: int
    logs_scanned: int
    traces_scanned: int
    traces_complete: int
    traces_incomplete: int
    records_quarantined: int
    null_keys: int | None
    violated: int
    satisfied: int
    inconclusive: int
    not_applicable: int | None
    undetectable_loss_note: str | None
    reference: Reference


@dataclass(frozen=True)
class ActionItem:
    """Something agreed to be done, as the data has it."""

    item_id: str
    kind: str
    text: str
    owner_role: str | None
    due: str | None
    status: str
    reference: Reference


@dataclass(frozen=True)
class IncidentFacts:
    """Everything the warehouse knows about one incident."""

    incident_id: str
    slug: str
    title: str
    system: str
    severity: str | None
    severity_as_sent: str | None
    service_name: str | None
    service_in_telemetry: bool
    team: str | None
    category: str | None
    resolution_method: str | None
    started: Clock
    clocks: tuple[Clock, ...]
    is_open: bool
    reopened_count: int
    clock_problem: str | None
    reference: Reference
    impact: Impact | None
    timeline: tuple[TimelineEntry, ...] = ()
    timeline_total: int = 0
    violations: tuple[RuleViolations, ...] = ()
    suspects: tuple[SuspectService, ...] = ()
    signals_compared: int = 0
    certificates: tuple[Certificate, ...] = ()
    action_items: tuple[ActionItem, ...] = ()


@dataclass(frozen=True)
class WrittenDocument:
    """A post-mortem on disk. `body` is its HTML without head and navigation, for a page to frame."""

    incident_id: str
    slug: str
    title: str
    state: str
    markdown_path: Path
    html_path: Path
    json_path: Path
    body: str = field(repr=False)
    statements: int
    references: int


@dataclass(frozen=True)
class LoadedFile:
    """One file that the night met."""

    source: str
    format: str
    path: str
    status: str
    records_landed: int
    records_rejected: int
    message: str | None = None


@dataclass(frozen=True)
class ReasonCount:
    """How many records were refused for one reason."""

    reason: str
    records: int


@dataclass(frozen=True)
class ViolationLine:
    """One violation in a list of the morning."""

    violation_id: str
    rule_id: str
    title: str
    severity: str | None
    scope_key: str
    first_span_at: datetime | None
    service_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class ViolationChange:
    """Violations that are new, ongoing or gone since the night before: all counted, some listed."""

    total: int
    by_rule: tuple[tuple[str, int], ...] = ()
    listed: tuple[ViolationLine, ...] = ()


@dataclass(frozen=True)
class FailedStep:
    """A step of the night that did not succeed, with what it said."""

    step: str
    message: str


@dataclass(frozen=True)
class NightSummary:
    """What one night did. `exit_code` is 0, 1 (there are new violations) or 2 (a step failed).

    `inconclusive` has the scopes that were not so before; `taken_out` the rules that hit a limit, among `failed_steps`.
    """

    night_id: str
    started_at: datetime
    finished_at: datetime
    exit_code: int
    generation: str | None
    as_of: datetime | None
    loads: tuple[LoadedFile, ...] = ()
    refused: tuple[ReasonCount, ...] = ()
    new: ViolationChange = ViolationChange(0)
    ongoing: ViolationChange = ViolationChange(0)
    gone: ViolationChange = ViolationChange(0)
    suppressed: ViolationChange = ViolationChange(0)
    shadow: ViolationChange = ViolationChange(0)
    inconclusive: ViolationChange = ViolationChange(0)
    taken_out: tuple[FailedStep, ...] = ()
    failed_steps: tuple[FailedStep, ...] = ()
    warnings: tuple[FailedStep, ...] = ()
    is_first: bool = False
