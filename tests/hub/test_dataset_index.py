"""The index of datasets in place: whose it is, and what it survives."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from tests.support.hub import RunningHub, running_hub
from tests.support.indexes import ALICE, entries, indexed, opened

from dsx.config import Settings
from dsx.core.digest import digest_of
from dsx.core.errors import NotFound, Unavailable
from dsx.hub.datasets import Datasets, indexing, scan
from dsx.hub.hub import Hub
from dsx.wiring import open_hub

CANNOT = "Dataset 'one' cannot be read: Input/output error."
TIMES = {
    "2300": 10413792000 * 10**9,
    "2262": 2**63 // 10**9 * 10**9 + 10**9,
    "1960": -(10**9) * 315619200 - 1,
}


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
