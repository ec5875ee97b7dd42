"""Long lists of ids cost their sender time, and nobody else."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from tests.support.hub import RunningHub, running_hub

MANY = 10_000
PATIENCE = 15.0


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """One of its own: other tests would wait for it."""
    with running_hub(tmp_path_factory.mktemp("many-ids")) as running:
        yield running


@pytest.mark.parametrize("path", ["/api/v1/archive", "/api/v1/tasks"])
def test_a6_many_ids_of_one_member_keep_nobody_waiting(hub: RunningHub, path: str) -> None:
    """A6: sixteen requests for 10,000 ids; their sender leaves, and others are answered as ever."""
    name = path.rsplit("/", 1)[-1]
    member = hub.user(f"many-{name}")
    one = member.store("one", b"1")["id"]
    body = b'{"kind": "download", "ids": [%s]}' if name == "tasks" else b'{"ids": [%s]}'
    body %= b",".join([b'"%s"' % one.encode()] * MANY)
    host, port = hub.url.removeprefix("http://").split(":")
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {member.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    senders = [socket.create_connection((host, int(port))) for _ in range(16)]
    for sender in senders:
        sender.sendall(head.encode() + body)
    assert hub.get("/api/v1/files", timeout=PATIENCE).status_code == 200
    for sender in senders:
        sender.close()
    assert hub.get("/api/v1/files", timeout=PATIENCE).status_code == 200


def test_a6_repeats_and_order_of_ids_count(hub: RunningHub) -> None:
    """A6: however ids are looked up, an archive has them as often and in the order asked for."""
    records = [hub.store(f"order/{n}.txt", b"%d" % n) for n in range(3)]
    again = hub.store("order/0.txt", b"new")
    wanted = [records[2]["id"], str(records[0]["number"]), records[2]["id"], again["file"]]
    answer = hub.post("/api/v1/archive", json={"ids": wanted})
    assert answer.status_code == 200
    places = [answer.content.index(text) for text in (b"order/2.txt", b"order/0.txt")]
    assert places == sorted(places)
    assert answer.content.count(b"order/2 (2).txt") == 2  # before the bytes, and at the end
    assert answer.content.index(b"order/0 (2).txt") < answer.content.index(b"new")


def test_a6_one_unknown_id_among_many_is_told(hub: RunningHub) -> None:
    """A6: in whatever batch it is looked up, and another's looks the same."""
    ids = [hub.store(f"known/{n}", b"x")["id"] for n in range(3)]
    unknown = str(1 << 40)
    asked = {"ids": [*ids, unknown]}
    for path, body in (("archive", asked), ("tasks", asked | {"kind": "download"})):
        answer = hub.post(f"/api/v1/{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert unknown in answer.json()["detail"]
    stranger = hub.user("many-stranger")
    assert stranger.post("/api/v1/archive", json={"ids": ids}).status_code == 404
