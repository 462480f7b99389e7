"""The dbt package on the embedded PostgreSQL, as dbt/README.md says: built, tested, and right.

Two months: June 2026 as FIPE published it where that file is there, or else the sample, and a May that is
made from it.
"""

import json
import os
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from fipe_api.database.writer import PriceRow, write_rows
from fipe_simulator import SAMPLE_CATALOGUE, CatalogueRow, read_catalogue
from tests.conftest import ROOT
from tests.databases import as_role, database_with_schema
from tests.documents import commands
from tests.real_month import REAL_MONTH

pytestmark = pytest.mark.dbt

PACKAGE = ROOT / "dbt"
README = PACKAGE / "README.md"
DBT = ROOT / ".venv/dbt/bin/dbt"
PASSWORD = "choose-one"
"""As in the README."""
MAY, JUNE = date(2026, 5, 1), date(2026, 6, 1)


@cache
def catalogue() -> list[CatalogueRow]:
    source = REAL_MONTH if REAL_MONTH.is_file() else SAMPLE_CATALOGUE
    return [row for rows in read_catalogue(source).by_model() for row in rows]


@cache
def june() -> list[PriceRow]:
    return [PriceRow(JUNE, 334, *row) for row in catalogue()]


@cache
def may() -> list[PriceRow]:
    """Most prices are lower than in June, Flex is Gasolina, a model has another name, some are not there."""
    return [
        row._replace(
            reference_month=MAY,
            reference_code=333,
            price_brl=(row.price_brl * Decimal("1" if place % 10 == 0 else "0.99")).quantize(Decimal(1)),
            **({"fuel_code": 1, "fuel": "Gasolina"} if row.fuel_code == 5 else {}),
            **({"model": f"{row.model} old"} if row[2:7] == june()[0][2:7] else {}),
        )
        for place, row in enumerate(june())
        if place % 97 != 5
    ]  # fmt: skip


class Star:
    """A database with two months, and dbt on it."""

    def __init__(self, dsn: str, folder: Path) -> None:
        self.dsn = dsn
        place = parse_dsn(dsn)
        self.environment = {
            **os.environ,
            "PGHOST": place["host"], "PGPORT": place["port"], "PGDATABASE": place["dbname"],
            "PGPASSWORD": PASSWORD, "PGSSLMODE": "disable",
            "DBT_TARGET_PATH": str(folder / "target"), "DBT_LOG_PATH": str(folder / "logs"),
            "DBT_USE_COLORS": "false",
        }  # fmt: skip
        self.results = folder / "target"

    def dbt(self, *arguments: str, fails: bool = False) -> str:
        """What `dbt` prints."""
        ended = subprocess.run(
            [DBT, *arguments], cwd=PACKAGE, env=self.environment, capture_output=True, text=True, check=False
        )
        assert (ended.returncode != 0) == fails, ended.stdout + ended.stderr
        return ended.stdout

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        """As one who may read the prices, and so the star."""
        dsn = as_role(self.dsn, "fipe_reader")
        with closing(psycopg2.connect(dsn)) as database, database, database.cursor() as cursor:
            cursor.execute("set search_path = fipe_star")
            cursor.execute(question)
            return cursor.fetchall()

    def run(self, *statements: str) -> None:
        with closing(psycopg2.connect(self.dsn)) as database, database, database.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


@pytest.fixture(scope="module")
def star(postgres_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Star]:
    with database_with_schema(postgres_dsn) as dsn:
        with closing(psycopg2.connect(dsn)) as database:
            write_rows(database, may())
            write_rows(database, june())
        one = Star(dsn, tmp_path_factory.mktemp("dbt"))
        prepared = [shlex.split(line)[3] for line in commands(README) if line.startswith("fipe psql -c")]
        assert len(prepared) == 3
        one.run(*prepared)
        yield one


@pytest.fixture(scope="module")
def built(star: Star) -> Star:
    """After `dbt build`, whose own tests have passed, and which called nobody: no statistics, no updates."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        star.environment |= {"HTTP_PROXY": url, "HTTPS_PROXY": url, "http_proxy": url, "https_proxy": url}
        began = time.monotonic()
        said = star.dbt("build")
        seconds = time.monotonic() - began
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()
    finished = re.search(r"Finished running .* \((.*)s\)", said)
    assert finished
    print(f"dbt build of {len(june()) + len(may())} prices: {finished[1]} s, {seconds:.1f} s with its start")
    assert re.search(r"PASS=3\d WARN=0 ERROR=0 SKIP=0", said), said
    return star


MISSING = """
    with star as (
        select month_key, dim_month.reference_code, dim_vehicle.vehicle_type, dim_vehicle.brand_code,
               dim_vehicle.brand, model_code, dim_vehicle.model, dim_vehicle.model_year, dim_vehicle.zero_km,
               fuel_code, dim_vehicle.fuel, dim_vehicle.fipe_code, price_brl, source
        from fact_price
        join dim_month using (month_key)
        join dim_vehicle using (vehicle_key)
        join dim_brand on dim_brand.brand_key = fact_price.brand_key
        join dim_series on dim_series.series_key = fact_price.series_key
    )
    (select * from star except all select * from fipe.vehicle_price)
    union all
    (select * from fipe.vehicle_price except all select * from star)
"""
"""What the star and the view do not have in common."""


def test_the_star_has_every_price_as_published_and_no_other(built: Star) -> None:
    assert built.ask(MISSING) == []
    assert built.ask("select count(*) from fact_price") == built.ask(
        "select count(*) from fipe.vehicle_price"
    )


def test_a_series_goes_on_through_renames_and_fuels(built: Star) -> None:
    changes = (
        "select count(*), sum(price_before), sum(price_brl) from fipe.price_changes('2026-06', '2026-05')"
    )
    star = """
        select count(*), sum(may.price_brl), sum(june.price_brl)
        from fact_price as june
        join fact_price as may using (series_key)
        where june.month_key = '2026-06-01' and june.is_counted
          and may.month_key = '2026-05-01' and may.is_counted
    """
    assert built.ask(star) == built.ask(changes)
    became_flex = """
        select count(*) filter (where dim_series.fuel = 'Flex' and dim_vehicle.fuel = 'Gasolina') > 0
        from dim_vehicle join dim_series using (series_key) where dim_vehicle.last_month = '2026-05-01'
    """
    assert built.ask(became_flex) == [(True,)]
    old = "select distinct dim_series.model from dim_vehicle join dim_series using (series_key)"
    assert built.ask(f"{old} where dim_vehicle.model like '% old'") == [(catalogue()[0].model,)]


def test_every_column_is_described_in_the_database(built: Star) -> None:
    undescribed = """
        select relname, attname from pg_attribute join pg_class on pg_class.oid = attrelid
        where relnamespace = 'fipe_star'::regnamespace and relkind in ('r', 'v') and attnum > 0
          and (obj_description(attrelid) is null or col_description(attrelid, attnum) is null)
    """
    assert built.ask(undescribed) == []


def test_the_next_build_has_a_correction_of_an_old_month(built: Star) -> None:
    first = may()[0]
    with closing(psycopg2.connect(built.dsn)) as database:
        write_rows(database, [first._replace(price_brl=first.price_brl + Decimal("0.05"), model="Renamed")])
    assert built.ask(MISSING) != []
    built.dbt("build")
    assert built.ask(MISSING) == []
    renamed = "select dim_series.model from dim_vehicle join dim_series using (series_key)"
    assert built.ask(f"{renamed} where dim_vehicle.model = 'Renamed'") == [(june()[0].model,)]


def test_prices_in_the_money_of_the_newest_index_and_facts_as_a_view(built: Star) -> None:
    assert built.ask("select to_regclass('fact_real_price')") == [(None,)]
    built.run(
        "create table public.ipca (month date, index_number numeric)",
        "insert into public.ipca values ('2026-04-01', 98), ('2026-05-01', 100.5), ('2026-06-01', 101.1)",
        "grant select on public.ipca to fipe_dbt",
    )
    variables = {"fipe_ipca_table": "public.ipca", "fipe_fact_price": "view"}
    built.dbt("build", "--select", "+fact_real_price", "--vars", json.dumps(variables))
    assert built.ask(MISSING) == []
    wrong = """
        select month_key from fact_real_price
        where money_of <> '2026-06-01' or real_price_brl is distinct from
            round(price_brl * 101.1 / case month_key when '2026-05-01' then 100.5 else 101.1 end, 2)
    """
    assert built.ask(f"select count(*) from ({wrong}) as wrong") == [(0,)]
    built.run("delete from public.ipca where month = '2026-06-01'")
    assert built.ask(
        "select distinct month_key, money_of, real_price_brl is null, real_price_brl = price_brl"
        " from fact_real_price where price_brl > 0 order by 1"
    ) == [(MAY, MAY, False, True), (JUNE, MAY, True, None)]


def test_freshness_tells_how_old_the_newest_month_and_load_are(built: Star) -> None:
    this_month = datetime.now(UTC).date().replace(day=1)
    with closing(psycopg2.connect(built.dsn)) as database:
        write_rows(database, [june()[0]._replace(reference_month=this_month, reference_code=999)])
    built.run(
        "insert into fipe.load_run (run_id, reference_code, brands_expected, completed_at)"
        " values (gen_random_uuid(), 334, 1, now() - interval '50 days')"
    )
    built.dbt("source", "freshness")
    known = json.loads((built.results / "sources.json").read_text())["results"]
    assert {one["unique_id"].split(".")[-1]: one["status"] for one in known} == {
        "price": "pass", "load_run": "warn",
    }  # fmt: skip
