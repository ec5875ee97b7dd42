"""Resumable uploads against ``@tus/server`` and copyparty, each with durable files at the end.

The tus rows use one and the same client for both servers (curl, or a pool of eight connections).
The others use each system's own client: ``dsx upload``, and copyparty's ``u2c``. Neither rival
syncs what it stores; no time is added for that.
"""

from __future__ import annotations

import base64
import itertools
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from urllib.parse import urljoin

import requests
from tests.support.hub import RunningHub, clean_environment, running_hub

from bench.measure import alternate, row
from bench.rivals import copyparty, tus_server

MIB = 1024**2
GIB = 1024**3
CHUNK = {"Content-Type": "application/offset+octet-stream", "Tus-Resumable": "1.0.0"}
U2C = Path("copyparty/web/a/u2c.py")
_names = itertools.count()


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="dsx-bench-") as directory:
        root = Path(directory)
        with (
            tus_server(root / "tus" / "files") as tus,
            copyparty(root / "copyparty") as party,
            running_hub(root / "hub", DSX_LOG_LEVEL="warning") as hub,
        ):
            ours = f"{hub.url}/uploads"
            print("\nResumable uploads: seconds, median of 5, in turns")
            _one_stream(hub, ours, tus, root)
            _eight_streams(hub, ours, tus, root)
            _own_clients(hub, party, root)
            _small(hub, ours, tus, party, root)
            _finish(ours, tus, hub.key)
            print(f"peak memory of the server: {_peak(hub) / MIB:.0f} MiB")


def _one_stream(hub: RunningHub, ours: str, tus: str, root: Path) -> None:
    big = _fill(root / "big", GIB)
    medians = alternate(
        {
            "dsx": lambda: _curl(hub.key, ours, [big]),
            "@tus/server": lambda: _curl(hub.key, tus, [big]),
        }
    )
    _compare("1 GiB by tus, 1 stream (curl)", medians, "@tus/server")


def _eight_streams(hub: RunningHub, ours: str, tus: str, root: Path) -> None:
    parts = [_fill(root / f"part{n}", GIB // 8) for n in range(8)]
    medians = alternate(
        {
            "dsx": lambda: _curl(hub.key, ours, parts),
            "@tus/server": lambda: _curl(hub.key, tus, parts),
        }
    )
    _compare("8 of 128 MiB by tus, 8 streams (curl)", medians, "@tus/server")


def _own_clients(hub: RunningHub, party: str, root: Path) -> None:
    for streams in (1, 8):
        medians = alternate(
            {
                "dsx": lambda: _dsx(hub, [_copy(root / "big")]),
                "copyparty": lambda s=streams: _u2c(party, [_copy(root / "big")], s),  # type: ignore[misc]
            },
            runs=3,
        )
        _compare(f"1 GiB by own client, {streams} streams", medians, "copyparty")


def _small(hub: RunningHub, ours: str, tus: str, party: str, root: Path) -> None:
    def tree() -> Path:
        directory = root / f"small{next(_names)}"
        directory.mkdir()
        for number in range(1000):
            (directory / f"{number}.bin").write_bytes(os.urandom(100 * 1024))
        return directory

    sources = sorted(tree().iterdir())
    medians = alternate(
        {
            "dsx": lambda: _each(hub.key, ours, sources),
            "@tus/server": lambda: _each(hub.key, tus, sources),
        },
        runs=3,
    )
    _compare("1,000 of 100 KiB by tus, 8 connections", medians, "@tus/server")
    times: dict[str, list[float]] = {"dsx": [], "copyparty": []}
    for _ in range(4):
        for name, taken in times.items():
            directory = tree()  # new bytes: copyparty would recognise the old ones
            begun = time.perf_counter()
            if name == "dsx":
                _dsx(hub, ["-r", str(directory)])
            else:
                _u2c(party, [str(directory)], 8)
            taken.append(time.perf_counter() - begun)
    _compare(
        "1,000 of 100 KiB by own client",
        {name: median(values[1:]) for name, values in times.items()},
        "copyparty",
    )


def _finish(ours: str, tus: str, key: str) -> None:
    """From the last byte sent to the answer, after so many bytes in order."""
    block = os.urandom(64 * MIB)
    for size, label in ((GIB // 10, "0.1"), (GIB, "1"), (10 * GIB, "10")):
        times = {name: _finish_one(url, key, block, size) for name, url in
                 (("dsx", ours), ("@tus/server", tus))}  # fmt: skip
        _compare(f"last 1 MiB of {label} GiB", times, "@tus/server")


def _finish_one(url: str, key: str, block: bytes, size: int) -> float:
    with requests.Session() as session:
        session.headers["Authorization"] = key
        place = _create(session, url, size)
        offset = 0
        while offset < size - MIB:
            data = memoryview(block)[: min(len(block), size - MIB - offset)]
            offset = _patch(session, place, offset, data)
        begun = time.perf_counter()
        _patch(session, place, offset, memoryview(block)[: size - offset])
        seconds = time.perf_counter() - begun
        session.delete(place, headers={"Tus-Resumable": "1.0.0"})
        return seconds


def _patch(session: requests.Session, place: str, offset: int, data: memoryview) -> int:
    answer = session.patch(place, data=bytes(data), headers=CHUNK | {"Upload-Offset": str(offset)})
    assert answer.status_code == 204, answer.text
    return int(answer.headers["Upload-Offset"])


def _create(session: requests.Session, url: str, size: int) -> str:
    name = base64.b64encode(f"bench-{next(_names)}".encode()).decode()
    fields = {"Upload-Length": str(size), "Upload-Metadata": f"filename {name}"}
    answer = session.post(url, headers={"Tus-Resumable": "1.0.0"} | fields)
    assert answer.status_code == 201, answer.text
    return urljoin(url, answer.headers["Location"])


def _curl(key: str, url: str, sources: list[Path]) -> None:
    with requests.Session() as session:
        session.headers["Authorization"] = key
        places = [_create(session, url, source.stat().st_size) for source in sources]
    fields = [f"-H{name}: {value}" for name, value in CHUNK.items()]
    commands = [
        [
            *("curl", "-sf", "-o", "/dev/null", "-X", "PATCH", "-T", str(source), place),
            *("-H", f"Authorization: {key}", "-H", "Upload-Offset: 0", "-H", "Expect:", *fields),
        ]
        for source, place in zip(sources, places, strict=True)
    ]
    running = [subprocess.Popen(command) for command in commands]
    assert [process.wait() for process in running] == [0] * len(running)


def _each(key: str, url: str, sources: list[Path]) -> None:
    """Every file by itself, over eight connections."""

    def some(mine: list[Path]) -> None:
        with requests.Session() as session:
            session.headers["Authorization"] = key
            for source in mine:
                data = source.read_bytes()
                _patch(session, _create(session, url, len(data)), 0, memoryview(data))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(some, [sources[n::8] for n in range(8)]))


def _dsx(hub: RunningHub, arguments: list[str]) -> None:
    environment = clean_environment(SERVER_URL=hub.url, DSX_API_KEY=hub.key)
    command = [sys.executable, "-m", "dsx", "upload", *arguments]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def _u2c(party: str, sources: list[str], streams: int) -> None:
    (script,) = (Path(entry) / U2C for entry in sys.path if (Path(entry) / U2C).exists())
    command = [sys.executable, str(script), "-j", str(streams), "-ns", party, *sources]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _copy(source: Path) -> str:
    """*source* under a new name, other bytes at its end: no server knows it, nothing resumes it."""
    with source.open("r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(os.urandom(4096))
    target = source.with_name(f"{source.name}-{next(_names)}")
    os.link(source, target)
    return str(target)


def _fill(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))
    return path


def _peak(hub: RunningHub) -> int:
    status = Path(f"/proc/{hub.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def _compare(what: str, medians: dict[str, float], anchor: str) -> None:
    ours, theirs = medians["dsx"], medians[anchor]
    row(what, f"{ours:.2f} s", f"{anchor} {theirs:.2f} s", ours / theirs, "≤ 1")
