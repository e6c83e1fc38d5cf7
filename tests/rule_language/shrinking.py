"""A disagreement made small: fewer spans, fewer attributes, a shorter rule, and its text as a test."""

# ruff: noqa: C901, PLR0912  # one branch a kind of node

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import engine
from oracle_scopes import Judge, Rule  # type: ignore[import-not-found]
from recorded import World  # type: ignore[import-not-found]
from worlds import used  # type: ignore[import-not-found]
from written import written  # type: ignore[import-not-found]

from dagster_project.rule_language import RuleErrors
from dagster_project.rule_language.text import syntax as tree

Compare = Callable[[Any, Rule, Judge], Any]
"""How engine and oracle are compared over a loaded world; None when they agree."""

KINDS = ["tickets", "deploys", "metrics", "links", "events", "logs"]


def shrunk(
    connection: Any, rule: Rule, world: World, seconds: float, compare: Compare = engine.disagreement
) -> tuple[Rule, World]:
    """The same kind of disagreement, smaller, as far as the time reaches."""
    until = time.monotonic() + seconds
    fails = _failing(connection, rule, world, compare)

    def kept(one: Rule, its_world: World) -> bool:
        return time.monotonic() < until and fails(one, its_world)

    changed = True
    while changed and time.monotonic() < until:
        changed = False
        for smaller in _smaller_worlds(world):
            if kept(rule, smaller):
                world, changed = smaller, True
                break
        if not changed:
            for shorter in _shorter_rules(rule):
                if kept(shorter, world):
                    rule, changed = shorter, True
                    break
    return rule, world


def _failing(connection: Any, rule: Rule, world: World, compare: Compare) -> Callable[[Rule, World], bool]:
    """Whether engine and oracle disagree as they did: by another verdict, or by an error of the same kind."""

    def outcome(one: Rule, its_world: World) -> str | None:
        try:
            engine.load(connection, its_world)
            return None if compare(connection, one, Judge(one, its_world)) is None else "verdict"
        except RuleErrors:
            return None
        except Exception as error:
            return type(error).__name__

    first = outcome(rule, world)
    return lambda one, its_world: first is not None and outcome(one, its_world) == first


def _smaller_worlds(world: World) -> Iterator[World]:
    traces = sorted({span.trace for span in world.spans})
    if len(traces) > 1:
        half = set(traces[: len(traces) // 2])
        for part in (half, set(traces) - half):
            yield _of_spans(world, [span for span in world.spans if span.trace in part])
        for trace in traces:
            yield _of_spans(world, [span for span in world.spans if span.trace != trace])
    for kind in KINDS:
        items = getattr(world, kind)
        if len(items) > 1:
            yield _with(world, **{kind: []})
        for item in items:
            yield _with(world, **{kind: [one for one in items if one is not item]})
    for span in world.spans:
        yield _of_spans(world, [one for one in world.spans if one is not span])
    for kind in ["spans", *KINDS[2:]]:
        for item in getattr(world, kind):
            if item.attributes:
                yield _stripped(world, item)


def _with(world: World, **changed: Any) -> World:
    parts: dict[str, Any] = {part.name: getattr(world, part.name) for part in fields(World)}
    return World(**{**parts, **changed})


def _of_spans(world: World, spans: list[Any]) -> World:
    left = set(spans)
    traces = {span.trace for span in spans}
    return _with(
        world,
        spans=spans,
        events=[one for one in world.events if one.span in left],
        links=[one for one in world.links if one.span in left],
        logs=[one for one in world.logs if one.trace is None or one.trace == 77 or one.trace in traces],
    )


def _stripped(world: World, item: Any) -> World:
    """Without the attributes of one item."""
    bare = replace(item, attributes={})
    if item in world.spans:
        return _with(
            world,
            spans=[bare if one is item else one for one in world.spans],
            events=[replace(one, span=bare) if one.span is item else one for one in world.events],
            links=[replace(one, span=bare) if one.span is item else one for one in world.links],
        )
    kind = f"{item.entity}s"
    return _with(world, **{kind: [bare if one is item else one for one in getattr(world, kind)]})


def _shorter_rules(rule: Rule) -> Iterator[Rule]:
    if rule.report:
        yield _tidy(replace(rule, report=()))
    if rule.when is not None:
        yield _tidy(replace(rule, when=None))
    if rule.always is not None and rule.never is not None:
        yield _tidy(replace(rule, always=None))
        yield _tidy(replace(rule, never=None))
    for name in ("when", "always", "never", "detect"):
        node = getattr(rule, name)
        if node is not None:
            for shorter in shorter_nodes(node):
                yield _tidy(replace(rule, **{name: shorter}))
    for place, (name, node) in enumerate(rule.let):
        for shorter in shorter_nodes(node):
            yield _tidy(replace(rule, let=(*rule.let[:place], (name, shorter), *rule.let[place + 1 :])))


def _tidy(rule: Rule) -> Rule:
    """Without names that nothing says any more."""
    said = used(rule, dict(rule.let))
    return replace(rule, let=tuple((name, node) for name, node in rule.let if name in said))


def shorter_nodes(node: Any) -> Iterator[Any]:
    """What a node can be replaced by, and the node with one part of it replaced."""
    if isinstance(node, tree.Not):
        yield node.operand
    if isinstance(node, (tree.And, tree.Or)):
        yield from node.operands
    if isinstance(node, tree.Filtered):
        yield node.items
    if isinstance(node, tree.Structured):
        yield node.right
    if isinstance(node, (tree.Unless, tree.Joined)):
        yield node.left
    if isinstance(node, tree.Arithmetic):
        yield node.left
        yield node.right
    if isinstance(node, tree.Selector):
        if node.conditions:
            yield replace(node, conditions=())
        if node.name is not None:
            yield replace(node, name=None)
    if isinstance(node, tree.Call) and node.condition is not None and node.function != "all":
        yield replace(node, condition=None, variable=None)
    if not is_dataclass(node) or isinstance(node, type):
        return
    for part in dataclasses.fields(node):
        value = getattr(node, part.name)
        if part.name != "at" and is_dataclass(value):
            for shorter in shorter_nodes(value):
                yield replace(node, **{part.name: shorter})
        elif isinstance(value, tuple):
            for place, one in enumerate(value):
                for shorter in shorter_nodes(one):
                    yield replace(node, **{part.name: (*value[:place], shorter, *value[place + 1 :])})


def as_test(rule: Rule, world: World, compared: str = "disagreement(connection, rule, Judge(rule, world))") -> str:
    """The disagreement as a test that can stand in the suite; `compared` is None where there is none."""
    places = {span: number for number, span in enumerate(world.spans)}
    parts = []
    for part in fields(World):
        items = getattr(world, part.name)
        if not items:
            continue
        texts = [_item_text(one, places) for one in items]
        if part.name == "spans":
            continue
        parts.append(f"        {part.name}=[\n" + "".join(f"            {one},\n" for one in texts) + "        ],\n")
    spans = "".join(f"        {_item_text(span, places)},\n" for span in world.spans)
    let = "".join(f"            ({name!r}, parse({written(node)!r}, 'definition')),\n" for name, node in rule.let)
    said = "".join(
        f"        {name}=parse({written(node)!r}),\n"
        for name in ("when", "always", "never", "detect")
        if (node := getattr(rule, name)) is not None
    )
    reports = "".join(f"            ({name!r}, parse({written(call)!r}, 'report')),\n" for name, call in rule.report)
    return f'''"""Found by a comparison of engine and oracle."""

from engine import disagreement, load, replay_disagreement  # noqa: F401
from oracle_scopes import Judge, Rule
from recorded import Deploy, Event, Link, Log, Metric, Span, Ticket, World  # noqa: F401

from dagster_project.replay import scratch
from dagster_project.rule_language.text.parser import parse


def test_engine_and_oracle_agree():
    spans = [
{spans}    ]
    world = World(
        spans=spans,
{"".join(parts)}    )
    rule = Rule(
        let=(
{let}        ),
{said}        report=(
{reports}        ),
        group_by={rule.group_by!r}, gap={rule.gap}, skew={rule.skew}, by={rule.by!r},
    )
    connection = scratch.connect()
    load(connection, world)
    assert {compared} is None
'''


def _item_text(item: Any, places: dict[Any, int]) -> str:
    if item.entity in {"event", "link"}:
        own = {part.name: getattr(item, part.name) for part in fields(item) if part.name != "span"}
        rest = "".join(f", {name}={value!r}" for name, value in own.items())
        return f"{type(item).__name__}(spans[{places[item.span]}]{rest})"
    return repr(item)
