{# One row when `model` and `compare` have not the same number of rows. #}
{% test same_row_count(model, compare) %}
    select
        (select count(*) from {{ model }}) as model_rows,
        (select count(*) from {{ compare }}) as compared_rows
    where model_rows <> compared_rows
{% endtest %}
