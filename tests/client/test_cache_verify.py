"""D4: bytes of the cache that have become wrong, with size and time as before, are found."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tests.support.faulty import FaultyServer
from tests.support.systems import posix_only

from dsx import DatasetHubClient
from dsx.client import errors, verifying


@pytest.fixture
def filled(server: FaultyServer, client: DatasetHubClient) -> list[Path]:
    """A cache with some files."""
    server.files |= {f"sub/{number}": bytes([number]) * 5000 for number in range(6)}
    return client.download_dataset("ds")


def rot(path: Path) -> None:
    """Change a byte, and neither size nor time."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(17)
        file.write(b"!")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def right(server: FaultyServer, cache: Path) -> bool:
    return all((cache / "ds" / path).read_bytes() == data for path, data in server.files.items())


def test_d4_a_wrong_byte_is_found_and_mended(
    server: FaultyServer, client: DatasetHubClient, cache: Path, filled: list[Path]
) -> None:
    rot(filled[3])
    client.download_dataset("ds")
    assert not right(server, cache)
    verified = client.verify_cache("ds")
    assert (verified.files, verified.wrong, verified.lost) == (6, ["ds/sub/3"], [])
    assert right(server, cache)
    assert client.verify_cache().wrong == []


def test_d4_fetch_can_verify_what_it_would_not_transfer(
    server: FaultyServer, client: DatasetHubClient, cache: Path, filled: list[Path]
) -> None:
    rot(filled[1])
    rot(filled[4])
    fetch = client.fetch_dataset("ds", ["sub/1", "sub/2"], verify=True)
    assert fetch.wrong == ["sub/1"]
    assert not right(server, cache)
    assert client.fetch_dataset("ds", verify=True).wrong == ["sub/4"]
    assert client.fetch_dataset("ds").wrong == []
    assert right(server, cache)


def test_d4_what_was_wrong_when_it_came_is_found_once_there_is_a_digest(
    server: FaultyServer, client: DatasetHubClient, cache: Path
) -> None:
    """The manifest's SHA-256 counts, not that of what was received."""
    server.files["a"] = b"a" * 5000
    server.faults.digests = server.faults.hashed = False
    server.faults.corruptions = 1
    client.get_file("ds", "a")
    assert not right(server, cache)
    server.faults.hashed = True
    assert client.verify_cache("ds").wrong == ["ds/a"]
    assert right(server, cache)


def test_d4_a_wrong_manifest_is_found(
    server: FaultyServer, client: DatasetHubClient, cache: Path, filled: list[Path]
) -> None:
    rot(cache / "ds_manifest.json")
    assert client.verify_cache("ds").wrong == ["ds_manifest.json"]
    assert len(client.get_manifest("ds")) == 6


def test_d4_without_the_server_the_wrong_ones_go_and_that_is_told(
    server: FaultyServer, cache: Path, filled: list[Path]
) -> None:
    rot(filled[2])
    with (
        DatasetHubClient("http://127.0.0.1:9", "key", cache, retries=0) as away,
        pytest.warns(errors.CacheWarning, match="may be out of date"),
        pytest.warns(errors.CacheWarning, match="could not be fetched"),
    ):
        verified = away.verify_cache()
    assert (verified.wrong, verified.lost) == (["ds/sub/2"], ["ds/sub/2"])
    assert not filled[2].exists()


def test_d4_a_wrong_file_that_the_dataset_has_no_more_is_lost(
    server: FaultyServer, client: DatasetHubClient, filled: list[Path]
) -> None:
    rot(filled[2])
    del server.files["sub/2"]
    with pytest.warns(errors.CacheWarning, match="could not be fetched"):
        assert client.verify_cache().lost == ["ds/sub/2"]


@posix_only
def test_d4_what_cannot_be_read_and_what_is_no_file_is_wrong(
    server: FaultyServer,
    client: DatasetHubClient,
    cache: Path,
    filled: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    filled[0].unlink()
    filled[0].symlink_to(filled[1])
    filled[5].unlink()  # somebody did not want it: that is not wrong
    read = verifying.open_file

    def failing(path: Path, flags: int) -> int:
        if path == filled[2]:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read(path, flags)

    monkeypatch.setattr(verifying, "open_file", failing)
    verified = client.verify_cache("ds")
    assert (verified.files, sorted(verified.wrong)) == (5, ["ds/sub/0", "ds/sub/2"])
    monkeypatch.undo()
    client.download_dataset("ds")
    assert right(server, cache)
