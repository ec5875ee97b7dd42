"""Retries, Retry-After, authentication, and what failures become."""

from __future__ import annotations

import pickle
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
import requests
from tests.support.faulty import FaultyServer

from dsx import DatasetHubClient, DSXError
from dsx.client import errors, http
from dsx.client.errors import from_response
from dsx.core import errors as core


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_is_tried_again(server: FaultyServer, client: DatasetHubClient, status: int) -> None:
    server.faults.refusals, server.faults.status = 3, status
    assert client.list_datasets() == ["ds"]
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 500, 507])
def test_is_not_tried_again(server: FaultyServer, client: DatasetHubClient, status: int) -> None:
    server.faults.refusals, server.faults.status = 9, status
    with pytest.raises(requests.HTTPError) as caught:
        client.list_datasets()
    assert isinstance(caught.value, DSXError)
    assert caught.value.response.status_code == status
    assert len(server.requests) == 1


def test_gives_up_after_the_retries(server: FaultyServer, client: DatasetHubClient) -> None:
    server.faults.refusals, server.faults.status = 100, 502
    with pytest.raises(core.Unavailable) as caught:
        client.list_datasets()
    assert isinstance(caught.value, requests.HTTPError)
    assert len(server.requests) == 4


@pytest.mark.parametrize("as_date", [False, True])
def test_waits_as_long_as_the_server_asked(
    server: FaultyServer, client: DatasetHubClient, as_date: bool
) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    server.faults.refusals, server.faults.retry_after = 1, date if as_date else "1"
    begun = time.monotonic()
    client.list_datasets()
    assert 0.9 < time.monotonic() - begun < 5


def test_does_not_wait_for_ever(server: FaultyServer, client: DatasetHubClient) -> None:
    server.faults.refusals, server.faults.retry_after = 1, "3600"
    with pytest.raises(core.Unavailable) as caught:
        client.list_datasets()
    assert caught.value.response.headers["Retry-After"] == "3600"


def test_netrc_does_not_replace_the_key(
    server: FaultyServer,
    client: DatasetHubClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    client.list_datasets()
    assert server.requests[0][2]["Authorization"] == "Bearer key"


@pytest.mark.parametrize("kind", core.BY_CODE.values(), ids=list(core.BY_CODE))
def test_every_failure_is_the_core_class_and_a_requests_error(
    server: FaultyServer,
    client: DatasetHubClient,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[DSXError],
) -> None:
    monkeypatch.setattr(http, "_ELSEWHERE", 1)
    server.faults.refusals = 99
    server.faults.status = core.STATUS[kind]
    server.faults.problem = {"code": kind.code, "detail": "Because.", "details": {"why": 1}}
    with pytest.raises(kind, match=r"Because\.") as caught:
        client.list_datasets()
    assert isinstance(caught.value, requests.HTTPError)
    assert caught.value.details == {"why": 1}
    named = errors.Answered if kind is DSXError else getattr(errors, kind.__name__)
    assert type(caught.value) is named


@pytest.mark.parametrize(
    ("status", "builtin"),
    [(404, FileNotFoundError), (403, PermissionError), (401, PermissionError), (400, ValueError)],
)
def test_built_in_exceptions_that_say_the_same(
    server: FaultyServer, client: DatasetHubClient, status: int, builtin: type[Exception]
) -> None:
    server.faults.refusals, server.faults.status = 1, status
    with pytest.raises(builtin):
        client.list_datasets()


@pytest.mark.parametrize("body", [b"", b"null", b"[1]", b"{", b'{"detail": {"x": 1}}'])
def test_answers_that_are_no_problem_document(body: bytes) -> None:
    response = requests.Response()
    response.status_code, response._content, response.reason = 404, body, "Not Found"
    response.headers["Content-Type"] = "application/json"
    assert isinstance(from_response(response), core.NotFound)


def test_failures_reach_a_parent_process_without_the_key(
    server: FaultyServer, client: DatasetHubClient
) -> None:
    with pytest.raises(core.NotFound) as caught:
        client.get_file_bytes("ds", "none")
    pickled = pickle.dumps(caught.value)
    assert b"Bearer" not in pickled
    copy = pickle.loads(pickled)
    assert type(copy) is errors.NotFound
    assert str(copy) == str(caught.value)


def test_a_client_can_be_pickled(
    server: FaultyServer, client: DatasetHubClient, cache: Path
) -> None:
    """As `torch` does with the data set of its workers, where processes are spawned."""
    server.files["a"] = b"alpha"
    client.get_file("ds", "a")
    copy = pickle.loads(pickle.dumps(client))
    server.files["b"] = b"beta"
    assert copy.get_file("ds", "b").read_bytes() == b"beta"
    assert copy.get_cache_size() == 9


def test_names_are_quoted_and_checked(server: FaultyServer, client: DatasetHubClient) -> None:
    odd = "a b/#?%41&+ü漢.txt"
    server.files[odd] = b"odd"
    assert client.get_file_bytes("ds", odd) == b"odd"
    for path in ("../ds", "a/../b", "", "/etc/passwd", "a\0b", "a//b", "."):
        with pytest.raises(core.Invalid):
            client.get_file_bytes("ds", path)
        with pytest.raises(ValueError):
            client.get_file("ds", path)
    for name in ("..", "a/b", "", ".hidden"):
        with pytest.raises(core.Invalid):
            client.get_manifest(name)
    assert len(server.requests) == 1
