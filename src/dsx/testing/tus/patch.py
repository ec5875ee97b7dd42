"""Core protocol: PATCH."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from dsx.testing.tus.outcome import Inapplicable, expect
from dsx.testing.tus.registry import Section
from dsx.testing.tus.target import NETWORK_ERRORS, OFFSET_TYPE, Target
from dsx.testing.tus.wire import Connection, chunked

PATCH = Section("Core/PATCH", "creation")

MEBIBYTE = 1 << 20
NOT_OFFSETS = ("-1", "+0", "0x0", "zero", "0.0", "", "1e0", "9" * 40)


@PATCH.must()
def patch_acknowledged(tus: Target) -> None:
    """Success: 204 with the new Upload-Offset."""
    answer = tus.patch(tus.create(10), 0, b"01234").must_be(204)
    expect(answer.number("Upload-Offset") == len(b"01234"), "wrong Upload-Offset")


@PATCH.must()
def patch_offsets_add_up(tus: Target) -> None:
    """The new offset is the sum of the old one and the bytes received, to the end."""
    url, offset = tus.create(10), 0
    for size in (1, 2, 0, 3, 4):
        answer = tus.patch(url, offset, b"x" * size).must_be(204, about=f"{size} bytes at {offset}")
        offset += size
        found = answer.number("Upload-Offset")
        expect(found == offset, f"Upload-Offset {found}, not {offset}")
        tus.must_have(url, offset, f"{size} bytes")


@PATCH.must()
def patch_bytes(tus: Target) -> None:
    """The bytes are applied at the given offset (read back by GET)."""
    url = tus.create(2 * MEBIBYTE)
    data = bytes(range(256)) * (2 * MEBIBYTE // 256)
    tus.patch(url, 0, data[:MEBIBYTE]).must_be(204)
    tus.patch(url, MEBIBYTE, data[MEBIBYTE:]).must_be(204)
    expect(tus.content(url) == data, "other bytes came back")


@PATCH.should()
def patch_chunked(tus: Target) -> None:
    """A body in chunks, of unknown length, is accepted."""
    url = tus.create(10)
    fields = {
        "Transfer-Encoding": "chunked",
        "Content-Type": OFFSET_TYPE,
        "Upload-Offset": "0",
    }
    body = chunked(b"012", b"34567", b"89")
    answer = tus.ask("PATCH", url, fields, body).must_be(204)
    expect(answer.number("Upload-Offset") == len(b"0123456789"), "wrong Upload-Offset")


@PATCH.should()
def patch_wrong_type(tus: Target) -> None:
    """Content-Type wrong or absent: 415."""
    url = tus.create(10)
    for kind in ("application/octet-stream", "text/plain", None):
        tus.patch(url, 0, b"012", {"Content-Type": kind}).must_be(415, about=str(kind))


@PATCH.should()
def patch_wrong_type_not_stored(tus: Target) -> None:
    """Content-Type wrong: the upload is not modified."""
    url = tus.create(10)
    tus.patch(url, 0, b"012", {"Content-Type": "text/plain"}).must_refuse()
    tus.must_have(url, 0, "a wrong Content-Type")


@PATCH.must()
def patch_mismatch(tus: Target) -> None:
    """Upload-Offset mismatch: 409."""
    url = tus.create(10)
    tus.patch(url, 5, b"567").must_be(409, about="beyond the stored bytes")
    tus.patch(url, 0, b"01234").must_be(204)
    tus.patch(url, 0, b"abcde").must_be(409, about="over stored bytes")
    tus.patch(url, 3, b"def").must_be(409, about="overlapping stored bytes")


@PATCH.must()
def patch_mismatch_not_stored(tus: Target) -> None:
    """Upload-Offset mismatch: the upload is not modified."""
    url = tus.create(10)
    tus.patch(url, 0, b"01234").must_be(204)
    for offset in (0, 3, 6, 10):
        tus.patch(url, offset, b"xyz").must_refuse(about=f"offset {offset} of 5")
        tus.must_have(url, 5, f"a PATCH at {offset}")
    tus.patch(url, 5, b"56789").must_be(204)


@PATCH.must()
def patch_race(tus: Target) -> None:
    """Of two simultaneous requests for one offset, at most one is acknowledged."""
    url = tus.create(MEBIBYTE)

    def send(filler: bytes) -> int:
        try:
            return tus.patch(url, 0, filler * MEBIBYTE).status
        except NETWORK_ERRORS:
            return 0  # cut off in favour of the other

    with ThreadPoolExecutor(2) as pool:
        statuses = list(pool.map(send, (b"a", b"b")))
    expect(statuses.count(204) <= 1, f"both were acknowledged: {statuses}")
    if statuses.count(204):
        tus.must_have(url, MEBIBYTE, "an acknowledged PATCH")


@PATCH.should()
def patch_bad_offset(tus: Target) -> None:
    """Upload-Offset absent, repeated or not a non-negative integer: refused, not modified."""
    url = tus.create(10)
    for offset in NOT_OFFSETS:
        tus.patch(url, offset, b"012").must_refuse(about=f"Upload-Offset: {offset!r}")
    tus.patch(url, 0, b"012", {"Upload-Offset": None}).must_refuse(about="absent")
    twice = [("Upload-Offset", "0"), ("Upload-Offset", "3")]
    tus.patch(url, 0, b"012", twice).must_refuse(about="repeated")
    tus.must_have(url, 0, "refused requests")


@PATCH.must()
def patch_never_beyond_length(tus: Target) -> None:
    """More bytes than Upload-Length: neither the length nor the offset goes beyond it."""
    url = tus.create(5)
    tus.patch(url, 0, b"0123456789")
    answer = tus.state(url)
    offset, length = answer.number("Upload-Offset"), answer.number("Upload-Length")
    expect(length == len(b"01234") and offset <= length, f"offset {offset}, length {length}")


@PATCH.should()
def patch_missing(tus: Target) -> None:
    """Resource not found: 404."""
    tus.patch(tus.missing, 0, b"012").must_be(404)


def _cut_short(tus: Target, url: str, offset: int, data: bytes, length: int) -> None:
    fields = {"Content-Type": OFFSET_TYPE, "Upload-Offset": str(offset)}
    with Connection(url) as line:
        line.send(tus.head_bytes("PATCH", url, fields, length) + data)
        time.sleep(0.2)  # so that the server has read it when the connection is lost
        line.end()


@PATCH.should()
def patch_cut_short(tus: Target) -> None:
    """A client that vanishes: as many received bytes as possible are kept."""
    url = tus.create(MEBIBYTE)
    _cut_short(tus, url, 0, b"x" * (MEBIBYTE // 2), MEBIBYTE)
    kept = tus.settled(url)
    expect(kept == MEBIBYTE // 2, f"{kept} of {MEBIBYTE // 2} received bytes were kept")


@PATCH.must()
def patch_cut_short_resumes(tus: Target) -> None:
    """A client that vanishes: the upload continues at the offset from HEAD."""
    url = tus.create(MEBIBYTE)
    _cut_short(tus, url, 0, b"x" * (MEBIBYTE // 2), MEBIBYTE)
    kept = tus.settled(url)
    expect(kept <= MEBIBYTE // 2, f"Upload-Offset {kept}, but {MEBIBYTE // 2} bytes were sent")
    tus.patch(url, kept, b"y" * (MEBIBYTE - kept)).must_be(204)
    tus.must_have(url, MEBIBYTE, "the rest")


@PATCH.should(waits=True)
def patch_stalled(tus: Target) -> None:
    """A client that stalls: the connection is closed, the received bytes are kept."""
    url = tus.create(10)
    fields = {"Content-Type": OFFSET_TYPE, "Upload-Offset": "0"}
    with Connection(url, timeout=tus.patience) as line:
        line.send(tus.head_bytes("PATCH", url, fields, 10) + b"01234")
        try:
            while line.socket.recv(4096):
                pass
        except TimeoutError:
            raise Inapplicable(f"still open after {tus.patience:g} s") from None
    tus.must_have(url, 5, "a stall")
