"""What a part of a query finds: a condition on the trace and, where it is one, the set of spans.

No tree is read here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dagster_project.rule_language.writing.expression_text import (
    AllOf,
    AnyItem,
    ItemCondition,
    Items,
    Joined,
    Said,
    ScopeCondition,
    Test,
    all_of,
    text_literal,
)


@dataclass(frozen=True)
class Found:
    """What a spanset expression finds: whether anything, and the set itself when it is one set.

    `related` are spans of a test of which structure finds the last; of more such it finds each.
    """

    condition: ScopeCondition
    items: Items | None = None
    text: str | None = None
    is_structural: bool = False
    of_trace: tuple[Said, ...] = ()
    related: tuple[Items, ...] | None = None

    @property
    def spans(self) -> Items | None:
        """The set, where it is one of spans: Tempo puts spans together and counts them, not their events."""
        return self.items if self.items is not None and self.items.entity == "span" else None


def all_spans() -> Found:
    """What `{ }` finds."""
    return Found(AnyItem(Items()), Items(), "span()")


def found_of(items: Items, of_trace: tuple[Said, ...]) -> Found:
    """A set of items, beside what its selector asks of the trace."""
    condition = conjunction(*of_trace, AnyItem(items))
    return Found(condition, items, items.text, of_trace=of_trace)


def conjunction(*parts: ScopeCondition) -> ScopeCondition:
    """All of the conditions, without brackets in brackets."""
    flat = [
        one for part in parts for one in (part.parts if isinstance(part, Joined) and part.word == "and" else (part,))
    ]
    return flat[0] if len(flat) == 1 else Joined("and", tuple(flat))


def whole(items: Items) -> ItemCondition:
    """The condition of a set with its name as one of the parts."""
    if items.name is None:
        return items.condition
    return all_of(
        [
            Test(
                f"name == {text_literal(items.name)}",
                f"name != {text_literal(items.name)}",
                {"name": items.name},
                {"name": "other"},
            ),
            items.condition,
        ]
    )


def with_name_in_front(items: Items) -> Items:
    """A name that is asked for exactly moves to the front: span("name", ...)."""
    parts = items.condition.parts if isinstance(items.condition, AllOf) else (items.condition,)
    for part in parts:
        found = re.fullmatch(r'name == "([^"\\*?]*)"', part.text) if isinstance(part, Test) else None
        if found and items.name is None and found.group(1):
            return Items(items.entity, found.group(1), all_of([other for other in parts if other is not part]))
    return items
