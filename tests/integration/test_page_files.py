"""The page's files over HTTP: what the browser may do with them, and that the API's paths stay its own."""

from collections.abc import Iterator

import pytest

from tests.api_server import Api, serving


@pytest.fixture(scope="module")
def api(postgres_dsn: str) -> Iterator[Api]:
    # No question is asked, so the database needs no schema.
    with serving(postgres_dsn) as running:
        yield running


def test_the_page_comes_with_rules_for_the_browser(api: Api) -> None:
    for path in ("/", "/page/page.js", "/page/shared/charts.js", "/page/words.json", "/page/icon.svg"):
        answer = api.get(path)
        assert answer.status_code == 200, path
        policy = dict(
            rule.strip().split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["connect-src"] == "'self'"
        assert "unsafe" not in str(policy)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Set-Cookie" not in answer.headers


def test_a_browser_asks_whether_its_files_are_still_right(api: Api) -> None:
    first = api.get("/page/shared/charts.js")
    assert first.headers["Content-Encoding"] == "gzip"
    again = api.get("/page/shared/charts.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/page/",
        "/page/nothing.js",
        "/page/..%2findex.html",
        "/page/%2e%2e/application.py",
        "/page/shared",
        "/nothing",
    ],
)
def test_there_is_nothing_else(api: Api, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_the_page_takes_no_path_and_no_method_of_the_api(api: Api) -> None:
    assert api.get("/v1/valuations").status_code == 405
    assert api.post("/").status_code == 405
    assert "/" not in api.get("/openapi.json").json()["paths"]
