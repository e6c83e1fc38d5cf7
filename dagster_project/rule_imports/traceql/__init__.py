"""TraceQL's spanset queries as drafts: selectors, structure and aggregates, with TraceQL's own reading of nil.

A query says what to find, so a trace that it finds is a violation. Metrics and groups within a trace are refused.
"""

from dagster_project.rule_imports.traceql.queries import read as read
from dagster_project.rule_imports.traceql.queries import recognises as recognises
