"""The audit log has every change and every refusal; and how often one may ask."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.support.hub import PASSWORD, RunningHub, running_hub
from tests.support.waiting import eventually

from dsx.catalog import audit as records
from dsx.config import Settings
from dsx.core.addresses import source_of
from dsx.hub.accounts.principals import service
from dsx.hub.clock import now
from dsx.wiring import open_hub

FILES, TRASH, UPLOADS = "/api/v1/files", "/api/v1/trash", "/api/v1/uploads"
TUS = {"Tus-Resumable": "1.0.0"}
IETF = {"Upload-Draft-Interop-Version": "8"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with running_hub(tmp_path_factory.mktemp("audit"), DSX_SIGNUP="invite") as running:
        yield running


def entries(hub: RunningHub, **filters: Any) -> list[dict[str, Any]]:
    answer = hub.get("/api/v1/audit", params={"limit": 1000} | filters)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def change_everything(hub: RunningHub, alice: RunningHub) -> list[tuple[str, str]]:
    """One of each kind of change by *alice*; the actions and targets that the log should have."""
    one, two = alice.store("audited", b"x"), alice.store("emptied", b"x")
    alice.request("PATCH", f"{FILES}/{one['id']}", json={"tags": ["t"]})
    for record in (one, two):
        alice.delete(f"{FILES}/{record['id']}")
    alice.post(f"{TRASH}/{one['id']}/restore")
    alice.delete(f"{FILES}/{one['id']}")
    alice.delete(f"{TRASH}/{one['id']}")
    alice.delete(TRASH, params={"confirm": "all"})
    upload = alice.post(UPLOADS, json={"name": "audited-upload", "length": 1}).json()["id"]
    alice.delete(f"{UPLOADS}/{upload}")
    token = alice.post("/api/v1/tokens", json={}).json()["id"]
    alice.delete(f"/api/v1/tokens/{token}")
    place = {"place": {"kind": "category", "value": "x"}}
    share = alice.post("/api/v1/shares", json=place).json()["id"]
    alice.delete(f"/api/v1/shares/{share}")
    who = {"username": "alice", "password": PASSWORD}
    cookies = requests.post(f"{hub.url}/api/v1/session", json=who, timeout=20).cookies
    ours = {"Sec-Fetch-Site": "same-origin"}
    requests.delete(f"{hub.url}/api/v1/session", cookies=cookies, headers=ours, timeout=20)
    body = {"password": PASSWORD, "current_password": PASSWORD}
    alice.request("PATCH", "/api/v1/users/alice", json=body)
    return [
        ("file.create", one["id"]),
        ("file.change", one["id"]),
        ("file.delete", one["id"]),
        ("file.restore", one["id"]),
        ("file.purge", one["id"]),
        ("trash.empty", ""),
        ("upload.create", upload),
        ("upload.abort", upload),
        ("token.create", token),
        ("token.revoke", token),
        ("share.create", share),
        ("share.end", share),
        ("user.change", "alice"),
    ]


def test_every_change_is_in_the_log(hub: RunningHub, alice: RunningHub) -> None:
    wanted = change_everything(hub, alice)
    found = entries(hub, user="alice", outcome="done")
    noted = {(entry["action"], entry["target"]) for entry in found}
    assert set(wanted) <= noted
    assert {"session.create", "session.end"} <= {action for action, _ in noted}
    assert {entry["username"] for entry in found} == {"alice"}
    assert all(entry["address"] == "127.0.0.1" for entry in found)
    own = entries(alice)
    assert {entry["number"] for entry in own} >= {entry["number"] for entry in found}


def test_admins_changes_are_in_the_log(hub: RunningHub) -> None:
    invite = hub.post("/api/v1/invites").json()
    body = {"username": "invited", "password": PASSWORD, "invite": invite["token"]}
    requests.post(f"{hub.url}/api/v1/users", json=body, timeout=20)
    hub.request("PATCH", "/api/v1/users/invited", json={"role": "reader"})
    found = {(one["action"], one["target"], one["username"]) for one in entries(hub)}
    assert ("invite.create", invite["id"], None) in found
    assert ("user.create", "invited", "invited") in found
    assert ("user.change", "invited", None) in found


def test_what_is_refused_is_in_the_log(hub: RunningHub, alice: RunningHub) -> None:
    bob = hub.user("bob")
    reader = bob.seen_by("bob", scopes=["read"])
    record = alice.store("not-bobs", b"x")
    upload = alice.post(UPLOADS, json={"name": "not-bobs", "length": 1}).json()["id"]
    bob.get(f"{FILES}/{record['id']}")
    bob.delete(f"{FILES}/{record['id']}")
    reader.post(FILES, params={"name": "x"}, data=b"x")
    reader.post("/uploads", headers=TUS | {"Upload-Length": "1"})
    reader.post("/uploads", headers=IETF | {"Upload-Complete": "?1"}, data=b"x")
    bob.get("/api/v1/users")
    bob.get(f"{UPLOADS}/{upload}")
    wanted = {"get_file", "delete_file", "create_file", "create", "list_users"}

    def noted() -> bool:
        found = entries(hub, user="bob", outcome="refused")
        count = sum(entry["details"]["count"] for entry in found)
        return wanted <= {entry["target"] for entry in found} and count >= 6

    eventually(noted)
    requests.get(hub.url + FILES, auth=("bob", "wrong"), timeout=20)
    requests.get(hub.url + FILES, headers={"Authorization": "Bearer guessed"}, timeout=20)
    requests.get(f"{hub.url}/s/dsxs_guessed", timeout=20)
    nobodys = {"list_files: unauthenticated": 2, "open_link: not_found": 1}

    def guessed() -> bool:
        """Of strangers, together: the guesses may lie in two minutes, and thus in two entries."""
        strangers = [one for one in entries(hub, outcome="refused") if not one["principal"]]
        seen: Counter[str] = Counter()
        for one in strangers:
            assert one["address"] == "127.0.0.1"
            seen.update(one["details"]["seen"])
        return seen == nobodys

    eventually(guessed)


def test_others_entries_are_not_shown(hub: RunningHub, alice: RunningHub) -> None:
    carol = hub.user("carol")
    carol.store("by-carol", b"x")
    assert {entry["username"] for entry in entries(carol)} == {"carol"}
    for asked in ("alice", "admin", "nobody-here"):
        answer = carol.get("/api/v1/audit", params={"user": asked})
        assert answer.status_code == 404
    assert not [one for one in entries(alice) if one["username"] != "alice"]
    limited = carol.seen_by("carol", places=[{"kind": "category", "value": "x"}])
    assert limited.get("/api/v1/audit").status_code == 403


def test_pages_of_the_log(hub: RunningHub) -> None:
    numbers, before = [], None
    while True:
        asked = {"limit": 7} | ({} if before is None else {"before": before})
        page = hub.get("/api/v1/audit", params=asked).json()
        numbers += [entry["number"] for entry in page["items"]]
        before = page["next"]
        if before is None:
            break
    assert numbers == sorted(set(numbers), reverse=True)
    assert len(numbers) > 7


def test_m4_a_flood_of_refusals_is_counted(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        begun, tries = time.monotonic(), 4000

        def ask(_: int) -> int:
            session, count = requests.Session(), 0
            session.headers["Authorization"] = "Bearer guessed"
            while count < tries // 8:
                assert session.get(hub.url + FILES, timeout=60).status_code == 401
                count += 1
            return count

        with ThreadPoolExecutor(8) as pool:
            asked = sum(pool.map(ask, range(8)))

        minutes = (time.monotonic() - begun) // 60 + 2

        def all_counted() -> bool:
            found = entries(hub, limit=1000, outcome="refused")
            assert len(found) <= minutes
            return sum(entry["details"]["count"] for entry in found) == asked

        eventually(all_counted)


def test_m4_refusals_of_an_account_are_counted_by_what_it_tried(tmp_path: Path) -> None:
    """So that an account cannot fill the log either; what it tried and why is still told."""
    with running_hub(tmp_path) as hub:
        alice, path = hub.user("alice"), f"{FILES}/{hub.store('x', b'x')['id']}"
        for _ in range(50):
            assert alice.get("/api/v1/users").status_code == 403
            assert alice.get(path).status_code == 404

        def noted() -> bool:
            found = entries(hub, outcome="refused", user="alice")
            assert len(found) <= 8
            counts: Counter[tuple[str, str]] = Counter()
            for one in found:
                counts[one["target"], one["details"]["why"]] += one["details"]["count"]
            return counts == {("list_users", "denied"): 50, ("get_file", "not_found"): 50}

        eventually(noted)


def test_m4_the_log_is_bounded_and_refusals_go_first(tmp_path: Path) -> None:
    async def work() -> None:
        settings = Settings(data_dir=tmp_path, api_key="k", audit_rows=100, audit_size=40_000)
        async with open_hub(settings) as hub:
            admin = service()

            async def fill(count: int, outcome: str, target: str) -> None:
                rows = [records.entry(admin, now(), "x", target, outcome=outcome)] * count
                await hub.catalog.write(lambda connection: records.add(connection, *rows))

            async def kept() -> Counter[str]:
                found = await hub.accounts.audit.list(admin, limit=1000)
                return Counter(event.outcome for event in found)

            await fill(60, "done", "a")
            await fill(500, "refused", "a")
            await fill(30, "done", "a")
            await hub.accounts.audit.drop_expired(now())
            assert await kept() == {"done": 90, "refused": 10}
            newest = await hub.catalog.read(records.extent)
            assert newest[0] == 100
            await fill(200, "done", "a")
            await hub.accounts.audit.drop_expired(now())
            assert await kept() == {"done": 100}
            await fill(90, "done", "x" * 1000)
            await hub.accounts.audit.drop_expired(now())
            rows, size = await hub.catalog.read(records.extent)
            assert 25 < rows < 40
            assert size <= 40_000

    asyncio.run(work())


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("x" * 500, "x" * 64),
    ],
)
def test_where_failures_come_from(address: str, source: str) -> None:
    assert source_of(address) == source


def test_how_often_one_may_ask(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_RATE_LIMIT="20") as hub:
        time.sleep(1)
        alice, bob = hub.user("alice"), hub.user("bob")
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {alice.key}"
        answers = [session.get(hub.url + "/api/v1/account", timeout=20) for _ in range(150)]
        counts = Counter(answer.status_code for answer in answers)
        assert counts.keys() == {200, 429}
        assert 40 <= counts[200] <= 100
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert int(refused.headers.get("Retry-After", 0)) >= 1
        assert refused.json()["code"] == "rate_limited"
        assert bob.get("/api/v1/account").status_code == 200
        assert requests.get(hub.url + "/health", timeout=20).status_code == 200
        time.sleep(1)
        assert alice.get("/api/v1/account").status_code == 200


def test_nobody_is_slowed_down_by_default(alice: RunningHub) -> None:
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {alice.key}"
    statuses = {
        session.get(alice.url + "/api/v1/account", timeout=20).status_code for _ in range(300)
    }
    assert statuses == {200}
