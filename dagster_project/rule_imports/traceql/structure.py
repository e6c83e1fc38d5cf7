"""Relations between two sets of spans: `>`, `>>`, `<`, `<<`, `~`, denied with `!`, both sides shown with `&`."""

from __future__ import annotations

from typing import Any, Final

from dagster_project.rule_imports.traceql.examples import examples_of_relation
from dagster_project.rule_imports.traceql.found import Found
from dagster_project.rule_imports.traceql.reading import Reading
from dagster_project.rule_language.writing.expression_text import Said

NOTHING_LEFT: Final = "a negated relation holds for every span on its right when nothing matches on its left"


def related(query: Reading, left: Found, op: str, right: Found, node: Any) -> Found:
    """The spans on the right that stand in the relation to one on the left.

    Raises
    ------
    Refusal
        A side is no set of spans, or asks something of the whole trace.
    """
    for side in (left, right):
        if side.of_trace:
            raise query.refuse(node, "trace:duration beside structure cannot be carried over")
        if side.text is None or (side.items is not None and side.spans is None):
            raise query.refuse(
                node, f"`{op}` between combinations of spansets, counts or events cannot be carried over"
            )
    if op.startswith("!"):
        query.assume(NOTHING_LEFT)
    plain = op.removeprefix("&")
    text = f"{left.text} {plain} {f'({right.text})' if right.is_structural else right.text}"
    examples = examples_of_relation(left.items, plain, right.items)
    # Both sides are shown by `&>>`; what exists is the same, but a count after it is not.
    is_union = op.startswith("&")
    condition = Said(f"any({text})", *examples)
    shown = examples[0] if plain in {">", ">>", "~"} else None
    return Found(condition, None, None if is_union else text, is_structural=True, related=shown)
