"""Concatenation of finished partial uploads."""

from __future__ import annotations

from urllib.parse import urljoin

from dsx.testing.tus.outcome import Inapplicable, expect
from dsx.testing.tus.registry import Section
from dsx.testing.tus.target import Target, path_of

PARTIAL = Section("Concatenation/partial", "creation", "concatenation")
FINAL = Section("Concatenation/final", "creation", "concatenation")

MEBIBYTE = 1 << 20


def _final(tus: Target, *parts: bytes) -> str:
    """Create a final upload of *parts* and return its URL once it is finished."""
    url = tus.location(tus.join([tus.partial(part) for part in parts]))
    tus.finished(url)
    return url


def _is_whole(tus: Target, url: str, length: int) -> None:
    answer = tus.finished(url)
    found = answer.number("Upload-Offset"), answer.number("Upload-Length")
    expect(found == (length, length), f"offset and length {found}, not {length}")


@PARTIAL.must()
def partial_created(tus: Target) -> None:
    """Upload-Concat: partial: 201, and it is uploaded to like any other."""
    tus.must_have(tus.partial(b"hello"), 5, "the last byte")


@PARTIAL.must()
def partial_in_head(tus: Target) -> None:
    """HEAD has Upload-Concat: partial, Upload-Offset and Upload-Length."""
    url = tus.create(10, {"Upload-Concat": "partial"})
    tus.patch(url, 0, b"01234").must_be(204)
    answer = tus.state(url)
    found = answer.text("Upload-Concat"), answer.number("Upload-Offset")
    expect(found == ("partial", 5), f"Upload-Concat and Upload-Offset {found}")
    expect(answer.number("Upload-Length") == len(b"0123456789"), "wrong Upload-Length")


@PARTIAL.must()
def ordinary_in_head(tus: Target) -> None:
    """HEAD of an ordinary upload has no Upload-Concat."""
    tus.state(tus.create(10)).lacks("Upload-Concat")


@FINAL.must()
def final_created(tus: Target) -> None:
    """Upload-Concat: final;…: 201 with Location."""
    tus.location(tus.join([tus.partial(b"hello"), tus.partial(b" world")]))


@FINAL.must()
def final_length(tus: Target) -> None:
    """Upload-Length is the sum of the partial uploads' lengths, Upload-Offset equal to it."""
    _is_whole(tus, _final(tus, b"hello", b" world"), len(b"hello world"))
    _is_whole(tus, _final(tus, b"hello"), len(b"hello"))
    _is_whole(tus, _final(tus, b"hello", b"", b"!"), len(b"hello!"))


@FINAL.must()
def final_in_head(tus: Target) -> None:
    """HEAD has Upload-Concat as received at creation."""
    sent = [tus.partial(b"hello"), tus.partial(b" world")]
    url = tus.location(tus.join(sent))
    found = tus.state(url).text("Upload-Concat")
    expect(found == "final;" + " ".join(sent), f"Upload-Concat: {found}")


@FINAL.must()
def final_urls(tus: Target) -> None:
    """The partial uploads' URLs may be absolute or relative."""
    one, other = tus.partial(b"hello"), tus.partial(b" world")
    absolute, relative = urljoin(tus.url, one), path_of(other)
    _is_whole(tus, tus.location(tus.join([absolute, relative])), len(b"hello world"))


@FINAL.must()
def final_order(tus: Target) -> None:
    """The parts are in the order of the list (read back by GET)."""
    one, other = tus.partial(b"hello"), tus.partial(b" world")
    url = tus.location(tus.join([other, one]))
    tus.finished(url)
    expect(tus.content(url) == b" worldhello", "another order, or other bytes")


@FINAL.must()
def final_large(tus: Target) -> None:
    """Parts of 1 MiB and a bit (read back by GET)."""
    parts = [bytes([number]) * (MEBIBYTE + number) for number in range(4)]
    expect(tus.content(_final(tus, *parts)) == b"".join(parts), "other bytes came back")


@FINAL.must()
def final_patch(tus: Target) -> None:
    """PATCH: 403."""
    url = _final(tus, b"hello", b" world")
    tus.patch(url, 11, b"!").must_be(403)
    tus.patch(url, 0, b"!").must_be(403)


@FINAL.must()
def final_patch_changes_nothing(tus: Target) -> None:
    """PATCH modifies neither the final upload nor its partial uploads."""
    parts = [tus.partial(b"hello"), tus.partial(b" world")]
    url = tus.location(tus.join(parts))
    tus.finished(url)
    tus.patch(url, 11, b"!").must_refuse()
    _is_whole(tus, url, 11)
    for part, length in zip(parts, (5, 6), strict=True):
        answer = tus.head(part)
        if answer.status not in (403, 404, 410):
            expect(answer.number("Upload-Offset") == length, "a partial upload was modified")


@FINAL.must()
def final_own_metadata(tus: Target) -> None:
    """Upload-Metadata is taken from the concatenation request."""
    part = tus.partial(b"hello", {"Upload-Metadata": "filename cGFydA==,part MQ=="})
    url = tus.location(tus.join([part], {"Upload-Metadata": "filename d2hvbGU="}))
    found = tus.finished(url).text("Upload-Metadata")
    expect(found == "filename d2hvbGU=", f"Upload-Metadata: {found}")


@FINAL.must()
def final_no_metadata(tus: Target) -> None:
    """The partial uploads' metadata is not transferred."""
    part = tus.partial(b"hello", {"Upload-Metadata": "filename cGFydA=="})
    found = tus.finished(tus.location(tus.join([part]))).get("Upload-Metadata")
    expect(not found, f"Upload-Metadata: {found}")


@FINAL.may()
def final_parts_reused(tus: Target) -> None:
    """Partial uploads can be used again, and more than once in a list."""
    part = tus.partial(b"hello")
    tus.finished(tus.location(tus.join([part])))
    if tus.head(part).status in (403, 404, 410):
        raise Inapplicable("partial uploads are deleted after concatenation")
    _is_whole(tus, tus.location(tus.join([part, part])), len(b"hellohello"))


@FINAL.should()
def final_with_length(tus: Target) -> None:
    """Upload-Length in the concatenation request: refused."""
    tus.join([tus.partial(b"hello")], {"Upload-Length": "5"}).must_refuse()


@FINAL.should()
def final_of_strangers(tus: Target) -> None:
    """URLs that are not uploads of this server: refused."""
    part = tus.partial(b"hello")
    strangers = (
        tus.missing,
        f"http://elsewhere.invalid{path_of(part)}",
        tus.url + "/../../../etc/passwd",
        tus.url + "/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    )
    for stranger in strangers:
        tus.join([part, stranger]).must_refuse(about=stranger)


@FINAL.should()
def final_of_others(tus: Target) -> None:
    """Uploads that are not partial: refused."""
    tus.join([tus.upload(b"hello")]).must_refuse(about="an ordinary upload")
    tus.join([_final(tus, b"hello")]).must_refuse(about="a final upload")


@FINAL.should()
def concat_malformed(tus: Target) -> None:
    """Upload-Concat malformed, or an empty list: refused."""
    for value in ("final", "final;", "final; ", "whole", "partial;x", ""):
        fields = {"Upload-Concat": value, "Upload-Length": "5"}
        if value.startswith("final"):
            del fields["Upload-Length"]
        tus.post(fields).must_refuse(about=repr(value))


@FINAL.should()
def final_of_unfinished(tus: Target) -> None:
    """Unfinished partial uploads, without concatenation-unfinished: refused."""
    if "concatenation-unfinished" in tus.extensions:
        return
    part = tus.create(10, {"Upload-Concat": "partial"})
    tus.join([part]).must_refuse()
