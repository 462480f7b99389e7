{% macro brand_key(vehicle_type, brand_code) %}{{ vehicle_type }} * 1000000 + {{ brand_code }}{% endmacro %}

{% macro vehicle_type_name(vehicle_type) -%}
case {{ vehicle_type }} when 1 then 'car' when 2 then 'motorcycle' when 3 then 'truck' end
{%- endmacro %}
