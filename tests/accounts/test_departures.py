"""Accounts end: their files go to an heir or to the trash, and all else of theirs ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.accounts.test_event_streams import WITHIN, Watching, bearer
from tests.support.hub import PASSWORD, RunningHub, running_hub
from tests.support.waiting import eventually

from dsx import DatasetHubClient
from dsx.catalog import usage
from dsx.config import Settings
from dsx.wiring import open_hub

FILES, USERS, TRASH = "/api/v1/files", "/api/v1/users", "/api/v1/trash"
TUS = {"Tus-Resumable": "1.0.0", "Upload-Length": "4"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with running_hub(tmp_path_factory.mktemp("departures"), DSX_COLLECT_INTERVAL="1") as running:
        yield running


def named(hub: RunningHub, path: str = FILES, **params: Any) -> dict[str, bytes]:
    """What is listed, by name, with its bytes if it is not in the trash."""
    items = hub.get(path, params=params).json()["items"]
    return {one["name"]: hub.get(one["url"]).content if path == FILES else b"" for one in items}


def refused(hub: RunningHub) -> bool:
    return hub.get("/api/v1/account").status_code == 401


def test_files_go_to_an_heir(hub: RunningHub) -> None:
    ann, bob = hub.user("ann"), hub.user("bob")
    ann.store("plain", b"1")
    ann.store("plain", b"2")
    old = ann.store("taken", b"a mistake")
    ann.store("taken", b"ann's")
    ann.delete(f"{FILES}/{old['id']}")  # which lies in the trash alone
    ann.store("taken/too", b"ann's")
    bob.store("taken", b"bob's")
    bob.store("ann/taken", b"bob's")
    ann.delete(f"{FILES}/{ann.store('gone', b'x')['id']}")
    gone = hub.delete(f"{USERS}/ANN", params={"heir": "Bob"})
    assert gone.status_code == 200, gone.text
    assert gone.json() == {"username": "ann", "files": 4, "heir": "bob"}
    assert named(bob) == {
        "plain": b"2",
        "taken": b"bob's",
        "ann/taken": b"bob's",
        "ann-2/taken": b"ann's",
        "taken/too": b"ann's",
    }
    plain = next(one for one in bob.get(FILES).json()["items"] if one["name"] == "plain")
    assert len(bob.get(f"{FILES}/{plain['id']}/versions").json()["items"]) == 2
    assert named(bob, TRASH).keys() == {"gone", "ann-2/taken"}
    assert bob.get("/api/v1/account/usage").json()["files"] == 8
    assert refused(ann)
    assert hub.get(f"{USERS}/ann").status_code == 404


def test_files_go_to_the_trash(hub: RunningHub) -> None:
    cid = hub.user("cid")
    record = cid.store("cids", b"precious")
    assert hub.delete(f"{USERS}/cid").json() == {"username": "cid", "files": 1, "heir": None}
    assert "cids" in named(hub, TRASH)
    assert hub.post(f"{TRASH}/{record['id']}/restore").status_code == 200
    assert named(hub, name="cids") == {"cids": b"precious"}


@pytest.mark.parametrize("begun", [False, True], ids=["at once", "an end that was cut off"])
def test_n1_names_that_the_hub_has_too(hub: RunningHub, begun: bool) -> None:
    """N1: the trash takes files of any names, and an account left disabled can be deleted."""
    name, file = f"zed{begun:d}", f"f7{begun:d}"
    zed = hub.user(name)
    hub.store(file, b"the hub's")
    zed.delete(f"{FILES}/{zed.store(file, b'in the trash before')['id']}")
    zed.store(file, b"zed's first")
    theirs = zed.store(file, b"zed's")
    zed.store(f"{file} alone", b"x")
    if begun:
        hub.request("PATCH", f"{USERS}/{name}", json={"disabled": True})
    gone = hub.delete(f"{USERS}/{name}")
    assert gone.status_code == 200, gone.text
    assert gone.json()["files"] == 3
    assert hub.get(f"{USERS}/{name}").status_code == 404
    assert named(hub, name=file) == {file: b"the hub's"}
    found = [one["name"] for one in hub.get(TRASH, params={"limit": 1000}).json()["items"]]
    assert found.count(file) == 2, "what was deleted before, and what was live"
    restore = f"{TRASH}/{theirs['id']}/restore"
    assert hub.post(restore).status_code == 409
    assert hub.post(restore, json={"name": f"{file}-zed"}).status_code == 200
    assert named(hub, name=f"{file}-zed") == {f"{file}-zed": b"zed's"}


def test_files_are_purged_after_a_grace(hub: RunningHub) -> None:
    dan = hub.user("dan")
    dan.store("dans", b"x")
    dan.delete(f"{FILES}/{dan.store('dans-too', b'y')['id']}")
    assert hub.delete(f"{USERS}/dan", params={"days": 0}).json()["files"] == 2
    eventually(lambda: not {"dans", "dans-too"} & named(hub, TRASH).keys())


def test_everything_of_theirs_ends(hub: RunningHub) -> None:
    eve, fay = hub.user("eve"), hub.user("fay")
    record, theirs = eve.store("eves", b"x"), fay.store("fays", b"x")
    who = {"username": "eve", "password": PASSWORD}
    cookies = requests.post(f"{hub.url}/api/v1/session", json=who, timeout=20).cookies
    jwt = requests.post(f"{hub.url}/api-token-auth/", json=who, timeout=20).json()["token"]
    place = {"place": {"kind": "file", "value": record["id"]}}
    link = eve.post("/api/v1/shares", json=place).json()["url"]
    eve.post("/api/v1/shares", json=place | {"user": "fay"})
    fay.post(
        "/api/v1/shares", json={"place": {"kind": "file", "value": theirs["id"]}, "user": "eve"}
    )
    upload = eve.post("/api/v1/uploads", json={"name": "u", "length": 4}).json()["id"]
    part = eve.post("/uploads", headers=TUS | {"Upload-Concat": "partial"}).headers["Location"]
    task = eve.post("/api/v1/tasks", json={"name": "t"}).json()["id"]
    watching = [Watching(hub, **shown) for shown in (bearer(eve.key), {"auth": ("eve", PASSWORD)})]
    assert hub.delete(f"{USERS}/eve").status_code == 200
    for one in watching:
        assert one.ended.wait(WITHIN), "M3: a stream ends with its account"
    for shown in (bearer(eve.key), bearer(jwt), {"cookies": cookies}, {"auth": ("eve", PASSWORD)}):
        assert requests.get(f"{hub.url}/api/v1/account", timeout=20, **shown).status_code == 401
    assert requests.get(link, timeout=20).status_code == 404
    assert fay.get(f"{FILES}/{record['id']}").status_code == 404
    assert fay.get("/api/v1/shares/received").json()["items"] == []
    assert fay.get("/api/v1/shares").json()["items"] == []
    again = hub.user("eve")
    assert named(again) == {}
    assert again.get(f"{FILES}/{record['id']}").status_code == 404
    for path in (f"/api/v1/uploads/{upload}", f"/api/v1/tasks/{task}"):
        assert again.get(path).status_code == 404
    assert again.request("HEAD", part.removeprefix(hub.url), headers=TUS).status_code == 404
    stages = [one for one in hub.data_dir.rglob("*") if upload in one.name]
    assert stages == []
    found = hub.get("/api/v1/audit", params={"limit": 1000}).json()["items"]
    entry = next(one for one in found if one["action"] == "user.delete" and one["target"] == "eve")
    assert entry["details"] == {"files": 1, "heir": None}


def test_who_may_delete_whom(hub: RunningHub) -> None:
    gus, root = hub.user("gus"), hub.user("root", role="admin")
    assert gus.delete(f"{USERS}/gus").status_code == 403
    assert gus.delete(f"{USERS}/root").status_code == 403
    assert root.delete(f"{USERS}/root").status_code == 409
    assert hub.delete(f"{USERS}/nobody-here").status_code == 404
    for params, status in (
        ({"heir": "gus"}, 409),
        ({"heir": "nobody-here"}, 404),
        ({"heir": "root", "days": 1}, 400),
        ({"days": -1}, 422),
        ({"hier": "root"}, 422),
    ):
        answer = hub.delete(f"{USERS}/gus", params=params)
        assert answer.status_code == status, (params, answer.text)
    assert gus.get("/api/v1/account").status_code == 200
    with DatasetHubClient(hub.url, root.key, None) as client:
        gone = client.accounts.delete_user("gus", heir="admin")
        assert (gone.username, gone.files, gone.heir) == ("gus", 0, "admin")


def test_counters_are_right_afterwards(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        for name in ("ann", "bob"):
            hub.user(name).store("same", b"x" * 100)
        hub.delete(f"{USERS}/ann", params={"heir": "bob"})
        hub.delete(f"{USERS}/bob")

    async def work() -> list[str]:
        async with open_hub(Settings(data_dir=hub.data_dir, api_key="k")) as opened:
            return await opened.catalog.read(usage.wrong)

    assert asyncio.run(work()) == []


def test_tokens_and_shares_are_bounded_and_sign_ins_are_not(tmp_path: Path) -> None:
    """H6: sessions beyond the bound end the oldest, so that nobody is shut out."""
    with running_hub(tmp_path, DSX_MAX_TOKENS="3", DSX_MAX_SHARES="2") as hub:
        ann = hub.user("ann")
        statuses = [ann.post("/api/v1/tokens", json={}).status_code for _ in range(4)]
        assert statuses == [201, 201, 409, 409]
        assert ann.post("/api/v1/tokens", json={}).json()["code"] == "too_many"
        place = {"place": {"kind": "category", "value": "x"}}
        shares = [ann.post("/api/v1/shares", json=place) for _ in range(3)]
        assert [one.status_code for one in shares] == [201, 201, 409]
        assert ann.delete(f"/api/v1/shares/{shares[0].json()['id']}").status_code == 204
        hub.user("bob")
        assert ann.post("/api/v1/shares", json=place | {"user": "bob"}).status_code == 201
        who = {"username": "ann", "password": PASSWORD}
        session = f"{hub.url}/api/v1/session"
        cookies = [requests.post(session, json=who, timeout=20).cookies for _ in range(5)]
        account = f"{hub.url}/api/v1/account"
        found = [requests.get(account, cookies=one, timeout=20).status_code for one in cookies]
        assert found == [401, 401, 200, 200, 200]


def test_invitations_are_made_where_they_can_be_used(tmp_path: Path) -> None:
    for signup, status in (("closed", 409), ("open", 201), ("invite", 201)):
        with running_hub(tmp_path / signup, DSX_SIGNUP=signup) as hub:
            made = hub.post("/api/v1/invites", json={"role": "reader"})
            assert made.status_code == status
            if status == 409:
                assert "DSX_SIGNUP=invite" in made.json()["detail"]
                continue
            new = {"username": "ann", "password": PASSWORD, "invite": made.json()["token"]}
            joined = requests.post(hub.url + USERS, json=new, timeout=20)
            assert joined.json()["role"] == "reader", joined.text
            new["username"] = "bob"
            assert requests.post(hub.url + USERS, json=new, timeout=20).status_code == 403


def test_n15_the_log_keeps_names(hub: RunningHub) -> None:
    """N15: what they did is found by their name, whatever its case, by admins alone."""
    name = "Nora"
    nora, root = hub.user(name), hub.user("root15", role="admin")
    nora.store("noras", b"x")
    nora.get("/api/v1/users")  # which is refused
    assert hub.delete(f"{USERS}/{name}").status_code == 200
    for admin in (hub, root):
        for user in (name, name.lower()):
            answer = admin.get("/api/v1/audit", params={"user": user, "limit": 1000})
            assert answer.status_code == 200, answer.text
            assert "file.create" in [one["action"] for one in answer.json()["items"]]
    everything = hub.get("/api/v1/audit", params={"limit": 1000}).json()["items"]
    stored = next(one for one in everything if one["details"].get("name") == "noras")
    assert stored["username"] == name
    again = hub.user(name)
    again.store("noras too", b"x")
    found = hub.get("/api/v1/audit", params={"user": name, "limit": 1000}).json()["items"]
    assert {"noras", "noras too"} <= {one["details"].get("name") for one in found}
    own = again.get("/api/v1/audit", params={"limit": 1000}).json()["items"]
    assert "noras" not in {one["details"].get("name") for one in own}, "that was somebody else"
    assert hub.get("/api/v1/audit", params={"user": "never-was"}).status_code == 404
    assert again.get("/api/v1/audit", params={"user": "root15"}).status_code == 404
