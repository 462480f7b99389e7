"""The project's own paths: what each answers, what it refuses, and that it describes itself truly."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date
from typing import Any

import psycopg2
import pytest

from fipe_api.database.writer import write_rows
from tests.api_server import Api, serving
from tests.builders import any_price_row
from tests.databases import database_with_schema

pytestmark = pytest.mark.both_postgres

CODES = {date(2026, 4, 1): 332, date(2026, 5, 1): 333, date(2026, 6, 1): 334}
APRIL, MAY, JUNE = CODES
PETROL, FLEX = (1, "Gasolina"), (5, "Flex")
VW, FIAT = "VW - VolksWagen", "Fiat"
GOL = {"fipe_code": "005340-6", "model": "Gol 1.0", "model_code": 7}
UNO = {"fipe_code": "001004-9", "model": "Uno", "model_code": 8, "brand": FIAT, "brand_code": 21}
ZERO_KM = {**GOL, "model_year": 32000}


@pytest.fixture(scope="module")
def api(postgres_dsn: str) -> Iterator[Api]:
    """Three months: a Gol that changed its fuel and fell, its zero km, and a Fiat that rose."""
    prices = [
        (APRIL, 50_000, GOL | {"fuel": PETROL}), (MAY, 48_000, GOL | {"fuel": FLEX}),
        (JUNE, 45_000, GOL | {"fuel": FLEX}), (JUNE, 90_000, ZERO_KM | {"fuel": FLEX}),
        (MAY, 10_000, UNO), (JUNE, 10_500, UNO),
    ]  # fmt: skip
    with database_with_schema(postgres_dsn) as dsn:
        with closing(psycopg2.connect(dsn)) as database:
            rows = [any_price_row(month, CODES[month], price, **more) for month, price, more in prices]
            write_rows(database, rows)
        with serving(dsn) as running:
            yield running


def found(api: Api, path: str) -> Any:
    response = api.get(f"/v1/{path}")
    assert response.status_code == 200, response.text
    return response.json()


def values(items: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(item[name] for name in names) for item in items]


def test_months_say_how_far_they_are_loaded(api: Api) -> None:
    assert found(api, "months?limit=2") == {
        "items": [
            {"month": "2026-06-01", "reference_code": 334, "loaded": "whole", "complete": True},
            {"month": "2026-05-01", "reference_code": 333, "loaded": "whole", "complete": True},
        ],
        "next": "/v1/months?limit=2&offset=2",
    }
    last = api.get("/v1/months?limit=2&offset=2").json()
    assert (values(last["items"], "month"), last["next"]) == ([("2026-04-01",)], None)


def test_search_finds_as_it_is_typed(api: Api) -> None:
    names = ("vehicle_type", "model", "fipe_codes", "model_years", "price_brl")
    assert values(found(api, "search?q=volks go")["items"], *names) == [
        ("car", "Gol 1.0", ["005340-6"], "2020, zero km", 90_000)
    ]
    assert found(api, "search?q=gol&type=truck")["items"] == []


def test_prices_of_a_code_in_a_month(api: Api) -> None:
    names = ("reference_month", "model_year", "zero_km", "fuel", "price_brl")
    assert values(found(api, "vehicles/005340-6/prices"), *names) == [
        ("2026-06-01", 32000, True, "Flex", 90_000), ("2026-06-01", 2020, False, "Flex", 45_000),
    ]  # fmt: skip
    assert values(found(api, "vehicles/0053406/prices?month=2026-04"), "fuel", "price_brl") == [
        ("Gasolina", 50_000)
    ]
    assert found(api, "vehicles/001004-9/prices?month=2026-04") == []


def test_history_goes_across_a_change_of_fuel(api: Api) -> None:
    names = {"brand": VW, "model": "Gol 1.0"}
    assert found(api, "vehicles/005340-6/history?model_year=2020") == [
        {
            **names, "vehicle_type": "car", "model_year": 2020, "zero_km": False, "fuel": "Flex",
            "published": [
                {**names, "fuel": "Gasolina", "first_month": "2026-04-01", "last_month": "2026-04-01"},
                {**names, "fuel": "Flex", "first_month": "2026-05-01", "last_month": "2026-06-01"},
            ],
            "prices": {"2026-04-01": 50_000, "2026-05-01": 48_000, "2026-06-01": 45_000},
        }
    ]  # fmt: skip


def test_a_history_begins_where_since_says(api: Api) -> None:
    (since_june,) = found(api, "vehicles/005340-6/history?model_year=2020&since=2026-06")
    assert since_june["prices"] == {"2026-06-01": 45_000}


def test_a_history_has_each_vehicle_of_the_code(api: Api) -> None:
    names = ("model_year", "zero_km", "prices")
    assert values(found(api, "vehicles/005340-6/history"), *names)[:1] == [
        (32000, True, {"2026-06-01": 90_000})
    ]
    assert len(found(api, "vehicles/0053406/history")) == 2


def test_depreciation_is_in_percent_of_the_newest(api: Api) -> None:
    depreciation = found(api, "vehicles/005340-6/depreciation")
    assert values(depreciation["vehicles"], "age_years", "percent_of_newest") == [(0, 100), (6, 50)]


def test_changes_and_movers_of_a_month(api: Api) -> None:
    names = ("brand", "difference", "price_before", "price_brl")
    assert values(found(api, "months/latest/changes")["items"], *names) == [
        (FIAT, "changed", 10_000, 10_500), (VW, "new", None, 90_000), (VW, "changed", 48_000, 45_000),
    ]  # fmt: skip
    assert values(found(api, "months/2026-06/changes?difference=new&brand=volkswagen")["items"], "brand") == [
        (VW,)
    ]
    movers = found(api, "months/2026-06/movers")
    assert (movers["month"], movers["month_before"]) == ("2026-06-01", "2026-05-01")
    assert values(movers["rose"], "brand", "change_percent") == [(FIAT, 5)]
    assert values(movers["fell"], "brand", "change_brl") == [(VW, -3_000)]
    since_april = found(api, "months/2026-06/movers?since=2026-04&type=car&brand=volkswagen")
    assert values(since_april["fell"], "change_percent") == [(-10,)]


def test_summary_counts_a_month(api: Api) -> None:
    names = ("brand", "vehicles_before", "vehicles", "new", "rose", "fell")
    assert values(found(api, "months/2026-06/summary"), *names) == [(None, 2, 3, 1, 1, 1)]
    assert values(found(api, "months/2026-06/summary?by=brand"), *names) == [
        (FIAT, 1, 1, 0, 1, 0), (VW, 1, 2, 1, 0, 1),
    ]  # fmt: skip
    assert found(api, "months/2026-04/summary") == []


def test_a_list_is_valued_in_its_order(api: Api) -> None:
    vehicles = [
        {"code": "005340-6", "year": "0km"}, {"code": 10049, "year": 2020.0},
        {"code": "005340-6", "year": "1999"}, {"code": "'; drop table fipe.price; --", "year": "2020"},
    ]  # fmt: skip
    answered = api.post("/v1/valuations", json={"vehicles": vehicles, "since": "2026-05"})
    valued = answered.json()
    assert (answered.status_code, valued["value_brl"], valued["without_price"]) == (200, 100_500, 2)
    assert (valued["month"], valued["month_before"]) == ("2026-06-01", "2026-05-01")
    assert values(valued["vehicles"], "place", "note", "price_brl", "price_before") == [
        (1, None, 90_000, None), (2, None, 10_500, 10_000),
        (3, "no_such_year", None, None), (4, "not_a_code", None, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/v1/nothing", 404, "Not Found"),
        ("/v1/search?query=gol", 422, "unknown parameter query: this path takes limit, offset, q, type"),
        ("/v1/months/1999-01/movers", 404, "there are no prices of 1999-01: /v1/months lists the months"),
        ("/v1/months/2026-06/movers?since=1999-01", 404,
         "there are no prices of 1999-01: /v1/months lists the months"),
        ("/v1/vehicles/009999-9/history", 404,
         "no vehicle has ever had the FIPE code 009999-9: /v1/search finds codes"),
        ("/v1/months/2026-13/movers", 422, "path.month: it should be a month like 2026-06, or latest"),
        ("/v1/months/2026-06/movers?since=latest", 422, "query.since: it should be a month like 2026-06"),
        ("/v1/vehicles/5340-6/prices", 422, "path.fipe_code: it should be a FIPE code like 005340-6"),
        ("/v1/months?limit=1001", 422, "query.limit: Input should be less than or equal to 1000"),
        ("/v1/months?offset=99999999999999999999", 422, "query.offset: "),
        ("/v1/search?q=%00", 422, "query.q: it should be text without the character NUL"),
        ("/v1/search", 422, "query.q: Field required"),
        ("/v1/valuations", 405, "Method Not Allowed"),
    ],
)  # fmt: skip
def test_errors_are_problems(api: Api, path: str, status: int, detail: str) -> None:
    answered = api.get(path)
    problem = answered.json()
    assert answered.headers["Content-Type"] == "application/problem+json"
    assert (answered.status_code, problem["status"]) == (status, status)
    assert problem["detail"].startswith(detail), problem
    assert len({str(each) for each in problem.get("errors", [])}) == len(problem.get("errors", []))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"\xff\xfe", 422),
        (b'{"vehicles": []}', 422),
        (b'{"vehicles": [{"code": "\\ud800", "year": "2020"}]}', 422),
        (b'{"vehicles": [{"code": "\\u0000", "year": "2020"}]}', 422),
        (b'{"vehicles": [{"code": true, "year": "2020"}]}', 422),
        (b'{"vehicles": [' + b",".join([b'{"code": "1", "year": "1"}'] * 1001) + b"]}", 422),
        (b'{"vehicles": [{"code": "1", "year": "1", "fule": "Diesel"}]}', 422),
        (b"[" * 100_000, 400),
    ],
)
def test_a_wrong_body_is_a_problem(api: Api, body: bytes, status: int) -> None:
    answered = api.post("/v1/valuations", data=body, headers={"Content-Type": "application/json"})
    assert (answered.status_code, answered.headers["Content-Type"]) == (status, "application/problem+json")


def test_a_body_of_more_than_a_mebibyte_is_not_read(api: Api) -> None:
    assert api.post("/v1/valuations", data=b" " * (1024 * 1024 + 1)).status_code == 413
    in_pieces = iter([b" " * 500_000] * 3)
    assert api.post("/v1/valuations", data=in_pieces).status_code == 413


@pytest.mark.parametrize("path", ["/v1/months", "/api/v2/references", "/", "/page/page.js"])
def test_the_body_of_a_question_does_not_matter(api: Api, path: str) -> None:
    answered = api.get(path, data=b" " * (1024 * 1024 + 1))
    assert (answered.status_code, answered.content) == (200, api.get(path).content)


def cache_control(api: Api, *paths: str) -> set[str]:
    return {api.get(path).headers["Cache-Control"] for path in paths}


def test_what_rests_on_whole_months_that_are_named_may_be_kept_for_an_hour(api: Api) -> None:
    assert cache_control(
        api, "/v1/months/2026-06/movers?since=2026-05", "/v1/months/2026-06/changes?since=2026-04",
        "/v1/vehicles/005340-6/prices?month=2026-06", "/v1/vehicles/005340-6/depreciation?month=2026-06",
    ) == {"public, max-age=3600"}  # fmt: skip
    first = api.get("/v1/months/2026-06/movers?since=2026-05")
    again = api.get(
        "/v1/months/2026-06/movers?since=2026-05", headers={"If-None-Match": first.headers["ETag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


def test_what_other_months_may_change_is_asked_for_again(api: Api) -> None:
    """Without a name, the month before is another one as soon as a month between is loaded."""
    assert cache_control(
        api, "/v1/months", "/v1/months/latest/movers?since=2026-05", "/v1/months/2026-06/movers",
        "/v1/months/2026-06/changes", "/v1/months/2026-06/summary", "/v1/vehicles/005340-6/history",
        "/api/v2/cars/005340-6/years/2020-5/history?reference=334",
    ) == {"no-cache"}  # fmt: skip


def test_an_answer_has_the_same_etag_compressed_or_not_so_it_is_a_weak_one(api: Api) -> None:
    """RFC 9110, "Comparison": a strong one says that each byte is the same."""
    encodings = ("gzip", "identity")
    etags = {api.get("/v1/months", headers={"Accept-Encoding": each}).headers["ETag"] for each in encodings}
    (etag,) = etags
    assert etag.startswith('W/"')
    for has in (etag, etag.removeprefix("W/"), f'"x", {etag}', "*"):
        assert api.get("/v1/months", headers={"If-None-Match": has}).status_code == 304
    assert api.get("/v1/months", headers={"If-None-Match": 'W/"x"'}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1/months",
        "/api/v2/references",
        "/v1/months/2026-06/changes?limit=1",
        "/v1/nothing",
        "/",
        "/page/page.js",
    ],
)
def test_a_head_is_that_of_the_answer(api: Api, path: str) -> None:
    head, whole = api.head(path), api.get(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert {**head.headers, "date": ""} == {**whole.headers, "date": ""}


def test_pages_of_other_origins_may_send_what_clients_of_parallelum_send(api: Api) -> None:
    """A browser asks before it sends a token, or the ETag that it has."""
    asking = {
        "Origin": "https://example.com",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "x-subscription-token, if-none-match",
    }
    answered = api.options("/api/v2/references", headers=asking)
    allowed = answered.headers["Access-Control-Allow-Headers"].lower()
    assert (answered.status_code, "x-subscription-token" in allowed) == (200, True)


def test_nothing_is_kept_of_a_list(api: Api) -> None:
    answered = api.post("/v1/valuations", json={"vehicles": [{"code": "", "year": ""}]})
    assert (answered.status_code, "Cache-Control" in answered.headers) == (200, False)
