"""The mart of survival curves of the clocks; `statistics/clock_curves.py` has the method."""

from __future__ import annotations

import dagster as dg

from dagster_project.assets.statistics import mart
from dagster_project.statistics.clock_curves import clock_curves


def build() -> list[dg.AssetsDefinition]:
    """The one asset."""
    read = [dg.AssetKey(["marts", name]) for name in ("fct_incidents", "mart_incident_clocks")]
    said = "How each clock runs out, by system and severity: survival curves, open incidents counted."
    return [mart("mart_clock_curves", said, clock_curves, after=read)]
