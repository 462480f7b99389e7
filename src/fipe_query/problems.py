"""Errors as problem details, application/problem+json. Source: RFC 9457, "Problem Details for HTTP APIs"."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from fipe_query.failures import Failure, answer_failures
from fipe_query.v1_answers import FORMS


class InvalidParameter(BaseModel):
    """What is wrong with one parameter, or with one part of the body."""

    where: str = Field(description="Its place.", examples=["query.limit"])
    detail: str = Field(examples=["Input should be less than or equal to 1000"])


class Problem(BaseModel):
    """Why there is no answer."""

    type: str = Field(default="about:blank")
    title: str = Field(description="What the status means.", examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(
        description="What is wrong.", examples=["there are no prices of 1999-01: /v1/months lists the months"]
    )
    errors: list[InvalidParameter] = Field(default=[], description="All parameters that are wrong.")


class ProblemResponse(JSONResponse):
    """A problem."""

    media_type = "application/problem+json"


def problem(
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: list[InvalidParameter] | None = None,
) -> Response:
    """A response that says what is wrong."""
    told = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=errors or [])
    shown = told.model_dump(exclude=None if errors else {"errors"})
    return ProblemResponse(shown, status, dict(headers or {}))


class DescribedApi(FastAPI):
    """An application whose description has the form of a problem, to which its paths refer."""

    def openapi(self) -> dict[str, Any]:
        """The description. FastAPI makes it anew when a path is added."""
        described = super().openapi()
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        described["components"]["schemas"].update(problem.pop("$defs"), Problem=problem)
        return described


def answer_problems(app: FastAPI) -> None:
    """Have an application answer every error with a problem."""
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    answer_failures(app, _failed)


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How OpenAPI describes these errors of a path."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def _failed(failure: Failure) -> Response:
    return problem(failure.status, failure.detail, failure.headers)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, str(error.detail), error.headers)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    told = ((".".join(map(str, each["loc"])), _what_is_wrong(each)) for each in error.errors())
    # A parameter that two parts of a question ask for is wrong only once.
    errors = [InvalidParameter(where=where, detail=detail) for where, detail in dict.fromkeys(told)]
    named = "; ".join(f"{each.where}: {each.detail}" for each in errors[:5])
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, named, errors=errors[:100])


def _what_is_wrong(error: Mapping[str, Any]) -> str:
    """For people, who cannot read patterns."""
    form = FORMS.get(error.get("ctx", {}).get("pattern"))
    return f"it should be {form}" if form else error["msg"]
