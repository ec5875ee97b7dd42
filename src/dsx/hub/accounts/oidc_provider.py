"""An OpenID Provider: its discovery document, its keys, its claims about users.

Everything here blocks: `dsx.hub.accounts.oidc_sign_in` calls it in threads of its own. Only the
issuer's discovery document is trusted about the provider, and only a signed ID token about a user.
"""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
import requests
import structlog

from dsx.core.errors import Denied, Invalid, Unavailable

log = structlog.get_logger(__name__)

_TIMEOUT = (5.0, 10.0)
_FRESH = 600.0  # seconds for which the provider's documents are cached
_LEEWAY = 30  # seconds by which its clock may differ
_SCOPE = "openid profile email"
_ALGORITHMS = [f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)]
_ALGORITHMS.append("EdDSA")  # no HMAC: a shared secret does not prove the issuer
_REQUIRED = ["iss", "sub", "aud", "exp", "iat"]
_LONGEST_SUBJECT = 255  # characters, OpenID Connect Core §2
_FAILED = "The provider's response could not be verified; sign in again."


@dataclass(frozen=True, slots=True)
class Registration:
    """The hub's registration at a provider; a client without a secret is a public one."""

    issuer: str
    client_id: str
    client_secret: str | None


@dataclass(frozen=True, slots=True)
class Exchange:
    """Values that the provider must return unchanged or prove to know."""

    redirect_uri: str
    state: str
    nonce: str
    verifier: str


def check_installed() -> None:
    """Raise `Invalid`, with advice, if the optional package for OpenID Connect is missing."""
    try:
        import authlib  # noqa: F401, PLC0415 (an extra)
    except ModuleNotFoundError:
        raise Invalid(
            "DSX_OIDC_ISSUER needs a package that is not installed: pip install 'dsx-hub[oidc]'"
        ) from None


class Provider:
    """One provider. Thread-safe."""

    def __init__(self, registration: Registration) -> None:
        check_installed()
        self._registration = registration
        self._lock = threading.Lock()
        self._document: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, list[jwt.PyJWK]] | None = None

    @property
    def issuer(self) -> str:
        """The provider's issuer identifier."""
        issuer: str = self._metadata()["issuer"]
        return issuer

    def authorization_url(self, exchange: Exchange) -> str:
        """Return the URL where a browser signs in."""
        with self._session(exchange) as session:
            url, _ = session.create_authorization_url(
                self._endpoint("authorization_endpoint"),
                state=exchange.state,
                nonce=exchange.nonce,
                code_verifier=exchange.verifier,
            )
        return str(url)

    def claims(self, exchange: Exchange, code: str) -> dict[str, Any]:
        """Return the verified claims about the user who came back with *code*.

        `Denied` if the code or the ID token is invalid; `Unavailable` if the provider does not
        respond.
        """
        from authlib.integrations.base_client import OAuthError  # noqa: PLC0415 (an extra)

        with self._session(exchange) as session:
            try:
                answer = session.fetch_token(
                    self._endpoint("token_endpoint"),
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=exchange.verifier,
                    allow_redirects=False,  # it carries the secret
                    timeout=_TIMEOUT,
                )
            except OAuthError as error:
                raise _refusal(error.error) from None
            except (requests.RequestException, ValueError) as error:
                raise _silent(error) from error
            claims = self._verified(str(answer.get("id_token") or ""), exchange.nonce)
            return self._completed(session, claims)

    def _completed(self, session: Any, claims: dict[str, Any]) -> dict[str, Any]:
        """Return *claims*, with those that are only available from the userinfo endpoint."""
        metadata = self._metadata()
        if "preferred_username" in claims or "userinfo_endpoint" not in metadata:
            return claims
        more = _read(session, metadata["userinfo_endpoint"], withhold_token=False)
        if more.get("sub") != claims["sub"]:
            raise Denied(_FAILED)
        return {**more, **claims}

    def _verified(self, token: str, nonce: str) -> dict[str, Any]:
        """Return the claims of an ID token (OpenID Connect Core §3.1.3.7), else raise `Denied`."""
        try:
            identifier = jwt.get_unverified_header(token).get("kid")
            claims = self._decoded(token, self._keys_for(identifier))
        except (jwt.PyJWTError, TypeError, ValueError) as error:
            log.warning("ID token rejected", error=repr(error))
            raise Denied(_FAILED) from None
        audience, party = claims["aud"], claims.get("azp")
        several = isinstance(audience, list) and len(audience) > 1
        if party != self._registration.client_id and (several or party is not None):
            raise Denied(_FAILED)
        if not hmac.compare_digest(str(claims.get("nonce")).encode(), nonce.encode()):
            raise Denied(_FAILED)
        if not isinstance(claims["sub"], str) or not 0 < len(claims["sub"]) <= _LONGEST_SUBJECT:
            raise Denied(_FAILED)
        return claims

    def _decoded(self, token: str, keys: list[jwt.PyJWK]) -> dict[str, Any]:
        failure: Exception = jwt.InvalidKeyError("the token names no key of the issuer")
        for key in keys:
            try:
                return jwt.decode(
                    token,
                    key.key,
                    algorithms=_ALGORITHMS,
                    audience=self._registration.client_id,
                    issuer=self.issuer,
                    leeway=_LEEWAY,
                    options={"require": _REQUIRED},
                )
            except (jwt.InvalidSignatureError, jwt.InvalidKeyError, TypeError) as error:
                failure = error
        raise failure

    def _keys_for(self, identifier: str | None) -> list[jwt.PyJWK]:
        """Return the issuer's keys with that id; fetches them again if none is known."""
        for known in (self._keys, None):
            self._keys = known if known and _fresh(known[0]) else self._fetched_keys()
            found = [key for key in self._keys[1] if identifier in (None, key.key_id)]
            if found:
                return found
        return []

    def _fetched_keys(self) -> tuple[float, list[jwt.PyJWK]]:
        with requests.Session() as session:
            answer = _read(session, self._endpoint("jwks_uri"))
        keys = jwt.PyJWKSet.from_dict(answer).keys
        return time.monotonic(), [key for key in keys if key.public_key_use in {None, "sig"}]

    def _endpoint(self, name: str) -> str:
        endpoint = self._metadata().get(name)
        if not isinstance(endpoint, str):
            raise Unavailable(f"The provider publishes no {name}: check DSX_OIDC_ISSUER.")
        return endpoint

    def _metadata(self) -> Mapping[str, Any]:
        """Return the issuer's discovery document (OpenID Connect Discovery §4)."""
        with self._lock:
            if self._document is None or not _fresh(self._document[0]):
                issuer = self._registration.issuer.rstrip("/")
                with requests.Session() as session:
                    found = _read(session, f"{issuer}/.well-known/openid-configuration")
                if str(found.get("issuer")).rstrip("/") != issuer:
                    raise Unavailable(
                        f"{issuer} identifies itself as {found.get('issuer')!r}: set "
                        "DSX_OIDC_ISSUER to the provider's exact spelling."
                    )
                self._document = time.monotonic(), found
            return self._document[1]

    def _session(self, exchange: Exchange) -> Any:
        from authlib.integrations.requests_client import OAuth2Session  # noqa: PLC0415 (an extra)

        methods = self._metadata().get("token_endpoint_auth_methods_supported")
        secret = self._registration.client_secret
        basic = methods is None or "client_secret_basic" in methods
        method = "client_secret_basic" if basic else "client_secret_post"
        return OAuth2Session(
            self._registration.client_id,
            secret,
            token_endpoint_auth_method=method if secret else "none",
            scope=_SCOPE,
            redirect_uri=exchange.redirect_uri,
            code_challenge_method="S256",
        )


def _read(session: requests.Session, url: str, **more: Any) -> dict[str, Any]:
    """Return the JSON object at *url*; `Unavailable` if there is none."""
    try:
        answer = session.get(url, timeout=_TIMEOUT, **more)
        answer.raise_for_status()
        found = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise _silent(error) from error
    if not isinstance(found, dict):
        raise Unavailable("The provider's response is not a JSON object.")
    return found


def _refusal(code: str) -> Denied | Unavailable:
    """Map the provider's refusal to exchange a code to a failure of the sign-in."""
    if code == "invalid_grant":
        return Denied("This sign-in was already used or has expired; start again.")
    log.error("the OpenID provider rejected the hub", error=code)
    return Unavailable(
        f"The provider rejected this hub ({code}): check DSX_OIDC_CLIENT_ID and "
        "DSX_OIDC_CLIENT_SECRET."
    )


def _silent(error: Exception) -> Unavailable:
    log.warning("no response from the OpenID provider", error=repr(error))
    return Unavailable("The provider is not responding; try again later.")


def _fresh(since: float) -> bool:
    return time.monotonic() - since < _FRESH
