-- The FIPE schema: what was published, and the ledger of the loads that brought it.
-- Idempotent: the deploy runs it again whenever it changes, in one transaction; run twice it changes nothing.

-- The turn of one writer, as the ingestor takes it: this script locks tables in another order than a batch of prices,
-- and one of the two would end in a deadlock.
select pg_advisory_xact_lock(x'46495045'::integer);

do $$
begin
    if current_setting('server_version_num')::integer < 170000 then
        raise exception 'FIPE needs PostgreSQL 17 or newer, and this is %', current_setting('server_version')
            using hint = 'Prices are written with MERGE ... RETURNING, which came with version 17.';
    end if;
    if current_setting('server_encoding') <> 'UTF8' then
        raise exception 'FIPE needs a database in UTF8, and this one is in %', current_setting('server_encoding')
            using hint = 'create database fipe template template0 encoding utf8';
    end if;
end
$$;

create schema if not exists fipe;

comment on schema fipe is 'Prices of the FIPE table (Brazil), by reference month. Query fipe.vehicle_price.';

-- How questions are planned. The default of 4 a page is for turning disks: with it, a brand's month reads all vehicles
-- instead of the brand's by index. What the planner thinks dear it would compile (JIT, on by default), which is for
-- questions that run for seconds: none here does.
do $$
begin
    execute format('alter database %I set random_page_cost = 1.1', current_database());
    execute format('alter database %I set jit = off', current_database());
end
$$;

-- What FIPE published ---------------------------------------------------------------------------------------

create table if not exists fipe.reference_month (
    code  integer primary key,
    month date not null unique check (extract(day from month) = 1)
);
comment on table fipe.reference_month is
    'Published tables. FIPE''s codes are not in the order of the months: order by month.';

-- Names belong to the newest month they were published in, so that loading months in any order ends alike.
create table if not exists fipe.manufacturer (
    vehicle_type smallint not null check (vehicle_type between 1 and 3),
    code         integer  not null,
    name         text     not null,
    named_in     date     not null,
    primary key (vehicle_type, code)
);
comment on column fipe.manufacturer.vehicle_type is '1 car, 2 motorcycle, 3 truck';
comment on column fipe.manufacturer.code is 'FIPE''s brand code; the same brand has another code for another vehicle type';
comment on column fipe.manufacturer.named_in is 'the reference month the name was taken from: the newest one loaded';

create table if not exists fipe.model (
    id           integer generated always as identity primary key,
    vehicle_type smallint not null,
    brand_code   integer  not null,
    code         integer  not null,
    name         text     not null,
    named_in     date     not null,
    unique (vehicle_type, brand_code, code),
    foreign key (vehicle_type, brand_code) references fipe.manufacturer (vehicle_type, code)
);

-- Each month updates all models (named_in): with room for it on their own pages, without touching an index.
alter table fipe.model set (fillfactor = 50);

create table if not exists fipe.model_year (
    id         integer generated always as identity primary key,
    model_id   integer  not null references fipe.model (id),
    model_year smallint not null check (model_year > 0),
    fuel_code  smallint not null,
    zero_km    boolean  not null generated always as (model_year = 32000) stored,
    fuel       text     not null,
    fipe_code  text     not null,
    named_in   date     not null,
    unique (model_id, model_year, fuel_code)
);
comment on column fipe.model_year.model_year is 'FIPE''s own 32000 means zero km';
comment on column fipe.model_year.fuel_code is
    '1 Gasolina, 2 Álcool, 3 Diesel, 4 Elétrico, 5 Flex, 6 Híbrido, 7 Gás Natural; others are kept as they come';
comment on column fipe.model_year.named_in is
    'the reference month that fuel and fipe_code were taken from; newer ones may say the same';
create index if not exists model_year_fipe_code on fipe.model_year (fipe_code);

create table if not exists fipe.price (
    model_year_id   integer       not null references fipe.model_year (id),
    -- The month, not FIPE's code: people ask by month, and the planner finds what it is asked by without a join.
    reference_month date          not null references fipe.reference_month (month),
    price_brl       numeric(12,2) not null check (price_brl >= 0),
    mirror          text,
    -- Month first: a load writes, and most questions read, one stretch of this index. With the vehicle first each
    -- of a month's 50,000 look-ups was on another page: a brand's month took 62 ms instead of 10 at 330 months.
    primary key (reference_month, model_year_id)
);
-- Tables of before had FIPE's code in the month's place.
do $$
begin
    if exists (select from pg_attribute
               where attrelid = 'fipe.price'::regclass and attname = 'reference_code' and not attisdropped) then
        alter table fipe.price add column reference_month date, add column if not exists mirror text;
        update fipe.price set reference_month = month from fipe.reference_month where code = reference_code;
        -- With it go the old key and all views and functions that name it. This schema's are made again below.
        alter table fipe.price drop column reference_code cascade;
        alter table fipe.price
            drop constraint if exists price_pkey,
            add primary key (reference_month, model_year_id),
            add foreign key (reference_month) references fipe.reference_month (month);
        drop function if exists fipe.reference_of(date);
        drop function if exists fipe.reference_before(date, date);
    end if;
end
$$;
create index if not exists price_model_year_id on fipe.price (model_year_id);
comment on column fipe.price.mirror is
    'who gave this price, if not the official API: parallelum; null, which takes no room, is the official API';
comment on column fipe.price.price_brl is 'reais; FIPE has published zeros, which are kept as published';

create or replace view fipe.vehicle_price as
select price.reference_month,
       reference.code    as reference_code,
       model.vehicle_type,
       model.brand_code,
       manufacturer.name as brand,
       model.code        as model_code,
       model.name        as model,
       vehicle.model_year,
       vehicle.zero_km,
       vehicle.fuel_code,
       vehicle.fuel,
       vehicle.fipe_code,
       price.price_brl
from fipe.price
join fipe.reference_month as reference on reference.month = price.reference_month
join fipe.model_year as vehicle on vehicle.id = price.model_year_id
join fipe.model on model.id = vehicle.model_id
join fipe.manufacturer on (manufacturer.vehicle_type, manufacturer.code) = (model.vehicle_type, model.brand_code);
comment on view fipe.vehicle_price is 'One row a price: what people query. Quickest by reference_month, brand_code or fipe_code.';

-- What people ask -------------------------------------------------------------------------------------------

-- Without extensions: Aurora has unaccent and pg_trgm, but unaccent cannot be indexed, and other servers may lack both.
-- Text of as many bytes as letters has none with an accent (UTF-8): that is most names, and quicker.
-- Neither this nor words() is strict: nothing is still nothing, but a strict function would not be inlined, which takes
-- half as long again.
create or replace function fipe.plain(written text) returns text
language sql immutable parallel safe
return lower(case when octet_length(written) = length(written) then written else translate(written,
    'ÁÀÂÃÄáàâãäÉÈÊËéèêëÍÌÎÏíìîïÓÒÔÕÖóòôõöÚÙÛÜúùûüÇçÑñ',
    'AAAAAaaaaaEEEEeeeeIIIIiiiiOOOOOoooooUUUUuuuuCcNn') end);
comment on function fipe.plain(text) is 'The text in small letters without accents.';

-- Split here and not by a text search parser, which takes "High.CD" for the name of a host.
create or replace function fipe.words(written text) returns tsvector
language sql immutable parallel safe
return array_to_tsvector(array_remove(
    regexp_split_to_array(fipe.plain(written), '(?:[^a-z0-9.]|\.(?![0-9])|(?<![0-9])\.)+'), ''));
comment on function fipe.words(text) is 'The words of a name: "GOL 1.0 Flex" has gol, 1.0 and flex.';

create or replace function fipe.words_beginning(beginnings text[]) returns tsquery
language sql immutable strict parallel safe
return (select string_agg(quote_literal(beginning) || ':*', ' & ')::tsquery from unnest(beginnings) as beginning);
comment on function fipe.words_beginning(text[]) is 'What finds names with a word for each of these beginnings.';

alter table fipe.manufacturer add column if not exists
    words tsvector not null generated always as (fipe.words(name)) stored;
alter table fipe.model add column if not exists
    words tsvector not null generated always as (fipe.words(name)) stored;
create index if not exists model_words on fipe.model using gin (words);

create or replace function fipe.newest_month() returns date
language sql stable parallel safe
return (select max(reference_month) from fipe.price);
comment on function fipe.newest_month() is
    'The newest reference month that the database holds prices of; while it is loaded, it holds some of them.';

create or replace function fipe.search_models(search text)
returns table (vehicle_type smallint, brand_code integer, brand text, model_code integer, model text, last_month date)
language sql stable parallel safe as $$
    with asked as materialized (
        select word, fipe.words_beginning(array[word]) as beginning
        from unnest(tsvector_to_array(fipe.words(search))) as word
    ),
    -- A word that the brand's name has need not be in the model's as well.
    brand as materialized (
        select manufacturer.vehicle_type, manufacturer.code,
               fipe.words_beginning(array(select word from asked except select unnest(array_agg(named.word)))) as rest
        from asked as named
        join fipe.manufacturer on manufacturer.words @@ named.beginning
        group by manufacturer.vehicle_type, manufacturer.code
    ),
    found as (
        select id from fipe.model where words @@ fipe.words_beginning(array(select word from asked))
        union
        select model.id
        from brand
        cross join lateral (
            select id
            from fipe.model
            where (model.vehicle_type, model.brand_code) = (brand.vehicle_type, brand.code)
              and (brand.rest is null or model.words @@ brand.rest)
            offset 0
        ) as model
    )
    select model.vehicle_type, model.brand_code, manufacturer.name, model.code, model.name, model.named_in
    from found
    join fipe.model using (id)
    join fipe.manufacturer
        on (manufacturer.vehicle_type, manufacturer.code) = (model.vehicle_type, model.brand_code)
    order by model.named_in desc, manufacturer.name, model.name
$$;
comment on function fipe.search_models(text) is
    'Models whose brand and name have a word beginning with each word of the search; accents and case do not count.';

-- Tables up to about 2023 know the fuels 1 to 3 alone: there an electric, flex or hybrid car stands under 1.
create or replace function fipe.heir(vehicle_id integer) returns integer
language sql stable parallel safe
return (
    select heir.id
    from fipe.model_year as former
    join fipe.model_year as heir
        on (heir.model_id, heir.model_year) = (former.model_id, former.model_year) and heir.fuel_code between 4 and 6
    cross join lateral (select min(reference_month) as month from fipe.price where model_year_id = heir.id) as began
    where former.id = vehicle_id and former.fuel_code = 1
      and began.month > (select max(reference_month) from fipe.price where model_year_id = former.id)
    order by began.month, heir.fuel_code
    limit 1
);
comment on function fipe.heir(integer) is
    'The model_year that one under Gasolina goes on as, under another fuel and after its last month; null: it has none.';

create or replace view fipe.latest_price as
select latest.reference_month,
       model.vehicle_type,
       manufacturer.name as brand,
       model.name        as model,
       vehicle.model_year,
       vehicle.zero_km,
       vehicle.fuel,
       vehicle.fipe_code,
       latest.price_brl
from fipe.model_year as vehicle
join fipe.model on model.id = vehicle.model_id
join fipe.manufacturer on (manufacturer.vehicle_type, manufacturer.code) = (model.vehicle_type, model.brand_code)
cross join lateral (
    select price.reference_month, price.price_brl
    from fipe.price
    where price.model_year_id = vehicle.id
    order by price.reference_month desc
    limit 1
) as latest
where vehicle.fuel_code <> 1 or fipe.heir(vehicle.id) is null;
comment on view fipe.latest_price is 'One row a vehicle: its price in the newest month that has one.';

create or replace function fipe.price_history(fipe_code text, model_year integer default null)
returns table (
    reference_month date, brand text, model text, model_year smallint, zero_km boolean, fuel text,
    published_fuel text, price_brl numeric, change_brl numeric, change_percent numeric
)
language sql stable parallel safe as $$
    with published as (
        select price.reference_month as month, vehicle.model_id, vehicle.model_year, vehicle.zero_km,
               vehicle.fuel_code, vehicle.fuel, price.price_brl
        from fipe.model_year as vehicle
        join fipe.price on price.model_year_id = vehicle.id
        where vehicle.fipe_code = $1 and ($2 is null or vehicle.model_year = $2)
    ),
    span as (
        select model_year, fuel_code, max(fuel) as fuel, min(month) as first_month, max(month) as last_month
        from published
        group by model_year, fuel_code
    ),
    -- As fipe.heir, but for whatever models have borne the code.
    renamed as (
        select distinct on (old.model_year) old.model_year, old.fuel_code as old_code, new.fuel_code, new.fuel
        from span as old
        join span as new on new.model_year = old.model_year
        where old.fuel_code = 1 and new.fuel_code between 4 and 6 and old.last_month < new.first_month
        order by old.model_year, new.first_month, new.fuel_code
    ),
    series as (
        select published.month, published.model_id, published.model_year, published.zero_km,
               coalesce(renamed.fuel_code, published.fuel_code) as fuel_code,
               coalesce(renamed.fuel, published.fuel)           as fuel,
               published.fuel                                   as published_fuel,
               published.price_brl,
               lag(published.price_brl) over (
                   partition by published.model_year, coalesce(renamed.fuel_code, published.fuel_code)
                   order by published.month
               ) as before
        from published
        left join renamed
            on (renamed.model_year, renamed.old_code) = (published.model_year, published.fuel_code)
    )
    select series.month, manufacturer.name, model.name, series.model_year, series.zero_km, series.fuel,
           series.published_fuel, series.price_brl, series.price_brl - series.before,
           round(100 * (series.price_brl - series.before) / nullif(series.before, 0), 2)
    from series
    join fipe.model on model.id = series.model_id
    join fipe.manufacturer
        on (manufacturer.vehicle_type, manufacturer.code) = (model.vehicle_type, model.brand_code)
    order by series.model_year desc, series.fuel_code, series.month
$$;
comment on function fipe.price_history(text, integer) is
    'The prices of a FIPE code, month by month; fuel is what the vehicle stands under today, published_fuel then.';

create or replace function fipe.depreciation(fipe_code text, month date default null)
returns table (
    brand text, model text, model_year smallint, zero_km boolean, age_years integer, fuel text, price_brl numeric,
    percent_of_newest numeric
)
language sql stable parallel safe as $$
    select brand, model, model_year, zero_km,
           case when zero_km then 0 else greatest(0, extract(year from reference_month)::integer - model_year) end,
           fuel, price_brl,
           round(100 * price_brl / nullif(first_value(price_brl) over newest_first, 0), 1)
    from fipe.vehicle_price
    where vehicle_price.fipe_code = $1 and reference_month = coalesce($2, (select fipe.newest_month()))
    window newest_first as (partition by fuel_code, model_code order by model_year desc)
    order by fuel_code, model_code, model_year desc
$$;
comment on function fipe.depreciation(text, date) is
    'The prices of a FIPE code by age, against its zero-km price or, without one, that of its newest model year.';

create or replace function fipe.brands_named(search text) returns setof fipe.manufacturer
language sql stable parallel safe as $$
    select *
    from fipe.manufacturer
    where length(fipe.words($1)) > 0 and tsvector_to_array(words) @> tsvector_to_array(fipe.words($1))
$$;
comment on function fipe.brands_named(text) is
    'Brands whose names have each of these words, whole: "volkswagen" finds "VW - VolksWagen", "gm" does not find GMC.';

create or replace function fipe.vehicles_between(
    brand text, least_brl numeric, most_brl numeric, month date default null
)
returns table (
    vehicle_type smallint, brand text, model text, model_year smallint, zero_km boolean, fuel text, fipe_code text,
    price_brl numeric
)
language sql stable parallel safe as $$
    select model.vehicle_type, manufacturer.name, model.name, vehicle.model_year, vehicle.zero_km, vehicle.fuel,
           vehicle.fipe_code, price.price_brl
    from fipe.brands_named($1) as manufacturer
    join fipe.model on (model.vehicle_type, model.brand_code) = (manufacturer.vehicle_type, manufacturer.code)
    join fipe.model_year as vehicle on vehicle.model_id = model.id
    join fipe.price on price.model_year_id = vehicle.id
    where price.reference_month = coalesce($4, (select fipe.newest_month()))
      and price.price_brl between $2 and $3
    order by price.price_brl, model.name, vehicle.model_year, vehicle.fuel_code
$$;
comment on function fipe.vehicles_between(text, numeric, numeric, date) is
    'A brand''s vehicles at these prices in a month, the newest by default; see fipe.brands_named.';

drop function if exists fipe.month_before(date);
create or replace function fipe.month_before(month date, since date) returns date
language sql stable parallel safe
return coalesce(since, (
    select max(earlier.reference_month)
    from fipe.price as earlier
    where earlier.reference_month < coalesce(month_before.month, (select fipe.newest_month()))
));
comment on function fipe.month_before(date, date) is
    'The month `since` or, when that is null, the last one with prices before `month`, which is the newest by default.';

drop function if exists fipe.price_under_former_fuel(integer, integer, integer);
drop function if exists fipe.price_under_former_fuel(integer, date, date);
create or replace function fipe.price_under_former_fuel(vehicle_id integer, month date) returns numeric
language sql stable parallel safe
return (
    select price.price_brl
    from fipe.model_year as vehicle
    join fipe.model_year as former
        on (former.model_id, former.model_year, former.fuel_code) = (vehicle.model_id, vehicle.model_year, 1)
    join fipe.price on price.model_year_id = former.id
    where vehicle.id = vehicle_id and vehicle.fuel_code between 4 and 6
      and price.reference_month = price_under_former_fuel.month and fipe.heir(former.id) = vehicle.id
);
comment on function fipe.price_under_former_fuel(integer, date) is
    'The price of a model_year in an earlier table that has it under Gasolina; see fipe.heir.';

create or replace function fipe.price_changes(month date default null, since date default null)
returns table (
    vehicle_type smallint, brand text, model text, model_year smallint, zero_km boolean, fuel text, fipe_code text,
    price_before numeric, price_brl numeric, change_brl numeric, change_percent numeric
)
language sql stable parallel safe as $$
    select model.vehicle_type, manufacturer.name, model.name, vehicle.model_year, vehicle.zero_km, vehicle.fuel,
           vehicle.fipe_code, before.price_brl, now.price_brl, now.price_brl - before.price_brl,
           round(100 * (now.price_brl - before.price_brl) / nullif(before.price_brl, 0), 2)
    from fipe.price as now
    join fipe.model_year as vehicle on vehicle.id = now.model_year_id
    join fipe.model on model.id = vehicle.model_id
    join fipe.manufacturer
        on (manufacturer.vehicle_type, manufacturer.code) = (model.vehicle_type, model.brand_code)
    cross join lateral (
        -- One look-up a vehicle: who asks for some vehicles must not wait for the whole month.
        select coalesce(
            (
                select price_brl
                from fipe.price
                where model_year_id = now.model_year_id
                  and reference_month = (select fipe.month_before($1, $2))
            ),
            fipe.price_under_former_fuel(now.model_year_id, (select fipe.month_before($1, $2)))
        ) as price_brl
        offset 0
    ) as before
    where now.reference_month = (
              select coalesce($1, fipe.newest_month()) where fipe.month_before($1, $2) is not null
          )
      and before.price_brl is not null
$$;
comment on function fipe.price_changes(date, date) is
    'Prices of a month against those of an earlier one; by default the newest month and the one before it.';

create or replace function fipe.biggest_movers(
    how_many integer default 10, month date default null, since date default null
)
returns table (
    vehicle_type smallint, brand text, model text, model_year smallint, zero_km boolean, fuel text, fipe_code text,
    price_before numeric, price_brl numeric, change_brl numeric, change_percent numeric
)
language sql stable parallel safe as $$
    with asked as materialized (
        select coalesce($2, fipe.newest_month()) as month, fipe.month_before($2, $3) as before
    ),
    -- The whole of two months, side by side, and no more of it than is needed to find the few that are asked for.
    moved as materialized (
        select now.model_year_id,
               now.price_brl / nullif(coalesce(before.price_brl, fipe.price_under_former_fuel(
                   now.model_year_id, (select before from asked)
               )), 0) as ratio
        from fipe.price as now
        left join (
            select * from fipe.price where reference_month = (select before from asked)
        ) as before using (model_year_id)
        where now.reference_month = (select month from asked where before is not null)
    ),
    biggest as (
        select * from (select * from moved order by ratio desc nulls last, model_year_id limit $1) as risen where ratio > 1
        union all
        select * from (select * from moved order by ratio, model_year_id limit $1) as fallen where ratio < 1
    )
    select model.vehicle_type, manufacturer.name, model.name, vehicle.model_year, vehicle.zero_km, vehicle.fuel,
           vehicle.fipe_code, before.price_brl, now.price_brl, now.price_brl - before.price_brl,
           round(100 * (biggest.ratio - 1), 2)
    from asked
    cross join biggest
    join fipe.price as now on (now.reference_month, now.model_year_id) = (asked.month, biggest.model_year_id)
    cross join lateral (
        select coalesce(
            (
                select price_brl
                from fipe.price
                where (reference_month, model_year_id) = (asked.before, biggest.model_year_id)
            ),
            fipe.price_under_former_fuel(biggest.model_year_id, asked.before)
        ) as price_brl
    ) as before
    join fipe.model_year as vehicle on vehicle.id = biggest.model_year_id
    join fipe.model on model.id = vehicle.model_id
    join fipe.manufacturer
        on (manufacturer.vehicle_type, manufacturer.code) = (model.vehicle_type, model.brand_code)
    order by biggest.ratio desc, vehicle.fipe_code, vehicle.model_year, vehicle.fuel_code
$$;
comment on function fipe.biggest_movers(integer, date, date) is
    'The vehicles whose price rose most, and those whose price fell most, from one month to another.';

-- The ledger of loads ---------------------------------------------------------------------------------------

create table if not exists fipe.load_run (
    id              integer generated always as identity primary key,
    run_id          uuid        not null,
    reference_code  integer     not null references fipe.reference_month (code),
    brands_expected integer     not null,
    started_at      timestamptz not null default now(),
    unique (run_id, reference_code)
);
alter table fipe.load_run
    add column if not exists whole_table   boolean,
    add column if not exists wanted_models jsonb   not null default '[]',
    add column if not exists changed       integer not null default 0,
    add column if not exists completed_at  timestamptz,
    add column if not exists shrunk        boolean;
comment on table fipe.load_run is
    'One row a run and reference month; started_at is when its plan or its first result arrived.';
comment on column fipe.load_run.whole_table is
    'whether the run loads all that the reference has; null until the run''s plan has come';
comment on column fipe.load_run.wanted_models is 'codes or names of the models that alone are loaded; empty means all';
comment on column fipe.load_run.changed is 'prices that this run found new or changed';
comment on column fipe.load_run.completed_at is 'when the last expected result was written; set once';
comment on column fipe.load_run.shrunk is
    'whether fipe.month_comparison showed an unfinished table when the load was complete';

create table if not exists fipe.load_brand (
    load_run_id     integer  not null references fipe.load_run (id) on delete cascade,
    vehicle_type    smallint not null,
    brand_code      integer  not null,
    models_expected integer,
    primary key (load_run_id, vehicle_type, brand_code)
);
alter table fipe.load_brand
    alter column models_expected drop not null,
    add column if not exists brand        text,
    add column if not exists completed_at timestamptz;
comment on column fipe.load_brand.models_expected is 'null until the brand''s models were found';

create table if not exists fipe.load_brand_plan (
    load_run_id  integer    not null,
    vehicle_type smallint   not null,
    brand_code   integer    not null,
    part         smallint   not null,
    model_codes  integer[]  not null,
    year_fuels   smallint[] not null,
    primary key (load_run_id, vehicle_type, brand_code, part),
    foreign key (load_run_id, vehicle_type, brand_code)
        references fipe.load_brand (load_run_id, vehicle_type, brand_code) on delete cascade,
    check (cardinality(model_codes) = cardinality(year_fuels))
);
comment on table fipe.load_brand_plan is
    'The models that a run is going to load of a brand, each with its number of year-fuel pairs. As arrays: twenty years'
    ' have millions of them, and nobody asks for one.';

create table if not exists fipe.load_model (
    load_run_id  integer     not null,
    vehicle_type smallint    not null,
    brand_code   integer     not null,
    model_code   integer     not null,
    prices       smallint    not null,
    unpriced     smallint    not null,
    received_at  timestamptz not null default now(),
    primary key (load_run_id, vehicle_type, brand_code, model_code),
    foreign key (load_run_id, vehicle_type, brand_code)
        references fipe.load_brand (load_run_id, vehicle_type, brand_code) on delete cascade
);
comment on column fipe.load_model.unpriced is 'year-fuels that FIPE lists for the model but has no price for';
alter table fipe.load_model add column if not exists rejected smallint not null default 0;
comment on column fipe.load_model.rejected is
    'year-fuels that FIPE lists for the model, but whose answers were never what was asked';

-- Loads of before there were plans.
update fipe.load_brand as brand set completed_at = received.last_at
from (
    select load_run_id, vehicle_type, brand_code, count(*) as models, max(received_at) as last_at
    from fipe.load_model
    group by load_run_id, vehicle_type, brand_code
) as received
where (received.load_run_id, received.vehicle_type, received.brand_code)
    = (brand.load_run_id, brand.vehicle_type, brand.brand_code)
  and brand.completed_at is null
  and brand.models_expected <= received.models
  and not exists (select from fipe.load_brand_plan as plan where plan.load_run_id = brand.load_run_id);
update fipe.load_brand as brand set completed_at = run.started_at
from fipe.load_run as run
where run.id = brand.load_run_id and brand.completed_at is null and brand.models_expected = 0;
update fipe.load_run as run set completed_at = brand.last_at
from (
    select load_run_id, count(completed_at) as complete, count(*) as known, max(completed_at) as last_at
    from fipe.load_brand
    group by load_run_id
) as brand
where brand.load_run_id = run.id and run.completed_at is null
  and brand.complete = brand.known and run.brands_expected <= brand.complete;

create or replace view fipe.load_missing_model as
select plan.load_run_id, plan.vehicle_type, plan.brand_code, planned.model_code, planned.year_fuels
from fipe.load_brand_plan as plan
cross join unnest(plan.model_codes, plan.year_fuels) as planned (model_code, year_fuels)
where not exists (
    select from fipe.load_model as received
    where (received.load_run_id, received.vehicle_type, received.brand_code, received.model_code)
        = (plan.load_run_id, plan.vehicle_type, plan.brand_code, planned.model_code)
);
comment on view fipe.load_missing_model is 'Models that a plan names and no result has come for.';

create or replace view fipe.load_brand_status as
select run.run_id,
       run.reference_code,
       brand.vehicle_type,
       brand.brand_code,
       brand.models_expected,
       count(model.model_code)::integer          as models_received,
       coalesce(sum(model.prices), 0)::integer   as prices,
       coalesce(sum(model.unpriced), 0)::integer as unpriced,
       max(model.received_at)                    as last_write_at,
       brand.completed_at is not null            as complete,
       brand.brand,
       brand.completed_at,
       (
           select sum(planned.year_fuels)::integer
           from fipe.load_brand_plan as plan
           cross join unnest(plan.year_fuels) as planned (year_fuels)
           where (plan.load_run_id, plan.vehicle_type, plan.brand_code)
               = (brand.load_run_id, brand.vehicle_type, brand.brand_code)
       ) as year_fuels_expected,
       coalesce(sum(model.rejected), 0)::integer as rejected
from fipe.load_run as run
join fipe.load_brand as brand on brand.load_run_id = run.id
left join fipe.load_model as model using (load_run_id, vehicle_type, brand_code)
group by run.id, brand.load_run_id, brand.vehicle_type, brand.brand_code;
comment on view fipe.load_brand_status is
    'One row a run, reference month and brand that the run''s plan or a result has named.';

create or replace view fipe.load_status as
select run.run_id,
       run.reference_code,
       reference.month                                    as reference_month,
       run.started_at,
       coalesce(max(brand.last_write_at), run.started_at) as last_write_at,
       run.brands_expected,
       count(*) filter (where brand.complete)::integer    as brands_complete,
       coalesce(sum(brand.models_expected), 0)::integer   as models_expected,
       coalesce(sum(brand.models_received), 0)::integer   as models_received,
       coalesce(sum(brand.prices), 0)::integer            as prices,
       coalesce(sum(brand.unpriced), 0)::integer          as unpriced,
       run.completed_at is not null                       as complete,
       run.completed_at,
       run.changed,
       coalesce(sum(brand.year_fuels_expected), 0)::integer as year_fuels_expected,
       run.whole_table,
       coalesce(run.shrunk, false)                        as shrunk,
       run.completed_at is not null and run.whole_table is true and run.changed = 0 and run.shrunk is false
           and coalesce(sum(brand.rejected), 0) = 0       as stable,
       coalesce(sum(brand.rejected), 0)::integer          as rejected
from fipe.load_run as run
join fipe.reference_month as reference on reference.code = run.reference_code
left join fipe.load_brand_status as brand using (run_id, reference_code)
group by run.id, reference.code;
comment on view fipe.load_status is
    'One row a run and reference month; models_expected counts the brands whose models were found so far; stable when a'
    ' complete load of the whole table has found nothing new.';

-- A month against the one before it ---

create or replace function fipe.looks_unfinished(now bigint, before bigint) returns boolean
language sql immutable strict parallel safe
return before - now >= greatest(5, 0.1 * before);
comment on function fipe.looks_unfinished(bigint, bigint) is
    'Whether a brand has lost a tenth of its models or prices, and at least five: no month does, an unfinished table does.';

create or replace view fipe.month_comparison as
with complete as (
    select distinct on (run.reference_code) run.id, run.reference_code, reference.month
    from fipe.load_run as run
    join fipe.reference_month as reference on reference.code = run.reference_code
    where run.whole_table and run.completed_at is not null
    order by run.reference_code, run.completed_at desc
)
select load.reference_code,
       load.month             as reference_month,
       counted.vehicle_type,
       counted.brand_code,
       counted.models_before,
       counted.models,
       counted.prices_before,
       counted.prices,
       case when counted.brand_code is null
            then counted.prices_before - counted.prices >= 0.02 * counted.prices_before
                 and counted.prices < counted.prices_before
            else fipe.looks_unfinished(counted.models, counted.models_before)
                 or fipe.looks_unfinished(counted.prices, counted.prices_before)
       end                    as shrunk
from complete as load
join complete as before on before.month = (load.month - interval '1 month')::date
cross join lateral (
    select model.vehicle_type,
           model.brand_code,
           count(*) filter (where model.load_run_id = before.id)                     as models_before,
           count(*) filter (where model.load_run_id = load.id)                       as models,
           coalesce(sum(model.prices) filter (where model.load_run_id = before.id), 0) as prices_before,
           coalesce(sum(model.prices) filter (where model.load_run_id = load.id), 0)   as prices
    from fipe.load_model as model
    where model.load_run_id in (load.id, before.id) and model.prices > 0
    group by grouping sets ((model.vehicle_type, model.brand_code), ())
) as counted;
comment on view fipe.month_comparison is
    'The newest complete load of each whole table against that of the month before: one row a brand, and one without a'
    ' brand for all. shrunk: a brand lost a tenth (and five) of its models or prices, or the table a fiftieth of its prices.';

-- What is missing, and how to load it ---

create or replace view fipe.load_missing as
select run.run_id,
       run.reference_code,
       reference.month as reference_month,
       missing.vehicle_type,
       missing.brand_code,
       coalesce(missing.brand, manufacturer.name) as brand,
       missing.model_code,
       model.name      as model,
       missing.year_fuels,
       missing.reason
from fipe.load_run as run
join fipe.reference_month as reference on reference.code = run.reference_code
cross join lateral (
    select null::smallint as vehicle_type, null::integer as brand_code, null::text as brand,
           null::integer as model_code, null::smallint as year_fuels,
           format('%s of %s brands are not known yet: the run''s plan has not come',
                  run.brands_expected - count(*), run.brands_expected) as reason
    from fipe.load_brand as brand
    where brand.load_run_id = run.id
    having count(*) < run.brands_expected
    union all
    select brand.vehicle_type, brand.brand_code, brand.brand, null, null,
           'its models were not found yet: the brand waits or is at work, or failed and is in the manufacturer DLQ'
    from fipe.load_brand as brand
    where brand.load_run_id = run.id and brand.models_expected is null
    union all
    select brand.vehicle_type, brand.brand_code, brand.brand, null, null,
           format('%s of %s models came, and the brand''s plan, which names the others, did not',
                  received.models, brand.models_expected)
    from fipe.load_brand as brand
    cross join lateral (
        select (
            select count(*) from fipe.load_model as model
            where (model.load_run_id, model.vehicle_type, model.brand_code)
                = (brand.load_run_id, brand.vehicle_type, brand.brand_code)
        ) as models
    ) as received
    where brand.load_run_id = run.id and brand.completed_at is null and received.models < brand.models_expected
      and not exists (
          select from fipe.load_brand_plan as plan
          where (plan.load_run_id, plan.vehicle_type, plan.brand_code)
              = (brand.load_run_id, brand.vehicle_type, brand.brand_code)
      )
    union all
    select model.vehicle_type, model.brand_code, brand.brand, model.model_code, model.year_fuels,
           'its prices have not come: the model waits or is at work, or failed and is in the model or the price DLQ'
    from fipe.load_missing_model as model
    join fipe.load_brand as brand using (load_run_id, vehicle_type, brand_code)
    where model.load_run_id = run.id
    union all
    select model.vehicle_type, model.brand_code, brand.brand, model.model_code, model.rejected,
           'some of its year-fuels had no usable answer: see fipe.rejected_answer'
    from fipe.load_model as model
    join fipe.load_brand as brand using (load_run_id, vehicle_type, brand_code)
    where model.load_run_id = run.id and model.rejected > 0
) as missing
left join fipe.manufacturer
    on (manufacturer.vehicle_type, manufacturer.code) = (missing.vehicle_type, missing.brand_code)
left join fipe.model
    on (model.vehicle_type, model.brand_code, model.code)
     = (missing.vehicle_type, missing.brand_code, missing.model_code);
comment on view fipe.load_missing is
    'What loads still lack: models, whole brands, what has no name yet, or rejected prices (year_fuels of them); and why.';

create or replace function fipe.resume_payloads(run_id uuid) returns setof jsonb
language sql stable as $$
    -- Whole brands: one payload a vehicle type, with the run's own choice of models.
    select jsonb_build_object('run_id', missing.run_id, 'reference', missing.reference_code,
                              'vehicle_types', jsonb_build_array(missing.vehicle_type),
                              'brands', jsonb_agg(missing.brand_code order by missing.brand_code))
           || case when run.wanted_models = '[]' then '{}' else jsonb_build_object('models', run.wanted_models) end
    from fipe.load_missing as missing
    join fipe.load_run as run using (run_id, reference_code)
    where missing.run_id = $1 and missing.brand_code is not null and missing.model_code is null
    group by missing.run_id, missing.reference_code, missing.vehicle_type, run.wanted_models
    union all
    -- Single models: one payload a brand.
    select jsonb_build_object('run_id', missing.run_id, 'reference', missing.reference_code,
                              'vehicle_types', jsonb_build_array(missing.vehicle_type),
                              'brands', jsonb_build_array(missing.brand_code),
                              'models', jsonb_agg(missing.model_code order by missing.model_code))
    from fipe.load_missing as missing
    where missing.run_id = $1 and missing.model_code is not null
    group by missing.run_id, missing.reference_code, missing.vehicle_type, missing.brand_code
$$;
comment on function fipe.resume_payloads(uuid) is
    'Payloads for FipeManufacturerLoader that load what a run still lacks, and nothing else, as part of that run.';

-- What the source answered and nobody should take for right ------------------------------------------------

-- A price's flags, without a flag stored: what is published is kept as published.
create or replace view fipe.flagged_price as
select flag.flag,
       price.reference_month,
       reference.code as reference_code,
       model.vehicle_type,
       model.brand_code,
       model.code      as model_code,
       model.name      as model,
       vehicle.model_year,
       vehicle.fuel_code,
       vehicle.fuel,
       vehicle.fipe_code,
       price.price_brl,
       coalesce(price.mirror, 'fipe') as source
from fipe.price
join fipe.reference_month as reference on reference.month = price.reference_month
join fipe.model_year as vehicle on vehicle.id = price.model_year_id
join fipe.model on model.id = vehicle.model_id
cross join lateral (
    values ('zero price', price.price_brl = 0),
           ('unknown fuel', vehicle.fuel_code not between 1 and 7),
           ('from a mirror', price.mirror is not null)
) as flag (flag, is_so)
where flag.is_so;
comment on view fipe.flagged_price is
    'Prices to look at twice, a row a flag: zero price, unknown fuel, from a mirror instead of the official API.';

create table if not exists fipe.rejected_answer (
    fingerprint    uuid        primary key,
    run_id         uuid        not null,
    reference_code integer,
    source         text        not null,
    call           text        not null,
    parameters     jsonb       not null,
    answer         text        not null,
    reason         text        not null,
    first_seen_at  timestamptz not null,
    last_seen_at   timestamptz not null,
    times_seen     integer     not null default 1
);
comment on table fipe.rejected_answer is
    'Answers that were not what was asked (truncated, another month, another vehicle, ...), with the call: kept apart, '
    'never taken for right. Part of no ledger: what a model lacks because of them is in fipe.load_model.rejected.';
comment on column fipe.rejected_answer.answer is 'the text as it came, cut at 4,000 characters';
create index if not exists rejected_answer_run_id on fipe.rejected_answer (run_id);

-- Rights -------------------------------------------------------------------------------------------------------

-- Roles belong to the whole server, so another database of it may have made them already.
do $$
begin
    if not exists (select from pg_roles where rolname = 'fipe_ingestor') then
        create role fipe_ingestor login;
    end if;
    if not exists (select from pg_roles where rolname = 'fipe_status') then
        create role fipe_status login;
    end if;
    if not exists (select from pg_roles where rolname = 'fipe_readers') then
        create role fipe_readers;
    end if;
    if not exists (select from pg_roles where rolname = 'fipe_reader') then
        create role fipe_reader login in role fipe_readers;
    end if;
    -- Aurora and RDS have the role rds_iam. Its members sign in with IAM tokens, and only with those: a password is
    -- refused even to a member of a member. So people with a password join fipe_readers, not fipe_reader.
    if exists (select from pg_roles where rolname = 'rds_iam') then
        if not pg_has_role('fipe_ingestor', 'rds_iam', 'member') then
            grant rds_iam to fipe_ingestor;
        end if;
        if not pg_has_role('fipe_status', 'rds_iam', 'member') then
            grant rds_iam to fipe_status;
        end if;
        if not pg_has_role('fipe_reader', 'rds_iam', 'member') then
            grant rds_iam to fipe_reader;
        end if;
    end if;
    -- PostgreSQL lets everybody make temporary tables. Here only the ingestor needs them.
    execute format('revoke temporary on database %I from public', current_database());
    execute format('grant connect, temporary on database %I to fipe_ingestor', current_database());
end
$$;

-- A warm function keeps its connection, and a serverless database pauses only when nobody is connected.
alter role fipe_ingestor set idle_session_timeout = '5min';
-- Writers take turns. A function that Lambda froze between two statements must not keep the others waiting.
alter role fipe_ingestor set idle_in_transaction_session_timeout = '30s';
-- The rights below let a reader change nothing. This also refuses what every role may do, such as making large objects.
alter role fipe_reader set default_transaction_read_only = on;

grant usage on schema fipe to fipe_ingestor, fipe_status, fipe_readers;
grant select, insert, update on
    fipe.reference_month, fipe.manufacturer, fipe.model, fipe.model_year, fipe.price,
    fipe.load_run, fipe.load_brand, fipe.load_brand_plan, fipe.load_model, fipe.rejected_answer
    to fipe_ingestor;
grant select on fipe.load_missing_model, fipe.month_comparison to fipe_ingestor;
grant select on fipe.load_run, fipe.load_status, fipe.load_missing to fipe_status;
grant select on all tables in schema fipe to fipe_readers;
