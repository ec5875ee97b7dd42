"""H1: no body is read before its sender is known, and none beyond its bound, on any route."""

from __future__ import annotations

import json

import pytest
from tests.http.bodies import JSON, Asked, json_routes, routes_with_bodies
from tests.support.hub import RunningHub
from tests.support.memory import cpu_seconds
from tests.support.wire import Answer, status_value, wire

MIB = 1024 * 1024
HUGE = 200_000_000
OPEN = {  # where nobody has to be anybody yet
    "/api/v1/users",
    "/api/v1/session",
    "/api-token-auth/",
    "/create_account",
}


def ask(hub: RunningHub, route: Asked, *fields: str, body: bytes = b"", known: bool) -> Answer:
    """The answer to *route*; a "100 Continue" would fail the test: then it wants the body."""
    lines = [f"{route.method} {route.path} HTTP/1.1", "Host: hub", *fields]
    lines += [f"Authorization: Bearer {hub.key}"] if known else []
    with wire(hub) as connection:
        connection.send("\r\n".join([*lines, "", ""]).encode() + body)
        return connection.answer()


def test_h1_strangers_are_refused_before_their_body(hub: RunningHub) -> None:
    routes = list(routes_with_bodies(hub))
    assert len(routes) > 30
    for route in routes:
        wanted = 413 if route.template in OPEN else 401
        fields = [f"Content-Length: {HUGE}", f"Content-Type: {route.kind}"]
        answer = ask(hub, route, *fields, "Expect: 100-continue", known=False)
        assert answer.status == wanted, (route, answer)
        assert answer.headers["connection"] == "close", route


def test_h1_json_is_bounded_by_what_is_announced(hub: RunningHub) -> None:
    for route in json_routes(hub):
        limit = bound(route)
        fields = [f"Content-Length: {limit + 1}", f"Content-Type: {JSON}", "Expect: 100-continue"]
        answer = ask(hub, route, *fields, known=True)
        assert answer.status == 413, (route, answer)
        assert f'"limit":{limit}'.encode() in answer.body, route


def test_h1_json_is_bounded_where_nothing_is_announced(hub: RunningHub) -> None:
    for route in json_routes(hub):
        chunk = b'["' + b"x" * (bound(route) - 1)
        body = f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n"
        fields = ["Transfer-Encoding: chunked", f"Content-Type: {JSON}"]
        answer = ask(hub, route, *fields, body=body, known=True)  # the next chunk never comes
        assert answer.status == 413, (route, answer)


def bound(route: Asked) -> int:
    """What the body of a route may have, in bytes."""
    if route.template.endswith("/pack"):
        return 8 * MIB
    return 64 * 1024 if route.template in OPEN else MIB


HOSTILE = {
    "deep lists": b"[" * 500_000,
    "deep objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "many lists": b'{"ids":[' + b"[]," * 19_000 + b"[]]}",
    "many lists for paths": b'{"paths":[' + b"[]," * 19_000 + b"[]]}",
    "many members": b"{" + b",".join(b'"k%d":1' % n for n in range(5_000)) + b"}",
    "half a pair": b'{"name":"\\ud800"}',
    "half a pair as a key": b'{"\\udfff":1,"metadata":{"\\udfff":1}}',
    "half a pair deep inside": b'{"metadata":{"a":["\\ud800"]},"tags":["\\ud800"]}',
    "no UTF-8": b'{"name":"\xff"}',
    "no number": b'{"length":NaN,"metadata":{"a":Infinity}}',
    "a long number": b'{"length":' + b"9" * 60_000 + b"}",
    "nothing in particular": b"null",
    "bytes": bytes(range(256)),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_h1_hostile_json_is_refused_at_once(hub: RunningHub, hostile: str) -> None:
    """And small: lone surrogates in JSON were 500 on three routes."""
    for route in json_routes(hub):
        limit = bound(route)
        body = HOSTILE[hostile][:limit]
        fields = [f"Content-Length: {len(body)}", f"Content-Type: {JSON}"]
        begun = cpu_seconds(hub)
        answer = ask(hub, route, *fields, body=body, known=True)
        accepted = body == b"null" and 200 <= answer.status < 300  # an optional body
        assert 400 <= answer.status < 500 or accepted, (route, answer)
        assert cpu_seconds(hub) - begun < 0.5, (route, hostile)


def test_a_lone_surrogate_in_any_field_is_refused(hub: RunningHub) -> None:
    """Small: half of a pair was 500 on three routes."""
    document = hub.get("/openapi.json").json()
    schemas, asked = document["components"]["schemas"], 0
    for route in json_routes(hub):
        operation = document["paths"][route.template][route.method.lower()]
        shown = json.dumps(operation["requestBody"]["content"][JSON]["schema"])
        model = schemas[shown.split("#/components/schemas/")[1].split('"')[0]]
        given = model["examples"][0] if "examples" in model else {}
        for field in model["properties"]:
            body = json.dumps(given | {field: "\ud800"}).encode()
            fields = [f"Content-Length: {len(body)}", f"Content-Type: {JSON}"]
            answer = ask(hub, route, *fields, body=body, known=True)
            assert 400 <= answer.status < 500, (route, field, answer)
            asked += 1
    assert asked > 50


def test_a_lone_surrogate_in_metadata_is_refused(hub: RunningHub) -> None:
    """Small: in JSON within a query, too."""
    for text in ('{"a":"\\ud800"}', '{"\\udfff":1}'):
        answer = hub.post("/api/v1/files", params={"name": "a", "metadata": text}, data=b"a")
        assert answer.status_code == 400, answer.text
        both = {"file": ("a", b"a"), "metadata": (None, text)}
        assert hub.post("/api/v1/files", files=both).status_code == 400
    for path in ("/api-token-auth/", "/create_account"):
        answer = hub.post(path, json={"username": "\ud800", "password": "\ud800"})
        assert answer.status_code == 400, answer.text


FORMS = ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b"]
SMALL_FORMS = ["/api-token-auth/", "/create_account", "/storage/tmp-upload/1/"]


@pytest.mark.parametrize("path", SMALL_FORMS)
@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b"]
)
def test_h1_small_forms_are_bounded(hub: RunningHub, path: str, kind: str) -> None:
    route = Asked("POST", path, path, kind)
    announced = f"Content-Length: {64 * 1024 + 1}"
    answer = ask(hub, route, announced, f"Content-Type: {kind}", "Expect: 100-continue", known=True)
    assert answer.status == 413, answer
    field = b'--b\r\nContent-Disposition: form-data; name="%d"\r\n\r\n' + b"x" * 9_000 + b"\r\n"
    body = b"".join(field.replace(b"%d", b"%d" % number) for number in range(8))
    body = body if kind.startswith("multipart") else b"a=" + b"x" * 64 * 1024
    chunked = b"%x\r\n" % len(body) + body + b"\r\n"
    fields = ["Transfer-Encoding: chunked", f"Content-Type: {kind}"]
    assert ask(hub, route, *fields, body=chunked, known=True).status == 413


def test_h1_the_fields_of_an_upload_form_are_bounded_together(hub: RunningHub) -> None:
    field = b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\n' + b"x" * 60_000 + b"\r\n"
    body = field * 20
    chunked = b"%x\r\n" % len(body) + body + b"\r\n"
    kind = "Content-Type: multipart/form-data; boundary=b"
    for path in ("/upload", "/upload_chunk", "/api/v1/files?name=x"):
        route = Asked("POST", path, path, kind)
        fields = ["Transfer-Encoding: chunked", kind]
        assert ask(hub, route, *fields, body=chunked, known=True).status == 413, path


def test_h1_what_strangers_send_takes_no_memory(hub: RunningHub) -> None:
    """200 MB to ``/api/v1/session``: 628 MB more than before."""
    before = status_value(hub, "VmRSS")
    chunk = b"%x\r\n" % MIB + b" " * MIB + b"\r\n"
    for path in ("/api/v1/session", "/api/v1/users", "/create_account"):
        route = Asked("POST", path, path, JSON)
        fields = ["Transfer-Encoding: chunked", f"Content-Type: {JSON}"]
        assert ask(hub, route, *fields, body=chunk * 20, known=False).status == 413
    assert status_value(hub, "VmRSS") - before < 16 * 1024  # KiB
