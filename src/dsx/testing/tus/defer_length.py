"""Creation: uploads whose length is declared later."""

from __future__ import annotations

from dsx.testing.tus.outcome import expect
from dsx.testing.tus.registry import Section
from dsx.testing.tus.target import Target

DEFER = Section("Creation/Upload-Defer-Length", "creation", "creation-defer-length")

TEN = b"0123456789"


def _is_unknown(tus: Target, url: str) -> None:
    answer = tus.state(url).lacks("Upload-Length")
    value = answer.text("Upload-Defer-Length")
    expect(value == "1", f"Upload-Defer-Length: {value}")


def _is_ten(tus: Target, url: str) -> None:
    answer = tus.state(url).lacks("Upload-Defer-Length")
    length = answer.number("Upload-Length")
    expect(length == len(TEN), f"Upload-Length {length}, not 10")


@DEFER.must()
def defer_accepted(tus: Target) -> None:
    """1 is accepted in place of Upload-Length: 201."""
    tus.post({"Upload-Defer-Length": "1"}).must_be(201)


@DEFER.must()
def defer_in_head(tus: Target) -> None:
    """HEAD has Upload-Defer-Length: 1, and no Upload-Length, as long as the length is unknown."""
    url = tus.create(None)
    _is_unknown(tus, url)
    tus.patch(url, 0, b"01234").must_be(204)
    _is_unknown(tus, url)


@DEFER.should()
def defer_other_value(tus: Target) -> None:
    """Any other value: 400."""
    for value in ("0", "2", "true", "", "01", "-1"):
        tus.post({"Upload-Defer-Length": value}).must_be(400, about=repr(value))


@DEFER.must()
def defer_told_with_data(tus: Target) -> None:
    """A PATCH declares the length: HEAD has it, and no Upload-Defer-Length."""
    url = tus.create(None)
    tus.patch(url, 0, TEN[:5], {"Upload-Length": "10"}).must_be(204)
    _is_ten(tus, url)
    tus.patch(url, 5, TEN[5:]).must_be(204)
    tus.must_have(url, 10, "the last byte")


@DEFER.must()
def defer_told_at_the_end(tus: Target) -> None:
    """The last PATCH declares the length: the upload is complete."""
    url = tus.create(None)
    tus.patch(url, 0, TEN[:5]).must_be(204)
    tus.patch(url, 5, TEN[5:], {"Upload-Length": "10"}).must_be(204)
    _is_ten(tus, url)
    tus.must_have(url, 10, "the last byte")


@DEFER.must()
def defer_told_without_data(tus: Target) -> None:
    """A PATCH without data declares the length: the upload is complete."""
    url = tus.create(None)
    tus.patch(url, 0, TEN).must_be(204)
    tus.patch(url, 10, b"", {"Upload-Length": "10"}).must_be(204)
    _is_ten(tus, url)


@DEFER.must()
def defer_told_zero(tus: Target) -> None:
    """The declared length is 0."""
    url = tus.create(None)
    tus.patch(url, 0, b"", {"Upload-Length": "0"}).must_be(204)
    length = tus.state(url).number("Upload-Length")
    expect(length == 0, f"Upload-Length {length}")


@DEFER.must()
def defer_told_once(tus: Target) -> None:
    """Once declared, the length does not change."""
    url = tus.create(None)
    tus.patch(url, 0, TEN[:5], {"Upload-Length": "10"}).must_be(204)
    for length in ("20", "7"):
        tus.patch(url, 5, b"", {"Upload-Length": length})
        _is_ten(tus, url)


@DEFER.should()
def defer_told_too_little(tus: Target) -> None:
    """A length below the current offset: refused."""
    url = tus.create(None)
    tus.patch(url, 0, TEN).must_be(204)
    tus.patch(url, 10, b"", {"Upload-Length": "5"}).must_refuse()
    tus.must_have(url, 10, "an impossible length")


@DEFER.should()
def defer_told_nonsense(tus: Target) -> None:
    """A length that is not a non-negative integer: refused, still unknown."""
    url = tus.create(None)
    for value in ("-1", "ten", "1.5", ""):
        tus.patch(url, 0, b"", {"Upload-Length": value}).must_refuse(about=repr(value))
    _is_unknown(tus, url)


@DEFER.must()
def defer_told_too_much(tus: Target) -> None:
    """A length above Tus-Max-Size: 413."""
    url, limit = tus.create(None), tus.max_size
    tus.patch(url, 0, b"", {"Upload-Length": str(limit + 1)}).must_be(413)


@DEFER.must()
def defer_metadata(tus: Target) -> None:
    """Upload-Metadata counts as in any creation."""
    url = tus.create(None, {"Upload-Metadata": "filename YS5iaW4="})
    found = tus.state(url).text("Upload-Metadata")
    expect(found == "filename YS5iaW4=", f"Upload-Metadata: {found}")
