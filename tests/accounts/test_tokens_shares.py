"""Tokens, shares with users, and links: what they open, for how long, how often."""

from __future__ import annotations

import hashlib
import io
import sqlite3
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
import requests
from tests.support.hub import PASSWORD, RunningHub, running_hub
from tests.support.waiting import eventually

from dsx.hub.accounts import sign_in_limits

FILES, TOKENS, SHARES = "/api/v1/files", "/api/v1/tokens", "/api/v1/shares"
NEVER = "019a0000-0000-7000-8000-00000000dead"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    directory = tmp_path_factory.mktemp("tokens")
    for name in ("one", "two"):
        (directory / "datasets" / name / "sub").mkdir(parents=True)
        (directory / "datasets" / name / "sub" / "a.txt").write_text(name)
    with running_hub(directory, DSX_OPEN_DATASETS="0") as running:
        yield running


def made(hub: RunningHub, **wanted: Any) -> dict[str, Any]:
    answer = hub.post(TOKENS, json=wanted)
    assert answer.status_code == 201, answer.text
    record: dict[str, Any] = answer.json()
    return record


def place(kind: str, value: str) -> dict[str, str]:
    return {"kind": kind, "value": value}


def shared(hub: RunningHub, kind: str, value: str, **more: Any) -> dict[str, Any]:
    answer = hub.post(SHARES, json={"place": place(kind, value)} | more)
    assert answer.status_code == 201, answer.text
    record: dict[str, Any] = answer.json()
    return record


def get(url: str, **more: Any) -> requests.Response:
    return requests.get(url, timeout=20, **more)


def test_a_token_is_shown_once(alice: RunningHub) -> None:
    token = made(alice, name="once")
    listed = alice.get(TOKENS)
    assert token["token"].startswith("dsx_")
    assert len(token["token"]) >= len("dsx_") + 43, "256 bits that nobody guesses"
    assert token["token"] not in listed.text
    found = next(item for item in listed.json()["items"] if item["id"] == token["id"])
    assert "token" not in found
    assert found["used"] is None


def test_a_token_is_kept_as_its_hash(alice: RunningHub) -> None:
    secret = made(alice)["token"]
    with closing(sqlite3.connect(alice.data_dir / "catalog.db")) as catalog:
        kept = [row[0] for row in catalog.execute("SELECT hash FROM tokens")]
    assert hashlib.sha256(secret.encode()).hexdigest() in kept


def test_a_token_tells_when_it_was_used(alice: RunningHub) -> None:
    token = made(alice, name="used")
    assert replace(alice, key=token["token"]).get(FILES).status_code == 200

    def used() -> bool:
        items = alice.get(TOKENS).json()["items"]
        return any(item["id"] == token["id"] and item["used"] for item in items)

    eventually(used)


def test_a_revoked_token_ends_at_once(alice: RunningHub, bob: RunningHub) -> None:
    token = made(alice)
    holder = replace(alice, key=token["token"])
    assert bob.delete(f"{TOKENS}/{token['id']}").status_code == 404
    assert holder.get(FILES).status_code == 200
    assert alice.delete(f"{TOKENS}/{token['id']}").status_code == 204
    assert holder.get(FILES).status_code == 401
    assert alice.delete(f"{TOKENS}/{token['id']}").status_code == 404


def test_a_token_expires_and_so_does_what_it_makes(alice: RunningHub) -> None:
    me = alice.get("/api/v1/account").json()
    brief = replace(alice, key=made(alice, scopes=me["scopes"], seconds=1.5)["token"])
    child = made(brief, seconds=3600)
    endless = made(brief)
    assert child["expires"] == endless["expires"] is not None
    holder = replace(alice, key=endless["token"])
    assert holder.get(FILES).status_code == 200
    time.sleep(1.6)
    assert brief.get(FILES).status_code == holder.get(FILES).status_code == 401


def test_a_token_of_less_makes_and_ends_nothing(alice: RunningHub) -> None:
    record = alice.store("of-less", b"x")
    victim = made(alice)
    for scopes in (["read"], ["write"], ["read", "write"], ["read", "delete"]):
        less = made(alice, scopes=scopes)
        holder = replace(alice, key=less["token"])
        assert holder.post(TOKENS, json={"scopes": scopes}).status_code == 403
        assert holder.delete(f"{TOKENS}/{victim['id']}").status_code == 403
        assert holder.delete(f"{TOKENS}/{NEVER}").status_code == 403
        if "write" not in scopes:
            asked = {"place": place("file", record["id"])}
            assert holder.post(SHARES, json=asked).status_code == 403
        assert holder.delete(f"{TOKENS}/{less['id']}").status_code == 204, "it may end itself"
    assert replace(alice, key=victim["token"]).get(FILES).status_code == 200


def test_a_token_allows_no_more_than_its_owner(hub: RunningHub, alice: RunningHub) -> None:
    reader = hub.user("reader", role="reader")
    assert reader.post(TOKENS, json={"scopes": ["write"]}).status_code == 403
    assert alice.post(TOKENS, json={"scopes": ["admin"]}).status_code == 403
    was = hub.user("demoted")
    record = was.store("demoted", b"x")
    hub.request("PATCH", "/api/v1/users/demoted", json={"role": "reader"})
    assert was.get(FILES).status_code == 200
    assert was.post(FILES, params={"name": "x"}, data=b"x").status_code == 403
    assert was.delete(f"{FILES}/{record['id']}").status_code == 403


@pytest.mark.parametrize(
    "wanted",
    [
        {"scopes": []},
        {"scopes": ["root"]},
        {"places": []},
        {"places": [place("nowhere", "x")]},
        {"places": [place("category", "x")] * 101},
        {"places": [place("dataset", "../x")]},
        {"seconds": 0},
        {"seconds": -1},
        {"seconds": 1e300},
        {"name": ""},
        {"name": "x" * 101},
        {"token": "dsx_mine"},
    ],
)
def test_tokens_that_will_not_do(alice: RunningHub, wanted: dict[str, Any]) -> None:
    assert alice.post(TOKENS, json=wanted).status_code in {400, 422}


@pytest.mark.parametrize("kind", ["file", "category", "prefix"])
def test_places_of_tokens(alice: RunningHub, kind: str) -> None:
    inside = alice.store(f"{kind}/in", b"in", category=f"{kind}-in")
    outside = alice.store(f"out-{kind}", b"out", category=f"not-{kind}-in")
    value = {"file": inside["file"], "category": f"{kind}-in", "prefix": f"{kind}/"}[kind]
    holder = replace(alice, key=made(alice, places=[place(kind, value)])["token"])
    assert [item["id"] for item in holder.get(FILES).json()["items"]] == [inside["id"]]
    assert holder.get(str(inside["url"])).content == b"in"
    assert holder.get(f"{FILES}/{outside['id']}").status_code == 404
    assert holder.get("/datasets").json() == []
    assert holder.get("/api/v1/account").json()["places"] == [place(kind, value)]


@pytest.mark.parametrize("kind", ["file", "category", "prefix"])
def test_shares_with_a_user(alice: RunningHub, bob: RunningHub, kind: str) -> None:
    label = f"shared-{kind}"
    inside = alice.store(f"{label}/in", b"in", category=label)
    outside = alice.store(f"outside-{kind}", b"out")
    value = {"file": inside["id"], "category": label, "prefix": f"{label}/"}[kind]
    assert bob.get(f"{FILES}/{inside['id']}").status_code == 404
    share = shared(alice, kind, value, user="bob")
    assert "dsxs_" not in str(share)
    assert bob.get(str(inside["url"])).content == b"in"
    listed = bob.get(FILES, params={"owner": "alice"}).json()["items"]
    assert [item["id"] for item in listed] == [inside["id"]]
    assert inside["id"] not in bob.get(FILES).text
    assert bob.get(f"{FILES}/{outside['id']}").status_code == 404
    assert bob.delete(f"{FILES}/{inside['id']}").status_code == 403
    assert bob.request("PATCH", f"{FILES}/{inside['id']}", json={}).status_code == 403
    further = {"place": place("file", inside["id"])}
    assert bob.post(SHARES, json=further).status_code == 403
    assert bob.delete(f"{SHARES}/{share['id']}").status_code == 404
    assert share["id"] in bob.get(f"{SHARES}/received").text
    assert alice.delete(f"{SHARES}/{share['id']}").status_code == 204
    assert bob.get(f"{FILES}/{inside['id']}").status_code == 404
    assert bob.get(FILES, params={"owner": "alice"}).status_code == 404


def test_a_share_with_a_user_expires(alice: RunningHub, bob: RunningHub) -> None:
    record = alice.store("brief", b"x")
    shared(alice, "file", record["id"], user="bob", seconds=1)
    assert bob.get(f"{FILES}/{record['id']}").status_code == 200
    time.sleep(1.1)
    assert bob.get(f"{FILES}/{record['id']}").status_code == 404


def test_what_was_deleted_is_shared_no_more(alice: RunningHub, bob: RunningHub) -> None:
    record = alice.store("shared-and-deleted", b"x")
    shared(alice, "file", record["id"], user="bob")
    assert alice.delete(f"{FILES}/{record['id']}").status_code == 204
    trashed = f"/api/v1/trash/{record['id']}"
    assert bob.get(f"{FILES}/{record['id']}").status_code == 404
    assert bob.post(f"{trashed}/restore").status_code == 404
    assert bob.delete(trashed).status_code == 404


def test_datasets_are_shared_by_admins(hub: RunningHub, alice: RunningHub, bob: RunningHub) -> None:
    asked = {"place": place("dataset", "one"), "user": "bob"}
    assert alice.post(SHARES, json=asked).status_code == 403
    share = shared(hub, "dataset", "one", user="bob")
    assert bob.get("/datasets").json() == ["one"]
    assert bob.get("/file/one/sub/a.txt").content == b"one"
    assert bob.get("/file/two/sub/a.txt").status_code == 404
    assert alice.get("/file/one/sub/a.txt").status_code == 404
    assert hub.delete(f"{SHARES}/{share['id']}").status_code == 204
    assert bob.get("/file/one/sub/a.txt").status_code == 404


def test_a_link_to_a_dataset(hub: RunningHub) -> None:
    url = shared(hub, "dataset", "two")["url"]
    assert [entry["path"] for entry in get(url).json()] == ["sub/a.txt"]
    assert get(f"{url}/sub/a.txt").content == b"two"
    for path in ("../one/sub/a.txt", "%2e%2e/one/sub/a.txt", "sub/../../one/sub/a.txt"):
        assert get(f"{url}/{path}").status_code in {400, 404}


def test_a_link_to_a_category_is_a_zip_of_it(alice: RunningHub) -> None:
    alice.store("zip/a", b"a", category="zipped")
    alice.store("zip/b", b"b", category="other")
    url = shared(alice, "category", "zipped")["url"]
    with zipfile.ZipFile(io.BytesIO(get(url).content)) as archive:
        assert archive.namelist() == ["zip/a"]
    assert get(f"{url}/zip/a").content == b"a"
    assert get(f"{url}/zip/b").status_code == 404
    alice.store("zip/c", b"c", category="zipped")
    assert get(f"{url}/zip/c").content == b"c"


def test_a_link_expires(alice: RunningHub) -> None:
    record = alice.store("expiring", b"x")
    share = shared(alice, "file", record["id"], seconds=1)
    guest = replace(alice, key=share["url"].rpartition("/")[2])
    assert get(share["url"]).status_code == guest.get(f"{FILES}/{record['id']}").status_code == 200
    time.sleep(1.1)
    assert get(share["url"]).status_code == 410
    assert guest.get(f"{FILES}/{record['id']}").status_code == 401
    assert get(share["url"] + "x").status_code == 404


def test_a_link_ends_with_its_share_its_file_and_its_owner(hub: RunningHub) -> None:
    carol = hub.user("carol")
    record = carol.store("ending", b"x")
    ended, kept = (shared(carol, "file", record["id"]) for _ in range(2))
    assert carol.delete(f"{SHARES}/{ended['id']}").status_code == 204
    assert get(ended["url"]).status_code == 404
    assert carol.delete(f"{FILES}/{record['id']}").status_code == 204
    assert get(kept["url"]).status_code == 404
    assert carol.post(f"/api/v1/trash/{record['id']}/restore").status_code == 200
    assert get(kept["url"]).status_code == 200
    guest = replace(hub, key=kept["url"].rpartition("/")[2])
    hub.request("PATCH", "/api/v1/users/carol", json={"disabled": True})
    assert get(kept["url"]).status_code == 410
    assert guest.get(f"{FILES}/{record['id']}").status_code == 401


def test_a_link_with_a_password(alice: RunningHub) -> None:
    record = alice.store("guarded", b"x")
    url = shared(alice, "file", record["id"], password="open sesame")["url"]
    guest = replace(alice, key=url.rpartition("/")[2])
    assert guest.get(f"{FILES}/{record['id']}").status_code == 401, "it has to be opened"
    bare = get(url)
    assert bare.status_code == 401
    assert bare.headers["WWW-Authenticate"].startswith("Basic")
    with requests.Session() as kept:  # one connection: one process, the one that has it by heart

        def opened(who: str, password: str) -> requests.Response:
            return kept.get(url, auth=(who, password), timeout=20)

        for who in ("", "anybody"):
            assert opened(who, "open sesame").content == b"x"
        wrong = Counter(opened("", f"no {n}").status_code for n in range(15))
        assert wrong == {401: sign_in_limits.PER_PAIR, 429: 15 - sign_in_limits.PER_PAIR}
        assert opened("", "open sesame").status_code == 200, "cached"


@pytest.mark.parametrize("allowed", [1, 5])
def test_downloads_are_counted_even_at_once(alice: RunningHub, allowed: int) -> None:
    record = alice.store(f"counted-{allowed}", b"x" * 100_000)
    share = shared(alice, "file", record["id"], downloads=allowed)
    for _ in range(3):
        assert requests.head(share["url"], timeout=20).status_code == 200
    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(get, [share["url"]] * 24))
    assert Counter(answer.status_code for answer in answers) == {200: allowed, 410: 24 - allowed}
    assert all(len(one.content) == 100_000 for one in answers if one.status_code == 200)
    assert requests.head(share["url"], timeout=20).status_code == 410
    listed = alice.get(SHARES, params={"limit": 1000}).json()["items"]
    assert [one["downloaded"] for one in listed if one["id"] == share["id"]] == [allowed]
    guest = replace(alice, key=share["url"].rpartition("/")[2])
    assert guest.get(f"{FILES}/{record['id']}/content").status_code == 401


@pytest.mark.parametrize(
    "wanted",
    [
        {"downloads": 0},
        {"downloads": 10**10},
        {"user": "bob", "password": "open sesame"},
        {"user": "bob", "downloads": 1},
        {"password": "short"},
        {"seconds": 0},
        {"place": place("file", "")},
        {"place": {"kind": "all", "value": "x"}},
    ],
)
def test_shares_that_will_not_do(alice: RunningHub, wanted: dict[str, Any]) -> None:
    body = {"place": place("category", "x")} | wanted
    assert alice.post(SHARES, json=body).status_code in {400, 422}


def test_only_what_is_ones_own_is_shared(alice: RunningHub, bob: RunningHub) -> None:
    record = alice.store("not-bobs", b"x")
    for body, status in (
        ({"place": place("file", record["id"])}, 404),
        ({"place": place("file", NEVER)}, 404),
        ({"place": place("category", "x"), "user": "nobody-here"}, 404),
    ):
        assert bob.post(SHARES, json=body).status_code == status
    limited = made(alice, scopes=["read", "write"], places=[place("category", "x")])
    asked = {"place": place("category", "x")}
    assert replace(alice, key=limited["token"]).post(SHARES, json=asked).status_code == 403


def test_a_password_is_no_token_and_a_token_no_password(alice: RunningHub) -> None:
    assert replace(alice, key=PASSWORD).get(FILES).status_code == 401
    body = {"username": "alice", "password": alice.key}
    answer = requests.post(f"{alice.url}/api/v1/session", json=body, timeout=20)
    assert answer.status_code == 401
