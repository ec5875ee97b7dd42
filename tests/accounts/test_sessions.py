"""Browsers' sessions and signed tokens: what they are good for, and what is no good for them."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from tests.support.hub import KEY, PASSWORD, RunningHub, running_hub

from dsx.config import Settings
from dsx.hub.hub import Hub
from dsx.wiring import open_hub

ACCOUNT, FILES, SESSION = "/api/v1/account", "/api/v1/files", "/api/v1/session"
OURS = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
def alice(hub: RunningHub) -> RunningHub:
    return hub.user("ses-alice")


def sign_in(hub: RunningHub, headers: Any = None, name: str = "ses-alice") -> requests.Response:
    who = {"username": name, "password": PASSWORD}
    return requests.post(hub.url + SESSION, json=who, headers=headers, timeout=20)


def cookie_of(answer: requests.Response) -> dict[str, str]:
    assert answer.status_code == 201, answer.text
    return {"dsx_session": answer.cookies["dsx_session"]}


@pytest.mark.parametrize(("proxy", "secure"), [({}, False), ({"X-Forwarded-Proto": "https"}, True)])
def test_flags_of_the_cookie(alice: RunningHub, proxy: dict[str, str], *, secure: bool) -> None:
    ages = {}
    for header in sign_in(alice, proxy).raw.headers.getlist("Set-Cookie"):
        name, _, flags = header.lower().partition("=")
        assert "httponly" in flags, name
        assert "samesite=lax" in flags
        assert "path=/;" in flags
        assert "domain" not in flags
        assert ("secure" in flags) is secure
        ages[name] = int(flags.partition("max-age=")[2].partition(";")[0]) // (24 * 3600)
    assert ages == {"dsx_session": 30, "dsx_device": 400}


def test_signing_out_ends_the_session(alice: RunningHub) -> None:
    first, second = (cookie_of(sign_in(alice)) for _ in range(2))
    gone = requests.delete(alice.url + SESSION, cookies=first, headers=OURS, timeout=20)
    assert gone.status_code == 204
    assert 'dsx_session=""' in gone.headers["Set-Cookie"]
    for cookies, status in ((first, 401), (second, 200)):
        answer = requests.get(alice.url + ACCOUNT, cookies=cookies, timeout=20)
        assert answer.status_code == status


def test_only_sessions_are_signed_out(alice: RunningHub) -> None:
    fresh = alice.seen_by("ses-alice")
    assert fresh.delete(SESSION).status_code == 404
    assert fresh.get(ACCOUNT).status_code == 200
    basic = requests.delete(alice.url + SESSION, auth=("ses-alice", PASSWORD), timeout=20)
    assert basic.status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Referer": "{url}/"},
        {"Origin": "{url}", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "{url}.evil.example"},
    ],
)
def test_other_sites_change_nothing_with_a_cookie(
    alice: RunningHub, headers: dict[str, str]
) -> None:
    cookies = cookie_of(sign_in(alice))
    told = {key: value.format(url=alice.url) for key, value in headers.items()}
    ask = {"headers": told, "cookies": cookies, "timeout": 20}
    record = alice.store("ses-target", b"x")
    for method, path in (
        ("POST", f"{FILES}?name=evil"),
        ("DELETE", f"{FILES}/{record['id']}"),
        ("PATCH", "/api/v1/users/ses-alice"),
        ("POST", "/api/v1/tokens"),
        ("DELETE", SESSION),
        ("PUT", "/api/v1/uploads/x/parts/0"),
    ):
        answer = requests.request(method, alice.url + path, **ask)
        assert answer.status_code == 403, (method, path, answer.text)
    assert requests.get(alice.url + ACCOUNT, **ask).status_code == 200


@pytest.mark.parametrize("headers", [OURS, {"Sec-Fetch-Site": "none"}, {"Origin": "{url}"}])
def test_our_own_pages_change_things(alice: RunningHub, headers: dict[str, str]) -> None:
    told = {key: value.format(url=alice.url) for key, value in headers.items()}
    ask = {"headers": told, "cookies": cookie_of(sign_in(alice)), "timeout": 20}
    answer = requests.post(f"{alice.url}{FILES}?name=ses-ours", data=b"x", **ask)
    assert answer.status_code == 201


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}]
)
def test_other_sites_sign_nobody_in(alice: RunningHub, headers: dict[str, str]) -> None:
    answer = sign_in(alice, headers)
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


def test_a_cookie_is_a_session_and_nothing_else(alice: RunningHub) -> None:
    session = cookie_of(sign_in(alice))["dsx_session"]
    bearer = {"Authorization": f"Bearer {session}"}
    assert requests.get(alice.url + ACCOUNT, headers=bearer, timeout=20).status_code == 401
    for secret in (alice.key, KEY, PASSWORD, "dsxc_x", "a.b.c"):
        cookies = {"dsx_session": secret}
        assert requests.get(alice.url + ACCOUNT, cookies=cookies, timeout=20).status_code == 401


def test_a_new_password_ends_sessions(hub: RunningHub) -> None:
    hub.user("ses-bob")
    cookies = cookie_of(sign_in(hub, name="ses-bob"))
    body = {"password": "another horse"}
    assert hub.request("PATCH", "/api/v1/users/ses-bob", json=body).status_code == 200
    assert requests.get(hub.url + ACCOUNT, cookies=cookies, timeout=20).status_code == 401


def test_a_session_expires(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_SESSION_TTL="1") as hub:
        hub.user("ses-alice")
        cookies = cookie_of(sign_in(hub))
        time.sleep(1.1)
        assert requests.get(hub.url + ACCOUNT, cookies=cookies, timeout=20).status_code == 401


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A server of its own: tests are another server on the same data."""
    with running_hub(tmp_path_factory.mktemp("signing")) as running:
        running.user("ann")
        yield running


@asynccontextmanager
async def beside(hub: RunningHub) -> AsyncIterator[Hub]:
    async with open_hub(Settings(data_dir=hub.data_dir, api_key=KEY)) as other:
        yield other


def with_hub(hub: RunningHub, work: Callable[[Hub], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with beside(hub) as other:
            return await work(other)

    return asyncio.run(run())


async def issued(hub: Hub) -> str:
    return await hub.accounts.users.issue_jwt(await hub.accounts.users.sign_in("ann", PASSWORD))


def status(hub: RunningHub, token: str, scheme: str = "JWT") -> int:
    headers = {"Authorization": f"{scheme} {token}".strip()}
    return requests.get(hub.url + ACCOUNT, headers=headers, timeout=20).status_code


def test_a_jwt_in_every_spelling(signing: RunningHub) -> None:
    token = with_hub(signing, issued)
    for scheme in ("JWT", "Bearer", "Token", ""):
        assert status(signing, token, scheme) == 200
    basic = requests.get(signing.url + ACCOUNT, auth=("ann", token), timeout=20)
    assert basic.status_code == 401


def coded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def test_a_jwt_that_was_changed(signing: RunningHub) -> None:
    token = with_hub(signing, issued)
    head, body, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    header = jwt.get_unverified_header(token)
    other = coded(claims | {"sub": "admin"})
    flipped = signature[:10] + ("A" if signature[10] != "A" else "B") + signature[11:]
    for forged in (
        f"{head}.{other}.{signature}",
        f"{head}.{body}.{flipped}",
        f"{head}.{body}.",
        f"{head}.{body}.{signature}.{signature}",
        f"{head}.{body}",
        *(
            f"{coded(header | {'alg': alg})}.{body}.{end}"
            for alg in ("none", "None", "nOnE", "", "HS384", "RS256", None, 1)
            for end in ("", signature)
        ),
        *(
            f"{coded(header | {'kid': kid})}.{body}.{signature}"
            for kid in ("", "../../dev/null", "' OR 1=1 --", 1, None, ["a"], {"a": 1}, "x" * 5000)
        ),
        f"{coded([1])}.{body}.{signature}",
        f"{coded(header)}.{coded([1])}.{signature}",
        f"!!.{body}.{signature}",
    ):
        assert status(signing, forged) == 401, forged
    assert status(signing, token) == 200


def test_a_jwt_of_another_making(signing: RunningHub) -> None:
    """Other algorithms and claims under the very key, and guessed keys under its name."""

    async def forge(hub: Hub) -> tuple[str, list[str]]:
        token = await issued(hub)
        id_, key = await hub.accounts.users._keyring._newest()
        claims = jwt.decode(token, key, algorithms=["HS256"])
        kid = {"kid": id_}
        old = claims | {"exp": int(time.time()) - 60}
        forged = [
            jwt.encode(claims, key, "HS512", headers=kid),
            jwt.encode(claims, " " * 64, "HS256", headers=kid),
            jwt.encode(claims, id_ * 4, "HS256", headers=kid),
            jwt.encode(claims, "x" * 64, "HS256", headers=kid),
            jwt.encode(claims, key, "HS256"),
            jwt.encode(old, key, "HS256", headers=kid),
            jwt.encode(claims | {"gen": claims["gen"] + 1}, key, "HS256", headers=kid),
            jwt.encode(claims | {"sub": "admin"}, key, "HS256", headers=kid),
        ]
        for absent in ("exp", "sub", "gen"):
            less = {name: value for name, value in claims.items() if name != absent}
            forged.append(jwt.encode(less, key, "HS256", headers=kid))
        return token, forged

    token, forged = with_hub(signing, forge)
    assert status(signing, token) == 200
    assert [status(signing, one) for one in forged] == [401] * len(forged)


def test_a_jwt_ends_with_what_it_stands_for(hub: RunningHub, signing: RunningHub) -> None:
    token = with_hub(signing, issued)
    path = "/api/v1/users/ann"
    for change in ({"role": "reader"}, {"disabled": True}):
        assert status(signing, token) == 200
        assert signing.request("PATCH", path, json=change).status_code == 200
        assert status(signing, token) == 401
        signing.request("PATCH", path, json={"role": "member", "disabled": False})
        token = with_hub(signing, issued)


def test_keys_rotate_without_signing_anybody_out(signing: RunningHub) -> None:
    before = with_hub(signing, issued)
    assert status(signing, before) == 200

    async def rotate(hub: Hub) -> str:
        await hub.accounts.users._keyring.rotate(grace=3)
        return await issued(hub)

    after = with_hub(signing, rotate)
    assert jwt.get_unverified_header(before)["kid"] != jwt.get_unverified_header(after)["kid"]
    assert status(signing, after) == 200, "the other server looks for keys it does not know"
    assert status(signing, before) == 200, "the old key is good for a while"
    time.sleep(3.1)
    assert status(signing, before) == 401
    assert status(signing, after) == 200
    assert status(signing, with_hub(signing, issued)) == 200


def test_keys_in_the_catalog_need_the_secret_key(signing: RunningHub, tmp_path: Path) -> None:
    with_hub(signing, issued)
    raw = b"".join(path.read_bytes() for path in signing.data_dir.glob("catalog.db*"))

    async def key(hub: Hub) -> bytes:
        return (await hub.accounts.users._keyring._newest())[1].encode()

    assert with_hub(signing, key) not in raw

    async def other(hub: RunningHub) -> str:
        settings = Settings(data_dir=hub.data_dir, api_key=KEY, secret_key="another key")
        async with open_hub(settings) as opened:
            return await issued(opened)

    with pytest.raises(Exception, match="DSX_SECRET_KEY"):
        asyncio.run(other(signing))
