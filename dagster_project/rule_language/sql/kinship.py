"""Structure: which spans are children, descendants, parents, ancestors or siblings of others → parts of a query.

Descent is read off the nested-set intervals of `int_trace_shape`: no walk, and no pairs. In the order in which a trace
is walked, a node lies below some other of a set when the furthest end of those before it is beyond its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from sqlglot import exp

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.sql.domain import Context, breadth, plain_parts
from dagster_project.rule_language.sql.entity import ALIASES, SPAN_KEY
from dagster_project.rule_language.sql.item import SHAPE
from dagster_project.rule_language.sql.nodes import (
    aliased,
    cast,
    column,
    every_of,
    in_query,
    is_true,
    joined,
    not_null,
    one_of,
    same,
    select,
    table,
    union_all,
)

if TYPE_CHECKING:
    from dagster_project.rule_language.sql.relation import Relations

Part = tuple[str, exp.Expression]
Said = TypeVar("Said", bound=exp.Expression)

_SPAN = ALIASES["span"]
_NAMES = ("service_name", "span_name")
_PLACES = ("nested_left", "nested_right", "parent_left", "component_id")
# Conditions on the span may join its shape, too, under the name that they know.
_PLACE, _OTHER, _ASKED, _EXTENT = "hp", "a", "b", "x"


def parts(relations: Relations, node: model.Related, number: int) -> list[Part]:
    """The parts that end in `r<number>`: spans with `state`, true for those so related, false where loss may tell."""
    name, contexts = f"r{number}", relations.contexts[number]
    others, asked = f"{name}_others", f"{name}_asked"
    loses = node.kinship in {"child", "descendant"}
    others_first = breadth(plain_parts(node.other.condition)) <= max(breadth(one.plain) for one in contexts)
    of_others = _others(relations, node, contexts, loses=loses)
    of_asked = _asked(relations, contexts)
    made: list[Part]
    if others_first and loses:
        extent = f"{name}_extent"
        made = [(others, of_others), (extent, _extent(others)), (asked, _in_extent(of_asked, extent))]
    elif others_first:
        made = [(others, of_others), (asked, of_asked.where(_of_traces(others), copy=False))]
    else:
        made = [(asked, of_asked), (others, of_others.where(_of_traces(asked), copy=False))]
    if node.kinship == "descendant":
        made += [(f"{name}_tops", _cut_tops(relations)), (f"{name}_walk", _walk_down(others, asked))]
        return [*made, (name, _descendants(name))]
    if node.kinship == "ancestor":
        return [*made, (f"{name}_walk", _walk_up(others, asked)), (name, _ancestors(name))]
    return [*made, (name, {"child": _children, "parent": _parents, "sibling": _siblings}[node.kinship](others, asked))]


def parents(relations: Relations) -> list[Part]:
    """The part that gives fields of the parents of spans, and says which spans lost theirs."""
    contexts = relations.parent_contexts
    bounds_name = "parents_asked"
    asked = _asked(relations, contexts)
    columns = [*(column(one, _ASKED) for one in SPAN_KEY), column("hangs_loose", _ASKED)]
    query = select(*columns, *relations.fields_of_span(relations.parent_fields))
    query = query.from_(table(bounds_name, _ASKED), copy=False)
    above = every_of(
        [
            same(_ASKED, SHAPE, "trace_id"),
            exp.EQ(this=column("parent_left", _ASKED), expression=column("nested_left", SHAPE)),
        ]
    )
    query = joined(query, "LEFT", relations.table_of("shapes", SHAPE), above)
    query = joined(query, "LEFT", relations.table_of("spans", _SPAN), same(SHAPE, _SPAN, *SPAN_KEY))
    return [(bounds_name, asked), ("parents", query)]


def _others(relations: Relations, node: model.Related, contexts: list[Context], *, loses: bool) -> exp.Select:
    """Where in their traces the spans are that are looked for; `state` is false of those that may be such."""
    inside = relations.item_sql.condition(node.other.condition, "span")
    columns = [column("trace_id", _SPAN), *(column(one, _PLACE) for one in _PLACES)]
    query = _with_places(relations, select(*columns, aliased(is_true(inside), "state")))
    query = relations.joined_to(query, "span", [node.other.condition])
    named = _named(relations, [Context(plain_parts(node.other.condition), bounded=False)])
    kept = [*relations.members(node.other, unknown=loses), *relations.bounds_of_others(contexts)]
    return _off_shapes(relations, query.where(*kept, *named, copy=False))


def _asked(relations: Relations, contexts: list[Context]) -> exp.Select:
    """Where in their traces the spans are of which it is asked."""
    columns = [*(column(one, _SPAN) for one in SPAN_KEY), *(column(one, _PLACE) for one in _PLACES)]
    without = exp.Paren(this=exp.Is(this=column("parent_left", _PLACE), expression=exp.null()))
    hangs_loose = every_of([without, exp.Not(this=column("is_root", _PLACE))])
    query = _with_places(relations, select(*columns, aliased(hangs_loose, "hangs_loose")))
    query = query.where(*relations.domain("span", contexts), *_named(relations, contexts), copy=False)
    return _off_shapes(relations, query)


def _with_places(relations: Relations, query: exp.Select) -> exp.Select:
    query = query.from_(relations.table_of("spans", _SPAN), copy=False)
    return joined(query, "INNER", relations.table_of("shapes", _PLACE), same(_SPAN, _PLACE, *SPAN_KEY))


def _named(relations: Relations, contexts: list[Context]) -> list[exp.Expression]:
    """What the spans are called, said of their shapes, which are sorted by it: most need not be read."""
    if not relations.shapes_have_names:
        return []
    return [_of_shapes(one) for one in relations.domain("span", [context.of_names() for context in contexts])]


def _off_shapes(relations: Relations, query: exp.Select) -> exp.Select:
    """The same read off the shapes alone, where nothing is said that they do not say."""
    read = {one.name for one in query.find_all(exp.Column) if one.table == _SPAN}
    is_nested = sum(one.alias == _SPAN for one in query.find_all(exp.Table)) > 1
    if not relations.shapes_have_names or is_nested or not read <= {*SPAN_KEY, *_NAMES}:
        return query
    query.set("joins", query.args["joins"][1:])
    return _of_shapes(query).from_(relations.table_of("shapes", _PLACE), copy=False)


def _of_shapes(part: Said) -> Said:
    """The same of the shape of a span: columns of both have the same names."""
    for one in list(part.find_all(exp.Column)):
        if one.table == _SPAN:
            one.set("table", exp.to_identifier(_PLACE, quoted=True))
    return part


def _of_traces(name: str, of: str | None = _PLACE) -> exp.Expression:
    """Of a trace that the other side occurs in."""
    return in_query(column("trace_id", of), select(column("trace_id")).from_(table(name), copy=False))


def _extent(others: str) -> exp.Select:
    """From the first entry to the last exit of the others of each trace: who is below one of them lies inside."""
    low, high = exp.Min(this=column("nested_left")), exp.Max(this=column("nested_right"))
    query = select(column("trace_id"), aliased(low, "low"), aliased(high, "high")).from_(table(others), copy=False)
    return query.group_by(column("trace_id"), copy=False)


def _in_extent(asked: exp.Select, extent: str) -> exp.Select:
    """Spans that may be below some other, and those of traces of which something was lost."""
    asked = joined(asked, "LEFT", table(extent, _EXTENT), same(_PLACE, _EXTENT, "trace_id"))
    begins = exp.LT(this=column("low", _EXTENT), expression=column("nested_left", _PLACE))
    ends = exp.LT(this=column("nested_right", _PLACE), expression=column("high", _EXTENT))
    return asked.where(one_of([every_of([begins, ends]), _of_traces("broken")]), copy=False)


def _keys_with(state: exp.Expression) -> exp.Select:
    return select(*(column(one, _ASKED) for one in SPAN_KEY), aliased(state, "state"))


def _below(parent: str, child: str) -> exp.Expression:
    """The node of one table is the parent of that of the other."""
    tie = exp.EQ(this=column("parent_left", child), expression=column("nested_left", parent))
    return every_of([same(parent, child, "trace_id"), tie])


def _children(others: str, asked: str) -> exp.Select:
    query = _keys_with(is_true(column("state", _OTHER))).from_(table(asked, _ASKED), copy=False)
    query = joined(query, "LEFT", table(others, _OTHER), _below(_OTHER, _ASKED))
    found = not_null(column("state", _OTHER))
    return query.where(one_of([found, column("hangs_loose", _ASKED)]), copy=False)


def _parents(others: str, asked: str) -> exp.Select:
    query = _keys_with(exp.true()).from_(table(asked, _ASKED), copy=False)
    tie = exp.Tuple(expressions=[column("trace_id", _ASKED), column("nested_left", _ASKED)])
    chosen = select(column("trace_id"), column("parent_left")).from_(table(others), copy=False)
    return query.where(in_query(tie, chosen.where(not_null(column("parent_left")), copy=False)), copy=False)


def _siblings(others: str, asked: str) -> exp.Select:
    """More of the others below the parent than the span itself."""
    counted = select(column("trace_id"), column("parent_left"), aliased(exp.Count(this=exp.Star()), "others")).from_(
        table(others), copy=False
    )
    counted = counted.where(not_null(column("parent_left")), copy=False)
    counted = counted.group_by(column("trace_id"), column("parent_left"), copy=False)
    below = exp.Subquery(this=counted, alias=exp.TableAlias(this=exp.to_identifier("g", quoted=True)))
    query = _keys_with(exp.true()).from_(table(asked, _ASKED), copy=False)
    query = joined(query, "INNER", below, same(_ASKED, "g", "trace_id", "parent_left"))
    query = joined(query, "LEFT", table(others, _OTHER), same(_ASKED, _OTHER, "trace_id", "nested_left"))
    itself = exp.Case().when(not_null(column("state", _OTHER)), exp.Literal.number(1), copy=False)
    itself = itself.else_(exp.Literal.number(0), copy=False)
    return query.where(exp.GT(this=column("others", "g"), expression=itself), copy=False)


def _cut_tops(relations: Relations) -> exp.Select:
    """The components whose top hung on something that was lost or cut; all are of incomplete traces."""
    query = select(column("trace_id", SHAPE), column("component_id", SHAPE))
    query = query.from_(relations.table_of("shapes", SHAPE), copy=False)
    is_top = exp.EQ(this=column("depth", SHAPE), expression=exp.Literal.number(0))
    # Compared, not negated: the engine then looks at it before it reads the other columns.
    is_no_root = exp.EQ(this=column("is_root", SHAPE), expression=exp.false())
    return query.where(is_top, is_no_root, copy=False)


def _walk_down(others: str, asked: str) -> exp.Select:
    """The spans asked of, each with the furthest ends of the others that were entered before it."""
    sure, maybe = (_end_if(state=state) for state in (True, False))
    null = exp.null()
    from_others = select(
        column("trace_id"), aliased(column("nested_left"), "place"), aliased(sure, "sure_end"),
        aliased(maybe, "maybe_end"), aliased(cast(null, "UBIGINT"), "span_id"), aliased(cast(null, "VARCHAR"), "kind"),
        aliased(cast(null, "BIGINT"), "nested_right"), aliased(cast(null, "BIGINT"), "component_id"),
    ).from_(table(others), copy=False).where(_of_traces(asked, None), copy=False)  # fmt: skip
    from_asked = select(
        column("trace_id"), column("nested_left"), null, null, column("span_id"), column("kind"),
        column("nested_right"), column("component_id"),
    ).from_(table(asked), copy=False)  # fmt: skip
    walked = exp.Subquery(
        this=union_all([from_others, from_asked]), alias=exp.TableAlias(this=exp.to_identifier(_ASKED, quoted=True))
    )
    kept = [column(one, _ASKED) for one in (*SPAN_KEY, "nested_right", "component_id")]
    furthest = [aliased(_so_far(column(one, _ASKED)), one) for one in ("sure_end", "maybe_end")]
    return select(*kept, *furthest).from_(walked, copy=False)


def _end_if(*, state: bool) -> exp.Expression:
    is_so: exp.Expression = column("state") if state else exp.Not(this=column("state"))
    return cast(exp.Case().when(is_so, column("nested_right"), copy=False), "BIGINT")


def _so_far(value: exp.Expression) -> exp.Expression:
    """The greatest of the rows of the trace up to this one."""
    return exp.Window(
        this=exp.Max(this=value),
        partition_by=[column("trace_id", _ASKED)],
        order=exp.Order(expressions=[exp.Ordered(this=column("place", _ASKED), nulls_first=False)]),
        spec=exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="CURRENT ROW"),
    )


def _descendants(name: str) -> exp.Select:
    """A span's own end is not beyond itself, so a span is not below itself."""
    sure, maybe = (
        is_true(exp.Paren(this=exp.GT(this=column(one, _ASKED), expression=column("nested_right", _ASKED))))
        for one in ("sure_end", "maybe_end")
    )
    query = _keys_with(sure).from_(table(f"{name}_walk", _ASKED), copy=False)
    query = joined(query, "LEFT", table(f"{name}_tops", "t"), same(_ASKED, "t", "trace_id", "component_id"))
    hangs_loose = not_null(column("trace_id", "t"))
    return query.where(not_null(column("span_id", _ASKED)), one_of([sure.copy(), maybe, hangs_loose]), copy=False)


def _walk_up(others: str, asked: str) -> exp.Select:
    """The spans asked of as they are left, each with the last of the others that was entered before."""
    null = exp.null()
    from_others = select(
        column("trace_id"), aliased(column("nested_left"), "place"), aliased(column("nested_left"), "entered"),
        aliased(cast(null, "UBIGINT"), "span_id"), aliased(cast(null, "VARCHAR"), "kind"),
        aliased(cast(null, "BIGINT"), "nested_left"),
    ).from_(table(others), copy=False).where(_of_traces(asked, None), copy=False)  # fmt: skip
    from_asked = select(
        column("trace_id"), column("nested_right"), null, column("span_id"), column("kind"), column("nested_left")
    ).from_(table(asked), copy=False)
    walked = exp.Subquery(
        this=union_all([from_others, from_asked]), alias=exp.TableAlias(this=exp.to_identifier(_ASKED, quoted=True))
    )
    kept = [column(one, _ASKED) for one in (*SPAN_KEY, "nested_left")]
    return select(*kept, aliased(_so_far(column("entered", _ASKED)), "entered")).from_(walked, copy=False)


def _ancestors(name: str) -> exp.Select:
    query = _keys_with(exp.true()).from_(table(f"{name}_walk", _ASKED), copy=False)
    inside = exp.GT(this=column("entered", _ASKED), expression=column("nested_left", _ASKED))
    return query.where(not_null(column("span_id", _ASKED)), inside, copy=False)
