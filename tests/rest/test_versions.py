"""M19: an older version is deleted, read and brought back alone; versions come in pages."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from tests.support.commands import Commands, lines
from tests.support.hub import RunningHub

from dsx import DatasetHubClient

FILES, TRASH = "/api/v1/files", "/api/v1/trash"
Record = dict[str, Any]


def three(hub: RunningHub) -> tuple[Record, Record, Record]:
    """Three versions of a file of its own."""
    name = f"m19-{uuid.uuid4().hex}.bin"
    return hub.store(name, b"one"), hub.store(name, b"two"), hub.store(name, b"three")


def alive(hub: RunningHub, ref: str) -> list[int]:
    """The numbers of the live versions, newest first."""
    return [one["version"] for one in hub.get(f"{FILES}/{ref}/versions").json()["items"]]


@pytest.mark.parametrize("key", ["id", "number"])
def test_m19_an_older_version_goes_to_the_trash_alone_and_comes_back(
    hub: RunningHub, key: str
) -> None:
    first, second, third = three(hub)
    for older in (first, second):
        assert hub.delete(f"{FILES}/{older[key]}").status_code == 204
    assert alive(hub, third["id"]) == [3]
    assert hub.get(f"{FILES}/{first['id']}").status_code == 404
    assert hub.get(f"{FILES}/{third['id']}/content").content == b"three"
    listed = [one["id"] for one in hub.get(TRASH).json()["items"]]
    assert {first["id"], second["id"]} <= set(listed)
    back = hub.post(f"{TRASH}/{first[key]}/restore")
    assert (back.json()["version"], back.json()["latest"]) == (1, False)
    assert alive(hub, third["id"]) == [3, 1]
    assert hub.get(f"{FILES}/{first['id']}/content").content == b"one"
    assert hub.delete(f"{TRASH}/{second[key]}").status_code == 204
    assert hub.post(f"{TRASH}/{second[key]}/restore").status_code == 404
    assert hub.get(f"{FILES}/{third['id']}").status_code == 200


@pytest.mark.parametrize("ref", ["file", "newest id", "newest number"])
def test_m19_the_whole_file_goes_by_its_id_or_its_newest_version(hub: RunningHub, ref: str) -> None:
    first, _, third = three(hub)
    told = {"file": first["file"], "newest id": third["id"], "newest number": third["number"]}
    assert hub.get(f"{FILES}/{first['file']}").json()["version"] == 3
    assert hub.delete(f"{FILES}/{told[ref]}").status_code == 204
    for one in ("id", "file", "number"):
        assert hub.get(f"{FILES}/{first[one]}").status_code == 404
    listed = [one for one in hub.get(TRASH).json()["items"] if one["file"] == first["file"]]
    assert [one["id"] for one in listed] == [third["id"]]
    alone = hub.post(f"{TRASH}/{first['file']}/restore", json={"version": 2})
    assert alone.json()["version"] == 2
    assert alive(hub, first["file"]) == [2]
    whole = hub.post(f"{TRASH}/{first['file']}/restore")
    assert whole.json()["version"] == 3
    assert alive(hub, first["file"]) == [3, 2, 1]


def test_m19_the_newest_version_can_go_alone_and_its_number_is_not_given_again(
    hub: RunningHub,
) -> None:
    first, _, third = three(hub)
    assert hub.delete(f"{FILES}/{first['id']}/versions/3").status_code == 204
    assert hub.delete(f"{FILES}/{first['id']}/versions/3").status_code == 404
    (shown,) = hub.get(FILES, params={"name": first["name"]}).json()["items"]
    assert (shown["version"], shown["latest"]) == (2, True)
    assert hub.store(first["name"], b"four")["version"] == 4
    named = hub.post(f"{TRASH}/{third['id']}/restore", json={"name": "m19-other"})
    assert named.status_code == 422
    assert hub.post(f"{TRASH}/{third['id']}/restore").json()["latest"] is False
    assert alive(hub, first["id"]) == [4, 3, 2, 1]
    for number in (4, 3, 2, 1):
        assert hub.delete(f"{FILES}/{first['file']}/versions/{number}").status_code == 204
    assert hub.get(FILES, params={"name": first["name"]}).json()["items"] == []
    assert hub.get(f"{FILES}/{first['id']}/versions/0").status_code == 422


def test_m19_versions_come_in_pages(hub: RunningHub) -> None:
    name = f"m19-{uuid.uuid4().hex}"
    records = [hub.store(name, b"%d" % i) for i in range(5)]
    numbers, cursor = [], None
    while True:
        params = {"limit": 2, "cursor": cursor}
        page = hub.get(f"{FILES}/{records[0]['id']}/versions", params=params).json()
        numbers.append([one["version"] for one in page["items"]])
        cursor = page["next"]
        if cursor is None:
            break
    assert numbers == [[5, 4], [3, 2], [1]]
    assert hub.get(f"{FILES}/{records[0]['id']}/versions?cursor=zzz").status_code == 400
    with DatasetHubClient(hub.url, hub.key, None) as client:
        assert [one.version for one in client.versions(name)] == [5, 4, 3, 2, 1]
        assert [one.version for one in client.versions(name, limit=3)] == [5, 4, 3]
        assert client.download_bytes(client.version(name, 2)) == b"1"
        client.delete(name, version=2)
        client.delete(records[0]["id"])
        assert [one.version for one in client.versions(name)] == [5, 4, 3]
        assert client.restore(records[1]["id"]).version == 2
        client.delete(name)
        assert client.restore(records[4]["id"], version=4).version == 4
        assert [one.version for one in client.versions(name)] == [4]


def test_m19_a_share_of_a_file_outlives_its_first_version(hub: RunningHub) -> None:
    first, _, _ = three(hub)
    place = {"kind": "file", "value": first["id"]}
    url = hub.post("/api/v1/shares", json={"place": place}).json()["url"]
    assert hub.delete(f"{FILES}/{first['id']}").status_code == 204
    assert hub.get(url.removeprefix(hub.url)).content == b"three"


def test_m19_tinydist_and_tasks_delete_whole_files(hub: RunningHub) -> None:
    first, _, third = three(hub)
    assert hub.delete("/delete", params={"id": first["number"]}).status_code == 200
    assert hub.get(f"{FILES}/{third['id']}").status_code == 404
    first, _, third = three(hub)
    task = hub.post("/create_task").json()["task_id"]
    answer = hub.delete(f"/delete_file/{task}", params={"filename": first["name"]})
    assert answer.json()["deleted"] == 1
    assert hub.get(f"{FILES}/{first['id']}").status_code == 404


def test_m19_the_storage_dialect_shows_no_deleted_version(hub: RunningHub) -> None:
    own = hub.user(f"m19-{uuid.uuid4().hex[:8]}")
    first, second, third = three(own)
    assert own.delete(f"{FILES}/{second['id']}").status_code == 204
    (file,) = own.get("/storage/files/").json()["results"]
    assert file["id"] == third["id"]
    assert [one["id"] for one in file["versions"]] == [first["id"]]


def test_m19_the_command_line(hub: RunningHub, tmp_path: Path) -> None:
    dsx = Commands(tmp_path, {"SERVER_URL": hub.url, "DSX_API_KEY": hub.key})
    first, _, _ = three(hub)
    name = first["name"]
    assert [one["version"] for one in lines(dsx("--json", "versions", name))] == [3, 2, 1]
    dsx("download", name, "--version", "1", "-o", "one")
    assert (tmp_path / "one").read_bytes() == b"one"
    assert b"version 1 of" in dsx("delete", name, "--version", "1").stdout
    assert b"version 2 of" in dsx("delete", str(first["number"] + 1)).stdout
    assert alive(hub, first["file"]) == [3]
    dsx("trash", "restore", str(first["number"]))
    assert alive(hub, first["file"]) == [3, 1]
    dsx("delete", name)
    dsx("trash", "restore", first["file"], "--version", "3")
    assert alive(hub, first["file"]) == [3]
