import http.client
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fipe_simulator import (
    SAMPLE_CATALOGUE,
    Catalogue,
    CatalogueRow,
    Ceiling,
    Fault,
    Faults,
    FipeSimulator,
    Quirks,
    catalogue_for_month,
    read_catalogue,
)
from tests.conftest import ROOT
from tests.real_month import REAL_MONTH, needs_real_month

JUNE_2026 = 334
TYPE_NAMES = {1: "carro", 2: "moto", 3: "caminhao"}
NOTHING_FOUND = {"codigo": "0", "erro": "nadaencontrado"}
INVALID = {"codigo": "2", "erro": "Parâmetros inválidos"}
REFERENCES = "ConsultarTabelaDeReferencia"

SAMPLE = read_catalogue(SAMPLE_CATALOGUE)


class Client:
    """Calls the simulator as a client of FIPE would, over one kept connection."""

    def __init__(self, simulator: FipeSimulator, reference: int = JUNE_2026) -> None:
        self.simulator = simulator
        self.reference = reference
        self.session = requests.Session()
        self.session.trust_env = False

    def post(self, call: str, **parameters: Any) -> requests.Response:
        return self.session.post(f"{self.simulator.url}/{call}", data=parameters, timeout=30)

    def ask(self, call: str, vehicle_type: int, **parameters: Any) -> Any:
        response = self.post(
            call, codigoTabelaReferencia=self.reference, codigoTipoVeiculo=vehicle_type, **parameters
        )
        assert response.status_code == 200
        return response.json()

    def price(self, vehicle_type: int, brand: str, model: str, model_year: str, **changed: Any) -> Any:
        year, fuel = model_year.split("-")
        parameters = {
            "codigoMarca": brand,
            "codigoModelo": model,
            "anoModelo": year,
            "codigoTipoCombustivel": fuel,
            "tipoVeiculo": TYPE_NAMES[vehicle_type],
            "modeloCodigoExterno": "",
            "tipoConsulta": "tradicional",
        }
        return self.ask("ConsultarValorComTodosParametros", vehicle_type, **(parameters | changed))

    def brands(self) -> Iterator[tuple[int, dict[str, str]]]:
        for vehicle_type in TYPE_NAMES:
            for brand in self.ask("ConsultarMarcas", vehicle_type):
                yield vehicle_type, brand

    def month_by_models(self) -> set[CatalogueRow]:
        """The whole month, its years asked model by model."""
        rows = set()
        for vehicle_type, brand in self.brands():
            models = self.ask("ConsultarModelos", vehicle_type, codigoMarca=brand["Value"])["Modelos"]
            for model in models:
                years = self.ask(
                    "ConsultarAnoModelo",
                    vehicle_type,
                    codigoMarca=brand["Value"],
                    codigoModelo=model["Value"],
                )
                for year in years:
                    answer = self.price(vehicle_type, brand["Value"], model["Value"], year["Value"])
                    rows.add(parsed(brand, model, year, answer))
        return rows

    def month_by_years(self) -> set[CatalogueRow]:
        """The whole month, its models asked year by year."""
        rows = set()
        for vehicle_type, brand in self.brands():
            years = self.ask("ConsultarModelos", vehicle_type, codigoMarca=brand["Value"])["Anos"]
            for year in years:
                for model in self.models_of_year(vehicle_type, brand["Value"], year["Value"]):
                    answer = self.price(vehicle_type, brand["Value"], model["Value"], year["Value"])
                    rows.add(parsed(brand, model, year, answer))
        return rows

    def models_of_year(self, vehicle_type: int, brand: str, model_year: str) -> Any:
        year, fuel = model_year.split("-")
        return self.ask(
            "ConsultarModelosAtravesDoAno",
            vehicle_type,
            codigoMarca=brand,
            ano=model_year,
            anoModelo=year,
            codigoTipoCombustivel=fuel,
        )


def parsed(brand: Any, model: Any, year: Any, answer: Any) -> CatalogueRow:
    """The catalogue's row as the answers tell it."""
    digits = re.sub(r"[^0-9,]", "", answer["Valor"]).replace(",", ".")
    assert (answer["Marca"], answer["Modelo"]) == (brand["Label"], model["Label"])
    return CatalogueRow(
        answer["TipoVeiculo"],
        int(brand["Value"]),
        answer["Marca"],
        int(model["Value"]),
        answer["Modelo"],
        answer["AnoModelo"],
        int(year["Value"].split("-")[1]),
        answer["Combustivel"],
        answer["CodigoFipe"],
        Decimal(digits),
    )


@pytest.fixture(scope="module")
def simulator() -> Iterator[FipeSimulator]:
    with FipeSimulator(SAMPLE) as running:
        yield running


@pytest.fixture
def client(simulator: FipeSimulator) -> Client:
    return Client(simulator)


def test_publishes_exactly_its_catalogue_by_model_and_by_year(client: Client) -> None:
    assert client.month_by_models() == set(SAMPLE.rows)
    assert client.month_by_years() == set(SAMPLE.rows)


@pytest.mark.parametrize(("reference", "month"), [(308, date(2024, 4, 1)), (248, date(2019, 11, 1))])
def test_publishes_an_earlier_month_by_the_rule(
    simulator: FipeSimulator, reference: int, month: date
) -> None:
    truth = catalogue_for_month(SAMPLE, month)
    assert Client(simulator, reference).month_by_years() == set(truth.rows)


def test_lists_the_references_newest_first_with_a_trailing_space(client: Client) -> None:
    references = client.post(REFERENCES).json()
    assert references[:2] == [{"Codigo": 334, "Mes": "junho/2026 "}, {"Codigo": 333, "Mes": "maio/2026 "}]
    assert references[-1] == {"Codigo": 62, "Mes": "janeiro/2001 "}
    assert len(references) == 306


def test_answers_a_price_in_fipes_format() -> None:
    row = next(row for row in SAMPLE.rows if row.model.startswith("AMAROK High.CD"))
    amarok = row._replace(model_year=2014, price_brl=Decimal("1125318.00"))
    with FipeSimulator(Catalogue(date(2023, 1, 1), [amarok])) as simulator:
        answer = Client(simulator, 293).price(1, "395", str(amarok.model_code), "2014-3")
    assert re.fullmatch(r"[0-9a-z]{12}", answer.pop("Autenticacao"))
    spelled = answer.pop("DataConsulta")
    assert re.fullmatch(r"(\w+-feira|sábado|domingo), \d{1,2} de \w+ de \d{4} \d\d:\d\d", spelled)
    assert answer == {
        "Valor": "R$ 1.125.318,00",
        "Marca": "VW - VolksWagen",
        "Modelo": "AMAROK High.CD 2.0 16V TDI 4x4 Dies. Aut",
        "AnoModelo": 2014,
        "Combustivel": "Diesel",
        "CodigoFipe": "005340-6",
        "MesReferencia": "janeiro de 2023 ",
        "TipoVeiculo": 1,
        "SiglaCombustivel": "D",
    }


def test_gives_each_fuel_its_name_and_acronym(client: Client) -> None:
    seen = {}
    for row in {row.fuel_code: row for row in SAMPLE.rows}.values():
        model_year = f"{row.model_year}-{row.fuel_code}"
        answer = client.price(row.vehicle_type, str(row.brand_code), str(row.model_code), model_year)
        seen[row.fuel_code] = (answer["Combustivel"], answer["SiglaCombustivel"])
    assert seen == {
        1: ("Gasolina", "G"),
        2: ("Álcool", "Á"),
        3: ("Diesel", "D"),
        4: ("Elétrico", "E"),
        5: ("Flex", "F"),
        6: ("Híbrido", "H"),
        7: ("Gás Natural", "G"),
    }


def test_gives_model_codes_as_numbers_and_brand_codes_as_text(client: Client) -> None:
    assert client.ask("ConsultarMarcas", 1)[0] == {"Label": "Acura", "Value": "1"}
    answer = client.ask("ConsultarModelos", 1, codigoMarca=1)
    assert answer["Modelos"][0] == {"Label": "Integra GS 1.8", "Value": 1}
    assert answer["Anos"][0] == {"Label": "1998 Gasolina", "Value": "1998-1"}


def test_labels_a_motorcycles_model_years_with_only_the_year(client: Client) -> None:
    years = {
        each["Value"]: each["Label"] for each in client.ask("ConsultarModelos", 2, codigoMarca=398)["Anos"]
    }
    assert years["2026-1"] == "2026"
    assert years["32000-6"] == "32000 Híbrido"


def test_may_give_model_codes_as_text_and_pad_fipe_codes() -> None:
    quirks = Quirks(text_model_codes=True, padded_fipe_codes=True)
    with FipeSimulator(SAMPLE, quirks=quirks) as simulator:
        client = Client(simulator)
        assert client.ask("ConsultarModelos", 1, codigoMarca=1)["Modelos"][0]["Value"] == "1"
        assert client.price(1, "1", "1", "1992-1")["CodigoFipe"] == " 038003-2 "


def test_may_refuse_a_client_that_does_not_look_like_a_browser() -> None:
    with FipeSimulator(SAMPLE, quirks=Quirks(browsers_only=True)) as simulator:
        client = Client(simulator)
        assert client.post(REFERENCES).status_code == 403
        client.session.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64)"
        assert client.post(REFERENCES).status_code == 200


@pytest.mark.parametrize("path", ["/api/veiculos/", "/api/veiculos//", "//api///veiculos/"])
def test_takes_any_number_of_slashes(simulator: FipeSimulator, path: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(simulator.url).netloc, timeout=30)
    connection.request("POST", f"{path}ConsultarMarcas", "codigoTabelaReferencia=334&codigoTipoVeiculo=1")
    response = connection.getresponse()
    assert response.status == 200
    assert len(json.load(response)) == 6
    connection.close()


def test_takes_a_form_and_json_with_numbers_or_text(client: Client) -> None:
    url = f"{client.simulator.url}//ConsultarMarcas"
    form = {"codigoTabelaReferencia": "334", "codigoTipoVeiculo": "1"}
    numbers = {name: int(value) for name, value in form.items()}
    answers = [
        client.session.post(url, **body, timeout=30).json()
        for body in ({"data": form}, {"json": form}, {"json": numbers})
    ]
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0]) == 6


@pytest.mark.parametrize(
    ("vehicle_type", "brand", "model", "model_year"),
    [(1, "99", "1", "1992-1"), (1, "1", "99", "1992-1"), (1, "1", "1", "1993-1"), (1, "1", "1", "1992-3")],
)
def test_finds_nothing_for_what_the_month_does_not_have(
    client: Client, vehicle_type: int, brand: str, model: str, model_year: str
) -> None:
    assert client.price(vehicle_type, brand, model, model_year) == NOTHING_FOUND


def test_finds_nothing_for_unknown_brands_models_years_and_references(client: Client) -> None:
    assert client.ask("ConsultarModelos", 1, codigoMarca=99) == NOTHING_FOUND
    assert client.ask("ConsultarModelos", 2, codigoMarca=55) == NOTHING_FOUND
    assert client.ask("ConsultarAnoModelo", 1, codigoMarca=1, codigoModelo=99) == NOTHING_FOUND
    assert client.models_of_year(1, "1", "2025-1") == NOTHING_FOUND
    for unpublished in (3, 335, 999_999_999):
        assert Client(client.simulator, unpublished).ask("ConsultarMarcas", 1) == NOTHING_FOUND


@pytest.mark.parametrize(
    ("call", "parameters"),
    [
        ("ConsultarMarcas", {}),
        ("ConsultarMarcas", {"codigoTabelaReferencia": 334}),
        ("ConsultarMarcas", {"codigoTabelaReferencia": 334, "codigoTipoVeiculo": 4}),
        ("ConsultarMarcas", {"codigoTabelaReferencia": "junho", "codigoTipoVeiculo": 1}),
        ("ConsultarMarcas", {"codigoTabelaReferencia": "-1", "codigoTipoVeiculo": 1}),
        ("ConsultarMarcas", {"codigoTabelaReferencia": "9" * 5_000, "codigoTipoVeiculo": 1}),
        ("ConsultarModelos", {"codigoTabelaReferencia": 334, "codigoTipoVeiculo": 1}),
        ("ConsultarAnoModelo", {"codigoTabelaReferencia": 334, "codigoTipoVeiculo": 1, "codigoMarca": 1}),
        (
            "ConsultarModelosAtravesDoAno",
            {
                "codigoTabelaReferencia": 334,
                "codigoTipoVeiculo": 1,
                "codigoMarca": 1,
                "ano": "1992-3",
                "anoModelo": 1992,
                "codigoTipoCombustivel": 1,
            },
        ),
    ],
)
def test_calls_missing_or_bad_parameters_invalid(client: Client, call: str, parameters: Any) -> None:
    assert client.post(call, **parameters).json() == INVALID


@pytest.mark.parametrize("changed", [{"tipoVeiculo": "moto"}, {"tipoConsulta": ""}, {"anoModelo": "1992-1"}])
def test_calls_a_contradictory_price_question_invalid(client: Client, changed: dict[str, str]) -> None:
    assert client.price(1, "1", "1", "1992-1", **changed) == INVALID


def test_knows_no_other_call_and_no_other_method(client: Client) -> None:
    assert client.post("ConsultarTudo").status_code == 404
    assert client.session.get(client.simulator.origin, timeout=30).status_code == 404
    refused = client.session.get(f"{client.simulator.url}/{REFERENCES}", timeout=30)
    assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")


FAULTY = {
    Fault.NOTHING_FOUND: (200, b'{"codigo":"0","erro":"nadaencontrado"}'),
    Fault.NOTHING_FOUND_SPACED: (200, b'{"codigo":"0","erro":"Nada encontrado"}'),
    Fault.INVALID_PARAMETERS: (200, '{"codigo":"2","erro":"Parâmetros inválidos"}'.encode()),
    Fault.EMPTY_BODY: (200, b""),
    Fault.BYTE_ORDER_MARK: (200, b'\xef\xbb\xbf[{"Codigo":334,'),
    Fault.TRUNCATED_JSON: (200, b'[{"Codigo":334,'),
    Fault.CLOUDFLARE_PAGE: (200, b"<!DOCTYPE html>"),
    Fault.TOO_MANY_REQUESTS: (429, b"<!DOCTYPE html>"),
    Fault.TOO_MANY_REQUESTS_RETRY_AFTER: (429, b"<!DOCTYPE html>"),
    Fault.FORBIDDEN: (403, b"<!DOCTYPE html>"),
    Fault.STATUS_500: (500, b"<!DOCTYPE html>"),
    Fault.STATUS_502: (502, b"<!DOCTYPE html>"),
    Fault.STATUS_503: (503, b"<!DOCTYPE html>"),
    Fault.STATUS_520: (520, b"<!DOCTYPE html>"),
    Fault.STATUS_524: (524, b"<!DOCTYPE html>"),
}


@pytest.mark.parametrize(("fault", "status", "start"), [(fault, *FAULTY[fault]) for fault in FAULTY])
def test_fails_in_each_reported_way(fault: Fault, status: int, start: bytes) -> None:
    with FipeSimulator(SAMPLE, faults=Faults.of(fault, rate=1)) as simulator:
        response = Client(simulator).post(REFERENCES)
    assert response.status_code == status
    assert response.content.startswith(start)
    assert ("Retry-After" in response.headers) == (fault is Fault.TOO_MANY_REQUESTS_RETRY_AFTER)
    assert (b"cf-chl-opt" in response.content) == (fault is Fault.CLOUDFLARE_PAGE)
    if fault is Fault.TRUNCATED_JSON:
        with pytest.raises(requests.JSONDecodeError):
            response.json()
    if fault is Fault.BYTE_ORDER_MARK:
        assert len(json.loads(response.content.decode("utf-8-sig"))) == 306
    assert simulator.statistics().faults == {fault.value: 1}


def test_every_fault_but_the_timeout_is_tried_above() -> None:
    assert {*FAULTY, Fault.TIMEOUT} == set(Fault)


def test_a_timeout_holds_the_connection_and_closes_it_without_an_answer() -> None:
    faults = Faults.of(Fault.TIMEOUT, rate=1, hold_seconds=0.05)
    with FipeSimulator(SAMPLE, faults=faults) as simulator:
        with pytest.raises(requests.ConnectionError):
            Client(simulator).post(REFERENCES)
        simulator.faults = Faults.of(Fault.TIMEOUT, rate=1, hold_seconds=60)
        with pytest.raises(requests.ReadTimeout):
            Client(simulator).session.post(f"{simulator.url}/{REFERENCES}", timeout=0.2)
        assert simulator.statistics().statuses[0] == 1


def test_a_month_read_with_retries_through_faults_is_still_true() -> None:
    harmless = (Fault.STATUS_502, Fault.CLOUDFLARE_PAGE, Fault.TRUNCATED_JSON, Fault.TOO_MANY_REQUESTS)
    with FipeSimulator(SAMPLE, faults=Faults.of(*harmless, rate=0.1, seed=3)) as simulator:
        client = Client(simulator)
        question = {"codigoTabelaReferencia": JUNE_2026, "codigoTipoVeiculo": 1}
        fates = [client.post("ConsultarMarcas", **question) for _ in range(40)]
        good = [fate.json() for fate in fates if fate.ok and fate.content.endswith(b"]")]
        assert 10 < len(good) < 40
        assert all(answer == good[0] for answer in good)

        simulator.faults = simulator.faults
        again = [client.post("ConsultarMarcas", **question) for _ in range(40)]
    assert [fate.content for fate in again] == [fate.content for fate in fates]


def test_enforces_its_ceiling_and_counts_what_it_refused() -> None:
    with FipeSimulator(SAMPLE, ceiling=Ceiling(calls=5, per_seconds=600)) as simulator:
        client = Client(simulator)
        statuses = [client.post(REFERENCES).status_code for _ in range(8)]
        assert statuses == [200] * 5 + [429] * 3
        assert client.post(REFERENCES).headers["Retry-After"] == "60"
        statistics = simulator.statistics()
        assert (statistics.statuses, statistics.refused) == ({200: 5, 429: 4}, 4)
        simulator.ceiling = None
        assert client.post(REFERENCES).status_code == 200


def test_shows_and_takes_its_settings_over_http() -> None:
    with FipeSimulator(SAMPLE) as simulator:
        client = Client(simulator)
        control = f"{simulator.origin}/_simulator"
        client.post(REFERENCES)
        client.post("ConsultarMarcas")
        client.post("ConsultarTudo")
        assert client.session.get(f"{control}/stats", timeout=30).json() == {
            "total": 3,
            "calls": {REFERENCES: 1, "ConsultarMarcas": 1, "unknown": 1},
            "statuses": {"200": 2, "404": 1},
            "faults": {},
            "refused": 0,
        }

        put = client.session.put(f"{control}/faults", json={"rates": {"forbidden": 1}}, timeout=30)
        assert put.json() == client.session.get(f"{control}/faults", timeout=30).json()
        assert client.post(REFERENCES).status_code == 403
        client.session.put(f"{control}/faults", json={}, timeout=30)
        assert client.post(REFERENCES).status_code == 200

        client.session.put(f"{control}/ceiling", json={"calls": 1}, timeout=30)
        assert [client.post(REFERENCES).status_code for _ in range(2)] == [200, 429]
        client.session.put(f"{control}/ceiling", json=None, data="null", timeout=30)
        assert client.session.get(f"{control}/ceiling", timeout=30).json() is None
        assert client.post(REFERENCES).status_code == 200


@pytest.mark.parametrize(
    ("setting", "body"),
    [
        ("faults", "{"),
        ("faults", '{"rates":{"rain":1}}'),
        ("faults", '{"rate":1}'),
        ("ceiling", '{"calls":0}'),
    ],
)
def test_refuses_an_invalid_setting_and_keeps_the_old_one(client: Client, setting: str, body: str) -> None:
    url = f"{client.simulator.origin}/_simulator/{setting}"
    before = client.session.get(url, timeout=30).json()
    refused = client.session.put(url, data=body, timeout=30)
    assert refused.status_code == 400
    assert "error" in refused.json()
    assert client.session.get(url, timeout=30).json() == before
    assert client.session.delete(url, timeout=30).status_code == 404


def raw(simulator: FipeSimulator, request: bytes) -> bytes:
    """What comes back for bytes sent as they are, until the server closes."""
    parts = urlsplit(simulator.url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=30) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"Content-Length: x", b"400"),
        (b"Content-Length: -1", b"400"),
        (b"Content-Length: 99999999999999999999", b"413"),
        (b"Content-Length: 70000", b"413"),
        (b"Transfer-Encoding: chunked", b"411"),
    ],
)
def test_closes_the_connection_of_a_request_it_cannot_read(
    simulator: FipeSimulator, headers: bytes, status: bytes
) -> None:
    answer = raw(
        simulator, b"POST /api/veiculos/ConsultarMarcas HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"Connection: close" in answer


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_survives_any_bytes(simulator: FipeSimulator, noise: bytes) -> None:
    raw(simulator, noise)
    head = b"POST /api/veiculos/ConsultarMarcas HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    answer = raw(simulator, head + b"Content-Length: %d\r\n\r\n" % len(noise) + noise)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(json.dumps(INVALID, ensure_ascii=False, separators=(",", ":")).encode())


@pytest.mark.parametrize(
    "body", ["[1]", '{"codigoTipoVeiculo":{}}', '{"a":NaN', "{" * 60_000, '{"a":' * 10_000, "null", "\ud800"]
)
def test_a_body_that_is_neither_form_nor_json_is_invalid(client: Client, body: str) -> None:
    answer = client.session.post(
        f"{client.simulator.url}/ConsultarMarcas", data=body.encode("utf-8", "surrogatepass"), timeout=30
    )
    assert answer.json() == INVALID


def test_many_clients_at_once_get_their_own_answers(simulator: FipeSimulator) -> None:
    before = simulator.statistics().total
    rows = SAMPLE.rows[:400]

    def fetch(part: int) -> list[str]:
        client = Client(simulator)
        return [
            client.price(
                row.vehicle_type,
                str(row.brand_code),
                str(row.model_code),
                f"{row.model_year}-{row.fuel_code}",
            )["CodigoFipe"]
            for row in rows[part::8]
        ]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(fetch, range(8)))
    assert answers == [[row.fipe_code for row in rows[part::8]] for part in range(8)]
    assert simulator.statistics().total - before == len(rows)


def test_answers_nothing_after_its_stop_even_on_open_connections() -> None:
    with FipeSimulator(SAMPLE) as simulator:
        client = Client(simulator)
        assert client.post(REFERENCES).ok
    with pytest.raises(requests.ConnectionError):
        client.post(REFERENCES)


def test_a_taken_port_is_an_error(simulator: FipeSimulator) -> None:
    port = urlsplit(simulator.url).port
    assert port
    with pytest.raises(OSError, match="in use"):
        FipeSimulator(SAMPLE, port=port)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "fipe_simulator", *arguments]


def test_the_command_prints_its_url_serves_and_ends_on_a_signal() -> None:
    with subprocess.Popen(
        command("--month", "2025-12", "--fault", "forbidden=1", "--quirk", "padded_fipe_codes"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            assert re.fullmatch(r"http://localhost:\d+/api/veiculos", url)
            control = url.replace("/api/veiculos", "/_simulator/faults")
            assert requests.post(f"{url}/{REFERENCES}", timeout=30).status_code == 403
            requests.put(control, json={}, timeout=30)
            newest = requests.post(f"{url}/{REFERENCES}", timeout=30).json()[0]
            assert newest == {"Codigo": 328, "Mes": "dezembro/2025 "}
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--month", "2026-13"], "invalid month '2026-13': use a month like 2026-06"),
        (["--month", "1999-01"], "invalid month 1999-01: FIPE's first month is 2001-01"),
        (["--catalogue", "/nowhere.tsv"], "/nowhere.tsv: cannot be read: No such file or directory"),
        (
            ["--fault", "rain=1"],
            "invalid fault 'rain=1': use NAME=RATE, where NAME is one of all, nothing_found,",
        ),
        (["--fault", "all=0.5"], "the rates of the faults add up to 8: lower them to 1 or less in total"),
        (["--hold-seconds", "0"], "hold_seconds: Input should be greater than 0"),
        (["--quirk", "rain"], "invalid quirk 'rain': use one of text_model_codes,"),
    ],
)
def test_the_command_says_in_one_line_what_is_wrong(arguments: list[str], reason: str) -> None:
    done = subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {reason}")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_the_command_says_that_its_port_is_taken(simulator: FipeSimulator) -> None:
    port = str(urlsplit(simulator.url).port)
    done = subprocess.run(
        command("--port", port), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (
        2,
        f"error: port {port} is taken: choose another one, or 0 for any free one\n",
    )


@pytest.mark.real_month
@needs_real_month
def test_publishes_the_real_month() -> None:
    catalogue = read_catalogue(REAL_MONTH)
    with FipeSimulator(catalogue) as simulator:
        client = Client(simulator)
        brands = list(client.brands())
        assert len(brands) == 236
        models = 0
        for vehicle_type, brand in brands:
            answer = client.ask("ConsultarModelos", vehicle_type, codigoMarca=brand["Value"])
            models += len(answer["Modelos"])
        assert models == 11_238
        for row in catalogue.rows[:: len(catalogue.rows) // 500]:
            model_year = f"{row.model_year}-{row.fuel_code}"
            answer = client.price(row.vehicle_type, str(row.brand_code), str(row.model_code), model_year)
            labels = {"Value": str(row.brand_code), "Label": row.brand}
            model = {"Value": str(row.model_code), "Label": row.model}
            assert parsed(labels, model, {"Value": model_year}, answer) == row
