{% macro newest_months() -%}
month_key > {{ var('fipe_schema') }}.newest_month() - interval '{{ var('fipe_tested_months') }} months'
{%- endmacro %}
