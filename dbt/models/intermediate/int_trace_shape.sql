{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        pre_hook="{{ delete_touched_traces(ref('stg_spans')) }}"
    )
}}

-- A node is (trace, span id, kind): Zipkin lets the client's and the server's span share one id.
-- Nothing is walked level by level: whatever is wanted of a way up is put together by doubling, from what is known of
-- its first half and of the node that the half ends at. So time grows with the number of spans, not with depth, and
-- ways of 2 ** doublings steps and more are too long.
{%- set doublings = 11 %}

with spans as (
    select
        trace_id,
        span_id,
        parent_span_id,
        kind,
        service_name,
        span_name,
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
        service_name,
        span_name,
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
        nodes.service_name,
        nodes.span_name,
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

-- The {{ 2 ** doublings }}th ancestor, and the earliest node on the way there. Who has none drops out.
ancestors_0 as (
    select
        trace_id,
        node,
        parent_node as ancestor,
        node as earliest
    from linked
    where parent_node is not null
),

{% for step in range(doublings) %}
ancestors_{{ step + 1 }} as (
    select
        near.trace_id,
        near.node,
        far.ancestor,
        least(near.earliest, far.earliest) as earliest
    from ancestors_{{ step }} as near
    inner join ancestors_{{ step }} as far
        on
            near.trace_id = far.trace_id
            and near.ancestor = far.node
),

{% endfor %}
-- So long a way has gone all round a cycle, which is cut at its earliest node; or it is just long.
cuts as (
    select distinct
        on_cycle.trace_id,
        on_cycle.node
    from ancestors_{{ doublings }} as reached
    inner join ancestors_{{ doublings }} as on_cycle
        on
            reached.trace_id = on_cycle.trace_id
            and reached.ancestor = on_cycle.node
    where on_cycle.earliest = on_cycle.node
),

climb_0 as (
    select
        linked.trace_id,
        linked.node,
        linked.parent_node as ancestor
    from linked
    where
        linked.parent_node is not null
        and not exists (
            select 1 from cuts
            where linked.trace_id = cuts.trace_id and linked.node = cuts.node
        )
),

{% for step in range(doublings) %}
climb_{{ step + 1 }} as (
    select
        near.trace_id,
        near.node,
        far.ancestor
    from climb_{{ step }} as near
    inner join climb_{{ step }} as far
        on
            near.trace_id = far.trace_id
            and near.ancestor = far.node
),

{% endfor %}
too_deep as (
    select
        trace_id,
        node
    from climb_{{ doublings }}
),

-- What lies too deep stands alone, each node by itself; all else is a forest.
{% for step in range(doublings) %}
path_{{ step }} as (
    select *
    from climb_{{ step }} as climb
    where
        not exists (
            select 1 from too_deep
            where climb.trace_id = too_deep.trace_id and climb.node = too_deep.node
        )
),

{% endfor %}
forest as (
    select
        linked.trace_id,
        linked.node,
        path_0.ancestor as parent_node
    from linked
    left join path_0
        on
            linked.trace_id = path_0.trace_id
            and linked.node = path_0.node
),

-- Nodes of a subtree down to {{ 2 ** doublings }} levels: those of its upper half, and those below each node that the
-- half ends at.
size_0 as (
    select
        trace_id,
        node,
        cast(1 as bigint) as subtree_size
    from forest
),

{% for step in range(doublings) %}
below_{{ step }} as (
    select
        path.trace_id,
        path.ancestor as node,
        cast(sum(size.subtree_size) as bigint) as subtree_size
    from path_{{ step }} as path
    inner join size_{{ step }} as size
        on
            path.trace_id = size.trace_id
            and path.node = size.node
    group by path.trace_id, path.ancestor
),

size_{{ step + 1 }} as (
    select
        size.trace_id,
        size.node,
        size.subtree_size + coalesce(below.subtree_size, 0) as subtree_size
    from size_{{ step }} as size
    left join below_{{ step }} as below
        on
            size.trace_id = below.trace_id
            and size.node = below.node
),

{% endfor %}
-- A walk that takes children by start enters a node one after its parent, and two later for each node of the subtrees
-- of earlier siblings; the tops of a trace are siblings too. The sum of this on the way up is the node's number.
walk_0 as (
    select
        forest.trace_id,
        forest.node,
        0 as depth,
        forest.node as top_node,
        1 + 2 * cast(coalesce(sum(size.subtree_size) over (
            partition by forest.trace_id, forest.parent_node
            order by forest.node
            rows between unbounded preceding and 1 preceding
        ), 0) as bigint) as nested_left
    from forest
    inner join size_{{ doublings }} as size
        on
            forest.trace_id = size.trace_id
            and forest.node = size.node
),

{% for step in range(doublings) %}
above_{{ step }} as (
    select
        path.trace_id,
        path.node,
        walk.depth,
        walk.top_node,
        walk.nested_left
    from path_{{ step }} as path
    inner join walk_{{ step }} as walk
        on
            path.trace_id = walk.trace_id
            and path.ancestor = walk.node
),

walk_{{ step + 1 }} as (
    select
        walk.trace_id,
        walk.node,
        coalesce(above.depth + {{ 2 ** step }}, walk.depth) as depth,
        coalesce(above.top_node, walk.top_node) as top_node,
        walk.nested_left + coalesce(above.nested_left, 0) as nested_left
    from walk_{{ step }} as walk
    left join above_{{ step }} as above
        on
            walk.trace_id = above.trace_id
            and walk.node = above.node
),

{% endfor %}
walked as (
    select * from walk_{{ doublings }}
),

children as (
    select
        trace_id,
        parent_node as node,
        count(*) as child_count
    from forest
    where parent_node is not null
    group by trace_id, parent_node
),

components as (
    select
        trace_id,
        top_node,
        row_number() over (partition by trace_id order by top_node) as component_id
    from walked
    where depth = 0
),

-- A cut that did not part a node from its own descendant parted no cycle.
cycle_cuts as (
    select
        cuts.trace_id,
        cuts.node
    from cuts
    inner join linked
        on
            cuts.trace_id = linked.trace_id
            and cuts.node = linked.node
    inner join walked
        on
            linked.trace_id = walked.trace_id
            and linked.parent_node = walked.node
    where walked.top_node = cuts.node
),

final as (
    select
        linked.trace_id,
        linked.span_id,
        linked.kind,
        linked.started_on,
        linked.service_name,
        linked.span_name,
        walked.depth,
        walked.nested_left,
        walked.nested_left + 2 * size.subtree_size - 1 as nested_right,
        parents.nested_left as parent_left,
        components.component_id,
        linked.is_root,
        not linked.is_root and linked.parent_node is null as is_orphan,
        cycle_cuts.node is not null as is_cycle_cut,
        linked.parent_node is not null and walked.depth = 0 and cycle_cuts.node is null as is_too_deep,
        coalesce(children.child_count, 0) as child_count,
        size.subtree_size
    from linked
    inner join walked
        on
            linked.trace_id = walked.trace_id
            and linked.node = walked.node
    inner join size_{{ doublings }} as size
        on
            linked.trace_id = size.trace_id
            and linked.node = size.node
    inner join components
        on
            walked.trace_id = components.trace_id
            and walked.top_node = components.top_node
    left join path_0 as ties
        on
            linked.trace_id = ties.trace_id
            and linked.node = ties.node
    left join walked as parents
        on
            ties.trace_id = parents.trace_id
            and ties.ancestor = parents.node
    left join children
        on
            linked.trace_id = children.trace_id
            and linked.node = children.node
    left join cycle_cuts
        on
            linked.trace_id = cycle_cuts.trace_id
            and linked.node = cycle_cuts.node
)

-- Sorted as the spans are, so that who asks for the places of a few names reads little else.
select *
from final
order by started_on, service_name, span_name, trace_id, nested_left
