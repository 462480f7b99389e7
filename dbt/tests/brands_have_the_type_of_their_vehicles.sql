select dim_vehicle.vehicle_key
from {{ ref('dim_vehicle') }} as dim_vehicle
inner join {{ ref('dim_brand') }} as dim_brand using (brand_key)
where (dim_brand.vehicle_type, dim_brand.brand_code) <> (dim_vehicle.vehicle_type, dim_vehicle.brand_code)
