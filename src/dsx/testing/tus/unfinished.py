"""Concatenation of partial uploads that are still in progress."""

from __future__ import annotations

from dsx.testing.tus.outcome import expect
from dsx.testing.tus.registry import Section
from dsx.testing.tus.target import Target

UNFINISHED = Section(
    "Concatenation/unfinished", "creation", "concatenation", "concatenation-unfinished"
)

HELLO, WORLD = b"hello", b" world"


def _started(tus: Target) -> tuple[str, str, str]:
    """Create two partial uploads, and the final upload that concatenates them."""
    one = tus.create(len(HELLO), {"Upload-Concat": "partial"})
    other = tus.create(len(WORLD), {"Upload-Concat": "partial"})
    return one, other, tus.location(tus.join([one, other]))


def _fill(tus: Target, one: str, other: str) -> None:
    tus.patch(other, 0, WORLD).must_be(204)
    tus.patch(one, 0, HELLO).must_be(204)


@UNFINISHED.must()
def unfinished_created(tus: Target) -> None:
    """The concatenation request may come before the data: 201."""
    _started(tus)


@UNFINISHED.must()
def unfinished_finishes(tus: Target) -> None:
    """Once the partial uploads are complete, so is the final one: offset and length equal."""
    one, other, final = _started(tus)
    _fill(tus, one, other)
    answer = tus.finished(final)
    found = answer.number("Upload-Offset"), answer.number("Upload-Length")
    expect(found == (11, 11), f"offset and length {found}, not 11")


@UNFINISHED.must()
def unfinished_order(tus: Target) -> None:
    """The parts are in the order of the list, not of completion (read back by GET)."""
    one, other, final = _started(tus)
    _fill(tus, one, other)
    tus.finished(final)
    expect(tus.content(final) == HELLO + WORLD, "another order, or other bytes")


@UNFINISHED.should()
def unfinished_without_offset(tus: Target) -> None:
    """HEAD of the final upload has no Upload-Offset before it is finished."""
    one, _, final = _started(tus)
    tus.patch(one, 0, HELLO).must_be(204)
    tus.state(final).lacks("Upload-Offset")


@UNFINISHED.must()
def unfinished_length(tus: Target) -> None:
    """HEAD of the final upload has Upload-Length if it can be calculated."""
    *_, final = _started(tus)
    length = tus.state(final).number("Upload-Length")
    expect(length == len(HELLO + WORLD), f"Upload-Length {length}, not 11")


@UNFINISHED.must("creation-defer-length")
def unfinished_deferred(tus: Target) -> None:
    """A partial upload of unknown length: Upload-Length comes when it is known."""
    one = tus.create(None, {"Upload-Concat": "partial"})
    other = tus.partial(WORLD)
    final = tus.location(tus.join([one, other]))
    tus.state(final).lacks("Upload-Length")
    tus.patch(one, 0, HELLO, {"Upload-Length": "5"}).must_be(204)
    length = tus.finished(final).number("Upload-Length")
    expect(length == len(HELLO + WORLD), f"Upload-Length {length}, not 11")


@UNFINISHED.must()
def unfinished_in_head(tus: Target) -> None:
    """HEAD of the final upload has Upload-Concat as received at creation."""
    one, other, final = _started(tus)
    found = tus.state(final).text("Upload-Concat")
    expect(found == f"final;{one} {other}", f"Upload-Concat: {found}")


@UNFINISHED.must()
def unfinished_patch(tus: Target) -> None:
    """PATCH of the final upload: 403, its partial uploads are not modified."""
    one, other, final = _started(tus)
    tus.patch(final, 0, HELLO).must_be(403)
    tus.must_have(one, 0, "a PATCH of the final upload")
    _fill(tus, one, other)


@UNFINISHED.must()
def unfinished_metadata(tus: Target) -> None:
    """Upload-Metadata of the concatenation request is in HEAD."""
    part = tus.create(5, {"Upload-Concat": "partial"})
    final = tus.location(tus.join([part], {"Upload-Metadata": "filename d2hvbGU="}))
    found = tus.state(final).text("Upload-Metadata")
    expect(found == "filename d2hvbGU=", f"Upload-Metadata: {found}")
