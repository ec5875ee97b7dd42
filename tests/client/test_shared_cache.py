"""Caches that are read only, or a group's (M15): used by somebody who is not root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.another_user import in_another_user
from tests.support.faulty import FaultyServer
from tests.support.systems import posix_only

from dsx import DatasetHubClient


@pytest.fixture
def public(cache: Path) -> Iterator[Path]:
    """The cache, where others may get to, and made by somebody who lets others read."""
    for directory in (cache.parent, *cache.parent.parents):
        if directory.stat().st_uid == os.getuid() and directory != Path("/"):
            directory.chmod(directory.stat().st_mode | 0o055)
    old = os.umask(0o022)
    yield cache
    os.umask(old)


@posix_only
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root can be another")
@pytest.mark.parametrize("state", ["closed", "killed", "open"])
def test_m15_a_complete_cache_is_read_by_who_may_read_it(
    server: FaultyServer, public: Path, state: str
) -> None:
    """Whoever wrote it has closed it, was killed, or is still at it."""
    server.files |= {"a": b"alpha", "b": b"beta"}
    owner = DatasetHubClient(server.url, "key", public)
    if state == "killed":
        child = os.fork()
        if child == 0:
            owner.download_dataset("ds")
            os.kill(os.getpid(), 9)
        os.waitpid(child, 0)
        assert (public / ".dsx-cache.db-wal").stat().st_size > 0
    else:
        owner.download_dataset("ds")
    if state == "closed":
        owner.close()

    def read() -> object:
        with DatasetHubClient(server.url, "key", public) as reader:
            one = reader.get_file("ds", "a").read_bytes()
            every = [path.read_bytes() for path in reader.download_dataset("ds")]
            return one, every, reader.get_cache_size("ds") > 0

    assert in_another_user(read, []) == "(b'alpha', [b'alpha', b'beta'], True)"
    server.files["a"] = b"changed"
    for call in (
        lambda: DatasetHubClient(server.url, "key", public).get_file("ds", "a"),
        lambda: DatasetHubClient(server.url, "key", public).download_dataset("ds"),
        lambda: DatasetHubClient(server.url, "key", public).clear_cache(),
    ):
        told = in_another_user(call, [])
        assert " True The cache " in told, told
        assert str(public) in told
    owner.close()


@posix_only
@pytest.mark.skipif(os.name == "posix" and os.geteuid() != 0, reason="only root can be another")
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_m15_a_groups_cache_works_for_the_group(
    server: FaultyServer, public: Path, umask: int
) -> None:
    group = 54321
    public.mkdir()
    os.chown(public, 0, group)
    public.chmod(0o2775)
    server.files |= {"x/a": b"alpha", "x/b": b"beta"}
    old = os.umask(umask)
    try:
        with DatasetHubClient(server.url, "key", public) as owner:
            owner.download_dataset("ds")
            server.files |= {"x/a": b"changed", "x/y/c": b"gamma"}

            def update() -> object:
                with DatasetHubClient(server.url, "key", public) as other:
                    return [path.read_bytes() for path in other.download_dataset("ds")]

            found = in_another_user(update, [group], umask)
            assert found == "[b'changed', b'beta', b'gamma']", found
            server.files["x/y/c"] = b"delta"
            assert owner.get_file("ds", "x/y/c").read_bytes() == b"delta"
    finally:
        os.umask(old)
