"""The shape of a handful of traces as nested-set intervals, as the dbt model `int_trace_shape` gives it.

For the in-memory warehouse of rule tests: node by node in Python, which is right for thousands of spans and not for
millions. A test holds the two together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa

MAX_LEVELS: Final = 2_048

# Who a child means by a span id that a client and a server share is the server.
_RANKS: Final = {"server": 1, "consumer": 2, "internal": 3, "unspecified": 4, "client": 5}
_CALLING, _CALLED = frozenset({"client", "producer"}), frozenset({"server", "consumer"})

Span = tuple[Any, int, int | None, str]
"""Trace, id, parent and kind."""

SCHEMA: Final = pa.schema(
    [
        ("trace_id", pa.string()),
        ("span_id", pa.uint64()),
        ("kind", pa.string()),
        ("depth", pa.int32()),
        ("nested_left", pa.int64()),
        ("nested_right", pa.int64()),
        ("parent_left", pa.int64()),
        ("component_id", pa.int64()),
        ("is_root", pa.bool_()),
        ("is_orphan", pa.bool_()),
        ("is_cycle_cut", pa.bool_()),
        ("is_too_deep", pa.bool_()),
        ("child_count", pa.int64()),
        ("subtree_size", pa.int64()),
    ]
)


def shapes(spans: Sequence[Span]) -> pa.Table:
    """One row a span, whose columns are those of the model.

    Parameters
    ----------
    spans
        In order of start, id and kind.
    """
    traces: dict[Any, list[Span]] = defaultdict(list)
    for span in spans:
        traces[span[0]].append(span)
    rows = [row for trace in traces.values() for row in _shape(trace)]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _shape(spans: list[Span]) -> list[dict[str, Any]]:
    """Nodes are known by their place in the order of start."""
    linked = _links(spans)
    cycle_cuts = _cycle_cuts(linked)
    tied = [None if node in cycle_cuts else parent for node, parent in enumerate(linked)]
    too_deep = _too_deep(tied)
    tied = [None if node in too_deep or parent in too_deep else parent for node, parent in enumerate(tied)]
    children: dict[int | None, list[int]] = defaultdict(list)
    for node, parent in enumerate(tied):
        children[parent].append(node)
    depths, lefts, rights, components = _walk(children, len(spans))
    return [
        {
            "trace_id": str(trace_id),
            "span_id": span_id,
            "kind": kind,
            "depth": depths[node],
            "nested_left": lefts[node],
            "nested_right": rights[node],
            "parent_left": None if (above := tied[node]) is None else lefts[above],
            "component_id": components[node],
            "is_root": parent_id is None and linked[node] is None,
            "is_orphan": parent_id is not None and linked[node] is None,
            "is_cycle_cut": node in cycle_cuts,
            "is_too_deep": node in too_deep,
            "child_count": len(children.get(node, ())),
            "subtree_size": (rights[node] - lefts[node] + 1) // 2,
        }
        for node, (trace_id, span_id, parent_id, kind) in enumerate(spans)
    ]


def _links(spans: list[Span]) -> list[int | None]:
    """The parent of each node: its caller under the same id, or who receives calls under its parent's id."""
    receivers: dict[int, tuple[int, int]] = {}
    callers: dict[int, tuple[int, int]] = {}
    for node, (_trace, span_id, _parent, kind) in enumerate(spans):
        ranked = (_RANKS.get(kind, 6), node)
        receivers[span_id] = min(receivers.get(span_id, ranked), ranked)
        if kind in _CALLING:
            callers[span_id] = min(callers.get(span_id, ranked), ranked)
    links: list[int | None] = []
    for _trace, span_id, parent_id, kind in spans:
        found = callers.get(span_id) if kind in _CALLED else None
        if found is None and parent_id is not None:
            found = receivers.get(parent_id)
        links.append(found[1] if found else None)
    return links


def _cycle_cuts(linked: list[int | None]) -> set[int]:
    """The earliest node of each cycle."""
    cuts: set[int] = set()
    seen: dict[int, int] = {}
    for start in range(len(linked)):
        way: list[int] = []
        node: int | None = start
        while node is not None and node not in seen:
            seen[node] = start
            way.append(node)
            node = linked[node]
        if node is not None and seen[node] == start:
            cuts.add(min(way[way.index(node) :]))
    return cuts


def _too_deep(tied: list[int | None]) -> set[int]:
    """Nodes with too long a way to the top: each of them stands alone."""
    depths: dict[int, int] = {}
    for start in range(len(tied)):
        way: list[int] = []
        node: int | None = start
        while node is not None and node not in depths:
            way.append(node)
            node = tied[node]
        depth = -1 if node is None else depths[node]
        for one in reversed(way):
            depth += 1
            depths[one] = depth
    return {node for node, depth in depths.items() if depth >= MAX_LEVELS}


def _walk(children: dict[int | None, list[int]], size: int) -> tuple[list[int], list[int], list[int], list[int]]:
    """Depth, number on entering, number on leaving and component of each node; children and tops by start."""
    depths, lefts, rights, components = ([0] * size for _ in range(4))
    clock = 0
    for component, top in enumerate(children.get(None, ()), start=1):
        open_nodes = [(top, iter(children.get(top, ())))]
        clock += 1
        lefts[top], components[top] = clock, component
        while open_nodes:
            node, remaining = open_nodes[-1]
            child = next(remaining, None)
            clock += 1
            if child is None:
                rights[node] = clock
                open_nodes.pop()
                continue
            lefts[child], components[child], depths[child] = clock, component, len(open_nodes)
            open_nodes.append((child, iter(children.get(child, ()))))
    return depths, lefts, rights, components
