"""The index of datasets in place: whose it is, what it survives, and how soon it knows."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.hub import RunningHub, running_hub

from dsx.app import open_hub
from dsx.catalog.engine import Catalog
from dsx.config import Settings
from dsx.core.digest import digest_of
from dsx.core.errors import NotFound, Unavailable
from dsx.core.model import ManifestEntry
from dsx.core.principals import Principal
from dsx.hub.datasets import Datasets, follow, in_place, indexing, scan
from dsx.hub.services import Hub

ALICE = Principal("alice")
PATIENCE = 30.0
CANNOT = "Dataset 'one' cannot be read: Input/output error."
TIMES = {
    "2300": 10413792000 * 10**9,
    "2262": 2**63 // 10**9 * 10**9 + 10**9,
    "1960": -(10**9) * 315619200 - 1,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("one", "two"):
        (root / name / "sub").mkdir(parents=True)
        (root / name / "a.txt").write_bytes(b"alpha")
        (root / name / "sub" / "b.txt").write_bytes(b"beta")
    return root


@asynccontextmanager
async def opened(root: Path, url: str = "", place: str = "") -> AsyncIterator[Datasets]:
    catalog = Catalog(url or f"sqlite:///{root.parent / 'catalog.db'}")
    await catalog.migrate()
    datasets = Datasets(catalog, root, place=place)
    try:
        yield datasets
    finally:
        await datasets.aclose()
        await catalog.aclose()


@pytest.fixture
def run(root: Path) -> Callable[[Callable[[Datasets], Coroutine[Any, Any, Any]]], Any]:
    async def whole(work: Callable[[Datasets], Coroutine[Any, Any, Any]]) -> Any:
        async with opened(root) as datasets:
            return await work(datasets)

    return lambda work: asyncio.run(whole(work))


async def indexed(datasets: Datasets) -> None:
    await datasets.scan_all()
    await datasets.hash_pending()


async def entries(datasets: Datasets, name: str = "one") -> dict[str, ManifestEntry]:
    """What the index has, without a scan."""
    return {entry.path: entry async for page in datasets.manifest(name) for entry in page}


async def becomes(datasets: Datasets, expected: dict[str, bytes]) -> dict[str, ManifestEntry]:
    """Return once the index has those files, by itself."""
    found: dict[str, ManifestEntry] = {}
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await entries(datasets)
            heads = {path: entry.hash for path, entry in found.items()}
            if heads == {path: hashlib.md5(data).hexdigest() for path, data in expected.items()}:
                return found
            await asyncio.sleep(0.05)


# -- C3: whose it is


def test_c3_an_index_belongs_to_who_has_the_directory(
    root: Path, tmp_path: Path, catalog_url: str
) -> None:
    """Two hubs on one catalog; the other lacks a dataset, and has another one of a same name."""
    other = tmp_path / "other"
    (other / "one").mkdir(parents=True)
    (other / "one" / "c.txt").write_bytes(b"gamma")

    async def work() -> None:
        async with (
            opened(root, catalog_url, "here") as here,
            opened(other, catalog_url, "there") as there,
        ):
            await indexed(here)
            before = [await here.manifest_etag(ALICE, name) for name in ("one", "two")]
            await indexed(there)
            assert await there.names(ALICE) == ["one"]
            assert set(await entries(there)) == {"c.txt"}
            for name in ("one", "two"):
                assert set(await entries(here, name)) == {"a.txt", "sub/b.txt"}
                assert (await here.info(ALICE, name)).state == "ready"
            assert [await here.manifest_etag(ALICE, name) for name in ("one", "two")] == before

    asyncio.run(work())


def test_c3_a_place_is_a_data_directory(root: Path, tmp_path: Path) -> None:
    """So hubs that have one are one place, and others are others."""
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    (tmp_path / "empty").mkdir()

    def hub(data: str, sets: Path) -> AbstractAsyncContextManager[Hub]:
        return open_hub(Settings(data_dir=tmp_path / data, dataset_path=sets, database_url=url))

    async def work() -> None:
        async with hub("a", root) as here, hub("b", tmp_path / "empty") as there:
            await indexed(here.datasets)
            await indexed(there.datasets)
            assert (await here.datasets.info(ALICE, "one")).state == "ready"
        async with hub("a", root) as here:
            assert set(await entries(here.datasets)) == {"a.txt", "sub/b.txt"}

    asyncio.run(work())


# -- M1: what it survives


@pytest.mark.parametrize("year", TIMES)
def test_m1_times_out_of_range_are_brought_to_the_nearest(hub: RunningHub, year: str) -> None:
    for name, time in ((f"m1-{year}", TIMES[year]), (f"m1-{year}-later", 0)):
        (hub.dataset_path / name).mkdir()
        (hub.dataset_path / name / "file").write_bytes(b"alpha")
        os.utime(hub.dataset_path / name / "file", ns=(time, time))
        answer = hub.get(f"/api/v1/datasets/{name}/manifest")
        assert answer.status_code == 200, answer.text
        (entry,) = answer.json()
        assert -(2**63) <= entry["mtime"] * 10**9 <= 2**63
        assert hub.get(f"/file/{name}/file").content == b"alpha"
        packed = hub.post(f"/api/v1/datasets/{name}/pack", json={"paths": ["file"]})
        assert b"alpha" in packed.content
    assert hub.get("/api/v1/datasets").status_code == 200


def test_m1_one_datasets_trouble_is_no_others(
    root: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    walk = scan.batches

    def failing(tree: Any, *rest: Any) -> Iterator[list[scan.Found]]:
        if tree.root.name == "one":
            raise OSError(5, "Input/output error")
        return walk(tree, *rest)

    async def work(datasets: Datasets) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(scan, "batches", failing)
            await indexed(datasets)
            assert (await datasets.info(ALICE, "two")).state == "ready"
            one = await datasets.info(ALICE, "one")
            assert (one.state, one.trouble) == ("unavailable", CANNOT)
            assert len(await datasets.list(ALICE)) == 2
            with pytest.raises(Unavailable, match="Input/output error"):
                await datasets.manifest_etag(ALICE, "one")
        await indexed(datasets)
        assert (await datasets.info(ALICE, "one")).state == "ready"

    run(work)


@pytest.mark.parametrize("there", [False, True], ids=["missing", "empty"])
@pytest.mark.parametrize("what", [".", "one"])
def test_m1_a_mount_point_without_its_mount_drops_no_index(
    root: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, what: str, there: bool
) -> None:
    if what == "one" and not there:
        return  # a dataset that is gone from where others are is gone: see below
    monkeypatch.setattr(indexing, "_FRESH_SECONDS", 0)

    async def work(datasets: Datasets) -> None:
        await indexed(datasets)
        before = await entries(datasets)
        assert before["a.txt"].sha256 == digest_of(b"alpha")
        mount, away = root / what, root.parent / "away"
        mount.resolve().rename(away)
        if there:
            mount.resolve().mkdir()
        await indexed(datasets)
        assert {info.name: info.state for info in await datasets.list(ALICE)} == {
            "one": "unavailable", "two": "ready" if what == "one" else "unavailable"
        }  # fmt: skip
        with pytest.raises(Unavailable):
            await datasets.manifest_etag(ALICE, "one")
        assert await entries(datasets) == before
        if there:
            mount.resolve().rmdir()
        away.rename(mount.resolve())
        await datasets.scan_all()
        assert await entries(datasets) == before
        assert (await datasets.info(ALICE, "one")).state == "ready"

    run(work)


def test_m1_a_missing_root_is_told_not_failed(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        (hub.dataset_path / "one").mkdir()
        (hub.dataset_path / "one" / "a.txt").write_bytes(b"alpha")
        assert hub.get("/manifest/one").status_code == 200
        hub.dataset_path.rename(tmp_path / "away")
        (item,) = hub.get("/api/v1/datasets").json()["items"]
        assert (item["name"], item["state"]) == ("one", "unavailable")
        for route in ("/manifest/one", "/file/one/a.txt", "/api/v1/datasets/one/manifest"):
            answer = hub.get(route)
            assert answer.status_code == 503
            assert "cannot be read: No such file or directory" in answer.json()["detail"]
        (tmp_path / "away").rename(hub.dataset_path)
        assert hub.get("/file/one/a.txt").content == b"alpha"
        assert hub.get("/api/v1/datasets/one").json()["state"] in {"ready", "hashing"}


def test_m1_what_is_gone_is_gone(root: Path, run: Callable[..., Any]) -> None:
    """A dataset that was removed from beside others, and one whose last file was."""

    async def work(datasets: Datasets) -> None:
        await indexed(datasets)
        shutil.rmtree(root / "one")
        (root / "two" / "a.txt").unlink()
        (root / "two" / "sub" / "b.txt").unlink()
        await indexed(datasets)
        assert [info.name for info in await datasets.list(ALICE)] == ["two"]
        with pytest.raises(NotFound):
            await datasets.manifest_etag(ALICE, "one")
        await datasets._indexing.refresh("two")
        assert await entries(datasets, "two") == {}

    run(work)


# -- M1: how soon it knows


def test_m1_changes_of_a_large_dataset_are_seen_as_they_happen(
    root: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_WORTH_SECONDS", 0)
    files = {"a.txt": b"alpha", "sub/b.txt": b"beta"}
    one = root / "one"

    async def work(datasets: Datasets) -> None:
        await datasets.scan_all()
        (follower,) = [name for name in datasets._followers._tasks if name == "one"]
        await becomes(datasets, files)
        while not await followed(datasets):  # noqa: ASYNC110 (another task's doing)
            await asyncio.sleep(0.05)
        whole = scan.batches
        monkeypatch.setattr(scan, "batches", only_below(whole))
        etag = await datasets.manifest_etag(ALICE, "one")
        (one / "new.txt").write_bytes(b"new")
        (one / "deep" / "er").mkdir(parents=True)
        (one / "deep" / "er" / "c.txt").write_bytes(b"gamma")
        (one / "sub" / "b.txt").write_bytes(b"changed")
        files.update({"new.txt": b"new", "deep/er/c.txt": b"gamma", "sub/b.txt": b"changed"})
        await becomes(datasets, files)
        assert await datasets.manifest_etag(ALICE, "one") != etag
        monkeypatch.setattr(scan, "batches", whole)  # directories that go may need one
        (one / "deep").rename(one / "moved")
        (one / "a.txt").unlink()
        files["moved/er/c.txt"] = files.pop("deep/er/c.txt")
        del files["a.txt"]
        await becomes(datasets, files)
        shutil.rmtree(one / "moved")
        del files["moved/er/c.txt"]
        await becomes(datasets, files)
        assert follower in datasets._followers._tasks

    async def followed(datasets: Datasets) -> bool:
        known = await datasets._indexing.known("one")
        return known is not None and known.followed is not None

    def only_below(walk: Callable[..., Any]) -> Callable[..., Any]:
        """No whole scan is needed from here on."""

        def batches(tree: Any, survey: Any, below: str = "") -> Any:
            assert below
            return walk(tree, survey, below)

        return batches

    run(work)


def test_m1_what_is_behind_links_is_not_watched(
    root: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who watches follows links, and this one leads to all there is."""
    monkeypatch.setattr(follow, "_WORTH_SECONDS", 0)
    (root / "one" / "everything").symlink_to("/")

    async def work(datasets: Datasets) -> None:
        await datasets.scan_all()
        assert list(datasets._followers._tasks) == ["two"]

    run(work)


def test_m1_a_file_that_is_asked_for_by_name_is_current(
    root: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the index is, from then on, without a scan."""
    monkeypatch.setattr(indexing, "_FRESH_SECONDS", 3600)

    async def work(datasets: Datasets) -> None:
        await indexed(datasets)
        await indexed(datasets)
        (root / "one" / "a.txt").write_bytes(b"other")
        (root / "one" / "new.txt").write_bytes(b"new")
        content = await datasets.content(ALICE, "one", "a.txt")
        assert (content.size, content.digest) == (5, None)
        await datasets.content(ALICE, "one", "new.txt")
        found = {"a.txt": b"other", "new.txt": b"new", "sub/b.txt": b"beta"}
        assert (await becomes(datasets, found))["a.txt"].etag == content.etag

    run(work)


def test_m1_a_first_manifest_is_sent_while_it_is_made(
    root: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_place, "_FIRST_SECONDS", 0)
    monkeypatch.setattr(scan, "BATCH", 10)
    for number in range(95):
        (root / "one" / f"{number:03}").write_bytes(b"x")

    async def work(datasets: Datasets) -> None:
        assert await datasets.manifest_etag(ALICE, "one") is None
        datasets._indexing._scans["one"].cancel()
        pages = datasets.manifest("one")
        first = await anext(pages)
        assert len(first) == 10
        assert (await datasets.info(ALICE, "one")).state == "indexing"
        rest = [entry async for page in pages for entry in page]
        paths = [entry.path for entry in [*first, *rest]]
        assert len(paths) == len(set(paths)) == 97
        assert all(entry.hash for entry in rest)
        await datasets._indexing.refresh("one")
        assert await entries(datasets) == {entry.path: entry for entry in [*first, *rest]}

    run(work)


# -- M2: what tells a file from another


def test_m2_a_file_replaced_by_one_of_equal_size_and_time_is_another(
    root: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "_FRESH_SECONDS", 0)
    path, other = root / "one" / "a.txt", root / "other"

    async def work(datasets: Datasets) -> None:
        await indexed(datasets)
        before = (await entries(datasets))["a.txt"]
        etag = await datasets.manifest_etag(ALICE, "one")
        other.write_bytes(b"ALPHA")
        os.utime(other, ns=(0, path.stat().st_mtime_ns))
        other.replace(path)
        content = await datasets.content(ALICE, "one", "a.txt")
        assert content.digest is None
        assert content.etag != before.etag
        assert await datasets.manifest_etag(ALICE, "one") != etag
        await indexed(datasets)
        assert (await entries(datasets))["a.txt"].sha256 == digest_of(b"ALPHA")

    run(work)


@pytest.mark.parametrize("way", ["pack", "content"])
def test_m2_a_digest_that_is_contradicted_is_made_anew(
    root: Path, run: Callable[..., Any], way: str
) -> None:
    """By a pack, which reads the bytes, or by a client, which has read them."""

    async def work(datasets: Datasets) -> None:
        await indexed(datasets)
        with datasets._catalog.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE dataset_files SET sha256 = 'wrong'")
        if way == "pack":
            async for _ in await datasets.pack(ALICE, "one", ["a.txt"]):
                pass
        else:
            content = await datasets.content(ALICE, "one", "a.txt", recheck=True)
            assert content.digest is None
        found = await entries(datasets)
        assert (found["a.txt"].sha256, found["sub/b.txt"].sha256) == (None, "wrong")
        await indexed(datasets)
        assert (await entries(datasets))["a.txt"].sha256 == digest_of(b"alpha")

    run(work)


def test_m1_a_pack_leaves_out_what_has_just_gone(root: Path, run: Callable[..., Any]) -> None:
    async def work(datasets: Datasets) -> None:
        await indexed(datasets)
        (root / "one" / "a.txt").unlink()
        stream = await datasets.pack(ALICE, "one", ["a.txt", "sub/b.txt"])
        packed = b"".join([chunk async for chunk in stream])
        assert b"beta" in packed
        assert b"path=a.txt" not in packed
        await becomes(datasets, {"sub/b.txt": b"beta"})

    run(work)


# -- what is left out


def test_what_a_dataset_leaves_out_is_counted_and_listed(
    root: Path, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = root / "one"
    (one / os.fsdecode(b"\xff.txt")).write_bytes(b"no UTF-8")
    (one / "out.txt").symlink_to("../../secret")
    (root.parent / "secret").write_bytes(b"secret")
    (one / "broken").symlink_to("nowhere")
    (one / "dir").symlink_to("sub")
    os.mkfifo(one / "pipe")
    (one / "secret.txt").write_bytes(b"unreadable")
    deepest = one
    monkeypatch.chdir(one)
    for _ in range(20):  # 5,000 bytes: no system call takes such a path
        (deepest := Path("x" * 250)).mkdir()
        os.chdir(deepest)
    Path("too-deep").write_bytes(b"")
    os.chdir(root)
    real = os.open

    def forbidden(path: Any, *rest: Any, **more: Any) -> int:  # root may read everything
        if str(path).endswith("secret.txt"):
            raise PermissionError(13, "Permission denied")
        return real(path, *rest, **more)

    monkeypatch.setattr("dsx.hub.datasets.beneath.os.open", forbidden)

    async def work(datasets: Datasets) -> None:
        await indexed(datasets)
        info = await datasets.info(ALICE, "one")
        assert {reason: noted["count"] for reason, noted in info.left_out.items()} == {
            scan.NOT_UTF8: 1, scan.LINK_OUT: 1, scan.BROKEN_LINK: 1, scan.LINK_TO_DIRECTORY: 1,
            scan.SPECIAL: 1, scan.UNREADABLE: 1, scan.TOO_LONG: 1,
        }  # fmt: skip
        assert info.left_out[scan.NOT_UTF8]["paths"] == ["\\xff.txt"]
        assert info.left_out[scan.UNREADABLE]["paths"] == ["secret.txt"]
        assert (await datasets.info(ALICE, "two")).left_out == {}
        assert set(await entries(datasets)) == {"a.txt", "sub/b.txt"}

    try:
        run(work)
    finally:
        monkeypatch.undo()
        shutil.rmtree(one)
