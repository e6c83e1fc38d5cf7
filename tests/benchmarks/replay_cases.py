"""What replays are measured with: rules, what is planted for them, and how others ask the same of the same data.

The others answer less: which scopes are violated, and no loss, witness, values or certificate. `replay.py` runs all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CHARGES = "payments/payment-idempotency"  # a file of rules/

RESERVATION = """
let: {place: span("order.place"), reserve: span("stock.reserve")}
when: any(place)
always: any(reserve)
"""
REFUND = """
let: {approval: span("approval.granted"), refund: span("refund.issue")}
when: any(refund)
always: approval before refund
"""
CACHE = """
never: any(span("cache.refresh") >> span("db.write"))
"""
LOGINS = """
group_by: customer_id
gap: 2h
let:
  refused: span("auth.login", result = "refused")
detect: count(refused) >= 3
"""
EVERY_ORDER = """
group_by: order_id
gap: 24h
let: {charge: span("payment.charge")}
always: distinct(charge.payment_intent_id) == 1
"""
PACK = (
    CHARGES,
    RESERVATION,
    REFUND,
    CACHE,
    LOGINS,
    "always: all(s in span(): s.tenant_id == root.tenant_id)",
    "detect: count(span(status = error)) >= 3",
    'detect: count(span("db.write")) > 1',
    'detect: any(span("payment.charge", duration > 35m))',
    'let: {charge: span("payment.charge")}\n'
    'when: any(charge where amount >= 499.98)\nalways: any(span("approval.granted"))',
    'always: all(span("order.place") where exists(tenant_id))',
    'when: any(span("refund.issue", status = error))\nalways: any(span("db.write"))',
)

_CHARGED = """
    select attr__order_id__any, min(started_at), max(started_at) from {spans} where span_name = 'payment.charge'
    group by attr__order_id__any
    having max(attr__attempt__number) > 1 and count(distinct attr__payment_intent_id__any) > 1
"""
_UNRESERVED = """
    select distinct trace_id from {spans} as placed
    where span_name = 'order.place' and not exists (
        select 1 from {spans} as reserved
        where reserved.trace_id = placed.trace_id and reserved.span_name = 'stock.reserve'
    )
"""
_UNRESERVED_NOT_IN = """
    select distinct trace_id from {spans} where span_name = 'order.place'
    and trace_id not in (select trace_id from {spans} where span_name = 'stock.reserve')
"""
_UNAPPROVED = """
    select distinct trace_id from {spans} as refund
    where span_name = 'refund.issue' and not exists (
        select 1 from {spans} as approval
        where approval.trace_id = refund.trace_id and approval.span_name = 'approval.granted'
            and approval.started_at < refund.started_at
    )
"""
_UNAPPROVED_JOINED = """
    select distinct refund.trace_id from {spans} as refund
    left join (
        select trace_id, min(started_at) as first_at from {spans} where span_name = 'approval.granted' group by trace_id
    ) as approval on refund.trace_id = approval.trace_id
    where refund.span_name = 'refund.issue' and (approval.trace_id is null or approval.first_at >= refund.started_at)
    settings join_use_nulls = 1
"""
_BELOW = """
    with recursive below as (
        select trace_id, span_id, span_name from {spans} where span_name = 'cache.refresh'
        union all
        select child.trace_id, child.span_id, child.span_name
        from {spans} as child inner join below
            on child.trace_id = below.trace_id and child.parent_span_id = below.span_id
    )
    select distinct trace_id from below where span_name = 'db.write'
"""


def _sessions(key: str, name: str, more: str, gap: str, having: str) -> str:
    return f"""
        with marked as (
            select *, case when {gap} then 1 else 0 end as opens
            from (
                select *, lag(started_at) over (partition by {key} order by started_at) as before
                from {{spans}} where span_name = '{name}' {more} and {key} is not null
            ) as ordered
        ), numbered as (select *, sum(opens) over (partition by {key} order by started_at) as session from marked)
        select {key}, session, min(started_at), max(started_at) from numbered group by {key}, session having {having}
    """  # all of it is written here


_REFUSED = ("attr__customer_id__any", "auth.login", "and attr__result__text = 'refused'")
_ALL_CHARGES = ("attr__order_id__any", "payment.charge", "")
_TWO_INTENTS = "count(distinct attr__payment_intent_id__any) > 1"
# In ClickHouse a missing `lag` is the beginning of time unless it is asked to be null; a gap follows either way.
_DUCK_GAP, _CLICK_GAP = "started_at - before > interval {hours} hour", "dateDiff('ns', before, started_at) > {ns}"


# --- the same in polars, on a lazy frame of the Parquet file ----------------------------------------------------------


def charged(spans: Any) -> int:
    import polars as pl

    found = (
        spans.filter(pl.col("span_name") == "payment.charge")
        .group_by("attr__order_id__any")
        .agg(
            pl.col("attr__attempt__number").max().alias("attempt"),
            pl.col("attr__payment_intent_id__any").n_unique().alias("intents"),
            pl.col("started_at").min().alias("first_at"),
            pl.col("started_at").max().alias("last_at"),
        )
        .filter((pl.col("attempt") > 1) & (pl.col("intents") > 1))
    )
    return int(found.collect(engine="streaming").height)


def unreserved(spans: Any) -> int:
    import polars as pl

    placed, reserved = (
        spans.filter(pl.col("span_name") == name).select("trace_id") for name in ("order.place", "stock.reserve")
    )
    return int(placed.join(reserved, on="trace_id", how="anti").unique().collect(engine="streaming").height)


def unapproved(spans: Any) -> int:
    import polars as pl

    refunds = spans.filter(pl.col("span_name") == "refund.issue").select("trace_id", "started_at")
    approvals = (
        spans.filter(pl.col("span_name") == "approval.granted")
        .group_by("trace_id")
        .agg(pl.col("started_at").min().alias("approved_at"))
    )
    late = pl.col("approved_at").is_null() | (pl.col("approved_at") >= pl.col("started_at"))
    found = refunds.join(approvals, on="trace_id", how="left").filter(late).select("trace_id").unique()
    return int(found.collect(engine="streaming").height)


def below(spans: Any) -> int:
    """Level by level, over the traces that have both names only."""
    import polars as pl

    caches, writes = (
        spans.filter(pl.col("span_name") == name).select("trace_id").unique() for name in ("cache.refresh", "db.write")
    )
    both = caches.join(writes, on="trace_id", how="semi").collect(engine="streaming").lazy()
    nodes = spans.select("trace_id", "span_id", "parent_span_id", "span_name")
    nodes = nodes.join(both, on="trace_id", how="semi").collect(engine="streaming")
    level = nodes.filter(pl.col("span_name") == "cache.refresh").select("trace_id", "span_id")
    found = level.select("trace_id").clear()
    while level.height:
        children = nodes.join(level, left_on=["trace_id", "parent_span_id"], right_on=["trace_id", "span_id"])
        found = pl.concat([found, children.filter(pl.col("span_name") == "db.write").select("trace_id")])
        level = children.select("trace_id", "span_id")
    return int(found.unique().height)


def _sessions_of(spans: Any, key: str, hours: int) -> Any:
    import polars as pl

    later = pl.col("started_at").diff().over(key) > pl.duration(hours=hours)
    number = later.fill_null(value=False).cast(pl.Int64).cum_sum().over(key).alias("session")
    return spans.sort(key, "started_at").with_columns(number).group_by(key, "session")


def refused(spans: Any) -> int:
    import polars as pl

    is_refused = (pl.col("span_name") == "auth.login") & (pl.col("attr__result__text") == "refused")
    logins = spans.filter(is_refused).select("attr__customer_id__any", "started_at")
    found = _sessions_of(logins, "attr__customer_id__any", 2).agg(pl.len().alias("n")).filter(pl.col("n") >= 3)
    return int(found.collect(engine="streaming").height)


def charged_in_session(spans: Any) -> int:
    import polars as pl

    key = "attr__order_id__any"
    charges = spans.filter(pl.col("span_name") == "payment.charge")
    charges = charges.select(key, "started_at", "attr__payment_intent_id__any")
    intents = pl.col("attr__payment_intent_id__any").n_unique().alias("intents")
    found = _sessions_of(charges, key, 24).agg(intents).filter(pl.col("intents") > 1)
    return int(found.collect(engine="streaming").height)


# --- cases ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One line of the table.

    Parameters
    ----------
    aim
        Seconds over 100 million spans on two cores; for other sizes it is shown all the same.
    rules
        Texts of rules typed in line, or names of files below rules/.
    planted
        The table of `truth` whose rows are the violations; None when that is not known.
    naive, chdb
        SQL over `{spans}`.
    data
        `usual`, or `deep`: a tenth of the spans, all in chains of 24.
    last_day
        Ask for the last day only.
    """

    name: str
    aim: float
    rules: tuple[str, ...]
    planted: str | None = None
    naive: str | None = None
    chdb: str | None = None
    polars: Callable[[Any], int] | None = None
    data: str = "usual"
    last_day: bool = False


def _catalogue() -> tuple[str, ...]:
    folder = ROOT / "rules"
    return tuple(sorted(str(file.relative_to(folder).with_suffix("")) for file in folder.glob("*/*.yml")))


CASES = (
    Case("Idempotency, selective", 1.5, (CHARGES,), "double_charges", _CHARGED, _CHARGED, charged),
    Case("A without B", 3, (RESERVATION,), "missing_reservations", _UNRESERVED, _UNRESERVED_NOT_IN, unreserved),
    Case("Order of A and B", 3, (REFUND,), "early_refunds", _UNAPPROVED, _UNAPPROVED_JOINED, unapproved),
    Case("Descendant", 4, (CACHE,), "writes_below_caches", _BELOW, None, below),
    Case("Descendant, depth 24", 4, (CACHE,), "writes_below_caches", _BELOW, None, below, data="deep"),
    Case(
        "Sessions, anchored",
        3,
        (LOGINS,),
        "refused_logins",
        _sessions(*_REFUSED, _DUCK_GAP.format(hours=2), "count(*) >= 3"),
        _sessions(*_REFUSED, _CLICK_GAP.format(ns=7_200 * 10**9), "count(*) >= 3"),
        refused,
    ),
    Case(
        "Sessions, every key judged",
        8,
        (EVERY_ORDER,),
        "double_charges",
        _sessions(*_ALL_CHARGES, _DUCK_GAP.format(hours=24), _TWO_INTENTS),
        _sessions(*_ALL_CHARGES, _CLICK_GAP.format(ns=86_400 * 10**9), _TWO_INTENTS),
        charged_in_session,
    ),
    Case("Twelve rules, 90 days", 20, PACK),
    Case("The catalogue, one day", 10, _catalogue(), last_day=True),
)
