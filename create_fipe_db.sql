-- The FIPE schema: the prices that FIPE published, and the ledger of the loads that brought them.
--
-- The deploy runs this script when it has changed, in one transaction. It may run again at any time: on a database that
-- is up to date it changes nothing.
--
-- In this order: version and upgrades, tables, questions, ledger, watch rules, comments, rights.

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

-- Writers take turns by locking this table (see BEGIN_WRITING in the writer), and this script takes its turn like them: it
-- locks tables in another order than they do, and without the turn the two could deadlock. Not an advisory lock:
-- everybody may take one of those, and so keep the writers waiting.
create table if not exists fipe.writers_turn ();
lock table fipe.writers_turn in exclusive mode;
comment on table fipe.writers_turn is 'Internal: always empty: who locks it has the turn to write.';

comment on schema fipe is 'Prices of the FIPE table (Brazil), by reference month. Query fipe.vehicle_price.';

-- Version and upgrades ------------------------------------------------------------------------------------------------

create table if not exists fipe.schema_version (
    only_row      boolean     primary key default true check (only_row),
    version       integer     not null,
    upgraded_at   timestamptz not null default now(),
    script_sha256 text
);
comment on table fipe.schema_version is
    'One row: the version of this schema, and the script that made it.';

do $$
declare
    -- The version of this script. Raise it by one with each change that needs an upgrade below.
    script_version constant integer := 1;
    found_version integer := (select version from fipe.schema_version);
    -- A deploy sets this. It tells `fipe check` whether the database has the script that was deployed.
    script constant text := nullif(current_setting('fipe.script_sha256', true), '');
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
    update fipe.schema_version set script_sha256 = script where script_sha256 is distinct from script;
end
$$;

-- Tables: what FIPE published -----------------------------------------------------------------------------------------

-- How names are searched; fipe.model keeps the words of its names. No extension does this: Aurora has unaccent and
-- pg_trgm, but unaccent cannot be indexed, and other servers may have neither.
-- UTF-8 text with as many bytes as letters has no accent: that is most names, and much quicker.
-- plain() and words() are not strict: PostgreSQL would not inline them then, which takes half as long again.
create or replace function fipe.plain(written text) returns text
language sql immutable parallel safe
return lower(case when octet_length(written) = length(written) then written
                  else regexp_replace(normalize(written, NFD), '[\u0300-\u036F]', '', 'g') end);
comment on function fipe.plain(text) is 'Internal: the text in small letters without accents.';

-- Split here and not by a text search parser, which takes "High.CD" for the name of a host. A decimal comma is a
-- point.
create or replace function fipe.split(written text) returns text[]
language sql immutable parallel safe
return array_remove(regexp_split_to_array(
    regexp_replace(fipe.plain(written), '(?<=[0-9]),(?=[0-9])', '.', 'g'),
    '(?:[^a-z0-9.]|\.(?![0-9])|(?<![0-9])\.)+'
), '');
comment on function fipe.split(text) is 'Internal: the words of a text in their order, in small letters without accents.';

-- People write "tcross" and "crv" for T-Cross and CR-V. Few names have a hyphen, so that is looked at first.
-- PostgreSQL refuses words of more than 2,046 bytes; no name is longer than 250 letters.
create or replace function fipe.words(written text) returns tsvector
language sql immutable parallel safe
return array_to_tsvector(
    array(select distinct left(word, 250) from unnest(fipe.split(written)) as word)
    || case when written ~ '[[:alnum:]][-''´`][[:alnum:]]'
            then array(
                select left(regexp_replace(hyphenated[1], '[^a-z0-9]', '', 'g'), 250)
                from regexp_matches(fipe.plain(written), '[a-z0-9]+(?:[-''´`][a-z0-9]+)+', 'g') as hyphenated
            )
            else '{}'
       end
);
comment on function fipe.words(text) is
    'Internal: the words of a name, and those with a hyphen or an apostrophe also as one: "VW T-Cross 1.0" has vw, t, cross,'
    ' tcross and 1.0.';

-- Files that others publish have no codes, so a month that was only imported has none until a load names it.
create table if not exists fipe.reference_month (
    code  integer unique,
    month date primary key check (extract(day from month) = 1)
);
comment on table fipe.reference_month is
    'The reference months that the database knows, one row per month, with FIPE''s codes. Codes are not in the order of'
    ' months: order by month. A month may have no price yet: a load''s plan names it first.';

create table if not exists fipe.price_source (
    id   smallint primary key generated by default as identity (start with 100),
    name text     not null unique check (name <> 'fipe'),
    kind text     not null check (kind in ('mirror', 'import')),
    check ((kind = 'import') = (id >= 100))
);
comment on table fipe.price_source is
    'One row per source of prices other than the official API: mirrors have numbers below 100, imports from 100 on.';
insert into fipe.price_source (id, name, kind) values (1, 'parallelum', 'mirror') on conflict do nothing;

create or replace function fipe.is_imported(source smallint) returns boolean
language sql immutable parallel safe
return coalesce(source >= 100, false);
comment on function fipe.is_imported(smallint) is
    'Internal: whether a price came from a file. A load, by the official API or by a mirror, takes the place of such a price.';

-- What was published is never renamed: another name makes another row.
-- Imported files have no codes of brands and models. Until a load names them, an imported brand has a number of this
-- database's own, below zero, and an imported model one made of its FIPE code: fipe.own_model_code.
create table if not exists fipe.model (
    id           integer  primary key generated always as identity,
    vehicle_type smallint not null check (vehicle_type between 1 and 3),
    brand_code   integer  not null,
    model_code   integer  not null,
    brand        text     not null,
    model        text     not null,
    words        tsvector not null generated always as (fipe.words(brand || ' ' || model)) stored,
    unique (vehicle_type, brand_code, model_code, brand, model)
);
comment on table fipe.model is
    'One row per model as published: a brand and a model with these codes and names. Another name of the brand or the'
    ' model is another row.';
create index if not exists model_brand on fipe.model (brand);
create index if not exists model_words on fipe.model using gin (words);
create index if not exists model_without_code on fipe.model (vehicle_type, model_code) where model_code < 0;
create index if not exists model_of_brand_without_code on fipe.model (vehicle_type, brand) where brand_code < 0;

create or replace function fipe.own_model_code(fipe_code text, place integer default 0) returns integer
language sql immutable parallel safe
return -10 * replace(fipe_code, '-', '')::integer - 1 - place;
comment on function fipe.own_model_code(text, integer) is
    'Internal: the code of a model that FIPE''s own code is not known of, below zero. Models that bear one FIPE code at once have'
    ' places 0 to 9.';

create table if not exists fipe.vehicle (
    id          integer  primary key generated by default as identity,
    model_id    integer  not null references fipe.model (id),
    series_id   integer  not null,
    first_month date,
    last_month  date,
    model_year  smallint not null check (model_year > 0),
    fuel_code   smallint not null,
    duplicate   smallint not null default 0,
    zero_km     boolean  not null generated always as (model_year = 32000) stored,
    fipe_code   text     not null,
    fuel        text     not null,
    unique (model_id, model_year, fuel_code, fuel, fipe_code)
    -- Each month updates last_month of most vehicles: half a page of room, and no index has to change.
) with (fillfactor = 50);
comment on table fipe.vehicle is
    'One row per vehicle as published: a model with a model year, a fuel and a FIPE code. Vehicles that are the same'
    ' through time have the same series_id.';
create index if not exists vehicle_fipe_code on fipe.vehicle (fipe_code, model_year);
create index if not exists vehicle_series_id on fipe.vehicle (series_id);
create index if not exists vehicle_duplicate on fipe.vehicle (id) include (series_id, duplicate)
    where duplicate > 0;
create index if not exists vehicle_unknown_fuel on fipe.vehicle (id) where fuel_code not between 1 and 7;

create table if not exists fipe.price (
    vehicle_id      integer       not null references fipe.vehicle (id),
    -- The month, not FIPE's code: people ask by month, and this way the planner knows it without a join.
    reference_month date          not null references fipe.reference_month (month),
    price_brl       numeric(12,2) not null check (price_brl >= 0),
    -- fipe.price_source.id; null, which takes no room, means the official API. Not a foreign key: to check that price
    -- by price costs an import much, and only the two roles that write put a number here.
    source          smallint,
    -- Month first: a load writes one stretch of this index, and most questions read one. With the vehicle first, each
    -- of a month's 50,000 look-ups was on another page: a brand's month took 62 ms instead of 10 at 330 months.
    primary key (reference_month, vehicle_id)
);
comment on table fipe.price is
    'One row per vehicle and reference month: the price that holds. fipe.vehicle_price shows them with all names.';
create index if not exists price_vehicle_id on fipe.price (vehicle_id);
create index if not exists price_flagged on fipe.price (reference_month, vehicle_id)
    where price_brl = 0 or source < 100;

create table if not exists fipe.price_revision (
    reference_month date          not null references fipe.reference_month (month),
    vehicle_id      integer       not null references fipe.vehicle (id),
    price_brl       numeric(12,2) not null,
    source          smallint,
    load_run_id     integer,
    asked_from      timestamptz,
    asked_until     timestamptz   not null,
    ended_by        integer       not null,
    reason          text          not null check (reason in ('corrected', 'withdrawn', 'official'))
);
comment on table fipe.price_revision is
    'One row per price that no longer holds: what it was before the source corrected or withdrew it within a month.'
    ' fipe.price has what holds.';
create index if not exists price_revision_vehicle_id on fipe.price_revision (vehicle_id, reference_month);

-- A model that all loads of a month answered alike has no rows here: its prices and the ledger say the same.
create table if not exists fipe.model_answer (
    reference_month date     not null references fipe.reference_month (month),
    vehicle_type    smallint not null,
    brand_code      integer  not null,
    model_code      integer  not null,
    load_run_id     integer,
    asked_at        timestamptz,
    answer          jsonb,
    changed         smallint not null default 0,
    corrected       smallint not null default 0,
    withdrawn       smallint not null default 0,
    unique nulls not distinct (reference_month, vehicle_type, brand_code, model_code, load_run_id, asked_at)
);
comment on table fipe.model_answer is
    'Internal: all answers about models that were not answered alike within a month. Prices and revisions are computed from'
    ' them, whatever the order in which they arrive.';

-- Models that only an import knows have codes below zero, which FIPE does not know.
create or replace view fipe.model_of_code as
select distinct vehicle.fipe_code, model.vehicle_type, model.brand_code, model.model_code
from fipe.vehicle
join fipe.model on model.id = vehicle.model_id
where vehicle.last_month is not null and model.brand_code >= 0 and model.model_code >= 0;
comment on view fipe.model_of_code is
    'Internal: the models that have, or once had, a FIPE code: a load of FIPE codes asks for these.';

-- Left joins, though each price has all of this: PostgreSQL leaves out the tables that a query does not ask about.
create or replace view fipe.vehicle_price as
select price.reference_month,
       reference.code as reference_code,
       model.vehicle_type,
       model.brand_code,
       model.brand,
       model.model_code,
       model.model,
       vehicle.model_year,
       vehicle.zero_km,
       vehicle.fuel_code,
       vehicle.fuel,
       vehicle.fipe_code,
       price.price_brl,
       coalesce(source.name, 'fipe') as source
from fipe.price
left join fipe.reference_month as reference on reference.month = price.reference_month
left join fipe.vehicle on vehicle.id = price.vehicle_id
left join fipe.model on model.id = vehicle.model_id
left join fipe.price_source as source on source.id = price.source;
comment on view fipe.vehicle_price is
    'One row per price, with all that names it, as FIPE published it in that month: what people query. Quickest by'
    ' reference_month, brand or fipe_code. Key: reference_month, vehicle_type, brand_code, model_code, model_year,'
    ' fuel_code.';

-- Series: the same vehicle through time -------------------------------------------------------------------------------

create or replace function fipe.near(earlier date, later date) returns boolean
language sql stable parallel safe
return later <= (earlier + interval '1 year')::date or not exists (
    select from fipe.reference_month as between_them
    where between_them.month > earlier and between_them.month < later
      and exists (select from fipe.price where price.reference_month = between_them.month)
);
comment on function fipe.near(date, date) is
    'Internal: whether a vehicle that ends in the earlier month can go on in the later one: at most a year, or nothing loaded'
    ' between them.';

create or replace function fipe.chains(places text[], items integer[], first_months date[], last_months date[])
returns table (item integer, chain integer)
language sql stable as $$
    with recursive given as materialized (
        select distinct place, item, first_month, last_month
        from unnest($1, $2, $3, $4) as given (place, item, first_month, last_month)
    ),
    pair as materialized (
        select distinct a.item as earlier, b.item as later
        from given as a
        join given as b on b.place = a.place and b.first_month > a.last_month
        where fipe.near(a.last_month, b.first_month)
          and not exists (
              select from given as c
              where c.place = a.place and c.first_month > a.last_month and c.last_month < b.first_month
          )
    ),
    link as materialized (
        select earlier, later
        from (
            select *, count(*) over (partition by earlier) as after_it, count(*) over (partition by later) as before_it
            from pair
        ) as counted
        where after_it = 1 and before_it = 1
    ),
    chained (item, chain) as (
        select distinct item, item from given where item not in (select later from link)
        union all
        select link.later, chained.chain
        from chained
        join link on link.earlier = chained.item
    )
    select item, chain from chained
$$;
comment on function fipe.chains(text[], integer[], date[], date[]) is
    'Internal: items that follow one another have the same chain, which is the first of them. One follows another if it is the'
    ' only one that begins after it in one of its places, soon enough, and the other is the only one before it. The'
    ' arrays go together: an item can stand in several places.';

-- The steps:
-- 1. A node is a key (vehicle type, brand, model, model year, fuel: codes), whatever its names and FIPE codes were.
-- 2. In one model and model year, a fuel that ends goes on as the fuel that begins, if there is only one of each.
--    Fuels published side by side have months in common, so none of them ends before the other begins.
-- 3. What is one vehicle under two names or brands at once, always at the same price, is one unit.
-- 4. Of one FIPE code, model year and fuel, a model that ends goes on as the model that begins.
-- 5. So does, of one FIPE code and model year, what ends with one fuel and begins with another.
-- Each node and each unit has at most one before it and one after it, so a series never has two prices in a month,
-- other than the duplicates of step 3.
create or replace function fipe.series_of(vehicles integer[])
returns table (vehicle_id integer, series_id integer, duplicate smallint)
language sql stable as $$
    with recursive scope (id) as (
        select unnest($1)
        union
        select mate.id
        from scope
        join fipe.vehicle on vehicle.id = scope.id
        join fipe.model on model.id = vehicle.model_id
        cross join lateral (
            select other.id
            from fipe.vehicle as other
            join fipe.model as other_model on other_model.id = other.model_id
            where (other.fipe_code, other.model_year) = (vehicle.fipe_code, vehicle.model_year)
              and other_model.vehicle_type = model.vehicle_type
            union all
            select other.id
            from fipe.model as other_model
            join fipe.vehicle as other on other.model_id = other_model.id
            where (other_model.vehicle_type, other_model.brand_code, other_model.model_code)
                = (model.vehicle_type, model.brand_code, model.model_code)
              and other.model_year = vehicle.model_year
        ) as mate
    ),
    published as materialized (
        select vehicle.id, vehicle.first_month, vehicle.last_month, vehicle.fipe_code, vehicle.fuel_code,
               vehicle.model_year, model.vehicle_type, model.brand_code, model.model_code,
               min(vehicle.id) over (
                   partition by model.vehicle_type, model.brand_code, model.model_code, vehicle.model_year,
                                vehicle.fuel_code
               ) as node,
               min(vehicle.id) over (
                   partition by model.vehicle_type, model.brand_code, model.model_code, vehicle.model_year
               ) as cell
        from (select distinct id from scope) as scope
        join fipe.vehicle using (id)
        join fipe.model on model.id = vehicle.model_id
        where vehicle.first_month is not null
    ),
    node_chain as materialized (
        select node.item as node, node.chain
        from (
            select array_agg(cell::text) as cells, array_agg(node) as nodes, array_agg(first_month) as firsts,
                   array_agg(last_month) as lasts
            from (
                select cell, node, min(first_month) as first_month, max(last_month) as last_month
                from published
                group by cell, node
            ) as of_node
        ) as given
        cross join lateral fipe.chains(cells, nodes, firsts, lasts) as node
    ),
    chain as materialized (
        select published.*, node_chain.chain
        from published
        join node_chain using (node)
    ),
    -- Step 3. Two names at once of the same FIPE code, model year and fuel.
    beside as materialized (
        select distinct least(a.chain, b.chain) as one, greatest(a.chain, b.chain) as other
        from chain as a
        join chain as b
            on (b.vehicle_type, b.fipe_code, b.model_year, b.fuel_code)
             = (a.vehicle_type, a.fipe_code, a.model_year, a.fuel_code)
            and b.chain > a.chain and b.first_month <= a.last_month and a.first_month <= b.last_month
        where exists (
            select from fipe.price as one
            join fipe.price as other using (reference_month)
            where one.vehicle_id = a.id and other.vehicle_id = b.id
        )
    ),
    beside_edge as materialized (
        select one as chain, other as next from beside union all select other, one from beside
    ),
    beside_reached (chain, via) as (
        select distinct chain, chain from beside_edge
        union
        select beside_reached.chain, beside_edge.next
        from beside_reached
        join beside_edge on beside_edge.chain = beside_reached.via
    ),
    beside_group as materialized (
        select chain, min(via) as beside from beside_reached group by chain
    ),
    beside_price as materialized (
        select beside_group.beside, chain.chain, price.reference_month, price.price_brl
        from beside_group
        join chain using (chain)
        join fipe.price on price.vehicle_id = chain.id
    ),
    differing as materialized (
        select distinct a.chain as one, b.chain as other
        from beside_price as a
        join beside_price as b on (b.beside, b.reference_month) = (a.beside, a.reference_month)
        where a.price_brl <> b.price_brl
    ),
    equal_edge as materialized (
        select chain, next from beside_edge except select one, other from differing
    ),
    reached (chain, via) as (
        select distinct chain, chain from equal_edge
        union
        select reached.chain, equal_edge.next
        from reached
        join equal_edge on equal_edge.chain = reached.via
    ),
    grouped as materialized (
        select chain, min(via) as unit from reached group by chain
    ),
    -- Not if two of them that only a third connects had different prices.
    united as materialized (
        select chain, unit
        from grouped
        where unit not in (
            select a.unit
            from differing
            join grouped as a on a.chain = differing.one
            join grouped as b on b.chain = differing.other
            where a.unit = b.unit
        )
    ),
    member as materialized (
        select chain.*, coalesce(united.unit, chain.chain) as unit,
               case when united.unit is null then 0
                    else dense_rank() over (
                        partition by united.unit order by chain.brand_code, chain.model_code
                    ) - 1
               end as duplicate
        from chain
        left join united using (chain)
    ),
    -- Steps 4 and 5.
    of_fuel as materialized (
        select unit.unit, unit.chain
        from (
            select array_agg(row(vehicle_type, fipe_code, model_year, fuel_code)::text) as places,
                   array_agg(unit) as units, array_agg(unit_first) as firsts, array_agg(unit_last) as lasts
            from (
                select *, min(first_month) over of_unit as unit_first, max(last_month) over of_unit as unit_last
                from member
                window of_unit as (partition by unit)
            ) as spanned
        ) as given
        cross join lateral fipe.chains(places, units, firsts, lasts) as unit (unit, chain)
    ),
    of_code as materialized (
        select unit.unit, unit.chain
        from (
            select array_agg(row(vehicle_type, fipe_code, model_year)::text) as places,
                   array_agg(chain) as units, array_agg(chain_first) as firsts, array_agg(chain_last) as lasts
            from (
                select member.vehicle_type, member.fipe_code, member.model_year, of_fuel.chain,
                       min(first_month) over of_chain as chain_first, max(last_month) over of_chain as chain_last
                from member
                join of_fuel using (unit)
                window of_chain as (partition by of_fuel.chain)
            ) as spanned
        ) as given
        cross join lateral fipe.chains(places, units, firsts, lasts) as unit (unit, chain)
    )
    select member.id, min(member.id) over (partition by of_code.chain), member.duplicate::smallint
    from member
    join of_fuel using (unit)
    join of_code on of_code.unit = of_fuel.chain
    union all
    -- All of its prices are withdrawn.
    select vehicle.id, vehicle.id, 0
    from (select distinct id from scope) as scope
    join fipe.vehicle using (id)
    where vehicle.first_month is null
$$;
comment on function fipe.series_of(integer[]) is
    'Internal: the series of these vehicles and of all that can be in one with them, computed from the prices.';

create or replace function fipe.renew_series(vehicles integer[] default null) returns integer
language plpgsql set enable_hashjoin = on set enable_mergejoin = on as $$
declare
    renewed integer;
begin
    update fipe.vehicle as kept
    set series_id = computed.series_id, duplicate = computed.duplicate
    from fipe.series_of(coalesce(vehicles, array(select id from fipe.vehicle))) as computed
    where kept.id = computed.vehicle_id
      and (kept.series_id, kept.duplicate) <> (computed.series_id, computed.duplicate);
    get diagnostics renewed = row_count;
    return renewed;
end
$$;
comment on function fipe.renew_series(integer[]) is
    'Internal: writes the series of these vehicles, or of all; returns how many changed. The writer calls it for what changed.';

-- Questions: what people ask ------------------------------------------------------------------------------------------

create or replace function fipe.whole_words(words text[]) returns tsquery
language sql immutable strict parallel safe
return (select string_agg(quote_literal(left(word, 250)), ' & ')::tsquery from unnest(words) as word);
comment on function fipe.whole_words(text[]) is 'Internal: a text search query: each of these is a word of the name.';

-- A word of the search is the beginning of a word of the name. Two words may be one in the name: "hb 20" is HB20.
create or replace function fipe.words_beginning(words text[]) returns tsquery
language sql immutable strict parallel safe
return (
    select string_agg(with_two_joined.query, ' | ')::tsquery
    from generate_series(0, least(cardinality(words), 10) - 1) as joined
    cross join lateral (
        select string_agg(quote_literal(left(word || next, 250)) || ':*', ' & ') as query
        from unnest(words) with ordinality as written (word, place)
        cross join lateral (select case when place = joined then words[place + 1] else '' end as next) as following
        where joined = 0 or place <> joined + 1
    ) as with_two_joined
);
comment on function fipe.words_beginning(text[]) is
    'Internal: a text search query: each of these is the beginning of a word of the name, or two neighbours together are.';

-- Misspelled words are looked up as all words that are one letter away. pg_trgm would compare more loosely, but not
-- every server has it, and the same search should find the same everywhere.
create or replace function fipe.one_letter_away(word text) returns setof text
language sql immutable strict parallel safe as $$
    select overlay(word placing letter from place for replaced)
    from generate_series(1, length(word) + 1) as place
    cross join unnest('{0,1}'::integer[]) as replaced
    cross join regexp_split_to_table('abcdefghijklmnopqrstuvwxyz', '') as letter
    where place + replaced <= length(word) + 1
    union
    select overlay(word placing '' from place for 1) from generate_series(1, length(word)) as place
    union
    select overlay(word placing reverse(substr(word, place, 2)) from place for 2)
    from generate_series(1, length(word) - 1) as place
$$;
comment on function fipe.one_letter_away(text) is
    'Internal: all words with one letter more, one less, another one, or two neighbours that changed places.';

create or replace function fipe.words_alike(words text[]) returns tsquery
language sql immutable strict parallel safe
return (
    select string_agg(
               '(' || concat_ws(' | ', quote_literal(word) || ':*', misspelled.query, parted.query) || ')', ' & '
           )::tsquery
    from (select left(written, 250) as word from unnest(words) as written) as asked
    cross join lateral (
        select string_agg(quote_literal(alike), ' | ') as query
        from fipe.one_letter_away(word) as alike
        where word ~ '^[a-z]{4,25}$'
    ) as misspelled
    cross join lateral (
        select min(quote_literal(part[1]) || ' & ' || quote_literal(part[2]) || ':*') as query
        from regexp_matches(word, '^([a-z]+)([0-9]+)$') as part
    ) as parted
);
comment on function fipe.words_alike(text[]) is
    'Internal: a text search query that is laxer than fipe.words_beginning: a word of four or more letters may be a letter away'
    ' from one of the name, and "xc60" may be XC 60.';

create or replace function fipe.code_of(written text) returns text
language sql immutable parallel safe
return regexp_replace(written, '^\s*(\d{6})-?(\d)\s*$', '\1-\2');
comment on function fipe.code_of(text) is 'Internal: a FIPE code as FIPE writes it, with its hyphen; 0053406 is 005340-6.';

create or replace function fipe.models_named(search text)
returns table (vehicle_type smallint, brand_code integer, model_code integer)
language sql stable parallel safe as $$
    with matching as materialized (
        select model.vehicle_type, model.brand_code, model.model_code
        from fipe.model
        where model.words @@ (select fipe.words_beginning(fipe.split(search)))
        union
        select model.vehicle_type, model.brand_code, model.model_code
        from fipe.vehicle
        join fipe.model on model.id = vehicle.model_id
        where vehicle.fipe_code = fipe.code_of(search)
    )
    select * from matching
    union
    select model.vehicle_type, model.brand_code, model.model_code
    from fipe.model
    where not exists (select from matching) and model.words @@ (select fipe.words_alike(fipe.split(search)))
$$;
comment on function fipe.models_named(text) is
    'Internal: models with this FIPE code, or whose brand and name have, or once had, for each word of the search a word that'
    ' begins with it. Accents and case do not matter. If there are none, words may be misspelled by a letter.';

create or replace function fipe.newest_month() returns date
language sql stable parallel safe
return (
    select reference.month
    from fipe.reference_month as reference
    where exists (select from fipe.price where price.reference_month = reference.month)
    order by reference.month desc
    limit 1
);
comment on function fipe.newest_month() is
    'The newest reference month that has prices. While it is being loaded, it has only some of them.';

create or replace function fipe.asked_month(asked text) returns date
language plpgsql stable parallel safe as $$
declare
    month date;
begin
    if asked is null or asked = 'latest' then
        return fipe.newest_month();
    end if;
    if asked !~ '^[0-9]{4}-(0[1-9]|1[0-2])(-[0-9]{2})?$' then
        raise exception 'invalid month ''%'': use a month like 2026-06, or latest', asked
            using errcode = 'invalid_datetime_format';
    end if;
    month := (left(asked, 7) || '-01')::date;
    if not exists (select from fipe.price where price.reference_month = month) then
        raise notice 'the database has no prices of %', to_char(month, 'YYYY-MM');
    end if;
    return month;
end
$$;
comment on function fipe.asked_month(text) is
    'Internal: the month that is written so: 2026-06, any day of it (2026-06-15), or latest. Null means latest, too: the newest'
    ' month that has prices. A notice says when the month has none.';

-- In plpgsql, because the tables of loads and imports are made further below.
create or replace function fipe.loaded(month date) returns text
language plpgsql stable parallel safe as $$
declare
    has_loads boolean;
    all_complete boolean;
    whole_is_complete boolean;
begin
    select count(*) > 0, bool_and(run.completed_at is not null),
           coalesce(bool_or(run.completed_at is not null and run.whole_month), false)
    into has_loads, all_complete, whole_is_complete
    from fipe.load_run as run
    join fipe.reference_month as reference on reference.code = run.reference_code
    where reference.month = $1;
    return case when whole_is_complete then 'whole'
                when exists (select from fipe.import_month where import_month.reference_month = $1) then 'imported'
                when not has_loads then 'whole'
                when all_complete then 'part'
                else 'loading' end;
end
$$;
comment on function fipe.loaded(date) is
    'How far a month is loaded: whole (a load of the whole month is complete, or no load is known), imported (its prices,'
    ' or those that no load has brought yet, are from files, and it is as whole as those), part (only brands, types or'
    ' models of it were asked for) or loading (something is missing).';

create or replace function fipe.month_before(month text, since text) returns date
language plpgsql stable parallel safe as $$
declare
    asked constant date := fipe.asked_month($1);
    earlier date;
    passed_over date;
begin
    if since is not null then
        return fipe.asked_month(since);
    end if;
    for earlier in
        select reference.month
        from fipe.reference_month as reference
        where reference.month < asked
          and exists (select from fipe.price where price.reference_month = reference.month)
        order by reference.month desc
    loop
        exit when fipe.loaded(earlier) in ('whole', 'imported')
            or fipe.loaded(earlier) = 'part' and fipe.loaded(asked) not in ('whole', 'imported');
        passed_over := coalesce(passed_over, earlier);
        earlier := null;
    end loop;
    if passed_over is not null then
        raise notice '% is partly loaded, so % is compared with %: name the month to compare with it',
                     to_char(passed_over, 'YYYY-MM'), to_char(asked, 'YYYY-MM'),
                     coalesce(to_char(earlier, 'YYYY-MM'), 'nothing');
    end if;
    return earlier;
end
$$;
comment on function fipe.month_before(text, text) is
    'The month `since`; when that is null, the last month before `month` that has prices and is whole or imported, or,'
    ' for a month that is neither itself, at least not loading.';

-- In plpgsql, which keeps the plan: that of an SQL function would be made anew for each search, and take longer than
-- most of them. Memoize would remember what is never asked twice.
create or replace function fipe.search_models(search text)
returns table (
    vehicle_type smallint, brand text, model text, fipe_codes text, model_years text, price_brl numeric,
    last_month date, brand_code integer, model_code integer
)
language plpgsql stable parallel safe set enable_memoize = off as $$
#variable_conflict use_column
begin
    return query
    select found.vehicle_type, newest.brand, newest.model, offered.fipe_codes, offered.model_years, price.price_brl,
           newest.last_month, found.brand_code, found.model_code
    from fipe.models_named(search) as found
    cross join lateral (
        select model.id, model.brand, model.model, model.words, vehicle.last_month
        from fipe.model
        join fipe.vehicle on vehicle.model_id = model.id
        where (model.vehicle_type, model.brand_code, model.model_code)
            = (found.vehicle_type, found.brand_code, found.model_code)
          and vehicle.last_month is not null
        order by vehicle.last_month desc, model.brand, model.model
        limit 1
    ) as newest
    cross join lateral (
        -- Most models have one FIPE code, and to compare is quicker than to sort.
        select case when min(vehicle.fipe_code) = max(vehicle.fipe_code) then min(vehicle.fipe_code)
                    else array_to_string(
                        array(select distinct code from unnest(array_agg(vehicle.fipe_code)) as code order by code), ', '
                    )
               end as fipe_codes,
               concat_ws(', ',
                   case when min(model_year) = max(model_year) filter (where not zero_km)
                        then min(model_year)::text
                        else min(model_year) || '-' || max(model_year) filter (where not zero_km)
                   end,
                   case when bool_or(zero_km) then 'zero km' end
               ) as model_years,
               -- Of the newest model year, the fuel with the lowest code.
               (max(array[vehicle.model_year, -vehicle.fuel_code, vehicle.id]))[3] as newest_vehicle
        from fipe.vehicle
        where vehicle.model_id = newest.id and vehicle.last_month = newest.last_month
    ) as offered
    join fipe.price on (price.reference_month, price.vehicle_id) = (newest.last_month, offered.newest_vehicle)
    order by newest.last_month desc, newest.words @@ (select fipe.whole_words(fipe.split(search))) desc, newest.brand,
             newest.model, found.brand_code, found.model_code;
end
$$;
comment on function fipe.search_models(text) is
    'Models with this FIPE code, or whose brand and name have, or once had, for each word of the search a word that begins'
    ' with it; those with just these words come first. Names, FIPE codes, model years and the price, which is that of the'
    ' newest model year, are those of the last month that has the model.';

create or replace view fipe.counted_price as
select price.reference_month, price.vehicle_id, vehicle.series_id, price.price_brl
from fipe.price
join fipe.vehicle on vehicle.id = price.vehicle_id
where vehicle.duplicate = 0 or not exists (
    select from fipe.vehicle as other
    join fipe.price as same on same.vehicle_id = other.id
    where other.series_id = vehicle.series_id and other.duplicate < vehicle.duplicate
      and same.reference_month = price.reference_month
);
comment on view fipe.counted_price is
    'One row per series and reference month: what stands under two names or brands at once counts once. Key:'
    ' reference_month, series_id.';

create or replace view fipe.latest_price as
select latest.reference_month,
       model.vehicle_type,
       model.brand,
       model.model,
       vehicle.model_year,
       vehicle.zero_km,
       vehicle.fuel,
       vehicle.fipe_code,
       latest.price_brl
from fipe.vehicle
join fipe.model on model.id = vehicle.model_id
join fipe.price as latest on (latest.reference_month, latest.vehicle_id) = (vehicle.last_month, vehicle.id)
where not exists (
    select from fipe.vehicle as newer
    where newer.series_id = vehicle.series_id
      and (newer.last_month > vehicle.last_month
           or newer.last_month = vehicle.last_month and newer.duplicate < vehicle.duplicate)
);
comment on view fipe.latest_price is
    'One row per series: its price in the newest month that has one, with the names of that month. Key: none; a series'
    ' has no number that lasts.';

create or replace function fipe.price_of(
    search text, model_year integer default null, month text default null, since text default null
)
returns table (
    month_before date, reference_month date, vehicle_type smallint, brand text, model text, model_year smallint,
    zero_km boolean, fuel text, fipe_code text, price_before numeric, price_brl numeric, change_brl numeric,
    change_percent numeric
)
language sql stable parallel safe as $$
    with asked as materialized (
        select distinct vehicle.series_id
        from fipe.models_named($1) as named
        join fipe.model using (vehicle_type, brand_code, model_code)
        join fipe.vehicle on vehicle.model_id = model.id
        where vehicle.last_month is not null and ($2 is null or vehicle.model_year = $2)
    ),
    months as materialized (
        select fipe.asked_month($3) as month, case when $4 is not null then fipe.asked_month($4) end as since
    )
    select months.since, months.month, model.vehicle_type, model.brand, model.model, vehicle.model_year, vehicle.zero_km,
           vehicle.fuel, vehicle.fipe_code, before.price_brl, now.price_brl, now.price_brl - before.price_brl,
           round(100 * (now.price_brl - before.price_brl) / nullif(before.price_brl, 0), 2)
    from months
    cross join asked
    join fipe.counted_price as now on now.series_id = asked.series_id and now.reference_month = months.month
    join fipe.vehicle on vehicle.id = now.vehicle_id
    join fipe.model on model.id = vehicle.model_id
    left join fipe.counted_price as before
        on before.series_id = asked.series_id and before.reference_month = months.since
    order by model.brand, model.model, model.brand_code, model.model_code, vehicle.model_year desc, vehicle.fuel_code
$$;
comment on function fipe.price_of(text, integer, text, text) is
    'The prices in a month, the newest by default, of the models that fipe.search_models finds, beside those of an'
    ' earlier month if one is given.';

create or replace function fipe.price_history(fipe_code text, model_year integer default null)
returns table (
    reference_month date, brand text, model text, model_year smallint, zero_km boolean, fuel text,
    published_fuel text, price_brl numeric, change_brl numeric, change_percent numeric
)
language sql stable parallel safe as $$
    with asked as materialized (
        select distinct vehicle.series_id
        from fipe.vehicle
        where vehicle.fipe_code = fipe.code_of($1) and ($2 is null or vehicle.model_year = $2)
          and vehicle.last_month is not null
    ),
    published as materialized (
        select vehicle.*, model.brand, model.model, model.brand_code, model.model_code
        from asked
        join fipe.vehicle using (series_id)
        join fipe.model on model.id = vehicle.model_id
        where vehicle.last_month is not null
    ),
    newest as (
        select distinct on (series_id) series_id, fuel, fuel_code, brand_code, model_code
        from published
        order by series_id, last_month desc, duplicate
    ),
    counted as (
        select distinct on (published.series_id, price.reference_month)
               price.reference_month, published.*, price.price_brl as price
        from published
        join fipe.price on price.vehicle_id = published.id
        order by published.series_id, price.reference_month, published.duplicate
    ),
    compared as (
        select counted.*, newest.fuel as newest_fuel, newest.fuel_code as newest_fuel_code,
               newest.brand_code as newest_brand_code, newest.model_code as newest_model_code,
               lag(counted.price) over (partition by series_id order by counted.reference_month) as before
        from counted
        join newest using (series_id)
    )
    select reference_month, brand, model, model_year, zero_km, newest_fuel, fuel, price, price - before,
           round(100 * (price - before) / nullif(before, 0), 2)
    from compared
    order by model_year desc, newest_fuel_code, newest_brand_code, newest_model_code, reference_month
$$;
comment on function fipe.price_history(text, integer) is
    'The prices of all vehicles that had this FIPE code in some month, month by month, with changes within each'
    ' series. fuel is the newest fuel of the series, published_fuel the one of that month.';

create or replace function fipe.depreciation(fipe_code text, month text default null)
returns table (
    brand text, model text, model_year smallint, zero_km boolean, age_years integer, fuel text, price_brl numeric,
    percent_of_newest numeric
)
language sql stable parallel safe as $$
    with asked as materialized (
        select distinct vehicle.series_id from fipe.vehicle where vehicle.fipe_code = fipe.code_of($1)
    )
    select model.brand, model.model, vehicle.model_year, vehicle.zero_km,
           case when vehicle.zero_km then 0
                else greatest(0, extract(year from counted.reference_month)::integer - vehicle.model_year) end,
           vehicle.fuel, counted.price_brl,
           round(100 * counted.price_brl / nullif(first_value(counted.price_brl) over newest_first, 0), 1)
    from asked
    join fipe.counted_price as counted using (series_id)
    join fipe.vehicle on vehicle.id = counted.vehicle_id
    join fipe.model on model.id = vehicle.model_id
    where counted.reference_month = (select fipe.asked_month($2))
    window newest_first as (
        partition by vehicle.fuel_code, model.brand_code, model.model_code order by vehicle.model_year desc
    )
    order by vehicle.fuel_code, model.brand_code, model.model_code, vehicle.model_year desc
$$;
comment on function fipe.depreciation(text, text) is
    'The prices of the vehicles with this FIPE code by age, in percent of the zero-km price or, without one, of the'
    ' newest model year''s.';

create or replace function fipe.brands_named(search text)
returns table (vehicle_type smallint, brand_code integer, brand text)
language sql stable parallel safe as $$
    -- Materialized: the words of a brand are found once, and not for each of its models.
    with published as materialized (
        select distinct model.vehicle_type, model.brand_code, model.brand
        from fipe.model
        where model.words @@ (select fipe.whole_words(fipe.split($1)))
    ),
    named as (
        select published.*, fipe.split(published.brand) = fipe.split($1) as is_whole_name
        from published
        where fipe.split(published.brand) @> fipe.split($1)
    )
    select named.vehicle_type, named.brand_code, named.brand
    from named
    where named.is_whole_name or not exists (
        select from named as other where other.vehicle_type = named.vehicle_type and other.is_whole_name
    )
$$;
comment on function fipe.brands_named(text) is
    'Brands whose names have all these words, whole: "volkswagen" finds "VW - VolksWagen", "gm" does not find GMC. Of'
    ' a vehicle type that has brands of exactly this name, only those: "scania" finds SCANIA and not SAAB-SCANIA.';

create or replace function fipe.vehicles_between(
    brand text, least_brl numeric, most_brl numeric, month text default null
)
returns table (
    vehicle_type smallint, brand text, model text, model_year smallint, zero_km boolean, fuel text, fipe_code text,
    price_brl numeric
)
language sql stable parallel safe as $$
    select model.vehicle_type, model.brand, model.model, vehicle.model_year, vehicle.zero_km, vehicle.fuel,
           vehicle.fipe_code, counted.price_brl
    from (
        select vehicle_type, brand_code from fipe.brands_named($1)
        union
        select vehicle_type, brand_code from fipe.model where $1 is null
    ) as named
    join fipe.model using (vehicle_type, brand_code)
    -- Most vehicles of a brand are from other times; they need not be looked up among the prices.
    join fipe.vehicle on vehicle.model_id = model.id
        and (select fipe.asked_month($4)) between vehicle.first_month and vehicle.last_month
    join fipe.counted_price as counted on counted.vehicle_id = vehicle.id
    where counted.reference_month = (select fipe.asked_month($4)) and counted.price_brl between $2 and $3
    order by counted.price_brl, model.model, vehicle.model_year, vehicle.fuel_code, model.brand_code, model.model_code
$$;
comment on function fipe.vehicles_between(text, numeric, numeric, text) is
    'A brand''s vehicles between two prices in a month, the newest by default. The brand as in fipe.brands_named, by'
    ' any name that it has had; null means all brands.';

-- Most vehicles are in both months, and the primary key gives both in the order of vehicles: that join is quick. Only
-- the others are looked up by series, one by one: offset 0 keeps the planner from joining all vehicles for them.
-- Duplicates never differ in price, so the price before of any of them is the one of the series. Left joins, as in
-- fipe.vehicle_price.
create or replace function fipe.two_months(month text, since text)
returns table (
    month_before date, reference_month date, difference text, vehicle_id integer, vehicle_type smallint, brand_code integer, brand text, model_code integer,
    model text, model_year smallint, zero_km boolean, fuel_code smallint, fuel text, fipe_code text,
    price_before numeric, price_brl numeric
)
language sql stable parallel safe as $$
    select (select fipe.month_before($1, $2)), now.reference_month,
           case when earlier.price_brl is null then 'new'
                when now.price_brl <> earlier.price_brl then 'changed'
                else 'unchanged' end,
           now.vehicle_id, model.vehicle_type, model.brand_code, model.brand, model.model_code, model.model,
           vehicle.model_year, vehicle.zero_km, vehicle.fuel_code, vehicle.fuel, vehicle.fipe_code,
           earlier.price_brl, now.price_brl
    from fipe.price as now
    left join fipe.price as before
        on before.vehicle_id = now.vehicle_id and before.reference_month = (select fipe.month_before($1, $2))
    cross join lateral (
        select coalesce(before.price_brl, (
            select price.price_brl
            from fipe.vehicle as same
            join fipe.vehicle as other using (series_id)
            join fipe.price on price.vehicle_id = other.id
            where same.id = now.vehicle_id and price.reference_month = (select fipe.month_before($1, $2))
            limit 1
        )) as price_brl
        offset 0
    ) as earlier
    left join fipe.vehicle on vehicle.id = now.vehicle_id
    left join fipe.model on model.id = vehicle.model_id
    where now.reference_month = (select fipe.asked_month($1))
      and not exists (
          select from fipe.vehicle as twice
          join fipe.vehicle as other on other.series_id = twice.series_id and other.duplicate < twice.duplicate
          join fipe.price as counted on counted.vehicle_id = other.id
          where twice.id = now.vehicle_id and twice.duplicate > 0
            and counted.reference_month = (select fipe.asked_month($1))
      )
    union all
    select before.reference_month, (select fipe.asked_month($1)), 'gone', before.vehicle_id, model.vehicle_type, model.brand_code, model.brand, model.model_code,
           model.model, vehicle.model_year, vehicle.zero_km, vehicle.fuel_code, vehicle.fuel, vehicle.fipe_code,
           before.price_brl, null
    from fipe.price as before
    join fipe.vehicle on vehicle.id = before.vehicle_id
    left join fipe.model on model.id = vehicle.model_id
    where before.reference_month = (select fipe.month_before($1, $2))
      and not exists (
          select from fipe.price as same
          where same.vehicle_id = before.vehicle_id and same.reference_month = (select fipe.asked_month($1))
      )
      and (vehicle.duplicate = 0 or not exists (
          select from fipe.vehicle as other
          join fipe.price as counted on counted.vehicle_id = other.id
          where other.series_id = vehicle.series_id and other.duplicate < vehicle.duplicate
            and counted.reference_month = before.reference_month
      ))
      and not exists (
          select from fipe.vehicle as other
          join fipe.price as now on now.vehicle_id = other.id
          where other.series_id = vehicle.series_id and other.id <> before.vehicle_id
            and now.reference_month = (select fipe.asked_month($1))
          offset 0
      )
$$;
comment on function fipe.two_months(text, text) is
    'Internal: the series of two months, each once, with all that the questions about two months need.';

create or replace function fipe.month_differences(month text default null, since text default null)
returns table (
    month_before date, reference_month date, difference text, vehicle_type smallint, brand text, model text, model_year smallint, zero_km boolean, fuel text,
    fipe_code text, price_before numeric, price_brl numeric
)
language sql stable parallel safe as $$
    select month_before, reference_month, difference, vehicle_type, brand, model, model_year, zero_km, fuel, fipe_code,
           price_before, price_brl
    from fipe.two_months($1, $2)
$$;
comment on function fipe.month_differences(text, text) is
    'All vehicles of two months, each once: new, gone, changed or unchanged since the earlier one. What is gone is'
    ' named as the earlier month has it.';

create or replace function fipe.brands_loaded(month date) returns table (vehicle_type smallint, brand_code integer)
language plpgsql stable parallel safe as $$
begin
    if fipe.loaded(month) in ('part', 'loading') then
        return query
            select brand.vehicle_type, brand.brand_code
            from fipe.load_run as run
            join fipe.reference_month as reference on reference.code = run.reference_code
            join fipe.load_brand as brand on brand.load_run_id = run.id
            where reference.month = $1 and brand.completed_at is not null and run.wanted_models = '[]';
    else
        return query select distinct model.vehicle_type, model.brand_code from fipe.model;
    end if;
end
$$;
comment on function fipe.brands_loaded(date) is
    'Internal: brands of which a month has everything: all when the month is whole or imported, otherwise those that a load has completed.';

-- Most vehicles are in both months and stand in one place, and the primary key gives both months in the order of
-- vehicles: these are counted as they come. Only the others are put together by series. EXECUTE plans each pair for its
-- own months, and without the tables that `by` does not need.
create or replace function fipe.month_by_month(
    month text default null, since text default null, by text default null
)
returns table (
    month_before date, reference_month date, months_apart integer, loaded text, vehicle_type smallint,
    brand_code integer, brand text, vehicles_before bigint, vehicles bigint, new bigint, came_back bigint, gone bigint, renamed bigint,
    changed_fuel bigint, rose bigint, fell bigint, unchanged bigint
)
language plpgsql stable parallel safe as $$
declare
    latest constant date := fipe.asked_month($1);
    earliest constant date := case when since is not null then fipe.asked_month(since) end;
    groups constant text := case by
        when 'type' then 'model.vehicle_type, null::integer as brand_code, null as brand'
        when 'brand' then 'model.vehicle_type, model.brand_code, model.brand'
        else 'null::smallint as vehicle_type, null::integer as brand_code, null as brand' end;
    asked_brands text;
begin
    if by not in ('type', 'brand') then
        raise exception 'invalid by ''%'': use type or brand, or leave it out', by
            using errcode = 'invalid_parameter_value';
    end if;
    for reference_month in
        select known.month
        from fipe.reference_month as known
        where known.month <= latest and (earliest is null or known.month > earliest)
          and exists (select from fipe.price where price.reference_month = known.month)
        order by known.month
    loop
        month_before := fipe.month_before(reference_month::text, null);
        continue when month_before is null;
        loaded := fipe.loaded(reference_month);
        months_apart := 12 * (extract(year from reference_month) - extract(year from month_before))
                        + extract(month from reference_month) - extract(month from month_before);
        asked_brands := case when loaded in ('part', 'loading') then format($brands$
            (model.vehicle_type, model.brand_code) in (
                select * from fipe.brands_loaded(%L) intersect select * from fipe.brands_loaded(%L)
            ) $brands$, month_before, reference_month) else 'true' end;
        return query execute format($pair$
            with in_several_places as materialized (
                select vehicle.id
                from fipe.vehicle
                where vehicle.series_id in (select twice.series_id from fipe.vehicle as twice where twice.duplicate > 0)
            ),
            published as (
                select vehicle_id, before.price_brl as before, now.price_brl as now,
                       before.price_brl is not null and now.price_brl is not null and several.id is null as is_alone
                from (select vehicle_id, price_brl from fipe.price where reference_month = %1$L) as before
                full join (select vehicle_id, price_brl from fipe.price where reference_month = %2$L) as now
                    using (vehicle_id)
                left join in_several_places as several on several.id = vehicle_id
            ),
            passed as materialized (
                select %5$s,
                       count(*) filter (where is_alone) as vehicles,
                       count(*) filter (where is_alone and now > before and before > 0) as rose,
                       count(*) filter (where is_alone and now < before and now > 0) as fell,
                       array_agg(vehicle_id) filter (where not is_alone) as other_vehicles,
                       array_agg(before) filter (where not is_alone) as before,
                       array_agg(now) filter (where not is_alone) as now
                from published
                left join fipe.vehicle on vehicle.id = vehicle_id
                left join fipe.model on model.id = vehicle.model_id
                where not is_alone or %6$s
                group by 1, 2, 3
            ),
            series as (
                select vehicle.series_id, max(other.before) as before, max(other.now) as now,
                       -- Named as the later month has it, or else the earlier.
                       (array_agg(other.vehicle_id order by other.now is null, vehicle.duplicate))[1] as vehicle_id,
                       not array_agg(model.brand || e'\n' || model.model) filter (where other.before is not null)
                           && array_agg(model.brand || e'\n' || model.model) filter (where other.now is not null)
                           as renamed,
                       not array_agg(vehicle.fuel_code::integer) filter (where other.before is not null)
                           && array_agg(vehicle.fuel_code::integer) filter (where other.now is not null) as changed_fuel
                from passed
                cross join unnest(other_vehicles, passed.before, passed.now) as other (vehicle_id, before, now)
                join fipe.vehicle on vehicle.id = other.vehicle_id
                join fipe.model on model.id = vehicle.model_id
                group by vehicle.series_id
            ),
            others as (
                select %5$s, before, now, renamed, changed_fuel,
                       before is null and exists (
                           select from fipe.vehicle as earlier
                           where earlier.series_id = series.series_id and earlier.first_month < %1$L
                       ) as came_back
                from series
                join fipe.vehicle on vehicle.id = vehicle_id
                join fipe.model on model.id = vehicle.model_id
                where %6$s
            ),
            counted as (
                select vehicle_type, brand_code, case when vehicles > 0 then brand end as brand, vehicles as before,
                       vehicles as now, 0 as came_back, 0 as gone, 0 as renamed, 0 as changed_fuel, rose, fell
                from passed
                union all
                select vehicle_type, brand_code, max(brand collate "C"), count(before), count(now),
                       count(*) filter (where came_back), count(*) filter (where now is null),
                       count(*) filter (where renamed), count(*) filter (where changed_fuel),
                       count(*) filter (where now > before and before > 0),
                       count(*) filter (where now < before and now > 0)
                from others
                group by 1, 2
            )
            select %1$L::date, %2$L::date, %3$s, %4$L, vehicle_type, brand_code, max(brand collate "C"),
                   sum(before)::bigint, sum(now)::bigint, (sum(now) - sum(before) + sum(gone) - sum(came_back))::bigint,
                   sum(came_back)::bigint, sum(gone)::bigint, sum(renamed)::bigint, sum(changed_fuel)::bigint,
                   sum(rose)::bigint, sum(fell)::bigint, (sum(before) - sum(gone) - sum(rose) - sum(fell))::bigint
            from counted
            group by vehicle_type, brand_code
            having sum(before) + sum(now) > 0 or %7$L
            order by vehicle_type, max(brand collate "C"), brand_code
        $pair$, month_before, reference_month, months_apart, loaded, groups, asked_brands, by is null);
    end loop;
end
$$;
comment on function fipe.month_by_month(text, text, text) is
    'How many vehicles are new, gone and so on in each month up to `month`, compared with fipe.month_before: one row'
    ' per month, or per vehicle type or brand in it (`by`: type or brand). `since` leaves out the months up to that'
    ' one. Of a month that is not whole, only the brands that are completely loaded are counted.';

create or replace function fipe.price_changes(month text default null, since text default null)
returns table (
    month_before date, reference_month date, vehicle_type smallint, brand text, model text, model_year smallint, zero_km boolean, fuel text, fipe_code text,
    price_before numeric, price_brl numeric, change_brl numeric, change_percent numeric
)
language sql stable parallel safe as $$
    select month_before, reference_month, vehicle_type, brand, model, model_year, zero_km, fuel, fipe_code,
           price_before, price_brl, price_brl - price_before,
           round(100 * (price_brl - price_before) / nullif(price_before, 0), 2)
    from fipe.two_months($1, $2)
    where price_before is not null and price_brl is not null
$$;
comment on function fipe.price_changes(text, text) is
    'The prices of a month beside those of an earlier month; by default the newest month, and the one before it that'
    ' fipe.month_before says.';

create or replace function fipe.biggest_movers(
    how_many integer default 10, month text default null, since text default null
)
returns table (
    month_before date, reference_month date, vehicle_type smallint, brand text, model text, model_year smallint, zero_km boolean, fuel text, fipe_code text,
    price_before numeric, price_brl numeric, change_brl numeric, change_percent numeric
)
language sql stable parallel safe as $$
    -- Only the columns that are needed to find the few vehicles asked for, which double precision orders quickest. A
    -- price of zero is no price: what comes from it or goes to it has not moved.
    with moved as materialized (
        select vehicle_id, price_before as before, price_brl as now, (price_brl / price_before)::float8 as ratio
        from fipe.two_months($2, $3)
        where price_brl <> price_before and price_brl > 0 and price_before > 0
    ),
    named as (
        select moved.*, published.*
        from (
            -- With all that moved as much as the last of them; `placed` chooses among these.
            select * from moved
            where ratio >= (
                select min(ratio) from (select ratio from moved order by ratio desc limit $1) as risen
            ) and ratio > 1 or ratio <= (
                select max(ratio) from (select ratio from moved order by ratio limit $1) as fallen
            ) and ratio < 1
        ) as moved
        -- offset 0: these are few, which the planner does not know. It would read all vehicles for them.
        cross join lateral (
            select model.vehicle_type, model.brand, model.model, model.brand_code, model.model_code,
                   vehicle.model_year, vehicle.zero_km, vehicle.fuel_code, vehicle.fuel, vehicle.fipe_code
            from fipe.vehicle
            join fipe.model on model.id = vehicle.model_id
            where vehicle.id = moved.vehicle_id
            offset 0
        ) as published
    ),
    placed as (
        select *, row_number() over (
                   partition by ratio > 1
                   order by abs(ln(now / before)) desc, fipe_code, model_year, fuel_code, brand_code, model_code
               ) as place
        from named
    )
    select (select fipe.month_before($2, $3)), (select fipe.asked_month($2)), vehicle_type, brand, model, model_year,
           zero_km, fuel, fipe_code, before, now, now - before, round(100 * (now / before - 1), 2)
    from placed
    where place <= $1
    order by now / before desc, fipe_code, model_year, fuel_code, brand_code, model_code
$$;
comment on function fipe.biggest_movers(integer, text, text) is
    'The vehicles whose price rose most, and those whose price fell most, from one month to another. Prices of zero'
    ' are left out.';

-- Fleets: lists of vehicles as people and spreadsheets write them. A program that takes a FIPE code for a number drops its
-- leading zeros, or makes 380032.0 of it.
create or replace function fipe.fleet_code(written text) returns text
language sql immutable parallel safe
return (
    select case when code ~ '^([0-9]{6}|[1-9][0-9]{0,4})-?[0-9]$'
                then regexp_replace(lpad(replace(code, '-', ''), 7, '0'), '.$', '-\&')
           end
    from regexp_replace(
        regexp_replace(written, '[\u2010-\u2015\u2212]', '-', 'g'), '[\s\u00A0="'']|[.,]0+\s*$', '', 'g'
    ) as code
);
comment on function fipe.fleet_code(text) is
    'Internal: the FIPE code that is meant, as FIPE writes it: 38003-2, 0380032, 380032 and 380032.0 are 038003-2. Null'
    ' if none is.';

create or replace function fipe.check_digit(fipe_code text) returns integer
language sql immutable strict parallel safe
return (11 - (7 * substr(fipe_code, 1, 1)::integer + 6 * substr(fipe_code, 2, 1)::integer
              + 5 * substr(fipe_code, 3, 1)::integer + 4 * substr(fipe_code, 4, 1)::integer
              + 3 * substr(fipe_code, 5, 1)::integer + 2 * substr(fipe_code, 6, 1)::integer) % 11) % 11 % 10;
comment on function fipe.check_digit(text) is 'Internal: the last digit that a FIPE code with these six first digits has.';

create or replace function fipe.fleet_year(written text) returns smallint
language sql immutable parallel safe
return (
    select case when year ~ '^(0km|zero(km)?|32000)$' then 32000
                when year ~ '^(19|20)[0-9]{2}$' then year::smallint
                -- As registrations have it: the year of make, then the model year.
                when year ~ '^(19|20)[0-9]{2}/(19|20)[0-9]{2}$'
                     and right(year, 4)::smallint - left(year, 4)::smallint in (0, 1)
                then right(year, 4)::smallint
           end::smallint
    from regexp_replace(fipe.plain(written), '[-\s\u00A0="'']|[.,]0+\s*$', '', 'g') as year
);
comment on function fipe.fleet_year(text) is
    'Internal: the model year that is meant: 2020, 2020.0 and 2019/2020 are 2020; 0km, 0 km, zero km and 32000 are zero km. Null'
    ' if none is.';

create or replace function fipe.fleet_fuels(written text) returns smallint[]
language sql immutable parallel safe
return (
    select case
        when fuel in ('1', 'g', 'gasolina', 'gasoline', 'petrol') then '{1}'
        when fuel in ('2', 'a', 'alcool', 'alcohol', 'etanol', 'ethanol') then '{2}'
        when fuel in ('3', 'd', 'diesel', 'oleodiesel') then '{3}'
        when fuel in ('4', 'l', 'eletrico', 'eletrica', 'electric', 'ev') then '{4}'
        when fuel in ('5', 'f', 'flex', 'flexfuel', 'totalflex', 'bicombustivel', 'gasolinaalcool', 'alcoolgasolina',
                      'gasolinaetanol', 'etanolgasolina', 'gasolineethanol', 'ethanolgasoline') then '{5}'
        when fuel in ('6', 'h', 'hibrido', 'hibrida', 'hybrid') then '{6}'
        when fuel in ('7', 'n', 'gnv', 'cng', 'gasnatural', 'gasnaturalveicular', 'naturalgas') then '{7}'
        -- FIPE writes E for electric, others for ethanol; gas is petrol in America, and natural gas in Brazil.
        when fuel = 'e' then '{2,4}'
        when fuel = 'gas' then '{1,7}'
        when fuel <> '' then '{}'
    end::smallint[]
    from regexp_replace(fipe.plain(written), '\.0+$|[^a-z0-9]', '', 'g') as fuel
);
comment on function fipe.fleet_fuels(text) is
    'Internal: FIPE''s codes of the fuels that may be meant by a code, a letter or a name in Portuguese or English. Null if'
    ' nothing is written; none if it is not a fuel.';

create or replace function fipe.value_fleet(
    codes text[], years text[], fuels text[] default null, month text default null, since text default null
)
returns table (
    place bigint, note text, choices text, last_month date, month_before date, reference_month date,
    vehicle_type smallint, brand text, model text, model_year smallint, zero_km boolean, fuel text, fipe_code text,
    price_before numeric, price_brl numeric, change_brl numeric, change_percent numeric, zero_km_brl numeric,
    percent_of_zero_km numeric
)
language sql stable parallel safe as $$
    with given as materialized (
        select place, coalesce(code, '') as code, coalesce(year, '') as year, coalesce(fuel, '') as fuel
        from unnest($1, $2, coalesce($3, '{}')) with ordinality as given (code, year, fuel, place)
    ),
    -- Years and fuels are few, so each is read once.
    read_year as materialized (
        select year as written, fipe.fleet_year(year) as year from (select distinct year from given) as written
    ),
    read_fuel as materialized (
        select fuel as written, fipe.fleet_fuels(fuel) as codes, fipe.plain(fuel) as name
        from (select distinct fuel from given) as written
    ),
    asked as materialized (
        select given.place, given.code ~ '^\s*$' as no_code, given.year ~ '^\s*$' as no_year,
               fipe.fleet_code(given.code) as code, read_year.year, read_fuel.codes as fuel_codes,
               read_fuel.name as fuel
        from given
        join read_year on read_year.written = given.year
        join read_fuel on read_fuel.written = given.fuel
    ),
    wanted as materialized (
        select distinct code, year from asked where code is not null and year is not null
    ),
    published as materialized (
        select wanted.code, wanted.year, vehicle.id, price.price_brl
        from wanted
        join fipe.vehicle on (vehicle.fipe_code, vehicle.model_year) = (wanted.code, wanted.year)
        join fipe.price
            on (price.reference_month, price.vehicle_id) = ((select fipe.asked_month($4)), vehicle.id)
    ),
    -- What has no price under its code may have one under the code that FIPE has given it since, or had given it.
    found as materialized (
        select * from published
        union
        select wanted.code, wanted.year, other.id, price.price_brl
        from wanted
        join fipe.vehicle on (vehicle.fipe_code, vehicle.model_year) = (wanted.code, wanted.year)
        join fipe.vehicle as other on other.series_id = vehicle.series_id
        join fipe.price on (price.reference_month, price.vehicle_id) = ((select fipe.asked_month($4)), other.id)
        -- Not `not exists`: the planner does not know how many these are, and may compare each with each.
        where (wanted.code, wanted.year) not in (select published.code, published.year from published)
    ),
    -- One for each fuel: what stands under two names at once has the same price under both.
    offer as materialized (
        select distinct on (found.code, found.year, vehicle.fuel_code)
               found.code, found.year, found.price_brl, vehicle.id, vehicle.model_id, vehicle.model_year,
               vehicle.zero_km, vehicle.fuel_code, vehicle.fuel, vehicle.fipe_code, vehicle.series_id,
               min(found.price_brl) over of_fuel < max(found.price_brl) over of_fuel as differing,
               dense_rank() over of_code + dense_rank() over of_code_backwards - 1 as fuels
        from found
        join fipe.vehicle using (id)
        join fipe.model on model.id = vehicle.model_id
        window of_fuel as (partition by found.code, found.year, vehicle.fuel_code),
               of_code as (partition by found.code, found.year order by vehicle.fuel_code),
               of_code_backwards as (partition by found.code, found.year order by vehicle.fuel_code desc)
        order by found.code, found.year, vehicle.fuel_code, vehicle.duplicate, model.brand_code, model.model_code,
                 vehicle.id
    ),
    -- Where a code has one fuel in a model year, that is it: up to 2023 FIPE itself called flex cars by other fuels.
    fitting as materialized (
        select asked.place, offer.*, count(*) over (partition by asked.place) as fitting
        from asked
        join offer using (code, year)
        where offer.fuels = 1 or asked.fuel_codes is null or offer.fuel_code = any(asked.fuel_codes)
           or fipe.plain(offer.fuel) = asked.fuel
    ),
    chosen as materialized (
        select fitting.*, before.price_brl as price_before, new.price_brl as zero_km_brl
        from fitting
        left join lateral (
            select price.price_brl
            from fipe.vehicle
            join fipe.price
                on (price.reference_month, price.vehicle_id) = ((select fipe.asked_month($5)), vehicle.id)
            where $5 is not null and vehicle.series_id = fitting.series_id
            limit 1
        ) as before on true
        left join lateral (
            select price.price_brl
            from fipe.vehicle
            join fipe.price
                on (price.reference_month, price.vehicle_id) = ((select fipe.asked_month($4)), vehicle.id)
            join fipe.model on model.id = vehicle.model_id
            where vehicle.fipe_code = fitting.fipe_code and vehicle.model_year = 32000
              and vehicle.fuel_code = fitting.fuel_code
            order by vehicle.model_id = fitting.model_id desc, vehicle.duplicate, model.brand_code, model.model_code,
                     vehicle.id
            limit 1
        ) as new on true
        where fitting.fitting = 1 and not fitting.differing
    ),
    -- The rest is for what has no price: why, and what there is instead.
    unvalued as materialized (
        select asked.* from asked where asked.place not in (select chosen.place from chosen)
    ),
    offered as materialized (
        select unvalued.place, bool_or(offer.differing) as differing, bool_or(fitting.place is not null) as fitting,
               string_agg(offer.fuel, ', ' order by offer.fuel_code) as fuels
        from unvalued
        join offer using (code, year)
        left join fitting on (fitting.place, fitting.id) = (unvalued.place, offer.id)
        group by unvalued.place
    ),
    known_year as materialized (
        select code.code, vehicle.model_year as year, max(vehicle.last_month) as last_month,
               bool_or(priced.priced) as in_month,
               (array_agg(vehicle.model_id order by vehicle.last_month desc, vehicle.id))[1] as model_id
        from (select distinct code from unvalued) as code
        join fipe.vehicle on vehicle.fipe_code = code.code
        cross join lateral (
            select exists (
                select from fipe.price
                where (price.reference_month, price.vehicle_id) = ((select fipe.asked_month($4)), vehicle.id)
            ) as priced
        ) as priced
        where vehicle.last_month is not null
        group by code.code, vehicle.model_year
    ),
    known as materialized (
        select code, max(last_month) as last_month, bool_or(in_month) as in_month,
               (array_agg(model_id order by last_month desc, model_id desc))[1] as model_id,
               string_agg(case when year = 32000 then 'zero km' else year::text end, ', ' order by year)
                   filter (where counts) as years
        from (
            select *, case when bool_or(in_month) over of_code then in_month
                           else last_month = max(last_month) over of_code end as counts
            from known_year
            window of_code as (partition by code)
        ) as marked
        group by code
    ),
    month as materialized (
        select case when exists (select from fipe.price where price.reference_month = asked.month)
                    then fipe.loaded(asked.month)
                    else 'not_loaded' end as loaded
        from fipe.asked_month($4) as asked (month)
    ),
    refused as materialized (
        select unvalued.place, known.model_id, known.years, offered.fuels,
               coalesce(known_year.last_month, known.last_month) as last_month,
               case
                   when unvalued.no_code then 'no_code'
                   when unvalued.code is null then 'not_a_code'
                   when right(unvalued.code, 1)::integer <> fipe.check_digit(unvalued.code) then 'wrong_check_digit'
                   when unvalued.year is null and not unvalued.no_year then 'not_a_year'
                   when offered.differing then 'several_prices'
                   when offered.fitting then 'several_fuels'
                   when offered.place is not null then 'no_such_fuel'
                   when known.in_month and unvalued.no_year then 'no_year'
                   when known.in_month and known_year.code is null then 'no_such_year'
                   when known.in_month then 'not_in_month'
                   -- It may be among what has not come.
                   when month.loaded <> 'whole' then 'month_' || month.loaded
                   when known.code is null then 'unknown_code'
                   when unvalued.no_year then 'no_year'
                   when known_year.code is null then 'no_such_year'
                   else 'not_in_month'
               end as note
        from unvalued
        cross join month
        left join offered using (place)
        left join known using (code)
        left join known_year using (code, year)
    )
    select asked.place,
           coalesce(refused.note,
                    case when chosen.fipe_code <> asked.code then 'other_code'
                         when chosen.fuel_code <> all(asked.fuel_codes)
                              and fipe.plain(chosen.fuel) <> asked.fuel then 'other_fuel' end),
           case when refused.note = 'wrong_check_digit' then left(asked.code, 7) || fipe.check_digit(asked.code)
                when refused.note in ('no_year', 'no_such_year') then refused.years
                when refused.note in ('several_fuels', 'no_such_fuel') then refused.fuels end,
           case when refused.note in ('not_in_month', 'no_such_year', 'no_year', 'month_part', 'month_loading',
                                      'month_not_loaded')
                then refused.last_month end,
           case when $5 is not null then (select fipe.asked_month($5)) end, (select fipe.asked_month($4)),
           model.vehicle_type, model.brand, model.model,
           coalesce(chosen.model_year, asked.year), coalesce(chosen.zero_km, asked.year = 32000), chosen.fuel,
           coalesce(chosen.fipe_code, asked.code), chosen.price_before, chosen.price_brl,
           chosen.price_brl - chosen.price_before,
           round(100 * (chosen.price_brl - chosen.price_before) / nullif(chosen.price_before, 0), 2),
           chosen.zero_km_brl, round(100 * chosen.price_brl / nullif(chosen.zero_km_brl, 0), 1)
    from asked
    left join chosen using (place)
    left join refused using (place)
    left join fipe.model on model.id = coalesce(chosen.model_id, refused.model_id)
    order by asked.place
$$;
comment on function fipe.value_fleet(text[], text[], text[], text, text) is
    'The prices of a list of vehicles in a month, the newest by default, beside those of an earlier month if one is'
    ' given: one row for each place of the arrays. They hold FIPE codes, model years and, where a code has several,'
    ' fuels as people write them. Where there is no price, note says why, choices what there is instead, and last_month when it'
    ' was last seen.';

-- Flags are computed, not stored: what was published is kept as published.
create or replace view fipe.flagged_price as
select flagged.flag,
       flagged.reference_month,
       reference.code as reference_code,
       model.vehicle_type,
       model.brand_code,
       model.model_code,
       model.model,
       vehicle.model_year,
       vehicle.fuel_code,
       vehicle.fuel,
       vehicle.fipe_code,
       flagged.price_brl,
       coalesce(source.name, 'fipe') as source
from (
    select 'zero price' as flag, price.*
    from fipe.price
    where (price.price_brl = 0 or price.source < 100) and price.price_brl = 0
    union all
    select 'from a mirror', price.*
    from fipe.price
    where (price.price_brl = 0 or price.source < 100) and price.source < 100
    union all
    select 'unknown fuel', price.*
    from fipe.vehicle
    join fipe.price on price.vehicle_id = vehicle.id
    where vehicle.fuel_code not between 1 and 7
) as flagged
join fipe.reference_month as reference on reference.month = flagged.reference_month
join fipe.vehicle on vehicle.id = flagged.vehicle_id
join fipe.model on model.id = vehicle.model_id
left join fipe.price_source as source on source.id = flagged.source;
comment on view fipe.flagged_price is
    'Prices to look at twice, one row per price and flag: zero price, unknown fuel, from a mirror instead of the official'
    ' API. Key: flag, reference_month, vehicle_type, brand_code, model_code, model_year, fuel_code.';

-- The ledger of loads -------------------------------------------------------------------------------------------------

create table if not exists fipe.load_run (
    id              integer generated always as identity primary key,
    run_id          uuid        not null,
    reference_code  integer     not null references fipe.reference_month (code),
    brands_expected integer     not null,
    started_at      timestamptz not null default now(),
    planned_at      timestamptz,
    whole_month     boolean,
    wanted_types    smallint[]  not null default '{1,2,3}',
    wanted_brands   jsonb       not null default '[]',
    wanted_models   jsonb       not null default '[]',
    changed         integer     not null default 0,
    corrected       integer     not null default 0,
    withdrawn       integer     not null default 0,
    ended_at        timestamptz,
    completed_at    timestamptz,
    shrunk          boolean,
    unique (run_id, reference_code)
);
comment on table fipe.load_run is
    'One row per load: a run and a reference month.';
create index if not exists load_run_reference_code on fipe.load_run (reference_code);

create table if not exists fipe.load_brand (
    load_run_id     integer  not null references fipe.load_run (id) on delete cascade,
    vehicle_type    smallint not null,
    brand_code      integer  not null,
    brand           text,
    models_expected integer,
    searched_at     timestamptz,
    planned_at      timestamptz,
    ended_at        timestamptz,
    completed_at    timestamptz,
    primary key (load_run_id, vehicle_type, brand_code)
);
comment on table fipe.load_brand is
    'One row per load and brand, as its plan or a result names it.';

create table if not exists fipe.load_brand_plan (
    load_run_id  integer    not null,
    vehicle_type smallint   not null,
    brand_code   integer    not null,
    part         smallint   not null,
    model_codes  integer[]  not null,
    vehicles   smallint[] not null,
    primary key (load_run_id, vehicle_type, brand_code, part),
    foreign key (load_run_id, vehicle_type, brand_code)
        references fipe.load_brand (load_run_id, vehicle_type, brand_code) on delete cascade,
    check (cardinality(model_codes) = cardinality(vehicles))
);
comment on table fipe.load_brand_plan is
    'Internal: the models that a load expects of a brand. In arrays: twenty years have millions of them, and nobody asks for'
    ' one alone.';

create table if not exists fipe.load_model (
    load_run_id  integer     not null,
    vehicle_type smallint    not null,
    brand_code   integer     not null,
    model_code   integer     not null,
    prices       smallint    not null,
    unpriced     smallint    not null,
    rejected     smallint    not null default 0,
    mirrored     smallint    not null default 0,
    gaps         jsonb,
    asked_at     timestamptz not null,
    received_at  timestamptz not null default now(),
    primary key (load_run_id, vehicle_type, brand_code, model_code),
    foreign key (load_run_id, vehicle_type, brand_code)
        references fipe.load_brand (load_run_id, vehicle_type, brand_code) on delete cascade
);
comment on table fipe.load_model is
    'One row per load and model whose result has arrived.';
create index if not exists load_model_gaps on fipe.load_model (load_run_id) where gaps is not null;

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
    'One row per answer of the source that was not what was asked for (cut short, another month, another vehicle), and was'
    ' not used.';
create index if not exists rejected_answer_run_id on fipe.rejected_answer (run_id);

-- Imports -------------------------------------------------------------------------------------------------------------

create table if not exists fipe.import_file (
    id            integer generated always as identity primary key,
    source        smallint    not null references fipe.price_source (id),
    file          text        not null,
    fingerprint   text,
    started_at    timestamptz not null default now(),
    last_write_at timestamptz not null default now(),
    ended_at      timestamptz,
    position      bigint      not null default 0,
    added         bigint      not null default 0,
    known         bigint      not null default 0,
    copies        bigint      not null default 0,
    kept_apart    bigint      not null default 0,
    replaced      bigint      not null default 0,
    unique (source, fingerprint)
);
comment on table fipe.import_file is 'One row per file that `fipe import` has read, or is reading.';

create table if not exists fipe.import_month (
    reference_month date     not null references fipe.reference_month (month),
    source          smallint not null references fipe.price_source (id),
    added           integer  not null,
    primary key (reference_month, source)
);
comment on table fipe.import_month is
    'One row per reference month and name of an import that has written prices to it, until a load of the whole month'
    ' takes their place.';

create table if not exists fipe.import_confirmation (
    reference_month date        primary key references fipe.reference_month (month),
    vehicle_types   smallint[]  not null,
    prices_asked    integer     not null,
    imported        integer     not null,
    run_id          uuid        not null,
    confirmed_at    timestamptz not null
);
comment on table fipe.import_confirmation is
    'One row per imported reference month that a sample has confirmed. fipe.confirmed_month has those that still hold.';

create table if not exists fipe.import_kept_apart (
    import_file_id integer not null references fipe.import_file (id),
    line           bigint  not null,
    reason         text    not null,
    content        jsonb   not null,
    primary key (import_file_id, line)
);
comment on table fipe.import_kept_apart is
    'One row per row of an imported file that is not stored as a price, and why: no price, a wrong FIPE code, two prices'
    ' for one vehicle, another price than the official API''s.';

create table if not exists fipe.import_replaced (
    import_file_id  integer       not null references fipe.import_file (id),
    reference_month date          not null references fipe.reference_month (month),
    vehicle_id      integer       not null references fipe.vehicle (id),
    price_brl       numeric(12,2) not null,
    source          smallint,
    replaced_at     timestamptz   not null default now(),
    primary key (reference_month, vehicle_id, replaced_at)
);
comment on table fipe.import_replaced is
    'One row per price of a load whose place an import took, as `fipe import --over-official` asks: what the load had'
    ' said. The next load that asks about the model takes its place back.';

-- Both counts only grow, until a load of the whole month ends the first. So another number means other prices.
create or replace function fipe.imported_prices(month date) returns integer
language sql stable strict parallel safe
return (select sum(import_month.added) from fipe.import_month where import_month.reference_month = imported_prices.month)
    + (select count(*) from fipe.import_replaced where import_replaced.reference_month = imported_prices.month);
comment on function fipe.imported_prices(date) is
    'Internal: how many prices imports have added to a month and replaced in it; null when none have added any.';

create or replace view fipe.confirmed_month as
select confirmation.reference_month, confirmation.vehicle_types, confirmation.prices_asked, confirmation.run_id,
       confirmation.confirmed_at
from fipe.import_confirmation as confirmation
where confirmation.imported = fipe.imported_prices(confirmation.reference_month);
comment on view fipe.confirmed_month is
    'One row per imported reference month that a sample has confirmed, until another import adds prices to it or replaces'
    ' some, or a load of the whole month takes their place. Key: reference_month.';

-- The importer itself may change no price. This leaves a trace of each.
create or replace function fipe.replace_prices(
    import_file_id integer, months date[], vehicles integer[], prices numeric[]
) returns integer
language sql volatile security definer set search_path = pg_catalog, pg_temp
begin atomic
    with given as (
        select given.month, given.vehicle_id, given.price_brl, import_file.source
        from unnest(months, vehicles, prices) as given (month, vehicle_id, price_brl)
        cross join fipe.import_file
        where import_file.id = replace_prices.import_file_id and fipe.is_imported(import_file.source)
    ),
    held as (
        insert into fipe.import_replaced (import_file_id, reference_month, vehicle_id, price_brl, source)
        select replace_prices.import_file_id, price.reference_month, price.vehicle_id, price.price_brl, price.source
        from given
        join fipe.price on (price.reference_month, price.vehicle_id) = (given.month, given.vehicle_id)
        where price.price_brl <> given.price_brl and not fipe.is_imported(price.source)
        returning reference_month, vehicle_id
    ),
    replaced as (
        update fipe.price set price_brl = given.price_brl, source = given.source
        from given
        join held on (held.reference_month, held.vehicle_id) = (given.month, given.vehicle_id)
        where (price.reference_month, price.vehicle_id) = (given.month, given.vehicle_id)
        returning 1
    )
    select count(*)::integer from replaced;
end;
comment on function fipe.replace_prices(integer, date[], integer[], numeric[]) is
    'Internal: lets prices of an imported file take the place of a load''s, and keeps those in fipe.import_replaced.';
revoke execute on function fipe.replace_prices(integer, date[], integer[], numeric[]) from public;

create or replace view fipe.import_status as
select source.name as source, held.months, held.first_month, held.last_month, held.added, read.files,
       read.files_unfinished, read.kept_apart, read.replaced, read.last_write_at, held.confirmed
from fipe.price_source as source
cross join lateral (
    select count(*)::integer as months, min(import_month.reference_month) as first_month,
           max(import_month.reference_month) as last_month, coalesce(sum(import_month.added), 0)::integer as added,
           count(confirmed.reference_month)::integer as confirmed
    from fipe.import_month
    left join fipe.confirmed_month as confirmed on confirmed.reference_month = import_month.reference_month
    where import_month.source = source.id
) as held
cross join lateral (
    select count(*)::integer as files, (count(*) filter (where file.ended_at is null))::integer as files_unfinished,
           coalesce(sum(file.kept_apart), 0)::integer as kept_apart,
           coalesce(sum(file.replaced), 0)::integer as replaced, max(file.last_write_at) as last_write_at
    from fipe.import_file as file
    where file.source = source.id
) as read
where source.kind = 'import';
comment on view fipe.import_status is
    'One row per name that files were imported under: the months that it has prices in, until a load of the whole month'
    ' takes their place, and its files. Key: source.';

create table if not exists fipe.load_cancellation (
    run_id     uuid        primary key,
    changes    integer     not null,
    cancelled  boolean     not null,
    waits_for  text        not null default '',
    changed_at timestamptz not null default now()
);
comment on table fipe.load_cancellation is
    'Internal: runs that were cancelled, and whether they still are: `fipe resume` lifts it. With waits_for, the run gives'
    ' way to another load, and goes on by itself after it.';

create or replace function fipe.is_cancelled(run_id uuid) returns boolean
language sql stable strict parallel safe
return exists (
    select from fipe.load_cancellation as cancellation
    where cancellation.run_id = is_cancelled.run_id and cancellation.cancelled and cancellation.waits_for = ''
);
comment on function fipe.is_cancelled(uuid) is 'Internal: whether a run was cancelled, and not resumed since.';

create or replace function fipe.waits_for(run_id uuid) returns text
language sql stable strict parallel safe
return (
    select cancellation.waits_for from fipe.load_cancellation as cancellation
    where cancellation.run_id = waits_for.run_id and cancellation.cancelled and cancellation.waits_for <> ''
);
comment on function fipe.waits_for(uuid) is
    'Internal: the months of the load that a run gives way to; null if it waits for none.';

create or replace function fipe.fuel_name(code smallint) returns text
language sql immutable strict parallel safe
return case code when 1 then 'Gasolina' when 2 then 'Álcool' when 3 then 'Diesel' when 4 then 'Elétrico' when 5 then 'Flex'
                 when 6 then 'Híbrido' when 7 then 'Gás Natural' else format('fuel %s', code) end;
comment on function fipe.fuel_name(smallint) is 'Internal: the name of a fuel, for prices that have not come. Prices have FIPE''s own.';

-- The words for how far a load has come, here and everywhere else: fipe_api.load.state has the same.
create or replace function fipe.load_state(ended_at timestamptz, completed_at timestamptz, cancelled boolean) returns text
language sql immutable parallel safe
return case when completed_at is not null then 'complete' when cancelled then 'cancelled'
            when ended_at is not null then 'incomplete' else 'loading' end;
comment on function fipe.load_state(timestamptz, timestamptz, boolean) is
    'loading: results are still to arrive. complete: every price that FIPE lists has arrived, or FIPE denied it nine'
    ' times. incomplete: all results have arrived, and some prices had no usable answer. cancelled: `fipe cancel` ended'
    ' it before everything had arrived.';

create or replace view fipe.load_missing_model as
select plan.load_run_id, plan.vehicle_type, plan.brand_code, planned.model_code, planned.vehicles
from fipe.load_brand_plan as plan
cross join unnest(plan.model_codes, plan.vehicles) as planned (model_code, vehicles)
where not exists (
    select from fipe.load_model as received
    where (received.load_run_id, received.vehicle_type, received.brand_code, received.model_code)
        = (plan.load_run_id, plan.vehicle_type, plan.brand_code, planned.model_code)
);
comment on view fipe.load_missing_model is 'Internal: models that a load expects and whose results have not arrived.';

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
       fipe.load_state(brand.ended_at, brand.completed_at, fipe.is_cancelled(run.run_id)) as state,
       brand.brand,
       brand.completed_at,
       (
           select sum(planned.vehicles)::integer
           from fipe.load_brand_plan as plan
           cross join unnest(plan.vehicles) as planned (vehicles)
           where (plan.load_run_id, plan.vehicle_type, plan.brand_code)
               = (brand.load_run_id, brand.vehicle_type, brand.brand_code)
       ) as vehicles_expected,
       coalesce(sum(model.rejected), 0)::integer as rejected
from fipe.load_run as run
join fipe.load_brand as brand on brand.load_run_id = run.id
left join fipe.load_model as model using (load_run_id, vehicle_type, brand_code)
group by run.id, brand.load_run_id, brand.vehicle_type, brand.brand_code;
comment on view fipe.load_brand_status is
    'One row per load and brand: how far the brand has come. Key: run_id, reference_code, vehicle_type, brand_code.';

create or replace view fipe.load_unpriced as
select run.run_id,
       run.reference_code,
       reference.month as reference_month,
       denied.vehicle_type,
       denied.brand_code,
       coalesce(brand.brand, (
           select model.brand from fipe.model
           where (model.vehicle_type, model.brand_code) = (denied.vehicle_type, denied.brand_code)
           order by model.id desc
           limit 1
       )) as brand,
       denied.model_code,
       denied.model,
       denied.model_year,
       denied.fuel_code,
       fipe.fuel_name(denied.fuel_code) as fuel
from fipe.load_run as run
join fipe.reference_month as reference on reference.code = run.reference_code
cross join lateral (
    select model.vehicle_type, model.brand_code, model.model_code, model.gaps ->> 'model' as model,
           (listed ->> 0)::smallint as model_year, (listed ->> 1)::smallint as fuel_code
    from fipe.load_model as model
    cross join jsonb_array_elements(model.gaps -> 'unpriced') as listed
    where model.load_run_id = run.id and model.gaps is not null
    union all
    select model.vehicle_type, model.brand_code, model.model_code, model.gaps ->> 'model', null, null
    from fipe.load_model as model
    where model.load_run_id = run.id and model.gaps is not null
      and model.prices + model.unpriced + model.rejected = 0
) as denied
join fipe.load_brand as brand
    on (brand.load_run_id, brand.vehicle_type, brand.brand_code)
     = (run.id, denied.vehicle_type, denied.brand_code);
comment on view fipe.load_unpriced is
    'One row per price that FIPE lists and denied nine times, by load, and per model that it lists without model years.'
    ' They do not keep a load from being complete. Key: run_id, reference_code, vehicle_type, brand_code, model_code,'
    ' model_year, fuel_code.';

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
       fipe.load_state(run.ended_at, run.completed_at, fipe.is_cancelled(run.run_id)) as state,
       run.completed_at,
       run.changed,
       coalesce(sum(brand.vehicles_expected), 0)::integer as vehicles_expected,
       run.whole_month,
       coalesce(run.shrunk, false)                        as shrunk,
       case when run.completed_at is not null and run.whole_month is true and run.changed = 0
                 and run.shrunk is false and sum(brand.prices) > 0
            -- A price that the month has and that this load was denied: not nothing new, but nothing known.
            then not exists (
                select from fipe.load_unpriced as denied
                join fipe.model
                    on (model.vehicle_type, model.brand_code, model.model_code)
                     = (denied.vehicle_type, denied.brand_code, denied.model_code)
                join fipe.vehicle
                    on (vehicle.model_id, vehicle.model_year, vehicle.fuel_code)
                     = (model.id, denied.model_year, denied.fuel_code)
                join fipe.price
                    on (price.reference_month, price.vehicle_id) = (reference.month, vehicle.id)
                where (denied.run_id, denied.reference_code) = (run.run_id, run.reference_code)
            )
            else false
       end                                                as stable,
       coalesce(sum(brand.rejected), 0)::integer          as rejected,
       run.corrected,
       run.withdrawn
from fipe.load_run as run
join fipe.reference_month as reference on reference.code = run.reference_code
left join fipe.load_brand_status as brand using (run_id, reference_code)
group by run.id, reference.month;
comment on view fipe.load_status is
    'One row per load (run and reference month): how far it has come. models_expected counts the brands searched so'
    ' far. Key: run_id, reference_code.';

create or replace function fipe.looks_unfinished(now bigint, before bigint) returns boolean
language sql immutable strict parallel safe
return before - now >= greatest(5, 0.5 * before);
comment on function fipe.looks_unfinished(bigint, bigint) is
    'Internal: whether a brand lost half of its models or prices, and at least five: an unfinished month lacks whole brands.';

create or replace view fipe.month_comparison as
with complete as (
    select distinct on (run.reference_code) run.id, run.reference_code, reference.month
    from fipe.load_run as run
    join fipe.reference_month as reference on reference.code = run.reference_code
    where run.whole_month and run.completed_at is not null
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
       -- Of the 309 months from January 2001 on, finished ones lost up to 4.7% of the prices of the month before; one
       -- that was loaded on its first day lacked 12%. 7% is about as far from the one as from the other.
       case when counted.brand_code is null
            then counted.prices_before - counted.prices >= 0.07 * counted.prices_before
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
    ' without a brand for the whole month. Key: reference_month, vehicle_type, brand_code.';

create or replace view fipe.load_missing as
select run.run_id,
       run.reference_code,
       reference.month as reference_month,
       missing.vehicle_type,
       missing.brand_code,
       coalesce(missing.brand, (
           select model.brand from fipe.model
           where (model.vehicle_type, model.brand_code) = (missing.vehicle_type, missing.brand_code)
           order by model.id desc
           limit 1
       )) as brand,
       missing.model_code,
       coalesce(missing.model, (
           select model.model from fipe.model
           where (model.vehicle_type, model.brand_code, model.model_code)
               = (missing.vehicle_type, missing.brand_code, missing.model_code)
           order by model.id desc
           limit 1
       )) as model,
       missing.model_year,
       missing.fuel_code,
       fipe.fuel_name(missing.fuel_code) as fuel,
       missing.vehicles,
       missing.reason
from fipe.load_run as run
join fipe.reference_month as reference on reference.code = run.reference_code
cross join lateral (
    select fipe.is_cancelled(run.run_id) as cancelled, fipe.waits_for(run.run_id) as waits_for
) as run_state
cross join lateral (
    select null::smallint as vehicle_type, null::integer as brand_code, null::text as brand,
           null::integer as model_code, null::text as model, null::smallint as model_year,
           null::smallint as fuel_code, null::smallint as vehicles,
           format('%s of %s brands are not known: the run''s plan, or a part of it, has not arrived',
                  run.brands_expected - count(*), run.brands_expected) as reason
    from fipe.load_brand as brand
    where brand.load_run_id = run.id
    having count(*) < run.brands_expected
    union all
    select brand.vehicle_type, brand.brand_code, brand.brand, null, null, null, null, null,
           case when cancelled then 'the load was cancelled before its models were known'
                when waits_for is not null then format('waits for the load of %s', waits_for)
                else 'its models are not known yet: the brand is waiting or being worked on, or it failed and is in the'
                     ' manufacturer DLQ'
           end
    from fipe.load_brand as brand
    where brand.load_run_id = run.id and brand.models_expected is null
    union all
    select brand.vehicle_type, brand.brand_code, brand.brand, null, null, null, null, null,
           format('%s of %s models have arrived; what has come of the brand''s plan does not name the others',
                  known.received, brand.models_expected)
    from fipe.load_brand as brand
    cross join lateral (
        select (
            select count(*) from fipe.load_model as model
            where (model.load_run_id, model.vehicle_type, model.brand_code)
                = (brand.load_run_id, brand.vehicle_type, brand.brand_code)
        ) as received,
        (
            select count(*) from fipe.load_missing_model as named
            where (named.load_run_id, named.vehicle_type, named.brand_code)
                = (brand.load_run_id, brand.vehicle_type, brand.brand_code)
        ) as named
    ) as known
    where brand.load_run_id = run.id and brand.ended_at is null
      and known.received + known.named < brand.models_expected
    union all
    select model.vehicle_type, model.brand_code, brand.brand, model.model_code, null, null, null, model.vehicles,
           case when cancelled then 'the load was cancelled before its prices came'
                when waits_for is not null then format('waits for the load of %s', waits_for)
                else 'its prices have not arrived: the model is waiting or being worked on, or it failed and is in the'
                     ' model or the price DLQ'
           end
    from fipe.load_missing_model as model
    join fipe.load_brand as brand using (load_run_id, vehicle_type, brand_code)
    where model.load_run_id = run.id
    union all
    select model.vehicle_type, model.brand_code, brand.brand, model.model_code, model.gaps ->> 'model',
           (listed ->> 0)::smallint, (listed ->> 1)::smallint, 1,
           'no usable answer came: see fipe.rejected_answer'
    from fipe.load_model as model
    join fipe.load_brand as brand using (load_run_id, vehicle_type, brand_code)
    cross join jsonb_array_elements(model.gaps -> 'rejected') as listed
    where model.load_run_id = run.id and model.gaps is not null
) as missing;
comment on view fipe.load_missing is
    'One row per thing that a load still lacks, and why: brands, models, prices without a usable answer, or brands that'
    ' nothing names yet. A load is complete when it has no row here. Key: run_id, reference_code, vehicle_type, brand_code,'
    ' model_code, model_year, fuel_code.';

create or replace function fipe.resume_payloads_of_month(run_id uuid, reference_code integer) returns setof jsonb
language sql stable as $$
    with run as (
        select run.*,
               jsonb_build_object('run_id', run.run_id, 'reference', run.reference_code) as resumed,
               case when run.wanted_models = '[]' then '{}'
                    else jsonb_build_object('models', run.wanted_models)
               end as own_models
        from fipe.load_run as run
        where run.run_id = $1 and run.reference_code = $2
    ),
    missing as (
        select distinct reference_code, vehicle_type, brand_code, model_code
        from fipe.load_missing
        where load_missing.run_id = $1 and load_missing.reference_code = $2
    ),
    whole_brand as (
        select reference_code, vehicle_type, brand_code
        from missing
        where brand_code is not null and model_code is null
    )
    -- Brands that nothing names: what the run was asked for, without the brands that are known.
    select run.resumed || run.own_models
           || jsonb_build_object('vehicle_types', run.wanted_types, 'known_brands', known.codes)
           || case when run.wanted_brands = '[]' then '{}' else jsonb_build_object('brands', run.wanted_brands) end
           -- Without any part of the plan, nothing says what the run was asked for: only how many brands it has.
           || case when run.planned_at is null
                   then jsonb_build_object('unknown_brands', run.brands_expected - known.brands)
                   else '{}'
              end
    from run
    join missing on missing.reference_code = run.reference_code and missing.brand_code is null
    cross join lateral (
        select count(*) as brands,
               coalesce(jsonb_agg(jsonb_build_array(vehicle_type, brand_code) order by vehicle_type, brand_code), '[]')
                   as codes
        from fipe.load_brand as brand
        where brand.load_run_id = run.id
    ) as known
    union all
    -- Whole brands: one payload per vehicle type.
    select run.resumed || run.own_models
           || jsonb_build_object('vehicle_types', jsonb_build_array(vehicle_type),
                                 'brands', jsonb_agg(brand_code order by brand_code))
    from run
    join whole_brand using (reference_code)
    group by run.resumed, run.own_models, vehicle_type
    union all
    -- Single models: one payload per brand.
    select run.resumed || run.own_models
           || jsonb_build_object('vehicle_types', jsonb_build_array(vehicle_type),
                                 'brands', jsonb_build_array(brand_code),
                                 'missing_models', jsonb_agg(model_code order by model_code))
    from run
    join missing using (reference_code)
    where model_code is not null and (reference_code, vehicle_type, brand_code) not in (select * from whole_brand)
    group by run.resumed, run.own_models, vehicle_type, brand_code
$$;
comment on function fipe.resume_payloads_of_month(uuid, integer) is
    'Internal: payloads for FipeManufacturerLoader that load what a run still lacks of one month, and nothing else, under'
    ' the same run.';

create or replace function fipe.resume_payloads(run_id uuid) returns setof jsonb
language sql stable as $$
    select payload
    from fipe.load_run as run
    cross join lateral fipe.resume_payloads_of_month(run.run_id, run.reference_code) as payload
    where run.run_id = $1
$$;
comment on function fipe.resume_payloads(uuid) is
    'Internal: payloads for FipeManufacturerLoader that load what a run still lacks, and nothing else, under the same run.';

-- Watch rules: which prices a person wants to be told of ---------------------------------------------------------------

create table if not exists fipe.watch_rule (
    id                 integer     primary key generated always as identity,
    fipe_code          text        not null check (fipe_code ~ '^[0-9]{6}-[0-9]$'),
    model_year         smallint    check (model_year > 0),
    fuel_code          smallint,
    below_brl          numeric(12,2) check (below_brl > 0),
    above_brl          numeric(12,2) check (above_brl > 0),
    changes_by_percent numeric(7,2)  check (changes_by_percent > 0),
    note               text        not null default '' check (length(note) <= 200),
    created_at         timestamptz not null default now(),
    check (num_nonnulls(below_brl, above_brl, changes_by_percent) > 0),
    unique nulls not distinct (fipe_code, model_year, fuel_code, below_brl, above_brl, changes_by_percent)
);
comment on table fipe.watch_rule is
    'One row per rule of `fipe watch`: which vehicles, and the prices to be told of. One of the limits is enough.';

create table if not exists fipe.watch_hit (
    rule_id         integer       not null references fipe.watch_rule (id) on delete cascade,
    reference_month date          not null references fipe.reference_month (month),
    vehicle_id      integer       not null references fipe.vehicle (id),
    price_brl       numeric(12,2) not null,
    announced_at    timestamptz   not null default now(),
    primary key (rule_id, reference_month, vehicle_id)
);
comment on table fipe.watch_hit is
    'One row per watch rule, month and vehicle that an announcement has told of: none is told twice.';

create or replace function fipe.watched(month text default null)
returns table (
    rule_id integer, fipe_code text, vehicle_type smallint, brand text, model text, model_year smallint,
    zero_km boolean, fuel text, month_before date, reference_month date, price_before numeric, price_brl numeric,
    change_percent numeric, because text[], note text, vehicle_id integer
)
language sql stable parallel safe as $$
    with months as materialized (
        select asked.month, fipe.month_before($1, null) as before from fipe.asked_month($1) as asked (month)
    ),
    watched as materialized (
        select distinct rule.id as rule_id, vehicle.series_id
        from fipe.watch_rule as rule
        join fipe.vehicle on vehicle.fipe_code = rule.fipe_code
            and vehicle.model_year = coalesce(rule.model_year, vehicle.model_year)
            and vehicle.fuel_code = coalesce(rule.fuel_code, vehicle.fuel_code)
        where vehicle.last_month is not null
    )
    select rule.id, vehicle.fipe_code, model.vehicle_type, model.brand, model.model, vehicle.model_year, vehicle.zero_km,
           vehicle.fuel, months.before, months.month, earlier.price_brl, now.price_brl,
           round(100 * (now.price_brl - earlier.price_brl) / earlier.price_brl, 2), reached.because, rule.note,
           vehicle.id
    from months
    cross join watched
    join fipe.watch_rule as rule on rule.id = watched.rule_id
    -- A price of zero is no price.
    join fipe.counted_price as now
        on now.series_id = watched.series_id and now.reference_month = months.month and now.price_brl > 0
    left join fipe.counted_price as earlier
        on earlier.series_id = watched.series_id and earlier.reference_month = months.before
        and earlier.price_brl > 0
    cross join lateral (
        select array_remove(array[
            case when now.price_brl < rule.below_brl then 'below' end,
            case when now.price_brl > rule.above_brl then 'above' end,
            case when 100 * abs(now.price_brl - earlier.price_brl) >= rule.changes_by_percent * earlier.price_brl
                 then 'change' end
        ], null) as because
    ) as reached
    join fipe.vehicle on vehicle.id = now.vehicle_id
    join fipe.model on model.id = vehicle.model_id
    where reached.because <> '{}'
    order by rule.id, vehicle.model_year desc, vehicle.fuel_code, model.brand, model.model, vehicle.id
$$;
comment on function fipe.watched(text) is
    'The watch rules that hold in a month, the newest by default, one row per vehicle: its price is below or above a'
    ' limit, or has changed by so many percent since the month before (fipe.month_before). A vehicle is followed through'
    ' renames and other codes, and prices of zero are left out.';

-- FipeLoadStatus announces what holds, and may do no more here than that: so this runs with the rights of its owner.
create or replace function fipe.watch_hits(month date) returns setof jsonb
language sql volatile security definer set search_path = pg_catalog, pg_temp
begin atomic
    with held as materialized (
        select *
        from fipe.watched(to_char($1, 'YYYY-MM'))
        -- A month that is loaded after newer ones, as a backfill does, is no news.
        where not exists (
            select from fipe.reference_month as later
            where later.month > $1 and fipe.loaded(later.month) <> 'loading'
              and exists (select from fipe.price where price.reference_month = later.month)
        )
    ),
    told as (
        insert into fipe.watch_hit (rule_id, reference_month, vehicle_id, price_brl)
        select rule_id, reference_month, vehicle_id, price_brl from held
        on conflict do nothing
        returning rule_id, vehicle_id
    )
    select to_jsonb(held) - 'vehicle_id' || jsonb_build_object('text', concat(
               held.brand, ' ', held.model, ' ', case when held.zero_km then 'zero km' else held.model_year::text end,
               ' ', held.fuel, ' (', held.fipe_code, ') costs R$ ', to_char(held.price_brl, 'FM999,999,999,990.00'),
               ' in ', to_char(held.reference_month, 'YYYY-MM'),
               case when 'below' = any(held.because)
                    then ', below R$ ' || to_char(rule.below_brl, 'FM999,999,999,990.00') end,
               case when 'above' = any(held.because)
                    then ', above R$ ' || to_char(rule.above_brl, 'FM999,999,999,990.00') end,
               case when held.change_percent is not null
                    then concat(', ', to_char(abs(held.change_percent), 'FM999999990.00'),
                                case when held.change_percent < 0 then '% less' else '% more' end,
                                ' than in ', to_char(held.month_before, 'YYYY-MM')) end,
               ' (rule ', held.rule_id, case when held.note <> '' then ': ' || held.note end, ')'
           ))
    from held
    join told using (rule_id, vehicle_id)
    join fipe.watch_rule as rule on rule.id = held.rule_id
    order by held.rule_id, held.model_year desc, held.fuel, held.brand, held.model, held.vehicle_id;
end;
comment on function fipe.watch_hits(date) is
    'Internal: the watch rules that hold in a month and that nobody was told of yet, as fipe.watched has them, each with a text'
    ' to read: it keeps in fipe.watch_hit that they are told now. None if a later month is loaded.';
revoke execute on function fipe.watch_hits(date) from public;

-- Announcements -------------------------------------------------------------------------------------------------------

-- An outbox. Whoever writes news, writes it in the transaction that made it so, and FipeAnnouncer tells it afterwards.
create table if not exists fipe.announcement (
    id              uuid        primary key default gen_random_uuid(),
    kind            text        not null check (
        kind in ('load_complete', 'load_incomplete', 'load_stalled', 'month_changed', 'backfill_ended')
    ),
    run_id          uuid        not null,
    reference_code  integer,
    reference_month date,
    created_at      timestamptz not null default now(),
    changed         integer     not null default 0,
    corrected       integer     not null default 0,
    withdrawn       integer     not null default 0,
    document        jsonb,
    claimed_at      timestamptz,
    told_at         timestamptz
);
comment on table fipe.announcement is
    'Internal: what is told about loads, each once: a load that is complete, incomplete or stalled, a month that changed'
    ' after it was complete, the end of a list of months.';
create unique index if not exists announcement_once on fipe.announcement (kind, run_id, reference_code)
    nulls not distinct where kind <> 'month_changed';
-- Until somebody has begun to tell of it, further changes of a month join the announcement.
create unique index if not exists announcement_of_changes on fipe.announcement (run_id, reference_code)
    where kind = 'month_changed' and claimed_at is null;
create index if not exists announcement_untold on fipe.announcement (created_at) where told_at is null;

-- Only counts: so FipeLoadStatus can tell them without a right to read prices.
create or replace function fipe.month_figures(month date)
returns table (month_before date, new bigint, gone bigint, changed bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select counted.month_before, counted.new, counted.gone, counted.rose + counted.fell
    from fipe.month_by_month($1::text, ($1 - interval '1 month')::date::text) as counted
    where counted.reference_month = $1
$$;
comment on function fipe.month_figures(date) is
    'Internal: how many vehicles of a month are new, gone and changed in price, as fipe.month_by_month counts them. No row'
    ' when there is no month to compare it with.';
revoke execute on function fipe.month_figures(date) from public;

-- Comments on columns -------------------------------------------------------------------------------------------------

-- psql's \d+ shows them, and `make docs` writes docs/data.md from them. A column's name means the same in every table,
-- view and function, so it is explained once, here; `function.column` is for what means something else in a function.
-- What null means stands last, after "; null".
create or replace function fipe.column_words() returns table (name text, meaning text)
language sql immutable parallel safe as $$
        values
            ('above_brl', 'a price above this one, in reais; null when there is no such limit'),
            ('added', 'prices that were not there before'),
            ('announced_at', 'when it was announced'),
            ('answer', 'the source''s answer as text, cut at 4,000 characters'),
            ('asked_at', 'when the model''s prices were asked; of two answers the newer counts'),
            ('asked_from', 'when the answer that brought it was asked; null means that an import brought it'),
            ('asked_until', 'when the answer that ended it was asked'),
            ('below_brl', 'a price below this one, in reais; null when there is no such limit'),
            ('brand', 'the name of the brand'),
            ('brand_code', 'FIPE''s code of the brand; the same brand has another code for another vehicle type. Below'
             ' zero: no load has named the brand, only an import'),
            ('brands_complete', 'brands of the load whose results have all arrived'),
            ('brands_expected', 'brands that the load expects'),
            ('call', 'the call''s name, as FIPE names it'),
            ('cancelled', 'whether the run is cancelled; not if it was resumed since'),
            ('changed', 'prices that this load found new, changed or withdrawn'),
            ('changed_at', 'when it was last cancelled or resumed'),
            ('changes_by_percent', 'a price that rose or fell by at least so many percent since the month before; null when'
             ' there is no such limit'),
            ('changes', 'how often it was cancelled or resumed; of two messages the one with more counts'),
            ('claimed_at', 'when FipeAnnouncer last began to tell it; null until then'),
            ('complete', 'whether the state is complete'),
            ('completed_at', 'when it became complete; null until then'),
            ('confirmed', 'how many of the months a sample has confirmed: see fipe.confirmed_month'),
            ('confirmed_at', 'when the last price of the sample was answered'),
            ('content', 'the row, by the names of its columns'),
            ('copies', 'rows that repeat another row of the file exactly'),
            ('corrected', 'prices that this load found otherwise than an earlier load of the same month'),
            ('created_at', 'when it was written'),
            ('document', 'what is told, as the SNS topic and the webhook get it; null until it is first told'),
            ('duplicate', '0; of a vehicle published under several names or brands at once, its place among them: it'
             ' counts only in months without one of a lower place'),
            ('ended_at', 'when the last expected result was written; null until then'),
            ('ended_by', 'the load that ended it: fipe.load_run.id'),
            ('file', 'the name of the file; - is standard input'),
            ('files', 'how many files were read'),
            ('files_unfinished', 'how many of them were not read to their ends: the same `fipe import` again goes on'),
            ('fingerprint', 'a hash of what was asked and answered'),
            ('fipe_code', 'FIPE''s code of the vehicle, such as 005340-6; several model years share one'),
            ('first_month', 'the first reference month with a price; null when all are withdrawn'),
            ('first_seen_at', 'when it was first seen'),
            ('flag', 'why to look twice: zero price, unknown fuel, or from a mirror'),
            ('fuel', 'the name of the fuel'),
            ('fuel_code', 'FIPE''s code of the fuel: 1 Gasolina, 2 Álcool, 3 Diesel, 4 Elétrico, 5 Flex, 6 Híbrido,'
             ' 7 Gás Natural; others are kept as they come'),
            ('gaps', 'prices that FIPE lists and that the load did not get: the model''s name, and model years with fuels,'
             ' unpriced or rejected; null when there are none, and the model has prices'),
            ('id', 'a number of this database, which has no meaning outside of it'),
            ('import_file_id', 'the file: fipe.import_file.id'),
            ('imported', 'how many prices imports had added to the month, and replaced in it, when the sample was chosen'),
            ('kept_apart', 'rows that are not stored as prices: see fipe.import_kept_apart'),
            ('known', 'rows that the database held already'),
            ('last_month', 'the last reference month with a price; null when all are withdrawn'),
            ('last_seen_at', 'when it was last seen'),
            ('last_write_at', 'when its last result was written'),
            ('line', 'the line or row of the file, the first being 1'),
            ('load_run_id', 'the load: fipe.load_run.id'),
            ('mirrored', 'prices that a mirror gave'),
            ('model', 'the name of the model'),
            ('model_code', 'FIPE''s code of the model. Below zero: no load has named the model, only an import'),
            ('model_codes', 'FIPE''s codes of the models'),
            ('model_id', 'the model: fipe.model.id'),
            ('model_year', 'the model year; FIPE''s 32000 means zero km'),
            ('models', 'models with a price, in this month'),
            ('models_before', 'models with a price, in the month before'),
            ('models_expected', 'models that the load expects; null until they are known'),
            ('models_received', 'models whose results have arrived'),
            ('month', 'the reference month, as the first day of the month'),
            ('months', 'how many reference months'),
            ('only_row', 'always true: there is one row'),
            ('parameters', 'what the call asked for'),
            ('part', 'the number of this part: the plan of a large brand comes in parts of 5,000 models'),
            ('planned_at', 'when the list was asked for that the plan is made of; a newer list replaces it; null until it has'
             ' arrived'),
            ('price_brl', 'the price in reais; FIPE has published zeros, which are kept'),
            ('prices', 'how many prices'),
            ('prices_asked', 'how many prices the sample had, all of them alike in the official API'),
            ('prices_before', 'how many prices, in the month before'),
            ('reason', 'why'),
            ('replaced', 'prices of loads whose place it took, as asked: see fipe.import_replaced'),
            ('replaced_at', 'when an import took its place'),
            ('received_at', 'when the result was written'),
            ('reference_code', 'FIPE''s code of the reference month'),
            ('reference_month', 'the reference month, as the first day of the month'),
            ('rule_id', 'the watch rule: fipe.watch_rule.id, the number in `fipe watch list`'),
            ('rejected', 'prices that FIPE lists and that had no usable answer; see fipe.rejected_answer'),
            ('position', 'how far the file is read, in bytes or in rows of Parquet: an interrupted import goes on there'),
            ('run_id', 'the run: what `fipe load` answers'),
            ('script_sha256', 'the SHA-256 of the script that a deploy ran; null when a person ran it'),
            ('searched_at', 'when the source was asked for the list that models_expected counts; null until then'),
            ('series_id', 'the same number for vehicles that are the same through time'),
            ('shrunk', 'whether more is gone since the month before than between two finished months: the month may'
             ' be unfinished'),
            ('source', 'who said so: fipe (the official API), parallelum (a mirror), or the name of an import'),
            ('stable', 'whether a complete load of the whole month found nothing new, and was denied nothing that the'
             ' month has'),
            ('started_at', 'when its plan or its first result was written'),
            ('state', 'loading, complete, incomplete or cancelled: see fipe.load_state'),
            ('times_seen', 'how often it was seen'),
            ('told_at', 'when it was told; null until then'),
            ('unpriced', 'model years and fuels that FIPE lists and denied a price for, nine times'),
            ('upgraded_at', 'when the schema came to this version'),
            ('vehicle_id', 'the vehicle: fipe.vehicle.id'),
            ('vehicle_type', '1 car, 2 motorcycle, 3 truck'),
            ('vehicle_types', 'the vehicle types that the sample was of'),
            ('vehicles', 'how many vehicles: model years with a fuel'),
            ('vehicles_expected', 'vehicles that the load expects; null until they are known'),
            ('version', 'the version of the schema'),
            ('waits_for', 'the months of the load that the run gives way to; empty if it waits for none'),
            ('wanted_brands', 'codes or names of the only brands to load; empty means all'),
            ('wanted_types', 'the vehicle types to load'),
            ('wanted_models', 'codes or names of the only models to load; empty means all'),
            ('whole_month', 'whether the load is of everything that FIPE published for the month; null until its'
             ' plan has arrived'),
            ('withdrawn', 'prices that this load no longer found and an earlier load of the same month did'),
            ('words', 'the words of both names, for searching'),
            ('zero_km', 'whether this is a new car, which FIPE publishes as model year 32000'),
            -- Of functions.
            ('age_years', 'the year of the reference month minus the model year, at least 0; 0 for zero km'),
            ('came_back', 'vehicles that the earlier month does not have, and a month before it has'),
            ('change_brl', 'how much the price rose, in reais; below zero if it fell; null when there is no earlier price'),
            ('change_percent', 'how much the price rose, in percent; below zero if it fell; null when there is no earlier'
             ' price, or it is zero'),
            ('changed_fuel', 'vehicles that stand under another fuel than in the earlier month'),
            ('difference', 'new, gone, changed (its price) or unchanged'),
            ('fell', 'vehicles whose price is lower than in the earlier month; a price of zero does not count'),
            ('fipe_codes', 'the FIPE codes of the model'),
            ('gone', 'vehicles that the earlier month has, and this month does not'),
            ('loaded', 'how far the reference month is loaded: whole, imported, part or loading; see fipe.loaded'),
            ('model_years', 'the first and the last model year, and zero km if it is sold new'),
            ('month_before', 'the earlier month of the comparison, as its first day'),
            ('months_apart', 'how many months lie between the two: 1 if they follow each other'),
            ('new', 'vehicles that no month had until now'),
            ('percent_of_newest', 'the price in percent of the price of zero km, or else of the newest model year; null when'
             ' that price is zero'),
            ('price_before', 'the price in the earlier month, in reais; null when it has none'),
            ('published_fuel', 'the name of the fuel in that month'),
            ('renamed', 'vehicles whose brand or model has another name than in the earlier month'),
            ('rose', 'vehicles whose price is higher than in the earlier month; a price of zero does not count'),
            ('unchanged', 'vehicles that are in both months and whose price neither rose nor fell'),
            ('vehicles_before', 'how many vehicles the earlier month has'),
            ('month_by_month.brand', 'the name of the brand; null unless `by` is brand'),
            ('month_by_month.brand_code', 'FIPE''s code of the brand; null unless `by` is brand'),
            ('month_by_month.vehicle_type', '1 car, 2 motorcycle, 3 truck; null unless `by` is type or brand'),
            ('month_by_month.vehicles', 'how many vehicles the month has'),
            ('month_differences.price_brl', 'the price in the later month, in reais; null when the vehicle is gone'),
            ('price_history.fuel', 'the newest fuel of the series'),
            ('price_of.month_before', 'the earlier month of the comparison, as its first day; null without `since`'),
            ('search_models.price_brl', 'the price of the newest model year, in reais'),
            ('search_models.last_month', 'the last reference month that has the model'),
            ('choices', 'what there is instead, or which there are: model years, fuels, or the FIPE code with its'
             ' right check digit; null when the note needs none'),
            ('note', 'why there is no price, or what FIPE lists otherwise, as a word for programs; null when'
             ' there is nothing to say'),
            ('percent_of_zero_km', 'the price in percent of the zero-km price; null when there is none, or it is zero'),
            ('place', 'the place in the arrays, the first being 1'),
            ('zero_km_brl', 'the zero-km price of the same FIPE code and fuel in that month, in reais; null when it is'
             ' not sold new'),
            ('value_fleet.brand', 'the name of the brand; null when the FIPE code is not known'),
            ('value_fleet.fipe_code', 'FIPEs code of the vehicle; null when what is written is none'),
            ('value_fleet.fuel', 'the name of the fuel; null when there is no price'),
            ('value_fleet.last_month', 'the last reference month that has it, where there is no price; null when none has, or'
             ' there is a price'),
            ('value_fleet.model', 'the name of the model; null when the FIPE code is not known'),
            ('value_fleet.model_year', 'the model year; 32000 means zero km; null when what is written is none'),
            ('value_fleet.month_before', 'the earlier month of the comparison, as its first day; null without `since`'),
            ('value_fleet.price_brl', 'the price in reais; null when there is none, and note says why'),
            ('value_fleet.vehicle_type', '1 car, 2 motorcycle, 3 truck; null when the FIPE code is not known'),
            ('value_fleet.zero_km', 'whether it is a new vehicle; null when what is written is no model year'),
            ('because', 'what holds: below, above, change'),
            ('watched.change_percent', 'how much the price rose, in percent; below zero if it fell; null when there is no'
             ' earlier price'),
            ('watched.month_before', 'the month before that it is compared with, as its first day; null when there is none'),
            ('watched.note', 'the note of the rule; empty when it has none'),
            ('watched.price_before', 'the price in the month before, in reais; null when it has none, or zero')
$$;
comment on function fipe.column_words() is 'Internal: what the names of columns mean.';

do $$
declare
    described record;
begin
    for described in
        select attribute.attrelid::regclass as relation, attribute.attname as name, word.meaning
        from fipe.column_words() as word
        join pg_attribute as attribute on attribute.attname = word.name and attribute.attnum > 0
        join pg_class as class on class.oid = attribute.attrelid
        where class.relnamespace = 'fipe'::regnamespace and class.relkind in ('r', 'v')
    loop
        execute format('comment on column %s.%I is %L', described.relation, described.name, described.meaning);
    end loop;
end
$$;

-- Names that mean more, or something else, in one place.
comment on column fipe.reference_month.code is
    'FIPE''s code of the reference month; null when only imports know the month';
comment on column fipe.vehicle_price.reference_code is
    'FIPE''s code of the reference month; null when only imports know the month';
comment on column fipe.flagged_price.reference_code is
    'FIPE''s code of the reference month; null when only imports know the month';
comment on column fipe.import_file.ended_at is 'when the whole file was read; null until then';
comment on column fipe.import_file.fingerprint is
    'a hash of the file''s content; null for standard input, which cannot be read twice';
comment on column fipe.import_file.last_write_at is 'when rows of it were last dealt with';
comment on column fipe.import_file.source is 'the name it was imported under: fipe.price_source.id';
comment on column fipe.import_file.started_at is 'when it was first read';
comment on column fipe.import_replaced.price_brl is 'the price that the load had brought, in reais';
comment on column fipe.import_replaced.source is
    'who gave that price: fipe.price_source.id; null means the official API';
comment on column fipe.import_month.source is 'the import: fipe.price_source.id';
comment on column fipe.announcement.id is 'the same each time it is told';
comment on column fipe.announcement.kind is 'what has happened';
comment on column fipe.announcement.changed is
    'of a month that changed, prices that are new, another, or gone since it was complete';
comment on column fipe.announcement.corrected is 'those of them that are another';
comment on column fipe.announcement.withdrawn is 'those of them that are gone';
comment on column fipe.announcement.reference_code is
    'FIPE''s code of the reference month; null for a list of months';
comment on column fipe.announcement.reference_month is
    'the reference month, as its first day; null for a list of months';
comment on column fipe.price_source.id is 'what fipe.price.source holds';
comment on column fipe.price_source.kind is 'mirror or import';
comment on column fipe.price_source.name is 'the name of the mirror or of the import';
comment on column fipe.price.source is
    'who gave this price: fipe.price_source.id; null, which takes no room, means the official API';
comment on column fipe.price_revision.source is
    'who gave this price: fipe.price_source.id; null means the official API';
comment on column fipe.model_answer.answer is
    'names, prices and what was listed without a price; null means that a complete load of the brand did not list it';
comment on column fipe.price_revision.load_run_id is
    'the load that brought it: fipe.load_run.id; null means that an import did';
comment on column fipe.price_revision.price_brl is 'the price that no longer holds, in reais';
comment on column fipe.price_revision.reason is
    'why it ended: corrected, withdrawn, or official (it came from a mirror, and the official API gave it then)';
comment on column fipe.load_brand_plan.vehicles is 'for each model, how many vehicles it has';
comment on column fipe.load_missing.model_code is 'FIPE''s code of the model; null when the whole brand is missing';
comment on column fipe.load_missing.reason is 'why it is missing, and where to look';
comment on column fipe.load_missing.vehicles is
    'how many vehicles are missing; null when that is not known';
comment on column fipe.month_comparison.brand_code is 'FIPE''s code of the brand; null in the row of the whole month';
comment on column fipe.month_comparison.shrunk is
    'whether the brand lost half (and five) of its models or prices, or the month 7% of its prices';
comment on column fipe.load_run.shrunk is
    'whether fipe.month_comparison said shrunk when the load was complete; null until then';
comment on column fipe.rejected_answer.reference_code is
    'FIPE''s code of the reference month; null when the call was not about a month';
comment on column fipe.load_brand.brand is 'the name of the brand; null until a plan or a result names it';
comment on column fipe.load_brand_status.brand is 'the name of the brand; null until a plan or a result names it';
comment on column fipe.load_brand_status.last_write_at is
    'when its last result was written; null until the first';
comment on column fipe.load_status.models_expected is 'models that the load expects, of the brands searched so far';
comment on column fipe.load_status.vehicles_expected is
    'vehicles that the load expects, of the brands searched so far';
comment on column fipe.month_comparison.vehicle_type is
    '1 car, 2 motorcycle, 3 truck; null in the row of the whole month';
comment on column fipe.load_missing.vehicle_type is
    '1 car, 2 motorcycle, 3 truck; null when the missing brands are not known';
comment on column fipe.load_missing.brand_code is 'FIPE''s code of the brand; null when the missing brands are not known';
comment on column fipe.load_missing.brand is 'the name of the brand; null when it is not known';
comment on column fipe.load_missing.model is 'the name of the model; null when it is not known, or the whole brand is missing';
comment on column fipe.load_missing.model_year is
    'the model year; FIPE''s 32000 means zero km; null when more than one price is missing';
comment on column fipe.load_missing.fuel_code is 'FIPE''s code of the fuel; null when more than one price is missing';
comment on column fipe.load_missing.fuel is 'the name of the fuel; null when more than one price is missing';
comment on column fipe.load_unpriced.brand is 'the name of the brand; null when it is not known';
comment on column fipe.load_unpriced.model_year is
    'the model year; FIPE''s 32000 means zero km; null when FIPE lists the model without model years';
comment on column fipe.load_unpriced.fuel_code is
    'FIPE''s code of the fuel; null when FIPE lists the model without model years';
comment on column fipe.load_unpriced.fuel is 'the name of the fuel; null when FIPE lists the model without model years';

comment on column fipe.watch_rule.fipe_code is
    'FIPE''s code of the vehicles to watch; a vehicle that gets another code later is still watched';
comment on column fipe.watch_rule.model_year is 'the model year; 32000 means zero km; null means all';
comment on column fipe.watch_rule.fuel_code is 'FIPE''s code of the fuel; null means all';
comment on column fipe.watch_rule.note is 'what the person wrote beside it; empty when nothing';
comment on column fipe.watch_hit.price_brl is 'the price that was told, in reais';

-- Rights --------------------------------------------------------------------------------------------------------------

-- Roles belong to the whole server, so another database of it may have made them already.
do $$
begin
    if not exists (select from pg_roles where rolname = 'fipe_readers') then
        create role fipe_readers;
    end if;
    -- The five roles that sign in with IAM tokens are made by a role that is gone afterwards. PostgreSQL makes whoever
    -- creates a role a member of it, for good. Through these, the master user would be a member of rds_iam, and Aurora
    -- would refuse its password from then on.
    if not (
        select count(*) = 5 from pg_roles
        where rolname in ('fipe_ingestor', 'fipe_importer', 'fipe_status', 'fipe_reader', 'fipe_watcher')
    ) then
        create role fipe_role_maker createrole;
        grant fipe_role_maker to current_user with set true, inherit false;
        set local role fipe_role_maker;
        if not exists (select from pg_roles where rolname = 'fipe_ingestor') then
            create role fipe_ingestor login;
            -- A warm function keeps its connection, and a serverless database pauses only when nobody is connected.
            alter role fipe_ingestor set idle_session_timeout = '5min';
            -- Writers take turns. A function that Lambda froze between two statements must not keep the others waiting.
            alter role fipe_ingestor set idle_in_transaction_session_timeout = '30s';
        end if;
        if not exists (select from pg_roles where rolname = 'fipe_importer') then
            create role fipe_importer login;
            alter role fipe_importer set idle_in_transaction_session_timeout = '30s';
        end if;
        if not exists (select from pg_roles where rolname = 'fipe_status') then
            create role fipe_status login;
        end if;
        if not exists (select from pg_roles where rolname = 'fipe_watcher') then
            create role fipe_watcher login;
            alter role fipe_watcher set idle_in_transaction_session_timeout = '30s';
        end if;
        if not exists (select from pg_roles where rolname = 'fipe_reader') then
            create role fipe_reader login;
            -- The rights below let a reader change nothing. This also refuses what every role may do, such as making
            -- large objects.
            alter role fipe_reader set default_transaction_read_only = on;
        end if;
        reset role;
        drop role fipe_role_maker;
    end if;
    if not pg_has_role('fipe_reader', 'fipe_readers', 'member') then
        grant fipe_readers to fipe_reader;
    end if;
    if not pg_has_role('fipe_watcher', 'fipe_readers', 'member') then
        grant fipe_readers to fipe_watcher;
    end if;
    -- For programs that keep a password, such as a dashboard. It cannot sign in until a deploy with reader_login=on gives
    -- it one. A dashboard that nobody looks at ends its session, so that a serverless database can pause.
    if not exists (select from pg_roles where rolname = 'fipe_dashboard') then
        create role fipe_dashboard connection limit 20 in role fipe_readers;
        alter role fipe_dashboard set default_transaction_read_only = on;
        alter role fipe_dashboard set statement_timeout = '5min';
        alter role fipe_dashboard set idle_session_timeout = '10min';
    end if;
    -- Aurora and RDS have the role rds_iam. Its members sign in with IAM tokens, and only with those: a password is
    -- refused even to a member of a member. So who has a password joins fipe_readers, not fipe_reader.
    if exists (select from pg_roles where rolname = 'rds_iam') then
        if not pg_has_role('fipe_ingestor', 'rds_iam', 'member') then
            grant rds_iam to fipe_ingestor;
        end if;
        if not pg_has_role('fipe_status', 'rds_iam', 'member') then
            grant rds_iam to fipe_status;
        end if;
        if not pg_has_role('fipe_importer', 'rds_iam', 'member') then
            grant rds_iam to fipe_importer;
        end if;
        if not pg_has_role('fipe_reader', 'rds_iam', 'member') then
            grant rds_iam to fipe_reader;
        end if;
        if not pg_has_role('fipe_watcher', 'rds_iam', 'member') then
            grant rds_iam to fipe_watcher;
        end if;
    end if;
    -- PostgreSQL lets everybody make temporary tables. Here only those who write need them.
    execute format('revoke temporary on database %I from public', current_database());
    execute format('grant connect, temporary on database %I to fipe_ingestor, fipe_importer', current_database());
end
$$;

grant usage on schema fipe to fipe_ingestor, fipe_importer, fipe_status, fipe_readers;
grant select, insert, update on
    fipe.reference_month, fipe.model, fipe.vehicle, fipe.price, fipe.price_revision, fipe.model_answer,
    fipe.load_run, fipe.load_brand, fipe.load_brand_plan, fipe.load_model, fipe.load_cancellation, fipe.rejected_answer,
    fipe.announcement
    to fipe_ingestor;
grant update on fipe.writers_turn to fipe_ingestor, fipe_importer;
grant usage on sequence fipe.vehicle_id_seq to fipe_ingestor, fipe_importer;
-- Corrections within a month move a price to another name, or end it. A newer plan of a brand replaces the older.
grant delete on fipe.price, fipe.price_revision, fipe.model_answer, fipe.load_brand_plan to fipe_ingestor;
grant select on fipe.load_missing_model, fipe.month_comparison to fipe_ingestor;
grant select, insert, update on fipe.import_confirmation to fipe_ingestor;
-- A load of a whole month takes the place of what imports brought.
grant select, delete on fipe.import_month to fipe_ingestor;
grant select on fipe.import_replaced to fipe_ingestor;
-- An import adds to what is there. It cannot change or remove a price, nor what a load has written of itself.
grant select on all tables in schema fipe to fipe_importer;
grant insert on fipe.reference_month, fipe.price_source, fipe.model, fipe.vehicle, fipe.price to fipe_importer;
grant update (first_month, last_month, series_id, duplicate) on fipe.vehicle to fipe_importer;
grant insert, update on fipe.import_file, fipe.import_month, fipe.import_kept_apart to fipe_importer;
grant execute on function fipe.replace_prices(integer, date[], integer[], numeric[]) to fipe_importer;
grant select on
    fipe.load_run, fipe.load_brand, fipe.load_brand_plan, fipe.load_model, fipe.load_cancellation, fipe.load_brand_status,
    fipe.load_status, fipe.load_missing, fipe.load_unpriced, fipe.import_status, fipe.model_of_code
    to fipe_status;
-- It chooses the prices by which an imported month is confirmed.
grant select on fipe.vehicle_price, fipe.import_month, fipe.import_replaced, fipe.reference_month, fipe.confirmed_month
    to fipe_status;
grant execute on function fipe.watch_hits(date) to fipe_status;
-- Adds and removes watch rules. What was told goes with its rule.
grant insert (fipe_code, model_year, fuel_code, below_brl, above_brl, changes_by_percent, note), delete
    on fipe.watch_rule to fipe_watcher;
-- FipeLoadStatus claims announcements, and notes what nobody else can: that nothing arrives, that a list has ended.
grant select, insert, update (document, claimed_at, told_at) on fipe.announcement to fipe_status;
grant execute on function fipe.month_figures(date) to fipe_status;
grant select on fipe.schema_version to fipe_ingestor, fipe_status;
grant select on all tables in schema fipe to fipe_readers;
