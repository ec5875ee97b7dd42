"""The principals that credentials stand for."""

from __future__ import annotations

from dsx.core.principals import OF_ROLE, SERVICE, Principal, Token, User


def service(address: str = "") -> Principal:
    """Return the principal of a configured API key."""
    return Principal(SERVICE, name=SERVICE, scopes=OF_ROLE["admin"], address=address)


def principal_of(user: User, token: Token | None = None, address: str = "") -> Principal:
    """Return the principal of *user*, limited to what both the role and a *token* allow."""
    allowed = OF_ROLE[user.role]
    return Principal(
        id=user.id,
        name=user.name,
        number=user.number,
        scopes=allowed if token is None else allowed & token.scopes,
        places=None if token is None else token.places,
        partial=token is not None and not allowed <= token.scopes,
        expires=None if token is None or token.kind == "session" else token.expires,
        via="" if token is None else token.id,
        address=address,
        generation=user.generation,
    )
