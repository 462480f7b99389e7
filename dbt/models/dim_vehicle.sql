{{ config(materialized='table', indexes=[{'columns': ['vehicle_key'], 'unique': True}, {'columns': ['series_key']}]) }}

-- Vehicles without a month have lost all their prices: FIPE withdrew them.
select
    vehicle.id                                                       as vehicle_key,
    vehicle.series_id                                                as series_key,
    {{ fipe.brand_key('model.vehicle_type', 'model.brand_code') }}   as brand_key,
    model.vehicle_type,
    {{ fipe.vehicle_type_name('model.vehicle_type') }}               as vehicle_type_name,
    model.brand_code,
    model.brand,
    model.model_code,
    model.model,
    vehicle.model_year,
    vehicle.zero_km,
    vehicle.fuel_code,
    vehicle.fuel,
    vehicle.fipe_code,
    vehicle.duplicate,
    vehicle.first_month,
    vehicle.last_month
from {{ source('fipe', 'vehicle') }} as vehicle
inner join {{ source('fipe', 'model') }} as model on model.id = vehicle.model_id
where vehicle.first_month is not null
