"""Thousands of requests that mean harm: no error of the server, nothing written, no word of the inside."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from random import Random
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest
import requests

from fipe_api.database.writer import PriceRow, write_rows
from fipe_simulator import SAMPLE_CATALOGUE, read_catalogue
from tests.api_server import Api, serving
from tests.builders import JUNE_2026
from tests.databases import database_with_schema

pytestmark = pytest.mark.faults

REQUESTS, CLIENTS = 10_000, 8

ROW = read_catalogue(SAMPLE_CATALOGUE).rows[0]
V2, BRAND = "/api/v2/{type}", "/api/v2/{type}/brands/{brand}"
PATHS = [
    "/api/v2/references", f"{V2}/brands", f"{BRAND}/models", f"{BRAND}/models/{{model}}/years",
    f"{BRAND}/models/{{model}}/years/{{year}}", f"{BRAND}/years", f"{BRAND}/years/{{year}}/models",
    f"{V2}/{{code}}/years", f"{V2}/{{code}}/years/{{year}}", f"{V2}/{{code}}/years/{{year}}/history",
    "/v1/months", "/v1/search", "/v1/vehicles/{code}/prices", "/v1/vehicles/{code}/history",
    "/v1/vehicles/{code}/depreciation", "/v1/months/{month}/changes", "/v1/months/{month}/movers",
    "/v1/months/{month}/summary", "/openapi.json", "/{x}/{x}", "/{x}",
]  # fmt: skip
GOOD = {
    "type": ["cars", "car"], "brand": [str(ROW.brand_code), ROW.brand], "model": [str(ROW.model_code)],
    "code": [ROW.fipe_code], "year": [f"{ROW.model_year}-{ROW.fuel_code}"], "month": ["latest", "2026-06"],
    "reference": ["334", "202606"], "q": ["a", "integra"], "limit": ["1", "1000"], "offset": ["0", "5"],
    "since": ["2026-06"], "by": ["type", "brand"], "model_year": ["1992"], "difference": ["new", "gone"],
    "x": ["docs", "static", "admin"],
}  # fmt: skip
"""Good values of parameters, and all their names."""
BAD = [
    "'", "''", '"', "' or 1=1 --", "1; drop table fipe.price", "1); delete from fipe.price; --", "$$", "%s",
    "%(x)s", "{}", "{{7*7}}", "${jndi:ldap://x}", "..", "../../etc/passwd", "..\\..\\", "%2e%2e", "%00",
    "\x00", "\x1f", "\ud7ff", "\uffff", "🚗" * 50, "a" * 3000, "-1", "0", "2147483648", "9" * 400, "1e309",
    "NaN", "null", "true", "[]", "<script>alert(1)</script>", "\r\nSet-Cookie: a=b", "pg_sleep(20)", " ",
    "' || pg_sleep(20) || '", "١٢٣", "ﬀ", "İ", "*:*", "a & b | !c", "'a':* <-> 'b'", "\\", "\\'", "0001-01",
    "9999-12", "2026-00", "32000-1", "99999-99999",
]  # fmt: skip
TOLD = ("Traceback", "psycopg2", "site-packages", "select ", "fipe.vehicle", ".py")
"""Words of the inside."""


@pytest.fixture(scope="module")
def dsn(postgres_dsn: str) -> Iterator[str]:
    with database_with_schema(postgres_dsn) as fresh:
        with closing(psycopg2.connect(fresh)) as database:
            june = (JUNE_2026.month, JUNE_2026.code)
            rows = read_catalogue(SAMPLE_CATALOGUE).rows
            write_rows(database, [PriceRow(*june, *row) for row in rows])
        yield fresh


@pytest.fixture(scope="module")
def api(dsn: str) -> Iterator[Api]:
    with serving(dsn) as running:
        yield running


def written(dsn: str) -> list[Any]:
    """What would be another value if anything had been written."""
    with closing(psycopg2.connect(dsn)) as database, database, database.cursor() as cursor:
        cursor.execute(
            "select (select count(*) from pg_class), (select count(*) from pg_largeobject_metadata),"
            " (select count(*) from pg_roles), (select md5(string_agg(p::text, ',')) from fipe.price as p),"
            " (select md5(string_agg(v::text, ',')) from fipe.vehicle as v)"
        )
        return cursor.fetchall()


def any_text(random: Random) -> str:
    if random.random() < 0.2:
        return "".join(chr(random.randrange(1, 0xD7FF)) for _ in range(random.randrange(30)))
    return random.choice(BAD)


def any_value_of(random: Random, name: str) -> str:
    written = random.choice(GOOD[name]) if random.random() < 0.8 else any_text(random)
    return quote(written, safe=random.choice(["", "/%"]))


def any_request(random: Random) -> tuple[str, str, dict[str, Any]]:
    if random.random() < 0.2:
        headers = {"Content-Type": "application/json"}
        return "POST", "/v1/valuations", {"data": any_body(random), "headers": headers}
    path = random.choice(PATHS).format(**{name: any_value_of(random, name) for name in GOOD})
    names = random.sample(list(GOOD), random.randrange(4)) + ["q"] * path.endswith("search")
    query = "&".join(f"{name}={any_value_of(random, name)}" for name in names)
    method = random.choice(["GET"] * 30 + ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
    headers = {"If-None-Match": random.choice(["*", '"x"', "W/"]), "Origin": "https://example.com"}
    return method, f"{path}?{query}", {"headers": headers if random.random() < 0.2 else {}}


def any_body(random: Random) -> bytes:
    def any_value(depth: int = 0) -> Any:
        kind = random.randrange(7 if depth < 4 else 5)
        if kind < 3:
            return any_text(random)
        if kind < 5:
            return random.choice([None, True, -1, 2020, 2020.0, 1e308, 10**30, ""])
        values = [any_value(depth + 1) for _ in range(random.randrange(4))]
        return values if kind == 5 else dict(zip(["code", "year", "fuel"], values, strict=False))

    def any_vehicle() -> dict[str, Any]:
        values = {"code": ROW.fipe_code, "year": ROW.model_year, "fuel": any_text(random)[:50]}
        if random.random() < 0.1:
            values[random.choice(["code", "year", "fuel"])] = any_value()
        return values

    vehicles = [any_vehicle() for _ in range(random.randrange(10))]
    month = random.choice(["latest", "2026-06", any_text(random)])
    body = {"vehicles": vehicles if random.random() < 0.9 else any_value(), "month": month}
    said = json.dumps(body).encode()
    return said[: random.randrange(len(said))] if random.random() < 0.1 else said


def test_ten_thousand_requests_that_mean_harm(api: Api, dsn: str) -> None:
    before = written(dsn)

    def attack(client: int) -> Counter[int]:
        random, statuses = Random(client), Counter[int]()
        with requests.Session() as session:
            session.trust_env = False
            for _ in range(REQUESTS // CLIENTS):
                method, path, options = any_request(random)
                answer = session.request(method, api.url + path, timeout=60, **options)
                statuses[answer.status_code] += 1
                assert answer.status_code < 500, (method, path, options, answer.text)
                assert not [word for word in TOLD if word in answer.text], (path, answer.text)
        return statuses

    with ThreadPoolExecutor(CLIENTS) as clients:
        statuses = sum(clients.map(attack, range(CLIENTS)), Counter())
    assert statuses[200] > REQUESTS / 5, statuses
    assert written(dsn) == before
