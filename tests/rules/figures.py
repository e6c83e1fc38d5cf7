"""The recorded day's figures: verdicts of the whole day, and those in descriptions.

Descriptions say how many traces violate a rule of those that it applies to, in three times: while a fault is active
(180 s from its injection), in the quiet stretch, and in the 70 s before a fault.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
from scipy.stats import fisher_exact

TRACES = 4551
# Violated, satisfied, inconclusive; what is left of the traces is not applicable.
COUNTS = {
    "database-share-of-a-request": (77, 4452, 0),
    "error-page-has-its-cause": (0, 483, 0),
    "errors-do-not-come-in-bursts": (3, 87, 0),
    "failed-booking-leaves-no-order": (25, 443, 0),
    "food-order-reaches-delivery": (0, 197, 0),
    "logged-error-reaches-the-caller": (741, 483, 0),
    "login-needs-its-verification-code": (361, 0, 0),
    "lookup-leaves-a-log-line": (293, 2688, 0),
    "no-email-address-in-logs": (0, 4551, 0),
    "no-token-in-logs": (361, 4190, 0),
    "no-unhandled-exception": (483, 4068, 0),
    "refund-before-cancellation": (179, 0, 0),
    "routes-are-read-together": (2090, 0, 0),
    "slow-while-cpu-is-used-up": (10, 7, 0),
    "slower-than-earlier-today": (14, 141, 27),
}
# A trace belongs to the time in which it starts; a fault goes before the quiet stretch, that before "shortly before".
_FIGURES = """
    with faults as (
        select unnest(from_json($truth, '[{{"injected_at": "TIMESTAMP"}}]'), recursive := true)
    ),
    timed as (
        select
            trace_id,
            case
                when exists (
                    from faults
                    where started_at >= injected_at and started_at < injected_at + interval 180 second
                ) then 'fault'
                when started_at >= timestamp '2023-01-29 08:49:00' and started_at < timestamp '2023-01-29 08:52:06'
                then 'quiet'
                when exists (
                    from faults where started_at < injected_at and started_at >= injected_at - interval 70 second
                ) then 'before'
            end as time
        from (select trace_id, started_at::timestamp as started_at from intermediate.int_traces)
    )
    select
        time,
        count(*) filter (verdict = 'violated'),
        count(*),
        count(*) filter (verdict = 'inconclusive')
    from ({verdicts}) as verdicts
    inner join timed on timed.trace_id = verdicts.trace_ids[1]
    where time is not null
    group by time
"""


@dataclass(frozen=True)
class Figures:
    """Violated and applicable traces of the three times."""

    fault: tuple[int, int]
    quiet: tuple[int, int]
    before: tuple[int, int]

    @property
    def p_value(self) -> float:
        """Fisher's exact test, two-sided, of faulty time against the other two together."""
        violated, of = self.fault
        calm_violated, calm_of = self.quiet[0] + self.before[0], self.quiet[1] + self.before[1]
        table = [[violated, of - violated], [calm_violated, calm_of - calm_violated]]
        return float(fisher_exact(table).pvalue)

    @property
    def text(self) -> str:
        fault, quiet, before = (f"{violated:,} of {of:,}" for violated, of in (self.fault, self.quiet, self.before))
        return (
            f"{fault} while a fault was active, {quiet} in the quiet stretch, {before} in the 70 s before a fault "
            f"(Fisher's exact test of the first against the others: p = {self.p_value:.2g})"
        )


def measure(connection: duckdb.DuckDBPyConnection, verdicts: str, truth: str) -> Figures:
    """The figures of the verdicts of one rule over traces, which a query gives."""
    rows = connection.execute(_FIGURES.format(verdicts=verdicts), {"truth": truth}).fetchall()
    assert sum(row[3] for row in rows) == 0, "some verdicts are inconclusive; the sentence has no words for them"
    found = {time: (violated, of) for time, violated, of, _ in rows}
    return Figures(*(found.get(time, (0, 0)) for time in ("fault", "quiet", "before")))


def one_line(text: str) -> str:
    """A description as it reads, whatever its line breaks."""
    return " ".join(text.split())
