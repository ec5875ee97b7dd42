"""Bars and results on real terminals, wide and narrow: neither is written into the other."""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path

import pytest
from tests.support.hub import RunningHub
from tests.support.screens import Seen, watch

from dsx import DatasetHubClient

BAR = re.compile(r"━|╸|╺|[KM]?i?B/s|-:--|\d:\d\d|\d%|/\d+ files")
MIB = 1 << 20


@pytest.fixture
def environment(hub: RunningHub) -> dict[str, str]:
    return {"SERVER_URL": hub.url, "DSX_API_KEY": hub.key}


@pytest.fixture
def client(hub: RunningHub) -> DatasetHubClient:
    return DatasetHubClient(hub.url, hub.key, None)


def whole(text: str, columns: int) -> list[str]:
    """A line as a terminal of so many columns shows it."""
    return [text[start : start + columns].rstrip() for start in range(0, len(text), columns)]


def assert_apart(seen: Seen, results: list[str], columns: int) -> None:
    """The results are there as they were printed, and nothing is left of any bar."""
    assert seen.code == 0
    wanted = [row for line in results for row in whole(line, columns)]
    found = [line for line in seen.end if not line.startswith("dsx: ")]
    assert [line for line in found if line in wanted] == wanted
    assert not [line for line in seen.end if BAR.search(line) and not line.startswith("dsx: ")]
    for shot in seen.shots:
        for line in shot:
            assert not (BAR.search(line) and any(row in line for row in wanted)), line


@pytest.mark.parametrize("columns", [80, 40])
def test_uploads_on_a_terminal(
    environment: dict[str, str], client: DatasetHubClient, tmp_path: Path, columns: int
) -> None:
    top = tmp_path / f"term-{uuid.uuid4().hex[:8]}"
    top.mkdir()
    for number in range(20):
        (top / f"a-rather-long-name-of-a-file-{number:02}.bin").write_bytes(os.urandom(1000))
    (top / "large.bin").write_bytes(os.urandom(34 * MIB))
    (top / "bad").symlink_to("nowhere")
    seen = watch(tmp_path, ["upload", "-r", top.name, "--json"], columns, **environment)
    assert seen.code == 3
    seen = watch(tmp_path, ["upload", "-r", top.name, "--always"], columns, **environment)
    printed = "\n".join(seen.end)
    assert seen.code == 3
    assert any(BAR.search(line) for shot in seen.shots for line in shot)
    results = [
        f"{info.id}  {info.name}  version 2  {'34.0 MiB' if info.size > 1000 else '1000 B'}"
        for info in client.list_files(f"{top.name}/*")
    ]
    assert len(results) == 21
    for result in results:
        assert "\n".join(whole(result, columns)) in printed
    assert not [line for line in seen.end if "━" in line or "0:00" in line]
    assert "bad:Nosuchfileordirectory" in re.sub(r"\s", "", printed)


@pytest.mark.parametrize("columns", [80, 40])
def test_downloads_on_a_terminal(
    environment: dict[str, str], client: DatasetHubClient, tmp_path: Path, columns: int
) -> None:
    top = f"term-{uuid.uuid4().hex[:8]}"
    names = [f"{top}/{'long-' * 12}{number}.bin" for number in range(5)]
    for name in names:
        client.upload(os.urandom(3 * MIB), name)
    seen = watch(tmp_path, ["download", *names, "-o", "out"], columns, **environment)
    assert any(BAR.search(line) for shot in seen.shots for line in shot)
    assert_apart(seen, [f"out/{name}" for name in names], columns)
    for shot in seen.shots:
        assert len([line for line in shot if BAR.search(line)]) <= 1  # a bar takes one line


def test_results_in_a_file_stay_out_of_the_bars(
    environment: dict[str, str], client: DatasetHubClient, tmp_path: Path
) -> None:
    name = f"term-{uuid.uuid4().hex[:8]}"
    (tmp_path / name).write_bytes(os.urandom(20 * MIB))
    out = tmp_path / "out.txt"
    seen = watch(tmp_path, ["upload", name], 80, stdout=out, **environment)
    info = client.get_info(name)
    assert seen.redirected == f"{info.id}  {name}  version 1  20.0 MiB\n"
    assert seen.end == []
    seen = watch(tmp_path, ["download", name, "-o", "copy"], 80, stdout=out, **environment)
    assert seen.redirected == "copy\n"
    assert seen.end == []


def test_a_dataset_on_a_terminal(
    environment: dict[str, str], hub: RunningHub, tmp_path: Path
) -> None:
    root = hub.dataset_path / "term-set"
    root.mkdir()
    for number in range(30):
        (root / f"{number:02}.bin").write_bytes(os.urandom(MIB))
    seen = watch(tmp_path, ["fetch", "term-set"], 40, **environment)
    assert seen.code == 0
    assert seen.end == ["30 files, 30.0 MiB, in cache/term-set"]
