{{ config(materialized='table', indexes=[{'columns': ['series_key'], 'unique': True}]) }}

with placed as (
    select
        *,
        row_number() over (partition by series_key order by last_month desc, duplicate, vehicle_key) as place,
        min(first_month) over (partition by series_key)                                              as begins,
        count(*) over (partition by series_key)                                                      as vehicles
    from {{ ref('dim_vehicle') }}
)

-- What a series is called last is what it is called here.
select
    series_key,
    brand_key,
    vehicle_type,
    vehicle_type_name,
    brand,
    model,
    model_year,
    zero_km,
    fuel,
    fipe_code,
    begins            as first_month,
    last_month,
    vehicles::integer as vehicles
from placed
where place = 1
