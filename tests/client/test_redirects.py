"""M12: redirects in front of the hub: followed where that is safe, else told in one sentence."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.hub import KEY, RunningHub, clean_environment
from tests.support.redirecting import redirecting

from dsx import DatasetHubClient
from dsx.client import errors
from dsx.core.errors import DSXError

STATUSES = [301, 302, 303, 307, 308]
MIB = 1 << 20


def _large(client: DatasetHubClient, tmp_path: Path) -> object:
    path = tmp_path / "large.bin"
    path.write_bytes(b"x" * MIB)
    return client.upload(path)


def _stream(client: DatasetHubClient, tmp_path: Path) -> object:
    path = tmp_path / "stream.bin"
    path.write_bytes(b"y" * 300_000)
    with path.open("rb") as source:
        return client.upload(source, "stream.bin")


CALLS: dict[str, Callable[[DatasetHubClient, Path], object]] = {
    "json": lambda client, _: client.list_datasets(),
    "post json": lambda client, _: client.accounts.create_token("ci"),
    "patch": lambda client, _: client.update("1", category="x"),
    "upload": lambda client, _: client.upload(b"data", "a.bin"),
    "upload of a stream": _stream,
    "upload in parts": _large,
    "download": lambda client, path: client.download("1", path / "out"),
    "file of a dataset": lambda client, _: client.get_file_bytes("ds", "a"),
    "manifest": lambda client, _: client.get_manifest("ds"),
    "delete": lambda client, _: client.delete("1"),
    "tasks": lambda client, _: next(iter(client.tasks.watch("x")), None),
}


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("status", STATUSES)
def test_m12_nothing_goes_to_another_server(tmp_path: Path, status: int) -> None:
    """Each kind of request says where the server wanted it; the other server never sees one."""
    with (
        redirecting(200, "") as other,
        redirecting(status, other.url) as server,
        DatasetHubClient(server.url, "secret", tmp_path / "cache") as client,
    ):
        for name, call in CALLS.items():
            begun = time.monotonic()
            with pytest.raises(errors.Redirected) as caught:
                call(client, tmp_path)
            said = str(caught.value)
            assert f"redirects to {other.url};" in said, name
            assert "set SERVER_URL" in said, name
            assert time.monotonic() - begun < 5, name
            assert isinstance(caught.value, DSXError)
        assert len(server.seen) == len(CALLS)  # and nothing is tried again
        assert other.seen == []


@pytest.mark.parametrize("status", STATUSES)
def test_m12_on_the_same_server_reading_goes_on_and_changing_does_not(
    hub: RunningHub, tmp_path: Path, status: int
) -> None:
    """A front that moves the hub under a path: GET comes through, whole; nothing else does."""
    record = hub.store(f"m12-{status}.bin", b"0123456789")
    with (
        redirecting(status, "/hub", behind=hub.url) as front,
        DatasetHubClient(front.url, hub.key, None) as client,
    ):
        assert client.accounts.whoami().username == "admin"
        info = client.get_info(record["id"])
        assert client.download(info, tmp_path / "a").read_bytes() == b"0123456789"
        assert [found.id for found in client.list_files(record["name"])] == [record["id"]]
        for call in (
            lambda: client.upload(b"data", "m12.bin"),
            lambda: client.delete(record["id"]),
            lambda: client.archive([info] * 101, tmp_path / "z"),
        ):
            with pytest.raises(errors.Redirected, match=f"to {front.url}/hub; set SERVER_URL"):
                call()
        assert all(shown == f"Bearer {KEY}" for _, _, shown, _ in front.seen)
    assert hub.get(f"/api/v1/files/{record['id']}").status_code == 200


def test_m12_a_circle_ends(tmp_path: Path) -> None:
    with (
        redirecting(302, "") as server,
        DatasetHubClient(server.url, "k", tmp_path) as client,
    ):
        server.target = server.url
        with pytest.raises(errors.Redirected, match="too many times"):
            client.list_datasets()
        assert len(server.seen) == 6


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("", "without an address"),
        ("http://[", "without an address"),
        ("file:///etc/passwd", "without an address"),
        ("https://user:pass@sso.example/login?token=secret#x", "https://sso.example/login, which"),
    ],
)
@pytest.mark.parametrize("status", [300, 302, 305])
def test_m12_odd_targets_are_told_without_secrets(
    tmp_path: Path, target: str, said: str, status: int
) -> None:
    with (
        redirecting(status, target, append=False) as server,
        DatasetHubClient(server.url, "k", tmp_path) as client,
    ):
        with pytest.raises(errors.Redirected) as caught:
            client.list_datasets()
        assert (said if status == 302 else "without an address") in str(caught.value)
        assert "pass" not in str(caught.value)
        assert "secret" not in str(caught.value)


def test_m12_an_early_redirect_of_a_large_body_is_told(tmp_path: Path) -> None:
    """The front answers from the head alone and closes, while the client is still sending."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                told = "Location: https://hub.example/api/v1/files?name=a\r\nContent-Length: 0"
                connection.sendall(f"HTTP/1.1 301 Moved\r\n{told}\r\n\r\n".encode())
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(MIB):
                    pass

        thread = threading.Thread(target=answer)
        thread.start()
        with (
            DatasetHubClient(f"http://127.0.0.1:{port}", "k", tmp_path) as client,
            pytest.raises(errors.Redirected, match=r"to https://hub\.example; set SERVER_URL"),
        ):
            client.upload(b"z" * (24 * MIB), "a")
        thread.join(20)


def test_m12_the_command_line_says_it_in_one_line(tmp_path: Path) -> None:
    with redirecting(301, "https://hub.example") as server:
        (tmp_path / "a.bin").write_bytes(b"data")
        environment = clean_environment(
            SERVER_URL=server.url, DSX_API_KEY="k", HOME=str(tmp_path), XDG_STATE_HOME=str(tmp_path)
        )
        for command in (["upload", "a.bin"], ["list"], ["download", "a.bin"], ["whoami"]):
            ended = subprocess.run(
                [sys.executable, "-m", "dsx", *command],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=50,
                check=False,
            )
            assert ended.returncode == 2, (command, ended.stderr)
            assert "redirects to https://hub.example; set SERVER_URL" in ended.stderr
            assert len(ended.stderr.splitlines()) == 1, ended.stderr
