"""Failures as RFC 9457 problem documents, the same for every route outside the dialects."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from dsx.core.disk import meaning
from dsx.core.errors import (
    STATUS,
    DSXError,
    Elsewhere,
    Invalid,
    NotFound,
    RangeUnsatisfiable,
    TooLarge,
    Unauthenticated,
    Unprocessable,
    Unsupported,
)
from dsx.http.credentials import address_of
from dsx.redaction import shown_path

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
_BEARER = 'Bearer realm="dsx"'
_CHALLENGES = f'Basic realm="dsx", charset="UTF-8", {_BEARER}'
_TYPE = "tag:dsx-hub,2026:{code}"


class Problem(BaseModel):
    """A failure, for programs (``code``, ``details``) and people (``detail``)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "tag:dsx-hub,2026:not_found",
                    "title": "Not Found",
                    "status": 404,
                    "detail": "There is no file 42.",
                    "code": "not_found",
                    "retryable": False,
                    "details": {},
                }
            ]
        }
    )

    type: str = Field(description="URI of the kind of problem.")
    title: str = Field(description="The HTTP reason phrase.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong and what to do, for a person.")
    code: str = Field(description="Stable name of the kind of problem, for programs.")
    retryable: bool = Field(description="Whether the same request may succeed later.")
    details: dict[str, Any] = Field(description="Facts about this failure.")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI ``responses`` for the problems of a route."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


def render(error: DSXError) -> JSONResponse:
    """The response for *error*."""
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = _CHALLENGES
    if isinstance(error, RangeUnsatisfiable):
        headers["Content-Range"] = f"bytes */{error.details['size']}"
    if isinstance(error, Elsewhere):  # so that a retry may reach another server
        headers["Connection"] = "close"
    if isinstance(error, Unsupported):
        headers["Accept-Encoding"] = error.details["accept_encoding"]
    if error.retryable:
        headers["Retry-After"] = str(error.details.get("retry_after", 1))
    return _document(STATUS[type(error)], error, headers)


def as_message(error: DSXError, fields: Mapping[str, str]) -> bytes:
    """Render *error* as the bytes of a response to a connection closed unread.

    *fields*: additional header fields.
    """
    answer = render(error)
    answer.headers.update({"x-content-type-options": "nosniff", "connection": "close", **fields})
    head = b"".join(b"%s: %s\r\n" % field for field in answer.raw_headers)
    phrase = HTTPStatus(answer.status_code).phrase
    status = f"HTTP/1.1 {answer.status_code} {phrase}\r\n".encode()
    return b"".join((status, head, b"\r\n", bytes(answer.body)))


def _document(status: int, error: DSXError, headers: Mapping[str, str]) -> JSONResponse:
    body = {
        "type": _TYPE.format(code=error.code),
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.message,
        "code": error.code,
        "retryable": error.retryable,
        "details": error.details,
    }
    return JSONResponse(body, status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every failure of *app* with a problem document."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        schemas = schema.setdefault("components", {}).setdefault("schemas", {})
        schemas.setdefault("Problem", Problem.model_json_schema())
        return schema

    app.openapi = openapi  # type: ignore[method-assign]

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> JSONResponse:
        return render(Invalid("The connection broke during the request."))

    @app.exception_handler(DSXError)
    async def designed(request: Request, error: DSXError) -> JSONResponse:
        note_refusal(request, error)
        answer = render(error)
        if request.headers.get("sec-fetch-dest") == "empty" and error.code == "unauthenticated":
            # A script sent it and shows a form of its own: keep the browser from prompting.
            answer.headers["WWW-Authenticate"] = _BEARER
        answer.headers.update(getattr(request.state, "headers", {}))
        return answer

    @app.exception_handler(OSError)
    async def failing(_: Request, error: OSError) -> JSONResponse:
        found = meaning(error)
        if found is None:
            raise error
        log.error("a disk is full or fails", error=str(error))
        return render(found)

    @app.exception_handler(RequestValidationError)
    async def rejected(_: Request, error: RequestValidationError) -> JSONResponse:
        return render(_unprocessable(error))

    @app.exception_handler(HTTPException)
    async def routing(_: Request, error: HTTPException) -> JSONResponse:
        return _routing(error)


def unforeseen(path: str, error: Exception) -> JSONResponse:
    """Log *error*, raised by a request for *path*, and return the response."""
    log.error("unforeseen failure", path=shown_path(path), exc_info=error)
    return render(DSXError("Internal server error. See the server's log."))


def note_refusal(request: Request, error: DSXError) -> None:
    """Record *error* in the audit log if it is a refusal."""
    if not error.refused:
        return
    endpoint = getattr(request.scope.get("endpoint"), "__name__", "unmatched")
    request.app.state.hub.accounts.audit.refused(
        getattr(request.state, "principal", None), address_of(request), endpoint, error.code
    )


def _unprocessable(error: RequestValidationError) -> DSXError:
    found = [
        {"field": ".".join(str(part) for part in item["loc"]), "message": item["msg"]}
        for item in error.errors()[:20]
    ]
    first = found[0]
    return Unprocessable(f"{first['field']}: {first['message']}", {"errors": found})


def _routing(error: HTTPException) -> JSONResponse:
    """Convert Starlette's failures of routing (404, 405) and of body parsing."""
    kind = {404: NotFound, 413: TooLarge}.get(error.status_code, Invalid)
    return _document(error.status_code, kind(str(error.detail)), error.headers or {})
