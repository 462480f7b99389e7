{{ config(materialized='view', enabled=var('fipe_ipca_table') is not none) }}

-- In the money of the newest month that the index has.
with ipca as (
    select {{ var('fipe_ipca_month') }}::date as month, {{ var('fipe_ipca_index') }}::numeric as index_number
    from {{ var('fipe_ipca_table') }}
),

newest as (
    select month, index_number from ipca order by month desc limit 1
)

select
    fact_price.*,
    newest.month                                                     as money_of,
    round(fact_price.price_brl * newest.index_number / ipca.index_number, 2) as real_price_brl
from {{ ref('fact_price') }} as fact_price
left join ipca on ipca.month = fact_price.month_key
left join newest on true
