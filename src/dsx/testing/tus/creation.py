"""Creation: POST, lengths, limits."""

from __future__ import annotations

from urllib.parse import urlsplit

from dsx.testing.tus.outcome import expect
from dsx.testing.tus.registry import Section
from dsx.testing.tus.target import Target
from dsx.testing.tus.wire import Pairs

ANNOUNCED = Section("Creation")
POST = Section("Creation/POST", "creation")
LENGTH = Section("Creation/Upload-Length", "creation")
LIMIT = Section("Creation/Tus-Max-Size", "creation")

LARGE = (2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**53 - 1, 2**53 + 1)
NOT_LENGTHS = ("-1", "+5", "5.0", "0x5", "five", "", "1e3", "5 5", "9" * 40)
NO_ROOM = (413, 507)


@ANNOUNCED.should()
def creation_announced(tus: Target) -> None:
    """The extension is implemented and announced."""
    expect("creation" in tus.extensions, f"Tus-Extension: {sorted(tus.extensions)}")


@POST.must()
def post_created(tus: Target) -> None:
    """Success: 201."""
    tus.post({"Upload-Length": "10"}).must_be(201)


@POST.must()
def post_location(tus: Target) -> None:
    """Success: Location is the URL of the created resource."""
    answer = tus.post({"Upload-Length": "10"})
    location = urlsplit(tus.location(answer))
    expect(location.scheme in {"http", "https"}, f"Location: {answer.get('Location')}")
    tus.state(tus.location(answer))


@POST.must()
def post_each_its_own(tus: Target) -> None:
    """Every creation makes a new resource."""
    fields = {"Upload-Metadata": "filename c2FtZQ=="}
    one, other = tus.create(10, fields), tus.create(10, fields)
    expect(one != other, f"twice {one}")
    tus.patch(one, 0, b"01234").must_be(204)
    tus.must_have(other, 0, "a PATCH of another upload")


@POST.must()
def post_then_core(tus: Target) -> None:
    """The new resource has offset 0 and is uploaded to by the core protocol."""
    url = tus.create(10)
    tus.must_have(url, 0, "creation")
    tus.patch(url, 0, b"0123456789").must_be(204)
    tus.must_have(url, 10, "PATCH")


@POST.should()
def post_without_length(tus: Target) -> None:
    """Neither Upload-Length nor Upload-Defer-Length: 400."""
    tus.post().must_be(400).lacks("Location")


@POST.should()
def post_with_both(tus: Target) -> None:
    """Both Upload-Length and Upload-Defer-Length: 400."""
    tus.post({"Upload-Length": "10", "Upload-Defer-Length": "1"}).must_be(400)


@POST.must()
def post_not_deferred(tus: Target) -> None:
    """Length given: HEAD has no Upload-Defer-Length."""
    tus.state(tus.create(10)).lacks("Upload-Defer-Length")


@LENGTH.must()
def length_zero(tus: Target) -> None:
    """0 creates an upload that is complete, with both headers 0 in HEAD."""
    answer = tus.state(tus.create(0))
    found = answer.number("Upload-Offset"), answer.number("Upload-Length")
    expect(found == (0, 0), f"offset and length {found}")


@LENGTH.must()
def length_large(tus: Target) -> None:
    """Large values are kept exactly, around 2^31, 2^32 and 2^53 (or there is no room)."""
    for length in LARGE:
        answer = tus.post({"Upload-Length": str(length)})
        if answer.status in NO_ROOM:
            return
        found = tus.state(tus.location(answer)).number("Upload-Length")
        expect(found == length, f"{length} became {found}")


@LENGTH.should()
def length_invalid(tus: Target) -> None:
    """Not a non-negative integer: refused, nothing created."""
    for value in NOT_LENGTHS:
        answer = tus.post({"Upload-Length": value})
        answer.must_refuse(about=f"Upload-Length: {value!r}").lacks("Location")


@LENGTH.should()
def length_repeated(tus: Target) -> None:
    """Repeated with different values: refused, nothing created."""
    twice: Pairs = [("Upload-Length", "10"), ("Upload-Length", "20")]
    tus.post(twice).must_refuse().lacks("Location")


@LENGTH.must()
def length_fixed(tus: Target) -> None:
    """Once set, a PATCH does not change it."""
    url = tus.create(10)
    for length in ("20", "5"):
        tus.patch(url, 0, b"", {"Upload-Length": length})
        found = tus.state(url).number("Upload-Length")
        expect(found == len(b"0123456789"), f"10 became {found}")


@LIMIT.must()
def limit_exceeded(tus: Target) -> None:
    """Upload-Length above it: 413."""
    tus.post({"Upload-Length": str(tus.max_size + 1)}).must_be(413).lacks("Location")
