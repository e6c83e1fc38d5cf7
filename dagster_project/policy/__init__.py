"""Severities, targets, clocks and links of a project: one YAML file, typed. No incident is judged here."""
