"""Where a rule's query reads from, and of which scopes: what differs between an ad-hoc question and a dbt model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from sqlglot import exp

from dagster_project.rule_language.planning.estimates import Statistics
from dagster_project.rule_language.sql.entity import schema_table
from dagster_project.rule_language.sql.nodes import table
from dagster_project.rule_language.text.syntax import Entity


@dataclass(frozen=True)
class Source:
    """Where a query reads from, and of which scopes.

    Attributes
    ----------
    table
        Gives a table by its name in `TABLES`, with an alias.
    columns
        The columns that stg_spans and stg_logs have, when not all promoted columns are sure to be there.
    start, end
        Scopes whose first span is in [start, end), UTC without zone; None: no bound.
    touched
        Gives a condition that keeps only traces to be judged again, for a column of trace ids.
    touched_keys
        Gives a condition that keeps only keys of groups to be judged again, for the values of a group's key.
    read
        Gives a condition that keeps only items of hours that are read, for an entity.
    statistics
        Of the tables, for the choice of where to start; None: guessed.
    satisfied_in_full
        Whether satisfied scopes get their traces and id, too; who only counts them does without.
    anchored
        Whether to start from the scopes that `when` needs; None: as the statistics say, or guessed.
    given
        Parts of the query that are tables already, by their names: `lost`, `candidates`, `broken`.
    shapes_have_names
        Whether `int_trace_shape` says what its spans are called; in tables of older generations it does not.
    lost_since
        When the first trace that lost something began; None: not known.
    incomplete
        A table with the incomplete traces that can touch the window; None: they are sought among all traces.
    suspects
        A table with the scopes that are to be judged, among them all that a loss touches; None: all scopes.
    """

    table: Callable[[str, str | None], exp.Expression] = schema_table
    columns: Mapping[Entity, Set[str]] | None = None
    start: datetime | None = None
    end: datetime | None = None
    touched: Callable[[exp.Expression], exp.Expression] | None = None
    touched_keys: Callable[[Sequence[exp.Expression]], exp.Expression] | None = None
    read: Callable[[Entity], exp.Expression] | None = None
    statistics: Statistics | None = None
    satisfied_in_full: bool = True
    anchored: bool | None = None
    given: Set[str] = frozenset()
    shapes_have_names: bool = True
    lost_since: datetime | None = None
    incomplete: str | None = None
    suspects: str | None = None

    def incomplete_traces(self, alias: str) -> exp.Expression:
        """The table in which incomplete traces are sought; it may hold whole ones, too."""
        return table(self.incomplete, alias) if self.incomplete else self.table("traces", alias)
