"""What the paths under /v1 ask the database: the questions of create_fipe_db.sql, page by page."""

MONTHS = """
select month, code as reference_code, fipe.loaded(month) as loaded
from fipe.reference_month
where exists (select from fipe.price where price.reference_month = month)
order by month desc
limit %(limit)s offset %(offset)s
"""

SEARCH = """
select vehicle_type, brand, model, brand_code, model_code, string_to_array(fipe_codes, ', ') as fipe_codes,
       model_years, price_brl, last_month
from fipe.search_models(%(search)s)
where %(vehicle_type)s is null or vehicle_type = %(vehicle_type)s
limit %(limit)s offset %(offset)s
"""

IS_KNOWN = """
select exists (
    select from fipe.vehicle where fipe_code = fipe.code_of(%(fipe_code)s) and last_month is not null
) as is_known
"""

PRICES = """
select reference_month, vehicle_type, brand, model, model_year, zero_km, fuel, fipe_code, price_brl
from fipe.price_of(%(fipe_code)s, null, to_char(%(month)s::date, 'YYYY-MM'))
where fipe_code = fipe.code_of(%(fipe_code)s)
"""

# A FIPE code belongs to vehicles of one type.
HISTORY = """
select reference_month, (
           select model.vehicle_type
           from fipe.vehicle
           join fipe.model on model.id = vehicle.model_id
           where vehicle.fipe_code = fipe.code_of(%(fipe_code)s)
           limit 1
       ) as vehicle_type,
       brand, model, model_year, zero_km, fuel, published_fuel, price_brl
from fipe.price_history(%(fipe_code)s, %(model_year)s)
where %(since)s::date is null or reference_month >= %(since)s
"""

DEPRECIATION = """
select brand, model, model_year, zero_km, age_years, fuel, price_brl, percent_of_newest
from fipe.depreciation(%(fipe_code)s, to_char(%(month)s::date, 'YYYY-MM'))
"""

MONTH_BEFORE = """
select fipe.month_before(to_char(%(month)s::date, 'YYYY-MM'), null) as month
"""

CHANGES = """
select month_before, reference_month, difference, vehicle_type, brand, model, model_year, zero_km, fuel,
       fipe_code, price_before, price_brl
from fipe.month_differences(to_char(%(month)s::date, 'YYYY-MM'), to_char(%(before)s::date, 'YYYY-MM'))
where (%(difference)s is null or difference = %(difference)s)
  and (%(vehicle_type)s is null or vehicle_type = %(vehicle_type)s)
  and (%(brand)s is null or (vehicle_type, brand) in (
      select named.vehicle_type, named.brand from fipe.brands_named(%(brand)s) as named
  ))
order by vehicle_type, brand, model, model_year desc, fuel, fipe_code, difference
limit %(limit)s offset %(offset)s
"""

MOVERS = """
with moved as materialized (
    select vehicle_type, brand, model, model_year, zero_km, fuel, fipe_code, price_before, price_brl,
           change_brl, change_percent, price_brl / price_before as ratio
    from fipe.price_changes(to_char(%(month)s::date, 'YYYY-MM'), to_char(%(before)s::date, 'YYYY-MM'))
    where price_before > 0 and price_brl > 0 and change_brl <> 0
      and (%(vehicle_type)s is null or vehicle_type = %(vehicle_type)s)
      and (%(brand)s is null or (vehicle_type, brand) in (
          select named.vehicle_type, named.brand from fipe.brands_named(%(brand)s) as named
      ))
)
(
    select * from moved where ratio > 1
    order by ratio desc, fipe_code, model_year, fuel, brand, model limit %(limit)s
)
union all
(
    select * from moved where ratio < 1
    order by ratio, fipe_code, model_year, fuel, brand, model limit %(limit)s
)
"""

SUMMARY = """
select *
from fipe.month_by_month(
    to_char(%(month)s::date, 'YYYY-MM'), to_char(%(month)s::date - interval '1 month', 'YYYY-MM'), %(by)s
)
"""

VALUE = """
select *
from fipe.value_fleet(
    %(codes)s::text[], %(years)s::text[], %(fuels)s::text[], to_char(%(month)s::date, 'YYYY-MM'),
    to_char(%(since)s::date, 'YYYY-MM')
)
"""
