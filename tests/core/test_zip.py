"""ZIP archives: any byte range equals that part of the whole, and the tools can read them."""

from __future__ import annotations

import io
import subprocess
import zipfile
import zlib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.support.apt import need
from tests.support.systems import posix_only

from dsx.core import zip_layout as layout

CONTENTS = [b"abc" * 100, b"", b"z", bytes(range(256)) * 5]
NAMES = ["a.txt", "ä/日本.bin", "a.txt", "dir/b.csv"]
ENTRIES = [
    layout.Entry(name, len(data), zlib.crc32(data), 1_700_000_000_000_000)
    for name, data in zip(layout.distinct_names(NAMES), CONTENTS, strict=True)
]
SIZE = layout.total_size(ENTRIES)


def cut(start: int, stop: int) -> bytes:
    return b"".join(
        part.data
        if isinstance(part, layout.Header)
        else CONTENTS[part.index][part.start : part.stop]
        for part in layout.parts(ENTRIES, start, stop)
    )


WHOLE = cut(0, SIZE)


def test_size_is_known_beforehand() -> None:
    assert len(WHOLE) == SIZE


@given(st.integers(0, SIZE), st.integers(0, SIZE))
def test_every_range_is_that_part_of_the_whole(start: int, stop: int) -> None:
    assert cut(start, stop) == WHOLE[start:stop]


@posix_only
def test_tools_read_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.txt", "ä/日本.bin", "a (2).txt", "dir/b.csv"]
        assert [archive.read(name) for name in archive.namelist()] == CONTENTS
    (tmp_path / "a.zip").write_bytes(WHOLE)
    subprocess.run([need("unzip"), "-tqq", tmp_path / "a.zip"], check=True)


def test_empty_archive() -> None:
    data = b"".join(part.data for part in layout.parts([], 0, layout.total_size([])))  # type: ignore[union-attr]
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == []


def test_entries_over_four_gigabytes(tmp_path: Path) -> None:
    """The content is a hole in a sparse file; only headers are written."""
    size = 5 * 1024**3
    entries = [layout.Entry("big", size, 0, 0), layout.Entry("after", 1, zlib.crc32(b"x"), 0)]
    path = tmp_path / "big.zip"
    with path.open("wb") as file:
        for part in layout.parts(entries, 0, layout.total_size(entries)):
            if isinstance(part, layout.Header):
                file.write(part.data)
            elif part.index == 0:
                file.seek(part.stop - part.start, io.SEEK_CUR)
            else:
                file.write(b"x")
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("big").file_size == size
        assert archive.read("after") == b"x"


def test_distinct_names() -> None:
    assert layout.distinct_names(["a", "a", "a (2)", "b/c.tar.gz", "b/c.tar.gz"]) == [
        "a", "a (2)", "a (2) (2)", "b/c.tar.gz", "b/c.tar (2).gz",
    ]  # fmt: skip
