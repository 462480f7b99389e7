-- The FIPE schema: the prices that FIPE published, and the ledger of the loads that brought them.
--
-- The deploy runs this script when it has changed, in one transaction. It may run again at any time: on a database that
-- is up to date it changes nothing.
--
-- In this order: version and upgrades, tables, questions, ledger, comments, rights.

-- Writers take turns by this lock (see BEGIN_WRITING in the writer), and this script takes its turn like them: it locks
-- tables in another order than they do, and without the lock the two could deadlock.
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

-- Settings of the database. random_page_cost is 4 by default, for turning disks: with that, a brand's month reads all
-- vehicles instead of the brand's by index. JIT compiles queries that run for seconds; these do not.
do $$
begin
    execute format('alter database %I set random_page_cost = 1.1', current_database());
    execute format('alter database %I set jit = off', current_database());
end
$$;

create schema if not exists fipe;

comment on schema fipe is 'Prices of the FIPE table (Brazil), by reference month. Query fipe.vehicle_price.';

-- Version and upgrades ------------------------------------------------------------------------------------------------

create table if not exists fipe.schema_version (
    only_row    boolean     primary key default true check (only_row),
    version     integer     not null,
    upgraded_at timestamptz not null default now()
);
comment on table fipe.schema_version is 'One row: the version of this schema.';

do $$
declare
    -- The version of this script. Raise it by one with each change that needs an upgrade below.
    script_version constant integer := 1;
    found_version integer := (select version from fipe.schema_version);
begin
    if found_version > script_version then
        -- The deploy takes this SQLSTATE for a success: undoing a deploy runs the older script on the newer schema.
        raise exception 'this database has version % of the schema, and this script is of version %: nothing was done',
                        found_version, script_version
            using errcode = 'FIPE1', hint = 'Deploy the newer release.';
    end if;

    -- Upgrades. There is no release yet, so there are none. From the first release on, what `create ... if not exists`
    -- and `create or replace` cannot do for an older database stands here, the oldest first, and stays:
    --
    --     if found_version < 2 then
    --         alter table fipe.price rename column price to price_brl;
    --     end if;
    --
    -- A new database has no version yet (null), so it skips them all. A view or function that an upgrade drops is made
    -- again below. The functions of the release before must be able to work with the upgraded tables, because a deploy
    -- that fails later brings those functions back, and not the older tables.

    if found_version is distinct from script_version then
        insert into fipe.schema_version (version) values (script_version)
        on conflict (only_row) do update set version = excluded.version, upgraded_at = excluded.upgraded_at;
    end if;
end
$$;

-- Tables: what FIPE published -----------------------------------------------------------------------------------------

-- How names are searched; the tables below keep the words of each name. No extension does this: Aurora has unaccent and
-- pg_trgm, but unaccent cannot be indexed, and other servers may have neither.
-- UTF-8 text with as many bytes as letters has no accent: that is most names, and much quicker.
-- plain() and words() are not strict: PostgreSQL would not inline them then, which takes half as long again.
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

create table if not exists fipe.reference_month (
    code  integer primary key,
    month date not null unique check (extract(day from month) = 1)
);
comment on table fipe.reference_month is
    'The reference months that the database knows, with FIPE''s codes. Codes are not in the order of months: order'
    ' by month.';

-- Names are those of the newest month, so that months loaded in any order end alike.
create table if not exists fipe.manufacturer (
    vehicle_type smallint not null check (vehicle_type between 1 and 3),
    code         integer  not null,
    name         text     not null,
    named_in     date     not null,
    words        tsvector not null generated always as (fipe.words(name)) stored,
    primary key (vehicle_type, code)
);
comment on table fipe.manufacturer is 'Brands. One brand has a row, and a code, for each vehicle type.';

create table if not exists fipe.model (
    id           integer generated always as identity primary key,
    vehicle_type smallint not null,
    brand_code   integer  not null,
    code         integer  not null,
    name         text     not null,
    named_in     date     not null,
    words        tsvector not null generated always as (fipe.words(name)) stored,
    unique (vehicle_type, brand_code, code),
    foreign key (vehicle_type, brand_code) references fipe.manufacturer (vehicle_type, code)
    -- Each month updates named_in of all models: half-empty pages have room for that, and no index is touched.
) with (fillfactor = 50);
comment on table fipe.model is 'Models of brands.';
create index if not exists model_words on fipe.model using gin (words);

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
comment on table fipe.model_year is 'Vehicles: a model with a model year and a fuel.';
create index if not exists model_year_fipe_code on fipe.model_year (fipe_code);

create table if not exists fipe.price (
    model_year_id   integer       not null references fipe.model_year (id),
    -- The month, not FIPE's code: people ask by month, and this way the planner knows it without a join.
    reference_month date          not null references fipe.reference_month (month),
    price_brl       numeric(12,2) not null check (price_brl >= 0),
    mirror          text,
    -- Month first: a load writes one stretch of this index, and most questions read one. With the vehicle first, each
    -- of a month's 50,000 look-ups was on another page: a brand's month took 62 ms instead of 10 at 330 months.
    primary key (reference_month, model_year_id)
);
comment on table fipe.price is 'Prices, by vehicle and reference month. fipe.vehicle_price shows them with all names.';
create index if not exists price_model_year_id on fipe.price (model_year_id);

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
comment on view fipe.vehicle_price is
    'One row per price, with all that names it: what people query. Quickest by reference_month, brand_code or'
    ' fipe_code.';

-- Questions: what people ask ------------------------------------------------------------------------------------------

create or replace function fipe.words_beginning(beginnings text[]) returns tsquery
language sql immutable strict parallel safe
return (select string_agg(quote_literal(beginning) || ':*', ' & ')::tsquery from unnest(beginnings) as beginning);
comment on function fipe.words_beginning(text[]) is
    'A text search query: each of these is the beginning of a word of the name.';

create or replace function fipe.newest_month() returns date
language sql stable parallel safe
return (select max(reference_month) from fipe.price);
comment on function fipe.newest_month() is
    'The newest reference month that has prices. While it is being loaded, it has only some of them.';

create or replace function fipe.search_models(search text)
returns table (vehicle_type smallint, brand_code integer, brand text, model_code integer, model text, last_month date)
language sql stable parallel safe as $$
    with asked as materialized (
        select word, fipe.words_beginning(array[word]) as beginning
        from unnest(tsvector_to_array(fipe.words(search))) as word
    ),
    -- A word that is in the brand's name need not be in the model's name, too.
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
    'Models whose brand and name have, for each word of the search, a word that begins with it. Accents and case do'
    ' not matter.';

-- Months up to about 2023 have only the fuels 1 to 3: there, an electric, flex or hybrid car is published under 1.
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
    'The model_year under another fuel that continues one under Gasolina after its last month; null when there is'
    ' none.';

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
comment on view fipe.latest_price is 'One row per vehicle: its price in the newest month that has one.';

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
    -- As fipe.heir does it, but for all models that have had this FIPE code.
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
    'The prices of a FIPE code, month by month. fuel is the vehicle''s fuel today, published_fuel the one of that'
    ' month.';

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
    'The prices of a FIPE code by age, in percent of its zero-km price or, without one, of its newest model year''s.';

create or replace function fipe.brands_named(search text) returns setof fipe.manufacturer
language sql stable parallel safe as $$
    select *
    from fipe.manufacturer
    where length(fipe.words($1)) > 0 and tsvector_to_array(words) @> tsvector_to_array(fipe.words($1))
$$;
comment on function fipe.brands_named(text) is
    'Brands whose names have all these words: "volkswagen" finds "VW - VolksWagen". Words must be whole: "gm" does'
    ' not find GMC.';

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
    'A brand''s vehicles between two prices in a month, the newest by default. The brand as in fipe.brands_named.';

create or replace function fipe.month_before(month date, since date) returns date
language sql stable parallel safe
return coalesce(since, (
    select max(earlier.reference_month)
    from fipe.price as earlier
    where earlier.reference_month < coalesce(month_before.month, (select fipe.newest_month()))
));
comment on function fipe.month_before(date, date) is
    'The month `since`; when that is null, the last month with prices before `month`, which is the newest by default.';

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
    'The price of a model_year in an earlier month that has it under Gasolina; see fipe.heir.';

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
        -- One look-up per vehicle: a question about a few vehicles must not wait for the whole month.
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
    'The prices of a month beside those of an earlier month; by default the newest month and the one before it.';

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
    -- Two whole months side by side, but only the columns that are needed to find the few vehicles asked for.
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
        select *
        from (select * from moved order by ratio desc nulls last, model_year_id limit $1) as risen
        where ratio > 1
        union all
        select *
        from (select * from moved order by ratio, model_year_id limit $1) as fallen
        where ratio < 1
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

-- Flags are computed, not stored: what was published is kept as published.
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
    'Prices to look at twice, one row per flag: zero price, unknown fuel, from a mirror instead of the official API.';

-- The ledger of loads -------------------------------------------------------------------------------------------------

create table if not exists fipe.load_run (
    id              integer generated always as identity primary key,
    run_id          uuid        not null,
    reference_code  integer     not null references fipe.reference_month (code),
    brands_expected integer     not null,
    started_at      timestamptz not null default now(),
    whole_table     boolean,
    wanted_models   jsonb       not null default '[]',
    changed         integer     not null default 0,
    completed_at    timestamptz,
    shrunk          boolean,
    unique (run_id, reference_code)
);
comment on table fipe.load_run is 'Loads: one row per run and reference month.';

create table if not exists fipe.load_brand (
    load_run_id     integer  not null references fipe.load_run (id) on delete cascade,
    vehicle_type    smallint not null,
    brand_code      integer  not null,
    brand           text,
    models_expected integer,
    completed_at    timestamptz,
    primary key (load_run_id, vehicle_type, brand_code)
);
comment on table fipe.load_brand is 'The brands of a load, as its plan or a result names them.';

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
    'The models that a load expects of a brand. In arrays: twenty years have millions of them, and nobody asks for'
    ' one alone.';

create table if not exists fipe.load_model (
    load_run_id  integer     not null,
    vehicle_type smallint    not null,
    brand_code   integer     not null,
    model_code   integer     not null,
    prices       smallint    not null,
    unpriced     smallint    not null,
    rejected     smallint    not null default 0,
    received_at  timestamptz not null default now(),
    primary key (load_run_id, vehicle_type, brand_code, model_code),
    foreign key (load_run_id, vehicle_type, brand_code)
        references fipe.load_brand (load_run_id, vehicle_type, brand_code) on delete cascade
);
comment on table fipe.load_model is 'The models of a load whose results have arrived.';

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
    'Answers of the source that were not what was asked for (cut short, another month, another vehicle), and were'
    ' not used.';
create index if not exists rejected_answer_run_id on fipe.rejected_answer (run_id);

create or replace view fipe.load_missing_model as
select plan.load_run_id, plan.vehicle_type, plan.brand_code, planned.model_code, planned.year_fuels
from fipe.load_brand_plan as plan
cross join unnest(plan.model_codes, plan.year_fuels) as planned (model_code, year_fuels)
where not exists (
    select from fipe.load_model as received
    where (received.load_run_id, received.vehicle_type, received.brand_code, received.model_code)
        = (plan.load_run_id, plan.vehicle_type, plan.brand_code, planned.model_code)
);
comment on view fipe.load_missing_model is 'Models that a load expects and whose results have not arrived.';

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
    'One row per load and brand: how far the brand has come.';

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
    'One row per load (run and reference month): how far it has come. models_expected counts the brands searched so'
    ' far.';

create or replace function fipe.looks_unfinished(now bigint, before bigint) returns boolean
language sql immutable strict parallel safe
return before - now >= greatest(5, 0.1 * before);
comment on function fipe.looks_unfinished(bigint, bigint) is
    'Whether a brand lost a tenth of its models or prices, and at least five: a finished month does not, an'
    ' unfinished one does.';

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
    'The newest complete load of each whole month against that of the month before: one row per brand, and one row'
    ' without'
    ' a brand for the whole month.';

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
           format('%s of %s brands are not known yet: the run''s plan has not arrived',
                  run.brands_expected - count(*), run.brands_expected) as reason
    from fipe.load_brand as brand
    where brand.load_run_id = run.id
    having count(*) < run.brands_expected
    union all
    select brand.vehicle_type, brand.brand_code, brand.brand, null, null,
           'its models are not known yet: the brand is waiting or being worked on, or it failed and is in the'
           ' manufacturer DLQ'
    from fipe.load_brand as brand
    where brand.load_run_id = run.id and brand.models_expected is null
    union all
    select brand.vehicle_type, brand.brand_code, brand.brand, null, null,
           format('%s of %s models have arrived; the brand''s plan, which names the others, has not',
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
           'its prices have not arrived: the model is waiting or being worked on, or it failed and is in the model'
           ' or the price DLQ'
    from fipe.load_missing_model as model
    join fipe.load_brand as brand using (load_run_id, vehicle_type, brand_code)
    where model.load_run_id = run.id
    union all
    select model.vehicle_type, model.brand_code, brand.brand, model.model_code, model.rejected,
           'some of its prices had no usable answer: see fipe.rejected_answer'
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
    'What loads still lack, and why: models, whole brands, brands that have no name yet, or rejected prices.';

create or replace function fipe.resume_payloads(run_id uuid) returns setof jsonb
language sql stable as $$
    -- Whole brands: one payload per vehicle type, with the models that the run was asked for.
    select jsonb_build_object('run_id', missing.run_id, 'reference', missing.reference_code,
                              'vehicle_types', jsonb_build_array(missing.vehicle_type),
                              'brands', jsonb_agg(missing.brand_code order by missing.brand_code))
           || case when run.wanted_models = '[]' then '{}' else jsonb_build_object('models', run.wanted_models) end
    from fipe.load_missing as missing
    join fipe.load_run as run using (run_id, reference_code)
    where missing.run_id = $1 and missing.brand_code is not null and missing.model_code is null
    group by missing.run_id, missing.reference_code, missing.vehicle_type, run.wanted_models
    union all
    -- Single models: one payload per brand.
    select jsonb_build_object('run_id', missing.run_id, 'reference', missing.reference_code,
                              'vehicle_types', jsonb_build_array(missing.vehicle_type),
                              'brands', jsonb_build_array(missing.brand_code),
                              'models', jsonb_agg(missing.model_code order by missing.model_code))
    from fipe.load_missing as missing
    where missing.run_id = $1 and missing.model_code is not null
    group by missing.run_id, missing.reference_code, missing.vehicle_type, missing.brand_code
$$;
comment on function fipe.resume_payloads(uuid) is
    'Payloads for FipeManufacturerLoader that load what a run still lacks, and nothing else, under the same run.';

-- Comments on columns -------------------------------------------------------------------------------------------------

-- psql's \d+ shows them. A column's name means the same in every table and view, so it is explained once, here.
do $$
declare
    described record;
begin
    for described in
        select attribute.attrelid::regclass as relation, attribute.attname as name, word.meaning
        from (values
            ('answer', 'the source''s answer as text, cut at 4,000 characters'),
            ('brand', 'the name of the brand'),
            ('brand_code', 'FIPE''s code of the brand; the same brand has another code for another vehicle type'),
            ('brands_complete', 'brands of the load whose results have all arrived'),
            ('brands_expected', 'brands that the load expects'),
            ('call', 'the call''s name, as FIPE names it'),
            ('changed', 'prices that this load found new or changed'),
            ('code', 'FIPE''s code'),
            ('complete', 'whether everything that is expected has arrived'),
            ('completed_at', 'when the last expected result was written; set once, null until then'),
            ('fingerprint', 'a hash of what was asked and answered'),
            ('fipe_code', 'FIPE''s code of the vehicle, such as 005340-6; several model years share one'),
            ('first_seen_at', 'when it was first seen'),
            ('flag', 'why to look twice: zero price, unknown fuel, or from a mirror'),
            ('fuel', 'the name of the fuel'),
            ('fuel_code', 'FIPE''s code of the fuel: 1 Gasolina, 2 Álcool, 3 Diesel, 4 Elétrico, 5 Flex, 6 Híbrido,'
             ' 7 Gás Natural; others are kept as they come'),
            ('id', 'a number of this database, which has no meaning outside of it'),
            ('last_seen_at', 'when it was last seen'),
            ('last_write_at', 'when its last result was written'),
            ('load_run_id', 'the load: fipe.load_run.id'),
            ('mirror', 'the mirror that gave this price (parallelum); null, which takes no room, means the official'
             ' API'),
            ('model', 'the name of the model'),
            ('model_code', 'FIPE''s code of the model'),
            ('model_codes', 'FIPE''s codes of the models'),
            ('model_id', 'the model: fipe.model.id'),
            ('model_year', 'the model year; FIPE''s 32000 means zero km'),
            ('model_year_id', 'the vehicle: fipe.model_year.id'),
            ('models', 'models with a price, in this month'),
            ('models_before', 'models with a price, in the month before'),
            ('models_expected', 'models that the load expects; null until they are known'),
            ('models_received', 'models whose results have arrived'),
            ('month', 'the reference month, as the first day of the month'),
            ('name', 'the name, from the newest month that has it'),
            ('named_in', 'the reference month that the names in this row were taken from'),
            ('only_row', 'always true: there is one row'),
            ('parameters', 'what the call asked for'),
            ('part', 'the number of this part: the plan of a large brand comes in parts of 5,000 models'),
            ('price_brl', 'the price in reais; FIPE has published zeros, which are kept'),
            ('prices', 'how many prices'),
            ('prices_before', 'how many prices, in the month before'),
            ('reason', 'why'),
            ('received_at', 'when the result was written'),
            ('reference_code', 'FIPE''s code of the reference month'),
            ('reference_month', 'the reference month, as the first day of the month'),
            ('rejected', 'prices that FIPE lists and that had no usable answer; see fipe.rejected_answer'),
            ('run_id', 'the run: what `fipe load` answers'),
            ('shrunk', 'whether more is gone since the month before than between two finished months: the month may'
             ' be unfinished'),
            ('source', 'who answered: fipe, the official API, or parallelum, a mirror'),
            ('stable', 'whether a complete load of the whole month found nothing new'),
            ('started_at', 'when its plan or its first result was written'),
            ('times_seen', 'how often it was seen'),
            ('unpriced', 'model years and fuels that FIPE lists and has no price for'),
            ('upgraded_at', 'when the schema came to this version'),
            ('vehicle_type', '1 car, 2 motorcycle, 3 truck'),
            ('version', 'the version of the schema'),
            ('wanted_models', 'codes or names of the only models to load; empty means all'),
            ('whole_table', 'whether the load is of everything that FIPE published for the month; null until its'
             ' plan has arrived'),
            ('words', 'the words of the name, for searching'),
            ('year_fuels', 'how many pairs of model year and fuel'),
            ('year_fuels_expected', 'how many pairs of model year and fuel the load expects; null until they are'
             ' known'),
            ('zero_km', 'whether this is a new car, which FIPE publishes as model year 32000')
        ) as word (name, meaning)
        join pg_attribute as attribute on attribute.attname = word.name and attribute.attnum > 0
        join pg_class as class on class.oid = attribute.attrelid
        where class.relnamespace = 'fipe'::regnamespace and class.relkind in ('r', 'v')
    loop
        execute format('comment on column %s.%I is %L', described.relation, described.name, described.meaning);
    end loop;
end
$$;

-- Names that mean more, or something else, in one place.
comment on column fipe.manufacturer.code is
    'FIPE''s code of the brand; the same brand has another code for another vehicle type';
comment on column fipe.model.code is 'FIPE''s code of the model';
comment on column fipe.reference_month.code is 'FIPE''s code of the reference month';
comment on column fipe.model_year.named_in is
    'the reference month that fuel and fipe_code were taken from; newer months may say the same';
comment on column fipe.load_brand_plan.year_fuels is 'for each model, how many pairs of model year and fuel it has';
comment on column fipe.load_missing.model_code is 'FIPE''s code of the model; null when the whole brand is missing';
comment on column fipe.load_missing.reason is 'why it is missing, and where to look';
comment on column fipe.load_missing.year_fuels is
    'how many pairs of model year and fuel are missing; null when that is not known';
comment on column fipe.month_comparison.brand_code is 'FIPE''s code of the brand; null in the row of the whole month';
comment on column fipe.month_comparison.shrunk is
    'whether the brand lost a tenth (and five) of its models or prices, or the month a fiftieth of its prices';
comment on column fipe.load_run.shrunk is 'whether fipe.month_comparison said shrunk when the load was complete';

-- Rights --------------------------------------------------------------------------------------------------------------

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
grant select on fipe.schema_version to fipe_ingestor, fipe_status;
grant select on all tables in schema fipe to fipe_readers;
