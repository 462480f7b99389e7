select month_key, vehicle_key, price_brl
from {{ ref('fact_price') }}
where {{ fipe.newest_months() }} and price_brl < 0
