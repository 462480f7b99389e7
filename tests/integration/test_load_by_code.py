"""A load of FIPE codes: brands and models are found by the official API's calls, or known to the database."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests
from psycopg2.extensions import connection

from fipe_api.database.writer import PriceRow, write_rows
from fipe_api.environment import loader_environment
from fipe_api.fipe_api_service import FipeApi
from fipe_api.load import by_code, status
from fipe_api.load.by_code import begin, find_models
from fipe_api.load.discovery import find_model_years
from fipe_api.load.prices import collect_prices
from fipe_api.load.request import MOST_FIPE_CODES, LoadRequestError, parse_request
from fipe_api.load.start import start_load
from fipe_api.messages import (
    MANUFACTURER_QUEUE,
    BrandMessage,
    CodesMessage,
    EmptyBrandMessage,
    ModelsOfBrand,
    NamedCode,
    PriceMessage,
    RunPlanMessage,
    StartMessage,
    Unfinished,
    to_json,
)
from fipe_api.source.answers import AskedCode, NamedPrice
from fipe_api.source.http_source import HttpSource, NoDataError
from fipe_api.source.pace import Unpaced
from fipe_cli.errors import CliError
from fipe_cli.fleet.loading import payloads_of, read_code, read_codes
from fipe_simulator import SAMPLE_CATALOGUE, FipeSimulator, read_catalogue
from tests.builders import JUNE_2026, RUN
from tests.databases import as_role

pytestmark = pytest.mark.usefixtures("short_backoff")

CODES = ("038003-2", "005340-6", "513438-2", "001018-9", "811066-2")
UNKNOWN = "999999-0"


def api(simulator: FipeSimulator, session: requests.Session, calls: int = 10_000) -> FipeApi:
    """The source, for an invocation that has time for so many calls."""
    made = count()
    return FipeApi(
        HttpSource("fipe", session, Unpaced(), lambda: 300.0 if next(made) < calls else 0.0), simulator.url
    )


def search(*codes: str, **request: Any) -> CodesMessage:
    return CodesMessage(run_id=RUN, request={**request, "fipe_codes": list(codes)}, left=codes)


def followed(
    message: CodesMessage, simulator: FipeSimulator, session: requests.Session, calls: int = 10_000
) -> tuple[list[float], StartMessage]:
    """The start that a search ends with, and how long it waits between its messages."""
    waits: list[float] = []
    while isinstance(message, CodesMessage):
        left = find_models(message, api(simulator, session, calls))
        waits.append(left.retry_in)
        message = MANUFACTURER_QUEUE.decode(to_json(left.message))  # type: ignore[assignment]
    assert isinstance(message, StartMessage)
    return waits, message


def published(simulator: FipeSimulator, codes: Sequence[str]) -> set[tuple[Any, ...]]:
    return {tuple(row) for row in simulator.catalogue.rows if row.fipe_code in codes}


def loaded(start: StartMessage, source: FipeApi) -> tuple[list[Any], set[tuple[Any, ...]]]:
    """What a start sends, and the prices that follow from it."""
    started = start_load(start, source, loader_environment())
    rows: set[tuple[Any, ...]] = set()
    for brand in started.messages:
        if not isinstance(brand, BrandMessage):
            continue
        models = find_model_years(brand, source)
        assert not isinstance(models, Unfinished)
        for model in models:
            (prices,) = collect_prices(model, source)
            assert isinstance(prices, PriceMessage)
            assert not isinstance(model, EmptyBrandMessage)
            rows |= {
                (model.vehicle_type, model.brand.code, model.brand.name, model.model.code, model.model.name,
                 each.model_year, each.fuel_code, each.fuel, each.fipe_code, each.price_brl)
                for each in prices.prices
            }  # fmt: skip
    return list(started.messages), rows


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SQS_OUTPUT_URL", "http://any")
    monkeypatch.setenv("SQS_LEDGER_URL", "http://any")
    monkeypatch.setenv("FIPE_CALLS_PER_MINUTE", "max")
    loader_environment.cache_clear()
    yield
    loader_environment.cache_clear()


@pytest.mark.parametrize("calls", [3, 7, 10_000], ids="calls in an invocation: {}".format)
def test_codes_bring_the_rows_of_a_whole_load(
    simulator: FipeSimulator, session: requests.Session, calls: int
) -> None:
    codes = sorted({row.fipe_code for row in simulator.catalogue.rows})[::7]
    waits, start = followed(search(*codes), simulator, session, calls)
    assert set(waits) == {0}
    messages, rows = loaded(start, api(simulator, session))
    assert rows == published(simulator, codes)
    plan = next(each for each in messages if isinstance(each, RunPlanMessage))
    brands = {
        (row.vehicle_type, row.brand_code) for row in simulator.catalogue.rows if row.fipe_code in codes
    }
    assert (plan.whole_month, plan.brands_in_run) == (False, len(brands))
    assert sorted(plan.wanted_models) == sorted({row[3] for row in rows})


def test_a_code_takes_two_calls_and_a_brand_one(simulator: FipeSimulator, session: requests.Session) -> None:
    followed(search("005340-6", "005320-1", "001018-9"), simulator, session)
    assert simulator.statistics().calls == {
        "ConsultarTabelaDeReferencia": 1, "ConsultarAnoModeloPeloCodigoFipe": 3,
        "ConsultarValorComTodosParametros": 3, "ConsultarMarcas": 1, "ConsultarModelos": 2,
    }  # fmt: skip


def test_an_unknown_code_is_believed_after_three_rounds_and_the_others_are_loaded(
    simulator: FipeSimulator, session: requests.Session
) -> None:
    waits, start = followed(search("005340-6", UNKNOWN), simulator, session)
    assert waits == [60, 180, 0, 0]
    assert loaded(start, api(simulator, session))[1] == published(simulator, ["005340-6"])
    # Three calls a round for the type that the code begins like, and in the last for all types.
    assert simulator.statistics().calls["ConsultarAnoModeloPeloCodigoFipe"] == 1 + 3 + 3 + 9


def test_a_model_year_without_a_price_does_not_hide_the_others(
    simulator: FipeSimulator, session: requests.Session
) -> None:
    class Denying(FipeApi):
        def price_of_code(self, asked: AskedCode) -> NamedPrice:
            if asked.year.model_year > 2020:
                raise NoDataError("nadaencontrado")
            return super().price_of_code(asked)

    source = Denying(HttpSource("fipe", session, Unpaced(), lambda: 300.0), simulator.url)
    left = find_models(search("005340-6"), source)
    assert isinstance(left.message, StartMessage)


def test_a_load_of_nothing_but_unknown_codes_is_refused(
    simulator: FipeSimulator, session: requests.Session
) -> None:
    with pytest.raises(LoadRequestError, match="knows none of these FIPE codes"):
        followed(search(UNKNOWN), simulator, session)


def test_only_the_asked_month_and_types_count(simulator: FipeSimulator, session: requests.Session) -> None:
    _, start = followed(
        search("005340-6", "513438-2", reference="2026-05", vehicle_types=[3]), simulator, session
    )
    request = parse_request(start.request)
    assert (request.reference, request.vehicle_types) == ("2026-05", {3})
    assert [each.vehicle_type for each in request.only or ()] == [3]


def test_what_the_database_knows_is_not_looked_up(
    simulator: FipeSimulator, session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = simulator.catalogue.rows
    models = {(row.fipe_code, row.vehicle_type, row.brand_code, row.model_code) for row in rows}
    monkeypatch.setattr(
        by_code, "_known_models", lambda codes, _: [each for each in models if each[0] in codes]
    )
    message = StartMessage(run_id=RUN, request={"fipe_codes": ["005340-6", "513438-2"]})
    started = begin(message, api(simulator, session), loader_environment())
    assert started.unfinished is None
    assert (started.answer["brands_sent"], "waiting" in started.answer) == (2, False)
    assert set(simulator.statistics().calls) == {"ConsultarTabelaDeReferencia", "ConsultarMarcas"}
    mixed = StartMessage(run_id=RUN, request={"fipe_codes": ["005340-6", UNKNOWN]})
    started = begin(mixed, api(simulator, session), loader_environment())
    assert started.answer == {
        "run_id": str(RUN), "references": [], "brands_sent": 0,
        "waiting": "1 of 2 FIPE codes are not in the database, and are looked up first",
    }  # fmt: skip
    assert started.unfinished is not None
    left = started.unfinished.message
    assert isinstance(left, CodesMessage)
    assert (left.left, [each[0] for each in left.found]) == ((UNKNOWN,), [1])


def test_codes_beside_brands_are_refused(simulator: FipeSimulator, session: requests.Session) -> None:
    message = StartMessage(run_id=RUN, request={"fipe_codes": ["005340-6"], "brands": ["Fiat"]})
    with pytest.raises(LoadRequestError, match="without brands and models"):
        begin(message, api(simulator, session), loader_environment())


@pytest.mark.parametrize("codes", [[], ["005340-7"], ["0053406"], [5], "005340-6", ["005340-6"] * 1_001])
def test_what_are_no_codes_is_refused(codes: Any) -> None:
    with pytest.raises(LoadRequestError, match="invalid fipe_codes"):
        parse_request({"fipe_codes": codes})


def test_a_thousand_codes_fit_into_a_message() -> None:
    codes = [f"{number:06}-0" for number in range(MOST_FIPE_CODES)]
    named = [NamedCode(code, 1, "VW - VolksWagen Caminhões", "M" * 60) for code in codes]
    found = [ModelsOfBrand(1, 300 + brand, tuple(range(20_000, 20_010))) for brand in range(100)]
    message = CodesMessage(
        run_id=RUN,
        request={"fipe_codes": codes},
        reference=JUNE_2026,
        left=(),
        named=tuple(named),
        found=tuple(found),
    )
    assert len(to_json(message)) < 200_000
    only = {"only": [ModelsOfBrand(1, number, (number,)) for number in range(MOST_FIPE_CODES)]}
    assert len(to_json(StartMessage(run_id=RUN, request=only))) < 200_000


def test_the_status_function_tells_which_models_have_a_code(database: connection, dsn: str) -> None:
    rows = [row for row in read_catalogue(SAMPLE_CATALOGUE).rows if row.fipe_code in CODES]
    write_rows(database, [PriceRow(JUNE_2026.month, JUNE_2026.code, *row) for row in rows])
    with closing(psycopg2.connect(as_role(dsn, "fipe_status"))) as reader:
        known = status._models_of(reader, ["038003-2", "513438-2", UNKNOWN])
    assert known == sorted(
        {(row[8], row[0], row[1], row[3]) for row in rows if row[8] in ("038003-2", "513438-2")}
    )


SPELLINGS = (
    "038003-2", "0380032", "380032", "38003-2", " 038003–2 ", '="038003-2"', "380032.0 ", "38003,0", "15288",
    "038003", "038003-3", "golf", "", "1", "-", "12345678", "001528-8", "005340 6",
)  # fmt: skip


def test_a_code_is_read_as_the_database_reads_it(database: connection) -> None:
    with database, database.cursor() as cursor:
        for written in SPELLINGS:
            cursor.execute(
                "select code from fipe.fleet_code(%s) as code"
                " where right(code, 1)::integer = fipe.check_digit(code)",
                (written,),
            )
            assert [(read_code(written),)] == (cursor.fetchall() or [(None,)]), written


def test_codes_of_a_file_are_read_once_each_with_what_is_none(tmp_path: Path) -> None:
    fleet = tmp_path / "fleet.csv"
    fleet.write_text("plate,fipe\nA,038003-2\nB,380032\nC,golf\n\nD,005340-6\n")
    found = read_codes(fleet)
    assert (found.codes, found.refused) == (["038003-2", "005340-6"], {4: "golf"})
    assert found.words() == ["not FIPE codes, and left out: line 4: 'golf'"]
    fleet.write_text("038003-2\n0053406\n")
    assert read_codes(fleet).codes == ["038003-2", "005340-6"]
    fleet.write_text("fipe\ngolf\n")
    with pytest.raises(CliError, match="holds no FIPE code"):
        read_codes(fleet)


def test_more_codes_than_a_run_takes_are_several_runs() -> None:
    parts = payloads_of({"reference": "2026-06"}, ["038003-2"] * (MOST_FIPE_CODES + 1))
    assert [len(part["fipe_codes"]) for part in parts] == [MOST_FIPE_CODES, 1]
    assert {part["reference"] for part in parts} == {"2026-06"}
    with pytest.raises(CliError, match="without --brands"):
        payloads_of({"brands": ["Fiat"]}, ["038003-2"])
