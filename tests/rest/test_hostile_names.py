"""Hostile names and paths: contained, and either stored faithfully or refused with a 4xx."""

from __future__ import annotations

import contextlib
import glob
import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import requests
from tests.rest.hostile import HOSTILE
from tests.support.hub import RunningHub, running_hub

from dsx import DatasetHubClient

SECRET = b"the secret beside the data"


@pytest.fixture(scope="module")
def walled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub with a secret beside its dataset root and one inside another dataset."""
    directory = tmp_path_factory.mktemp("walled")
    (directory / "datasets" / "mine").mkdir(parents=True)
    (directory / "datasets" / "mine" / "ok.txt").write_bytes(b"fine")
    (directory / "secret.txt").write_bytes(SECRET)
    (directory / "datasets" / "secret.txt").write_bytes(SECRET)
    (directory / "datasets" / "mine" / "out").symlink_to(directory)
    (directory / "datasets" / "mine" / "leak.txt").symlink_to(directory / "secret.txt")
    with running_hub(directory) as hub:
        yield hub


def outside(hub: RunningHub) -> set[Path]:
    """Every path beside the data directory: none may appear."""
    root = hub.data_dir.parent
    return {path for path in root.rglob("*") if hub.data_dir not in (path, *path.parents)}


def raw_get(hub: RunningHub, target: bytes) -> tuple[int, bytes]:
    """GET *target* exactly as it stands: no client normalises it."""
    parts = urlsplit(hub.url)
    with contextlib.closing(http.client.HTTPConnection(parts.hostname, parts.port)) as connection:
        connection.timeout = 20
        connection._http_vsn_str = "HTTP/1.1"
        connection._validate_path = lambda url: None  # type: ignore[method-assign]
        connection.putrequest("GET", target.decode("latin-1"), skip_accept_encoding=True)
        connection.putheader("Authorization", hub.key)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()


def writable(name: str) -> bool:
    """Whether a file of that name can be written on any client, by the rules of the systems.

    Each part: 1 to 255 bytes, none of the characters that Windows reserves, no dot or space at its
    end (which also excludes ``.`` and ``..``), and before its first dot no device.
    """
    devices = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    devices |= {port + digit for port in ("COM", "LPT") for digit in "0123456789¹²³"}
    return len(name.encode()) <= 1024 and all(
        0 < len(part.encode()) <= 255
        and not any(ord(c) < 32 or ord(c) == 127 or c in '<>:"|?*\\' for c in part)
        and part[-1] not in ". "
        and part.split(".")[0].rstrip(" ").upper() not in devices
        for part in name.split("/")
    )


def test_uploads_are_stored_faithfully_or_refused(walled: RunningHub) -> None:
    before, stored, refused = outside(walled), 0, 0
    with requests.Session() as session:
        session.headers["Authorization"] = walled.key
        for name in HOSTILE:
            data = f"bytes of {name!r}".encode()
            url = f"{walled.url}/api/v1/files?name={quote(name, safe='')}"
            answer = session.post(url, data=data)
            assert answer.status_code == (201 if writable(name) else 400), (name, answer.text)
            if answer.status_code != 201:
                assert answer.headers["Content-Type"] == "application/problem+json"
                refused += 1
                continue
            stored += 1
            record = answer.json()
            assert record["name"] == name
            found = session.get(
                f"{walled.url}/api/v1/files", params={"name": glob.escape(name)}
            ).json()["items"]
            assert [item["name"] for item in found] == [name]
            content = session.get(walled.url + record["url"])
            assert content.content == data
            assert content.headers["Content-Disposition"].startswith("attachment")
    assert stored > 60
    assert refused > 100
    assert outside(walled) == before


@pytest.mark.parametrize("route", ["/file/mine/", "/api/v1/datasets/mine/files/", "/file/"])
def test_dataset_paths_never_leave_the_root(walled: RunningHub, route: str) -> None:
    for name in [*HOSTILE, "out/secret.txt", "leak.txt", "out", "mine/../../secret.txt"]:
        spelt = [quote(name, safe=""), quote(name, safe="/.\\~")]
        for path in dict.fromkeys([*spelt, name.replace("%", "%25") if name.isascii() else ""]):
            if not path or any(ord(c) <= 32 or ord(c) >= 127 for c in path):
                continue
            status, body = raw_get(walled, (route + path).encode())
            assert status != 500, path
            assert 200 <= status < 500, (path, status)
            assert SECRET not in body, path


def test_manifest_paths_of_other_datasets_are_refused(walled: RunningHub) -> None:
    for name in HOSTILE:
        status, body = raw_get(walled, f"/manifest/{quote(name, safe='')}".encode())
        assert 400 <= status < 500, name
        assert SECRET not in body


def test_names_on_disk_come_through_the_sdk(walled: RunningHub, tmp_path: Path) -> None:
    """What the file system can hold is listed, served and cached under the same name."""
    root = walled.dataset_path / "names"
    root.mkdir()
    expected = {}
    for name in HOSTILE:
        with contextlib.suppress(OSError, ValueError):
            if "/" not in name and name not in {".", ".."}:
                (root / name).write_bytes(name.encode())
                expected[name] = name.encode()
    assert len(expected) > 150
    with DatasetHubClient(walled.url, walled.key, cache_dir=tmp_path / "cache") as client:
        assert {entry["path"] for entry in client.get_manifest("names")} == set(expected)
        paths = client.download_dataset("names")
        assert {path.name: path.read_bytes() for path in paths} == expected
        for name, data in list(expected.items())[::10]:
            assert client.get_file_bytes("names", name) == data
    assert {path.name for path in tmp_path.iterdir()} == {"cache"}
