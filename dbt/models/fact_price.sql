{{ config(
    materialized=var('fipe_fact_price'),
    indexes=[{'columns': ['month_key', 'vehicle_key'], 'unique': True}, {'columns': ['series_key']}]
) }}

-- Made anew by each `dbt build`, and not month by month: an old month changes with a correction, and with the series,
-- which a new month can join. To find what changed costs half as much as to make all of it.
select
    price.reference_month as month_key,
    price.vehicle_id      as vehicle_key,
    vehicle.series_id     as series_key,
    {{ fipe.brand_key('model.vehicle_type', 'model.brand_code') }} as brand_key,
    price.price_brl,
    coalesce(origin.name, 'fipe') as source,
    vehicle.duplicate = 0 or not exists (
        select from {{ source('fipe', 'vehicle') }} as other
        inner join {{ source('fipe', 'price') }} as same on same.vehicle_id = other.id
        where other.series_id = vehicle.series_id and other.duplicate < vehicle.duplicate
          and same.reference_month = price.reference_month
    )                     as is_counted
from {{ source('fipe', 'price') }} as price
left join {{ source('fipe', 'vehicle') }} as vehicle on vehicle.id = price.vehicle_id
left join {{ source('fipe', 'model') }} as model on model.id = vehicle.model_id
left join {{ source('fipe', 'price_source') }} as origin on origin.id = price.source
