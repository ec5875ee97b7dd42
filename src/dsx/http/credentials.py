"""Reads who is asking out of a request; `dsx.hub.access` decides what that is worth."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param

from dsx.core.model import Principal
from dsx.hub.services import Hub

# Coroutines, though they await nothing: FastAPI runs plain functions in a worker thread.


async def get_hub(request: Request) -> Hub:
    """The hub this application serves."""
    hub: Hub = request.app.state.hub
    return hub


_bearer = HTTPBearer(
    auto_error=False, scheme_name="API key", description="`Bearer KEY`, or the bare `KEY`."
)


async def get_principal(
    request: Request,
    hub: Annotated[Hub, Depends(get_hub)],
    _documented: Annotated[object, Security(_bearer)],
) -> Principal:
    """Who is asking, by the ``Authorization`` header: ``Bearer K`` (RFC 6750) or the bare ``K``."""
    return hub.access.identify(_credential(request.headers.get("authorization")))


def _credential(header: str | None) -> str | None:
    if not header:
        return None
    scheme, parameter = get_authorization_scheme_param(header)
    return parameter.strip() if scheme.lower() == "bearer" else header.strip()


HubDep = Annotated[Hub, Depends(get_hub)]
PrincipalDep = Annotated[Principal, Depends(get_principal)]
