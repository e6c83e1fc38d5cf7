"""How far what arrives reaches: which scopes beyond those it lies in a rule has to judge again, counted in days.

A change reaches items `near_days` around it (`near`, `after` beyond the trace), and hours up to `back_days` later
(baselines). Whole days are more than is needed, never less. The SQL that finds the days is in `judged_traces.jinja`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from dagster_project.rule_language.meaning.model import Baseline, Nearby, Scope, field_names, parts
from dagster_project.rule_language.rule_file import Rule

_DAY_NS = 24 * 3600 * 10**9
# What looks further looks at everything that a warehouse can hold.
_FURTHEST_DAYS = 100 * 366


@dataclass(frozen=True)
class Reach:
    """How far the rules of a plan group look, and at what beside spans and logs."""

    near_days: int = 0
    back_days: int = 0
    events: bool = False
    deploys: bool = False
    tickets: bool = False

    @property
    def as_jinja(self) -> str:
        """A literal of dbt's language that may stand between double quotes."""
        return json.dumps(asdict(self)).replace('"', "'")


def looks_beyond(rule: Rule) -> bool:
    """Whether the rule looks at more than the trace or the key of an item: `near` on a service, say."""
    return any(_is_beyond(node) for node in nodes(rule.judgement))


def is_judged_whole(rule: Rule) -> bool:
    """Whether every replay judges the rule over all history.

    That are chains alone: nearness to what is itself near to something, and nobody has asked for one yet.
    """
    if any(isinstance(node, Baseline) for node in nodes(rule.judgement)) and rule.judgement.scope is not Scope.HOUR:
        return True
    beyond = [node for node in nodes(rule.judgement) if isinstance(node, Nearby) and _is_beyond(node)]
    return any(_is_beyond(inner) for node in beyond for inner in nodes(node.other))


def of(rules: Iterable[Rule]) -> Reach:
    """What holds for every one of the rules."""
    found = [node for rule in rules for node in nodes(rule.judgement)]
    read = {entity for node in found if isinstance(entity := getattr(node, "entity", None), str)}
    baselines = [node.back_ns for node in found if isinstance(node, Baseline)]
    return Reach(
        near_days=max(
            (_days(node.within_ns) for node in found if isinstance(node, Nearby) and _is_beyond(node)), default=0
        ),
        back_days=max(map(_days, baselines), default=0),
        events="event" in read,
        deploys="deploy" in read,
        tickets="ticket" in read or bool(baselines),
    )


def nodes(node: object) -> Iterator[object]:
    """A node of the model and all that it is made of."""
    if field_names(type(node)) is not None:
        yield node
    for part in parts(node):
        yield from nodes(part)


def _is_beyond(node: object) -> bool:
    return isinstance(node, Nearby) and "trace" not in node.on


def _days(nanoseconds: int) -> int:
    return min(-(-nanoseconds // _DAY_NS), _FURTHEST_DAYS)
