"""Signing in: guessing is limited and costs others nothing; failing takes the same time for all."""

from __future__ import annotations

import asyncio
import base64
import http.client
import itertools
import json
import re
import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from tests.support.hub import PASSWORD, RunningHub, running_hub

from dsx.config import Settings
from dsx.core.errors import RateLimited, Unauthenticated
from dsx.hub.accounts import sign_in_limits
from dsx.hub.accounts.principals import service
from dsx.hub.accounts.users import UserChanges
from dsx.wiring import open_hub

ATTEMPTS, CONNECTIONS = 10_000, 32
ROUNDS, MOST_ROUNDS, WARM_UP = 60, 200, 5
ACCOUNT, SESSION = "/api/v1/account", "/api/v1/session"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RunningHub]:
    with running_hub(tmp_path) as running:
        yield running


def rss(hub: RunningHub) -> int:
    """Bytes of memory the server has."""
    text = Path(f"/proc/{hub.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", text)
    assert found is not None
    return int(found[1]) * 1024


def sign_ins(hub: RunningHub) -> dict[str, int]:
    text = requests.get(f"{hub.url}/metrics", timeout=30).text
    found = re.findall(r'dsx_sign_ins_total\{outcome="(\w+)"\} ([\d.]+)', text)
    return {outcome: int(float(count)) for outcome, count in found}


def attempts() -> Iterator[tuple[str, str, dict[str, str], bytes | None]]:
    """Basic and sessions by turns; known names, unknown ones, and one that is always the same."""
    names = itertools.cycle(["victim", "nobody-{}", "victim", "other-{}"])
    for number, name in zip(range(ATTEMPTS), names, strict=False):
        who, guess = name.format(number), f"guess-{number}"
        if number % 2:
            basic = base64.b64encode(f"{who}:{guess}".encode()).decode()
            yield "GET", ACCOUNT, {"Authorization": f"Basic {basic}"}, None
        else:
            body = json.dumps({"username": who, "password": guess}).encode()
            yield "POST", SESSION, {"Content-Type": "application/json"}, body


def flood(hub: RunningHub) -> Counter[tuple[int, bool]]:
    """Status, and whether there was a Retry-After, of each attempt."""
    todo, lock = attempts(), threading.Lock()

    def work(_: int) -> Counter[tuple[int, bool]]:
        found: Counter[tuple[int, bool]] = Counter()
        connection = http.client.HTTPConnection(urlsplit(hub.url).netloc, timeout=60)
        while True:
            with lock:
                attempt = next(todo, None)
            if attempt is None:
                connection.close()
                return found
            method, path, headers, body = attempt
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            answer.read()
            wait = answer.getheader("Retry-After")
            found[answer.status, wait is not None and 1 <= int(wait) <= 900] += 1

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return sum(pool.map(work, range(CONNECTIONS)), Counter())


def test_ten_thousand_guesses(hub: RunningHub) -> None:
    user = hub.user("bystander")
    hub.user("victim")
    known = ("bystander", PASSWORD)  # which this server has by heart
    before, counted = rss(hub), sign_ins(hub)
    waits: list[float] = []
    over = threading.Event()

    def ask() -> None:
        session = requests.Session()
        while not over.is_set():
            begun = time.perf_counter()
            auth: Any = {"auth": known} if len(waits) % 2 else {}
            headers = {} if auth else {"Authorization": f"Bearer {user.key}"}
            answer = session.get(user.url + ACCOUNT, headers=headers, timeout=60, **auth)
            waits.append(time.perf_counter() - begun)
            assert answer.status_code == 200
            time.sleep(0.02)

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        begun = time.perf_counter()
        statuses = flood(hub)
        seconds = time.perf_counter() - begun
        over.set()
        asking.result()
    hashed = sign_ins(hub)["failed"] - counted.get("failed", 0)
    print(f"{seconds:.1f} s, {statuses}, hashed {hashed}, waits {statistics.median(waits):.4f}")
    assert statuses[401, False] == hashed <= sign_in_limits.PER_ADDRESS
    assert statuses[429, True] == ATTEMPTS - hashed
    assert sum(statuses.values()) == ATTEMPTS
    assert len(waits) > 50
    assert statistics.median(waits) < 0.25
    assert rss(hub) - before < 48 * 1024 * 1024
    right = requests.get(hub.url + ACCOUNT, auth=("victim", "wrong"), timeout=60)
    assert right.status_code == 429
    assert right.json()["retryable"] is True
    assert requests.get(hub.url + ACCOUNT, auth=known, timeout=60).status_code == 200


def test_names_and_pairs_have_limits_of_their_own(tmp_path: Path) -> None:
    async def work() -> None:
        async with hub_in(tmp_path) as hub:
            pair = await outcomes(hub, [("bob", "10.0.0.1")] * 30)
            assert pair == {
                "failed": sign_in_limits.PER_PAIR,
                "limited": 30 - sign_in_limits.PER_PAIR,
            }
            spread = await outcomes(hub, [("eve", f"10.1.0.{n}") for n in range(80)])
            assert spread["failed"] == sign_in_limits.PER_NAME
            address = await outcomes(hub, [(f"name-{n}", "10.2.0.1") for n in range(130)])
            assert address["failed"] == sign_in_limits.PER_ADDRESS
            assert await outcomes(hub, [("BOB", "10.0.0.1")]) == {"limited": 1}
            assert await outcomes(hub, [("bob", "10.9.9.9")]) == {"failed": 1}

    asyncio.run(work())


def test_many_at_once_are_no_way_round(tmp_path: Path) -> None:
    async def work() -> None:
        async with hub_in(tmp_path) as hub:
            found = await asyncio.gather(
                *(outcomes(hub, [("bob", "10.0.0.1")]) for _ in range(200))
            )
            assert (
                sum((Counter(one) for one in found), Counter())["failed"] == sign_in_limits.PER_PAIR
            )

    asyncio.run(work())


def test_who_gets_in_is_forgiven(tmp_path: Path) -> None:
    async def work() -> None:
        async with hub_in(tmp_path) as hub:
            for _ in range(5):
                failed = [("known", "10.0.0.1")] * (sign_in_limits.PER_PAIR - 1)
                assert await outcomes(hub, failed) == {"failed": len(failed)}
                assert await outcomes(hub, [("known", "10.0.0.1")], PASSWORD) == {"done": 1}
                hub.accounts.users._passwords._known.clear()

    asyncio.run(work())


@asynccontextmanager
async def hub_in(directory: Path) -> Any:
    """A hub in this process, with accounts to fail at."""
    settings = Settings(data_dir=directory / "data", api_key="k", signup="open")
    async with open_hub(settings) as hub:
        for name in ("known", "disabled"):
            await hub.accounts.users.sign_up(name, PASSWORD, by=service())
        await hub.accounts.users.change(service(), "disabled", UserChanges(disabled=True))
        await hub.accounts.users.of_subject("another issuer's", "elsewhere")
        yield hub


async def outcomes(hub: Any, who: Any, password: str = "guess guess") -> dict[str, int]:
    found: Counter[str] = Counter()
    for name, address in who:
        try:
            await hub.accounts.users.sign_in(name, password, address=address)
            found["done"] += 1
        except RateLimited:
            found["limited"] += 1
        except Unauthenticated:
            found["failed"] += 1
    return dict(found)


def test_failing_takes_the_same_time_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("PER_PAIR", "PER_NAME", "PER_ADDRESS"):
        monkeypatch.setattr(sign_in_limits, limit, 1 << 30)

    async def once(hub: Any, name: str, password: str) -> float:
        begun = time.perf_counter()
        with pytest.raises(Unauthenticated):
            await hub.accounts.users.sign_in(name, password, address="10.0.0.1")
        return time.perf_counter() - begun

    async def work() -> dict[str, float]:
        """Typical seconds by name; goes on while other programs on the machine disturb it."""
        taken: dict[str, list[float]] = {name: [] for name in tries}
        async with hub_in(tmp_path) as hub:
            for number in range(WARM_UP + MOST_ROUNDS):
                for name in list(tries)[number % 4 :] + list(tries)[: number % 4]:
                    seconds = await once(hub, name, tries[name])
                    if number >= WARM_UP:
                        taken[name].append(seconds)
                if number > ROUNDS and number % 20 == 0 and alike(typical(taken)):
                    break
        return typical(taken)

    tries = {"known": "wrong", "unknown": "wrong", "disabled": PASSWORD, "elsewhere": "x"}
    found = asyncio.run(work())
    assert alike(found), found


def typical(taken: dict[str, list[float]]) -> dict[str, float]:
    """The median of the quicker half of each, which are the undisturbed ones."""
    halves = {name: sorted(found)[: len(found) // 2] for name, found in taken.items()}
    return {name: statistics.median(half) for name, half in halves.items()}


def alike(seconds: dict[str, float]) -> bool:
    return max(seconds.values()) < 1.05 * min(seconds.values())
