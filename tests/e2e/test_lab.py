"""The main job, with real input: a lab serves its data, fetches it elsewhere and trains from it."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from tests.support.hub import RunningHub, clean_environment

from dsx import DatasetHubClient

WHEEL = "xgboost==3.2.0"  # 126 MiB
MIB = 1024**2


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real wheel of over 100 MB, from the package index."""
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", directory, WHEEL],
        check=True,
    )
    (path,) = directory.glob("*.whl")
    assert path.stat().st_size > 100 * MIB
    return path


@pytest.mark.timeout(300)
def test_standard_library_as_a_dataset(hub: RunningHub, tmp_path: Path) -> None:
    source = Path(sysconfig.get_paths()["stdlib"])
    root = hub.dataset_path / "stdlib"
    shutil.copytree(
        source, root, ignore=shutil.ignore_patterns("__pycache__", "site-packages"), symlinks=False
    )
    expected = {
        path.relative_to(root).as_posix(): sha256(path)
        for path in root.rglob("*")
        if path.is_file()
    }
    assert len(expected) > 500
    with DatasetHubClient(hub.url, hub.key, cache_dir=tmp_path / "cache") as client:
        paths = client.download_dataset("stdlib")
        cached = tmp_path / "cache" / "stdlib"
        assert {p.relative_to(cached).as_posix(): sha256(p) for p in paths} == expected
        deadline = time.monotonic() + 120
        while client.dataset_info("stdlib").state != "ready":
            assert time.monotonic() < deadline, "the indexer never finished"
            time.sleep(0.2)
        manifest = client.get_manifest("stdlib")
    assert {entry["path"]: entry["sha256"] for entry in manifest} == expected


@pytest.mark.timeout(300)
def test_a_big_wheel_as_a_file(hub: RunningHub, wheel: Path, tmp_path: Path) -> None:
    with DatasetHubClient(hub.url, hub.key, cache_dir=None) as client:
        stored = client.upload(wheel, category="wheels", tags=["big"])
        assert stored.sha256 == sha256(wheel)
        assert stored.id in {item.id for item in client.list_files(category="wheels")}
        back = client.download(stored, tmp_path / "back.whl")
    assert sha256(back) == sha256(wheel)


def test_a_big_wheel_through_the_command_line(hub: RunningHub, wheel: Path, tmp_path: Path) -> None:
    environment = clean_environment(SERVER_URL=hub.url, DSX_API_KEY=hub.key)

    def dsx(*arguments: str | Path) -> None:
        subprocess.run(
            [sys.executable, "-m", "dsx", *arguments], env=environment, cwd=tmp_path, check=True
        )

    dsx("upload", wheel, "--name", "cli.whl")
    dsx("download", "cli.whl", "-o", "cli.whl")
    assert sha256(tmp_path / "cli.whl") == sha256(wheel)


def test_a_model_trained_from_the_hub(
    hub: RunningHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digits = load_digits()
    root = hub.dataset_path / "digits"
    for split, rows in (("train", slice(0, 1400)), ("test", slice(1400, None))):
        for index, (image, label) in enumerate(
            zip(digits.images[rows], digits.target[rows], strict=True)
        ):
            target = root / split / str(label) / f"{index:04}.npy"
            target.parent.mkdir(parents=True, exist_ok=True)
            np.save(target, image.astype(np.uint8))

    with DatasetHubClient(hub.url, hub.key, cache_dir=tmp_path / "cache") as client:
        paths = client.download_dataset("digits")
        streamed = np.load(io.BytesIO(client.get_file_bytes("digits", "train/0/0000.npy")))
    assert streamed.shape == (8, 8)

    def split(name: str) -> tuple[np.ndarray, np.ndarray]:
        chosen = [path for path in paths if path.parts[-3] == name]
        images = np.stack([np.load(path).ravel() for path in chosen])
        return images / 16.0, np.array([int(path.parts[-2]) for path in chosen])

    images, labels = split("train")
    model = LogisticRegression(max_iter=1000).fit(images, labels)
    accuracy = model.score(*split("test"))
    with capsys.disabled():
        print(f"\naccuracy of the model trained from the hub: {accuracy:.3f}")
    assert accuracy > 0.88
