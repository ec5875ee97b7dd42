"""M9: a stranger's guesses slow the stranger down, and do not shut an owner out."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.support.hub import PASSWORD, RunningHub, running_hub

from dsx.config import Settings
from dsx.core.errors import RateLimited, Unauthenticated
from dsx.hub.accounts import sign_in_limits
from dsx.hub.accounts.link_downloads import Recipient
from dsx.hub.accounts.principals import service
from dsx.hub.accounts.sign_in_limits import PER_ADDRESS, PER_NAME, PER_PAIR
from dsx.hub.clock import now
from dsx.wiring import open_hub

ACCOUNT, SESSION = "/api/v1/account", "/api/v1/session"
HOME, OFFICE, EVIL = "10.0.0.1", "10.0.0.2", "10.66.0."


@asynccontextmanager
async def hub_in(directory: Path, **more: Any) -> Any:
    async with open_hub(Settings(data_dir=directory / "data", api_key="k", **more)) as hub:
        await hub.accounts.users.sign_up("alice", PASSWORD, by=service())
        yield hub


def forgotten(hub: Any) -> None:
    """As after a restart: no password is known by heart."""
    hub.accounts.users._passwords._known.clear()


async def tried(hub: Any, address: str, password: str = "a guess", **more: Any) -> str:
    forgotten(hub)
    try:
        await hub.accounts.users.sign_in(
            more.pop("name", "alice"), password, address=address, **more
        )
    except RateLimited:
        return "limited"
    except Unauthenticated:
        return "failed"
    return "done"


async def guessed(hub: Any, count: int = 80) -> None:
    """A stranger guesses, from ever other addresses."""
    found = Counter([await tried(hub, f"{EVIL}{number}") for number in range(count)])
    assert found == {"failed": PER_NAME, "limited": count - PER_NAME}


def test_m9_a_known_address_is_not_shut_out(tmp_path: Path) -> None:
    async def work() -> None:
        async with hub_in(tmp_path) as hub:
            assert await tried(hub, HOME, PASSWORD) == "done"
            await guessed(hub)
            assert await tried(hub, HOME, PASSWORD) == "done", "she has signed in from there"
            assert await tried(hub, HOME) == "failed", "and may mistype"
            assert await tried(hub, HOME, PASSWORD) == "done"
            assert await tried(hub, OFFICE, PASSWORD) == "limited", "that is a stranger's, for all"
            wrong = Counter([await tried(hub, HOME) for _ in range(30)])
            assert wrong == {"failed": PER_PAIR, "limited": 30 - PER_PAIR}, "it is slowed, too"

    asyncio.run(work())


def test_m9_a_known_address_shields_its_own_name_alone(tmp_path: Path) -> None:
    async def work() -> None:
        async with hub_in(tmp_path) as hub:
            await hub.accounts.users.sign_up("mallory", PASSWORD, by=service())
            assert await tried(hub, HOME, PASSWORD) == "done"
            for number in range(3):
                assert await tried(hub, f"{EVIL}{number}", PASSWORD, name="mallory") == "done"
            await guessed(hub)
            found = [await tried(hub, HOME, name=f"name-{n}") for n in range(PER_ADDRESS + 20)]
            assert Counter(found) == {"failed": PER_ADDRESS, "limited": 20}
            assert await tried(hub, HOME, PASSWORD) == "done", "whoever guesses beside her"

    asyncio.run(work())


def test_m9_a_known_browser_is_not_shut_out_anywhere(tmp_path: Path) -> None:
    async def work() -> None:
        async with hub_in(tmp_path) as hub:
            user = await hub.accounts.users.sign_in("alice", PASSWORD, address=HOME)
            device = hub.accounts.sign_in_limits.device_of(user.id)
            await guessed(hub)
            pair = [await tried(hub, OFFICE) for _ in range(30)]
            assert set(pair) == {"limited"}
            assert await tried(hub, OFFICE, PASSWORD, device=device) == "done"
            other = hub.accounts.sign_in_limits.device_of("somebody else's")
            for forged in (other, device[:-2] + "AA", "x", device.upper(), "\udc80"):
                assert await tried(hub, OFFICE, PASSWORD, device=forged) == "limited"
            both = hub.accounts.sign_in_limits.device_of(user.id, other)
            assert await tried(hub, OFFICE, PASSWORD, device=both) == "done"
            wrong = Counter([await tried(hub, f"10.7.0.{n}", device=device) for n in range(30)])
            assert wrong == {"failed": PER_PAIR, "limited": 30 - PER_PAIR}, "wherever it is shown"
            for _ in range(3):
                assert await tried(hub, HOME, name="nobody", device=device) == "failed"

    asyncio.run(work())


def test_m9_addresses_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with hub_in(tmp_path) as hub:
            assert await tried(hub, HOME, PASSWORD) == "done"
            await guessed(hub)
            monkeypatch.setattr(sign_in_limits, "_KNOWN", -1)
            assert await tried(hub, HOME, PASSWORD) == "limited"
            await hub.accounts.sign_in_limits.drop_expired(now())
            monkeypatch.setattr(sign_in_limits, "_KNOWN", 10**15)
            assert await tried(hub, HOME, PASSWORD) == "limited"

    asyncio.run(work())


def test_m9_a_link_with_a_password_is_not_locked(tmp_path: Path) -> None:
    async def opened(hub: Any, secret: str, address: str, password: str, device: str = "") -> str:
        forgotten(hub)
        try:
            await hub.accounts.shares.open(secret, password, Recipient(address, ""), device=device)
        except RateLimited:
            return "limited"
        except Unauthenticated:
            return "failed"
        return "done"

    async def work() -> None:
        async with hub_in(tmp_path) as hub:
            place = throttle_place()
            share, secret = await hub.accounts.shares.by_link(service(), place, password=PASSWORD)
            assert await opened(hub, secret, HOME, PASSWORD) == "done"
            for number in range(60):
                await opened(hub, secret, f"{EVIL}{number}", "a guess")
            assert await opened(hub, secret, OFFICE, PASSWORD) == "limited"
            assert await opened(hub, secret, HOME, PASSWORD) == "done"
            device = hub.accounts.sign_in_limits.device_of(share.id)
            assert await opened(hub, secret, OFFICE, PASSWORD, device) == "done"

    asyncio.run(work())


def throttle_place() -> Any:
    from dsx.core.principals import ResourceScope  # noqa: PLC0415

    return ResourceScope("category", "x")


def test_m9_strangers_use_up_no_invitation(tmp_path: Path) -> None:
    async def work() -> None:
        async with hub_in(tmp_path, signup="invite") as hub:
            _, invite = await hub.accounts.tokens.invite(service(), "member", 3600)
            for number in range(80):
                with pytest.raises(Exception, match=r"invitation|Too many"):
                    await hub.accounts.users.sign_up(
                        f"e{number}", PASSWORD, invite="dsxi_guess", address=f"{EVIL}{number}"
                    )
            user = await hub.accounts.users.sign_up("bob", PASSWORD, invite=invite, address=HOME)
            assert user.name == "bob"

    asyncio.run(work())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_hub(tmp_path_factory.mktemp("known")) as running:
        yield running


def from_(hub: RunningHub, address: str, method: str, path: str, **more: Any) -> requests.Response:
    """A request that a proxy on this machine says comes from *address*."""
    headers = {"X-Forwarded-For": address} | more.pop("headers", {})
    return requests.request(method, hub.url + path, headers=headers, timeout=30, **more)


def test_m9_a_browser_is_known_by_its_cookie(served: RunningHub) -> None:
    served.post("/api/v1/users", json={"username": "alice", "password": PASSWORD})
    who = {"username": "alice", "password": PASSWORD}
    first = from_(served, HOME, "POST", SESSION, json=who)
    cookies = [one for one in first.cookies if one.name == "dsx_device"]
    assert len(cookies) == 1
    assert "alice" not in str(cookies[0].value)
    assert cookies[0].has_nonstandard_attr("HttpOnly")
    guess = {"username": "alice", "password": "a guess"}
    for number in range(PER_NAME + 5):
        from_(served, f"{EVIL}{number}", "POST", SESSION, json=guess)
    for _ in range(PER_PAIR + 5):
        from_(served, OFFICE, "POST", SESSION, json=guess)
    assert from_(served, OFFICE, "POST", SESSION, json=guess).status_code == 429
    shown = {"dsx_device": first.cookies["dsx_device"]}
    assert from_(served, OFFICE, "POST", SESSION, json=guess, cookies=shown).status_code == 401
    basic = {"auth": ("alice", "a guess")}
    assert from_(served, OFFICE, "GET", ACCOUNT, **basic).status_code == 429
    assert from_(served, OFFICE, "GET", ACCOUNT, cookies=shown, **basic).status_code == 401
