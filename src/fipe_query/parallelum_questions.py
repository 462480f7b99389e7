"""What Parallelum v2 asks of the database.

Most vehicles of a brand are of other times. Their first and last month leave them out before any price is
looked up.
"""

_VEHICLES = """
from fipe.model
join fipe.vehicle
    on vehicle.model_id = model.id and %(month)s between vehicle.first_month and vehicle.last_month
join fipe.price on price.vehicle_id = vehicle.id and price.reference_month = %(month)s
where model.vehicle_type = %(vehicle_type)s
"""
_YEAR = "select distinct vehicle.model_year, vehicle.fuel_code, vehicle.fuel"
_NEWEST_YEAR_FIRST = "order by vehicle.model_year desc, vehicle.fuel_code"
_DETAIL = """
select price.price_brl, model.brand, model.model, vehicle.model_year, vehicle.fuel_code, vehicle.fuel,
       vehicle.fipe_code, price.reference_month
"""
_OF_BRAND = "and model.brand_code = %(brand)s"
_OF_MODEL = _OF_BRAND + " and model.model_code = %(model)s"
_OF_CODE = "and vehicle.fipe_code = fipe.code_of(%(fipe_code)s)"
_OF_YEAR = "and vehicle.model_year = %(model_year)s and vehicle.fuel_code = %(fuel_code)s"

REFERENCES = """
select month, code
from fipe.reference_month
where month <= %(month)s and exists (select from fipe.price where price.reference_month = month)
order by month desc
"""

# limit 1: of each brand, the first vehicle that has a price is enough.
BRANDS = """
select brand_code as code, brand as name
from (select distinct brand_code, brand from fipe.model where vehicle_type = %(vehicle_type)s) as published
cross join lateral (
    select from fipe.model
    join fipe.vehicle
        on vehicle.model_id = model.id and %(month)s between vehicle.first_month and vehicle.last_month
    join fipe.price on price.vehicle_id = vehicle.id and price.reference_month = %(month)s
    where model.vehicle_type = %(vehicle_type)s and model.brand_code = published.brand_code
      and model.brand = published.brand
    limit 1
) as priced
order by fipe.plain(brand) collate "C", brand_code
"""

MODELS = f"""
select distinct model.model_code as code, model.model as name, fipe.plain(model.model) collate "C" as plain
{_VEHICLES} {_OF_BRAND}
order by plain, code
"""
MODELS_OF_YEAR = f"""
select distinct model.model_code as code, model.model as name, fipe.plain(model.model) collate "C" as plain
{_VEHICLES} {_OF_BRAND} {_OF_YEAR}
order by plain, code
"""

YEARS_OF_BRAND = f"{_YEAR} {_VEHICLES} {_OF_BRAND} {_NEWEST_YEAR_FIRST}"
YEARS_OF_MODEL = f"{_YEAR} {_VEHICLES} {_OF_MODEL} {_NEWEST_YEAR_FIRST}"
YEARS_OF_CODE = f"{_YEAR} {_VEHICLES} {_OF_CODE} {_NEWEST_YEAR_FIRST}"

# What stands under two names at once has one price.
_ONE = "order by vehicle.duplicate, vehicle.id limit 1"
PRICE_OF_MODEL = f"{_DETAIL} {_VEHICLES} {_OF_MODEL} {_OF_YEAR} {_ONE}"
PRICE_OF_CODE = f"{_DETAIL} {_VEHICLES} {_OF_CODE} {_OF_YEAR} {_ONE}"

# The vehicle is found by any fuel that it ever stood under, also when it has left the table.
HISTORY = """
with asked as materialized (
    select vehicle.series_id
    from fipe.vehicle
    join fipe.model on model.id = vehicle.model_id
    where model.vehicle_type = %(vehicle_type)s and vehicle.fipe_code = fipe.code_of(%(fipe_code)s)
      and vehicle.model_year = %(model_year)s and vehicle.fuel_code = %(fuel_code)s
      and vehicle.last_month is not null
    order by vehicle.last_month desc, vehicle.duplicate
    limit 1
)
select distinct on (price.reference_month)
       price.price_brl, model.brand, model.model, vehicle.model_year, vehicle.fuel_code, vehicle.fuel,
       vehicle.fipe_code, price.reference_month, reference.code as reference_code
from asked
join fipe.vehicle using (series_id)
join fipe.model on model.id = vehicle.model_id
join fipe.price on price.vehicle_id = vehicle.id
join fipe.reference_month as reference on reference.month = price.reference_month
where price.reference_month <= %(month)s
order by price.reference_month desc, vehicle.duplicate
"""
