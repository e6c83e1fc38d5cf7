{#- Where each load stands among the others, for "sent again replaces what was sent before": a file that was read again
    is no news, so its load stands where the one stood whose place it took. -#}
{% macro load_places() -%}
    with recursive lines as (
        select
            load_id,
            load_id as load_place
        from {{ source('audit', 'loads') }}
        where replaces is null

        union all

        select
            loads.load_id,
            lines.load_place
        from lines
        inner join {{ source('audit', 'loads') }} as loads on lines.load_id = loads.replaces
    )

    select
        load_id,
        load_place
    from lines
{%- endmacro %}

{#- A load that the ledger does not know, or whose ancestor it does not know, stands by its own number. -#}
{% macro load_place() -%}
    coalesce((select map_from_entries(list((places.load_id, places.load_place))) from places)[load_id], load_id)
{%- endmacro %}
