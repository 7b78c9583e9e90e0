"""Errors as RFC 9457 `application/problem+json`: our code, the numbers, and what to do. The one table of statuses."""

import difflib
import logging
from collections.abc import Iterable, Mapping
from decimal import Decimal
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

from api.errors import (
    BodyTooLarge,
    BodyTooSlow,
    BodyUnreadable,
    HeadTooLarge,
    HostRefused,
    NotJson,
    NotPermitted,
    OriginRefused,
    TextUnreadable,
    TooManyRequests,
    Unauthorized,
    WrongFields,
)
from api.numbers import write_json
from api.response_headers import headers_of
from domain.denials import DENIALS
from domain.errors import (
    CaseClosed,
    CaseNotFound,
    DeadmanNotArmed,
    ExecutionError,
    FourEyes,
    IdempotencyConflict,
    InvalidRequest,
    KeyNameTaken,
    KeyNotFound,
    LiftNotConfirmed,
    NotAmendable,
    NotHeld,
    NotInDoubt,
    OrderClosed,
    OrderNotFound,
    RateLimited,
    RequestError,
    SwitchNotOn,
    SwitchOfSettings,
    TicketDiffers,
    UnknownAccount,
    UnknownSymbol,
    VenueError,
)
from domain.numbers import GRAMMAR

MEDIA_TYPE: Final = "application/problem+json"
log = logging.getLogger("volex.api")


_STATUSES: Final[Mapping[type[ExecutionError], int]] = {
    BodyUnreadable: 400,
    BodyTooLarge: 413,
    BodyTooSlow: 408,
    HeadTooLarge: 431,
    TextUnreadable: 400,
    NotJson: 415,
    Unauthorized: 401,
    NotPermitted: 403,
    TooManyRequests: 429,
    HostRefused: 421,
    OriginRefused: 403,
    InvalidRequest: 422,
    UnknownAccount: 404,
    UnknownSymbol: 404,
    OrderNotFound: 404,
    IdempotencyConflict: 409,
    OrderClosed: 409,
    CaseNotFound: 404,
    CaseClosed: 409,
    SwitchNotOn: 404,
    SwitchOfSettings: 409,
    LiftNotConfirmed: 409,
    DeadmanNotArmed: 404,
    NotAmendable: 409,
    NotInDoubt: 409,
    NotHeld: 409,
    TicketDiffers: 409,
    KeyNameTaken: 409,
    KeyNotFound: 404,
    FourEyes: 403,
    RequestError: 422,
    RateLimited: 503,
    VenueError: 502,
}


def status_of(error: ExecutionError) -> int:
    """Return the HTTP status: the table's for the nearest class, 503 for weather, 500 for the rest."""
    if isinstance(error, NotAmendable) and error.numbers:
        return 422
    if error.retryable:
        return 503
    return next((_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES), 500)


def problem(
    error: ExecutionError, *, status: int | None = None, order: object | None = None, instance: str | None = None
) -> Response:
    """Answer with an error of ours; `order` is the recorded order where there is one."""
    fields: dict[str, object] = {}
    if isinstance(error, WrongFields):
        fields["errors"] = error.errors
    if order is not None:
        fields["order"] = order
    status = status or status_of(error)
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else {}
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        headers["Retry-After"] = error.numbers.get("retry_after_s", "1")
    return problem_response(
        status,
        code=error.code,
        detail=error.message,
        numbers=error.numbers,
        what_to_do=error.what_to_do,
        instance=instance,
        headers=headers,
        fields=fields,
    )


def problem_response(
    status: int,
    *,
    code: str,
    detail: str,
    numbers: Mapping[str, str] | None = None,
    what_to_do: str,
    instance: str | None = None,
    headers: Mapping[str, str] | None = None,
    fields: Mapping[str, object] | None = None,
) -> Response:
    """Make the answer. Numbers that came as text leave as JSON numbers where they are some."""
    body: dict[str, object] = {
        "type": f"urn:volex:error:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "numbers": as_numbers(numbers or {}),
        "what_to_do": what_to_do,
        **({"instance": instance} if instance is not None else {}),
        **(fields or {}),
    }
    return Response(write_json(body), status, dict(headers or {}), MEDIA_TYPE)


def as_numbers(texts: Mapping[str, str]) -> dict[str, Decimal | str]:
    """Return what is a number by our grammar as one, the rest as it is."""
    return {name: Decimal(text) if GRAMMAR.fullmatch(text) else text for name, text in texts.items()}


def near(word: str, known: Iterable[str]) -> list[str]:
    """Return up to three known names that look like the word."""
    by_shape = {name.lower(): name for name in known}
    return [by_shape[shape] for shape in difflib.get_close_matches(word[:64].lower(), by_shape, n=3, cutoff=0.5)]


def wrong_fields(errors: Iterable[ErrorDetails] | Iterable[Any], *, known: Iterable[str] = ()) -> WrongFields:
    """Turn pydantic's findings into ours; an unknown field is told with the names near it."""
    found: list[Mapping[str, object]] = []
    for error in errors:
        place = [str(part) for part in error["loc"] if part not in ("body", "query", "header", "path")]
        message = error["msg"].removeprefix("Value error, ")
        if error["type"] == "extra_forbidden":
            alike = near(place[0], known)
            message = "no such field" + (f"; did you mean {' or '.join(alike)}?" if alike else "")
        told: dict[str, object] = {"field": ".".join(place) or "body", "message": message}
        if error["type"] in DENIALS:
            told |= {"code": error["type"], "numbers": as_numbers(error["ctx"])}
        found.append(told)
    return WrongFields(found)


def register(app: FastAPI) -> None:
    """Answer every error with a problem."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, ExecutionError)
        answer = problem(error, instance=request.url.path)
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.warning("request_failed", extra={"path": request.url.path, "code": error.code, "text": error.message})
        return answer

    async def parameters(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem(wrong_fields(error.errors()), instance=request.url.path)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        phrase = HTTPStatus(error.status_code).phrase
        return problem_response(
            error.status_code,
            code=phrase.upper().replace(" ", "_"),
            detail=f"{request.method} {request.url.path[:200]}: {phrase.lower()}",
            what_to_do="GET /docs lists what there is.",
            headers=error.headers,
        )

    async def unexpected(request: Request, error: Exception) -> Response:
        log.error("request_crashed", extra={"path": request.url.path, "kind": type(error).__name__})
        return problem_response(
            500,
            code="INTERNAL_ERROR",
            detail="something went wrong on our side",
            what_to_do="Look at the log.",
            # Written outside of the entrance, which gives every other answer its headers.
            headers={name.decode(): value.decode() for name, value in headers_of(request.url.path, request.url.scheme)},
        )

    app.add_exception_handler(ExecutionError, ours)
    app.add_exception_handler(RequestValidationError, parameters)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unexpected)
