"""The index of datasets in place: how soon it knows of changes, and what it leaves out."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.indexes import ALICE, becomes, entries, indexed

from dsx.core.digest import digest_of
from dsx.hub.datasets import Datasets, follow, in_place, indexing, scan

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
