"""What somebody could come in with later is made only by who may do as much, and ends no later."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
import requests
from tests.support.hub import PASSWORD, RunningHub, running_hub
from tests.support.waiting import eventually

from dsx.core.errors import RateLimited
from dsx.core.principals import Principal
from dsx.hub.accounts.sign_in_limits import RateLimiter

FILES, SHARES = "/api/v1/files", "/api/v1/shares"
USERS, INVITES = "/api/v1/users", "/api/v1/invites"
ALL = ["read", "write", "delete", "admin"]
TRAIN = {"kind": "category", "value": "train"}
LESS: dict[str, dict[str, Any]] = {
    "limited to a place": {"scopes": ALL, "places": [TRAIN]},
    "of one scope": {"scopes": ["admin"]},
    "of two scopes": {"scopes": ["read", "admin"]},
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    directory = tmp_path_factory.mktemp("credentials")
    (directory / "datasets" / "pics").mkdir(parents=True)
    (directory / "datasets" / "pics" / "a.txt").write_text("a")
    with running_hub(directory, DSX_SIGNUP="invite", DSX_OPEN_DATASETS="0") as running:
        yield running


def of_admin(hub: RunningHub, **token: Any) -> RunningHub:
    made = hub.post("/api/v1/tokens", json={"name": "less"} | token)
    assert made.status_code == 201, made.text
    return replace(hub, key=made.json()["token"])


@pytest.mark.parametrize("less", LESS.values(), ids=list(LESS))
def test_a4_less_than_an_admin_makes_and_ends_no_way_in(
    hub: RunningHub, alice: RunningHub, less: dict[str, Any]
) -> None:
    """A4: accounts, invitations, roles, passwords; in each protocol that has them."""
    token = of_admin(hub, **less)
    before = [user["username"] for user in hub.get(USERS).json()["items"]]
    for role in ({"role": "admin"}, {}):
        new = {"username": "eve", "password": PASSWORD} | role
        assert token.post(USERS, json=new).status_code == 403
    new = {"username": "eve", "password": PASSWORD}
    assert token.post("/create_account", json=new).status_code == 403
    assert token.post(INVITES, json={"role": "admin", "seconds": 60}).status_code == 403
    for change in ({"password": "another horse"}, {"role": "admin"}, {"disabled": False}):
        answer = token.request("PATCH", f"{USERS}/alice", json=change)
        assert answer.status_code == 403, (change, answer.text)
    assert token.delete(f"{USERS}/alice").status_code == 403
    assert [user["username"] for user in hub.get(USERS).json()["items"]] == before
    assert hub.get(f"{USERS}/alice").json()["role"] == "member"
    who = ("alice", PASSWORD)
    assert requests.get(f"{hub.url}/api/v1/account", auth=who, timeout=60).status_code == 200


def test_a4_an_admin_of_a_place_is_none_elsewhere(hub: RunningHub, alice: RunningHub) -> None:
    """A4: everybody's files, lists, the scrub, the uploads and tasks of others."""
    token = of_admin(hub, scopes=ALL, places=[TRAIN])
    for category in ("train", "other"):  # a place is of one's own space
        record = alice.store(f"victim-{category}", b"alice's", category=category)
        path = f"{FILES}/{record['id']}"
        assert token.get(path).status_code == 404
        assert token.get(f"{path}/content").status_code == 404
        assert token.get(f"{path}/versions").status_code == 404
        assert token.request("PATCH", path, json={"tags": ["owned"]}).status_code == 404
        assert token.delete(path).status_code == 404
        assert alice.get(path).json()["tags"] == []
    assert token.get(FILES, params={"owner": "alice"}).status_code == 404
    for path in (USERS, "/api/v1/audit", "/api/v1/scrub", "/api/v1/scrub/findings"):
        assert token.get(path).status_code == 403, path
    for path in ("/api/v1/uploads", "/api/v1/tasks"):
        assert token.get(path, params={"everyone": "true"}).status_code == 403, path
    assert token.post("/api/v1/scrub").status_code == 403
    upload = alice.post("/api/v1/uploads", json={"name": "on its way", "length": 4}).json()
    assert token.delete(f"/api/v1/uploads/{upload['id']}").status_code == 404
    assert token.delete(f"/api/v1/tasks/{upload['id']}").status_code in {404, 405}
    assert alice.get(f"/api/v1/uploads/{upload['id']}").json()["state"] == "open"
    assert token.get("/api/v1/datasets/pics").status_code == 404
    mine = hub.store("mine", b"x", category="train")
    assert token.get(f"{FILES}/{mine['id']}").status_code == 200, "that is what it is for"


def test_a4_a_whole_token_of_an_admin_makes_them(hub: RunningHub) -> None:
    token = of_admin(hub, scopes=ALL)
    new = {"username": "made", "password": PASSWORD, "role": "reader"}
    assert token.post(USERS, json=new).status_code == 201
    assert token.request("PATCH", f"{USERS}/made", json={"role": "member"}).status_code == 200
    assert token.post(INVITES, json={}).status_code == 201
    assert token.delete(f"{USERS}/made").status_code == 200


def instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def ways_in(hub: RunningHub, record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What *hub*'s credential makes, by kind."""
    place = {"place": {"kind": "file", "value": record["id"]}}
    made = {
        "link": hub.post(SHARES, json=place),
        "long link": hub.post(SHARES, json=place | {"seconds": 1e6}),
        "share": hub.post(SHARES, json=place | {"user": "bob", "seconds": 1e6}),
        "token": hub.post("/api/v1/tokens", json={"seconds": 1e6}),
    }
    assert {kind: answer.status_code for kind, answer in made.items()} == dict.fromkeys(made, 201)
    return {kind: answer.json() for kind, answer in made.items()}


@pytest.mark.parametrize("how", ["token", "session", "signed token"])
def test_a14_nothing_outlives_what_made_it(
    hub: RunningHub, alice: RunningHub, bob: RunningHub, how: str
) -> None:
    """A14: links, shares with users and tokens; sessions and signed tokens are sign-ins, though."""
    record = alice.store(f"a14 {how}", b"x")
    who = {"username": "alice", "password": PASSWORD}
    begun = time.time()
    if how == "token":
        made_with = hub.seen_by("alice", seconds=100)
    elif how == "signed token":
        signed = requests.post(f"{hub.url}/api-token-auth/", json=who, timeout=60).json()["token"]
        made_with = replace(hub, key=signed)
    else:
        cookie = requests.post(f"{hub.url}/api/v1/session", json=who, timeout=60).cookies
        made_with = Cookie(hub, dict(cookie))
    for kind, made in ways_in(made_with, record).items():
        if how == "token":
            assert made["expires"] is not None, kind
            assert instant(made["expires"]) <= begun + 160, kind
        elif kind == "link":
            assert made["expires"] is None
        else:
            assert instant(made["expires"]) > begun + 0.9e6, kind


class Cookie(RunningHub):
    """A hub as a browser sees it that has signed in."""

    def __init__(self, hub: RunningHub, cookies: dict[str, str]) -> None:
        super().__init__(**vars(hub))
        self.cookies = cookies

    def request(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        headers = {"Sec-Fetch-Site": "same-origin"}
        url = self.url + path
        return requests.request(
            method, url, headers=headers, cookies=self.cookies, timeout=60, **kwargs
        )


def test_a14_a_link_ends_with_the_token_that_made_it(hub: RunningHub, alice: RunningHub) -> None:
    record = alice.store("a14 ends", b"x")
    token = hub.seen_by("alice", seconds=2)
    place = {"place": {"kind": "file", "value": record["id"]}}
    url = token.post(SHARES, json=place).json()["url"]
    assert requests.get(url, timeout=60).status_code == 200
    eventually(lambda: token.get("/api/v1/account").status_code == 401)
    assert requests.get(url, timeout=60).status_code == 410


@pytest.mark.parametrize("scopes", [["write"], ["read"], ["write", "delete"]], ids="-".join)
def test_a5_sharing_takes_read_and_write(
    hub: RunningHub, alice: RunningHub, scopes: list[str]
) -> None:
    """A5: whatever the place is; else a token that may only write could read by its own link."""
    record = alice.store("folder/a5", b"secret", category="a5")
    token = hub.seen_by("alice", scopes=scopes)
    places = {"file": record["id"], "category": "a5", "prefix": "folder", "dataset": "pics"}
    for kind, value in places.items():
        for whom in ({}, {"user": "bob"}):
            new = {"place": {"kind": kind, "value": value}} | whom
            assert token.post(SHARES, json=new).status_code == 403, new
    assert alice.get(SHARES, params={"limit": 1000}).status_code == 200


def test_a5_an_admin_who_may_not_read_shares_no_dataset(hub: RunningHub, bob: RunningHub) -> None:
    token = of_admin(hub, scopes=["write", "admin"])
    new = {"place": {"kind": "dataset", "value": "pics"}, "user": "bob"}
    assert token.post(SHARES, json=new).status_code == 403
    assert bob.get("/api/v1/datasets/pics").status_code == 404


def test_a17_what_a_disabled_account_shares_is_over(hub: RunningHub) -> None:
    """A17: links and shares with users alike, until the account is enabled again."""
    dora, fred = hub.user("dora"), hub.user("fred")
    record = dora.store("doras", b"x", category="dora")
    places = [{"kind": "file", "value": record["id"]}, {"kind": "category", "value": "dora"}]
    for place in places:
        assert dora.post(SHARES, json={"place": place, "user": "fred"}).status_code == 201
    url = dora.post(SHARES, json={"place": places[0]}).json()["url"]
    task = fred.post("/api/v1/tasks", json={"kind": "download", "ids": [record["id"]]}).json()["id"]
    path = f"{FILES}/{record['id']}"

    def seen() -> list[int]:
        paths = [path, f"{path}/content", f"{FILES}?owner=dora", f"/api/v1/tasks/{task}/content"]
        return [fred.get(one).status_code for one in paths]

    for disabled in (False, True, False):
        change = hub.request("PATCH", f"{USERS}/dora", json={"disabled": disabled})
        assert change.status_code == 200
        assert seen() == [404 if disabled else 200] * 4
        assert requests.get(url, timeout=60).status_code == (410 if disabled else 200)
        received = fred.get(f"{SHARES}/received").json()["items"]
        assert len(received) == (0 if disabled else 2)
    assert hub.get(path).status_code == 200


def test_a15_the_rate_is_an_accounts() -> None:
    """A15: more tokens are no more requests; but a link's recipients do not use up its owner's."""
    pace = RateLimiter(5)

    def passed(principal: Principal) -> int:
        count = 0
        with pytest.raises(RateLimited):
            while True:
                pace.check(principal)
                count += 1
        return count

    assert passed(Principal("ann", via="one")) >= 10
    for via in ("two", "three", ""):
        assert passed(Principal("ann", via=via)) <= 1
    assert passed(Principal("ann", via="link", link=True)) >= 10
    assert passed(Principal("bob", via="four")) >= 10
