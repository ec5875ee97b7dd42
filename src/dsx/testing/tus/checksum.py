"""Checksum, in the head of a PATCH or in its trailer."""

from __future__ import annotations

import base64
import hashlib
import re

from dsx.testing.tus.outcome import expect
from dsx.testing.tus.registry import Section
from dsx.testing.tus.target import OFFSET_TYPE, Target
from dsx.testing.tus.wire import Response, chunked

CHECKSUM = Section("Checksum", "creation", "checksum")
TRAILER = Section("Checksum/trailer", "creation", "checksum", "checksum-trailer")

MEBIBYTE = 1 << 20
SHA1_OF_WORLD = "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="
WORLD = b"hello world"
MALFORMED = ("sha1", "sha1 ", "sha1 not-base64!", "sha1 YWJj", "", " " + SHA1_OF_WORLD[5:])


def of(data: bytes, algorithm: str = "sha1") -> str:
    """The header's value for *data*."""
    digest = hashlib.new(algorithm, data, usedforsecurity=False).digest()
    return f"{algorithm} {base64.b64encode(digest).decode()}"


def _known(tus: Target) -> list[str]:
    """The announced algorithms that Python supports."""
    sizes = {name: hashlib.new(name).digest_size for name in hashlib.algorithms_guaranteed}
    return [name for name in tus.algorithms if sizes.get(name)]


def _patch(tus: Target, url: str, offset: int, data: bytes, checksum: str) -> Response:
    return tus.patch(url, offset, data, {"Upload-Checksum": checksum})


@CHECKSUM.must()
def checksum_announced(tus: Target) -> None:
    """Tus-Checksum-Algorithm is in the response to OPTIONS."""
    tus.options.text("Tus-Checksum-Algorithm")


@CHECKSUM.must()
def checksum_lists_sha1(tus: Target) -> None:
    """Tus-Checksum-Algorithm lists sha1."""
    expect("sha1" in tus.algorithms, f"listed: {', '.join(tus.algorithms)}")


@CHECKSUM.must()
def checksum_names(tus: Target) -> None:
    """Tus-Checksum-Algorithm is a comma-separated list of lower-case ASCII names."""
    listed = tus.options.text("Tus-Checksum-Algorithm")
    names = [name.strip() for name in listed.split(",")]
    fine = all(re.fullmatch(r"[!-+\--@\[-~]+", name) for name in names)
    expect(fine, f"Tus-Checksum-Algorithm: {listed}")


@CHECKSUM.must()
def checksum_match(tus: Target) -> None:
    """Checksums match: 204, the offset moves."""
    url = tus.create(len(WORLD))
    answer = _patch(tus, url, 0, WORLD, SHA1_OF_WORLD).must_be(204)
    expect(answer.number("Upload-Offset") == len(WORLD), "wrong Upload-Offset")
    tus.must_have(url, len(WORLD), "a matching checksum")


@CHECKSUM.must()
def checksum_each_algorithm(tus: Target) -> None:
    """Every announced algorithm is verified: 204 if it matches, 460 if not."""
    for name in _known(tus):
        url = tus.create(10)
        _patch(tus, url, 0, b"01234", of(b"56789", name)).must_be(460, about=f"wrong {name}")
        _patch(tus, url, 0, b"01234", of(b"01234", name)).must_be(204, about=f"right {name}")


@CHECKSUM.must()
def checksum_of_the_chunk(tus: Target) -> None:
    """The checksum covers the request's body, not the whole upload."""
    url = tus.create(10)
    _patch(tus, url, 0, b"01234", of(b"01234")).must_be(204)
    _patch(tus, url, 5, b"56789", of(b"56789")).must_be(204)


@CHECKSUM.must()
def checksum_mismatch(tus: Target) -> None:
    """Checksums mismatch: 460."""
    _patch(tus, tus.create(10), 0, b"01234", of(b"0123x")).must_be(460)


@CHECKSUM.must()
def checksum_mismatch_discarded(tus: Target) -> None:
    """Checksums mismatch: the chunk is discarded, the offset not updated."""
    url = tus.create(10)
    _patch(tus, url, 0, b"01234", of(b"01234")).must_be(204)
    _patch(tus, url, 5, b"abcde", of(b"56789")).must_refuse()
    tus.must_have(url, 5, "a mismatch")
    _patch(tus, url, 5, b"56789", of(b"56789")).must_be(204)


@CHECKSUM.must()
def checksum_mismatch_last_chunk(tus: Target) -> None:
    """Checksums mismatch in the last chunk: the upload does not become complete."""
    url = tus.create(len(WORLD))
    _patch(tus, url, 0, WORLD, of(b"other bytes")).must_refuse()
    tus.must_have(url, 0, "a mismatch")


@CHECKSUM.must()
def checksum_mismatch_large(tus: Target) -> None:
    """Checksums mismatch in a chunk of 3 MiB: all of it is discarded."""
    url, data = tus.create(4 * MEBIBYTE), b"x" * (3 * MEBIBYTE)
    _patch(tus, url, 0, data, of(data[1:])).must_be(460)
    tus.must_have(url, 0, "a mismatch")
    _patch(tus, url, 0, data, of(data)).must_be(204)


@CHECKSUM.must()
def checksum_mismatch_bytes(tus: Target) -> None:
    """Checksums mismatch: nothing of the chunk is left (read back by GET)."""
    url = tus.create(10)
    _patch(tus, url, 0, b"abcdefghij", of(b"?")).must_refuse()
    _patch(tus, url, 0, b"01234", of(b"01234")).must_be(204)
    _patch(tus, url, 5, b"xxxxx", of(b"?")).must_refuse()
    _patch(tus, url, 5, b"56789", of(b"56789")).must_be(204)
    expect(tus.content(url) == b"0123456789", "other bytes came back")


@CHECKSUM.must()
def checksum_unknown(tus: Target) -> None:
    """Unknown algorithm: 400."""
    _patch(tus, tus.create(10), 0, b"01234", "no-such-sum YWJj").must_be(400)


@CHECKSUM.must()
def checksum_unknown_discarded(tus: Target) -> None:
    """Unknown algorithm: the chunk is discarded, the offset not updated."""
    url = tus.create(10)
    _patch(tus, url, 0, b"01234", "no-such-sum YWJj").must_refuse()
    tus.must_have(url, 0, "an unknown algorithm")
    tus.patch(url, 0, b"01234").must_be(204)


@CHECKSUM.should()
def checksum_malformed(tus: Target) -> None:
    """Malformed header: refused, the offset not updated."""
    url = tus.create(len(WORLD))
    for value in MALFORMED:
        _patch(tus, url, 0, WORLD, value).must_refuse(about=repr(value))
    tus.must_have(url, 0, "malformed checksums")


@CHECKSUM.must()
def checksum_empty_body(tus: Target) -> None:
    """A body of 0 bytes is verified as well."""
    url = tus.create(10)
    _patch(tus, url, 0, b"", of(b"")).must_be(204)
    _patch(tus, url, 0, b"", of(b"x")).must_be(460)


def _trailing(tus: Target, url: str, data: bytes, checksum: str) -> Response:
    fields = {
        "Content-Type": OFFSET_TYPE,
        "Upload-Offset": "0",
        "Transfer-Encoding": "chunked",
        "Trailer": "Upload-Checksum",
    }
    half = len(data) // 2
    body = chunked(data[:half], data[half:], trailers=[("Upload-Checksum", checksum)])
    return tus.ask("PATCH", url, fields, body)


@TRAILER.must()
def trailer_match(tus: Target) -> None:
    """Checksums match: 204, the offset moves."""
    url = tus.create(20)
    _trailing(tus, url, WORLD, SHA1_OF_WORLD).must_be(204)
    tus.must_have(url, len(WORLD), "a matching checksum")


@TRAILER.must()
def trailer_mismatch(tus: Target) -> None:
    """Checksums mismatch: 460, the chunk is discarded, the offset not updated."""
    url = tus.create(20)
    _trailing(tus, url, WORLD, of(b"other")).must_be(460)
    tus.must_have(url, 0, "a mismatch")
    _trailing(tus, url, WORLD, SHA1_OF_WORLD).must_be(204)


@TRAILER.must()
def trailer_mismatch_large(tus: Target) -> None:
    """Checksums mismatch in a chunk of 3 MiB: all of it is discarded."""
    url, data = tus.create(4 * MEBIBYTE), b"x" * (3 * MEBIBYTE)
    _trailing(tus, url, data, of(data[1:])).must_be(460)
    tus.must_have(url, 0, "a mismatch")


@TRAILER.must()
def trailer_unknown(tus: Target) -> None:
    """Unknown algorithm: 400, the chunk is discarded, the offset not updated."""
    url = tus.create(20)
    _trailing(tus, url, WORLD, "no-such-sum YWJj").must_be(400)
    tus.must_have(url, 0, "an unknown algorithm")
