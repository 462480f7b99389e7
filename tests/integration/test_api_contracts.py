"""The API keeps what descriptions of it promise: Parallelum's own description, and ours."""

import json
from collections.abc import Iterator
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import validate
from schemathesis import GenerationMode

from fipe_simulator import SAMPLE_CATALOGUE, read_catalogue
from tests.api_server import Api, serving
from tests.builders import JUNE_2026
from tests.databases import database_with_schema, write_sample

PARALLELUM = Path(__file__).parents[1] / "parallelum_v2.json"
EXAMPLES = 5
CATALOGUE = read_catalogue(SAMPLE_CATALOGUE)
ROW = CATALOGUE.rows[0]
THERE = {
    "vehicleType": "cars", "brandId": ROW.brand_code, "modelId": ROW.model_code, "fipeCode": ROW.fipe_code,
    "yearId": f"{ROW.model_year}-{ROW.fuel_code}", "fipe_code": ROW.fipe_code, "month": "2026-06",
}  # fmt: skip
"""The parameters of what is in the sample."""
LIST = {"vehicles": [{"code": ROW.fipe_code, "year": ROW.model_year}]}


@pytest.fixture(scope="module")
def api(postgres_dsn: str) -> Iterator[Api]:
    """The API over the sample of June 2026."""
    with database_with_schema(postgres_dsn) as dsn:
        with closing(psycopg2.connect(dsn)) as database:
            write_sample(database, JUNE_2026.month)
        with serving(dsn) as running:
            yield running


def check_every_path(description: dict[str, Any], url: str) -> None:
    """Asks each path for what is there, then with values that its description allows, then with others."""
    for found in schemathesis.openapi.from_dict(description).get_all_operations():
        operation = found.ok()
        names = [parameter.name for parameter in operation.path_parameters]
        there = operation.Case(
            path_parameters={name: THERE[name] for name in names},
            query={"q": "a"} if operation.path == "/v1/search" else {},
            **({"body": LIST, "media_type": "application/json"} if operation.body else {}),
        )
        assert there.call_and_validate(base_url=url).status_code == 200
        for mode in GenerationMode:
            # The same each time; tests/reliability/test_api_attacks.py tries others.
            @settings(max_examples=EXAMPLES, derandomize=True, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case: Any) -> None:
                case.call_and_validate(base_url=url)

            # A path that takes any text cannot be asked otherwise.
            with suppress(Unsatisfiable) if mode.is_negative else nullcontext():
                check()


def test_answers_as_parallelum_describes_itself(api: Api) -> None:
    check_every_path(json.loads(PARALLELUM.read_text()), f"{api.url}/api/v2")


def test_parallelum_s_paths_answer_as_we_describe_them(api: Api) -> None:
    check_every_path(api.get("/api/v2/openapi.json").json(), f"{api.url}/api/v2")


@pytest.mark.parametrize("path", ["/openapi.json", "/api/v2/openapi.json"])
def test_a_description_is_valid_and_has_all_that_it_refers_to(api: Api, path: str) -> None:
    validate(api.get(path).json())


def test_our_own_paths_answer_as_we_describe_them(api: Api) -> None:
    described = api.get("/openapi.json").json()
    assert described["openapi"].startswith("3.1")
    check_every_path(described, api.url)
