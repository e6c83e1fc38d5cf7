"""Orders that were charged twice, hidden among orders that only look so; and losses, seen and unseen, among them.

Every order is a story; which one follows from its number. `truth.*` says what an exhaustive replay of the payment rule
(`rules/payments/payment-idempotency.yml`, sessions of 24 hours) has to answer; it is written down from the stories, not
looked up in the spans.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from itertools import accumulate
from math import gcd
from typing import Final

import duckdb

from dagster_project.scenarios.tables import DAY_US, create_tables, insert_made, setting, silent

DEFAULT_VIOLATIONS: Final = 7_147
_AT_ONCE: Final = 250_000  # orders


@dataclass(frozen=True)
class DoubleCharges:
    """The scenario's size.

    Parameters
    ----------
    orders
        In all. Most have one charge of attempt 1.
    violations
        Orders charged with two intents in one session, in five ways: a retry at once, across midnight, exactly one gap
        later, by way of a third attempt (each within the gap, together beyond it), and in one trace.
    near_misses
        Of each kind: retries with the same intent (one in three across midnight), retries of two orders with one intent
        between them, and a new intent a microsecond more than the gap later.
    detectable_losses
        Orders whose last trace lost the span between root and charge, or its root, or an attribute that the sender
        counted: a third each, of all stories.
    hidden_losses
        Further orders charged twice, of which the second charge is lost: a leaf, which leaves no mark.
    """

    orders: int = 5_000_000
    violations: int = DEFAULT_VIOLATIONS
    near_misses: int = DEFAULT_VIOLATIONS
    detectable_losses: int = 0
    hidden_losses: int = 0
    days: int = 90
    first_day: date = date(2024, 1, 1)

    def __post_init__(self) -> None:
        if 2 * self.told > self.orders:
            raise ValueError(f"{self.orders} orders are too few to hide {self.told} among them")
        if self.detectable_losses * 7 > self.orders:
            raise ValueError(f"{self.detectable_losses} losses are too many for {self.orders} orders")

    @property
    def told(self) -> int:
        """Orders that have more to tell than one charge."""
        return self.violations + 3 * self.near_misses + self.hidden_losses


# What each story charges: attempt, trace, how much later, whether with a new intent.
_ATTEMPTS_OF: Final = {
    "plain": ((1, 1, 0, False),),
    "retry": ((1, 1, 0, False), (2, 2, 30_000_000, True)),
    "midnight": ((1, 1, 0, False), (2, 2, 30_000_000, True)),
    "edge": ((1, 1, 0, False), (2, 2, DAY_US, True)),
    "third": ((1, 1, 0, False), (2, 2, DAY_US // 6 * 5, False), (3, 3, DAY_US // 6 * 10, True)),
    "one trace": ((1, 1, 0, False), (2, 1, 30_000_000, True)),
    "same": ((1, 1, 0, False), (2, 2, 30_000_000, False)),
    "same at midnight": ((1, 1, 0, False), (2, 2, 30_000_000, False)),
    "shared": ((1, 1, 0, False), (2, 2, 30_000_000, False)),
    "outside": ((1, 1, 0, False), (2, 2, DAY_US + 1, True)),
    "hidden": ((1, 1, 0, False), (2, 2, 30_000_000, True)),
}

# The order's place in a shuffle decides its story; `story_number` counts the orders of one story.
_STORIES: Final = """
    create or replace temp table made_orders as
    with shuffled as (
        select
            number,
            (number::hugeint * getvariable('multiplier') + 17) % getvariable('orders') as seat,
            getvariable('begin_us') + number * getvariable('spacing_us') as about_us
        from range($from_order::bigint, $until_order::bigint) as numbers (number)
    ),
    told as (
        select
            number, seat::bigint as seat, about_us,
            case
                when seat < getvariable('until_violations') then
                    ['retry', 'midnight', 'edge', 'third', 'one trace'][1 + (seat % 5)::int]
                when seat < getvariable('until_same') then if(seat % 3 = 0, 'same at midnight', 'same')
                when seat < getvariable('until_shared') then 'shared'
                when seat < getvariable('until_outside') then 'outside'
                when seat < getvariable('until_hidden') then 'hidden'
                else 'plain'
            end as story
        from shuffled
    ),
    struck as (
        select
            *,
            case
                when story = 'hidden' or seat % getvariable('loss_stride') <> 0
                    or seat // getvariable('loss_stride') >= getvariable('losses') then 'none'
                else ['parent', 'root', 'dropped'][1 + (seat // getvariable('loss_stride') % 3)::int]
            end as loss
        from told
    )
    select
        *,
        '"o-' || printf('%09d', number) || '"' as order_key,
        '"c-' || printf('%07d', number % 1000003) || '"' as customer_key,
        case
            when story in ('midnight', 'same at midnight') then (about_us // 86400000000 + 1) * 86400000000 - 20000000
            else about_us
        end as first_us
    from struck
"""

# One row an attempt: `later_us` after the first; `trace` numbers the order's traces.
_ATTEMPTS: Final = """
    create or replace temp table made_attempts as
    select
        o.*, a.attempt, a.trace, o.first_us + a.later_us as charged_us,
        case
            when o.story = 'shared' then '"pi_s' || o.seat // 2 || '"'
            else '"pi_' || o.number || case when a.has_new_intent then 'n' else '' end || '"'
        end as intent_key
    from made_orders as o
    inner join story_attempts as a on o.story = a.story
"""

# A trace is root, checkout and charge; the attempts of one trace share root and checkout. A charge has a child (the
# provider's call), but for the one that is to be lost as a leaf: that one never was.
_SPANS: Final = """
    create or replace temp table made_spans as
    with traces as (
        select
            any_value(order_key) as order_key, any_value(customer_key) as customer_key, any_value(loss) as loss,
            any_value(seat) as seat, any_value(story) as story, number, trace, min(charged_us) as charged_us,
            count(*) as attempts, md5(number || '/' || trace)::uuid as trace_id,
            -- A loss strikes the order's last trace, so that it bears on both sessions of an order that has two.
            any_value(loss) in ('parent', 'root', 'dropped')
            and trace = max(trace) over (partition by number) as is_struck
        from made_attempts group by number, trace
    ),
    placed as (
        select *, 0 as place, 'root' as role, null::bigint as at_us, 1 as attempt, null as intent_key from traces
        union all
        select *, 1, 'checkout', null, 1, null from traces
        union all
        select
            t.*, 2 * row_number() over (partition by a.number, a.trace order by a.attempt), 'charge', a.charged_us,
            a.attempt, a.intent_key
        from traces as t inner join made_attempts as a using (number, trace)
        union all
        select
            t.*, 1 + 2 * row_number() over (partition by a.number, a.trace order by a.attempt), 'call',
            a.charged_us + 1000, a.attempt, null
        from traces as t inner join made_attempts as a using (number, trace)
    ),
    shaped as (
        select
            *,
            case role when 'root' then null when 'checkout' then 0 when 'charge' then 1 else place - 1 end as above,
            case role when 'root' then 0 when 'checkout' then 1 when 'charge' then 2 else 3 end as whole_depth,
            case role
                when 'root' then 2 + 2 * attempts when 'checkout' then 1 + 2 * attempts when 'charge' then 2 else 1
            end as whole_size,
            case role when 'checkout' then attempts when 'call' then 0 else 1 end as whole_children,
            coalesce(at_us, charged_us - if(role = 'root', 5000, 3000)) as start_us,
            is_struck and (loss = 'root' and role = 'root' or loss = 'parent' and role = 'checkout')
            or story = 'hidden' and trace = 2 and role in ('charge', 'call') as is_lost,
            is_struck and loss = 'root' as has_lost_root, is_struck and loss = 'parent' as has_lost_parent,
            story = 'hidden' and trace = 2 as has_lost_leaf
        from placed
    )
    select
        trace_id, hash(number, trace, place) as span_id,
        case when above is not null then hash(number, trace, above::bigint) end as parent_span_id,
        case role
            when 'root' then 'gateway' when 'checkout' then 'checkout' when 'charge' then 'payments' else 'provider'
        end as service_name,
        'v1' as service_version,
        case role
            when 'root' then 'POST /orders' when 'checkout' then 'checkout.submit' when 'charge' then 'payment.charge'
            else 'provider.call'
        end as span_name,
        case role when 'root' then 'server' when 'call' then 'client' else 'internal' end as kind,
        start_us, start_us + case role when 'root' then 40000000 when 'checkout' then 39000000 else 900 end as end_us,
        'unset' as status_code,
        case when is_struck and loss = 'dropped' and role = 'root' then 1 else 0 end as dropped,
        case
            when has_lost_root then whole_depth - 1
            when has_lost_parent then greatest(whole_depth - 2, 0)
            else whole_depth
        end as depth,
        case when has_lost_root or has_lost_parent and role <> 'root' then place - 1 else place end as place,
        case when has_lost_parent and role = 'root' then 1 when has_lost_leaf then least(whole_size, 2 - place)
            else whole_size end as subtree_size,
        case when has_lost_parent and role = 'root' or has_lost_leaf and role = 'checkout' then 0
            else whole_children end as child_count,
        case when has_lost_parent and role <> 'root' then place // 2 + 1 else 1 end as component_id,
        not is_lost as kept, not is_lost as is_whole,
        case when role = 'charge' then order_key when role = 'root' then order_key end as attr__order_id__any,
        case when role in ('root', 'charge') then customer_key end as attr__customer_id__any,
        case when role = 'charge' then intent_key end as attr__payment_intent_id__any,
        '"t-1"' as attr__tenant_id__any,
        case when role = 'charge' then attempt::double end as attr__attempt__number,
        case when role = 'charge' then 20::double end as attr__amount__number,
        null::varchar as attr__result__text,
        case role
            when 'charge' then
                '{"order_id":' || order_key || ',"customer_id":' || customer_key
                || ',"payment_intent_id":' || intent_key
                || ',"attempt":' || attempt || ',"amount":20.0,"tenant_id":"t-1"}'
            when 'root' then '{"order_id":' || order_key || ',"customer_id":' || customer_key || ',"tenant_id":"t-1"}'
            else '{"tenant_id":"t-1"}'
        end::json as attributes
    from shaped
"""

# What an exhaustive replay answers. A loss changes no violation: more spans never make two intents one.
_TRUTH_TABLES: Final = """
    create table truth.violations (order_key varchar, first_at timestamp_ns, last_at timestamp_ns, story varchar);
    create table truth.satisfied (order_key varchar, story varchar);
    create table truth.inconclusive (order_key varchar, first_at timestamp_ns, last_at timestamp_ns, story varchar);
    create table truth.hidden_violations (order_key varchar);
    create table truth.losses (order_key varchar, loss varchar);
"""

_TRUTH: Final = (
    """
    insert into truth.violations
    select order_key, make_timestamp_ns(min(charged_us) * 1000), make_timestamp_ns(max(charged_us) * 1000),
        any_value(story)
    from made_attempts where story in ('retry', 'midnight', 'edge', 'third', 'one trace') group by order_key
    """,
    """
    insert into truth.satisfied
    select order_key, story from made_orders
    where story in ('same', 'same at midnight', 'shared', 'outside') and loss = 'none'
    """,
    # An order with two sessions is in doubt in both: the lost span may have stood between them.
    """
    insert into truth.inconclusive
    select order_key, make_timestamp_ns(min(charged_us) * 1000), make_timestamp_ns(max(charged_us) * 1000),
        any_value(story)
    from made_attempts
    where loss <> 'none' and story in ('plain', 'same', 'same at midnight', 'shared', 'outside')
    group by order_key, case when story = 'outside' then attempt end
    """,
    "insert into truth.hidden_violations select order_key from made_orders where story = 'hidden'",
    "insert into truth.losses select order_key, loss from made_orders where loss <> 'none'",
)


def generate(
    connection: duckdb.DuckDBPyConnection,
    scenario: DoubleCharges,
    said: Callable[[int, int], None] = silent,
) -> None:
    """Fill an empty database with the tables of a warehouse, and `truth.*` with what a replay has to answer.

    Parameters
    ----------
    said
        Is told how many of how many orders are written.
    """
    create_tables(connection)
    connection.execute(_TRUTH_TABLES)
    _settle(connection, scenario)
    for first in range(0, scenario.orders, _AT_ONCE):
        until = min(first + _AT_ONCE, scenario.orders)
        connection.execute(_STORIES, {"from_order": first, "until_order": until})
        connection.execute(_ATTEMPTS)
        connection.execute(_SPANS)
        connection.execute("begin")
        insert_made(connection)
        for statement in _TRUTH:
            connection.execute(statement)
        connection.execute("commit")
        said(until, scenario.orders)
    for table in ("made_spans", "made_attempts", "made_orders", "story_attempts"):
        connection.execute(f"drop table {table}")
    connection.execute("checkpoint")


def _settle(connection: duckdb.DuckDBPyConnection, scenario: DoubleCharges) -> None:
    """Give the SQL the scenario's numbers and stories."""
    multiplier = 2_654_435_761 % scenario.orders
    while gcd(multiplier, scenario.orders) != 1:
        multiplier += 1
    # So that losses strike all stories, and as many plain orders; 7 keeps step with none of the stories' turns.
    stride = max(7, 2 * scenario.told // max(1, scenario.detectable_losses))
    while gcd(stride, 30) != 1:
        stride -= 1
    ends = [scenario.violations, *(3 * [scenario.near_misses]), scenario.hidden_losses]
    names = ("until_violations", "until_same", "until_shared", "until_outside", "until_hidden")
    settings = dict(zip(names, accumulate(ends), strict=True)) | {
        "orders": scenario.orders,
        "multiplier": multiplier,
        "loss_stride": stride,
        "losses": scenario.detectable_losses,
        "spacing_us": scenario.days * DAY_US // scenario.orders,
        "begin_us": (scenario.first_day - date(1970, 1, 1)).days * DAY_US,
    }
    for name, value in settings.items():
        setting(connection, name, value)
    connection.execute(
        "create or replace temp table story_attempts"
        " (story varchar, attempt int, trace bigint, later_us bigint, has_new_intent boolean)"
    )
    rows = [[story, *attempt] for story, attempts in _ATTEMPTS_OF.items() for attempt in attempts]
    connection.executemany("insert into story_attempts values (?, ?, ?, ?, ?)", rows)
