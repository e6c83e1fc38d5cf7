{# Rows for which `expression` is false or unknown. #}
{% test holds(model, expression, column_name=none) %}
    select *
    from {{ model }}
    where ({{ expression }}) is not true
{% endtest %}
