select month_key, vehicle_key
from {{ ref('fact_price') }}
where {{ fipe.newest_months() }}
group by month_key, vehicle_key
having count(*) > 1
