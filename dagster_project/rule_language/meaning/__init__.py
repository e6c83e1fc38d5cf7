"""Syntax → the typed model of what a rule says, and its identity."""
