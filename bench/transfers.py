"""Downloads and uploads of large files, and small GETs, against nginx and hashlib."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.apt import need
from tests.support.hub import RunningHub, running_hub

from bench.measure import alternate, row
from bench.nginx import nginx

MIB = 1024**2
GIB = 1024**3


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="dsx-bench-") as directory:
        root = Path(directory)
        with (
            nginx(root / "nginx") as url,
            running_hub(root / "hub", DSX_LOG_LEVEL="warning") as hub,
        ):
            big = root / "nginx" / "www" / "big"
            _fill(big, GIB)
            record = _upload(hub, "big", big)
            ours = f"{hub.url}/api/v1/files/{record}/content"
            print("\nLarge files: seconds, median of 5, in turns with nginx")
            _downloads(hub, ours, f"{url}/big")
            _uploads(hub, url, big, "1 GiB upload, 1 connection", 1)
            part = root / "part"
            _fill(part, 256 * MIB)
            _uploads(hub, url, part, "256 MiB uploads, 4 connections", 4)
            _small(hub, url, root)


def _downloads(hub: RunningHub, ours: str, theirs: str) -> None:
    ranges = [f"{start}-{start + GIB // 8 - 1}" for start in range(0, GIB, GIB // 8)]
    cases: list[tuple[str, Callable[[str], list[list[str]]]]] = [
        ("1 GiB download, 1 connection", lambda url: [[url]]),
        ("1 GiB downloads, 4 connections", lambda url: [[url]] * 4),
        ("1 GiB download, 8 parallel ranges", lambda url: [["-r", part, url] for part in ranges]),
    ]
    for what, commands in cases:
        medians = alternate(
            {
                "dsx": lambda commands=commands: _curl(hub, commands(ours)),  # type: ignore[misc]
                "nginx": lambda commands=commands: _curl(hub, commands(theirs)),  # type: ignore[misc]
            }
        )
        _compare(what, medians["dsx"], medians["nginx"], "nginx", "≥ 0.95", inverse=True)


def _uploads(hub: RunningHub, url: str, source: Path, what: str, count: int) -> None:
    www = Path(source.parent if source.name == "big" else source.parent / "nginx" / "www")

    def dsx() -> None:
        target = f"{hub.url}/api/v1/files?name=up"
        _curl(hub, [["-X", "POST", "-T", str(source), f"{target}{n}"] for n in range(count)])

    def dav() -> None:
        _curl(hub, [["-T", str(source), f"{url}/up{n}"] for n in range(count)])
        for number in range(count):
            _sync(www / f"up{number}")

    def sha256() -> None:
        for _ in range(count):
            with source.open("rb") as file:
                hashlib.file_digest(file, "sha256")

    medians = alternate({"dsx": dsx, "nginx PUT + fsync": dav, "SHA-256": sha256})
    anchor = max(("nginx PUT + fsync", "SHA-256"), key=lambda name: medians[name])
    _compare(what, medians["dsx"], medians[anchor], anchor, "≤ 1.15", inverse=False)


def _small(hub: RunningHub, url: str, root: Path) -> None:
    data = os.urandom(10 * 1024)
    (root / "nginx" / "www" / "small").write_bytes(data)
    (hub.dataset_path / "set").mkdir()
    (hub.dataset_path / "set" / "small").write_bytes(data)
    record = hub.store("small", data)
    print("\nSmall GETs (10 KiB, keep-alive, 8 connections): requests per second")
    for what, target in (
        ("nginx", f"{url}/small"),
        ("/health", f"{hub.url}/health"),
        ("file of a dataset", f"{hub.url}/file/set/small"),
        ("stored file", f"{hub.url}{record['url']}"),
    ):
        answer = subprocess.run(
            [need("wrk"), "-t1", "-c8", "-d3s", "-H", f"Authorization: {hub.key}", target],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        found = re.search(r"Requests/sec:\s+([\d.]+)", answer)
        print(f"{what:<44} {float(found[1]) if found else 0:>14.0f}", flush=True)


def _compare(
    what: str, ours: float, theirs: float, anchor: str, aim: str, *, inverse: bool
) -> None:
    """*inverse*: the ratio of speeds, for downloads; else of times, for uploads."""
    ratio = theirs / ours if inverse else ours / theirs
    row(what, f"{ours:.2f} s", f"{anchor} {theirs:.2f} s", ratio, aim)


def _curl(hub: RunningHub, commands: Sequence[Sequence[str]]) -> None:
    head = [need("curl"), "-fsS", "-o", "/dev/null", "-H", f"Authorization: {hub.key}"]
    running = [subprocess.Popen([*head, *command]) for command in commands]
    codes = [process.wait() for process in running]
    if any(codes):
        raise RuntimeError("curl failed")


def _upload(hub: RunningHub, name: str, source: Path) -> str:
    with source.open("rb") as file:
        answer = hub.post("/api/v1/files", params={"name": name}, data=file)
    return str(answer.json()["id"])


def _fill(path: Path, size: int) -> None:
    block = os.urandom(16 * MIB)
    with path.open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
