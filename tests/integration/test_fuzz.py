"""Fuzzed answers and messages: only the declared errors come out, and everything that is accepted can be
stored.

A short form runs with the other tests; FUZZ_EXAMPLES=100000 (`make fuzz`) is the long one.
"""

import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

from fipe_api.aws.batch import process_batch
from fipe_api.database.writer import ReferenceMismatchError, write_messages
from fipe_api.fipe_api_service import FipeApi
from fipe_api.messages import (
    MANUFACTURER_QUEUE,
    MODEL_QUEUE,
    PRICE_QUEUE,
    BackfillMessage,
    CodesMessage,
    Named,
    PricedVehicle,
    Reference,
    StartMessage,
    to_json,
)
from fipe_api.source import http_source
from fipe_api.source.http_source import FipeError, HttpSource
from fipe_api.source.pace import Unpaced
from fipe_api.source.parallelum import ParallelumApi
from fipe_api.source.price_source import BrandModels, PriceSource
from tests.builders import (
    JUNE_2026,
    RUN,
    any_brand_message,
    any_brand_plan,
    any_empty_brand_message,
    any_model_message,
    any_named,
    any_price_message,
    any_rejected_answer_message,
    any_run_plan,
    sqs_event,
)

AT_ONCE = 10
"""Answers or messages in one of Hypothesis's examples; ten are a batch."""
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "1000")) // AT_ONCE
fuzzed = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))

# Bodies -----------------------------------------------------------------------------------------------------

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 40_000),
    st.sampled_from([2**31 - 1, 2**31, 2**63, -(2**31), 10**30, 1.0, 1.5, -0.0, 1e308]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(
        [
            "", " ", "\x00", "\u2028", "\x1b[2J", "x" * 251, "x" * 5000, "1", "-1", "32000-1",
            "0-0", "99999-9",
            "R$ 0,00", "R$ -1,00", "R$ 99.999.999.999,99", "R$ 1.00", "junho de 2026", "junho/2026 ",
            "maio de 2026", "junho de 0000", "005340-6", "005340-7", " 005340-6 ", "٠٠٥٣٤٠-٦", "NaN",
            "Infinity", "1E+400", "-0.00",
        ]
    ),
    st.lists(st.integers(0, 3), max_size=3),
    st.dictionaries(st.sampled_from(["Value", "code", "kind", ""]), st.integers(0, 3), max_size=2),
)  # fmt: skip
JSON = st.recursive(
    ODD, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner)
)


LEFT_OUT = object()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, as the keys that lead to it."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def with_part(value: Any, path: tuple[Any, ...], part: Any) -> Any:
    """The value with another part at a place; without that place when the part is LEFT_OUT."""
    if not path:
        return part
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and part is LEFT_OUT:
        del copy[path[0]]
    else:
        copy[path[0]] = with_part(copy[path[0]], path[1:], part)
    return copy


def part_at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


@st.composite
def spoilt_values(draw: st.DrawFn, valid: list[Any]) -> str:
    """A valid JSON value with up to three places changed, left out, or doubled."""
    value = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(list(places(value))))
        part = part_at(value, path)
        how = draw(st.sampled_from(["replace", "replace", "leave out", "double"]))
        if how == "leave out" and path:
            part = LEFT_OUT
        elif how == "double" and isinstance(part, list):
            part = [*part, *part]
        else:
            part = draw(ODD)
        value = with_part(value, path, part)
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


@st.composite
def spoilt_texts(draw: st.DrawFn, valid: list[Any]) -> str:
    """A valid JSON text, cut, repeated, or with something else inside."""
    text = json.dumps(draw(st.sampled_from(valid)), ensure_ascii=False)
    begin = draw(st.integers(0, len(text)))
    inside = draw(st.sampled_from(["", "\x00", "{", "]", '"', "null", "<html>", "\ufeff", "[" * 300, text]))
    end = draw(st.integers(begin, min(len(text), begin + 20)))
    return text[:begin] + inside + draw(st.sampled_from([text[end:], ""]))


def bodies(valid: list[Any]) -> st.SearchStrategy[str]:
    anything = JSON.map(json.dumps)
    spoilt = spoilt_values(valid)
    return st.one_of(spoilt, spoilt, spoilt_texts(valid), anything, st.text(max_size=40))


# Answers ----------------------------------------------------------------------------------------------------

VALID_ANSWERS: list[Any] = [
    [{"Codigo": 334, "Mes": "junho/2026 "}, {"Codigo": 333, "Mes": "maio/2026 "}],
    [{"Label": "Acura", "Value": "1"}, {"Label": "M´BOY  90cc", "Value": 2}],
    {
        "Modelos": [{"Label": "Integra", "Value": 1}, {"Label": "Legend", "Value": "2"}],
        "Anos": [{"Label": "1992 Gasolina", "Value": "1992-1"}, {"Label": "32000", "Value": "32000-1"}],
    },
    {
        "Valor": "R$ 125.318,00", "Marca": "VW", "Modelo": "AMAROK", "AnoModelo": 2014,
        "Combustivel": "Diesel", "CodigoFipe": "005340-6", "MesReferencia": "junho de 2026 ",
        "TipoVeiculo": 1, "Autenticacao": "x", "SiglaCombustivel": "D", "DataConsulta": "sábado",
    },
    {"codigo": "0", "erro": "nadaencontrado"},
    {"codigo": "2", "erro": "Parâmetros inválidos"},
    [{"code": "334", "month": "junho de 2026"}],
    [{"code": "1", "name": "Acura"}, {"code": "2", "name": "Audi"}],
    [{"code": "2014-3", "name": "2014 Diesel"}],
    {
        "vehicleType": 1, "price": "R$ 125.318,00", "brand": "VW", "model": "AMAROK", "modelYear": 2014,
        "fuel": "Diesel", "codeFipe": "005340-6", "referenceMonth": "junho de 2026", "fuelAcronym": "D",
    },
    {"error": "failed to locate year"},
]  # fmt: skip
VW, AMAROK = any_named(code=59, name="VW"), any_named(code=5586, name="AMAROK")
YEAR = any_model_message().years_to_ask[0]
CALLS: list[Callable[[PriceSource], Any]] = [
    lambda source: source.references(),
    lambda source: source.brands(JUNE_2026, 1),
    lambda source: source.models(JUNE_2026, 1, 59),
    lambda source: source.years_of_model(JUNE_2026, 1, 59, 5586),
    lambda source: source.models_of_year(JUNE_2026, 1, 59, YEAR),
    lambda source: source.price(JUNE_2026, 1, VW, AMAROK, YEAR),
]


class Answering(HTTPAdapter):
    """Answers every request of a real session with a given answer, without a network."""

    def __init__(self) -> None:
        super().__init__()
        self.status, self.body, self.headers = 200, b"", {}

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]
        response = requests.Response()
        response.status_code, response.request = self.status, request
        response.headers = CaseInsensitiveDict(self.headers)
        response.raw, response.url = io.BytesIO(self.body), str(request.url)
        return response


@pytest.fixture(scope="module")
def answering() -> Iterator[tuple[Answering, requests.Session]]:
    with requests.Session() as session, pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_source, "ATTEMPTS", 1)
        session.trust_env = False
        adapter = Answering()
        session.mount("http://", adapter)
        yield adapter, session


STATUSES = st.sampled_from(
    [200] * 20 + [404, 404, 204, 301, 401, 402, 403, 429, 429, 500, 503, 503, 524, 599]
)
RETRY_AFTER = st.one_of(
    st.none(),
    st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=12),
    st.sampled_from(["5", "-1", "999999999999"]),
    st.sampled_from(["Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 9999 99:99:99 GMT"]),
)
ANSWERS = st.tuples(
    st.sampled_from(CALLS),
    st.booleans(),
    st.sampled_from([b"", b"", b"\xef\xbb\xbf"]),
    bodies(VALID_ANSWERS).map(lambda text: text.encode("utf-8", "replace")) | st.binary(max_size=60),
    STATUSES,
    RETRY_AFTER,
)


@fuzzed
@given(answers=st.lists(ANSWERS, min_size=AT_ONCE, max_size=AT_ONCE))
def test_an_answer_gives_what_can_be_stored_or_a_declared_error(answering: Any, answers: Any) -> None:
    adapter, session = answering
    for call, is_mirror, mark, body, status, retry_after in answers:
        adapter.body, adapter.status = mark + body, status
        adapter.headers = {} if retry_after is None else {"Retry-After": retry_after}
        http = HttpSource("parallelum" if is_mirror else "fipe", session, Unpaced(), lambda: 300.0)
        source: PriceSource = (ParallelumApi if is_mirror else FipeApi)(http, "http://localhost/api")
        try:
            answer = call(source)
        except FipeError:
            continue
        assert status in (200, 404)
        check_answer(answer)


def check_answer(answer: Any) -> None:
    assert answer, "an empty answer is no data"
    if isinstance(answer, PricedVehicle):
        written = to_json(any_price_message(brand=VW, model=AMAROK, prices=(answer,)))
        assert to_json(PRICE_QUEUE.decode(written)) == written
        assert (answer.model_year, answer.fuel_code) == (YEAR.model_year, YEAR.fuel_code)
        assert answer.price_brl >= 0
    elif isinstance(answer, list) and isinstance(answer[0], Reference):
        assert len({each.code for each in answer}) == len({each.month for each in answer}) == len(answer)
    elif not isinstance(answer, frozenset):
        items = answer.models if isinstance(answer, BrandModels) else answer
        codes = [item.code if isinstance(item, Named) else item for item in items]
        assert len(set(codes)) == len(codes)


# Messages ---------------------------------------------------------------------------------------------------

VALID_MESSAGES: list[Any] = [
    json.loads(to_json(message))
    for message in (
        any_brand_message(wanted_models=(1, "Gol"), missing_models=(1,)),
        StartMessage(run_id=RUN, request={"brands": ["Fiat"]}, reference=JUNE_2026),
        BackfillMessage(run_id=RUN, turn=1, token=RUN),
        CodesMessage(run_id=RUN, request={"fipe_codes": ["005340-6"]}, left=("005340-6",)),
        any_run_plan(wanted_brands=(1, "Fiat")),
        any_brand_plan(),
        any_model_message(),
        any_price_message(unpriced=(YEAR,), rejected=(YEAR,)),
        any_empty_brand_message(),
        any_rejected_answer_message(),
    )
]
READERS: dict[str, Callable[[str], Any]] = {
    "manufacturer": MANUFACTURER_QUEUE.decode,
    "model": MODEL_QUEUE.decode,
    "price": PRICE_QUEUE.decode,
}
ACCEPTED: dict[str, Any] = {}


@fuzzed
@given(
    texts=st.lists(bodies(VALID_MESSAGES), min_size=AT_ONCE, max_size=AT_ONCE),
    queue=st.sampled_from(["manufacturer", "model", "price", "price"]),
)
def test_a_body_is_a_message_that_stays_what_it_is_or_fails_alone(texts: list[str], queue: str) -> None:
    read = READERS[queue]
    failing = []
    for text in texts:
        try:
            message = read(text)
        except (ValueError, RecursionError):
            failing.append(text)
            continue
        again = to_json(message)
        assert to_json(read(again)) == again
        if queue == "price" and len(ACCEPTED) < 300:
            ACCEPTED[again] = message
    event = sqs_event(*texts)
    failures = process_batch(event, read, lambda _: {})["batchItemFailures"]
    failed = {failure["itemIdentifier"] for failure in failures}
    assert [record["body"] for record in event["Records"] if record["messageId"] in failed] == failing


def test_what_was_accepted_can_be_written(database: Any) -> None:
    """Runs after the fuzzing above, on everything that it accepted, and on two messages of its own."""
    for message in [*ACCEPTED.values(), any_price_message(), any_rejected_answer_message()]:
        # Declared: a code with another month than one written before.
        with suppress(ReferenceMismatchError):
            write_messages(database, [message])
