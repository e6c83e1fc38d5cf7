"""Dagster jobs: what is run together. Each selects groups of assets, never lists of them."""

from __future__ import annotations

import dagster as dg

LANDING = dg.AssetSelection.groups("landing")
EVERYTHING = dg.AssetSelection.all()


def build_jobs() -> list[dg.UnresolvedAssetJobDefinition]:
    """The jobs; all run in one process, for the warehouse has one writer."""
    return [
        dg.define_asset_job(
            "land",
            LANDING,
            description="Load what arrived in the declared sources. The same bytes twice change nothing.",
            executor_def=dg.in_process_executor,
        ),
        dg.define_asset_job(
            "replay",
            EVERYTHING - LANDING,
            description="Replay the rules over a range of event days; rebuild marts, papers and the site; publish.",
            executor_def=dg.in_process_executor,
        ),
        dg.define_asset_job(
            "nightly",
            EVERYTHING,
            description="Land, then replay one event day. What the schedule runs; cron runs `hindcast nightly`.",
            executor_def=dg.in_process_executor,
        ),
    ]
