"""10,000 files of 10 KiB: `download_dataset` against one keep-alive GET each.

Every turn fills a cache of its own. ext4 is many times slower at making files for some minutes
after it has deleted many (it avoids inodes it has just freed), so nothing is deleted until the end,
and this comes first in `make bench`.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path

import requests
from tests.support.hub import running_hub

from bench.measure import alternate, row
from dsx import DatasetHubClient

FILES = 10_000
SIZE = 10 * 1024
RUNS = 3


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="dsx-bench-") as directory:
        root = Path(directory)
        with running_hub(root, DSX_LOG_LEVEL="warning") as hub:
            dataset = hub.dataset_path / "small"
            for number in range(FILES):
                path = dataset / f"{number // 1000}" / f"{number:05}.bin"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(os.urandom(SIZE))
            client = DatasetHubClient(hub.url, hub.key, None)
            paths = [entry["path"] for entry in client.get_manifest("small")]
            caches = (root / f"cache-{number}" for number in itertools.count())

            def download() -> None:
                fresh = DatasetHubClient(hub.url, hub.key, next(caches))
                if len(fresh.download_dataset("small")) != FILES:
                    raise RuntimeError("files are missing")

            def get_each() -> None:
                with requests.Session() as session:
                    session.headers["Authorization"] = hub.key
                    for path in paths:
                        session.get(f"{hub.url}/file/small/{path}").raise_for_status()

            print(f"\n{FILES} files of {SIZE // 1024} KiB: seconds, median of {RUNS}, in turns")
            medians = alternate({"dsx": download, "gets": get_each}, RUNS)
            ours, theirs = medians["dsx"], medians["gets"]
            row("download_dataset, empty cache", f"{ours:.2f} s", f"GETs {theirs:.2f} s",
                theirs / ours, "≥ 10")  # fmt: skip
