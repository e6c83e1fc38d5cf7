"""What all parts of a translation share: refusals with their line, and what is assumed. Nothing is read here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dagster_project.rule_imports.grammars import place
from dagster_project.rule_imports.imported import Assumptions, Refusal
from dagster_project.rule_imports.source_text import Query, line_of


@dataclass(frozen=True)
class Reading:
    """One query on its way; its assumptions are filled while it is read."""

    source: Query
    assumed: Assumptions

    def refuse(self, node: Any, message: str, hint: str = "") -> Refusal:
        """Why the query cannot be carried over, with the line of the node."""
        start, _ = place(node)
        return Refusal(message, self.source.line + line_of(self.source.text, start) - 1, hint)

    def assume(self, text: str) -> None:
        """Note what is taken for granted; said once however often it is met."""
        self.assumed.add(self.source.line, text)
