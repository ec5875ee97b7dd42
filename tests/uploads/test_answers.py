"""What tus and the IETF's draft ask of a server, one thing at a time: see their documents."""

from __future__ import annotations

import pytest
from tests.support.hub import RunningHub
from tests.uploads.conftest import Begin
from tests.uploads.speakers import CHUNK, INTEROP, TUS, Rufh, path_of

AT_0 = {"Upload-Offset": "0"}
LENGTH, DEFERRED = {"Upload-Length": "4"}, {"Upload-Defer-Length": "1"}


def test_tus_another_version_is_refused(hub: RunningHub) -> None:
    for spoken in ({}, {"Tus-Resumable": "0.2.2"}):
        answer = hub.post("/uploads", headers=LENGTH | spoken)
        assert (answer.status_code, answer.headers.get("Tus-Version")) == (412, "1.0.0")


def test_tus_bytes_have_their_media_type(hub: RunningHub, tus: Begin) -> None:
    speaker = tus(4)
    for type_ in ("text/plain", "application/offset"):
        fields = TUS | AT_0 | {"Content-Type": type_}
        answer = hub.request("PATCH", speaker.path, data=b"data", headers=fields)
        assert answer.status_code == 415
    assert speaker.offset() == 0


def test_tus_where_an_upload_stands_is_not_cached(hub: RunningHub, tus: Begin) -> None:
    answer = hub.request("HEAD", tus(4).path, headers=TUS)
    assert answer.headers.get("Cache-Control") == "no-store"


@pytest.mark.parametrize("told", [{}, LENGTH | DEFERRED], ids=["none", "both"])
def test_tus_an_upload_begins_with_a_length_or_without(
    hub: RunningHub, told: dict[str, str]
) -> None:
    assert hub.post("/uploads", headers=TUS | told).status_code == 400


def partial(hub: RunningHub) -> str:
    """The path of a partial upload that is ready."""
    fields = TUS | CHUNK | LENGTH | {"Upload-Concat": "partial"}
    return path_of(hub.post("/uploads", headers=fields, data=b"data"))


@pytest.mark.parametrize("told", [LENGTH, DEFERRED], ids=["length", "deferred"])
def test_tus_the_length_of_a_final_is_that_of_its_parts(
    hub: RunningHub, told: dict[str, str]
) -> None:
    joined = TUS | {"Upload-Concat": f"final;{partial(hub)}"}
    assert hub.post("/uploads", headers=joined | told).status_code == 400
    assert hub.post("/uploads", headers=joined).status_code == 201


def test_tus_a_final_takes_no_bytes(hub: RunningHub) -> None:
    joined = TUS | {"Upload-Concat": f"final;{partial(hub)}"}
    path = path_of(hub.post("/uploads", headers=joined))
    for offset in ("0", "4"):
        fields = TUS | CHUNK | {"Upload-Offset": offset}
        assert hub.request("PATCH", path, data=b"more", headers=fields).status_code == 403


def test_tus_a_creation_whose_bytes_are_refused_leaves_nothing(hub: RunningHub) -> None:
    """Its client was not told where the upload is."""
    before = hub.get("/api/v1/uploads").json()["items"]
    wrong = {"Upload-Checksum": "md5 AAAAAAAAAAAAAAAAAAAAAA=="}
    answer = hub.post("/uploads", headers=TUS | CHUNK | LENGTH | wrong, data=b"data")
    assert answer.status_code == 460
    assert hub.get("/api/v1/uploads").json()["items"] == before


def test_draft_bytes_have_their_media_type(hub: RunningHub) -> None:
    speaker = Rufh(hub, "draft-type", 4)
    speaker.create()
    fields = INTEROP | AT_0 | {"Upload-Complete": "?1", "Content-Type": "text/plain"}
    answer = hub.request("PATCH", speaker.path, data=b"data", headers=fields)
    assert answer.status_code == 415
    assert speaker.offset() == 0


def test_draft_an_upload_is_complete_once_it_is(hub: RunningHub) -> None:
    speaker = Rufh(hub, "draft-complete", 4)
    speaker.create()
    found = []
    for start, data in ((0, b"da"), (2, b"ta")):
        assert speaker.append(start, data).ok
        head = hub.request("HEAD", speaker.path, headers=INTEROP)
        found.append(head.headers["Upload-Complete"])
    assert found == ["?0", "?1"]
