"""Datasets in place: the index follows the directory, and no path leaves it."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from dsx.catalog.database import Catalog
from dsx.core.content import FileSlice
from dsx.core.errors import Conflict, Invalid, NotFound
from dsx.core.principals import Principal
from dsx.hub.datasets import Datasets, scan
from dsx.hub.datasets import indexing as module
from dsx.hub.datasets.beneath import Tree

ALICE = Principal("alice")
Work = Callable[[Datasets], Coroutine[Any, Any, Any]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "set" / "train").mkdir(parents=True)
    (root / "set" / "a.txt").write_bytes(b"alpha")
    (root / "set" / "train" / "b.bin").write_bytes(bytes(5000))
    (tmp_path / "secret").write_bytes(b"secret")
    return root


@pytest.fixture
def run(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Work], Any]:
    monkeypatch.setattr(module, "_FRESH_SECONDS", 0)
    monkeypatch.setattr(module, "_FRESH_FACTOR", 0)

    def run(work: Work) -> Any:
        async def whole() -> Any:
            catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
            await catalog.migrate()
            try:
                return await work(Datasets(catalog, root))
            finally:
                await catalog.aclose()

        return asyncio.run(whole())

    return run


async def index(datasets: Datasets) -> None:
    """What the `Indexer` does every ten seconds."""
    await datasets.scan_all()
    await datasets.hash_pending()


async def listing(datasets: Datasets, name: str = "set") -> dict[str, tuple[int, str | None]]:
    await datasets._indexing.refresh(name)
    return {
        entry.path: (entry.size, entry.sha256)
        async for page in datasets.manifest(name)
        for entry in page
    }


def test_the_index_follows_the_directory(root: Path, run: Callable[[Work], Any]) -> None:
    async def work(datasets: Datasets) -> None:
        etags = [await datasets.manifest_etag(ALICE, "set")]
        assert await listing(datasets) == {"a.txt": (5, None), "train/b.bin": (5000, None)}
        assert await datasets.manifest_etag(ALICE, "set") == etags[0]
        assert (await datasets.info(ALICE, "set")).state == "hashing"
        await index(datasets)
        info = await datasets.info(ALICE, "set")
        assert (info.state, info.done, info.total, info.size) == ("ready", 2, 2, 5005)
        digest = hashlib.sha256(b"alpha").hexdigest()
        assert (await listing(datasets))["a.txt"] == (5, digest)
        etags.append(await datasets.manifest_etag(ALICE, "set"))
        (root / "set" / "a.txt").write_bytes(b"alphabet")
        assert (await listing(datasets))["a.txt"] == (8, None)
        etags.append(await datasets.manifest_etag(ALICE, "set"))
        (root / "set" / "a.txt").unlink()
        assert list(await listing(datasets)) == ["train/b.bin"]
        etags.append(await datasets.manifest_etag(ALICE, "set"))
        assert len(set(etags)) == len(etags)

    run(work)


def test_a_dataset_that_is_gone_is_forgotten(root: Path, run: Callable[[Work], Any]) -> None:
    async def work(datasets: Datasets) -> None:
        await index(datasets)
        (root / "set").rename(root.parent / "elsewhere")
        await index(datasets)
        with pytest.raises(NotFound, match="DSX_DATASET_PATH"):
            await datasets.manifest_etag(ALICE, "set")
        (root / "set").mkdir()
        assert await listing(datasets) == {}

    run(work)


def test_links(root: Path, run: Callable[[Work], Any]) -> None:
    """Followed to files inside; never out; directories' links are not walked."""
    inside = root / "set"
    (inside / "link.txt").symlink_to("a.txt")
    (inside / "out.txt").symlink_to(root.parent / "secret")
    (inside / "up.txt").symlink_to("../../secret")
    (inside / "dir").symlink_to("train")
    (inside / "loop").symlink_to("loop")
    (root / "other").symlink_to(root.parent)

    async def work(datasets: Datasets) -> None:
        assert await datasets.names(ALICE) == ["set"]
        assert set(await listing(datasets)) == {"a.txt", "link.txt", "train/b.bin"}
        for path in ("link.txt", "dir/b.bin"):
            assert (await datasets.content(ALICE, "set", path)).size > 0
        for path in ("out.txt", "up.txt", "loop", "dir", "train"):
            with pytest.raises(NotFound):
                await datasets.content(ALICE, "set", path)

    run(work)


def test_only_regular_files(root: Path, run: Callable[[Work], Any]) -> None:
    os.mkfifo(root / "set" / "fifo")
    (root / "set" / os.fsdecode(b"\xff")).write_bytes(b"no UTF-8")

    async def work(datasets: Datasets) -> None:
        assert set(await listing(datasets)) == {"a.txt", "train/b.bin"}
        with pytest.raises(NotFound):
            await datasets.content(ALICE, "set", "fifo")

    run(work)


@pytest.mark.parametrize(
    "path", ["../secret", "train/../../secret", "/etc/passwd", "", ".", "a\0b", "a//b", "x" * 300]
)
def test_paths_that_climb_are_refused(root: Path, path: str) -> None:
    with pytest.raises((Invalid, NotFound)):
        os.close(Tree(root / "set").open(path))


@pytest.mark.parametrize("name", ["train", "b.bin"])
def test_a_link_swapped_in_between_never_leads_out(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A link that leads inside when it is resolved, and out by when the result is opened."""
    inside, secret = root / "set" / "train", root.parent / "elsewhere"
    secret.mkdir()
    (secret / "b.bin").write_bytes(b"secret")
    (root / "set" / "link").symlink_to("train/b.bin")
    resolve = Tree._resolve

    def resolved_then_swapped(tree: Tree, path: str) -> tuple[str, ...]:
        parts = resolve(tree, path)
        swapped = inside if name == "train" else inside / name
        swapped.rename(root / "aside")
        swapped.symlink_to(secret if name == "train" else secret / name)
        return parts

    monkeypatch.setattr(Tree, "_resolve", resolved_then_swapped)
    with pytest.raises(NotFound):
        Tree(root / "set").open("link")
    assert (inside / "b.bin").read_bytes() == b"secret"  # so much for who follows links


def test_a_file_that_changes_is_not_sent_as_another(root: Path, run: Callable[[Work], Any]) -> None:
    async def work(datasets: Datasets) -> None:
        content = await datasets.content(ALICE, "set", "a.txt")
        (root / "set" / "a.txt").write_bytes(b"other")
        os.utime(root / "set" / "a.txt", ns=(1, 1))
        (piece,) = [piece async for piece in content.pieces(0, 5)]
        assert isinstance(piece, FileSlice)
        with pytest.raises(Conflict, match="changed"):
            piece.open()

    run(work)


def test_pack(root: Path, run: Callable[[Work], Any]) -> None:
    (root / "set" / "large").write_bytes(os.urandom(5 * 1024 * 1024))

    async def pack(datasets: Datasets, paths: list[str] | None, start: int = 0) -> list[str]:
        stream = await datasets.pack(ALICE, "set", paths, start)
        data = b"".join([chunk async for chunk in stream])
        names = []
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                content = archive.extractfile(member)
                assert content is not None
                body = content.read()
                assert body == (root / "set" / member.name).read_bytes()
                assert member.pax_headers["DSX.sha256"] == hashlib.sha256(body).hexdigest()
                names.append(member.name)
        return names

    async def work(datasets: Datasets) -> None:
        assert await pack(datasets, None) == ["a.txt", "large", "train/b.bin"]
        assert await pack(datasets, None, 2) == ["train/b.bin"]
        wanted = ["train/b.bin", "a.txt", "large", "a.txt"]
        assert await pack(datasets, wanted) == wanted
        assert await pack(datasets, wanted, 3) == ["a.txt"]
        assert await pack(datasets, []) == []
        assert await pack(datasets, None, 99) == []
        (root / "set" / "new").write_bytes(b"not indexed yet")
        assert await pack(datasets, ["new"]) == ["new"]
        with pytest.raises(NotFound) as caught:
            await datasets.pack(ALICE, "set", ["a.txt", "none", "neither"])
        assert caught.value.details["missing"] == ["none", "neither"]
        with pytest.raises(Invalid):
            await datasets.pack(ALICE, "set", ["../secret"])

    run(work)


def test_many_requests_share_one_scan(
    root: Path, run: Callable[[Work], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = []
    real = module.scan.batches
    monkeypatch.setattr(
        module.scan, "batches", lambda *given: (scans.append(given), real(*given))[1]
    )

    async def work(datasets: Datasets) -> None:
        await asyncio.gather(*(datasets.manifest_etag(ALICE, "set") for _ in range(20)))

    run(work)
    assert len(scans) == 1


def test_what_was_written_during_a_scan_is_in_the_next_manifest(
    root: Path, run: Callable[[Work], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even within the time for which a dataset at rest answers from its index."""
    monkeypatch.setattr(module, "_FRESH_SECONDS", 3600)
    walk = scan.batches

    def walked_then_written(tree: Tree, survey: scan.Survey) -> Iterator[list[scan.Found]]:
        yield from list(walk(tree, survey))
        (tree.root / "late.txt").write_bytes(b"late")

    async def work(datasets: Datasets) -> None:
        with monkeypatch.context() as during:
            during.setattr(scan, "batches", walked_then_written)
            running = asyncio.create_task(datasets._indexing.refresh("set"))
            await asyncio.sleep(0)
            await running
        assert "late.txt" in await listing(datasets)
        await datasets._indexing.refresh("set")
        (root / "set" / "later.txt").write_bytes(b"")
        assert "later.txt" not in await listing(datasets)  # at rest: from the index

    run(work)
