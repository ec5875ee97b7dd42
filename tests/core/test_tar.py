"""TAR members are read by Python's tarfile, by GNU tar and by the SDK alike."""

from __future__ import annotations

import contextlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.systems import posix_only

from dsx.client.pack import CutShort, members
from dsx.core import tar_layout
from dsx.core.digest import digest_of
from dsx.core.errors import DSXError, Unprocessable

FILES = {
    "a.txt": b"hello",
    "ü" * 60 + "/" + "x" * 200: b"long name",
    "new\nline": b"",
    "block": b"b" * 512,
    "more": b"m" * 5000,
}
MTIME = 1_700_000_000_123_456_789


def pack(files: dict[str, bytes]) -> bytes:
    parts = []
    for path, data in files.items():
        member = tar_layout.Member(path, len(data), MTIME, digest_of(data))
        parts += [tar_layout.header(member), data, tar_layout.padding(len(data))]
    return b"".join([*parts, tar_layout.END])


def test_tarfile_reads_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(pack(FILES))) as archive:
        for member, (path, data) in zip(archive, FILES.items(), strict=True):
            assert member.name == path
            assert member.pax_headers[tar_layout.SHA256_RECORD] == digest_of(data)
            assert member.mtime == pytest.approx(MTIME / 1e9)
            content = archive.extractfile(member)
            assert content is not None
            assert content.read() == data


@posix_only
def test_gnu_tar_reads_it(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(pack(FILES))
    subprocess.run(["tar", "xf", tmp_path / "a.tar", "-C", tmp_path], check=True, stderr=-3)
    for path, data in FILES.items():
        assert (tmp_path / path).read_bytes() == data


def test_the_sdk_reads_it() -> None:
    found = {packed.path: packed.data for packed in members(io.BytesIO(pack(FILES)))}
    assert found == FILES
    assert all(packed.mtime_ns == MTIME for packed in members(io.BytesIO(pack(FILES))))


@given(st.integers(0, len(pack(FILES)) - 1))
def test_a_stream_cut_anywhere_is_noticed(length: int) -> None:
    cut = pack(FILES)[:length]
    if length > len(cut.rstrip(b"\0")) + 512 and length >= len(pack(FILES)) - 512:
        return  # one of the two closing blocks is enough
    with pytest.raises(CutShort):
        list(members(io.BytesIO(cut)))


def test_changed_content_is_noticed() -> None:
    data = bytearray(pack({"a": b"hello"}))
    data[data.index(b"hello")] ^= 1
    (packed,) = members(io.BytesIO(bytes(data)))
    assert not packed.intact


@given(st.binary(max_size=2000))
def test_garbage_is_refused(data: bytes) -> None:
    with contextlib.suppress(DSXError, CutShort):
        list(members(io.BytesIO(data)))
    with pytest.raises(Unprocessable):
        list(members(io.BytesIO(b"garbage".ljust(512, b"!"))))
