"""Small: a listing of 23 MB held the event loop for 0.56 s."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from pydantic import BaseModel
from tests.support.hub import RunningHub

from dsx.http.listing import listing


class Item(BaseModel):
    """As long as a file's record may be."""

    number: int
    metadata: dict[str, Any]


def test_a_large_listing_is_made_beside_the_event_loop() -> None:
    metadata = {f"key {number}": "ä" * 100 for number in range(110)}

    async def listed() -> tuple[float, bytes]:
        begun = time.thread_time()  # of the loop's thread alone, however busy the machine is
        answer = await listing(
            range(1000), lambda number: Item(number=number, metadata=metadata), next="x"
        )
        return time.thread_time() - begun, bytes(answer.body)

    spent, body = asyncio.run(listed())
    assert len(body) > 23_000_000
    assert spent < 0.05
    found = json.loads(body)
    assert [item["number"] for item in found["items"]] == list(range(1000))
    assert found["next"] == "x"


def test_long_and_short_listings_are_the_same(hub: RunningHub) -> None:
    for number in range(25):
        hub.store(f"listed-{number:02}", b"x", metadata='{"a": [1.5, null, "ü"]}')
    both = [
        hub.get("/api/v1/files", params={"name": "listed-*", "sort": "name", "limit": limit})
        for limit in (25, 5)
    ]
    items = [answer.json()["items"] for answer in both]
    assert [item["name"] for item in items[0]] == [f"listed-{number:02}" for number in range(25)]
    assert items[0][:5] == items[1]
    assert items[0][0]["metadata"] == {"a": [1.5, None, "ü"]}
    assert both[0].json()["next"] is None
    assert both[1].headers.get("Link", "").endswith('rel="next"')
    assert both[1].headers["Content-Type"] == "application/json"
