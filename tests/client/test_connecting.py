"""Addresses where no hub is to be found: each gets a sentence of its own, and soon."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from pathlib import Path

import pytest
import requests
from tests.support.certificates import self_signed
from tests.support.hub import RunningHub
from tests.support.listening import listening, says, silent, speaking_both

from dsx import DatasetHubClient
from dsx.client import connecting, errors

JSON = "application/json"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return self_signed(tmp_path_factory.mktemp("tls"))


def failure(url: str, **more: object) -> errors.DSXError:
    client = DatasetHubClient(url, "secret-key", None, **more)  # type: ignore[arg-type]
    with client, pytest.raises(errors.DSXError) as caught:
        list(client.list_files())
    assert "secret-key" not in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def test_https_to_a_port_of_http(hub: RunningHub) -> None:
    told = failure(hub.url.replace("http:", "https:"))
    assert isinstance(told, errors.WrongAddress)
    assert f"use {hub.url}." in str(told)


def test_http_to_a_port_of_https_that_breaks_off(certificate: tuple[Path, Path]) -> None:
    with listening(says(200, JSON, b"[]"), certificate) as url:
        told = failure(url.replace("https:", "http:"))
    assert isinstance(told, errors.WrongAddress)
    assert f"use {url}." in str(told)


def test_http_to_a_port_of_https_that_answers_in_plain_text(
    certificate: tuple[Path, Path],
) -> None:
    """As nginx and Go's servers do."""
    with speaking_both(certificate) as port:
        told = failure(f"http://127.0.0.1:{port}")
    assert isinstance(told, errors.WrongAddress)
    assert f"use https://127.0.0.1:{port}." in str(told)


def test_a_certificate_that_nobody_signed(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0

    def answer(request: object) -> None:
        nonlocal count
        count += 1
        says(200, JSON, b'{"items": [], "next": null}')(request)  # type: ignore[arg-type]

    with listening(answer, certificate) as url:
        told = failure(url)
        assert isinstance(told, requests.exceptions.SSLError)
        assert "self-signed" in str(told)
        assert "DSX_CA_FILE" in str(told)
        assert count == 0
        with DatasetHubClient(url, None, None, ca_file=certificate[0]) as client:
            assert list(client.list_files()) == []
        monkeypatch.setenv("DSX_CA_FILE", str(certificate[0]))
        with DatasetHubClient(url, None, None) as client:
            assert list(client.list_files()) == []
        other = failure(url.replace("127.0.0.1", "localhost"))
        assert "not trusted" in str(other)  # it is for another name


def test_what_is_wrong_with_tls_is_not_tried_again(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    (tmp_path / "a").write_bytes(b"x")
    with (
        listening(says(200, JSON, b"[]"), certificate) as url,
        DatasetHubClient(url, None, None) as client,
    ):
        with pytest.raises(errors.Untrusted):
            client.get_info("x")
        with pytest.raises(errors.Untrusted):
            client.upload(tmp_path / "a")
    assert waits == []


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (200, "text/html", b"<html>Welcome to nginx!</html>"),
        (200, JSON, b"[]"),
        (200, JSON, b'{"items": [{"name": "x"}], "next": null}'),
        (200, JSON, b"not JSON"),
        (404, "text/html", b"<html>404</html>"),
        (404, JSON, b'{"detail": "Not Found"}'),
        (405, "text/plain", b""),
        (501, "text/html", b""),
    ],
)
def test_a_host_that_is_no_hub(status: int, content_type: str, body: bytes) -> None:
    with listening(says(status, content_type, body)) as url:
        told = failure(url)
        client = DatasetHubClient(url, None, None)
        if body != b"[]":  # which is a manifest
            with pytest.raises(errors.DSXError, match="DSX Hub"):
                client.get_manifest("ds")
        client.close()
    assert "DSX Hub" in str(told)


def test_a_hub_that_has_no_such_file_is_still_one(hub: RunningHub) -> None:
    client = DatasetHubClient(hub.url, hub.key, None)
    with client, pytest.raises(errors.NotFound) as caught:
        client.get_by_id(999_999_999)
    assert "address" not in str(caught.value)


def test_waiting_for_a_connection_is_told_within_two_seconds() -> None:
    told: list[float] = []
    said = threading.Event()

    def notify(_text: str) -> None:
        told.append(time.monotonic())
        said.set()

    def ask() -> None:
        with contextlib.suppress(errors.Silent):
            client.list_datasets()

    with silent() as url:
        begun = time.monotonic()
        client = DatasetHubClient(url, None, None, timeout=(4, 4), retries=0, notify=notify)
        thread = threading.Thread(target=ask)
        thread.start()
        assert said.wait(30)
        thread.join()
    assert told[0] - begun >= connecting.PATIENCE
    assert len(told) == 1


def test_trying_again_is_told_once_for_each_outage(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the log, which a program that does nothing about it shows on standard error."""
    monkeypatch.setattr("dsx.client.http._BACKOFF", 0.4)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        waits: list[float] = []
        monkeypatch.setattr(time, "sleep", waits.append)
        client = DatasetHubClient(url, None, None)
        with caplog.at_level(logging.WARNING), client, pytest.raises(errors.Unreachable):
            client.list_datasets()
    (record,) = caplog.records
    assert record.getMessage().startswith(f"Cannot reach {url}")
    assert record.getMessage().endswith("Retrying.")
    assert len(waits) == 5
