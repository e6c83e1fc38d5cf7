"""Attributes of a rule whose names are almost those of a field: `statsu = error` asks for an attribute, silently.

Says what may be meant and refuses nothing. Whether such an attribute was received, `replay.occurrence` knows.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from dagster_project.rule_language.meaning.attributes import fields_of
from dagster_project.rule_language.meaning.model import INTRINSICS
from dagster_project.rule_language.rule_file import Rule
from dagster_project.rule_language.text.syntax import Entity

# One letter wrong, missing or too many in a word of four, two that changed places in one of six.
_NEAR = 0.8


@dataclass(frozen=True, order=True)
class NearField:
    """An attribute, and the field of the same kind of item that it may be meant for."""

    entity: Entity
    key: str
    field: str

    @property
    def sentence(self) -> str:
        """What is said of it where there is no data to look at."""
        return (
            f"`{self.key}` is read as an attribute of {self.entity}s, and no test of the rule has one;"
            f" did you mean the field `{self.field}`?"
        )


def nearest_field(entity: Entity, key: str) -> str | None:
    """The field of items of a kind that is almost called so; None when none is."""
    near = difflib.get_close_matches(key.lower(), INTRINSICS[entity], n=1, cutoff=_NEAR)
    return near[0] if near else None


def near_fields(rule: Rule) -> list[NearField]:
    """Attributes that the rule reads, that no test of it has, and that are almost called like a field."""
    in_tests = set(_keys_of_tests(rule))
    found = set()
    for read in fields_of(rule.judgement):
        entity: Entity = read.entity if read.of == "item" else "span"
        if read.origin == "attribute" and (entity, read.key) not in in_tests:
            field = nearest_field(entity, read.key)
            if field is not None:
                found.add(NearField(entity, read.key, field))
    return sorted(found)


def _keys_of_tests(rule: Rule) -> Iterator[tuple[Entity, str]]:
    for example in rule.examples:
        held: list[tuple[Entity, str]] = [
            *(("span", one.attributes) for one in example.spans),
            *(("event", event.attributes) for one in example.spans for event in one.events),
            *(("link", link.attributes) for one in example.spans for link in one.links),
            *(("log", one.attributes) for one in example.logs),
            *(("metric", one.attributes) for one in example.metrics),
        ]
        for entity, attributes in held:
            yield from ((entity, key) for key in orjson.loads(attributes or "{}"))
