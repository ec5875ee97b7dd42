"""The digest may be told at the end, when a client has read all that it sends."""

from __future__ import annotations

import uuid
from hashlib import sha256
from pathlib import Path

import pytest
from tests.support.hub import RunningHub, running_hub
from tests.uploads.conftest import noise
from tests.uploads.speakers import SPEAKERS, Native, Speaker

DATA = noise(300_000)
RIGHT = {"sha256": sha256(DATA).hexdigest().upper()}
WRONG = {"sha256": sha256(b"other").hexdigest()}


@pytest.fixture(params=["in order", "out of order"])
def sent(hub: RunningHub, request: pytest.FixtureRequest) -> Native:
    """An upload with all its bytes: the hub knows their hash already, or has yet to read them."""
    speaker = Native(hub, f"finish-{uuid.uuid4()}", len(DATA))
    speaker.create()
    half = len(DATA) // 2
    parts = [(0, DATA[:half]), (half, DATA[half:])]
    for start, part in parts if request.param == "in order" else reversed(parts):
        hub.request("PUT", f"{speaker.path}/parts/{start}", data=part).raise_for_status()
    return speaker


def test_the_right_digest(hub: RunningHub, sent: Native) -> None:
    made = [hub.post(f"{sent.path}/finish", json=RIGHT) for _ in range(2)]
    assert [answer.status_code for answer in made] == [201, 201]
    assert made[0].json() == made[1].json()


def test_another_digest(hub: RunningHub, sent: Native) -> None:
    """Nothing is made and nothing is lost."""
    for _ in range(2):
        answer = hub.post(f"{sent.path}/finish", json=WRONG)
        assert (answer.status_code, answer.json().get("code")) == (422, "digest_mismatch")
    assert hub.get("/api/v1/files", params={"name": sent.name}).json()["items"] == []
    assert hub.get(sent.path).json()["offset"] == len(DATA)
    assert hub.request("DELETE", sent.path).status_code == 204


def test_another_digest_after_the_right_one(hub: RunningHub, sent: Native) -> None:
    assert hub.post(f"{sent.path}/finish").json()["sha256"] == RIGHT["sha256"].lower()
    answer = hub.post(f"{sent.path}/finish", json=WRONG)
    assert (answer.status_code, answer.json().get("code")) == (422, "digest_mismatch")


@pytest.mark.parametrize("digest", ["", "xyz", "ab", "0" * 63, "0" * 65, 7])
def test_no_digest(hub: RunningHub, sent: Native, digest: object) -> None:
    answer = hub.post(f"{sent.path}/finish", json={"sha256": digest})
    assert answer.status_code in {400, 422}


def test_26_a_key_that_is_withdrawn_finishes_nothing(tmp_path: Path) -> None:
    """Its upload is kept for whoever still has a key."""
    with running_hub(tmp_path, DSX_API_KEY="old") as hub:
        speaker = Native(hub, "withdrawn", len(DATA))
        speaker.create()
        hub.request("PUT", f"{speaker.path}/parts/0", data=DATA).raise_for_status()
    with running_hub(tmp_path, DSX_API_KEY="new") as hub:
        old = {"Authorization": "Bearer old"}
        for method, path in (("POST", "finish"), ("PUT", "parts/0"), ("DELETE", "")):
            answer = hub.request(method, f"{speaker.path}/{path}".rstrip("/"), headers=old)
            assert answer.status_code == 401
        assert hub.get("/api/v1/files").json()["items"] == []
        made = hub.post(f"{speaker.path}/finish", json=RIGHT)
        assert (made.status_code, made.json()["name"]) == (201, "withdrawn")


@pytest.mark.parametrize("speaker_kind", SPEAKERS, ids=lambda kind: kind.__name__.lower())
def test_26_a_role_that_is_taken_away_finishes_nothing(
    hub: RunningHub, speaker_kind: type[Speaker]
) -> None:
    """Refused with 403, in whichever protocol; what has come is kept."""
    name = f"demoted-{speaker_kind.__name__.lower()}"
    user = hub.user(name)
    speaker = speaker_kind(user, name, len(DATA))
    speaker.create()
    half = len(DATA) // 2
    assert speaker.append(0, DATA[:half]).status_code < 300

    def give(role: str) -> None:
        hub.request("PATCH", f"/api/v1/users/{name}", json={"role": role}).raise_for_status()

    give("reader")
    refused = speaker.append(half, DATA[half:])
    assert refused.status_code == 403
    assert user.get("/api/v1/files").json()["items"] == []
    give("member")
    assert speaker.append(half, DATA[half:]).status_code < 300
    assert speaker.finish()["name"] == name
