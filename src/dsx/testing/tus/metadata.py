"""Creation: Upload-Metadata."""

from __future__ import annotations

import base64

from dsx.testing.tus.outcome import expect
from dsx.testing.tus.registry import Section
from dsx.testing.tus.target import Target
from dsx.testing.tus.wire import Response

METADATA = Section("Creation/Upload-Metadata", "creation")

INVALID = {
    "value that is not Base64": "filename n@t-base64!",
    "value with wrong padding": "filename YWJjZA=",
    "empty pair": "filename YWJj,,other YWJj",
    "more than key and value": "a YWJj YWJj",
}


def encoded(values: dict[str, bytes]) -> str:
    """Encode pairs as the header's value."""
    return ",".join(f"{key} {base64.b64encode(value).decode()}" for key, value in values.items())


def decoded(answer: Response) -> dict[str, bytes]:
    """Decode the header of a response into pairs."""
    found = {}
    for pair in answer.text("Upload-Metadata").split(","):
        key, _, value = pair.strip().partition(" ")
        expect(bool(key) and key not in found, f"Upload-Metadata: {answer.get('Upload-Metadata')}")
        found[key] = base64.b64decode(value, validate=True)
    return found


def _echoed(tus: Target, sent: str, values: dict[str, bytes]) -> None:
    found = decoded(tus.state(tus.create(10, {"Upload-Metadata": sent})))
    changed = [key for key in values if found.get(key) != values[key]]
    expect(not changed, f"changed or missing: {changed}")
    expect(len(found) == len(values), f"more than was sent: {list(found)}")


@METADATA.must()
def metadata_echoed(tus: Target) -> None:
    """Included in HEAD as specified at creation."""
    values = {"filename": b"world_domination_plan.pdf", "filetype": b"application/pdf"}
    _echoed(tus, encoded(values), values)


@METADATA.must()
def metadata_stays(tus: Target) -> None:
    """Included in HEAD at every stage of the upload."""
    values = {"filename": b"a.bin"}
    url = tus.create(10, {"Upload-Metadata": encoded(values)})
    for offset, data in ((0, b"01234"), (5, b"56789")):
        tus.patch(url, offset, data).must_be(204)
        expect(decoded(tus.state(url)) == values, f"changed after byte {offset + len(data)}")


@METADATA.must()
def metadata_any_bytes(tus: Target) -> None:
    """Values are arbitrary: UTF-8, binary, long."""
    values = {
        "filename": "Grüße, 世界 🎈.tar".encode(),
        "binary": bytes(range(256)),
        "long": b"long" * 500,
    }
    _echoed(tus, encoded(values), values)


@METADATA.must()
def metadata_empty_value(tus: Target) -> None:
    """A value may be empty, with or without the space before it."""
    values = {"filename": b"a.bin", "is_confidential": b""}
    _echoed(tus, "filename YS5iaW4=,is_confidential", values)
    _echoed(tus, "filename YS5iaW4=,is_confidential ", values)
    _echoed(tus, "is_confidential ,filename YS5iaW4=", values)
    _echoed(tus, "is_confidential", {"is_confidential": b""})


@METADATA.may()
def metadata_empty_header(tus: Target) -> None:
    """An empty header, as some clients send it, counts as none."""
    tus.create(10, {"Upload-Metadata": ""})


@METADATA.should()
def metadata_invalid(tus: Target) -> None:
    """Malformed: refused, nothing created."""
    for what, value in INVALID.items():
        tus.post({"Upload-Length": "10", "Upload-Metadata": value}).must_refuse(what)


@METADATA.should()
def metadata_repeated_key(tus: Target) -> None:
    """A key that is not unique: refused, nothing created."""
    tus.post({"Upload-Length": "10", "Upload-Metadata": "a YWJj,a YWJk"}).must_refuse()


@METADATA.should()
def metadata_smuggling(tus: Target) -> None:
    """A value with a line break does not become a header of any response."""
    values = dict.fromkeys(("filename", "name", "filetype", "type"), b"x\r\nX-Smuggled: 1\r\n\r\n")
    created = tus.post({"Upload-Length": "3", "Upload-Metadata": encoded(values)})
    created.lacks("X-Smuggled")
    if created.status != 201:  # noqa: PLR2004
        created.must_refuse()
        return
    url = tus.location(created)
    tus.state(url).lacks("X-Smuggled")
    tus.patch(url, 0, b"012").lacks("X-Smuggled")
    tus.ask("GET", url).lacks("X-Smuggled")
