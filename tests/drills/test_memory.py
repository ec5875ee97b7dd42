"""Memory stays flat: the server's peak over a 10 GiB upload and download."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.support.apt import need
from tests.support.hub import running_hub
from tests.support.memory import peak_rss, reset_peak

MIB = 1024**2


def transfer(directory: Path, size: int) -> None:
    source = directory / "source.bin"
    with source.open("wb") as file:
        file.truncate(size)
    with running_hub(directory) as hub:
        hub.store("warm-up", b"x" * 3 * MIB)
        hub.get("/api/v1/files")
        reset_peak(hub)
        idle = peak_rss(hub)
        auth = ["-H", f"Authorization: {hub.key}"]
        url = f"{hub.url}/api/v1/files"
        subprocess.run(
            [
                need("curl"),
                "-fsS",
                *auth,
                "-X",
                "POST",
                "-T",
                source,
                f"{url}?name=big",
                "-o",
                "/dev/null",
            ],
            check=True,
        )
        item = hub.get("/api/v1/files", params={"name": "big"}).json()["items"][0]
        assert item["size"] == size
        subprocess.run(
            [need("curl"), "-fsS", *auth, f"{url}/{item['id']}/content", "-o", "/dev/null"],
            check=True,
        )
        growth = peak_rss(hub) - idle
        print(f"peak RSS over {size / 1024**3:g} GiB up and down: idle + {growth / MIB:.1f} MiB")
        assert growth < 64 * MIB


def test_memory_stays_flat_over_256_mib(tmp_path: Path) -> None:
    transfer(tmp_path, 256 * MIB)


@pytest.mark.drill
def test_memory_stays_flat_over_10_gib(tmp_path: Path) -> None:
    transfer(tmp_path, 10 * 1024 * MIB)
