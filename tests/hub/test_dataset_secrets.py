"""C2: what is the hub's own is part of no dataset, wherever it lies and whatever leads to it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from tests.support.hub import RunningHub, clean_environment, running_hub

from dsx.config import Settings
from dsx.core.errors import Invalid, NotFound
from dsx.hub.datasets.beneath import Tree
from dsx.hub.datasets.roots import Root
from dsx.wiring import check_apart, open_hub, private

OWN = ("admin.key", "secret.key", "catalog.db", "catalog.db-wal")


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub whose data directory lies, hidden, among the datasets, linked to; for all."""
    top = tmp_path_factory.mktemp("exposed")
    data, sets = top / "datasets" / ".own", top / "datasets"
    (data / "drop").mkdir(parents=True)
    (data / "drop" / "dropped").write_bytes(b"dropped")
    (sets / "good" / "sub").mkdir(parents=True)
    (sets / "good" / "a.txt").write_bytes(b"alpha")
    for name, target in {
        "evil": ".own", "blobs": ".own/blobs", "drop": ".own/drop", "stages": ".own/staging",
        "good/own": "../.own", "good/sub/key": "../../.own/admin.key",
    }.items():  # fmt: skip
        (sets / name).symlink_to(target)
    (sets / "good" / ".env").write_bytes(b"DSX_PORT=0")
    (top / ".env").hardlink_to(sets / "good" / ".env")
    variables = {"DSX_DATA_DIR": str(data), "DSX_API_KEY": "", "DSX_ANONYMOUS": "read"}
    with running_hub(top, **variables) as hub:
        hub.data_dir = data
        hub.key = (data / "admin.key").read_text().strip()
        hub.store("mine", b"mine")
        for name in OWN:  # another name of the same file
            (sets / "good" / name).hardlink_to(data / name)
        yield hub


def test_c2_no_dataset_is_made_of_it(exposed: RunningHub) -> None:
    for answer in (exposed.get("/datasets"), requests.get(f"{exposed.url}/datasets", timeout=60)):
        assert answer.json() == ["good"]
    assert [one["name"] for one in exposed.get("/api/v1/datasets").json()["items"]] == ["good"]


def test_c2_no_manifest_has_it_and_the_listing_says_so(exposed: RunningHub) -> None:
    for route in ("/manifest/good", "/api/v1/datasets/good/manifest"):
        assert [entry["path"] for entry in exposed.get(route).json()] == ["a.txt"]
    left_out = exposed.get("/api/v1/datasets/good").json()["left_out"]
    assert set(left_out["the hub's own"]["paths"]) == {*OWN, ".env"}
    assert left_out["link out of the dataset"]["count"] == 2


@pytest.mark.parametrize(
    "path",
    [
        *(f"{dataset}/{name}" for dataset in ("evil", "good", "good/own") for name in OWN),
        "good/sub/key", "good/.env", "drop/dropped", ".own/admin.key", "evil/drop/dropped",
        "good/own/drop/dropped",
    ],
)  # fmt: skip
def test_c2_no_route_reads_it(exposed: RunningHub, path: str) -> None:
    dataset, _, name = path.partition("/")
    for url in (f"/file/{path}", f"/api/v1/datasets/{dataset}/files/{name}"):
        for headers in ({}, {"Authorization": f"Bearer {exposed.key}"}):
            answer = requests.get(exposed.url + url, headers=headers, timeout=60)
            assert answer.status_code in {400, 404}, answer.text
            assert exposed.key.encode() not in answer.content
    packed = exposed.post(f"/api/v1/datasets/{dataset}/pack", json={"paths": [name]})
    assert packed.status_code in {400, 404}, packed.text


def test_c2_blobs_are_nobodys_either(exposed: RunningHub) -> None:
    (blob,) = (exposed.data_dir / "blobs").glob("*/*")
    for dataset in ("evil/blobs", "blobs"):
        answer = exposed.get(f"/file/{dataset}/{blob.parent.name}/{blob.name}")
        assert answer.status_code == 404
    assert exposed.post("/api/v1/datasets/evil/pack", json={}).status_code == 404
    whole = exposed.post("/api/v1/datasets/good/pack", json={})
    assert b"alpha" in whole.content
    assert exposed.key.encode() not in whole.content


def settings(directory: Path, datasets: str, **more: str) -> Settings:
    known = {"data_dir": directory / "dsx-data", "dataset_path": directory / datasets}
    return Settings(**known | more)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may bind directories")
@pytest.mark.parametrize("part", [".", "blobs", "blobs/ab", "staging"])
def test_c2_what_is_bound_into_a_dataset_stays_out(tmp_path: Path, part: str) -> None:
    data, bound = tmp_path / "dsx-data", tmp_path / "sets" / "good" / "deep" / "bound"
    (data / part).mkdir(parents=True, exist_ok=True)
    (data / part / "secret").write_bytes(b"secret")
    bound.mkdir(parents=True)
    subprocess.run(["mount", "--bind", data / part, bound], check=True)
    try:
        assert (bound / "secret").exists()
        own = private(settings(tmp_path, "sets"))
        with pytest.raises(NotFound):
            Tree(tmp_path / "sets" / "good", own).open("deep/bound/secret")
        assert Root(tmp_path / "sets" / "good" / "deep", own).names() == []
    finally:
        subprocess.run(["umount", bound], check=True)


@pytest.mark.parametrize(
    ("datasets", "more"),
    [
        (".", {}),
        ("dsx-data", {}),
        ("dsx-data/drop", {}),
        ("linked", {}),
        ("sets", {"data_dir": "sets/ds/deep/own"}),
        ("sets", {"storage_url": "file://{}/sets/blobs"}),
        ("blobs/sub", {"storage_url": "file://{}/blobs"}),
        ("sets", {"database_url": "sqlite:///{}/sets/ds/deep/catalog.db"}),
    ],
)
def test_c2_such_settings_are_refused(tmp_path: Path, datasets: str, more: dict[str, str]) -> None:
    for directory in ("dsx-data/drop", "sets/ds/deep", "blobs/sub"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path)
    given = {name: value.format(tmp_path) for name, value in more.items()}
    if "data_dir" in given:
        given["data_dir"] = str(tmp_path / given["data_dir"])
    wrong = settings(tmp_path, datasets, **given)
    with pytest.raises(Invalid, match="DSX_DATASET_PATH"):
        check_apart(wrong)

    async def opened() -> None:
        async with open_hub(wrong):
            pytest.fail("it opened")

    with pytest.raises(Invalid, match="DSX_DATASET_PATH"):
        asyncio.run(opened())


@pytest.mark.parametrize("data", [".own", "elsewhere"])
def test_c2_what_is_hidden_or_elsewhere_is_no_dataset(tmp_path: Path, data: str) -> None:
    (tmp_path / "sets").mkdir()
    for directory in (tmp_path / "sets" / data, tmp_path / data):
        if data == ".own" or directory.parent == tmp_path:
            check_apart(settings(tmp_path, "sets", data_dir=str(directory)))
    check_apart(settings(tmp_path, "sets", database_url=f"sqlite:///{tmp_path}/sets/catalog.db"))


def test_c2_the_start_says_so_in_one_line(tmp_path: Path) -> None:
    started = subprocess.run(
        [sys.executable, "-m", "dsx", "serve", "--port", "0", "--dataset-path", "."],
        cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert started.returncode == 2
    (line,) = started.stderr.splitlines()
    assert "DSX_DATA_DIR" in line
    assert "dsx-data" in line
    assert not (tmp_path / "dsx-data").exists()
