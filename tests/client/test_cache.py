"""The cache: what it trusts, what it refuses, and who may use it at once."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest
import requests
from tests.support.faulty import FaultyServer
from tests.support.systems import posix_only

from dsx import DatasetHubClient
from dsx.client import errors
from dsx.client.cache import Cache
from dsx.client.locks import lock_file
from dsx.core import errors as core
from dsx.core.errors import DSXError


def test_a_truncated_file_is_fetched_again(server: FaultyServer, client: DatasetHubClient) -> None:
    server.files["a"] = b"alpha"
    path = client.get_file("ds", "a")
    path.write_bytes(b"alp")
    assert client.get_file("ds", "a").read_bytes() == b"alpha"
    path.write_bytes(b"ALPHA")  # same size, another time
    os.utime(path, ns=(1, 1))
    assert client.download_dataset("ds") == [path]
    assert path.read_bytes() == b"alpha"
    path.unlink()
    assert client.get_file("ds", "a").read_bytes() == b"alpha"


def test_files_of_other_origin_are_not_trusted(
    server: FaultyServer, client: DatasetHubClient, cache: Path
) -> None:
    server.files["a"] = b"alpha"
    (cache / "ds").mkdir(parents=True)
    (cache / "ds" / "a").write_bytes(b"other")
    assert client.get_file("ds", "a").read_bytes() == b"alpha"


def test_revalidates_with_one_cheap_request(server: FaultyServer, cache: Path) -> None:
    server.files["a"] = b"alpha"
    client = DatasetHubClient(server.url, "key", cache, revalidate=0)
    client.get_file("ds", "a")
    client.get_file("ds", "a")
    assert len(server.requests) == 2
    assert server.requests[1][2]["If-None-Match"] == f'"{server.etag("a")}"'
    patient = DatasetHubClient(server.url, "key", cache, revalidate=300)
    patient.get_file("ds", "a")
    assert len(server.requests) == 2
    server.files["a"] = b"changed"
    assert client.get_file("ds", "a").read_bytes() == b"changed"


def test_a_clock_that_went_back_does_not_freeze_the_cache(
    server: FaultyServer, client: DatasetHubClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["a"] = b"alpha"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 10_000)
    client.get_file("ds", "a")
    monkeypatch.setattr(time, "time", lambda: now)
    client.get_file("ds", "a")
    assert len(server.requests) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_cannot_answer_leaves_the_copy(
    server: FaultyServer, cache: Path, status: int
) -> None:
    client = DatasetHubClient(server.url, "key", cache, revalidate=0)
    server.files["a"] = b"alpha"
    client.download_dataset("ds")
    server.requests.clear()
    server.faults.refusals, server.faults.status = 2, status
    with pytest.warns(errors.CacheWarning, match="may be out of date") as told:  # noqa: PT031
        assert client.get_file("ds", "a").read_bytes() == b"alpha"
        assert len(client.get_manifest("ds")) == 1
    assert len(server.requests) == 2
    assert [warning.filename for warning in told] == [__file__]  # once, and as from here


def test_a_dead_server_is_asked_once_not_for_every_file(cache: Path, server: FaultyServer) -> None:
    server.files |= {f"{number}": b"x" for number in range(20)}
    client = DatasetHubClient(server.url, "key", cache, revalidate=0)
    client.download_dataset("ds")
    asked = []

    def refuse(*args: object, **_: object) -> None:
        asked.append(args)
        raise requests.ConnectionError

    client._connection._session.request = refuse  # type: ignore[assignment,method-assign]
    with pytest.warns(errors.CacheWarning) as told:  # noqa: PT031
        assert len(client.download_dataset("ds")) == 20
        for number in range(20):
            assert client.get_file("ds", f"{number}").read_bytes() == b"x"
    assert len(asked) == len(told) == 1
    with pytest.raises(requests.ConnectionError, match="is the server running"):
        DatasetHubClient("http://127.0.0.1:9", "k", cache, retries=0).get_file("ds", "new")


@pytest.mark.parametrize(
    "path", ["../../evil", "a/../../evil", "/etc/evil", "a/./b", "a//b", "", "a\0", "\ud800"]
)
def test_hostile_manifests_are_refused_before_anything_is_written(
    server: FaultyServer, client: DatasetHubClient, tmp_path: Path, path: str
) -> None:
    server.files["good"] = b"good"
    server.manifest_paths = ["good", path]
    with pytest.raises(core.Invalid) as caught:
        client.download_dataset("ds")
    assert isinstance(caught.value, ValueError)
    assert not (tmp_path / "cache" / "ds").exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["cache"]


@posix_only
@pytest.mark.parametrize("link", ["ds", "ds/sub"])
def test_links_out_of_the_cache_are_not_followed(
    server: FaultyServer, client: DatasetHubClient, cache: Path, tmp_path: Path, link: str
) -> None:
    outside = tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    (cache / link).parent.mkdir(parents=True)
    (cache / link).symlink_to(outside)
    server.files |= {"sub/a": b"a", "sub/b": b"b"}
    for call in (lambda: client.get_file("ds", "sub/a"), lambda: client.download_dataset("ds")):
        with pytest.raises(errors.Invalid, match="leads out"):
            call()
    assert [path for path in outside.rglob("*") if path.is_file()] == []
    assert client.clear_cache() == client.get_cache_size() + cache_manifest(server)


def cache_manifest(server: FaultyServer) -> int:
    """The size of the manifest as the cache keeps it."""
    import json  # noqa: PLC0415

    answer = requests.get(f"{server.url}/api/v1/datasets/ds/manifest", timeout=5)
    return len(json.dumps(answer.json()))


@posix_only
def test_a_link_in_the_place_of_a_file_is_replaced(
    server: FaultyServer, client: DatasetHubClient, cache: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    (cache / "ds").mkdir(parents=True)
    (cache / "ds" / "a").symlink_to(precious)
    server.files["a"] = b"alpha"
    path = client.get_file("ds", "a")
    assert (path.read_bytes(), path.is_symlink()) == (b"alpha", False)
    assert precious.read_bytes() == b"precious"


def test_a_file_where_a_directory_has_to_be(server: FaultyServer, client: DatasetHubClient) -> None:
    server.files["a"] = b"alpha"
    client.get_file("ds", "a")
    server.files = {"a/b": b"beta"}
    with pytest.raises(errors.Conflict, match="clear the cache"):
        client.get_file("ds", "a/b")
    client.clear_cache("ds")
    assert client.get_file("ds", "a/b").read_bytes() == b"beta"
    server.files = {"a": b"alpha"}
    with pytest.raises(errors.Conflict, match="clear the cache"):
        client.get_file("ds", "a")


def test_clearing_deletes_what_was_written_and_nothing_else(
    server: FaultyServer, client: DatasetHubClient, cache: Path
) -> None:
    server.files |= {"x/a": b"a" * 10, "x/y/b": b"b" * 20}
    client.download_dataset("ds")
    (cache / "ds" / "x" / "mine").write_bytes(b"mine")
    (cache / "mine.txt").write_bytes(b"mine")
    size = client.get_cache_size()
    assert size == 30 + (cache / "ds_manifest.json").stat().st_size
    assert client.clear_cache() == size
    assert client.get_cache_size() == 0
    left = {path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file()}
    assert {name for name in left if not name.startswith(".")} == {"ds/x/mine", "mine.txt"}
    assert not (cache / "ds" / "x" / "y").exists()


def test_an_empty_cache_is_not_made_by_looking(cache: Path) -> None:
    client = DatasetHubClient("http://127.0.0.1:9", "key", cache)
    assert (client.get_cache_size(), client.clear_cache()) == (0, 0)
    assert not cache.exists()


def test_a_damaged_index_costs_a_download_not_an_error(server: FaultyServer, cache: Path) -> None:
    server.files["a"] = b"alpha"
    with DatasetHubClient(server.url, "key", cache) as client:
        client.get_file("ds", "a")
    for name in (".dsx-cache.db-wal", ".dsx-cache.db-shm"):
        (cache / name).unlink(missing_ok=True)
    (cache / ".dsx-cache.db").write_bytes(b"not a database, " * 1000)
    with DatasetHubClient(server.url, "key", cache, revalidate=300) as client:
        assert client.get_file("ds", "a").read_bytes() == b"alpha"
        client.get_file("ds", "a")
    assert len(server.requests) == 2


def test_d3_drafts_of_the_dead_are_swept(
    server: FaultyServer, client: DatasetHubClient, cache: Path
) -> None:
    """At the next download; not those somebody is at, nor those that can be gone on with."""
    server.files["a"] = b"alpha"
    client.get_file("ds", "a")
    drafts = cache / ".dsx-drafts"
    left, kept, forgotten = drafts / "left", drafts / "0-0-0.part", drafts / "0-0-1.part"
    for draft in (left, drafts / "left.1", drafts / "pack.1", kept, forgotten):
        draft.write_bytes(b"x")
    os.utime(forgotten, (1, 1))
    server.files["a"] = b"beta"
    descriptor = lock_file(drafts / "busy")
    assert descriptor is not None
    (drafts / "busy.1").write_bytes(b"x")
    with DatasetHubClient(server.url, "key", cache) as another:
        another.get_file("ds", "a")
        assert {path.name for path in drafts.iterdir()} == {"busy", "busy.1", kept.name}
        os.close(descriptor)
        another.clear_cache()
    assert list(drafts.iterdir()) == []


def test_nothing_unfinished_shows(
    server: FaultyServer, client: DatasetHubClient, cache: Path
) -> None:
    server.files["a"] = bytes(1_000_000)
    server.faults.drops, server.faults.drop_after, server.faults.ranges = 99, 100_000, False
    with pytest.raises(errors.Broken):
        client.get_file("ds", "a")
    assert [
        path for path in cache.rglob("*") if path.is_file() and "dsx-cache" not in path.name
    ] == []


def _fetch_all(url: str, cache: Path, results: multiprocessing.Queue) -> None:
    with DatasetHubClient(url, "key", cache, revalidate=0) as client:
        for round_ in range(3):
            client.download_dataset("ds")
            for number in range(10):
                client.get_file("ds", f"sub/{(number + round_) % 10}")
        results.put(client.get_cache_size("ds"))


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_eight_processes_at_once(server: FaultyServer, cache: Path, method: str) -> None:
    server.files |= {f"sub/{number}": bytes([number]) * 5000 for number in range(60)}
    context = multiprocessing.get_context(method)
    results = context.Queue()
    workers = [
        context.Process(target=_fetch_all, args=(server.url, cache, results)) for _ in range(8)
    ]
    for worker in workers:
        worker.start()
    sizes = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert len(set(sizes)) == 1
    for path, data in server.files.items():
        assert (cache / "ds" / path).read_bytes() == data


@posix_only
def test_a_client_survives_a_fork_while_threads_use_it(
    server: FaultyServer, client: DatasetHubClient
) -> None:
    server.files |= {f"{number}": bytes([number]) * 100 for number in range(40)}
    client.get_file("ds", "0")
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            client.get_file("ds", "1")

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(2, 12):
            child = os.fork()
            if child == 0:
                good = client.get_file("ds", f"{number}").read_bytes() == bytes([number]) * 100
                os._exit(0 if good else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert client.get_file("ds", "1").read_bytes() == b"\1" * 100


@posix_only
def test_no_connection_to_the_server_crosses_a_fork(
    server: FaultyServer, client: DatasetHubClient
) -> None:
    """Or parent and child write into one socket, and read each other's answers."""
    assert client.list_datasets() == ["ds"]
    child = os.fork()
    if child == 0:
        os._exit(0 if client.list_datasets() == ["ds"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert client.list_datasets() == ["ds"]
    before, of_child, after = server.peers
    assert of_child != before == after


@posix_only
def test_no_connection_to_the_index_crosses_a_fork(tmp_path: Path) -> None:
    """SQLite's locks belong to a process: a child must not hold its parent's connection."""
    cache = Cache(tmp_path)
    cache.touch("ds", [])
    child = os.fork()
    if child == 0:
        os._exit(0 if cache._index._opened == [] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert cache.lookup("ds", "a") is None


def test_records_are_what_the_readme_of_the_cache_says(
    server: FaultyServer, client: DatasetHubClient, cache: Path
) -> None:
    server.files["a"] = b"alpha"
    client.download_dataset("ds")
    client.close()
    with sqlite3.connect(cache / ".dsx-cache.db") as database:
        rows = database.execute("SELECT dataset, path, size, etag FROM entries").fetchall()
    database.close()
    assert ("ds", "a", 5, server.etag("a")) in rows


# -- M17: the cache mirrors the manifest


def kept(cache: Path) -> set[str]:
    """The files in the dataset's directory."""
    return {
        path.relative_to(cache / "ds").as_posix()
        for path in (cache / "ds").rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("some", [None, ["b"]])
def test_m17_what_the_dataset_has_no_more_is_deleted(
    server: FaultyServer, client: DatasetHubClient, cache: Path, some: list[str] | None
) -> None:
    """But nothing that DSX did not write, or that somebody has changed since."""
    server.files |= {"a": b"a", "b": b"b", "x/c": b"c", "changed": b"d"}
    client.download_dataset("ds")
    (cache / "ds" / "mine").write_bytes(b"mine")
    (cache / "ds" / "changed").write_bytes(b"my own words")
    for path in ("a", "x/c", "changed"):
        del server.files[path]
    assert client.download_dataset("ds", some) == [cache / "ds" / "b"]
    assert kept(cache) == {"b", "mine", "changed"}
    assert not (cache / "ds" / "x").exists()


def test_m17_unless_it_is_to_be_kept(
    server: FaultyServer, client: DatasetHubClient, cache: Path
) -> None:
    server.files |= {"a": b"a", "b": b"b"}
    client.download_dataset("ds")
    del server.files["a"]
    assert client.download_dataset("ds", keep_removed=True) == [cache / "ds" / "b"]
    assert kept(cache) == {"a", "b"}
    fetch = client.fetch_dataset("ds")
    assert (fetch.removed, kept(cache)) == (["a"], {"b"})


def test_m17_a_directory_may_come_where_a_file_was(
    server: FaultyServer, client: DatasetHubClient, cache: Path
) -> None:
    server.files["a"] = b"a"
    client.download_dataset("ds")
    server.files = {"a/b": b"b"}
    client.download_dataset("ds")
    assert kept(cache) == {"a/b"}


def test_both_ways_to_a_file_are_as_fresh(server: FaultyServer, cache: Path) -> None:
    """`get_file` and `download_dataset` ask by default, and by `revalidate` do not."""
    server.files["a"] = b"alpha"
    asks = DatasetHubClient(server.url, "key", cache)
    trusts = DatasetHubClient(server.url, "key", cache, revalidate=300)
    asks.download_dataset("ds")
    server.files["a"] = b"other"
    for path in (trusts.get_file("ds", "a"), *trusts.download_dataset("ds")):
        assert path.read_bytes() == b"alpha"
    assert asks.get_file("ds", "a").read_bytes() == b"other"
    server.files["a"] = b"third"
    assert asks.download_dataset("ds")[0].read_bytes() == b"third"


@posix_only  # Windows opens no path that long unless programs ask for it
def test_a_path_may_be_deeper_than_pythons_stack(
    server: FaultyServer, client: DatasetHubClient, cache: Path
) -> None:
    path = "/".join("d" * 1500)
    server.files[path] = b"deep"
    assert client.get_file("ds", path).read_bytes() == b"deep"
    server.files[f"{path}/e"] = server.files.pop(path)
    client.download_dataset("ds")
    assert (cache / "ds" / path / "e").read_bytes() == b"deep"
    client.clear_cache()
    assert not (cache / "ds" / "d").exists()


@posix_only
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_m15_the_umask_says_who_else_may_use_it(
    server: FaultyServer, cache: Path, umask: int, mode: int
) -> None:
    server.files["a"] = b"alpha"
    old = os.umask(umask)
    try:
        with DatasetHubClient(server.url, "key", cache) as client:
            client.download_dataset("ds")
            modes = {
                path: path.stat().st_mode & 0o777 for path in cache.rglob("*") if path.is_file()
            }
    finally:
        os.umask(old)
    assert len(modes) >= 3
    assert set(modes.values()) == {mode}, modes


@pytest.mark.parametrize("what", ["file", "index"])
def test_m15_what_is_no_cache_is_told_as_such(
    server: FaultyServer, client: DatasetHubClient, cache: Path, what: str
) -> None:
    server.files["a"] = b"alpha"
    if what == "file":
        cache.write_bytes(b"")
    else:
        (cache / ".dsx-cache.db").mkdir(parents=True)
    for call in (lambda: client.get_file("ds", "a"), lambda: client.download_dataset("ds")):
        with pytest.raises(DSXError, match="cache"):
            call()
