"""The shape of traces against a reference that walks them in Python; many traces, one run of dbt."""

from collections import Counter
from datetime import datetime, timedelta
from time import perf_counter

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
NEARNESS = ("server", "consumer", "internal", "unspecified", "client", "producer")
BEGIN = datetime(2024, 1, 1, 10)


@st.composite
def traces(draw):
    """Spans of one trace: roots, orphans, cycles, ids shared by kinds, equal starts; {(id, kind): (parent, second)}."""
    ids = st.integers(1, 8)
    parents = st.one_of(st.none(), st.integers(1, 10))
    return draw(
        st.dictionaries(
            st.tuples(ids, st.sampled_from(KINDS)), st.tuples(parents, st.integers(0, 5)), min_size=1, max_size=14
        )
    )


def reference(spans):
    """Rows of int_trace_shape by node, from pointers and a walk."""
    ranked = {node: number for number, node in enumerate(sorted(spans, key=lambda node: (spans[node][1], *node)), 1)}

    def nearest(span_id, kinds):
        found = [node for node in spans if node[0] == span_id and node[1] in kinds]
        return min(found, key=lambda node: (NEARNESS.index(node[1]), ranked[node]), default=None)

    parent_of = {}
    for node, (parent, _) in spans.items():
        caller = nearest(node[0], {"client", "producer"}) if node[1] in {"server", "consumer"} else None
        parent_of[node] = caller or (None if parent is None else nearest(parent, set(KINDS)))
    roots = {node for node in spans if parent_of[node] is None and spans[node][0] is None}
    orphans = {node for node in spans if parent_of[node] is None} - roots
    cuts = {earliest_of_cycle(node, parent_of, ranked) for node in spans} - {None}
    children = {node: [] for node in spans}
    for node in sorted(spans, key=ranked.get):
        if parent_of[node] is not None and node not in cuts:
            children[parent_of[node]].append(node)
    tops = sorted(roots | orphans | cuts, key=ranked.get)
    rows, clock = {}, 0
    for component, top in enumerate(tops, start=1):
        stack = [(top, 0, False)]
        while stack:
            node, depth, is_left = stack.pop()
            clock += 1
            if is_left:
                rows[node]["right"] = clock
                continue
            rows[node] = {
                "depth": depth, "left": clock, "component": component, "children": len(children[node]),
                "flags": (node in roots, node in orphans, node in cuts),
            }  # fmt: skip
            stack.append((node, depth, True))
            stack.extend((child, depth + 1, False) for child in reversed(children[node]))
    return rows


def earliest_of_cycle(node, parent_of, ranked):
    """The earliest node of the cycle that the parents of `node` end in, or None when they end at a top."""
    seen = []
    while node is not None and node not in seen:
        seen.append(node)
        node = parent_of[node]
    return min(seen[seen.index(node) :], key=ranked.get) if node is not None else None


def built(warehouse):
    """Rows of int_trace_shape by trace and node, in the form of `reference`."""
    rows = warehouse.rows(
        "select right(trace_id::varchar, 12)::bigint, span_id, kind, depth, nested_left, nested_right, component_id,"
        " child_count, is_root, is_orphan, is_cycle_cut, subtree_size from intermediate.int_trace_shape"
    )
    shapes = {}
    for trace, span_id, kind, depth, left, right, component, children, *flags, size in rows:
        assert size == (right - left + 1) // 2
        shapes.setdefault(trace, {})[span_id, kind] = {
            "depth": depth, "left": left, "right": right, "component": component, "children": children,
            "flags": tuple(flags),
        }  # fmt: skip
    return shapes


def insert(warehouse, forests):
    warehouse.insert_spans(
        [
            {
                "line": trace, "trace": trace, "span": span_id, "kind": KINDS.index(kind), "parent": parent,
                "at": str(BEGIN + timedelta(seconds=second)),
            }
            for trace, spans in enumerate(forests, start=1)
            for (span_id, kind), (parent, second) in spans.items()
        ]
    )  # fmt: skip


def test_shapes_are_those_of_a_walk_in_python(shared_project, warehouse):
    forests = [CHAIN_OF_250, STAR_OF_5000, CYCLE_OF_300]

    @settings(max_examples=300, phases=[Phase.generate], database=None, deadline=None, derandomize=True)
    @given(traces())
    def collect(spans):
        forests.append(spans)

    collect()
    insert(warehouse, forests)
    shared_project.run(warehouse, "run", "-s", "+int_trace_shape")
    shapes = built(warehouse)
    for trace, spans in enumerate(forests, start=1):
        assert shapes[trace] == reference(spans), spans
    # The examples are of little use unless they hold all that is hard.
    kinds_of_tops = Counter(row["flags"] for shape in shapes.values() for row in shape.values())
    assert (
        min(kinds_of_tops[flags] for flags in [(True, False, False), (False, True, False), (False, False, True)]) > 50
    )


def test_what_lies_too_deep_stands_alone_and_is_soon_shaped(shared_project, warehouse):
    """A chain of 20,000, one that starts backwards, a cycle of 5,000, and a short cycle with a long tail."""
    chain = {(number, "internal"): (number - 1 or None, number) for number in range(1, 20_001)}
    backwards = {node: (parent, -second) for node, (parent, second) in chain.items()}
    cycle = {(number, "internal"): (number % 5000 + 1, number) for number in range(1, 5001)}
    tail = {(number, "internal"): (max(number - 1, 1), -number) for number in range(1, 5001)}
    insert(warehouse, [chain, backwards, cycle, tail, CHAIN_OF_250])
    started = perf_counter()
    shared_project.run(warehouse, "run", "-s", "+int_traces")
    assert perf_counter() - started < 60  # seconds; a walk with paths as text takes hours
    shapes = built(warehouse)
    for trace, (size, kept) in enumerate([(20_000, 2048), (20_000, 2048), (5000, 0), (5000, 2048)], start=1):
        rows = list(shapes[trace].values())
        numbers = sorted([row["left"] for row in rows] + [row["right"] for row in rows])
        assert numbers == list(range(1, 2 * size + 1))
        assert max(row["right"] - row["left"] for row in rows) // 2 + 1 >= kept
    assert warehouse.rows(
        "select right(trace_id::varchar, 1), span_count, too_deep_count, cycle_cut_count, is_complete"
        " from intermediate.int_traces order by 1"
    )[::3] == [("1", 20_000, 17_952, 0, False), ("4", 5000, 2952, 1, False)]
    flagged = "select count(*) from intermediate.int_traces where too_deep_count > 0 and not is_complete"
    assert warehouse.rows(flagged) == [(4,)]
    assert warehouse.rows("select sum(cycle_cut_count) from intermediate.int_traces") == [(1,)]


def test_a_trace_without_a_span_in_the_window_keeps_its_shape(shared_project, warehouse):
    warehouse.insert_spans([{"trace": 1}, {"trace": 2, "at": "2024-01-03 10:00:00"}])
    shared_project.run(warehouse, "run", "-s", "+int_trace_shape")
    # The late root of trace 2 lies in the window; its orphan of the day before becomes a child.
    warehouse.insert_spans(
        [
            {"load_id": 2, "trace": 2, "span": 5, "parent": 1, "at": "2024-01-02 10:00:00"},
            {"load_id": 2, "trace": 1, "span": 6},
        ]
    )
    shared_project.run(warehouse, "run", "-s", "+int_trace_shape", replay_from="2024-01-02", replay_until="2024-01-03")
    assert {trace: len(shape) for trace, shape in built(warehouse).items()} == {1: 1, 2: 2}


CHAIN_OF_250 = {(number, "internal"): (number - 1 or None, number) for number in range(1, 251)}
STAR_OF_5000 = {(number, "internal"): (None if number == 1 else 1, number % 7) for number in range(1, 5001)}
CYCLE_OF_300 = {(number, "internal"): (number % 300 + 1, number % 11) for number in range(1, 301)}
