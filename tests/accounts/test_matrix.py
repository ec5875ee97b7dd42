"""Every route as everybody: nobody gets what is not theirs, and nothing of it shows."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from fastapi import APIRouter
from fastapi.routing import APIRoute
from tests.accounts.expected import EXPECTED, OPERATIONS, UNLISTED
from tests.accounts.operation import Op
from tests.accounts.world import DATASET, MARK, OPEN_FILE, OWNER, Answer, Thing, World
from tests.support.hub import RunningHub, running_hub

import dsx.dialects
import dsx.protocols

SAFE = {"GET", "HEAD", "OPTIONS"}
STRANGERS = ("nobody", "other", "expired", "limited", "link", "disabled", "placed")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "LOCK")
PAGES = ("/openapi.json", "/docs", "/redoc", "/docs/assets/favicon.png")


@dataclass(frozen=True)
class Route:
    """A method on a path, and how to ask it."""

    id: str
    method: str
    path: str
    op: Op

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("matrix")
    dataset = directory / "datasets" / DATASET
    dataset.mkdir(parents=True)
    (dataset / OPEN_FILE).write_text(f"{MARK} of a dataset")
    with running_hub(directory, DSX_OPEN_DATASETS="0", DSX_SIGNUP="invite") as hub:
        world = World(hub)
        yield world
        world.wire.close()
        failures = [line for line in hub.log.read_text().splitlines() if '"level": "error"' in line]
        assert failures == []


@pytest.fixture(scope="module")
def routes(world: World) -> list[Route]:
    """All there are; those without a row in the table are missing from it."""
    return [*listed(world.hub), *unlisted()]


def listed(hub: RunningHub) -> Iterator[Route]:
    schema = requests.get(f"{hub.url}/openapi.json", timeout=30).json()
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            id_ = operation["operationId"]
            op = OPERATIONS.get(id_, Op("unknown"))
            yield Route(id_, method.upper(), path, op)
            if method == "get" and "head" not in methods:  # which is not told, for it is the same
                yield Route(id_, "HEAD", path, op)


def unlisted() -> Iterator[Route]:
    told = {(route.path, route.name) for _, route in _routes() if route.include_in_schema}
    for name, route in _routes():
        if not route.include_in_schema and (route.path, route.name) not in told:
            id_ = f"{name}.{route.name}"
            for method in sorted(route.methods):
                yield Route(id_, method, route.path, UNLISTED.get(id_, Op("unknown")))


def _routes() -> Iterator[tuple[str, APIRoute]]:
    for package in (dsx.protocols, dsx.dialects):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            router = getattr(importlib.import_module(module.name), "router", None)
            for route in router.routes if isinstance(router, APIRouter) else ():
                if isinstance(route, APIRoute):
                    yield module.name.rpartition(".")[2], route


def ask(world: World, who: str, route: Route, thing: Thing, ref: str) -> Answer:
    """Ask *route* about *thing*, called *ref*, as *who*."""
    words = {"ref": ref, "also": thing.also, "fresh": world.fresh(), "user": OWNER}
    path = _filled(route, thing, ref or words["fresh"])
    if route.op.query:
        path += "?" + _said(route.op.query, words)
    headers = world.people[who] | route.op.headers
    body = None if route.op.data is None else _said(route.op.data, words).encode()
    if route.op.json is not None:
        headers = headers | {"Content-Type": "application/json"}
        body = _said(json.dumps(route.op.json), words).encode()
    return world.wire.send(route.method, path, headers, body)


def _said(text: str, words: dict[str, str]) -> str:
    for key, value in words.items():
        text = text.replace("{" + key + "}", value)
    return text


def _filled(route: Route, thing: Thing, ref: str) -> str:
    places = ("id", "name", "name:path", "dataset", "link", "user", "ref", "task_id")
    words = dict.fromkeys(places, ref) | {
        "offset": "0",
        "version": "1",
        "path": thing.also or OPEN_FILE,
    }
    words["path:path"] = words["path"]
    return _said(route.path, words)


def expected(who: str, route: Route) -> int:
    """What *who* should be answered."""
    row = EXPECTED[route.op.need]
    if who == "cookie" and row["nobody"] != 200 and route.method not in SAFE:
        return 403
    return row["owner"] if who in {"cookie", "session"} else row[who]


def test_every_route_is_in_the_table(routes: list[Route]) -> None:
    assert [str(route) for route in routes if route.op.need == "unknown"] == []
    assert (OPERATIONS | UNLISTED).keys() == {route.id for route in routes}


def test_everybody_gets_what_is_theirs(world: World, routes: list[Route]) -> None:
    wrong = []
    for route in routes:
        for who in world.people if route.op.need in EXPECTED else ():
            thing = world.make(route.op.thing)
            answer, wanted = ask(world, who, route, thing, thing.ref), expected(who, route)
            got = 200 if 200 <= answer.status < 300 else answer.status
            if got != wanted:
                wrong.append(
                    f"{route} as {who}: {answer.status}, not {wanted}: {answer.body[:150]!r}"
                )
            if who in STRANGERS and wanted != 200 and MARK in _told(answer, thing):
                wrong.append(f"{route} tells {who} of it: {answer.body[:300]!r}")
    if wrong:
        pytest.fail("\n".join(["", *wrong]))


def _once(world: World, who: str, route: Route) -> Answer:
    thing = world.make(route.op.thing)
    return ask(world, who, route, thing, thing.ref)


def _told(answer: Answer, thing: Thing) -> str:
    """What is said that was not asked with."""
    said = "".join(f"{key}{value}" for key, value in answer.headers.items())
    said += answer.body.decode("latin-1")
    return said.replace(thing.ref, "") if thing.ref else said


def test_what_is_anothers_looks_as_if_it_were_not(world: World, routes: list[Route]) -> None:
    wrong = []
    for route in routes:
        for who in ("other", "limited", "link", "placed", "admin"):
            if not route.op.thing or expected(who, route) != 404:
                continue
            thing = world.make(route.op.thing)
            nothing = _shape(ask(world, who, route, thing, thing.never), thing.never)
            for ref in filter(None, [thing.ref, thing.also.isdecimal() and thing.also]):
                found = _shape(ask(world, who, route, thing, ref), ref)
                if found != nothing:
                    wrong.append(f"{route} as {who}: {found} differs from {nothing}")
    if wrong:
        pytest.fail("\n".join(["", *wrong]))


def _shape(answer: Answer, ref: str) -> tuple[Any, ...]:
    # An answer closes the connection if it comes before the end of the body: a matter of timing.
    varying = {"date", "content-length", "connection"}
    headers = {key: value for key, value in answer.headers.items() if key not in varying}
    body = re.sub(rb"\b%s\b" % re.escape(ref.encode()), b"X", answer.body)
    return answer.status, sorted(headers.items()), body


def test_lists_show_nothing_of_others(world: World, routes: list[Route]) -> None:
    for kind in ("file", "trashed", "upload", "task", "download", "share", "token"):
        world.make(kind)
    lists = [route for route in routes if route.method == "GET" and "list" in route.op.need]
    assert len(lists) > 8
    for route in lists:
        for who in ("other", "limited", "placed"):
            if route.id == "list_received" and who == "other":
                continue
            answer = _once(world, who, route)
            assert MARK.encode() not in answer.body, (str(route), who, answer.body[:500])
    answer = _once(world, "link", next(route for route in lists if route.id == "list_files"))
    assert len(json.loads(answer.body)["items"]) == 1


def test_methods_that_are_not_there(world: World, routes: list[Route]) -> None:
    for template in {route.path for route in routes}:
        path = re.sub("{.*?}", "some-thing", template)
        methods = {route.method for route in routes if _pattern(route.path).fullmatch(path)}
        for method in METHODS:
            for who in ("nobody", "owner", "admin") if method not in methods else ():
                answer = world.wire.send(method, path, world.people[who])
                assert answer.status in {404, 405}, (method, path, who, answer)
                assert method == "HEAD" or answer.body, (method, path)


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(
        re.sub("{(path|.*:path)}", ".*", template).replace("{", "(?P<").replace("}", ">[^/]+)")
    )


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_open_and_take_nothing(world: World, path: str) -> None:
    assert world.wire.send("GET", path, {}).status == 200
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert world.wire.send(method, path, world.people["admin"]).status in {404, 405}


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"])
def test_a_header_changes_no_method(world: World, header: str) -> None:
    thing = world.make("file")
    path = f"/api/v1/files/{thing.ref}"
    reader = world.people["reader"]
    assert world.wire.send("POST", path, reader | {header: "DELETE"}).status in {404, 405}
    assert world.wire.send("GET", path, world.people["owner"] | {header: "DELETE"}).status == 200
    assert world.wire.send("GET", path, reader).status == 200
