"""What a quantity was in the hours before → SQL: over the pooled items of earlier hours of the same key.

Hours that overlap an incident are left out. A baseline is of what was received and no loss widens it. Counts, sums and
extremes are put together from those of hours; quantiles and numbers of values look at the pooled items again.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from dagster_project.rule_language.meaning import model
from dagster_project.rule_language.meaning.model import Type
from dagster_project.rule_language.planning.planner import HOUR_NS, Plan
from dagster_project.rule_language.sql.aggregates import QUANTILES, aggregate
from dagster_project.rule_language.sql.grouping import HOUR, hour_of
from dagster_project.rule_language.sql.nodes import (
    ITEM,
    aliased,
    call,
    cast,
    column,
    every_of,
    filtered,
    in_query,
    integer,
    is_null,
    joined,
    not_null,
    of,
    one_of,
    same,
    select,
    stretch,
    table,
    text,
    timestamp,
    union_all,
)
from dagster_project.rule_language.sql.scan import Scan

_HOURS_A_DAY = 24
# As long as `open_incident_hours` of the policy lets an incident without an end last, unless somebody changes it.
_UNENDED_HOURS = 24


@dataclass(frozen=True)
class BaselineSql:
    """One baseline of a plan over the hours that `counted` has counted."""

    scan: Scan
    number: int

    @property
    def made(self) -> Plan:
        return self.scan.made

    @property
    def baseline(self) -> model.Baseline:
        return self.made.baselines[self.number]

    @property
    def scope(self) -> list[str]:
        return [*self.scan.keys, HOUR]

    def parts(self) -> list[tuple[str, exp.Expression]]:
        """Named queries; the last one has a row an hour: `value`, null where there is too little to go by."""
        found: list[tuple[str, exp.Expression]] = []
        if self.number == 0:
            found += [("incident_hours", self._incident_hours()), ("calm", self._calm())]
        found.append((self._name("held"), self._held()))
        of_baseline = self.baseline.of
        if isinstance(of_baseline, model.Count):
            found += [(self._name("heard"), self._heard())]
        elif self._looks_at_items:
            found += [(self._name("pooled"), self._pooled())]
        found.append((f"baseline{self.number}", self._of_hours()))
        return found

    def _name(self, part: str) -> str:
        return f"baseline{self.number}_{part}"

    @property
    def _looks_at_items(self) -> bool:
        of_baseline = self.baseline.of
        return isinstance(of_baseline, model.Distinct) or (
            isinstance(of_baseline, model.Aggregate) and of_baseline.function in QUANTILES
        )

    # Hours without incidents.

    @property
    def _service(self) -> str | None:
        """The key that holds the service, if the hours are of one."""
        group_by = self.made.judgement.group_by
        return self.scan.keys[group_by.index("service")] if "service" in group_by else None

    def _incident_hours(self) -> exp.Expression:
        """Each hour that an incident touches, up to the last that is judged, with the service as a key."""
        started, resolved, closed = (hour_of(column(name, "o")) for name in ("started_at", "resolved_at", "closed_at"))
        bounds = [select(kind(this=column(HOUR))).from_(table("counted"), copy=False) for kind in (exp.Min, exp.Max)]
        first, last = (exp.Subquery(this=bound) for bound in bounds)
        # One without an end may be open, or over without a time of it: it must not take every hour from then on.
        unended = of(exp.Add, started.copy(), integer(_UNENDED_HOURS))
        ends = call("least", call("coalesce", resolved, closed, unended), last)
        hours = call("range", call("greatest", started, first), of(exp.Add, ends, integer(1)))
        columns = [
            aliased(cast(call("to_json", column("service_name", "o")), "VARCHAR"), "service"),
            aliased(call("unnest", hours), HOUR),
        ]
        query = select(*columns).from_(self.scan.source.table("tickets", "o"), copy=False)
        return query.where(not_null(column("started_at", "o")), _takes_quiet(), copy=False).distinct(copy=False)

    def _is_calm(self, service: exp.Expression | None, hour: exp.Expression) -> exp.Expression:
        everyone = select(column(HOUR)).from_(table("incident_hours"), copy=False)
        if service is None:
            return exp.Not(this=exp.Paren(this=in_query(hour, everyone)))
        nameless = everyone.where(is_null(column("service")), copy=False)
        named = select(column("service"), column(HOUR)).from_(table("incident_hours"), copy=False)
        named = named.where(not_null(column("service")), copy=False)
        own = in_query(exp.Tuple(expressions=[service, hour.copy()]), named)
        return exp.Not(this=exp.Paren(this=one_of([in_query(hour, nameless), own])))

    def _calm(self) -> exp.Expression:
        service = column(self._service, "c") if self._service else None
        columns: list[exp.Expression] = [column(name, "c") for name in self.scope]
        columns.append(aliased(self._is_calm(service, column(HOUR, "c")), "is_calm"))
        return select(*columns).from_(table("counted", "c"), copy=False)

    # What each hour held, and what the hours before held together.

    def _held(self) -> exp.Expression:
        """Every hour with the calm items it adds to the pool, and what of the quantity can be put together."""
        grouping = [column(name, ITEM) for name in self.scope]
        matches = every_of([self._matches(), column("is_calm", "c")])
        columns = [*grouping, aliased(exp.CountIf(this=matches), "items")]
        of_baseline = self.baseline.of
        if isinstance(of_baseline, model.Aggregate) and not self._looks_at_items:
            columns += self._mergeable(of_baseline, matches)
        query = select(*columns).from_(table("items", ITEM), copy=False)
        query = joined(query, "INNER", table("calm", "c"), same(ITEM, "c", *self.scope))
        return query.group_by(*(one.copy() for one in grouping), copy=False)

    def _mergeable(self, one: model.Aggregate, matches: exp.Expression) -> list[exp.Expression]:
        value = self._field(one.field)
        if one.function in {"min", "max"}:
            return [aliased(aggregate(one.function, value, matches, one.field.type), "part")]
        valued = filtered(exp.Count(this=value.copy()), matches.copy())
        total: exp.Expression = value.copy()
        if one.field.type is not Type.DURATION:
            total = exp.TryCast(this=value.copy(), to=exp.DataType.build("DECIMAL(38, 9)", dialect="duckdb"))
        return [aliased(filtered(exp.Sum(this=total), matches.copy()), "part"), aliased(valued, "valued")]

    def _before(self, function: exp.Expression, alias: str) -> exp.Expression:
        """An aggregate over the hours that go into the baseline of the row's hour."""
        hour = column(HOUR, alias)
        partition: list[exp.Expression] = [column(name, alias) for name in self.scan.keys]
        if self.baseline.same_hour:
            partition.append(of(exp.Mod, hour, integer(_HOURS_A_DAY)))
        return stretch(function, partition, hour, -self._hours, -1)

    @property
    def _hours(self) -> int:
        return max(1, self.baseline.back_ns // HOUR_NS)

    def _pooled(self) -> exp.Expression:
        """A quantile or number of values of the pooled items, asked once an hour by a row that adds nothing itself."""
        of_baseline = self.baseline.of
        if not isinstance(of_baseline, (model.Aggregate, model.Distinct)):
            raise TypeError("counts are not pooled")
        columns = [column(name, ITEM) for name in self.scope]
        value = self._field(of_baseline.field)
        rows = select(*columns, aliased(value, "value"), aliased(exp.false(), "asks")).from_(
            table("items", ITEM), copy=False
        )
        rows = joined(rows, "INNER", table("calm", "c"), same(ITEM, "c", *self.scope))
        rows = rows.where(self._matches(), column("is_calm", "c"), not_null(value.copy()), copy=False)
        asking = select(
            *(column(name, "c") for name in self.scope), aliased(exp.null(), "value"), aliased(exp.true(), "asks")
        ).from_(table("calm", "c"), copy=False)
        both = exp.Subquery(
            this=union_all([rows, asking]), alias=exp.TableAlias(this=exp.to_identifier("u", quoted=True))
        )
        pooled = column("value", "u")
        if isinstance(of_baseline, model.Distinct):
            found: exp.Expression = exp.Count(this=exp.Distinct(expressions=[pooled]))
        else:
            found = call("quantile_disc", pooled, exp.Literal.number(QUANTILES[of_baseline.function]))
        answered = select(
            *(column(name, "u") for name in self.scope), column("asks", "u"), aliased(self._before(found, "u"), "value")
        ).from_(both, copy=False)
        inside = exp.Subquery(this=answered, alias=exp.TableAlias(this=exp.to_identifier("v", quoted=True)))
        kept = select(*(column(name, "v") for name in self.scope), column("value", "v")).from_(inside, copy=False)
        return kept.where(column("asks", "v"), copy=False)

    def _heard(self) -> exp.Expression:
        """For each hour, and service, the calm hours before it in which anything was received."""
        names = [self._service] if self._service else []
        asked = select(*(column(name, "c") for name in [*names, HOUR])).from_(table("counted", "c"), copy=False)
        asked_once = exp.Subquery(
            this=asked.distinct(copy=False), alias=exp.TableAlias(this=exp.to_identifier("q", quoted=True))
        )
        before = of(exp.Sub, column(HOUR, "q"), column(HOUR, "r"))
        on: list[exp.Expression] = [exp.Between(this=before, low=integer(1), high=integer(self._hours))]
        if self.baseline.same_hour:
            on.append(of(exp.EQ, of(exp.Mod, before, integer(_HOURS_A_DAY)), integer(0)))
        on.append(self._is_calm(column(self._service, "q") if self._service else None, column(HOUR, "r")))
        grouping = [column(name, "q") for name in [*names, HOUR]]
        query = select(*grouping, aliased(exp.Count(this=exp.Star()), "hours")).from_(asked_once, copy=False)
        hours = exp.Subquery(this=self._received(), alias=exp.TableAlias(this=exp.to_identifier("r", quoted=True)))
        query = joined(query, "INNER", hours, on[0])
        return query.where(*on[1:], copy=False).group_by(*(one.copy() for one in grouping), copy=False)

    def _received(self) -> exp.Expression:
        """The hours in which any span started; where log records are counted, or any of these came."""
        times = [("spans", "started_at")]
        if self.baseline.of.items.entity == "log":
            times.append(("logs", "occurred_at"))
        start = self.scan.source.start
        hours = []
        for name, at in times:
            query = select(aliased(hour_of(column(at, "s")), HOUR)).from_(self.scan.source.table(name, "s"), copy=False)
            if start is not None:
                earliest = of(exp.Sub, call("epoch_ns", timestamp(start)), integer(self.made.back_ns))
                query = query.where(of(exp.GTE, call("epoch_ns", column(at, "s")), earliest), copy=False)
            hours.append(query.distinct(copy=False))
        # A union without repeats, as an hour counts once.
        return hours[0] if len(hours) == 1 else exp.Union(this=hours[0], expression=hours[1], distinct=True)

    def _of_hours(self) -> exp.Expression:
        number = call("coalesce", self._before(exp.Sum(this=column("items", "h")), "h"), integer(0))
        columns: list[exp.Expression] = [column(name, "h") for name in self.scope]
        query = select().from_(table(self._name("held"), "h"), copy=False)
        of_baseline = self.baseline.of
        if isinstance(of_baseline, model.Count):
            names = [*([self._service] if self._service else []), HOUR]
            query = joined(query, "LEFT", table(self._name("heard"), "e"), same("h", "e", *names))
            value: exp.Expression = of(exp.Div, cast(number.copy(), "DOUBLE"), column("hours", "e"))
        elif self._looks_at_items:
            query = joined(query, "INNER", table(self._name("pooled"), "e"), same("h", "e", *self.scope))
            value = column("value", "e")
        else:
            value = self._merged()
        enough = of(exp.GTE, number, integer(self.baseline.at_least))
        if self.baseline.back_ns < HOUR_NS:
            enough = exp.false()
        columns.append(aliased(exp.Case().when(enough, value, copy=False), "value"))
        columns.append(aliased(exp.Not(this=exp.Paren(this=enough.copy())), "is_too_few"))
        query.set("expressions", columns)
        return query

    def _merged(self) -> exp.Expression:
        one = self.baseline.of
        part = column("part", "h")
        if isinstance(one, model.Aggregate) and one.function in {"min", "max"}:
            kind = exp.Min if one.function == "min" else exp.Max
            return self._before(kind(this=part), "h")
        total = call("coalesce", self._before(exp.Sum(this=part), "h"), integer(0))
        if isinstance(one, model.Aggregate) and one.function == "avg":
            valued = exp.Nullif(this=self._before(exp.Sum(this=column("valued", "h")), "h"), expression=integer(0))
            return of(exp.Div, cast(total, "DOUBLE"), valued)
        return total

    def _matches(self) -> exp.Expression:
        return column(f"t{self.made.set_of(self.baseline.of.items)}", ITEM)

    def _field(self, read: model.Field) -> exp.Expression:
        return column(f"f{self.made.field_of(read)}", ITEM)


def _takes_quiet() -> exp.Expression:
    """Whether an incident takes its hours from baselines.

    Alerts come all day, and tickets of no service are many and of anything: either would leave no quiet hour. In the
    incident file one of no service is of all of them.
    """
    system = column("system", "o")
    is_alert = exp.In(this=system, expressions=[text("alertmanager"), text("cloudwatch")])
    of_a_service = every_of([not_null(column("service_name", "o")), exp.Not(this=is_alert)])
    return one_of([exp.EQ(this=system.copy(), expression=text("incidents")), of_a_service])
