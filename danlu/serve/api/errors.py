"""How the server says no: one JSON shape, OpenAI's, for every error."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route

from danlu.tools.visible import one_line

logger = logging.getLogger(__name__)
MOST_FAULTS = 5  # named in one message


class Problem(BaseModel):
    """What went wrong, for people and for programs."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    error: Problem


class ApiError(HTTPException):
    """A request is refused.

    Args:
        code: a word for programs.
        param: the field that is wrong.
        retry_after_s: when it may be tried again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(status, message, headers)
        self.code, self.param = code, param


def problem(
    status: int, message: str, *, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """The body of an error."""
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def respond(error: HTTPException) -> Response:
    """An error as a response."""
    code, param = (error.code, error.param) if isinstance(error, ApiError) else (None, None)
    body = problem(error.status_code, str(error.detail), code=code, param=param)
    return JSONResponse(body, error.status_code, error.headers)


def install(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Have `app` answer every error in this shape.

    Args:
        routes: of the API.
    """

    async def refused(request: Request, error: Exception) -> Response:
        told = respond(cast(HTTPException, error))
        if told.status_code == 405 and (methods := _methods(routes, request)):
            told.headers["Allow"] = ", ".join(methods)
        return told

    async def misshapen(request: Request, error: Exception) -> Response:
        return respond(validation_error(cast(RequestValidationError, error).errors()))

    async def broken(request: Request, error: Exception) -> Response:
        # The cause goes into the log, which names no content; the client learns nothing of our insides.
        return JSONResponse(problem(500, "the server made a mistake; its log says more"), 500)

    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, misshapen)
    app.add_exception_handler(Exception, broken)


def _methods(routes: Sequence[BaseRoute], request: Request) -> list[str]:
    """What a path may be asked by; of routes that share one, Starlette names those of the first alone."""
    fitting = [each for each in routes if each.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for each in fitting if isinstance(each, Route) for method in each.methods or ()})


def validation_error(faults: Sequence[Mapping[str, Any]]) -> ApiError:
    """A request whose fields are not what they must be. What was sent is not repeated: it may be anything."""
    places = [_place(fault) for fault in faults]
    told = [
        f"{place}: {_fault_of(fault)}" if place else _fault_of(fault)
        for place, fault in zip(places, faults, strict=True)
    ]
    more = f"; and {len(told) - MOST_FAULTS} more" if len(told) > MOST_FAULTS else ""
    text = one_line("; ".join(told[:MOST_FAULTS]), 2000) + more
    return ApiError(422, text, code="invalid_field", param=places[0] or None)


def _fault_of(fault: Mapping[str, Any]) -> str:
    """What is wrong in words; for a tag that is unknown pydantic's would hold what was sent."""
    if fault["type"] == "union_tag_invalid":
        told = fault["ctx"]
        return f"{told['discriminator']} must be one of {told['expected_tags']}"
    return fault["msg"]


def _place(fault: Mapping[str, Any]) -> str:
    path = [str(part) for part in fault["loc"] if part != "body"]
    return one_line(".".join(path), 200)


TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}

_MEANINGS = {
    400: "The request is well formed but cannot be carried out",
    401: "The key is missing or wrong",
    403: "The key may not do this",
    404: "There is no such thing here",
    408: "The body did not come in time",
    409: "It cannot be done while something else is as it is",
    413: "The body is too large",
    415: "The body is not JSON",
    421: "This server is not known under the name in Host",
    422: "A field is missing, unknown, of the wrong type or out of range",
    429: "Too many requests of this key at a time",
    500: "A mistake of the server",
    503: "Too much is waiting, or the server is about to end",
}
# For the description of every route.
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": meaning} for status, meaning in _MEANINGS.items()
}
