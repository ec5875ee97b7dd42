"""Core protocol: versions, OPTIONS, HEAD, overridden methods."""

from __future__ import annotations

from dsx.testing.tus.outcome import expect
from dsx.testing.tus.registry import Section
from dsx.testing.tus.target import OFFSET_TYPE, VERSION, Target
from dsx.testing.tus.wire import Response

OPTIONS = Section("Core/OPTIONS")
VERSIONS = Section("Core/Tus-Resumable", "creation")
HEAD = Section("Core/HEAD", "creation")
OVERRIDE = Section("Core/X-HTTP-Method-Override", "creation")

KNOWN_DEPENDENCIES = {
    "creation-with-upload": "creation",
    "creation-defer-length": "creation",
    "checksum-trailer": "checksum",
    "concatenation-unfinished": "concatenation",
}


@OPTIONS.must()
def options_without_version(tus: Target) -> None:
    """Without Tus-Resumable: 200 or 204."""
    tus.options.must_be(200, 204)


@OPTIONS.must()
def options_with_any_version(tus: Target) -> None:
    """Tus-Resumable is ignored, even an unsupported one."""
    for version in (VERSION, "0.0.1"):
        answer = tus.ask("OPTIONS", tus.url, {"Tus-Resumable": version})
        answer.must_be(200, 204, about=version).text("Tus-Version")


@OPTIONS.must()
def options_lists_versions(tus: Target) -> None:
    """Tus-Version is a comma-separated list, with 1.0.0."""
    versions = tus.options.items("Tus-Version")
    expect(VERSION in versions, f"Tus-Version: {tus.options.get('Tus-Version')}")


@OPTIONS.must()
def options_lists_extensions(tus: Target) -> None:
    """Tus-Extension is a comma-separated list of names, or absent."""
    listed = tus.options.get("Tus-Extension")
    if listed is None:
        return
    names = [name.strip() for name in listed.split(",")]
    expect(all(name and " " not in name for name in names), f"Tus-Extension: {listed!r}")


@OPTIONS.must()
def options_extensions_fit(tus: Target) -> None:
    """No extension is announced without the one it builds on."""
    alone = [
        name
        for name, base in KNOWN_DEPENDENCIES.items()
        if name in tus.extensions and base not in tus.extensions
    ]
    expect(not alone, f"announced alone: {alone}")


@OPTIONS.must()
def options_max_size(tus: Target) -> None:
    """Tus-Max-Size is a non-negative integer."""
    expect(tus.max_size >= 0, "negative")


def _successes(tus: Target) -> dict[str, Response]:
    created = tus.post({"Upload-Length": "10"})
    url = tus.location(created)
    return {
        "POST": created.must_be(201),
        "PATCH": tus.patch(url, 0, b"01234").must_be(204),
        "HEAD": tus.head(url).must_be(200, 204),
    }


def _errors(tus: Target) -> dict[str, Response]:
    url = tus.create(10)
    return {
        "wrong offset": tus.patch(url, 7, b"789"),
        "wrong content type": tus.patch(url, 0, b"0", {"Content-Type": "text/plain"}),
        "HEAD of nothing": tus.head(tus.missing),
        "PATCH of nothing": tus.patch(tus.missing, 0, b"0"),
        "POST without length": tus.post(),
        "unsupported version": tus.head(url, {"Tus-Resumable": "0.0.1"}),
    }


def _all_say_version(answers: dict[str, Response]) -> None:
    silent = [what for what, answer in answers.items() if answer.get("Tus-Resumable") != VERSION]
    expect(not silent, f"no Tus-Resumable: {VERSION} in the answer to: {', '.join(silent)}")


@VERSIONS.must()
def version_in_successes(tus: Target) -> None:
    """Included in the response to POST, PATCH and HEAD."""
    _all_say_version(_successes(tus))


@VERSIONS.must()
def version_in_errors(tus: Target) -> None:
    """Included in error responses."""
    _all_say_version(_errors(tus))


def _refused_for_version(tus: Target, version: str | None) -> None:
    url = tus.create(10)
    field = {"Tus-Resumable": version}
    answers = {
        "POST": tus.post({**field, "Upload-Length": "10"}),
        "HEAD": tus.head(url, field),
        "PATCH": tus.patch(url, 0, b"01234", field),
    }
    for method, answer in answers.items():
        answer.must_be(412, about=method)
        versions = answer.items("Tus-Version")
        expect(VERSION in versions, f"{method}: 412 with Tus-Version {versions}")


@VERSIONS.must()
def unsupported_version(tus: Target) -> None:
    """Unsupported version: 412 with Tus-Version."""
    for version in ("0.0.1", "1.0", "99.0.0"):
        _refused_for_version(tus, version)


@VERSIONS.must()
def unsupported_version_not_processed(tus: Target) -> None:
    """Unsupported version: the request is not processed."""
    url = tus.create(10)
    tus.patch(url, 0, b"01234", {"Tus-Resumable": "0.0.1"}).must_refuse()
    tus.must_have(url, 0, "a PATCH of an unsupported version")
    tus.post({"Tus-Resumable": "0.0.1", "Upload-Length": "1"}).must_refuse().lacks("Location")


@VERSIONS.must()
def absent_version(tus: Target) -> None:
    """Absent: 412 with Tus-Version."""
    _refused_for_version(tus, None)


@VERSIONS.must()
def absent_version_not_processed(tus: Target) -> None:
    """Absent: the request is not processed."""
    url = tus.create(10)
    tus.patch(url, 0, b"01234", {"Tus-Resumable": None}).must_refuse()
    tus.must_have(url, 0, "a PATCH without Tus-Resumable")
    tus.post({"Tus-Resumable": None, "Upload-Length": "1"}).must_refuse().lacks("Location")


@HEAD.must()
def head_offset_zero(tus: Target) -> None:
    """Upload-Offset is included even if it is 0."""
    tus.must_have(tus.create(10), 0, "creation")


@HEAD.must()
def head_offset_midway(tus: Target) -> None:
    """Upload-Offset is the number of bytes stored."""
    url = tus.create(10)
    tus.patch(url, 0, b"012").must_be(204)
    tus.must_have(url, 3, "3 bytes")


@HEAD.must()
def head_offset_complete(tus: Target) -> None:
    """Upload-Offset is included when the upload is complete."""
    tus.must_have(tus.upload(b"0123456789"), 10, "the last byte")


@HEAD.must()
def head_length(tus: Target) -> None:
    """Upload-Length is included if known, at every stage."""
    url = tus.create(10)
    for offset, data in ((0, b"01234"), (5, b"56789"), (10, b"")):
        length = tus.state(url).number("Upload-Length")
        expect(length == 10, f"Upload-Length {length} of 10")  # noqa: PLR2004
        if data:
            tus.patch(url, offset, data).must_be(204)


@HEAD.must()
def head_no_store(tus: Target) -> None:
    """The response has Cache-Control: no-store."""
    directives = [item.lower() for item in tus.state(tus.create(10)).items("Cache-Control")]
    expect("no-store" in directives, f"Cache-Control: {directives}")


@HEAD.should()
def head_missing(tus: Target) -> None:
    """Resource not found: 404, 410 or 403."""
    tus.head(tus.missing).must_be(404, 410, 403)


@HEAD.should()
def head_missing_without_offset(tus: Target) -> None:
    """Resource not found: no Upload-Offset."""
    tus.head(tus.missing).must_refuse().lacks("Upload-Offset")


@HEAD.must()
def head_changes_nothing(tus: Target) -> None:
    """HEAD does not change the upload."""
    url = tus.create(10)
    tus.patch(url, 0, b"012").must_be(204)
    for _ in range(3):
        tus.must_have(url, 3, "HEAD")
    tus.patch(url, 3, b"3456789").must_be(204)


@OVERRIDE.must()
def override_patch(tus: Target) -> None:
    """POST overridden as PATCH is a PATCH."""
    url = tus.create(10)
    fields = {"X-HTTP-Method-Override": "PATCH", "Content-Type": OFFSET_TYPE, "Upload-Offset": "0"}
    answer = tus.ask("POST", url, fields, b"01234").must_be(204)
    expect(answer.number("Upload-Offset") == len(b"01234"), "wrong Upload-Offset")
    tus.must_have(url, 5, "an overridden POST")


@OVERRIDE.must("termination")
def override_delete(tus: Target) -> None:
    """POST overridden as DELETE is a DELETE."""
    url = tus.create(10)
    tus.ask("POST", url, {"X-HTTP-Method-Override": "DELETE"}).must_be(204)
    tus.head(url).must_be(404, 410, 403)


@OVERRIDE.must()
def override_head(tus: Target) -> None:
    """GET overridden as HEAD is a HEAD."""
    url = tus.create(10)
    answer = tus.ask("GET", url, {"X-HTTP-Method-Override": "HEAD"}, read_as="HEAD")
    expect(answer.must_be(200, 204).number("Upload-Offset") == 0, "wrong Upload-Offset")


@OVERRIDE.must()
def override_wins(tus: Target) -> None:
    """The actual method is ignored: PATCH or DELETE overridden as HEAD changes nothing."""
    url = tus.create(10)
    fields = {"X-HTTP-Method-Override": "HEAD", "Content-Type": OFFSET_TYPE, "Upload-Offset": "0"}
    tus.ask("PATCH", url, fields, b"01234", read_as="HEAD").must_be(200, 204)
    tus.ask("DELETE", url, fields, read_as="HEAD").must_be(200, 204)
    tus.must_have(url, 0, "PATCH and DELETE overridden as HEAD")
