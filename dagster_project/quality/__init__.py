"""Expectations of what landed: suites of Great Expectations over aggregates and bounded samples. No Dagster here."""
