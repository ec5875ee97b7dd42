"""Where a token or a share ends: at a slash, at its own uploads, at what its owner may read."""

from __future__ import annotations

import base64
import sqlite3
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
import requests
from tests.support.hub import RunningHub, running_hub

FILES, UPLOADS, TASKS, SHARES = (
    "/api/v1/files",
    "/api/v1/uploads",
    "/api/v1/tasks",
    "/api/v1/shares",
)
TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = TUS | {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
PARTIAL = TUS | {"Upload-Concat": "partial", "Upload-Length": "6"}
ALL = ["read", "write", "delete"]
INSIDE = ["proj/a", "proj/b/c"]
OUTSIDE = ["proj", "proj.key", "project-secret/x", "proj0", "pro/x", "Proj/x"]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    directory = tmp_path_factory.mktemp("reach")
    for name in ("mine", "theirs"):
        (directory / "datasets" / name).mkdir(parents=True)
        (directory / "datasets" / name / "a.txt").write_text(name)
    with running_hub(directory, DSX_OPEN_DATASETS="0", DSX_SIGNUP="invite") as running:
        yield running


@pytest.fixture(scope="module")
def alice(hub: RunningHub) -> RunningHub:
    """With a project, and what only begins like it."""
    alice = hub.user("alice")
    for name in INSIDE + OUTSIDE:
        alice.store(name, name.encode())
    return alice


def prefix(value: str) -> dict[str, str]:
    return {"kind": "prefix", "value": value}


def shared(hub: RunningHub, place: dict[str, str], **more: Any) -> dict[str, Any]:
    answer = hub.post(SHARES, json={"place": place} | more)
    assert answer.status_code == 201, answer.text
    record: dict[str, Any] = answer.json()
    return record


def names(hub: RunningHub, path: str = FILES, **params: Any) -> list[str]:
    answer = hub.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return sorted(item["name"] for item in answer.json()["items"])


def records(alice: RunningHub) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in alice.get(FILES).json()["items"]}


@pytest.mark.parametrize("spelled", ["proj", "proj/"])
def test_m8_a_token_of_a_prefix_ends_at_a_slash(alice: RunningHub, spelled: str) -> None:
    token = alice.seen_by("alice", places=[prefix(spelled)], scopes=ALL)
    assert token.get("/api/v1/account").json()["places"] == [prefix("proj/")]
    assert names(token) == INSIDE
    for asked in ("proj*", "*", "proj.key", "pro?"):
        assert set(names(token, name=asked)) <= set(INSIDE)
    found = records(alice)
    for name in OUTSIDE:
        path = f"{FILES}/{found[name]['id']}"
        for ref in (
            path,
            f"{path}/content",
            f"{path}/versions",
            f"{FILES}/{found[name]['number']}",
        ):
            assert token.get(ref).status_code == 404, (name, ref)
        assert token.delete(path).status_code == 404
        assert token.get("/api/v1/archive", params={"id": found[name]["id"]}).status_code == 404
        assert token.post(FILES, params={"name": name}, data=b"evil").status_code == 403
        assert token.post(UPLOADS, json={"name": name, "length": 4}).status_code == 403
        header = f"filename {base64.b64encode(name.encode()).decode()}"
        creation = TUS | {"Upload-Length": "4", "Upload-Metadata": header}
        assert token.post("/uploads", headers=creation).status_code == 403
    for name in INSIDE:
        assert token.get(f"{FILES}/{found[name]['id']}/content").content == name.encode()
    with zipfile.ZipFile(BytesIO(downloaded(token))) as archive:
        assert sorted(archive.namelist()) == INSIDE


def downloaded(token: RunningHub) -> bytes:
    task = token.post(TASKS, json={"kind": "download"}).json()["id"]
    return token.get(f"{TASKS}/{task}/content").content


def test_m8_dialects_end_at_a_slash(alice: RunningHub) -> None:
    token = alice.seen_by("alice", places=[prefix("proj")], scopes=ALL)
    listed = token.get("/storage/files/").json()["results"]
    assert sorted(one["filename"] for one in listed) == INSIDE
    found = records(alice)
    for name in OUTSIDE:
        assert token.get(f"/storage/download/{found[name]['id']}/").status_code == 404
        assert token.delete(f"/delete?filename={name}").status_code == 404
        assert token.delete(f"/delete?id={found[name]['id']}").status_code == 404
        chunk = {"filename": name, "chunkIndex": "0", "totalChunks": "1"}
        sent = token.post("/upload_chunk", data=chunk, files={"file": (name, b"evil")})
        assert sent.status_code == 403, sent.text
    assert records(alice).keys() >= set(OUTSIDE)


def test_m8_the_trash_ends_at_a_slash(alice: RunningHub) -> None:
    for name in ("gone/a", "gone.key"):
        alice.delete(f"{FILES}/{alice.store(name, b'x')['id']}")
    token = alice.seen_by("alice", places=[prefix("gone")], scopes=ALL)
    assert names(token, "/api/v1/trash") == ["gone/a"]
    assert token.delete("/api/v1/trash", params={"confirm": "all"}).json()["purged"] == 1
    assert "gone.key" in names(alice, "/api/v1/trash")


@pytest.mark.parametrize("spelled", ["proj", "proj/"])
def test_m8_a_share_of_a_prefix_ends_at_a_slash(
    alice: RunningHub, bob: RunningHub, spelled: str
) -> None:
    share = shared(alice, prefix(spelled), user="bob")
    assert share["place"] == prefix("proj/")
    assert names(bob, owner="alice") == INSIDE
    found = records(alice)
    for name in OUTSIDE:
        assert bob.get(f"{FILES}/{found[name]['id']}").status_code == 404
        assert bob.get(f"{FILES}/{found[name]['id']}/content").status_code == 404
    assert alice.delete(f"{SHARES}/{share['id']}").status_code == 204


@pytest.mark.parametrize("spelled", ["proj", "proj/"])
def test_m8_a_link_to_a_prefix_ends_at_a_slash(alice: RunningHub, spelled: str) -> None:
    url = shared(alice, prefix(spelled))["url"]
    with zipfile.ZipFile(BytesIO(requests.get(url, timeout=20).content)) as archive:
        assert sorted(archive.namelist()) == INSIDE
    for name in OUTSIDE:
        assert requests.get(f"{url}/{name}", timeout=20).status_code == 404, name
    for name in INSIDE:
        assert requests.get(f"{url}/{name}", timeout=20).content == name.encode()
    guest = replace(alice, key=url.rpartition("/")[2])
    assert names(guest) == INSIDE


def test_m8_prefixes_from_before_end_at_a_slash(alice: RunningHub, bob: RunningHub) -> None:
    token = alice.seen_by("alice", places=[prefix("proj/")], scopes=["read"])
    share = shared(alice, prefix("proj/"), user="bob")
    with sqlite3.connect(alice.data_dir / "catalog.db", timeout=30) as catalog:
        catalog.execute("UPDATE shares SET value = 'proj' WHERE value = 'proj/'")
        catalog.execute("UPDATE tokens SET places = replace(places, 'proj/', 'proj')")
    catalog.close()
    assert names(token) == names(bob, owner="alice") == INSIDE
    alice.delete(f"{SHARES}/{share['id']}")


@pytest.mark.parametrize("value", ["/", "//", "a//b", "x" * 1024, "../x", "."])
def test_m8_prefixes_that_nothing_can_lie_below(alice: RunningHub, value: str) -> None:
    for path, body in (
        ("/api/v1/tokens", {"places": [prefix(value)]}),
        (SHARES, {"place": prefix(value)}),
    ):
        assert alice.post(path, json=body).status_code == 400, value


def partial(hub: RunningHub, data: bytes) -> str:
    """The path of a partial upload that has *data*."""
    path = hub.post("/uploads", headers=PARTIAL).headers["Location"].removeprefix(hub.url)
    sent = hub.request("PATCH", path, data=data, headers=CHUNK)
    assert sent.status_code == 204, sent.text
    return path


def test_m8_partial_uploads_are_the_tokens_that_began_them(alice: RunningHub) -> None:
    """Or a token for one category reads, ends and joins what its owner uploads elsewhere."""
    place = [{"kind": "category", "value": "uncategorized"}, prefix("lab")]
    lab, other = (alice.seen_by("alice", places=place, scopes=ALL) for _ in range(2))
    hers, its = partial(alice, b"secret"), partial(lab, b"public")
    id_ = hers.rpartition("/")[2]
    for method, path, headers in (
        ("HEAD", hers, TUS),
        ("PATCH", hers, CHUNK),
        ("DELETE", hers, TUS),
        ("GET", f"{UPLOADS}/{id_}", {}),
        ("PUT", f"{UPLOADS}/{id_}/parts/0", {}),
        ("POST", f"{UPLOADS}/{id_}/finish", {}),
        ("DELETE", f"{UPLOADS}/{id_}", {}),
        ("GET", f"{TASKS}/{id_}", {}),
        ("POST", f"{TASKS}/{id_}/abort", {}),
    ):
        for who in (lab, other):
            answer = who.request(
                method, path, headers=headers, data=b"evil" if method in {"PATCH", "PUT"} else None
            )
            assert answer.status_code == 404, (method, path, answer.text)
    assert id_ not in lab.get(TASKS).text
    name = f"filename {base64.b64encode(b'lab/joined').decode()}"
    for who, path, status in ((lab, hers, 400), (other, its, 400), (lab, its, 201)):
        final = TUS | {"Upload-Concat": f"final;{path}", "Upload-Metadata": name}
        assert who.post("/uploads", headers=final).status_code == status
    assert names(lab) == ["lab/joined"]
    assert alice.request("HEAD", hers, headers=TUS).status_code == 200


def test_m8_a_limited_token_takes_no_task_of_its_owners(alice: RunningHub) -> None:
    task = alice.post(TASKS, json={"name": "hers"}).json()["id"]
    lab = alice.seen_by("alice", places=[prefix("lab")], scopes=ALL)
    new = {"name": "lab/taken", "length": 1, "task": task}
    assert lab.post(UPLOADS, json=new).status_code == 404
    assert alice.get(f"{TASKS}/{task}").json()["kind"] is None


def test_a_token_for_a_dataset_is_worth_what_its_owner_may_read(hub: RunningHub) -> None:
    carol = hub.user("carol")
    place = [{"kind": "dataset", "value": "theirs"}]
    token = carol.seen_by("carol", places=place)
    for who in (carol, token):
        assert who.get("/datasets").json() == []
        assert who.get("/file/theirs/a.txt").status_code == 404
        assert who.get("/api/v1/datasets/theirs/manifest").status_code == 404
    root = hub.user("root", role="admin")
    share = shared(root, place[0], user="carol")
    url = shared(root, place[0])["url"]
    for who in (carol, token):
        assert who.get("/datasets").json() == ["theirs"], "an admin's account shares, too"
        assert who.get("/file/theirs/a.txt").content == b"theirs"
    assert requests.get(f"{url}/a.txt", timeout=20).content == b"theirs"
    assert hub.request("PATCH", "/api/v1/users/root", json={"role": "member"}).ok
    assert carol.get("/datasets").json() == token.get("/datasets").json() == []
    assert requests.get(f"{url}/a.txt", timeout=20).status_code == 404
    assert root.delete(f"{SHARES}/{share['id']}").status_code == 204


def test_a_link_lists_what_it_opens_whoever_is_named(alice: RunningHub, bob: RunningHub) -> None:
    """A link with ``?owner=`` lists the link's own place or nothing; never a space."""
    record = records(alice)["proj.key"]
    shared(bob, {"kind": "category", "value": "uncategorized"}, user="alice")
    bob.store("bobs", b"x")
    url = shared(alice, {"kind": "file", "value": record["id"]})["url"]
    guest = replace(alice, key=url.rpartition("/")[2])
    assert names(guest) == ["proj.key"]
    for owner in ("alice", "ALICE", "bob", "admin", record["owner"], "anonymous", "nobody"):
        answer = guest.get(FILES, params={"owner": owner})
        assert answer.status_code == 404, (owner, answer.text)
    assert names(guest, owner="") == ["proj.key"], "as if nobody was named"


def test_a_limited_token_lists_nothing_that_is_shared_with_its_owner(
    alice: RunningHub, bob: RunningHub
) -> None:
    """Neither by listing, nor by id, nor in an archive, nor by a task."""
    record = bob.store("lab/for-alice", b"bob's")
    share = shared(bob, prefix("lab"), user="alice")
    lab = alice.seen_by("alice", places=[prefix("lab")], scopes=ALL)
    assert names(alice, owner="bob") == ["lab/for-alice"]
    assert lab.get(FILES, params={"owner": "bob"}).status_code == 404
    assert lab.get(f"{SHARES}/received").status_code == 403
    for path in ("", "/content", "/versions"):
        assert lab.get(f"{FILES}/{record['id']}{path}").status_code == 404
    assert lab.get("/api/v1/archive", params={"id": record["id"]}).status_code == 404
    new = {"kind": "download", "ids": [record["id"]]}
    assert lab.post(TASKS, json=new).status_code == 404
    assert "for-alice" not in lab.get("/storage/files/").text
    bob.delete(f"{SHARES}/{share['id']}")


def test_an_invitation_is_no_bearer_token(hub: RunningHub) -> None:
    secret = hub.post("/api/v1/invites", json={"role": "admin"}).json()["token"]
    for headers in ({"Authorization": f"{way} {secret}"} for way in ("Bearer", "JWT", "Token")):
        for path in ("/api/v1/account", FILES, "/api/v1/users"):
            answer = requests.get(hub.url + path, headers=headers, timeout=20)
            assert answer.status_code == 401, (path, answer.text)
    cookies = {"dsx_session": secret}
    assert requests.get(hub.url + FILES, cookies=cookies, timeout=20).status_code == 401
    assert requests.get(hub.url + FILES, auth=("admin", secret), timeout=20).status_code == 401
    assert requests.get(hub.url + FILES, auth=("", secret), timeout=20).status_code == 401
