"""Termination."""

from __future__ import annotations

from dsx.testing.tus.registry import Section
from dsx.testing.tus.target import Target

DELETE = Section("Termination/DELETE", "creation", "termination")


def _deleted(tus: Target) -> str:
    url = tus.create(10)
    tus.patch(url, 0, b"01234").must_be(204)
    tus.ask("DELETE", url).must_be(204)
    return url


@DELETE.must()
def delete_new(tus: Target) -> None:
    """New upload: 204."""
    tus.ask("DELETE", tus.create(10)).must_be(204)


@DELETE.must()
def delete_unfinished(tus: Target) -> None:
    """Unfinished upload: 204."""
    _deleted(tus)


@DELETE.must()
def delete_finished(tus: Target) -> None:
    """Completed upload: 204."""
    tus.ask("DELETE", tus.upload(b"0123456789")).must_be(204)


@DELETE.should()
def deleted_head(tus: Target) -> None:
    """Afterwards HEAD: 404 or 410, without Upload-Offset."""
    tus.head(_deleted(tus)).must_be(404, 410).lacks("Upload-Offset")


@DELETE.should()
def deleted_finished_head(tus: Target) -> None:
    """Afterwards HEAD of a completed upload: 404 or 410."""
    url = tus.upload(b"0123456789")
    tus.ask("DELETE", url).must_be(204)
    tus.head(url).must_be(404, 410).lacks("Upload-Offset")


@DELETE.should()
def deleted_patch(tus: Target) -> None:
    """Afterwards PATCH: 404 or 410, and the upload stays terminated."""
    url = _deleted(tus)
    tus.patch(url, 5, b"56789").must_be(404, 410)
    tus.head(url).must_be(404, 410)


@DELETE.should()
def deleted_twice(tus: Target) -> None:
    """Afterwards DELETE: 404 or 410."""
    tus.ask("DELETE", _deleted(tus)).must_be(404, 410)


@DELETE.should()
def delete_missing(tus: Target) -> None:
    """Resource not found: 404 or 410."""
    tus.ask("DELETE", tus.missing).must_be(404, 410)


@DELETE.must()
def delete_only_one(tus: Target) -> None:
    """Other uploads are not touched."""
    other = tus.create(10)
    _deleted(tus)
    tus.patch(other, 0, b"0123456789").must_be(204)


@DELETE.must()
def delete_wrong_version(tus: Target) -> None:
    """Unsupported Tus-Resumable: 412, the upload is not terminated."""
    url = tus.create(10)
    tus.ask("DELETE", url, {"Tus-Resumable": "0.0.1"}).must_be(412)
    tus.must_have(url, 0, "a DELETE of an unsupported version")
