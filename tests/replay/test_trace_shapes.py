"""The shapes of rule tests against the reference that the dbt model is held to."""

import importlib.util
from pathlib import Path

from hypothesis import given, settings

from dagster_project.replay.trace_shapes import MAX_LEVELS, shapes

_PATH = Path(__file__).parents[1] / "dbt/test_trace_shape.py"
_SPEC = importlib.util.spec_from_file_location("trace_shape_reference", _PATH)
reference = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(reference)


@settings(max_examples=300, deadline=None)
@given(reference.traces())
def test_shapes_are_those_of_the_dbt_model(trace):
    ordered = sorted(trace, key=lambda node: (trace[node][1], *node))
    found = shapes([("t", node[0], trace[node][0], node[1]) for node in ordered]).to_pylist()
    expected = reference.reference(trace)
    rows = {
        (row["span_id"], row["kind"]): {
            "depth": row["depth"],
            "left": row["nested_left"],
            "right": row["nested_right"],
            "component": row["component_id"],
            "children": row["child_count"],
            "flags": (row["is_root"], row["is_orphan"], row["is_cycle_cut"]),
        }
        for row in found
    }
    assert rows == expected
    lefts = {row["nested_left"]: row for row in found}
    for row in found:
        above = lefts.get(row["parent_left"])
        assert (above is None) == (row["depth"] == 0)
        if above:
            assert above["nested_left"] < row["nested_left"] < row["nested_right"] < above["nested_right"]
            assert above["depth"] == row["depth"] - 1


def test_what_lies_too_deep_stands_alone():
    chain = [("t", number, number - 1 or None, "internal") for number in range(1, MAX_LEVELS + 3)]
    rows = shapes(chain).to_pylist()
    assert [row["span_id"] for row in rows if row["is_too_deep"]] == [MAX_LEVELS + 1, MAX_LEVELS + 2]
    assert max(row["depth"] for row in rows) == MAX_LEVELS - 1
