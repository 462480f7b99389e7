"""The FIPE client: the official API's calls, its answers parsed and checked, its pace kept.

The API is a set of POST calls under one base URL; its parameters repeat down the hierarchy reference,
vehicle type, brand, model, year and fuel. It answers errors with HTTP 200 as often as not, so an answer
counts only once it has been parsed. FIPE's Portuguese names stop at this module's border.
"""

import codecs
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Annotated, NamedTuple, NoReturn, TypeVar

import requests
from pydantic import BaseModel, BeforeValidator, Field, StringConstraints, TypeAdapter, ValidationError

from fipe_api.messages import Named, PricedVehicle, Reference, VehicleType, YearFuel
from fipe_api.pace import Pace

OFFICIAL_URL = "https://veiculos.fipe.org.br/api/veiculos"

HEADERS = {
    # A client that does not look like a browser is answered 403.
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/138.0 Safari/537.36",
    "Referer": "https://veiculos.fipe.org.br/",
    "X-Requested-With": "XMLHttpRequest",
    "Accept": "application/json",
    # requests would offer brotli where the package is there; the source's brotli answers have been broken.
    "Accept-Encoding": "gzip, deflate",
}
TIMEOUT_SECONDS = 20.0
ATTEMPTS = 3
FIRST_BACKOFF_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 15.0
"""A longer wait for the pace is spent in the queue, where it costs nothing."""
THROTTLED_REST_SECONDS = 60.0
"""What clears the ceiling of about 50 calls a minute when the answer names no time."""
BLOCKED_REST_SECONDS = 120.0
SOURCE_DOWN_STATUS = frozenset({500, 502, 503, 504, *range(520, 528)})

MONTHS = (
    "janeiro", "fevereiro", "março", "abril", "maio", "junho",
    "julho", "agosto", "setembro", "outubro", "novembro", "dezembro",
)  # fmt: skip
VEHICLE_TYPE_NAMES: Mapping[VehicleType, str] = {1: "carro", 2: "moto", 3: "caminhao"}


Answer = TypeVar("Answer")


class FipeError(Exception):
    """The source gave no usable answer to a call."""


class NoDataError(FipeError):
    """The source says that it has nothing for these parameters."""


class InvalidParametersError(FipeError):
    """The source refuses the parameters."""


class MalformedAnswerError(FipeError):
    """The answer is not what the API documents: a wrong shape, a wrong month, another vehicle."""


class SourceDownError(FipeError):
    """A server error, a lost connection or a timeout."""


class NotNowError(FipeError):
    """The call was not made, or not served, and it is not its fault: to be done later.

    Attributes:
        retry_in: seconds until it makes sense to try again.
    """

    def __init__(self, reason: str, retry_in: float) -> None:
        super().__init__(f"{reason}; to be tried again in {retry_in:.0f} s")
        self.retry_in = retry_in


class BrandModels(NamedTuple):
    """A brand's models, and the union of their year-fuel pairs."""

    models: tuple[Named, ...]
    years: tuple[YearFuel, ...]


class FipeApi:
    """The calls that a load needs, within the time that is left for them.

    Args:
        session: an HTTP session, reused between invocations for its connections.
        base_url: where the API is, with or without a slash at its end.
        pace: decides when each call may be made.
        seconds_left: how long the caller may still work; no attempt starts that could outlast it.

    Every call raises NotNowError when throttled, blocked or out of time, NoDataError when the source has
    nothing, and SourceDownError, InvalidParametersError or MalformedAnswerError when its answers stay
    unusable after a few attempts.
    """

    def __init__(
        self, session: requests.Session, base_url: str, pace: Pace, seconds_left: Callable[[], float]
    ) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._pace = pace
        self._seconds_left = seconds_left

    def references(self) -> list[Reference]:
        """All published tables, the newest month first (the codes are not in the order of the months)."""
        answer = self._call("ConsultarTabelaDeReferencia", {}, _REFERENCES)
        references = [Reference(code=item.code, month=item.month) for item in answer]
        return sorted(references, key=lambda reference: reference.month, reverse=True)

    def brands(self, reference: Reference, vehicle_type: VehicleType) -> list[Named]:
        """The brands of one vehicle type in the reference month."""
        answer = self._call("ConsultarMarcas", _parameters(reference, vehicle_type), _NAMED_LIST)
        return [item.named() for item in answer]

    def models(self, reference: Reference, vehicle_type: VehicleType, brand_code: int) -> BrandModels:
        """The models of a brand, and every year-fuel pair that at least one of them has."""
        parameters = _parameters(reference, vehicle_type, codigoMarca=brand_code)
        answer = self._call("ConsultarModelos", parameters, _BRAND_MODELS)
        models = tuple(item.named() for item in answer.models)
        return BrandModels(models, tuple(item.value for item in answer.years))

    def years_of_model(
        self, reference: Reference, vehicle_type: VehicleType, brand_code: int, model_code: int
    ) -> tuple[YearFuel, ...]:
        """The year-fuel pairs of one model."""
        parameters = _parameters(reference, vehicle_type, codigoMarca=brand_code, codigoModelo=model_code)
        return tuple(item.value for item in self._call("ConsultarAnoModelo", parameters, _YEAR_LIST))

    def models_of_year(
        self, reference: Reference, vehicle_type: VehicleType, brand_code: int, year: YearFuel
    ) -> frozenset[int]:
        """The codes of the brand's models that have this year-fuel pair."""
        parameters = _parameters(
            reference,
            vehicle_type,
            codigoMarca=brand_code,
            ano=f"{year.model_year}-{year.fuel_code}",
            anoModelo=year.model_year,
            codigoTipoCombustivel=year.fuel_code,
        )
        answer = self._call("ConsultarModelosAtravesDoAno", parameters, _NAMED_LIST)
        return frozenset(item.value for item in answer)

    def price(
        self,
        reference: Reference,
        vehicle_type: VehicleType,
        brand_code: int,
        model_code: int,
        year: YearFuel,
    ) -> PricedVehicle:
        """The price of one model year and fuel; checked to be of that month, type and model year."""
        parameters = _parameters(
            reference,
            vehicle_type,
            codigoMarca=brand_code,
            codigoModelo=model_code,
            anoModelo=year.model_year,
            codigoTipoCombustivel=year.fuel_code,
            tipoVeiculo=VEHICLE_TYPE_NAMES[vehicle_type],
            modeloCodigoExterno="",
            tipoConsulta="tradicional",
        )

        def check(answer: _PriceAnswer) -> None:
            asked = (reference.month, vehicle_type, year.model_year)
            answered = (answer.month, answer.vehicle_type, answer.model_year)
            if asked != answered:
                raise MalformedAnswerError(
                    f"asked for month, type and model year {asked}, answered {answered}"
                )

        answer = self._call("ConsultarValorComTodosParametros", parameters, _PRICE, check)
        return PricedVehicle(
            model_year=year.model_year,
            fuel_code=year.fuel_code,
            fuel=answer.fuel,
            fipe_code=answer.fipe_code,
            price_brl=answer.price,
        )

    def _call(
        self,
        name: str,
        parameters: Mapping[str, str | int],
        shape: TypeAdapter[Answer],
        check: Callable[[Answer], None] = lambda _: None,
    ) -> Answer:
        for attempt in range(1, ATTEMPTS + 1):
            self._wait_for_turn()
            try:
                answer = _parse(self._post(name, parameters), shape)
                check(answer)
            except (NoDataError, InvalidParametersError, MalformedAnswerError, SourceDownError) as error:
                # Each of these has been seen to pass; "no data" is believed the second time.
                if attempt == ATTEMPTS or (attempt == 2 and isinstance(error, NoDataError)):
                    error.add_note(f"call: {name} {dict(parameters)}")
                    raise
                time.sleep(FIRST_BACKOFF_SECONDS * 2 ** (attempt - 1))
            else:
                return answer
        raise AssertionError("the last attempt returns or raises")

    def _wait_for_turn(self) -> None:
        patience = min(LONGEST_WAIT_SECONDS, self._seconds_left() - TIMEOUT_SECONDS)
        if patience < 0:
            raise NotNowError("the time of this invocation is used up", retry_in=0)
        wait = self._pace.reserve(patience)
        if wait > patience:
            raise NotNowError("the pace allows no call for now", retry_in=wait)
        if wait > 0:
            time.sleep(wait)

    def _post(self, name: str, parameters: Mapping[str, str | int]) -> bytes:
        try:
            response = self._session.post(
                f"{self._base_url}/{name}", data=parameters, headers=HEADERS, timeout=TIMEOUT_SECONDS
            )
        except requests.RequestException as error:
            raise SourceDownError(f"{type(error).__name__}: {error}") from error
        if response.status_code == 429:
            self._rest("throttled", _retry_after(response) or THROTTLED_REST_SECONDS)
        if response.status_code == 403 or b"cf-chl-opt" in response.content:
            self._rest("blocked", BLOCKED_REST_SECONDS)
        if response.status_code in SOURCE_DOWN_STATUS:
            raise SourceDownError(f"HTTP {response.status_code}")
        if response.status_code != 200:
            raise MalformedAnswerError(f"HTTP {response.status_code}")
        return response.content

    def _rest(self, reason: str, seconds: float) -> NoReturn:
        self._pace.pause(seconds)
        raise NotNowError(f"{reason} by the source", retry_in=seconds)


def parse_month(text: str) -> date:
    """The first day of a month that FIPE spells "agosto/2026 " in its list and "agosto de 2026 " in a price.

    Raises:
        ValueError: neither spelling, or no such month.
    """
    match = re.fullmatch(r"\s*(\w+)(?:/|\s+de\s+)(\d{4})\s*", text)
    if match is None or match[1].lower() not in MONTHS:
        raise ValueError(f"not a month: {text!r}")
    return date(int(match[2]), MONTHS.index(match[1].lower()) + 1, 1)


def parse_price(text: str) -> Decimal:
    """Reais from "R$ 125.318,00".

    Raises:
        ValueError: anything else, a negative amount among it.
    """
    match = re.fullmatch(r"\s*R\$\s*(\d{1,3}(?:\.\d{3})*|\d+),(\d{2})\s*", text)
    if match is None:
        raise ValueError(f"not a price: {text!r}")
    return Decimal(f"{match[1].replace('.', '')}.{match[2]}")


def parse_year_fuel(text: str) -> YearFuel:
    """A model year and fuel from "1992-1".

    Raises:
        ValueError: anything else.
    """
    match = re.fullmatch(r"\s*(\d{1,5})-(\d{1,4})\s*", text)
    if match is None:
        raise ValueError(f"not a year and fuel: {text!r}")
    return YearFuel(model_year=int(match[1]), fuel_code=int(match[2]))


class _Reference(BaseModel):
    code: int = Field(alias="Codigo")
    month: Annotated[date, BeforeValidator(parse_month)] = Field(alias="Mes")


class _Named(BaseModel):
    # The source writes the value as a number in one call and as a string in another.
    value: int = Field(alias="Value")
    label: str = Field(alias="Label")

    def named(self) -> Named:
        return Named(code=self.value, name=self.label)


class _Year(BaseModel):
    value: Annotated[YearFuel, BeforeValidator(parse_year_fuel)] = Field(alias="Value")


class _BrandModels(BaseModel):
    models: list[_Named] = Field(alias="Modelos")
    years: list[_Year] = Field(alias="Anos")


class _PriceAnswer(BaseModel):
    price: Annotated[Decimal, BeforeValidator(parse_price)] = Field(alias="Valor")
    model_year: int = Field(alias="AnoModelo")
    fuel: str = Field(alias="Combustivel")
    # Sometimes padded with spaces.
    fipe_code: Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^\s*\d{6}-\d\s*$")] = Field(
        alias="CodigoFipe"
    )
    month: Annotated[date, BeforeValidator(parse_month)] = Field(alias="MesReferencia")
    vehicle_type: int = Field(alias="TipoVeiculo")


class _Refusal(BaseModel):
    code: str = Field(alias="codigo")
    text: str = Field(alias="erro")


_REFERENCES = TypeAdapter(list[_Reference])
_NAMED_LIST = TypeAdapter(list[_Named])
_YEAR_LIST = TypeAdapter(list[_Year])
_BRAND_MODELS = TypeAdapter(_BrandModels)
_PRICE = TypeAdapter(_PriceAnswer)


def _parse(body: bytes, shape: TypeAdapter[Answer]) -> Answer:
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        return shape.validate_json(body)
    except ValidationError as error:
        _raise_refusal(body)
        raise MalformedAnswerError(f"{error.errors()[0]['msg']}: {body[:200]!r}") from error


def _raise_refusal(body: bytes) -> None:
    """Raises what a refusal with HTTP 200 means; returns when the body is none."""
    try:
        refusal = _Refusal.model_validate_json(body)
    except ValidationError:
        return
    if re.sub(r"\s", "", refusal.text.lower()) == "nadaencontrado":
        raise NoDataError(refusal.text)
    raise InvalidParametersError(refusal.text)


def _retry_after(response: requests.Response) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date; None without a usable one."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(1.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _parameters(reference: Reference, vehicle_type: VehicleType, **more: str | int) -> dict[str, str | int]:
    return {"codigoTabelaReferencia": reference.code, "codigoTipoVeiculo": vehicle_type, **more}
