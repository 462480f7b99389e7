{{ config(materialized='table') }}

select
    reference.month                                              as month_key,
    to_char(reference.month, 'YYYY-MM')                          as month,
    extract(year from reference.month)::smallint                 as year,
    extract(quarter from reference.month)::smallint              as quarter,
    extract(month from reference.month)::smallint                as month_of_year,
    reference.code                                               as reference_code,
    counted.prices,
    lag(reference.month) over (order by reference.month)         as month_before,
    reference.month = max(reference.month) over ()               as is_newest,
    {{ var('fipe_schema') }}.loaded(reference.month)             as state
from {{ source('fipe', 'reference_month') }} as reference
inner join (
    select reference_month, count(*)::integer as prices
    from {{ source('fipe', 'price') }}
    group by reference_month
) as counted on counted.reference_month = reference.month
