"""The FIPE client over HTTP, with the source's answers verbatim."""

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from fipe_api.fipe_api_service import FipeApi
from fipe_api.messages import ModelYearFuel, Named, PricedVehicle, Reference
from fipe_api.source import http_source
from fipe_api.source.http_source import (
    FipeError,
    HttpSource,
    InvalidParametersError,
    MalformedAnswerError,
    NoDataError,
    NotNowError,
    Observer,
    RejectedAnswer,
    SourceDownError,
)
from fipe_api.source.pace import Unpaced
from tests.builders import MAY_2026
from tests.scripted_source import Answer, scripted_source

ROOT = Path(__file__).resolve().parents[2]
RECORDED = Path(os.environ.get("FIPE_RECORDED", ROOT.parent / "shared" / "fipe" / "recorded"))
needs_recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason=f"no recorded answers in {RECORDED}")

JANUARY_2023 = Reference(code=293, month=date(2023, 1, 1))
AMAROK_2014 = ModelYearFuel(model_year=2014, fuel_code=3)
VW = Named(code=59, name="VW - VolksWagen")
AMAROK_MODEL = Named(code=5586, name="AMAROK High.CD 2.0 16V TDI 4x4 Dies. Aut")
AMAROK = """{"Valor":"R$ 125.318,00","Marca":"VW - VolksWagen",
 "Modelo":"AMAROK High.CD 2.0 16V TDI 4x4 Dies. Aut",
 "AnoModelo":2014,"Combustivel":"Diesel","CodigoFipe":"005340-6","MesReferencia":"janeiro de 2023 ",
 "Autenticacao":"cd6kfps5tj1q","TipoVeiculo":1,"SiglaCombustivel":"D",
 "DataConsulta":"sábado, 20 de julho de 2024 12:42"}""".encode()
PRICED_AMAROK = PricedVehicle(
    model_year=2014, fuel_code=3, fuel="Diesel", fipe_code="005340-6", price_brl=Decimal("125318.00")
)
NOTHING_FOUND = b'{"codigo":"0","erro":"nadaencontrado"}'
INVALID_PARAMETERS = '{"codigo":"2","erro":"Parâmetros inválidos"}'.encode()
CLOUDFLARE = (
    b'<!DOCTYPE html><html lang="en-US"><head><title>Just a moment...</title></head><body><script>'
    b'(function(){window._cf_chl_opt={cvId:"3"};}());</script><div class="cf-chl-opt"></div></body></html>'
)


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_source, "FIRST_BACKOFF_SECONDS", 0.01)


@pytest.fixture
def client() -> Iterator[Callable[..., FipeApi]]:
    with requests.Session() as session:
        session.trust_env = False
        yield lambda url, seconds_left=300.0, pace=None: FipeApi(
            HttpSource("fipe", session, pace or Unpaced(), lambda: seconds_left), url
        )


def ask_amarok(api: FipeApi) -> PricedVehicle:
    return api.price(JANUARY_2023, 1, VW, AMAROK_MODEL, AMAROK_2014)


def test_sends_a_form_that_looks_like_the_sites_own(client: Callable[..., FipeApi]) -> None:
    with scripted_source(AMAROK) as source:
        assert ask_amarok(client(source.url)) == PRICED_AMAROK
    (asked,) = source.asked
    assert asked.path == "/api/veiculos/ConsultarValorComTodosParametros"
    assert asked.body == (
        "codigoTabelaReferencia=293&codigoTipoVeiculo=1&codigoMarca=59&codigoModelo=5586&anoModelo=2014"
        "&codigoTipoCombustivel=3&tipoVeiculo=carro&modeloCodigoExterno=&tipoConsulta=tradicional"
    )
    assert asked.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert asked.headers["User-Agent"].startswith("Mozilla/5.0")
    assert asked.headers["Referer"] == "https://veiculos.fipe.org.br/"
    assert asked.headers["X-Requested-With"] == "XMLHttpRequest"
    assert "br" not in asked.headers["Accept-Encoding"]


@pytest.mark.parametrize("end", ["", "/", "//"])
def test_takes_a_base_url_with_any_slashes_at_its_end(client: Callable[..., FipeApi], end: str) -> None:
    with scripted_source(AMAROK) as source:
        ask_amarok(client(source.url + end))
    assert source.asked[0].path == "/api/veiculos/ConsultarValorComTodosParametros"


def test_orders_references_by_month_and_not_by_code(client: Callable[..., FipeApi]) -> None:
    body = """[{"Codigo":8,"Mes":"janeiro/2006 "},{"Codigo":111,"Mes":"dezembro/2005 "},
               {"Codigo":1,"Mes":"setembro/2005 "},{"Codigo":336,"Mes":"agosto/2026 "}]"""
    with scripted_source(body.encode()) as source:
        references = client(source.url).references()
    assert [(reference.code, f"{reference.month:%Y-%m}") for reference in references] == [
        (336, "2026-08"), (8, "2006-01"), (111, "2005-12"), (1, "2005-09"),
    ]  # fmt: skip


def test_takes_values_as_numbers_and_as_strings(client: Callable[..., FipeApi]) -> None:
    models = """{"Modelos":[{"Label":"Integra GS 1.8","Value":1},{"Label":"Legend 3.2/3.5","Value":"2"}],
                 "Anos":[{"Label":"1992 Gasolina","Value":"1992-1"},{"Label":"32000","Value":"32000-1"}]}"""
    with scripted_source(models.encode()) as source:
        answer = client(source.url).models(MAY_2026, 1, 1)
    assert answer.models == (Named(code=1, name="Integra GS 1.8"), Named(code=2, name="Legend 3.2/3.5"))
    assert answer.years == (
        ModelYearFuel(model_year=1992, fuel_code=1),
        ModelYearFuel(model_year=32000, fuel_code=1),
    )


def test_asks_for_the_models_of_a_model_year_and_fuel_together_and_separately(
    client: Callable[..., FipeApi],
) -> None:
    with scripted_source(b'[{"Label":"Integra GS 1.8","Value":"1"}]') as source:
        codes = client(source.url).models_of_year(MAY_2026, 1, 1, ModelYearFuel(model_year=1992, fuel_code=1))
    assert codes == {1}
    assert source.asked[0].body.endswith("codigoMarca=1&ano=1992-1&anoModelo=1992&codigoTipoCombustivel=1")


@pytest.mark.parametrize(
    "spoilt",
    [
        NOTHING_FOUND,
        b'{"codigo":"0","erro":"Nada encontrado"}',
        INVALID_PARAMETERS,
        b"",
        b"<html><body>Servi\xe7o indispon\xedvel</body></html>",
        AMAROK[:100],
        *(Answer(b"error", status) for status in (500, 502, 503, 520, 524)),
    ],
    ids=lambda spoilt: repr(spoilt)[:40],
)
def test_asks_again_after_an_answer_that_is_known_to_pass(
    client: Callable[..., FipeApi], spoilt: Answer | bytes
) -> None:
    with scripted_source(spoilt, AMAROK) as source:
        assert ask_amarok(client(source.url)) == PRICED_AMAROK
    assert len(source.asked) == 2


@pytest.mark.parametrize(
    ("spoilt", "error", "calls"),
    [
        (NOTHING_FOUND, NoDataError, 3),
        (INVALID_PARAMETERS, InvalidParametersError, 3),
        (b"", MalformedAnswerError, 3),
        (b"<html></html>", MalformedAnswerError, 3),
        (AMAROK[:100], MalformedAnswerError, 3),
        (AMAROK.replace(b"janeiro de 2023", b"fevereiro de 2023"), MalformedAnswerError, 3),
        (AMAROK.replace(b":2014", b":2015"), MalformedAnswerError, 3),
        (AMAROK.replace(b"R$ 125.318,00", b"R$ -1,00"), MalformedAnswerError, 3),
        (AMAROK.replace(b"005340-6", b""), MalformedAnswerError, 3),
        (AMAROK.replace(b"005340-6", b"005340-7"), MalformedAnswerError, 3),
        (AMAROK.replace(b"AMAROK High", b"GOL 1.0"), MalformedAnswerError, 3),
        (AMAROK.replace(b"VolksWagen", b"Volvo"), MalformedAnswerError, 3),
        (AMAROK.replace(b'"Diesel"', b'"Gasolina"'), MalformedAnswerError, 3),
        (AMAROK.replace(b'"Diesel"', b'""').replace(b'"D"', b'""'), MalformedAnswerError, 3),
        (AMAROK.replace(b'"TipoVeiculo":1', b'"TipoVeiculo":3'), MalformedAnswerError, 3),
        (Answer(b"", 302, (("Location", "/login"),)), MalformedAnswerError, 3),
        (Answer(b"", 404), MalformedAnswerError, 3),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_says_what_kind_of_failure_it_is_when_it_stays(
    client: Callable[..., FipeApi], spoilt: Answer | bytes, error: type[FipeError], calls: int
) -> None:
    with scripted_source(spoilt) as source, pytest.raises(error) as raised:
        ask_amarok(client(source.url))
    assert len(source.asked) == calls
    assert "'codigoModelo': 5586" in raised.value.__notes__[0]


def test_reads_past_a_byte_order_mark_and_a_padded_fipe_code(client: Callable[..., FipeApi]) -> None:
    with scripted_source(b"\xef\xbb\xbf" + AMAROK.replace(b"005340-6", b" 005340-6 ")) as source:
        assert ask_amarok(client(source.url)) == PRICED_AMAROK


def http_date(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("answer", "retry_in"),
    [
        (Answer(b"", 429), 61),
        (Answer(b"", 429, (("Retry-After", "17"),)), 17),
        (Answer(b"", 429, (("Retry-After", "soon"),)), 61),
        (Answer(b"", 429, (("Retry-After", "9" * 5000),)), 61),
        (Answer(b"", 429, (("Retry-After", "26 Nov 99999999999 00:00:00 GMT"),)), 61),
        (Answer(b"", 503, (("Retry-After", "17"),)), 17),
        (Answer(b"", 403), 120),
        (Answer(CLOUDFLARE), 120),
        (Answer(CLOUDFLARE, 503), 120),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_hands_work_back_when_throttled_or_blocked_and_calls_no_more(
    client: Callable[..., FipeApi], answer: Answer, retry_in: float
) -> None:
    with scripted_source(answer, AMAROK) as source:
        api = client(source.url)
        with pytest.raises(NotNowError) as refused:
            ask_amarok(api)
        assert refused.value.retry_in == retry_in
        with pytest.raises(NotNowError) as still_refused:
            ask_amarok(api)
        assert retry_in - 5 < still_refused.value.retry_in <= retry_in
    assert len(source.asked) == 1


def test_understands_a_retry_after_that_is_a_date(client: Callable[..., FipeApi]) -> None:
    answer = Answer(b"", 429, (("Retry-After", http_date(90)),))
    with scripted_source(answer) as source, pytest.raises(NotNowError) as refused:
        ask_amarok(client(source.url))
    assert 80 < refused.value.retry_in <= 90


@pytest.mark.parametrize("value", ["999999", "99999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_asks_again_after_an_hour_at_the_latest(client: Callable[..., FipeApi], value: str) -> None:
    answer = Answer(b"", 429, (("Retry-After", value),))
    with scripted_source(answer) as source, pytest.raises(NotNowError) as refused:
        ask_amarok(client(source.url))
    assert refused.value.retry_in == 3600


def test_denials_are_a_whole_round_of_calls_or_none_at_all(client: Callable[..., FipeApi]) -> None:
    """Three denials are one round; two, after which the next turn is far away, are to be asked again."""
    with scripted_source(NOTHING_FOUND) as source:
        patient = _TurnAfter(0.0, 0.0, 0.05)
        with pytest.raises(NoDataError):
            ask_amarok(client(source.url, pace=patient))
        assert [round(patience) for patience in patient.patience] == [15, 280, 280]
        with pytest.raises(NotNowError):
            ask_amarok(client(source.url, pace=_TurnAfter(0.0, 0.0, 1000.0)))
    assert len(source.asked) == 3 + 2


class _TurnAfter(Unpaced):
    """Gives turns after so many seconds, one after the other."""

    def __init__(self, *waits: float) -> None:
        super().__init__()
        self._waits = list(waits)
        self.patience: list[float] = []

    def reserve(self, patience: float) -> float:
        self.patience.append(patience)
        return self._waits.pop(0)


@pytest.mark.parametrize("answer", [Answer(b"", 503), Answer(b"", 520)], ids=str)
def test_hands_work_back_when_the_source_is_down_and_then_probes_with_one_call(
    client: Callable[..., FipeApi], answer: Answer
) -> None:
    pace = Unpaced()
    with scripted_source(answer) as source:
        with pytest.raises(SourceDownError) as down:
            ask_amarok(client(source.url, pace=pace))
        assert (len(source.asked), down.value.retry_in) == (3, 5)
        assert pace.outage == "down"
        pace._resume_at = 0
        with pytest.raises(SourceDownError):
            ask_amarok(client(source.url, pace=pace))
    assert len(source.asked) == 4


def test_takes_a_name_that_is_cut_or_spaced_otherwise_and_an_unknown_fuel(
    client: Callable[..., FipeApi],
) -> None:
    answer = AMAROK.replace(b"AMAROK High.CD 2.0 16V", b"Amarok  HIGH.CD 2.0").replace(
        b" TDI 4x4 Dies. Aut", b""
    )
    with scripted_source(answer.replace(b'"Diesel"', '"Hidrogênio"'.encode())) as source:
        assert ask_amarok(client(source.url)).fuel == "Hidrogênio"


@pytest.mark.parametrize(
    ("listed", "answered"),
    [("Citroën", "Citroen"), ("CITROEN", "Citroe\u0308n"), ("MARRUÁ", "Marrua"), ("Citroen", "CITROËN")],
)
def test_a_name_that_differs_in_accents_or_case_is_the_vehicle_that_was_asked(
    client: Callable[..., FipeApi], listed: str, answered: str
) -> None:
    answer = AMAROK.decode().replace("VW - VolksWagen", answered).replace("Diesel", "DIESEL").encode()
    with scripted_source(answer) as source:
        api = client(source.url)
        vehicle = api.price(JANUARY_2023, 1, Named(code=1, name=listed), AMAROK_MODEL, AMAROK_2014)
    assert vehicle.price_brl == PRICED_AMAROK.price_brl


@pytest.mark.parametrize("fuel", ["Alcool", "ÁLCOOL"])
def test_a_fuel_is_known_without_its_accent_too(client: Callable[..., FipeApi], fuel: str) -> None:
    answer = AMAROK.replace(b"Diesel", fuel.encode())
    with scripted_source(answer) as source, pytest.raises(MalformedAnswerError, match="another fuel"):
        ask_amarok(client(source.url))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_names_the_new_address(
    client: Callable[..., FipeApi], status: int
) -> None:
    moved = Answer(b"", status, (("Location", "https://new.example/api"),))
    words = f"HTTP {status} to https://new.example/api: if the source has moved, deploy with its new address"
    with scripted_source(moved) as source, pytest.raises(MalformedAnswerError, match=words):
        ask_amarok(client(source.url))


def test_tells_what_was_rejected_with_the_call_that_gave_it() -> None:
    seen: list[RejectedAnswer] = []

    class Watcher(Observer):
        def rejected(self, answer: RejectedAnswer) -> None:
            seen.append(answer)

    with requests.Session() as session, scripted_source(AMAROK[:100] + b"\x00\xff", AMAROK) as source:
        session.trust_env = False
        http = HttpSource("fipe", session, Unpaced(), lambda: 300.0, Watcher())
        assert ask_amarok(FipeApi(http, source.url)) == PRICED_AMAROK
    (rejected,) = seen
    assert (rejected.source, rejected.call) == ("fipe", "ConsultarValorComTodosParametros")
    assert rejected.parameters["codigoModelo"] == "5586"
    assert rejected.answer == AMAROK[:100].decode() + "��"
    assert "invalid character" in rejected.reason


def test_starts_no_call_that_the_time_left_could_not_see_end(client: Callable[..., FipeApi]) -> None:
    with scripted_source(AMAROK) as source, pytest.raises(NotNowError):
        ask_amarok(client(source.url, seconds_left=19))
    assert source.asked == []


def test_calls_a_source_down_that_does_not_listen(client: Callable[..., FipeApi]) -> None:
    with scripted_source(AMAROK) as source:
        gone = source.url
    with pytest.raises(SourceDownError, match="ConnectionError"):
        ask_amarok(client(gone))


def recorded(name: str) -> Any:
    return (RECORDED / f"{name}.json").read_bytes()


@needs_recorded
def test_reads_the_recorded_references(client: Callable[..., FipeApi]) -> None:
    with scripted_source(recorded("ConsultarTabelaDeReferencia")) as source:
        references = client(source.url).references()
    months = [reference.month for reference in references]
    assert len(references) == 227
    assert months == sorted(months, reverse=True)
    assert [reference.code for reference in references] != sorted(
        (reference.code for reference in references), reverse=True
    )
    assert references[0] == Reference(code=248, month=date(2019, 11, 1))


@needs_recorded
def test_reads_the_recorded_brands_models_and_years(client: Callable[..., FipeApi]) -> None:
    reference = Reference(code=248, month=date(2019, 11, 1))
    bodies = [
        recorded(f"Consultar{call}") for call in ("Marcas-248-1", "Modelos-248-1-59", "AnoModelo-248-1-59")
    ]
    with scripted_source(*bodies) as source:
        api = client(source.url)
        brands, models = api.brands(reference, 1), api.models(reference, 1, 59)
        years = api.years_of_model(reference, 1, 59, 5940)
    assert len(brands) == len(json.loads(bodies[0]))
    assert Named(code=1, name="Acura") in brands
    assert (len(models.models), len(models.years)) == (507, 67)
    assert years[0] == ModelYearFuel(model_year=32000, fuel_code=1)
