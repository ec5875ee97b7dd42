"""M11: what proxies say of a request is understood, from trusted ones alone."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Message, Scope

from dsx.http.credentials import address_of
from dsx.http.forwarded import Told, Trust, told
from dsx.http.proxies import Proxies, Site
from dsx.http.public import root_of, url_of

LOOPBACK = ("127.0.0.0/8", "::1/128")
TRUST = Trust.of([*LOOPBACK, "10.0.0.0/8", "fd00::/8"])
Fields = dict[str, str] | list[tuple[str, str]]


def headers(fields: Fields) -> list[tuple[bytes, bytes]]:
    pairs = fields.items() if isinstance(fields, dict) else fields
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in pairs]


def said(**fields: str) -> Told:
    """What is understood of fields, whose names are written with underscores."""
    raw = headers({name.replace("_", "-"): value for name, value in fields.items()})
    return told(Headers(raw=raw), TRUST)


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("10.0.0.1, 10.0.0.2", "10.0.0.1"),
        ("6.6.6.6, unknown", None),
        ("6.6.6.6, , 10.0.0.2", "6.6.6.6"),
        ("6.6.6.6, _hidden, 10.0.0.2", "10.0.0.2"),
        ("not an address", None),
        ("", None),
        ("1.2.3.4.5", None),
        (", ".join(["6.6.6.6"] * 5000 + ["203.0.113.9"]), "203.0.113.9"),
    ],
)
def test_m11_the_client_is_who_asked_the_outermost_trusted_proxy(
    chain: str, client: str | None
) -> None:
    assert said(x_forwarded_for=chain).client == client
    nodes = [one.strip() for one in chain.split(",") if one.strip()]
    by_rfc = ", ".join(f'for="{node}"' for node in nodes)
    if "." in chain or "[" in chain:
        assert said(forwarded=by_rfc).client == client


@pytest.mark.parametrize(
    ("fields", "scheme"),
    [
        ({"x_forwarded_proto": "https"}, "https"),
        ({"x_forwarded_proto": "HTTPS"}, "https"),
        # Nobody says how many of ours there are: only what the nearest one added is to be believed.
        ({"x_forwarded_proto": "https, http"}, "http"),
        ({"x_forwarded_proto": "https,http", "x_forwarded_for": "203.0.113.9, 10.0.0.1"}, "https"),
        # What the client made up stands left of what the trusted proxies say.
        (
            {
                "x_forwarded_proto": "https, http, http",
                "x_forwarded_for": "6.6.6.6, 203.0.113.9, 10.0.0.1",
            },
            "http",
        ),
        ({"x_forwarded_proto": "javascript"}, None),
        ({"x_forwarded_proto": ""}, None),
        ({"forwarded": "for=203.0.113.9;proto=https"}, "https"),
        ({"forwarded": 'For="203.0.113.9" ; Proto="https", for=10.0.0.1;proto=http'}, "https"),
        ({"forwarded": "for=6.6.6.6;proto=https, for=203.0.113.9;proto=http"}, "http"),
        ({"forwarded": "proto"}, None),
        ({"forwarded": 'proto="https'}, None),
    ],
)
def test_m11_the_scheme(fields: dict[str, str], scheme: str | None) -> None:
    assert said(**fields).scheme == scheme


@pytest.mark.parametrize(
    ("fields", "host"),
    [
        ({"x_forwarded_host": "lab.example"}, "lab.example"),
        ({"x_forwarded_host": "lab.example:8443"}, "lab.example:8443"),
        ({"x_forwarded_host": "evil.example, lab.example"}, "lab.example"),
        (
            {"x_forwarded_host": "lab.example, in", "x_forwarded_for": "203.0.113.9, 10.0.0.1"},
            "lab.example",
        ),
        # The nearest proxy adds to one list and begins the other anew.
        (
            {"x_forwarded_host": "evil.example, lab.example", "x_forwarded_for": "203.0.113.9"},
            "lab.example",
        ),
        (
            {
                "x_forwarded_host": "lab.example",
                "x_forwarded_for": "6.6.6.6, 203.0.113.9, 10.0.0.1",
            },
            "lab.example",
        ),
        ({"x_forwarded_host": "lab.example", "x_forwarded_port": "8443"}, "lab.example:8443"),
        ({"x_forwarded_host": "lab.example:1", "x_forwarded_port": "2"}, "lab.example:1"),
        (
            {
                "x_forwarded_host": "lab.example",
                "x_forwarded_port": "443",
                "x_forwarded_proto": "https",
            },
            "lab.example",
        ),
        (
            {
                "x_forwarded_host": "lab.example",
                "x_forwarded_port": "443",
                "x_forwarded_proto": "http",
            },
            "lab.example:443",
        ),
        ({"host": "lab.example", "x_forwarded_port": "8443"}, "lab.example:8443"),
        ({"x_forwarded_host": "[2001:db8::1]:80"}, "[2001:db8::1]:80"),
        ({"x_forwarded_host": "evil.example/path"}, None),
        ({"x_forwarded_host": "a@evil.example"}, None),
        ({"x_forwarded_host": "lab.example", "x_forwarded_port": "x"}, "lab.example"),
        ({"forwarded": 'host="lab.example:8443"'}, "lab.example:8443"),
        ({"forwarded": 'host="lab.\\example"'}, "lab.example"),
    ],
)
def test_m11_the_host(fields: dict[str, str], host: str | None) -> None:
    assert said(**fields).host == host


@pytest.mark.parametrize(
    ("value", "prefix"),
    [
        ("/hub", "/hub"),
        ("/hub/", "/hub"),
        ("hub", "/hub"),
        ("/outer, /inner", "/outer/inner"),
        ("/", ""),
        ("//evil.example", ""),
        ("/../x", ""),
        ("/a b", ""),
        ("https://evil.example", ""),
        ('/"><script>', ""),
    ],
)
def test_m11_the_prefix(value: str, prefix: str) -> None:
    assert said(x_forwarded_prefix=value).prefix == prefix


def shown(fields: Fields, peer: str | None = "127.0.0.1", path: str = "/x", **site: Any) -> Any:
    """The status, and what a request looks like behind the middleware."""

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        request = Request(scope)
        seen = {
            "url": url_of(request, "/s/1"),
            "base": str(request.base_url),
            "path": request.url.path,
            "root": root_of(request),
            "client": address_of(request),
        }
        await JSONResponse(seen)(scope, receive, send)

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    scope: Scope = {
        "type": "http",
        "http_version": site.pop("version", "1.1"),
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers(fields),
        "client": None if peer is None else (peer, 1),
        "server": ("127.0.0.1", 8000),
    }
    settings = {"public_url": "", "root_path": "", "proxies": LOOPBACK} | site
    middleware = Proxies(app, Site.of(**settings), own={"api", "storage", "docs"})
    asyncio.run(middleware(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


FORGED = {
    "Host": "hub:8000",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Port": "81",
    "Forwarded": "for=6.6.6.6;host=evil.example;proto=https",
}


@pytest.mark.parametrize("peer", ["203.0.113.9", "10.0.0.1", "2001:db8::1", "not-an-address"])
def test_m11_strangers_are_not_believed(peer: str) -> None:
    status, seen = shown(FORGED, peer)
    assert (status, seen["url"], seen["client"]) == (200, "http://hub:8000/s/1", peer)
    assert seen["root"] == ""


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", None])
def test_m11_proxies_on_this_machine_are_believed_unless_told_otherwise(peer: str | None) -> None:
    _, seen = shown(FORGED, peer)
    assert (seen["url"], seen["client"]) == ("https://evil.example:81/evil/s/1", "6.6.6.6")
    _, seen = shown(FORGED, peer, proxies=())
    assert seen["url"] == "http://hub:8000/s/1"
    _, seen = shown(FORGED, "10.2.3.4", proxies=("10.0.0.0/8",))
    assert seen["client"] == "6.6.6.6"


def test_m11_a_public_url_is_what_counts() -> None:
    for peer in ("127.0.0.1", "203.0.113.9"):
        _, seen = shown(FORGED, peer, public_url="https://lab.example/hub")
        assert seen["url"] == "https://lab.example/hub/s/1"
        assert seen["base"] == "https://lab.example/hub/"
        assert seen["client"] == ("6.6.6.6" if peer == "127.0.0.1" else peer)


@pytest.mark.parametrize(
    ("site", "fields", "path", "want"),
    [
        ({"root_path": "/hub"}, {}, "/api/v1/x", "/hub/api/v1/x"),
        ({"root_path": "/hub"}, {}, "/hub/api/v1/x", "/hub/api/v1/x"),
        ({"root_path": "/hub"}, {}, "/hub", "/hub"),
        ({"root_path": "/hub"}, {}, "/hubs/x", "/hub/hubs/x"),
        ({}, {"X-Forwarded-Prefix": "/hub"}, "/docs", "/hub/docs"),
        ({}, {"X-Forwarded-Prefix": "/hub"}, "/hub/docs", "/hub/docs"),
        # Where the hub has such paths itself, the proxy has to strip its own.
        ({"root_path": "/storage"}, {}, "/storage/files/", "/storage/storage/files/"),
    ],
)
def test_m11_a_path_may_come_with_or_without_the_root(
    site: dict[str, str], fields: dict[str, str], path: str, want: str
) -> None:
    _, seen = shown({"Host": "h", **fields}, path=path, **site)
    assert seen["path"] == want


@pytest.mark.parametrize(
    ("fields", "version", "status"),
    [
        ([], "1.1", 400),
        ([("Host", "a"), ("Host", "a")], "1.1", 400),
        ([("Host", "a"), ("Host", "b")], "1.0", 400),
        ([("Host", "a b")], "1.1", 400),
        ([("Host", "a,b")], "1.1", 400),
        ([("Host", "a/b")], "1.1", 400),
        ([("Host", "[::1]:80")], "1.1", 200),
        ([("Host", "")], "1.1", 200),
        ([], "1.0", 200),
    ],
)
def test_m11_a_request_says_once_for_which_host_it_is(
    fields: Fields, version: str, status: int
) -> None:
    got, body = shown(fields, version=version)
    assert got == status
    if status == 400:
        assert body["code"] == "invalid"
    else:
        assert body["url"].endswith("/s/1")
