"""H5 and drill 4: a full disk takes no uploads, and has a way out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import requests
from tests.support.hub import PASSWORD, RunningHub, running_hub
from tests.support.small_disk import fill, fill_inodes, small_disk
from tests.support.waiting import eventually

MIB = 1024 * 1024
WHOLE = 64 * MIB // 10
"""The reserve on such a disk."""


def prepared(hub: RunningHub) -> tuple[list[str], list[str], str, dict[str, str]]:
    """Five files, four in the trash, an upload that goes on, and what bob can end: his token."""
    files = [hub.store(f"live {number}", b"x" * 1000 + b"%d" % number)["id"] for number in range(5)]
    trash = [hub.store(f"gone {number}", b"y" * 1000 + b"%d" % number)["id"] for number in range(4)]
    for id_ in trash:
        assert hub.delete(f"/api/v1/files/{id_}").status_code == 204
    upload = hub.post("/api/v1/uploads", json={"name": "open", "length": 2000}).json()["id"]
    part = hub.request("PUT", f"/api/v1/uploads/{upload}/parts/0", data=b"z" * 1000)
    assert part.status_code == 200, part.text
    hub.user("bob")
    token = hub.post("/api/v1/tokens", json={"name": "old", "scopes": ["read"]}).json()
    return files, trash, upload, token


def way_out(hub: RunningHub, files: list[str], trash: list[str]) -> dict[str, int]:
    """How many of each work on the full disk."""
    session = requests.Session()
    who = {"username": "bob", "password": PASSWORD}
    signed_in = session.post(f"{hub.url}/api/v1/session", json=who, timeout=60)
    assert signed_in.status_code < 300, signed_in.text
    deleted = [hub.delete(f"/api/v1/files/{id_}") for id_ in files]
    purged = [hub.delete(f"/api/v1/trash/{id_}") for id_ in trash]
    ours = {"Sec-Fetch-Site": "same-origin"}
    signed_out = session.delete(f"{hub.url}/api/v1/session", headers=ours, timeout=60)
    return {
        "deletes": sum(answer.status_code == 204 for answer in deleted),
        "purges": sum(answer.status_code == 204 for answer in purged),
        "sign-in": signed_in.status_code,
        "sign-out": signed_out.status_code,
    }


def uploaded(hub: RunningHub, size: int = 1000) -> int:
    """The status of an upload, whose length is announced or not."""
    data = b"u" * size
    known = hub.post("/api/v1/files", params={"name": "more"}, data=data).status_code
    unknown = hub.post("/api/v1/files", params={"name": "more too"}, data=iter([data])).status_code
    assert known == unknown, (known, unknown)
    return known


@pytest.mark.parametrize("what", ["bytes", "inodes"])
def test_drill_4_a_full_disk_has_a_way_out(tmp_path: Path, what: str) -> None:
    options = "size=64m" if what == "bytes" else "size=64m,nr_inodes=700"
    with small_disk(tmp_path / "disk", options) as disk:
        hub_on = running_hub(disk, DSX_RESERVE="", DSX_COLLECT_INTERVAL="1")
        with hub_on as hub:
            reserve = hub.data_dir / "reserve"
            assert eventually(lambda: reserve.exists() and reserve.stat().st_size) == WHOLE
            files, trash, upload, token = prepared(hub)
            assert hub.get("/ready").json()["storage"] == "ok"
            if what == "bytes":  # first the room for blobs is used up, then that of the catalog
                big = hub.post("/api/v1/files", params={"name": "big"}, data=iter_of(64 * MIB))
                assert (big.status_code, big.json()["code"]) == (507, "storage_full")
                filled = fill(disk / "filler")
            else:
                filled = fill_inodes(disk / "filler")
            assert hub.get("/ready").json()["storage"] == "full"
            assert uploaded(hub) == 507
            assert reserve.stat().st_size > 0, "an upload has used the reserve"
            figures = way_out(hub, files, trash)
            print(f"drill 4, {what} ({filled} filled): {figures}, of 5 deletes and 4 purges")
            assert figures["deletes"] == 5
            assert figures["purges"] == 4
            assert figures["sign-out"] == 204
            assert hub.delete(f"/api/v1/tokens/{token['id']}").status_code == 204
            assert hub.delete(f"/api/v1/uploads/{upload}").status_code == 204
            emptied = hub.delete("/api/v1/trash", params={"confirm": "all"})
            assert emptied.json()["purged"] == 5
            room = "dsx_catalog_free_bytes" if what == "bytes" else "dsx_catalog_free_inodes"
            assert f"\n{room} " in hub.get("/metrics").text
            recovered(hub, disk, reserve)


def recovered(hub: RunningHub, disk: Path, reserve: Path) -> None:
    """Once somebody makes room, all works as before, without a restart."""
    filler = disk / "filler"
    if filler.is_dir():
        shutil.rmtree(filler)
    else:
        filler.unlink()
    eventually(lambda: reserve.stat().st_size == WHOLE)
    eventually(lambda: hub.get("/ready").json()["storage"] == "ok")
    assert uploaded(hub) == 201
    assert hub.get("/api/v1/files").json()["items"][0]["size"] == 1000


def test_h5_uploads_do_not_get_what_was_given_up(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk", "size=64m") as disk,
        running_hub(disk, DSX_RESERVE="") as hub,
    ):
        reserve = hub.data_dir / "reserve"
        eventually(reserve.exists)
        fill(disk / "filler")
        for number in range(20):  # the catalog's log grows by some pages with each of them
            made = {"username": f"user-{number}", "password": PASSWORD}
            assert hub.post("/api/v1/users", json=made).status_code == 201
        assert reserve.stat().st_size == 0
        assert uploaded(hub) == 507
        assert uploaded(hub, 3 * MIB) == 507
        begun = hub.post("/api/v1/uploads", json={"name": "open", "length": 2 * MIB})
        assert begun.status_code == 507


def iter_of(size: int) -> object:
    """A body of unknown length."""
    return (bytes(MIB) for _ in range(size // MIB))
