{{
    config(
        materialized='incremental',
        incremental_strategy='append',
        on_schema_change='fail',
        pre_hook="{{ delete_touched_traces(ref('stg_spans')) }}"
    )
}}

-- Through which services, versions, regions and endpoints a trace went, each once.
with spans as (
    select
        trace_id,
        service_name,
        service_version,
        kind,
        span_name,
        {{ json_text('attributes', '"http.route"') }} as route,
        {{ json_text('resource_attributes', '"cloud.region"') }} as region
    from {{ ref('stg_spans') }}
    where {{ touches_replay_window(ref('stg_spans')) }}
),

placed as (
    select distinct
        trace_id,
        'service' as dimension,
        service_name as value
    from spans
    union all
    select distinct
        trace_id,
        'version' as dimension,
        service_name || ' ' || service_version as value
    from spans
    union all
    select distinct
        trace_id,
        'region' as dimension,
        region as value
    from spans
    union all
    select distinct
        trace_id,
        'endpoint' as dimension,
        coalesce(service_name || ' ', '') || coalesce(route, span_name) as value
    from spans
    where kind in ('server', 'consumer')
),

final as (
    select
        trace_id,
        dimension,
        value
    from placed
    where value is not null
)

select *
from final
order by dimension, value, trace_id
