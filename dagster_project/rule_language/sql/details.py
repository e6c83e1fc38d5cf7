"""What is shown of scopes that are not satisfied: services, the lists that witnesses are taken from, reported values.

Computed after the verdicts, so that satisfied scopes cost nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from dagster_project.rule_language.limits import MAX_WITNESS_SPANS
from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.meaning.model import Type
from dagster_project.rule_language.planning.planner import Plan
from dagster_project.rule_language.rule_file import RESERVED_REPORT_NAME
from dagster_project.rule_language.sql.aggregates import QUANTILES, aggregate
from dagster_project.rule_language.sql.nodes import (
    ITEM,
    aliased,
    call,
    cast,
    column,
    every_of,
    filtered,
    item_row,
    joined,
    not_null,
    of,
    same,
    select,
    sorted_set,
    struct,
    table,
    text,
)
from dagster_project.rule_language.sql.witness import WitnessSql, full_from

_COUNTS_NULLS = {"sum", "avg", "min", "max", *QUANTILES}


@dataclass
class DetailsSql:
    """What is shown of scopes that are not satisfied: services, lists for the witness, reported values."""

    made: Plan
    scope: list[str]
    naming: list[exp.Expression]  # what names a scope, where the counters do not have it

    def shown(self, witness: WitnessSql) -> exp.Expression:
        """The items of those scopes, each with the first value of the fields whose values a witness contrasts."""
        columns: list[exp.Expression] = [exp.Column(this=exp.Star(), table=exp.to_identifier(ITEM, quoted=True))]
        for number in sorted(witness.lists.values):
            one = self.made.distincts[number]
            value, has_value = self._value(one), self._has_value(one)
            order = [
                exp.Not(this=exp.Paren(this=has_value)),
                *(column(name, ITEM) for name in ("at", "trace_id", "span_id")),
                value,
            ]
            window = exp.Window(
                this=call("first_value", value.copy()),
                partition_by=[column(name, ITEM) for name in self.scope],
                order=exp.Order(expressions=[exp.Ordered(this=part.copy(), nulls_first=False) for part in order]),
            )
            columns.append(aliased(window, f"g{number}"))
        columns += [column(full_from(*one), "a") for one in sorted(witness.lists.stretches)]
        query = select(*columns).from_(table("items", ITEM), copy=False)
        query = joined(query, "INNER", table("judged", "a"), same(ITEM, "a", *self.scope))
        return query.where(exp.NEQ(this=column("verdict", "a"), expression=text("satisfied")), copy=False)

    def details(self, witness: WitnessSql) -> exp.Expression:
        columns: list[exp.Expression] = [column(name, ITEM) for name in self.scope]
        columns += self.naming
        columns += [aliased(sorted_set(name), f"{name}s") for name in ("service_name", "service_version")]
        for number, count in sorted(witness.lists.firsts.items()):
            earliest = call("min", item_row(ITEM), exp.Literal.number(count))
            columns.append(aliased(filtered(earliest, column(f"t{number}", ITEM)), f"w{number}"))
        for number in sorted(witness.lists.counterexamples):
            columns.append(aliased(filtered(exp.Min(this=item_row(ITEM)), column(f"x{number}", ITEM)), f"y{number}"))
        for number in sorted(witness.lists.values):
            one = self.made.distincts[number]
            for kind, name in ((exp.EQ, f"v{number}"), (exp.NEQ, f"u{number}")):
                of_value = kind(this=self._value(one), expression=column(f"g{number}", ITEM))
                columns.append(
                    aliased(filtered(exp.Min(this=item_row(ITEM)), every_of([self._has_value(one), of_value])), name)
                )
        for number, count in sorted(witness.lists.stretches):
            matches = column(f"t{self.made.set_of(self.made.rates[number].items)}", ITEM)
            inside = of(exp.GTE, column("at", ITEM), column(full_from(number, count), ITEM))
            shown = min(count, MAX_WITNESS_SPANS)
            earliest = call("min", item_row(ITEM), exp.Literal.number(shown))
            columns.append(aliased(filtered(earliest, every_of([matches, inside])), f"l{number}_{count}"))
        for number, reported in enumerate(self.made.judgement.report):
            columns.append(aliased(self._reported(reported), f"r{number}"))
            if reported.function in _COUNTS_NULLS and reported.field is not None:
                columns.append(aliased(self._skipped(reported, reported.field), f"s{number}"))
        grouping = [column(name, ITEM) for name in self.scope]
        return select(*columns).from_(table("shown", ITEM), copy=False).group_by(*grouping, copy=False)

    def reported(self) -> exp.Expression:
        """The reported values as one JSON object, in the order of the rule, and how many items had no value."""
        arguments: list[exp.Expression] = []
        skipped: list[exp.Expression] = []
        for number, reported in enumerate(self.made.judgement.report):
            value: exp.Expression = column(f"r{number}", "r")
            if reported.function in {"count", "distinct"}:
                value = call("coalesce", value, exp.Literal.number(0))
            arguments += [text(reported.name), value]
            if reported.function in _COUNTS_NULLS:
                skipped += [text(reported.name), call("coalesce", column(f"s{number}", "r"), exp.Literal.number(0))]
        if skipped:
            arguments += [text(RESERVED_REPORT_NAME), call("json_object", *skipped)]
        return call("json_object", *arguments) if arguments else text("{}")

    def _value(self, one: model.Distinct) -> exp.Expression:
        return column(f"f{self.made.field_of(one.field)}", ITEM)

    def _has_value(self, one: model.Distinct) -> exp.Expression:
        return every_of([column(f"t{self.made.set_of(one.items)}", ITEM), not_null(self._value(one))])

    def _reported(self, reported: model.Reported) -> exp.Expression:
        matches = column(f"t{self.made.set_of(reported.items)}", ITEM)
        if reported.field is None or reported.function == "count":
            return filtered(exp.Count(this=exp.Star()), matches)
        value: exp.Expression = column(f"f{self.made.field_of(reported.field)}", ITEM)
        if reported.function == "distinct":
            return filtered(exp.Count(this=exp.Distinct(expressions=[value])), matches)
        if reported.function != "first":
            found = aggregate(reported.function, value, matches, reported.field.type)
            # The mean of moments in time is refused; sums and means of durations are nanoseconds.
            return _shown_value(found, reported.field.type)
        ordered = struct({**{name: column(name, ITEM) for name in ("at", "trace_id", "span_id")}, "v": value})
        earliest = filtered(exp.Min(this=ordered), every_of([matches, not_null(value.copy())]))
        return _shown_value(
            exp.Dot(this=exp.Paren(this=earliest), expression=exp.to_identifier("v")), reported.field.type
        )

    def _skipped(self, reported: model.Reported, read: model.Field) -> exp.Expression:
        matches = column(f"t{self.made.set_of(reported.items)}", ITEM)
        missing = exp.Paren(this=exp.Is(this=column(f"f{self.made.field_of(read)}", ITEM), expression=exp.null()))
        return filtered(exp.Count(this=exp.Star()), every_of([matches, missing]))


def _shown_value(value: exp.Expression, type_: Type) -> exp.Expression:
    """An attribute is shown as it was sent; a time as text, not as nanoseconds."""
    if type_ is Type.ANY:
        return cast(value, "JSON")
    if type_ is Type.TIME:
        return cast(call("make_timestamp_ns", value), "VARCHAR")
    return value
