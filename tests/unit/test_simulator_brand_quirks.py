"""What the simulator does wrong with one brand, whoever asks and however often."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from fipe_simulator import BrandQuirk, BrandQuirks, FipeSimulator, quirks_of_brands
from tests.quirks import ACCENTED, BRANDS, YEARS, quirk_catalogue

Ask = Callable[..., Any]
CATALOGUE = quirk_catalogue()
KEYS = {quirk: key for key, quirk in BRANDS.items()}


@pytest.fixture
def ask() -> Ask:
    simulator = FipeSimulator(CATALOGUE, brand_quirks=BRANDS)

    def ask(call: str, quirk: BrandQuirk, **more: object) -> Any:
        vehicle_type, brand = KEYS[quirk]
        parameters = {
            "codigoTabelaReferencia": 334,
            "codigoTipoVeiculo": vehicle_type,
            "codigoMarca": brand,
            **more,
        }
        reply = simulator.respond(
            "POST", f"/api/veiculos/{call}", json.dumps(parameters).encode(), "Mozilla/5.0"
        )
        assert reply is not None
        try:
            return json.loads(reply.body)
        except ValueError:
            return reply.status, reply.body

    return ask


def ask_price(ask: Ask, quirk: BrandQuirk, model: int = 0, year: int = YEARS[0]) -> Any:
    vehicle_type, brand = KEYS[quirk]
    return ask(
        "ConsultarValorComTodosParametros",
        quirk,
        codigoModelo=10 * brand + model,
        anoModelo=year,
        codigoTipoCombustivel=5,
        tipoVeiculo={1: "carro", 2: "moto", 3: "caminhao"}[vehicle_type],
        tipoConsulta="tradicional",
    )


@pytest.mark.parametrize(
    ("quirk", "field", "value"),
    [
        (BrandQuirk.OTHER_MONTH, "MesReferencia", "janeiro de 2001 "),
        (BrandQuirk.OTHER_TYPE, "TipoVeiculo", KEYS[BrandQuirk.OTHER_TYPE][0] % 3 + 1),
        (BrandQuirk.RENAMED_FIELD, "Preco", "R$ 10.300,00"),
        (BrandQuirk.ENGLISH_AMOUNTS, "Valor", "10,400.00"),
        (BrandQuirk.INVALID_PARAMETERS, "erro", "Parâmetros inválidos"),
    ],
)
def test_the_prices_of_the_first_model_are_never_usable(
    ask: Ask, quirk: BrandQuirk, field: str, value: object
) -> None:
    for year in YEARS:
        assert [ask_price(ask, quirk, year=year)[field] for _ in range(3)] == [value] * 3
    assert "Valor" in ask_price(ask, quirk, model=1)


def test_a_price_is_cut_in_the_middle(ask: Ask) -> None:
    status, body = ask_price(ask, BrandQuirk.CUT_PRICES)
    assert (status, body.startswith(b'{"Valor"')) == (200, True)


def test_one_vehicle_is_never_priced_and_one_model_has_no_years(ask: Ask) -> None:
    assert "erro" in ask_price(ask, BrandQuirk.NEVER_PRICED)
    assert "Valor" in ask_price(ask, BrandQuirk.NEVER_PRICED, year=YEARS[1])
    code = 10 * KEYS[BrandQuirk.MODEL_WITHOUT_YEARS][1]
    assert "erro" in ask("ConsultarAnoModelo", BrandQuirk.MODEL_WITHOUT_YEARS, codigoModelo=code)
    listed = ask(
        "ConsultarModelosAtravesDoAno", BrandQuirk.MODEL_WITHOUT_YEARS,
        ano="2014-5", anoModelo=2014, codigoTipoCombustivel=5,
    )  # fmt: skip
    assert [model["Value"] for model in listed] == [str(code + 1), str(code + 2)]


def test_what_passes_is_denied_or_refused_first(ask: Ask) -> None:
    assert ["Valor" in ask_price(ask, BrandQuirk.DENIED_AT_FIRST) for _ in range(5)] == [False] * 3 + [
        True
    ] * 2
    in_turns = [ask_price(ask, BrandQuirk.REFUSED_IN_TURNS) for _ in range(4)]
    assert [answer[0] if isinstance(answer, tuple) else 200 for answer in in_turns] == [403, 500, 200, 403]


def test_names_without_accents_and_amounts_with_no_break_spaces(ask: Ask) -> None:
    price = ask_price(ask, BrandQuirk.PLAIN_NAMES)
    assert (price["Marca"], price["Modelo"]) == ("CITROEN ALAMO", "MODELE 0 FLEX")
    assert ACCENTED in {row.brand for row in CATALOGUE.rows}
    assert ask_price(ask, BrandQuirk.NO_BREAK_SPACES)["Valor"] == "R$\N{NO-BREAK SPACE}10.900,00"


def test_quirks_are_given_by_the_brands_names() -> None:
    assert quirks_of_brands(CATALOGUE, ["all"]).keys() == BRANDS.keys()
    assert quirks_of_brands(CATALOGUE, [f"{ACCENTED.upper()}=cut_prices"]) == {
        KEYS[BrandQuirk.PLAIN_NAMES]: BrandQuirk.CUT_PRICES
    }
    for invalid in ("Fiat=cut_prices", f"{ACCENTED}=unknown", ACCENTED):
        with pytest.raises(ValueError, match=r"invalid brand quirk .*: use all, or BRAND=QUIRK"):
            quirks_of_brands(CATALOGUE, [invalid])


def test_says_which_prices_can_be_had() -> None:
    hidden = set(CATALOGUE.rows) - set(BrandQuirks(CATALOGUE, BRANDS).obtainable(CATALOGUE))
    assert len(hidden) == 6 * len(YEARS) + 1 + len(YEARS)
    assert {row.model for row in hidden} == {"Modèle 0 Flex"}
