{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        pre_hook="{{ delete_touched_traces(ref('stg_spans')) }}"
    )
}}

-- A node is (trace, span id, kind): Zipkin lets the client's and the server's span share one id.
{%- set doublings = 14 %}

with recursive spans as (
    select
        trace_id,
        span_id,
        parent_span_id,
        kind,
        started_at,
        started_on
    from {{ ref('stg_spans') }}
    where {{ touches_replay_window(ref('stg_spans')) }}
),

-- Within a trace a node is known by its number in order of start. Of two that share an id the one that receives
-- calls has the lower rank.
nodes as (
    select
        trace_id,
        span_id,
        parent_span_id,
        kind,
        started_on,
        case kind
            when 'server' then 1
            when 'consumer' then 2
            when 'internal' then 3
            when 'unspecified' then 4
            when 'client' then 5
            else 6
        end as kind_rank,
        row_number() over (partition by trace_id order by started_at, span_id, kind) as node
    from spans
),

-- Which node a child means by a parent's span id: the receiving one, when two share it.
receivers as (
    select
        trace_id,
        span_id,
        min(struct_pack(kind_rank := kind_rank, node := node)).node as node
    from nodes
    group by trace_id, span_id
),

-- Which node a receiving one that shares its id was called by.
callers as (
    select
        trace_id,
        span_id,
        min(struct_pack(kind_rank := kind_rank, node := node)).node as node
    from nodes
    where kind in ('client', 'producer')
    group by trace_id, span_id
    having count(*) > 0
),

linked as (
    select
        nodes.trace_id,
        nodes.span_id,
        nodes.kind,
        nodes.node,
        nodes.started_on,
        nodes.parent_span_id is null and callers.node is null as is_root,
        coalesce(callers.node, receivers.node) as parent_node
    from nodes
    left join callers
        on
            nodes.trace_id = callers.trace_id
            and nodes.span_id = callers.span_id
            and nodes.kind in ('server', 'consumer')
    left join receivers
        on
            nodes.trace_id = receivers.trace_id
            and nodes.parent_span_id = receivers.span_id
),

-- From every node without a parent downwards, a level a step. A path is the numbers of the nodes on the way, each
-- after its count of digits, so that text order is the order of a walk that takes children by start.
walk as (
    select
        trace_id,
        node,
        0 as depth,
        node as top_node,
        length(cast(node as varchar)) || cast(node as varchar) as path
    from linked
    where parent_node is null

    union all

    select
        linked.trace_id,
        linked.node,
        walk.depth + 1 as depth,
        walk.top_node,
        walk.path || length(cast(linked.node as varchar)) || cast(linked.node as varchar) as path
    from walk
    inner join linked
        on
            walk.trace_id = linked.trace_id
            and walk.node = linked.parent_node
),

-- What no such walk reaches hangs on a cycle. Following parents {{ 2 ** doublings }} times, by doubling, ends on the
-- cycle from wherever one starts, and passes all of it: its earliest node is where it is cut.
unreached as (
    select
        trace_id,
        node,
        parent_node
    from linked
    where
        parent_node is not null
        and not exists (
            select 1 from walk
            where linked.trace_id = walk.trace_id and linked.node = walk.node
        )
),

doubled_0 as (
    select
        trace_id,
        node,
        parent_node as ancestor,
        node as earliest
    from unreached
),

{% for step in range(doublings) %}
doubled_{{ step + 1 }} as (
    select
        near.trace_id,
        near.node,
        far.ancestor,
        least(near.earliest, far.earliest) as earliest
    from doubled_{{ step }} as near
    inner join doubled_{{ step }} as far
        on
            near.trace_id = far.trace_id
            and near.ancestor = far.node
),

{% endfor %}
cuts as (
    select distinct
        on_cycle.trace_id,
        on_cycle.node
    from doubled_{{ doublings }} as reached
    inner join doubled_{{ doublings }} as on_cycle
        on
            reached.trace_id = on_cycle.trace_id
            and reached.ancestor = on_cycle.node
    where on_cycle.earliest = on_cycle.node
),

walk_from_cuts as (
    select
        trace_id,
        node,
        0 as depth,
        node as top_node,
        length(cast(node as varchar)) || cast(node as varchar) as path
    from cuts

    union all

    select
        unreached.trace_id,
        unreached.node,
        walk_from_cuts.depth + 1 as depth,
        walk_from_cuts.top_node,
        walk_from_cuts.path || length(cast(unreached.node as varchar)) || cast(unreached.node as varchar) as path
    from walk_from_cuts
    inner join unreached
        on
            walk_from_cuts.trace_id = unreached.trace_id
            and walk_from_cuts.node = unreached.parent_node
    where
        not exists (
            select 1 from cuts
            where unreached.trace_id = cuts.trace_id and unreached.node = cuts.node
        )
),

walked as (
    select * from walk
    union all
    select * from walk_from_cuts
),

-- Opening and closing each node in the order of paths gives both numbers of its interval; '~' sorts after all digits.
events as (
    select
        trace_id,
        node,
        path as position
    from walked

    union all

    select
        trace_id,
        node,
        path || '~' as position
    from walked
),

numbered as (
    select
        trace_id,
        node,
        row_number() over (partition by trace_id order by position) as number
    from events
),

intervals as (
    select
        trace_id,
        node,
        min(number) as nested_left,
        max(number) as nested_right
    from numbered
    group by trace_id, node
),

children as (
    select
        linked.trace_id,
        linked.parent_node as node,
        count(*) as child_count
    from linked
    where
        linked.parent_node is not null
        and not exists (
            select 1 from cuts
            where linked.trace_id = cuts.trace_id and linked.node = cuts.node
        )
    group by linked.trace_id, linked.parent_node
),

components as (
    select
        trace_id,
        top_node,
        row_number() over (partition by trace_id order by top_node) as component_id
    from walked
    where depth = 0
),

final as (
    select
        linked.trace_id,
        linked.span_id,
        linked.kind,
        linked.started_on,
        walked.depth,
        intervals.nested_left,
        intervals.nested_right,
        components.component_id,
        linked.is_root,
        not linked.is_root and linked.parent_node is null as is_orphan,
        cuts.node is not null as is_cycle_cut,
        coalesce(children.child_count, 0) as child_count,
        (intervals.nested_right - intervals.nested_left + 1) // 2 as subtree_size
    from linked
    inner join walked
        on
            linked.trace_id = walked.trace_id
            and linked.node = walked.node
    inner join intervals
        on
            linked.trace_id = intervals.trace_id
            and linked.node = intervals.node
    inner join components
        on
            walked.trace_id = components.trace_id
            and walked.top_node = components.top_node
    left join children
        on
            linked.trace_id = children.trace_id
            and linked.node = children.node
    left join cuts
        on
            linked.trace_id = cuts.trace_id
            and linked.node = cuts.node
)

select *
from final
order by trace_id, nested_left
