{# Rows whose `day` is not the UTC day of `time`. #}
{% test same_days(model, day, time) %}
    select *
    from {{ model }}
    where {{ day }} <> {{ utc_day(time) }}
{% endtest %}
