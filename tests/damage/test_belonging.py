"""H7, M5, M7: a catalog that is lost, older, newer or damaged; secrets that are lost or open."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
import requests
from tests.support.commands import Commands
from tests.support.hub import PASSWORD, RunningHub, running_hub
from tests.support.waiting import eventually


def serve(directory: Path, code: int, **variables: str) -> str:
    """What `dsx serve` says that does not start."""
    settings = {
        "DSX_DATA_DIR": str(directory / "data"),
        "DSX_API_KEY": "test-key",
        "DSX_PORT": "0",
    }
    done = Commands(directory, settings | variables)("serve", code=code)
    told = [line for line in done.stderr.decode().splitlines() if line.startswith("dsx: ")]
    assert len(told) == 1, done.stderr.decode()
    return told[0]


def fsck(directory: Path, *arguments: str, code: int = 0) -> str:
    """What `dsx fsck` says."""
    run = Commands(directory, {"DSX_DATA_DIR": str(directory / "data")})
    done = run("fsck", *arguments, code=code)
    return done.stdout.decode() + done.stderr.decode()


def blobs(hub: RunningHub) -> list[Path]:
    return [path for path in (hub.data_dir / "blobs").glob("*/*") if path.is_file()]


@pytest.fixture
def stopped(tmp_path: Path) -> RunningHub:
    """A hub with three files that has been stopped."""
    with running_hub(tmp_path) as hub:
        for name in ("a", "b", "c"):
            hub.store(name, name.encode())
    return hub


@pytest.mark.parametrize("made", ["nothing", "not a hub"])
def test_h7_no_command_makes_a_hub(tmp_path: Path, made: str) -> None:
    if made == "not a hub":
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "notes.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    run = Commands(tmp_path, {"DSX_DATA_DIR": str(tmp_path / "data")})
    for command in (("fsck",), ("fsck", "--deep", "--repair"), ("secrets", "rotate")):
        done = run(*command, code=3)
        assert b"There is no hub in" in done.stderr
        assert b"--data-dir" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_h7_a_lost_catalog_is_an_error_and_no_blob_goes(
    tmp_path: Path, stopped: RunningHub
) -> None:
    kept = blobs(stopped)
    assert len(kept) == 3
    for path in stopped.data_dir.glob("catalog.db*"):
        path.unlink()
    assert "their catalog is missing" in serve(tmp_path, 5)
    assert not (stopped.data_dir / "catalog.db").exists()
    assert "There is no hub" in fsck(tmp_path, "--repair", code=3)
    (stopped.data_dir / "catalog.db").touch()  # as `sqlite3 catalog.db` by mistake leaves it
    assert "their catalog is missing" in serve(tmp_path, 5)
    assert blobs(stopped) == kept


def test_h7_a_catalog_older_than_the_blobs_repairs_nothing(
    tmp_path: Path, stopped: RunningHub
) -> None:
    backup = tmp_path / "backup.db"
    shutil.copy(stopped.data_dir / "catalog.db", backup)
    with running_hub(tmp_path) as hub:
        later = hub.store("later", b"later")
    shutil.copy(backup, hub.data_dir / "catalog.db")
    assert "older than the blobs" in fsck(tmp_path)
    assert "Restore a newer catalog" in fsck(tmp_path, "--repair", code=5)
    assert len(blobs(hub)) == 4
    with running_hub(tmp_path) as hub:  # it starts: a backup is there to be used
        assert "older than the blobs" in hub.log.read_text()
        assert len(hub.get("/api/v1/files").json()["items"]) == 3
    assert "Restore a newer catalog" in fsck(tmp_path, "--repair", code=5)  # it is not forgotten
    assert "1 blobs in quarantine" in fsck(tmp_path, "--repair", "--force")
    assert [path.name for path in (hub.data_dir / "quarantine").iterdir()] == [later["sha256"]]
    assert "older" not in fsck(tmp_path, "--repair")


def test_h7_many_orphans_are_no_crash(tmp_path: Path, stopped: RunningHub) -> None:
    with sqlite3.connect(stopped.data_dir / "catalog.db") as catalog:
        for number in range(11):
            name = f"{number:064x}"
            path = stopped.data_dir / "blobs" / name[:2] / name
            path.write_bytes(b"orphan")
    catalog.close()
    assert "11 blobs without a record" in fsck(tmp_path)
    assert "more than crashes leave" in fsck(tmp_path, "--repair", code=5)
    assert len(blobs(stopped)) == 14
    assert "11 blobs in quarantine" in fsck(tmp_path, "--repair", "--force")
    assert len(blobs(stopped)) == 3


def test_h7_orphans_come_back_when_their_record_does(tmp_path: Path, stopped: RunningHub) -> None:
    whole = tmp_path / "whole.db"
    shutil.copy(stopped.data_dir / "catalog.db", whole)
    with sqlite3.connect(stopped.data_dir / "catalog.db") as catalog:
        catalog.execute("DELETE FROM file_labels")
        catalog.execute("DELETE FROM files")
        catalog.execute("DELETE FROM blobs")
    catalog.close()
    assert "3 blobs in quarantine" in fsck(tmp_path, "--repair", "--force")
    shutil.copy(whole, stopped.data_dir / "catalog.db")
    fsck(tmp_path, "--repair", "--force")
    assert "Every record has its blob, with the right content" in fsck(tmp_path, "--deep")
    assert list((stopped.data_dir / "quarantine").iterdir()) == []


def test_h7_the_quarantine_is_emptied_in_time(tmp_path: Path, stopped: RunningHub) -> None:
    name = "0" * 64
    (stopped.data_dir / "blobs" / "00" / name).write_bytes(b"orphan")
    fsck(tmp_path, "--repair")
    aside = stopped.data_dir / "quarantine" / name
    assert aside.exists()
    with running_hub(tmp_path, DSX_COLLECT_INTERVAL="0.2", DSX_QUARANTINE_DAYS="1"):
        assert aside.exists()
        os.utime(aside, (1, 1))
        eventually(lambda: not aside.exists())


def test_h7_blobs_of_another_hub_and_blobs_that_are_not_there(
    tmp_path: Path, stopped: RunningHub
) -> None:
    other = tmp_path / "other"
    with running_hub(other) as hub:
        hub.store("x", b"x")
    away = tmp_path / "away"
    (stopped.data_dir / "blobs").rename(away)
    assert "Is their directory mounted" in serve(tmp_path, 5)
    shutil.rmtree(stopped.data_dir / "blobs")
    shutil.copytree(hub.data_dir / "blobs", stopped.data_dir / "blobs")
    assert "belong to another hub" in serve(tmp_path, 5)
    shutil.rmtree(stopped.data_dir / "blobs")
    away.rename(stopped.data_dir / "blobs")
    with running_hub(tmp_path) as again:
        assert again.get("/api/v1/files/1/content").content == b"a"


def test_h7_blobs_that_vanish_while_the_hub_runs_are_not_marked(tmp_path: Path) -> None:
    """As when the disk with the blobs is unmounted."""
    with running_hub(tmp_path) as hub:
        record = hub.store("a", b"a")
        (hub.data_dir / "blobs").rename(tmp_path / "away")
        hub.post("/api/v1/scrub")
        eventually(lambda: "is their directory mounted" in hub.log.read_text())
        (tmp_path / "away").rename(hub.data_dir / "blobs")
        assert hub.get(f"/api/v1/files/{record['id']}/content").content == b"a"


def test_m5_own_files_are_private_and_mended_with_a_warning(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    before = os.umask(0)
    try:
        with running_hub(tmp_path, DSX_API_KEY="") as hub:
            pass
        with running_hub(tmp_path) as hub:
            hub.user("alice")
            hub.store("a", b"a")
            assert loose(data) == []
            (data / "drop").mkdir(mode=0o755)
            for name in ("catalog.db", "catalog.db-wal", "admin.key", "secret.key"):
                (data / name).chmod(0o644)
            (data / "blobs").chmod(0o755)
        with running_hub(tmp_path) as hub:
            assert loose(data) == []
            for name in ("catalog.db", "admin.key", "secret.key", "blobs", "drop"):
                assert f'"path": "{data / name}"' in hub.log.read_text(), name
            assert hub.get("/api/v1/files/1/content").content == b"a"
    finally:
        os.umask(before)


def loose(directory: Path) -> list[Path]:
    """What in *directory* others could read; what lies in closed directories they cannot."""
    return [path for path in directory.iterdir() if stat.S_IMODE(path.stat().st_mode) & 0o077]


def spoil(path: Path, start: int) -> None:
    """Write rubbish over a file from *start* on."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * (path.stat().st_size - start))


@pytest.mark.parametrize("start", [0, 8192])
def test_m7_a_damaged_catalog_is_one_line(tmp_path: Path, stopped: RunningHub, start: int) -> None:
    spoil(stopped.data_dir / "catalog.db", start)
    told = serve(tmp_path, 6)
    assert "The catalog is damaged" in told
    assert "put back a backup" in told
    told = fsck(tmp_path, code=6)
    assert "The catalog is damaged" in told
    assert "Traceback" not in told


def test_m7_a_newer_catalog_is_one_line(tmp_path: Path, stopped: RunningHub) -> None:
    with sqlite3.connect(stopped.data_dir / "catalog.db") as catalog:
        catalog.execute("UPDATE alembic_version SET version_num = '9999'")
    catalog.close()
    assert "created by a newer version" in serve(tmp_path, 6)
    assert "created by a newer version" in fsck(tmp_path, code=6)


def test_m7_a_catalog_that_is_damaged_while_the_hub_runs(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        for number in range(50):
            hub.store(f"file {number}", b"x" * number, metadata='{"a": "' + "x" * 500 + '"}')
        with sqlite3.connect(hub.data_dir / "catalog.db") as catalog:
            catalog.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        catalog.close()
        spoil(hub.data_dir / "catalog.db", 4096)
        assert eventually(lambda: refused(hub)) == (503, "unusable")
        ready = hub.get("/ready")
        assert (ready.status_code, ready.json()["code"]) == (503, "unusable")
        assert hub.get("/health").status_code == 200


def refused(hub: RunningHub) -> tuple[int, str] | None:
    """Status and code of a route that has to read the catalog, once it is not answered well.

    As long as nothing changes, SQLite answers from memory, which is not damaged.
    """
    hub.post("/api/v1/files", params={"name": "another"}, data=b"x")
    answer = hub.get("/api/v1/files", params={"limit": 1000})
    return None if answer.ok else (answer.status_code, answer.json()["code"])


def test_m7_a_newer_catalog_while_the_hub_runs(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        with sqlite3.connect(hub.data_dir / "catalog.db") as catalog:
            catalog.execute("UPDATE alembic_version SET version_num = '9999'")
        catalog.close()
        ready = hub.get("/ready")
        assert (ready.status_code, ready.json()["code"]) == (503, "unusable")
        with sqlite3.connect(hub.data_dir / "catalog.db") as catalog:
            catalog.execute("UPDATE alembic_version SET version_num = '0000'")
        catalog.close()


def signed_in(hub: RunningHub) -> requests.Response:
    return requests.post(
        f"{hub.url}/api-token-auth/",
        json={"username": "alice", "password": PASSWORD},
        timeout=60,
    )


def test_m7_a_lost_secret_key_is_not_replaced_in_silence(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        hub.user("alice")
        assert signed_in(hub).status_code == 200
    path = hub.data_dir / "secret.key"
    secret = path.read_text()
    path.unlink()
    told = serve(tmp_path, 5)
    assert "secret.key is missing" in told
    assert "dsx secrets rotate --grace 0" in told
    assert not path.exists()
    path.write_text("another one\n")
    assert "encrypted with another secret key" in serve(tmp_path, 5)
    path.write_text(secret)
    with running_hub(tmp_path) as hub:
        assert signed_in(hub).status_code == 200
    path.unlink()
    rotate = Commands(tmp_path, {"DSX_DATA_DIR": str(hub.data_dir)})
    assert b"no secret key" in rotate("secrets", "rotate", code=7).stderr
    rotate("secrets", "rotate", "--grace", "0")
    assert not path.exists()
    with running_hub(tmp_path) as hub:
        assert signed_in(hub).status_code == 200
