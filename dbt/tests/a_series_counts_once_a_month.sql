select month_key, series_key
from {{ ref('fact_price') }}
where {{ fipe.newest_months() }}
group by month_key, series_key
having count(*) filter (where is_counted) <> 1
