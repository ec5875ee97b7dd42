"""Who follows thousands of tasks is told of all of them, in pieces that keep nobody waiting."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import requests
from tests.support.hub import RunningHub

from dsx.catalog import tasks as records
from dsx.catalog.database import Catalog
from dsx.core.transfers import Task
from dsx.hub.transfers.task_changes import Seen

MANY = 1300
"""More than were ever asked for at once, all of the same instant."""


def _add(hub: RunningHub, owner: str) -> None:
    instant = int(time.time() * 1_000_000)
    expires = instant + 3_600_000_000

    async def add() -> None:
        catalog = Catalog(f"sqlite:///{hub.data_dir / 'catalog.db'}")
        new = [
            Task(
                id=f"{owner}-{number}", owner=owner, kind=None, state="pending", name="n", done=0,
                total=None, message=None, created=instant, updated=instant, expires=expires,
                subject={},
            )
            for number in range(MANY)
        ]  # fmt: skip
        await catalog.write(lambda connection: [records.add(connection, task) for task in new])
        await catalog.aclose()

    asyncio.run(add())


def test_a10_a_stream_tells_of_all_tasks(hub: RunningHub) -> None:
    """A10: however many changed at the same instant."""
    user = hub.user("follower")
    me = user.get("/api/v1/account").json()["id"]
    _add(hub, me)
    told: dict[str, str] = {}
    with requests.get(
        f"{hub.url}/api/v1/tasks/events?seconds=30",
        headers={"Authorization": user.key},
        stream=True,
        timeout=60,
    ) as stream:
        for line in stream.iter_lines():
            if line.startswith(b"data: "):
                task = json.loads(line.removeprefix(b"data: "))
                assert task["id"] not in told
                told[task["id"]] = task["state"]
            if len(told) == MANY:
                break
    assert len(told) == MANY


def test_a10_news_come_in_bounded_pieces_and_once() -> None:
    """A10: those of one instant, those before, and one that changes again."""
    seen, told = Seen(), []
    marks: Sequence[tuple[str, int]] = [(str(n), 1_000_000 * (n // 400)) for n in range(1000)]
    while seen.more:
        new = seen.pick([mark for mark in marks if mark[1] >= seen.since - 2_000_000])
        assert len(new) <= Seen.MOST
        told += new
    assert sorted(told, key=int) == [id_ for id_, _ in marks]
    assert seen.pick(marks[400:]) == []
    assert seen.pick([*marks[400:], ("7", 2_500_000)]) == ["7"]


def test_tasks_are_listed_newest_first(hub: RunningHub) -> None:
    """Whatever their ids are: those of some are of chance, those of uploads of time."""
    member = hub.user(f"lister-{time.monotonic_ns()}")
    made = []
    for number in range(12):
        if number % 2:
            answer = member.post("/api/v1/uploads", json={"name": f"{number}", "length": 1})
        else:
            answer = member.post("/api/v1/tasks", json={})
        assert answer.status_code == 201, answer.text
        made.append(answer.json()["id"])
    found: list[str] = []
    params: dict[str, Any] = {"limit": 5}
    while True:
        page = member.get("/api/v1/tasks", params=params).json()
        found += [task["id"] for task in page["items"]]
        if page["next"] is None:
            break
        params["before"] = page["next"]
    assert found == made[::-1]
    wrong = member.get("/api/v1/tasks", params={"before": made[0]})
    assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid")
