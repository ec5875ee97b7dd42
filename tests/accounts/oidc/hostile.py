"""A provider that does not keep to the rules: what it answers is told by the test."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


class Hostile:
    """Its ID tokens have the right claims, but for *claims*; *document* is what it publishes."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.key, self.others = _key(), _key()
        self.reset()

    def reset(self) -> None:
        """Back to the rules."""
        self.nonce = ""
        self.claims: dict[str, Any] = {}
        self.algorithm, self.secret, self.kid = "RS256", self.key, "one"
        self.token_answer: tuple[int, bytes] | None = None
        self.userinfo: dict[str, Any] | None = None
        self.asked: dict[str, list[str]] = {}

    @property
    def public_pem(self) -> bytes:
        return self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def published(self) -> dict[str, Any]:
        paths = {"authorization_endpoint": "auth", "token_endpoint": "token", "jwks_uri": "jwks"}
        document = {name: f"{self.issuer}/{path}" for name, path in paths.items()}
        return document | {"issuer": self.issuer, "userinfo_endpoint": f"{self.issuer}/userinfo"}

    def keys(self) -> dict[str, Any]:
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [key | {"kid": "one", "use": "sig"}]}

    def id_token(self) -> str:
        now = int(time.time())
        right = {
            "iss": self.issuer,
            "sub": "mallory",
            "aud": "dsx",
            "iat": now,
            "exp": now + 60,
            "nonce": self.nonce,
            "preferred_username": "mallory",
        }
        claims = {key: value for key, value in (right | self.claims).items() if value is not None}
        if self.algorithm == "HS256":  # made by hand: the library refuses a public key as a secret
            return _signed_with_public(claims, self.public_pem, self.kid)
        secret = None if self.algorithm == "none" else self.secret
        return jwt.encode(claims, secret, self.algorithm, headers={"kid": self.kid})

    def answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        if path == "/.well-known/openid-configuration":
            return 200, json.dumps(self.published()).encode()
        if path == "/jwks":
            return 200, json.dumps(self.keys()).encode()
        if path == "/userinfo" and self.userinfo is not None:
            return 200, json.dumps(self.userinfo).encode()
        if path == "/token":
            self.asked = parse_qs(body.decode())
            if self.token_answer is not None:
                return self.token_answer
            tokens = {"access_token": "x", "token_type": "Bearer", "id_token": self.id_token()}
            return 200, json.dumps(tokens).encode()
        return 404, b"{}"


def _signed_with_public(claims: dict[str, Any], pem: bytes, kid: str) -> str:
    def part(value: bytes) -> bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    header = part(json.dumps({"alg": "HS256", "kid": kid}).encode())
    text = header + b"." + part(json.dumps(claims).encode())
    return (text + b"." + part(hmac.new(pem, text, hashlib.sha256).digest())).decode()


@contextmanager
def hostile_provider() -> Iterator[Hostile]:
    """It serves for the length of a block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            status, body = provider.answer(self.path.partition("?")[0], self.rfile.read(length))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider = Hostile(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()
