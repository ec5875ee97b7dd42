"""No connection keeps the event loop for long, whatever it sends."""

from __future__ import annotations

import threading
import time

from tests.support.hub import RunningHub
from tests.support.wire import wire

SENDERS, BYTES = 6, 60_000


def test_a12_bodies_in_chunks_of_a_byte_arrive_and_keep_nobody_waiting(hub: RunningHub) -> None:
    """A12: six connections; others are answered meanwhile, and what is behind is read, too."""
    body = b"1\r\nx\r\n" * BYTES + b"0\r\n\r\n"
    behind = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    statuses: list[int] = []

    def send(number: int) -> None:
        head = (
            f"POST /api/v1/files?name=bytes-{number} HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: {hub.key}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        with wire(hub) as connection:
            connection.send(head.encode() + body + behind)
            statuses.extend(connection.answer().status for _ in range(2))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(SENDERS)]
    for thread in threads:
        thread.start()
    waits = []
    with wire(hub) as other:
        while any(thread.is_alive() for thread in threads):
            begun = time.monotonic()
            assert other.ask("GET", "/health").status == 200
            waits.append(time.monotonic() - begun)
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] * SENDERS + [201] * SENDERS
    found = hub.get("/api/v1/files", params={"name": "bytes-*"}).json()["items"]
    assert {one["size"] for one in found} == {BYTES}
    assert len(waits) > SENDERS


def test_a12_the_schema_is_spelled_once(hub: RunningHub) -> None:
    """A12: hundreds of requests for it at once are hundreds of copies, no more."""
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    with wire(hub) as connection:
        connection.send(ask * 50)
        first = connection.answer()
        assert first.status == 200
        assert all(connection.answer().body == first.body for _ in range(49))
