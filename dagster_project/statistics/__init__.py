"""Incident durations, comparisons of two arms, power and return on investment: functions over arrays.

Only `arms` and `marts` touch a DuckDB connection; nothing here renders a page or knows Dagster.
"""
