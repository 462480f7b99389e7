"""The API speaks Parallelum v2: as the simulator does, and as Parallelum's own description says."""

from collections.abc import Iterator
from contextlib import closing
from datetime import date
from typing import Any

import psycopg2
import pytest

from fipe_api.database.writer import write_rows
from fipe_simulator import SAMPLE_CATALOGUE, read_catalogue
from fipe_simulator.answers import OfficialApi, Quirks
from fipe_simulator.parallelum import Parallelum
from tests.api_server import Api, serving
from tests.builders import any_price_row
from tests.databases import database_with_schema, write_sample

pytestmark = pytest.mark.both_postgres

JUNE, MAY, APRIL = date(2026, 6, 1), date(2026, 5, 1), date(2026, 4, 1)
CATALOGUE = read_catalogue(SAMPLE_CATALOGUE)
SIMULATOR = Parallelum(OfficialApi(CATALOGUE, Quirks()))
BRAND = CATALOGUE.rows[0].brand_code
PETROL, FLEX = (1, "Gasolina"), (5, "Flex")


@pytest.fixture(scope="module")
def api(postgres_dsn: str) -> Iterator[Api]:
    """The API over the sample of June 2026, and a car that changed its name and fuel, and left the table."""
    with database_with_schema(postgres_dsn) as dsn:
        with closing(psycopg2.connect(dsn)) as database:
            write_sample(database, JUNE)
            car = {"brand_code": 9059, "brand": "Other", "model_code": 9007, "fipe_code": "005001-6"}
            write_rows(
                database,
                [
                    any_price_row(APRIL, 332, 11_000, fuel=PETROL, model="Gol 1.0", **car),
                    any_price_row(MAY, 333, 10_500, fuel=FLEX, model="Gol 1.0 Flex", **car),
                ],
            )
        with serving(dsn) as running:
            yield running


def answer(api: Api, path: str) -> tuple[int, Any]:
    response = api.get(f"/api/v2/{path}")
    return response.status_code, response.json()


def in_any_order(answered: tuple[int, Any]) -> tuple[int, Any]:
    status, value = answered
    return status, sorted(value, key=str) if isinstance(value, list) else value


def simulated(path: str) -> tuple[int, Any]:
    return tuple(SIMULATOR.answer(path, {"reference": "334"}))


@pytest.mark.parametrize("kind", ["cars", "motorcycles", "trucks"])
def test_every_brand_model_year_and_price_is_answered_as_the_simulator_does(api: Api, kind: str) -> None:
    assert answer(api, f"{kind}/brands") == simulated(f"{kind}/brands")
    for brand in simulated(f"{kind}/brands")[1]:
        models = f"{kind}/brands/{brand['code']}/models"
        assert in_any_order(answer(api, models)) == in_any_order(simulated(models))
        for model in simulated(models)[1]:
            years = f"{models}/{model['code']}/years"
            assert answer(api, years) == simulated(years)
            for year in simulated(years)[1]:
                price = f"{years}/{year['code']}"
                assert answer(api, price) == simulated(price)


def test_a_brand_s_years_and_their_models_lead_to_all_its_vehicles(api: Api) -> None:
    rows = [row for row in CATALOGUE.rows if (row.vehicle_type, row.brand_code) == (1, BRAND)]
    found = {
        (model["code"], year["code"])
        for year in answer(api, f"cars/brands/{BRAND}/years")[1]
        for model in answer(api, f"cars/brands/{BRAND}/years/{year['code']}/models")[1]
    }
    assert found == {(str(row.model_code), f"{row.model_year}-{row.fuel_code}") for row in rows}


def test_a_fipe_code_has_the_same_years_and_prices_as_its_model(api: Api) -> None:
    row = next(row for row in CATALOGUE.rows if row.vehicle_type == 1)
    of_model = f"cars/brands/{row.brand_code}/models/{row.model_code}/years"
    years = answer(api, of_model)
    assert answer(api, f"cars/{row.fipe_code}/years") == years
    for year in years[1]:
        assert answer(api, f"cars/{row.fipe_code}/years/{year['code']}") == answer(
            api, f"{of_model}/{year['code']}"
        )


def test_references_are_the_months_the_newest_first(api: Api) -> None:
    assert answer(api, "references") == (
        200,
        [
            {"code": "334", "month": "junho de 2026"},
            {"code": "333", "month": "maio de 2026"},
            {"code": "332", "month": "abril de 2026"},
        ],
    )


@pytest.mark.parametrize("year", ["2020-1", "2020-5"])
def test_history_bridges_names_and_fuels_also_of_a_vehicle_that_is_gone(api: Api, year: str) -> None:
    status, value = answer(api, f"cars/005001-6/years/{year}/history")
    assert (status, list(value)) == (
        200,
        ["vehicleType", "price", "brand", "model", "modelYear", "fuel", "codeFipe", "referenceMonth",
         "fuelAcronym", "priceHistory"],
    )  # fmt: skip
    assert (value["model"], value["fuel"], value["price"]) == ("Gol 1.0 Flex", "Flex", "R$ 10.500,00")
    assert value["priceHistory"] == [
        {"month": "maio de 2026", "price": "R$ 10.500,00", "reference": "333"},
        {"month": "abril de 2026", "price": "R$ 11.000,00", "reference": "332"},
    ]


def test_history_ends_in_the_month_asked_for(api: Api) -> None:
    _, value = answer(api, "cars/005001-6/years/2020-1/history?reference=332")
    assert [each["reference"] for each in value["priceHistory"]] == ["332"]


def test_a_month_is_asked_for_by_fipe_s_code_or_by_its_own(api: Api) -> None:
    assert (
        answer(api, "cars/brands?reference=332")
        == answer(api, "cars/brands?reference=202604")
        == (200, [{"code": "9059", "name": "Other"}])
    )
    assert answer(api, "cars/brands?reference=") == answer(api, "cars/brands?reference=334")


@pytest.mark.parametrize("path", ["references", "cars/brands", f"cars/brands/{BRAND}/models"])
def test_a_path_may_end_with_a_slash(api: Api, path: str) -> None:
    assert answer(api, f"{path}/?reference=334") == answer(api, f"{path}?reference=334")
    assert api.get(f"/api/v2/{path}/", allow_redirects=False).status_code == 200


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("references/x", "path"),
        ("x%0Ay", "path"),
        ("boats/brands", "vehicle type"),
        ("cars%0A/brands", "vehicle type"),
        ("cars/brands?reference=1", "reference"),
        ("cars/brands?reference=x", "reference"),
        ("cars/brands?reference=209913", "reference"),
        ("cars/brands?reference=2099122", "reference"),
        ("cars/brands/9999/models", "brand"),
        ("cars/brands/x/models", "brand"),
        ("cars/brands/99999999999999999999/models", "brand"),
        (f"cars/brands/{BRAND}/models/999999/years", "model"),
        (f"cars/brands/{BRAND}/models/999999/years/2014-3", "year"),
        (f"cars/brands/{BRAND}/models/999999/years/99999-99999", "year"),
        (f"cars/brands/{BRAND}/models/999999/years/2014", "year"),
        ("cars/000000-0/years", "fipe code"),
        ("cars/'%20or%201=1/years", "fipe code"),
        ("cars/%00/years", "fipe code"),
        ("motorcycles/005340-6/years", "fipe code"),
        ("cars/005340-6/years/1900-1/history", "year"),
    ],
)
def test_what_is_not_there_is_not_located(api: Api, path: str, what: str) -> None:
    assert answer(api, path) == (404, {"error": f"failed to locate {what}"})


def test_a_client_that_has_the_answer_is_not_sent_it_again(api: Api) -> None:
    first = api.get("/api/v2/cars/brands?reference=334")
    assert first.headers["Cache-Control"] == "public, max-age=3600"
    assert api.get("/api/v2/cars/brands").headers["Cache-Control"] == "no-cache"
    again = api.get("/api/v2/cars/brands?reference=334", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])


def test_pages_of_other_origins_may_ask(api: Api) -> None:
    asked = api.get("/api/v2/references", headers={"Origin": "https://example.com"})
    assert asked.headers["Access-Control-Allow-Origin"] == "*"
