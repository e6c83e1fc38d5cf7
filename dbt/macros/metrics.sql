{# CTEs over one named `points`: `once` has each point of a series at a time one time, that of the earliest record, with its
   `series_id`. A series is a metric with its labels, and with the service, the resource and the scope that its labels need
   not name. The hash is of distinct series, not of every point. #}
{% macro metric_points_once() -%}
    {%- set identity = ['metric_name', 'service_key', 'labels', 'resource_key', 'scope_key'] -%}
    keyed as (
        select
            *,
            coalesce(service_name, '') as service_key,
            coalesce(cast(resource_attributes as varchar), '') as resource_key,
            coalesce(scope_name, '') as scope_key
        from points
    ),

    series as (
        select
            {{ identity | join(', ') }},
            md5(concat_ws(' ', metric_name, cast(labels as varchar), service_key, resource_key, scope_key)) as series_id
        from keyed
        group by {{ identity | join(', ') }}
    ),

    identified as (
        select
            keyed.*,
            series.series_id
        from keyed
        inner join series
            on
                {%- for column in identity %}
                {{ 'and ' if not loop.first }}keyed.{{ column }} = series.{{ column }}
                {%- endfor %}
    ),

    repeated as (
        select
            series_id,
            observed_at,
            min(struct_pack(load_id := load_id, line := line, record := record)) as origin
        from identified
        group by series_id, observed_at
        having count(*) > 1
    ),

    once as (
        select identified.*
        from identified
        left join repeated
            on
                identified.series_id = repeated.series_id
                and identified.observed_at = repeated.observed_at
        where
            repeated.series_id is null
            or repeated.origin
            = struct_pack(load_id := identified.load_id, line := identified.line, record := identified.record)
    )
{%- endmacro %}
