"""Ways around a scope or a place: through uploads, tasks, archives, versions, links, and nobody."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.support.hub import RunningHub, running_hub

FILES, UPLOADS, TASKS = "/api/v1/files", "/api/v1/uploads", "/api/v1/tasks"
ALL = ["read", "write", "delete"]
TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = TUS | {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
PART = {
    "Upload-Complete": "?1",
    "Upload-Offset": "0",
    "Content-Type": "application/partial-upload",
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    directory = tmp_path_factory.mktemp("scopes")
    for name in ("mine", "theirs"):
        (directory / "datasets" / name).mkdir(parents=True)
        (directory / "datasets" / name / "a.txt").write_text(name)
    with running_hub(directory, DSX_OPEN_DATASETS="0") as running:
        yield running


def limited(hub: RunningHub, *places: tuple[str, str], scopes: Any = ALL) -> RunningHub:
    """Alice's, with a token that is good in *places* only."""
    found = [{"kind": kind, "value": value} for kind, value in places]
    return hub.seen_by("alice", places=found, scopes=scopes)


@pytest.fixture(scope="module")
def lab(alice: RunningHub) -> RunningHub:
    return limited(alice, ("category", "lab"), ("prefix", "lab/"))


def begun(hub: RunningHub, name: str, length: int = 4) -> str:
    answer = hub.post(UPLOADS, json={"name": name, "length": length})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def linked(hub: RunningHub, kind: str, value: str, **more: Any) -> str:
    body = {"place": {"kind": kind, "value": value}} | more
    answer = hub.post("/api/v1/shares", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["url"])


WAYS: dict[str, tuple[str, str, dict[str, str]]] = {
    "part": ("PUT", UPLOADS + "/{}/parts/0", {}),
    "tus": ("PATCH", "/uploads/{}", CHUNK),
    "ietf": ("PATCH", "/uploads/{}", PART),
}


@pytest.mark.parametrize("way", WAYS)
def test_bytes_for_anothers_upload(alice: RunningHub, bob: RunningHub, way: str) -> None:
    method, path, headers = WAYS[way]
    id_ = begun(alice, f"bytes-{way}")
    reader = alice.seen_by("alice", scopes=["read"])
    elsewhere = limited(alice, ("prefix", "elsewhere/"))
    for who, status in ((bob, 404), (reader, 403), (elsewhere, 404)):
        answer = who.request(method, path.format(id_), data=b"evil", headers=headers)
        assert answer.status_code == status, (way, answer.text)
    assert alice.get(f"{UPLOADS}/{id_}").json()["offset"] == 0
    assert alice.request(method, path.format(id_), data=b"good", headers=headers).ok
    assert alice.post(f"{UPLOADS}/{id_}/finish").ok
    listed = alice.get(FILES, params={"name": f"bytes-{way}"}).json()["items"]
    assert alice.get(str(listed[0]["url"])).content == b"good"


def test_parts_of_another_make_no_final(alice: RunningHub, bob: RunningHub) -> None:
    headers = TUS | {"Upload-Length": "4", "Upload-Concat": "partial"}
    part = alice.post("/uploads", headers=headers).headers["Location"]
    alice.request("PATCH", part.removeprefix(alice.url), data=b"hers", headers=CHUNK)
    final = TUS | {"Upload-Concat": f"final;{part}"}
    assert bob.post("/uploads", headers=final).status_code == 400
    assert alice.post("/uploads", headers=final).status_code == 201


def test_a_task_of_another_takes_no_upload(alice: RunningHub, bob: RunningHub) -> None:
    task = alice.post(TASKS, json={"name": "hers"}).json()["id"]
    new = {"name": "taken", "length": 1, "task": task}
    assert bob.post(UPLOADS, json=new).status_code == 404
    assert alice.get(f"{TASKS}/{task}").json()["kind"] is None
    assert alice.post(UPLOADS, json=new).status_code == 201


def test_events_of_another_are_not_told(alice: RunningHub, bob: RunningHub) -> None:
    task = alice.post(TASKS, json={"name": "hers-only"}).json()["id"]
    assert bob.get(f"{TASKS}/events", params={"id": task}).status_code == 404
    assert "hers-only" not in bob.get(f"{TASKS}/events", params={"seconds": 0.3}).text
    assert "hers-only" in alice.get(f"{TASKS}/events", params={"seconds": 0.3}).text


def test_tasks_take_only_files_that_may_be_read(
    alice: RunningHub, bob: RunningHub, lab: RunningHub
) -> None:
    inside, outside = alice.store("lab/t1", b"in"), alice.store("t2", b"out")
    for kind in ("download", "delete"):
        for who in (bob, lab):
            new = {"kind": kind, "ids": [outside["id"]]}
            assert who.post(TASKS, json=new).status_code == 404
    task = lab.post(TASKS, json={"kind": "download"}).json()["id"]
    with zipfile.ZipFile(io.BytesIO(lab.get(f"{TASKS}/{task}/content").content)) as archive:
        assert inside["name"] in archive.namelist()
        assert outside["name"] not in archive.namelist()
    of_all = alice.post(TASKS, json={"kind": "delete", "ids": [outside["id"]]}).json()["id"]
    assert lab.post(f"{TASKS}/{of_all}/delete").status_code == 404
    reader = alice.seen_by("alice", scopes=["read"])
    assert reader.post(f"{TASKS}/{of_all}/delete").status_code == 403
    assert reader.post(TASKS, json={"kind": "delete", "ids": []}).status_code == 403


def test_a_limited_token_has_tasks_of_its_own(alice: RunningHub, lab: RunningHub) -> None:
    own = lab.post(TASKS, json={"name": "by-token"}).json()["id"]
    assert lab.post(f"{TASKS}/{own}/pause").json()["state"] == "paused"
    assert lab.post(f"{TASKS}/{own}/resume").json()["state"] == "pending"
    new = {"name": "lab/with-task", "length": 1, "task": own}
    assert lab.post(UPLOADS, json=new).status_code == 201
    assert lab.get(f"{TASKS}/{own}").json()["kind"] == "upload"
    assert alice.get(f"{TASKS}/{own}").status_code == 200


@pytest.mark.parametrize("how", ["GET", "HEAD", "POST"])
def test_archives_hold_only_what_may_be_read(
    alice: RunningHub, bob: RunningHub, lab: RunningHub, how: str
) -> None:
    inside, outside = alice.store("lab/a1", b"in"), alice.store(f"a2-{how}", b"out")
    path = "/api/v1/archive"
    for who, ids, status in (
        (lab, [inside["id"]], 200),
        (lab, [inside["id"], outside["id"]], 404),
        (lab, [str(outside["number"])], 404),
        (bob, [inside["id"]], 404),
    ):
        body = {"json": {"ids": ids}} if how == "POST" else {"params": {"id": ids}}
        assert who.request(how, path, **body).status_code == status


def test_a_token_for_a_dataset_packs_that_one(hub: RunningHub) -> None:
    place = {"kind": "dataset", "value": "mine"}
    reader = hub.user("carol")
    assert hub.post("/api/v1/shares", json={"place": place, "user": "carol"}).ok
    limited_ = replace(
        hub, key=hub.post("/api/v1/tokens", json={"places": [place]}).json()["token"]
    )
    for who in (reader, limited_):
        assert [item["name"] for item in who.get("/api/v1/datasets").json()["items"]] == ["mine"]
        assert who.get("/datasets").json() == ["mine"]
        for name, status in (("mine", 200), ("theirs", 404), ("never", 404)):
            assert who.post(f"/api/v1/datasets/{name}/pack", json={}).status_code == status
            assert who.get(f"/file/{name}/a.txt").status_code == status
            assert who.get(f"/api/v1/datasets/{name}/files/../theirs/a.txt").status_code in {
                status,
                400,
                404,
            }
    assert limited_.get(FILES).json()["items"] == []


def test_a_link_reaches_its_file_and_nothing_else(hub: RunningHub, alice: RunningHub) -> None:
    shared, sibling = alice.store("shared.bin", b"open"), alice.store("sibling.bin", b"hidden")
    trashed = alice.store("trashed.bin", b"hidden")
    alice.delete(f"{FILES}/{trashed['id']}")
    url = linked(alice, "file", shared["id"])
    assert requests.get(url, timeout=10).content == b"open"
    for tail in ("sibling.bin", sibling["id"], "../" + sibling["id"], "trashed.bin", "versions"):
        assert requests.get(f"{url}/{tail}", timeout=10).status_code == 404
    guest = replace(alice, key=url.rpartition("/")[2])
    assert guest.get(f"{FILES}/{shared['id']}").status_code == 200
    for one in (sibling, trashed):
        for ref in (one["id"], one["number"]):
            assert guest.get(f"{FILES}/{ref}").status_code == 404
            assert guest.get(f"{FILES}/{ref}/content").status_code == 404
    asked = {"id": [shared["id"], sibling["id"]]}
    assert guest.get("/api/v1/archive", params=asked).status_code == 404
    assert guest.get(FILES, params={"owner": "alice"}).status_code == 404
    assert [one["id"] for one in guest.get(FILES).json()["items"]] == [shared["id"]]
    for path in (TASKS, UPLOADS, "/api/v1/trash", "/api/v1/shares", "/api/v1/tokens"):
        assert guest.get(path).status_code == 403
    assert guest.get("/file/mine/a.txt").status_code == 404
    assert guest.get("/datasets").json() == []
    assert guest.delete("/api/v1/session").status_code == 404


def test_versions_elsewhere_are_not_listed(
    alice: RunningHub, bob: RunningHub, lab: RunningHub
) -> None:
    old = alice.store("moved.bin", b"secret", category="private")
    new = alice.store("moved.bin", b"public", category="lab")
    guest = replace(alice, key=linked(alice, "category", "lab").rpartition("/")[2])
    body = {"place": {"kind": "category", "value": "lab"}, "user": "bob"}
    assert alice.post("/api/v1/shares", json=body).ok
    for who in (guest, bob, lab):
        listed = who.get(f"{FILES}/{new['id']}/versions")
        assert [item["id"] for item in listed.json()["items"]] == [new["id"]]
        assert who.get(f"{FILES}/{old['id']}").status_code == 404
        assert who.get(f"{FILES}/{old['id']}/versions").status_code == 404
    both = alice.get(f"{FILES}/{new['id']}/versions").json()["items"]
    assert [item["id"] for item in both] == [new["id"], old["id"]]


def test_a_limited_token_takes_over_no_name(alice: RunningHub) -> None:
    """Or else it could put a version on any file of the owner's, and delete all of them."""
    limited_ = limited(alice, ("category", "open"))
    target = alice.store("precious.bin", b"precious", category="vault")
    asked = {"name": "precious.bin", "category": "open"}
    assert limited_.post(FILES, params=asked, data=b"evil").status_code == 403
    assert limited_.post(UPLOADS, json=asked | {"length": 4}).status_code == 403
    header = ",".join(
        f"{key} {base64.b64encode(value.encode()).decode()}"
        for key, value in (("filename", "precious.bin"), ("category", "open"))
    )
    creation = TUS | {"Upload-Length": "4", "Upload-Metadata": header}
    assert limited_.post("/uploads", headers=creation).status_code == 403
    whole = {"Upload-Complete": "?1"}
    assert limited_.post("/uploads", params=asked, data=b"evil", headers=whole).status_code == 403
    assert alice.get(str(target["url"])).content == b"precious"
    assert len(alice.get(f"{FILES}/{target['id']}/versions").json()["items"]) == 1


def test_a_name_that_is_taken_meanwhile_is_not_taken_over(alice: RunningHub) -> None:
    limited_ = limited(alice, ("category", "open"))
    new = {"name": "later.bin", "category": "open", "length": 4}
    id_ = limited_.post(UPLOADS, json=new).json()["id"]
    assert limited_.request("PUT", f"{UPLOADS}/{id_}/parts/0", data=b"evil").ok
    target = alice.store("later.bin", b"precious", category="vault")
    assert limited_.post(f"{UPLOADS}/{id_}/finish").status_code == 403
    assert len(alice.get(f"{FILES}/{target['id']}/versions").json()["items"]) == 1


def test_an_old_version_in_a_place_is_no_handle_on_newer_ones(alice: RunningHub) -> None:
    limited_ = limited(alice, ("category", "open"))
    old = alice.store("handle.bin", b"old", category="open")
    new = alice.store("handle.bin", b"new", category="vault")
    path = f"{FILES}/{old['id']}"
    assert limited_.get(path).status_code == 200
    assert limited_.delete(path).status_code == 403
    assert (
        limited_.request("PATCH", path, json={"name": "x", "category": "open"}).status_code == 403
    )
    assert alice.get(f"{FILES}/{new['id']}").json()["name"] == "handle.bin"
    alice.delete(f"{FILES}/{new['id']}")
    assert limited_.delete(f"/api/v1/trash/{old['id']}").status_code == 403
    assert limited_.post(f"/api/v1/trash/{old['id']}/restore").status_code == 403
    assert limited_.delete("/api/v1/trash", params={"confirm": "all"}).json()["purged"] == 0
    assert alice.post(f"/api/v1/trash/{new['id']}/restore").status_code == 200


def test_a_dialect_is_no_way_round_either(alice: RunningHub) -> None:
    limited_ = limited(alice, ("category", "open"))
    old = alice.store("seeds.bin", b"old", category="vault")
    new = alice.store("seeds.bin", b"new", category="open")
    listed = limited_.get("/storage/files/").json()["results"]
    versions = {one["id"]: one["versions"] for one in listed}
    assert versions[new["id"]] == []
    assert limited_.get(f"/storage/download/{old['id']}/").status_code == 404
    for method, path in (
        ("DELETE", "/delete=seeds.bin"),
        ("POST", "/delete=seeds.bin"),
        ("DELETE", "/delete?filename=seeds.bin"),
        ("DELETE", f"/delete?id={new['id']}"),
    ):
        assert limited_.request(method, path).status_code == 403, path
    assert limited_.post("/upload=seeds.bin", data=b"evil").status_code == 403
    chunk = {"filename": "seeds.bin", "chunkIndex": "0", "totalChunks": "1", "category": "open"}
    answer = limited_.post("/upload_chunk", data=chunk, files={"file": ("seeds.bin", b"evil")})
    assert answer.status_code == 403
    assert len(alice.get(f"{FILES}/{new['id']}/versions").json()["items"]) == 2
    task = limited_.post("/create_task").json()["task_id"]
    assert limited_.delete(f"/delete_file/{task}").status_code == 403
    assert alice.get(f"{FILES}/{new['id']}").status_code == 200
    alice.delete(f"{FILES}/{new['id']}")
    limited_.delete("/api/v1/trash", params={"confirm": "all"})
    assert alice.post(f"/api/v1/trash/{new['id']}/restore").status_code == 200


def test_a_limited_token_stays_where_it_is(alice: RunningHub, lab: RunningHub) -> None:
    record = lab.store("lab/here", b"x")
    path = f"{FILES}/{record['id']}"
    assert lab.request("PATCH", path, json={"tags": ["t"]}).status_code == 200
    assert lab.request("PATCH", path, json={"name": "out"}).status_code == 403
    assert lab.delete(path).status_code == 204
    trashed = f"/api/v1/trash/{record['id']}"
    assert lab.post(f"{trashed}/restore", json={"name": "out"}).status_code == 403
    assert lab.post(f"{trashed}/restore").status_code == 200
    assert lab.post(FILES, params={"name": "out"}, data=b"x").status_code == 403
    unnamed = lab.post("/uploads", headers=TUS | {"Upload-Length": "0"})
    assert unnamed.status_code == 403


def test_a_token_for_a_file_is_good_for_its_versions(alice: RunningHub) -> None:
    record = alice.store("only.bin", b"one")
    only = limited(alice, ("file", record["file"]))
    assert only.store("only.bin", b"two")["version"] == 2
    assert only.request("PATCH", f"{FILES}/{record['id']}", json={"tags": ["t"]}).status_code == 200
    assert only.post(FILES, params={"name": "other.bin"}, data=b"x").status_code == 403
    assert len(only.get(FILES).json()["items"]) == 1
    assert only.delete(f"{FILES}/{record['id']}").status_code == 204


def test_emptying_the_trash_is_for_what_is_ones_own(
    alice: RunningHub, bob: RunningHub, lab: RunningHub
) -> None:
    record = alice.store("kept-in-trash", b"x")
    alice.delete(f"{FILES}/{record['id']}")
    reader = alice.seen_by("alice", scopes=["read", "write"])
    empty = {"params": {"confirm": "all"}}
    assert reader.delete("/api/v1/trash", **empty).status_code == 403
    for who in (bob, lab):
        assert who.delete("/api/v1/trash", **empty).status_code == 200
    listed = [item["id"] for item in alice.get("/api/v1/trash").json()["items"]]
    assert record["id"] in listed
    assert alice.delete("/api/v1/trash", **empty).json()["purged"] >= 1


def test_nobody_becomes_nobody_else(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_ANONYMOUS="read,write,delete") as hub:
        record = hub.store("admins", b"x")
        made = requests.post(hub.url + "/api/v1/tokens", json={"scopes": ["read"]}, timeout=10)
        assert made.status_code == 403
        for method, path, body in (
            ("GET", "/api/v1/tokens", None),
            ("POST", "/api/v1/shares", {"place": {"kind": "category", "value": "x"}}),
            ("GET", "/api/v1/shares", None),
            ("GET", "/api/v1/audit", None),
            ("GET", "/api/v1/account/usage", None),
            ("GET", "/api/v1/users", None),
        ):
            answer = requests.request(method, hub.url + path, json=body, timeout=10)
            assert answer.status_code == 403, (path, answer.text)
        assert requests.get(f"{hub.url}{FILES}/{record['id']}", timeout=10).status_code == 404
        assert requests.get(f"{hub.url}{FILES}?owner=admin", timeout=10).status_code == 404
