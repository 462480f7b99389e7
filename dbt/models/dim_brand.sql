{{ config(materialized='table') }}

with named as (
    select
        model.vehicle_type,
        model.brand_code,
        model.brand,
        min(vehicle.first_month) as first_month,
        max(vehicle.last_month)  as last_month
    from {{ source('fipe', 'model') }} as model
    inner join {{ source('fipe', 'vehicle') }} as vehicle on vehicle.model_id = model.id
    where vehicle.first_month is not null
    group by model.vehicle_type, model.brand_code, model.brand
),

brand as (
    select
        vehicle_type,
        brand_code,
        array_agg(brand order by last_month desc, brand) as names,
        min(first_month)                                 as first_month,
        max(last_month)                                  as last_month
    from named
    group by vehicle_type, brand_code
)

select
    {{ fipe.brand_key('vehicle_type', 'brand_code') }} as brand_key,
    vehicle_type,
    {{ fipe.vehicle_type_name('vehicle_type') }}       as vehicle_type_name,
    brand_code,
    names[1]                                           as brand,
    nullif(array_to_string(names[2:], ', '), '')       as former_names,
    first_month,
    last_month
from brand
