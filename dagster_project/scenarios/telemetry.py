"""Telemetry of a stated shape, of any size, with a few violations of every kind planted; made by SQL, day by day.

Everything follows from a trace's number and a seed: the same shape is the same rows. `truth.*` says what is planted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Final

import duckdb

from dagster_project.scenarios.tables import DAY_US, create_tables, insert_made, seed_number, setting, silent

SPANS_PER_TRACE: Final = 5
SERVICES: Final = (
    *("gateway", "payments", "orders", "stock", "approvals", "cache", "storage", "identity", "catalogue", "basket"),
    *("search", "prices", "taxes", "shipping", "tracking", "returns", "reviews", "mail", "sms", "push"),
    *("ledger", "invoices", "fraud", "limits", "currency", "loyalty", "coupons", "images", "audit", "reports"),
)
# Operations that rules speak about, and the service of each; a story puts them in its traces.
OPERATIONS: Final = {
    "payment.charge": "payments",
    "order.place": "orders",
    "stock.reserve": "stock",
    "approval.granted": "approvals",
    "refund.issue": "payments",
    "cache.refresh": "cache",
    "db.write": "storage",
    "auth.login": "identity",
}
PLANTED: Final = (
    *("double_charges", "missing_reservations", "early_refunds", "writes_below_caches", "foreign_tenants"),
    *("refused_logins", "incomplete_traces"),
)


@dataclass(frozen=True)
class Shape:
    """What the telemetry looks like.

    A trace has five spans on average (4 to 6; deep ones a chain of `depth`) and takes a fraction of a second, long ones
    35 to 60 minutes. Three in ten place an order and reserve stock, one in ten each refunds, refreshes a cache, logs
    in. Other names follow Zipf's law (exponent 1) over 300 operations of 30 services. An order has four traces, half an
    hour apart, each with one charge; of one order in 200 one charge is a retry with the same intent, no violation.
    Every span has six attributes.

    Parameters
    ----------
    traces
        In all; `days` share them evenly.
    deep_per_mille, long_per_mille
        Of 1,000 traces so many are a chain of `depth` spans, and so many take most of an hour.
    violations
        Planted of each kind; at least one.
    incomplete
        Traces of which a root is missing or attributes were dropped.
    """

    traces: int = 20_000_000
    days: int = 90
    first_day: date = date(2024, 1, 1)
    deep_per_mille: int = 5
    depth: int = 24
    long_per_mille: int = 5
    violations: int = 500
    incomplete: int = 2_000
    seed: str = "hindcast"

    def __post_init__(self) -> None:
        if self.traces < 1_000 or self.days < 1 or self.depth < 20:
            raise ValueError("a shape has at least 1,000 traces, a day, and deep traces at least 20 deep")
        if not 0 <= self.deep_per_mille + self.long_per_mille <= 1_000:
            raise ValueError("deep and long traces together are at most 1,000 of 1,000")

    @property
    def quarter(self) -> int:
        """Traces of half an hour: so far apart are the traces of an order."""
        return max(1, self.traces // (self.days * 48))

    @property
    def spacing_us(self) -> int:
        return self.days * DAY_US // self.traces


_TRACES: Final = """
    create or replace temp table made_traces as
    with placed as (
        select
            i,
            i // (4 * getvariable('quarter')) as block,
            (i % (4 * getvariable('quarter'))) // getvariable('quarter') as part,
            i % getvariable('quarter') as inside,
            (i * 7919 + getvariable('seed')) % 1000 as slot,
            (hash(i, getvariable('seed')) >> 1)::bigint as dice
        from range($from_trace::bigint, $until_trace::bigint) as numbers (i)
    ),
    ordered as (
        select
            *,
            block * getvariable('quarter') + inside as order_number,
            (block + 1) * 4 * getvariable('quarter') <= getvariable('traces') as has_all_parts,
            slot < getvariable('deep') as is_deep,
            slot >= getvariable('deep') and slot < getvariable('deep') + getvariable('long') as is_long,
            dice % 1000 as story_dice,
            i % getvariable('trace_stride') as planted
        from placed
    ),
    storied as (
        select
            *,
            has_all_parts and order_number % getvariable('order_stride') = 0 as is_double_charge,
            has_all_parts and order_number % getvariable('order_stride') = 1 and part < 3 and not is_deep as is_storm,
            case
                when is_deep then case when planted = 3 then 'write below cache' else 'deep' end
                when planted = 1 then 'missing reservation'
                when planted = 2 then 'early refund'
                when planted = 3 then 'write below cache'
                when planted = 4 then 'foreign tenant'
                when story_dice < 300 then 'reserve'
                when story_dice < 400 then 'refund'
                when story_dice < 500 then 'cache'
                when story_dice < 600 then 'login'
                else 'plain'
            end as story_alone
        from ordered
    )
    select
        i, part, is_deep, is_storm, is_double_charge, order_number,
        md5(getvariable('seed') || '/' || i)::uuid as trace_id,
        getvariable('first_us') + i * getvariable('spacing_us') + (dice >> 20) % getvariable('spacing_us') as began_us,
        case
            when is_deep then getvariable('depth')
            when slot % 3 = 2 and slot < 1000 - getvariable('shorter') * 3 then 6
            when slot % 3 = 2 or slot % 3 = 1 then 5
            else 4
        end as spans,
        case when is_storm then 'login' else story_alone end as story,
        case when is_long then 600_000_000 else 20_000 + (dice >> 30) % 40_000 end as step_us,
        i >= $own_from::bigint as is_own,
        case
            when not has_all_parts or is_double_charge or is_storm
                or planted between 1 and 4 or i % getvariable('loss_stride') <> 5 then 'none'
            when is_deep or i // getvariable('loss_stride') % 2 = 0 then 'dropped'
            else 'root'
        end as loss,
        '"o-' || printf('%010d', order_number) || '"' as order_key,
        '"c-' || printf('%08d', order_number % getvariable('customers')) || '"' as customer_key,
        '"t-' || (order_number % getvariable('customers') % 50) || '"' as tenant_key,
        case
            when is_double_charge and part = 2 then 2
            when not is_double_charge and part = 1 and hash(order_number, getvariable('seed')) % 200 = 0 then 2
            else 1
        end as attempt
    from storied
"""

_NODES: Final = """
    create or replace temp table made_nodes as
    with nodes as (
        select
            t.*, j,
            hash(i, j, getvariable('seed')) as span_id,
            hash(i, case when is_deep then j - 1 when j % 2 = 1 then 0 else j - 1 end, getvariable('seed')) as above,
            case when is_deep then j when j = 0 then 0 when j % 2 = 1 then 1 else 2 end as whole_depth,
            case when is_deep then spans - j when j = 0 then spans when j % 2 = 1 and j + 1 < spans then 2 else 1 end
                as subtree_size,
            case
                when is_deep then (j + 1 < spans)::int
                when j = 0 then spans // 2
                else (j % 2 = 1 and j + 1 < spans)::int
            end as child_count
        from made_traces as t, unnest(range(spans)) as numbered (j)
    ),
    noisy as (select *, (span_id >> 1)::bigint as noise from nodes),
    called as (
        select
            *,
            case
                when j = 1 then 'payment.charge'
                when story = 'reserve' and j = 2 or story = 'missing reservation' and j = 2 then 'order.place'
                when story = 'reserve' and j = 3 then 'stock.reserve'
                when story = 'refund' and j = 2 or story = 'early refund' and j = 3 then 'approval.granted'
                when story = 'refund' and j = 3 or story = 'early refund' and j = 2 then 'refund.issue'
                when story = 'cache' and j = 2 or story = 'deep' and j = 5 then 'db.write'
                when story = 'cache' and j = 3 or story = 'deep' and j = 18 then 'cache.refresh'
                when story = 'write below cache' and j = (case when is_deep then 3 else 0 end) then 'cache.refresh'
                when story = 'write below cache' and j = spans - 1 then 'db.write'
                when story = 'login' and j = 2 then 'auth.login'
            end as operation,
            began_us + j * step_us + (noise >> 8) % (step_us // 4) as start_us
        from noisy
    )
    select
        c.trace_id, c.span_id, case when c.j > 0 then c.above end as parent_span_id,
        coalesce(o.service_name, n.service_name) as service_name,
        'v' || c.i // getvariable('release') as service_version,
        coalesce(o.span_name, n.span_name) as span_name,
        case when c.j = 0 then 'server' when c.j % 2 = 1 then 'client' else 'internal' end as kind,
        c.start_us, c.start_us + c.subtree_size * c.step_us - (c.noise >> 16) % (c.step_us // 2) as end_us,
        case when (c.noise >> 24) % 200 = 0 then 'error' else 'unset' end as status_code,
        case when c.loss = 'dropped' and c.j = 0 then 1 else 0 end as dropped,
        case when c.loss = 'root' then greatest(c.whole_depth - 1, 0) else c.whole_depth end as depth,
        case when c.loss = 'root' then c.j - 1 else c.j end as place,
        case when c.loss = 'root' then (c.j + 1) // 2 else 1 end as component_id,
        c.subtree_size, c.child_count,
        c.i, c.j, c.part, c.order_number, c.story, c.is_double_charge, c.is_storm, c.loss,
        not (c.loss = 'root' and c.j = 0) and make_timestamp(c.start_us)::date >= $from_day
        and make_timestamp(c.start_us)::date < $until_day as kept,
        c.is_own and not (c.loss = 'root' and c.j = 0) as is_whole,
        case when c.j <= 1 then c.order_key end as attr__order_id__any,
        case when c.j <= 1 or c.operation = 'auth.login' then c.customer_key end as attr__customer_id__any,
        case when c.j = 1 then
            '"pi_' || c.order_number || case when c.is_double_charge and c.part = 2 then 'b' else '' end || '"'
        end as attr__payment_intent_id__any,
        case when c.story = 'foreign tenant' and c.j = 2 then '"t-other"' else c.tenant_key end as attr__tenant_id__any,
        case when c.j = 1 then c.attempt::double end as attr__attempt__number,
        case when c.j = 1 then ((c.noise >> 12) % 50000 / 100)::double end as attr__amount__number,
        case
            when c.operation = 'auth.login'
                then case when c.is_storm or c.part < 2 and c.noise % 10 = 0 then 'refused' else 'ok' end
        end as attr__result__text
    from called as c
    left join operations as o on c.operation = o.span_name
    left join names as n on floor(pow(301, (c.span_id >> 11)::double / 9007199254740992))::int = n.rank
"""

# Six attributes each; what is not promoted takes few values, as labels of a deployment do.
_ATTRIBUTES: Final = """
    create or replace temp view made_spans as
    select
        *,
        case
            when j = 1 then
                '{"order_id":' || attr__order_id__any || ',"customer_id":' || attr__customer_id__any
                || ',"payment_intent_id":' || attr__payment_intent_id__any
                || ',"attempt":' || attr__attempt__number::int
                || ',"amount":' || attr__amount__number || ',"tenant_id":' || attr__tenant_id__any || '}'
            when j = 0 then
                '{"order_id":' || attr__order_id__any || ',"customer_id":' || attr__customer_id__any
                || ',"tenant_id":' || attr__tenant_id__any
                || ',"http.route":"/v1","http.status_code":200,"deployment.environment":"production"}'
            else
                '{' || coalesce(
                    '"customer_id":' || attr__customer_id__any || ',"result":"' || attr__result__text || '"',
                    '"thread.id":' || span_id % 4 || ',"zone":"' || chr(97 + (i % 3)::int) || '"'
                )
                || ',"tenant_id":' || attr__tenant_id__any
                || ',"region":"eu-1","host.arch":"amd64","deployment.environment":"production"}'
        end::json as attributes
    from made_nodes
"""

_TRUTH_TABLES: Final = """
    create or replace temp table made_story (story varchar, order_number bigint, key varchar, started_at timestamp_ns);
    create table truth.missing_reservations (trace_id uuid);
    create table truth.early_refunds (trace_id uuid);
    create table truth.writes_below_caches (trace_id uuid);
    create table truth.foreign_tenants (trace_id uuid);
    create table truth.incomplete_traces (trace_id uuid, loss varchar);
"""

_TRUTH: Final = (
    """
    insert into made_story
    select 'double charge', order_number, attr__order_id__any, make_timestamp_ns(start_us * 1000)
    from made_nodes where is_double_charge and j = 1 and is_whole
    """,
    """
    insert into made_story
    select 'refused logins', order_number, attr__customer_id__any, make_timestamp_ns(start_us * 1000)
    from made_nodes where is_storm and j = 2 and is_whole
    """,
    *(
        f"""
    insert into truth.{table} select trace_id from made_traces
    where story = '{story}' and is_own
    """  # noqa: S608  # both are written here
        for table, story in (
            ("missing_reservations", "missing reservation"),
            ("early_refunds", "early refund"),
            ("writes_below_caches", "write below cache"),
            ("foreign_tenants", "foreign tenant"),
        )
    ),
    "insert into truth.incomplete_traces select trace_id, loss from made_traces where loss <> 'none' and is_own",
)

# A visit with a deep trace has no login there: two refusals are no violation.
_TRUTH_OF_GROUPS: Final = (
    """
    create table truth.double_charges as
    select key as order_key, min(started_at) as first_at, max(started_at) as last_at
    from made_story where story = 'double charge' group by order_number, key
    """,
    """
    create table truth.refused_logins as
    select key as customer_key, min(started_at) as first_at, max(started_at) as last_at
    from made_story where story = 'refused logins' group by order_number, key having count(*) >= 3
    """,
    "drop table made_story",
)


def generate(connection: duckdb.DuckDBPyConnection, shape: Shape, said: Callable[[int, int], None] = silent) -> None:
    """Fill an empty database with the tables of a warehouse, and `truth.*` with what was planted.

    Spans are laid out by day, service, name and start, as in a warehouse. Memory does not grow with the shape: about
    two million spans are made at a time.

    Parameters
    ----------
    said
        Is told how many of how many days are written.
    """
    create_tables(connection)
    connection.execute(_TRUTH_TABLES)
    _settle(connection, shape)
    days_at_once = max(1, shape.days * 400_000 // shape.traces)
    last = shape.days + 1  # traces of the last evening end the day after
    for day in range(0, last, days_at_once):
        _write_days(connection, shape, day, min(day + days_at_once, last))
        said(min(day + days_at_once, shape.days), shape.days)
    for statement in _TRUTH_OF_GROUPS:
        connection.execute(statement)
    connection.execute("drop view made_spans")
    for table in ("made_nodes", "made_traces", "names", "operations"):
        connection.execute(f"drop table {table}")
    connection.execute("checkpoint")


def _settle(connection: duckdb.DuckDBPyConnection, shape: Shape) -> None:
    """Give the SQL the numbers of the shape, and the names of operations."""
    stride = _coprime(max(10, shape.traces // max(1, shape.violations)))
    settings = {
        "seed": seed_number(shape.seed),
        "traces": shape.traces,
        "quarter": shape.quarter,
        "deep": shape.deep_per_mille,
        "long": shape.long_per_mille,
        "depth": shape.depth,
        "shorter": _shorter(shape),
        "spacing_us": shape.spacing_us,
        "first_us": (shape.first_day - date(1970, 1, 1)).days * DAY_US,
        "trace_stride": stride,
        "order_stride": max(2, shape.traces // 4 // max(1, shape.violations)),
        "loss_stride": _coprime(max(10, shape.traces // max(1, shape.incomplete))),
        # A customer comes back after two days or more, so that visits of a customer are far apart.
        "customers": max(1, shape.traces // shape.days // 2),
        "release": max(1, shape.traces * 7 // shape.days),
    }
    for name, value in settings.items():
        setting(connection, name, value)
    connection.execute(
        "create or replace temp table names as"
        " select rank, $services[(rank - 1) % len($services) + 1] as service_name, 'operation.' || rank as span_name"
        " from range(1, 301) as ranks (rank)",
        {"services": list(SERVICES)},
    )
    connection.execute(
        "create or replace temp table operations as"
        " select unnest($names) as span_name, unnest($services) as service_name",
        {"names": list(OPERATIONS), "services": list(OPERATIONS.values())},
    )


def _shorter(shape: Shape) -> int:
    """How many of 1,000 traces lose their sixth span, so that five is the average in spite of the deep ones."""
    rest = range(shape.deep_per_mille, 1_000)
    spans = shape.deep_per_mille * shape.depth + sum(4 + slot % 3 for slot in rest)
    return max(0, min(spans - 1_000 * SPANS_PER_TRACE, len(rest) // 3))


def _coprime(number: int) -> int:
    """The next number that has no divisor with 1,000 in common: what is planted falls on traces of all lengths."""
    while number % 2 == 0 or number % 5 == 0:
        number += 1
    return number


def _write_days(connection: duckdb.DuckDBPyConnection, shape: Shape, day: int, until: int) -> None:
    """Write the spans that start on some days; traces of two hours before reach into the first of them."""
    own_from, own_until = (min(shape.traces, -(-one * DAY_US // shape.spacing_us)) for one in (day, until))
    reaching = 2 * 3_600_000_000 // shape.spacing_us + 1
    first = shape.first_day.toordinal()
    connection.execute(
        _TRACES, {"from_trace": max(0, own_from - reaching), "until_trace": own_until, "own_from": own_from}
    )
    connection.execute(
        _NODES, {"from_day": date.fromordinal(first + day), "until_day": date.fromordinal(first + until)}
    )
    connection.execute(_ATTRIBUTES)
    connection.execute("begin")
    insert_made(connection)
    for statement in _TRUTH:
        connection.execute(statement)
    connection.execute("commit")
