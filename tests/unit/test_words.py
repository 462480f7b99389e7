"""What the commands say in Portuguese: the catalogue is whole, and nothing is said past it."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from babel.messages import Catalog
from typer.main import get_command
from typer.testing import CliRunner

from fipe_api.load.request import LoadRequestError, parse_request
from fipe_api.load.status import _line
from fipe_cli.__main__ import app
from fipe_cli.export import Selection
from fipe_cli.fleet.valuation import Total, Totals
from fipe_cli.function_words import ANSWERS, understood, understood_of_database
from fipe_cli.loads import payload_of
from fipe_cli.table import shown
from fipe_words import (
    CATALOGUE,
    ENGLISH,
    PORTUGUESE,
    _,
    counted,
    in_english,
    language,
    language_of,
    plural,
    speak,
    understood_as,
)
from local_cloud.__main__ import app as local_cloud
from local_cloud.command_errors import reason_of
from local_cloud.command_language import USAGE_ERRORS, help_texts
from scripts.plain_words import say
from scripts.update_words import HEADER, as_text, read_catalogue, up_to_date

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _language_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LANGUAGE", ENGLISH)
    yield
    speak(ENGLISH)


@pytest.fixture
def portuguese() -> None:
    speak(PORTUGUESE)


@pytest.fixture(scope="module")
def catalogue() -> Catalog:
    return read_catalogue()


# --- The catalogue ---


def test_the_catalogue_has_exactly_the_messages_of_the_code(catalogue: Catalog) -> None:
    assert CATALOGUE.read_text(encoding="utf-8") == HEADER + as_text(up_to_date(catalogue)), (
        "run `make words`"
    )


def test_every_message_is_translated_and_none_is_doubtful(catalogue: Catalog) -> None:
    left = [message.id for message in catalogue if message.id and not all(sayings(message))]
    assert not left
    assert not [message.id for message in catalogue if message.fuzzy]
    assert not catalogue.obsolete


def test_translations_have_the_same_values(catalogue: Catalog) -> None:
    for message in (each for each in catalogue if each.id):
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        for said in sayings(message):
            assert values_in(said) == values_in(ids[-1]), message.id
            assert said[:1].isspace() == ids[0][:1].isspace(), message.id
            assert said[-1:].isspace() == ids[0][-1:].isspace(), message.id


def test_translations_keep_commands_options_and_settings(catalogue: Catalog) -> None:
    told = re.compile(r"`[^`]*`|--[a-z][a-z-]+|\b[A-Z]+(?:_[A-Z]+)+\b")
    for message in (each for each in catalogue if each.id):
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        for said in sayings(message):
            assert set(told.findall(ids[-1])) <= set(told.findall(said)), message.id


def sayings(message: Any) -> tuple[str, ...]:
    return message.string if isinstance(message.string, tuple) else (message.string,)


def values_in(text: str) -> set[tuple[Any, ...]]:
    return {(name, spec, conversion) for _, name, spec, conversion in Formatter().parse(text) if name}


# --- Nothing is said past it ---

SPOKEN = ("src/fipe_cli", "src/local_cloud")
UNSPOKEN = {
    "src/local_cloud/aws",  # the server, which writes logs
    "src/local_cloud/database_gateway.py",
    "src/local_cloud/database_token.py",  # PostgreSQL's side: it answers programs
    "src/local_cloud/guard.py",
    "src/fipe_cli/imports/rows.py",  # why rows are kept apart, as the database says it
}
SENTENCE = re.compile(r"[a-z]{2,}[,;:.]? [a-z`'\"(]|[a-z]+: ", re.IGNORECASE)
SQL = re.compile(
    r"\s*(select|set|copy|do|declare|order by|from|and|move|create|alter|grant|insert|update|delete|with"
    r"|lock)\b"
)
NOT_SAID = {
    "execute", "SQL", "compile", "search", "match", "fullmatch", "sub", "filter_log_events", "sendall",
    # These take messages of the catalogue, or make ones that nobody is to see.
    "_", "marked", "plural", "counted", "LoadRequestError", "Option", "Argument", "Typer",
}  # fmt: skip
KNOWN = {
    "authentication failed", "PAM authentication failed", "statement timeout",  # what PostgreSQL says
    "could not connect", "Connection refused", "could not translate", "no route",
    "not asked", "no turn",  # states that functions answer
    "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n",
    "default-src 'none'; script-src {}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'",  # noqa: E501
    "does not exist", "Task timed out", "Subprocess exited with error",  # what AWS and the CDK say
    'role "{}" does not exist', "nologin in role pg_monitor, pg_signal_backend",
    "login createrole createdb in role {}", "error: ",
    "case when zero_km then 'sim' else 'não' end", "replace(price_brl::text, '.', ',')", "{} as {}",
}  # fmt: skip


def test_what_people_read_is_in_the_catalogue() -> None:
    past = [
        f"{file.relative_to(ROOT)}:{node.lineno}: {text}"
        for folder in SPOKEN
        for file in sorted((ROOT / folder).rglob("*.py"))
        if not any(str(file.relative_to(ROOT)).startswith(each) for each in UNSPOKEN)
        for node, text in sentences(ast.parse(file.read_text()))
        if text not in KNOWN and not is_a_command(text)
    ]
    assert not past, "wrap them in _() of fipe_words:\n" + "\n".join(past)


def test_messages_are_whole_and_get_their_values() -> None:
    for folder in (*SPOKEN, "src/fipe_api"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for call in calls(ast.parse(file.read_text()), {"_", "plural", "LoadRequestError"}):
                taken = 2 if getattr(call.func, "id", "") == "plural" else 1
                where = f"{file.relative_to(ROOT)}:{call.lineno}"
                given = {keyword.arg for keyword in call.keywords}
                for text in call.args[:taken]:
                    assert not isinstance(text, ast.JoinedStr | ast.BinOp), f"{where}: values go by name"
                    if isinstance(text, ast.Constant) and None not in given:
                        needed = {name for name, _, _ in values_in(text.value)}
                        number = {"number"} if taken == 2 else set()
                        assert needed <= given | number, f"{where}: {text.value}"
                        assert given <= needed, f"{where}: {text.value}"


def sentences(tree: ast.AST) -> Iterator[tuple[Any, str]]:
    """Texts that look like something people read, and that are not in a call that takes messages."""
    if isinstance(tree, ast.Constant | ast.JoinedStr):
        text = text_of(tree)
        if text and SENTENCE.search(text) and not SQL.match(text):
            yield tree, text
        return
    if (
        isinstance(tree, ast.Call)
        and (getattr(tree.func, "id", "") or getattr(tree.func, "attr", "")) in NOT_SAID
    ):
        return
    if isinstance(tree, ast.Expr) and isinstance(tree.value, ast.Constant):  # a docstring
        return
    if isinstance(tree, ast.Assert):
        return
    if isinstance(tree, ast.AnnAssign):
        yield from sentences(tree.value) if tree.value else ()
        return
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.arg):
            yield from sentences(node)


def text_of(node: ast.expr) -> str | None:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(each.value) if isinstance(each, ast.Constant) else "{}" for each in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def is_a_command(text: str) -> bool:
    return re.match(r"`?\s*(make|fipe|aws|export|python) ", text) is not None


def calls(tree: ast.AST, names: set[str]) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in names and node.args:
            yield node


# --- The language ---


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ENGLISH),
        ({"LANG": "pt_BR.UTF-8"}, PORTUGUESE),
        ({"LANG": "pt_PT"}, PORTUGUESE),
        ({"LANG": "C.UTF-8"}, ENGLISH),
        ({"LANG": "de_DE.UTF-8"}, ENGLISH),
        ({"LC_MESSAGES": "pt_BR.UTF-8", "LANG": "en_US.UTF-8"}, PORTUGUESE),
        ({"LC_ALL": "C", "LANG": "pt_BR.UTF-8"}, ENGLISH),
        ({"LC_ALL": "", "LANG": "pt_BR.UTF-8"}, PORTUGUESE),
        ({"LANGUAGE": "pt_BR:pt:en", "LANG": "en_US.UTF-8"}, PORTUGUESE),
        ({"LANGUAGE": "en_US:pt", "LANG": "pt_BR.UTF-8"}, ENGLISH),
        ({"LANGUAGE": "de:pt", "LANG": "de_DE.UTF-8"}, PORTUGUESE),
    ],
)
def test_the_environment_chooses_as_gettext_reads_it(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    assert language_of(environment) == expected
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.setenv(name, environment.get(name, ""))
    assert say(ENGLISH, PORTUGUESE) == expected, "the scripts that run before anything is installed"


def test_lang_is_stronger_than_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Inicia uma carga." in said("--lang", "pt", "load", "--help")
    monkeypatch.setenv("LANGUAGE", "pt_BR")
    assert "Inicia uma carga." in said("load", "--help")
    assert "Start a load." in said("--lang=en", "load", "--help")


def test_an_unknown_language_is_refused() -> None:
    assert "invalid --lang fr: use pt or en" in said("--lang", "fr", "status")


def test_wrong_arguments_are_said_in_portuguese() -> None:
    assert "Não existe o comando 'loda'. Você quis dizer 'load', 'local'?" in said("--lang", "pt", "loda")
    wrong = said("--lang", "pt", "load", "--dry-ru")
    assert "Erro: Não existe a opção --dry-ru (opções parecidas: --dry-run)" in wrong
    assert "Uso: fipe load [OPÇÕES]" in wrong
    assert "Para ver a ajuda, rode 'fipe load --help'." in wrong
    assert "Falta o argumento 'VEHICLE'." in said("--lang", "pt", "price")
    assert "o mínimo é 0" in said("--lang", "pt", "query", "--timeout", "-1", "select 1")


@pytest.mark.usefixtures("portuguese")
@pytest.mark.parametrize("program", [app, local_cloud], ids=["fipe", "local_cloud"])
def test_no_help_is_left_in_english(
    program: Any, monkeypatch: pytest.MonkeyPatch, catalogue: Catalog
) -> None:
    monkeypatch.setenv("LANGUAGE", PORTUGUESE)
    english = {" ".join(getattr(*each).split()) for each in help_texts(get_command(program))}
    english |= {message.id for message in catalogue if message.id in ("Options", "Commands", "Usage: ")}
    same = {message.id for message in catalogue if message.id == message.string}
    for command in ("", *get_command(program).commands):  # type: ignore[attr-defined]
        if command != "psql":
            shown = " ".join(CliRunner().invoke(program, [*command.split(), "--help"]).output.split())
            for text in english - same:
                assert text not in shown, f"{command}: {text}"


def said(*arguments: str) -> str:
    return CliRunner().invoke(app, list(arguments), prog_name="fipe").output


@pytest.mark.usefixtures("portuguese")
def test_numbers_are_written_as_brazilians_do() -> None:
    assert counted(1, "brand") == "1 marca"
    assert counted(0, "brand") == "0 marcas"
    assert counted(50332, "price") == "50.332 preços"
    assert _("{rate:,.0f} calls per minute", rate=1234.5) == "1.234 consultas por minuto"
    assert counted(1_000_000, "model") == "1.000.000 modelos"
    assert shown("price_brl", Decimal("86472.00")) == "86.472,00"
    assert shown("model_year", 2014) == "2014"
    assert shown("reference_month", date(2026, 6, 1)) == "2026-06"
    assert _("the longest init took {seconds:.1f} s", seconds=1234.5).endswith("took 1234,5 s")
    one = plural("{number:,} brand did not arrive", "{number:,} brands did not arrive", 1)
    assert one == "1 marca não chegou"


@pytest.mark.usefixtures("portuguese")
def test_what_programs_read_stays_english() -> None:
    with in_english():
        assert counted(2, "brand") == "2 brands"
        assert language() == ENGLISH
    assert language() == PORTUGUESE
    with pytest.raises(LoadRequestError, match="unknown key 'month': use reference"):
        parse_request({"month": "2026-06"})


@pytest.mark.usefixtures("portuguese")
def test_a_text_that_came_finished_is_understood_by_its_template() -> None:
    text = "Invalid value for '--n': Input should be greater than or equal to 1"
    assert understood_as(text, USAGE_ERRORS) == "Valor inválido para '--n': o mínimo é 1"
    assert understood_as("anything else", USAGE_ERRORS) == "anything else"


def test_every_known_answer_is_one_that_the_functions_give() -> None:
    sources = [
        re.sub(r"'\s*\n\s*'", "", (ROOT / "create_fipe_db.sql").read_text()).replace("''", "'"),
        *(
            text
            for file in (*(ROOT / "src/fipe_api").rglob("*.py"), *(ROOT / "lambda").glob("*.py"))
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Constant | ast.JoinedStr) and (text := text_of(node))
        ),
    ]
    for answer in ANSWERS:
        parts = [part for part, *_ in Formatter().parse(answer)]
        longest = max(parts, key=len)
        short = len(longest) < 12  # as in the lines of FipeLoadStatus, which the next test has
        assert short or any(longest in source for source in sources), answer


@pytest.mark.usefixtures("portuguese")
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "invalid month 'junho': use a month like 2026-06, or latest",
            "mês inválido, 'junho': use um mês como 2026-06, ou latest",
        ),
        (
            "2026-05 is partly loaded, so 2026-06 is compared with 2026-04:"
            " name the month to compare with it",
            "2026-05 só foi carregado em parte, então 2026-06 é comparado com 2026-04:"
            " diga com que mês comparar",
        ),
        (
            "2026-05 is partly loaded, so 2026-06 is compared with nothing:"
            " name the month to compare with it",
            "2026-05 só foi carregado em parte, então 2026-06 é comparado com nada:"
            " diga com que mês comparar",
        ),
        ('relation "fipe.vehicles" does not exist', 'a tabela ou view "fipe.vehicles" não existe'),
        ('relation "cars" does not exist', 'a tabela ou view "cars" não existe'),
        ('syntax error at or near "selec"', 'erro de sintaxe perto de "selec"'),
    ],
)
def test_what_the_database_says_of_a_query_is_said_in_portuguese(said: str, expected: str) -> None:
    assert understood_of_database(said) == expected


@pytest.mark.usefixtures("portuguese")
def test_what_the_system_says_of_a_file_is_said_in_portuguese(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        (tmp_path / "estoque.csv").read_text()
    assert reason_of(caught.value) == "arquivo ou pasta não existe"
    assert reason_of(OSError(5, "Input/output error")) == "Input/output error"


@pytest.mark.usefixtures("portuguese")
def test_the_totals_of_a_fleet_name_their_types_in_portuguese_and_for_programs_in_english() -> None:
    totals = Totals(date(2026, 6, 1), None)
    totals.by_brand["truck", "SCANIA"] = Total(vehicles=1)
    totals.by_brand["", ""] = Total(vehicles=1)
    assert [row[0] for row in totals.table_to_read()[1]] == ["caminhão", "desconhecido", "todos"]
    assert [row["type"] for row in totals.document()["totals"]] == ["truck", "unknown"]


@pytest.mark.usefixtures("portuguese")
def test_what_a_load_lacks_is_said_in_portuguese() -> None:
    assert understood(
        "cars, Fiat: 2 models (Uno, G (GNV)): no usable answer came: see fipe.rejected_answer"
    ) == ("carros, Fiat: 2 modelos (Uno, G (GNV)): não veio resposta aproveitável, veja fipe.rejected_answer")
    row = {"vehicle_type": 3, "brand": "SCANIA", "is_price": True, "models": 1, "named": ["G-410 zero km"]}
    denied = understood(_line({**row, "reason": "FIPE lists it, and denied it nine times"}))
    assert denied == "caminhões, SCANIA: 1 preço (G-410 zero km): a FIPE lista, e negou nove vezes"
    row = {"vehicle_type": 2, "brand": "HONDA", "models": 0}
    cancelled = understood(_line({**row, "reason": "the load was cancelled before its models were known"}))
    assert cancelled == "motos, HONDA: a carga foi cancelada antes de se conhecerem os modelos"


def test_errors_of_a_load_are_said_in_portuguese() -> None:
    said_wrong = said("--lang", "pt", "load", "--reference", "June", "--dry-run")
    assert "reference inválido, 'June': use \"latest\", um mês como 2026-06" in said_wrong


# --- Vehicle types ---


@pytest.mark.parametrize(
    ("written", "codes"),
    [
        ("carro,moto,caminhao", {1, 2, 3}),
        ("Carros, MOTOS, caminhões", {1, 2, 3}),
        ("caminhão", {3}),
        ("motocicletas", {2}),
        ("cars,2", {1, 2}),
    ],
)
def test_vehicle_types_are_understood_in_both_languages(written: str, codes: set[int]) -> None:
    payload = json.loads(json.dumps(payload_of("", written, "", "")))
    assert parse_request(payload).vehicle_types == codes
    assert set(Selection(types=written)._vehicle_types()) == codes


def test_other_vehicle_types_are_refused() -> None:
    assert "tipo de veículo desconhecido, 'barco': use carro, moto, caminhao" in said(
        "--lang", "pt", "load", "--types", "barco"
    )


def test_settings_are_refused_in_portuguese_and_their_files_are_the_projects(tmp_path: Path) -> None:
    look = (
        "import stage_settings, fipe_words; fipe_words.speak('pt'); print(stage_settings.__file__);"
        "print(stage_settings._line({'type': 'missing', 'loc': ('vpc_id',), 'msg': '', 'input': ''}))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", look], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    file, line = ran.stdout.splitlines()
    assert Path(file) == ROOT / "stage_settings.py", "a copy would not see a change"
    assert line == "falta vpc_id: informe a VPC do banco, como vpc-0a1b2c3d"
