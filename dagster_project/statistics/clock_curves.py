"""Rows of `marts.mart_clock_curves`: how each clock runs out, by system and severity. Compares nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from dagster_project.statistics.columns import NUMBER, TEXT, WHOLE, described
from dagster_project.statistics.survival import Lifetimes, kaplan_meier, thinned

CLOCKS = ("detect", "acknowledge", "mitigate", "resolve", "close", "between_failures")
FEWEST_ENDED = 5
"""Ended incidents below which a curve is a few steps with a band over everything: dots say more."""

CLOCK_CURVES_SCHEMA = pa.schema(
    [
        described("point_id", TEXT, "System, clock, severity and position", nullable=False),
        described("system", TEXT, "System of the incidents", nullable=False),
        described("clock", TEXT, "Clock of mart_incident_clocks", nullable=False),
        described("severity", TEXT, "Severity; null for incidents without one"),
        described("position", WHOLE, "Order along the curve, from 1", nullable=False),
        described("minutes", NUMBER, "Time on the clock", nullable=False),
        described("survival", NUMBER, "Share of incidents whose clock still runs (Kaplan-Meier)", nullable=False),
        described("low", NUMBER, "Lower edge of the pointwise 95 % band", nullable=False),
        described("high", NUMBER, "Upper edge of the pointwise 95 % band", nullable=False),
        described("at_risk", WHOLE, "Incidents still followed just before", nullable=False),
        described("ended", WHOLE, "Incidents whose clock ended at this very time", nullable=False),
    ],
    metadata={"description": "Survival curves of every clock, by system and severity, thinned to 200 points each"},
)

GROUPS = """
select c.system, c.clock, i.severity
from marts.mart_incident_clocks as c inner join marts.fct_incidents as i using (system, incident_id)
where list_contains($clocks, c.clock)
group by c.system, c.clock, i.severity
having count(c.seconds) >= $fewest
order by c.system, list_position($clocks, c.clock), i.severity
"""
# A clock that ended at once is counted at one second, which is the clocks' resolution: a curve has no time zero.
TIMES = """
select greatest(coalesce(c.seconds, c.open_seconds), 1)::double as seconds, c.seconds is not null as is_ended
from marts.mart_incident_clocks as c inner join marts.fct_incidents as i using (system, incident_id)
where
    c.system = $system and c.clock = $clock and i.severity is not distinct from $severity
    and coalesce(c.seconds, c.open_seconds) is not null
order by all
"""


def clock_curves(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """The curves of all clocks; open incidents count for as long as their clock has run.

    Parameters
    ----------
    connection
        Knows `marts.mart_incident_clocks` and `marts.fct_incidents`.
    """
    found = connection.execute(GROUPS, {"clocks": list(CLOCKS), "fewest": FEWEST_ENDED}).fetchall()
    rows = [row for system, clock, severity in found for row in _curve(connection, system, clock, severity)]
    return pa.Table.from_pylist(rows, schema=CLOCK_CURVES_SCHEMA)


def _curve(
    connection: duckdb.DuckDBPyConnection, system: str, clock: str, severity: str | None
) -> Iterator[dict[str, Any]]:
    of = {"system": system, "clock": clock, "severity": severity}
    columns = connection.execute(TIMES, of).fetchnumpy()
    lifetimes = Lifetimes(np.asarray(columns["seconds"], dtype=np.float64), np.asarray(columns["is_ended"], dtype=bool))
    curve = thinned(kaplan_meier(lifetimes))
    points = zip(curve.times, curve.survival, curve.low, curve.high, curve.at_risk, curve.ended, strict=True)
    for position, (seconds, survival, low, high, at_risk, ended) in enumerate(points, start=1):
        yield {
            **of,
            "point_id": f"{system}/{clock}/{severity or ''}/{position}",
            "position": position,
            "minutes": float(seconds) / 60,
            "survival": float(survival),
            "low": float(low),
            "high": float(high),
            "at_risk": int(at_risk),
            "ended": int(ended),
        }
