"""Severities and windows of a project: one YAML file, typed, and as dbt variables. No incident is judged here."""
