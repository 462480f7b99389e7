-- The FIPE schema: what was published, and the ledger of the loads that brought it.
-- Idempotent: the deploy runs it again whenever it changes, in one transaction; run twice it changes nothing.

create schema if not exists fipe;

comment on schema fipe is 'Prices of the FIPE table (Brazil), by reference month. Query fipe.vehicle_price.';

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
create index if not exists model_year_fipe_code on fipe.model_year (fipe_code);

create table if not exists fipe.price (
    model_year_id  integer       not null references fipe.model_year (id),
    reference_code integer       not null references fipe.reference_month (code),
    price_brl      numeric(12,2) not null check (price_brl >= 0),
    primary key (model_year_id, reference_code)
);
comment on column fipe.price.price_brl is 'reais; FIPE has published zeros, which are kept as published';

create or replace view fipe.vehicle_price as
select reference.month   as reference_month,
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
join fipe.reference_month as reference on reference.code = price.reference_code
join fipe.model_year as vehicle on vehicle.id = price.model_year_id
join fipe.model on model.id = vehicle.model_id
join fipe.manufacturer on (manufacturer.vehicle_type, manufacturer.code) = (model.vehicle_type, model.brand_code);
comment on view fipe.vehicle_price is 'One row a price: what people query.';

-- The ledger of loads ---------------------------------------------------------------------------------------

create table if not exists fipe.load_run (
    id              integer generated always as identity primary key,
    run_id          uuid        not null,
    reference_code  integer     not null references fipe.reference_month (code),
    brands_expected integer     not null,
    started_at      timestamptz not null default now(),
    unique (run_id, reference_code)
);
comment on table fipe.load_run is 'One row a run and reference month; started_at is when its first result arrived.';

create table if not exists fipe.load_brand (
    load_run_id     integer  not null references fipe.load_run (id) on delete cascade,
    vehicle_type    smallint not null,
    brand_code      integer  not null,
    models_expected integer  not null,
    primary key (load_run_id, vehicle_type, brand_code)
);

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

create or replace view fipe.load_brand_status as
select run.run_id,
       run.reference_code,
       brand.vehicle_type,
       brand.brand_code,
       brand.models_expected,
       count(model.model_code)::integer                as models_received,
       coalesce(sum(model.prices), 0)::integer         as prices,
       coalesce(sum(model.unpriced), 0)::integer       as unpriced,
       max(model.received_at)                          as last_write_at,
       count(model.model_code) = brand.models_expected as complete
from fipe.load_run as run
join fipe.load_brand as brand on brand.load_run_id = run.id
left join fipe.load_model as model using (load_run_id, vehicle_type, brand_code)
group by run.id, brand.load_run_id, brand.vehicle_type, brand.brand_code;
comment on view fipe.load_brand_status is 'One row a run, reference month and brand that a result has named.';

create or replace view fipe.load_status as
select run.run_id,
       run.reference_code,
       reference.month                                       as reference_month,
       run.started_at,
       coalesce(max(brand.last_write_at), run.started_at)    as last_write_at,
       run.brands_expected,
       count(*) filter (where brand.complete)::integer       as brands_complete,
       coalesce(sum(brand.models_expected), 0)::integer      as models_expected,
       coalesce(sum(brand.models_received), 0)::integer      as models_received,
       coalesce(sum(brand.prices), 0)::integer               as prices,
       coalesce(sum(brand.unpriced), 0)::integer             as unpriced,
       count(*) filter (where brand.complete) = run.brands_expected as complete
from fipe.load_run as run
join fipe.reference_month as reference on reference.code = run.reference_code
left join fipe.load_brand_status as brand using (run_id, reference_code)
group by run.id, reference.code;
comment on view fipe.load_status is
    'One row a run and reference month; models_expected counts the brands heard of so far; complete when all brands are.';

-- Who may do what -------------------------------------------------------------------------------------------

do $$
begin
    if not exists (select from pg_roles where rolname = 'fipe_ingestor') then
        create role fipe_ingestor login;
    end if;
    if not exists (select from pg_roles where rolname = 'fipe_reader') then
        create role fipe_reader nologin;
    end if;
    -- On Aurora and RDS this role lets IAM database tokens in; elsewhere there is none.
    if exists (select from pg_roles where rolname = 'rds_iam')
       and not pg_has_role('fipe_ingestor', 'rds_iam', 'member') then
        grant rds_iam to fipe_ingestor;
    end if;
    execute format('grant connect, temporary on database %I to fipe_ingestor', current_database());
end
$$;

grant usage on schema fipe to fipe_ingestor, fipe_reader;
grant select, insert, update on
    fipe.reference_month, fipe.manufacturer, fipe.model, fipe.model_year, fipe.price,
    fipe.load_run, fipe.load_brand, fipe.load_model
    to fipe_ingestor;
grant select on all tables in schema fipe to fipe_reader;
