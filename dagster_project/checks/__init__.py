"""Dagster asset checks; dbt's tests arrive with the models. A module a subject."""

from __future__ import annotations

import dagster as dg

from dagster_project.checks import expectations


def build_checks() -> list[dg.AssetChecksDefinition]:
    """Every check that is not a dbt test."""
    return expectations.build()
