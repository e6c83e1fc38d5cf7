{{ config(materialized='view') }}
-- Nine rows an incident, which are one row of durations read again: to write them would take longer than all the rest.
with durations as (
    select * from {{ ref('int_incident_durations') }}
),

final as (
    {%- for clock, it in incident_clocks().items() %}
    select
        incident_id,
        system,
        '{{ clock }}' as clock,
        '{{ it.start_event }}' as start_event,
        {{ it.start }} as start_at,
        {{ it.start }}_source as start_source,
        '{{ it.end_event }}' as end_event,
        {{ it.end }} as end_at,
        {{ it.end }}_source as end_source,
        {{ clock }}_seconds as seconds,
        {{ clock }}_open_seconds as open_seconds,
        {{ clock }}_reason as reason
    from durations
    {{ 'union all' if not loop.last }}
    {%- endfor %}
)

select *
from final
