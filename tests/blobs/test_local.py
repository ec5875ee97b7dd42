"""What only a directory can promise: order of writes, crashes, full disks."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.apt import need
from tests.support.hub import clean_environment
from tests.support.wire import stages

from dsx.blobs import local
from dsx.blobs.local import LocalStore
from dsx.core.digest import digest_of
from dsx.core.errors import Invalid, StorageFailed, StorageFull

SEAL = """
import asyncio, os, signal, sys
from pathlib import Path
from dsx.blobs import local
from dsx.core.digest import digest_of

store = local.LocalStore(Path(sys.argv[1]))
point = sys.argv[2]

def die_at(name, owner, attribute, before):
    real = getattr(owner, attribute)
    def dying(*args, **kwargs):
        if before:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
    if point == name:
        setattr(owner, attribute, dying)

async def main():
    stage = await store.stage("s")
    stage.write(0, b"the bytes")
    die_at("before fsync", os, "fdatasync", True)
    die_at("after fsync", os, "fdatasync", False)
    die_at("before rename", Path, "rename", True)
    die_at("after rename", Path, "rename", False)
    die_at("before directory", local, "sync_directory", True)
    die_at("after directory", local, "sync_directory", False)
    stage.seal(digest_of(b"the bytes"), 9)

asyncio.run(main())
"""
VISIBLE = {"after rename", "before directory", "after directory"}


@pytest.mark.parametrize(
    "point",
    ["before fsync", "after fsync", "before rename", *sorted(VISIBLE)],
)
def test_kill_in_the_middle_of_seal(tmp_path: Path, point: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SEAL, tmp_path, point], env=clean_environment(), check=False
    )
    assert ended.returncode == -signal.SIGKILL
    store = LocalStore(tmp_path)
    digest = digest_of(b"the bytes")

    async def look() -> None:
        found = list(await store.list())
        assert found == ([digest] if point in VISIBLE else [])
        for blob in found:
            _, stream = await store.open(blob)
            assert b"".join([part async for part in stream]) == b"the bytes"
        assert await store.sweep(await store.stages()) == (0 if found else 1)
        assert list(await store.stages()) == []

    asyncio.run(look())


def test_the_kernel_is_asked_in_the_right_order(tmp_path: Path) -> None:
    """strace: data fsynced, then renamed, then the directory fsynced."""
    trace = tmp_path / "trace"
    calls = "trace=fsync,fdatasync,rename,renameat,renameat2"
    subprocess.run(
        [need("strace"), "-f", "-y", "-e", calls, "-o", trace,
         sys.executable, "-c", SEAL, tmp_path / "store", "never"],
        env=clean_environment(),
        check=True,
    )  # fmt: skip
    lines = trace.read_text().splitlines()
    rename = next(n for n, line in enumerate(lines) if "rename" in line and "staging/s" in line)
    assert any(re.search(r"f(data)?sync\(\d+<.*staging/s>", line) for line in lines[:rename])
    assert any(re.search(r"fsync\(\d+<.*/blobs/[0-9a-f]{2}>", line) for line in lines[rename:])


def test_blobs_are_read_only(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)

    async def seal() -> None:
        stage = await store.stage()
        stage.write(0, b"x")
        stage.seal(digest_of(b"x"), 1)

    asyncio.run(seal())
    assert store.locate(digest_of(b"x")).stat().st_mode & 0o777 == 0o400


def test_no_room_is_said_before_the_first_byte(tmp_path: Path) -> None:
    with pytest.raises(StorageFull):
        asyncio.run(LocalStore(tmp_path).stage(reserve=1 << 60))
    assert stages(tmp_path) == []


def test_a_full_disk_while_writing(tmp_path: Path) -> None:
    """/dev/full answers every write with ENOSPC, as a full disk does."""

    async def write() -> None:
        stage = await LocalStore(tmp_path).stage()
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, stage._descriptor)  # type: ignore[attr-defined]
        os.close(full)
        stage.write(0, b"x")

    with pytest.raises(StorageFull):
        asyncio.run(write())


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "x" * 65, "a b"])
def test_stage_names_cannot_leave_the_directory(tmp_path: Path, name: str) -> None:
    store = LocalStore(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Invalid):
        asyncio.run(store.stage(name))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_living_process_keeps_its_stage(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c",
         ("import asyncio, sys; from pathlib import Path; from dsx.blobs.local import LocalStore\n"
         "stage = asyncio.run(LocalStore(Path(sys.argv[1])).stage('held'))\n"
         "print('open', flush=True); sys.stdin.read()"), tmp_path],
        env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdin is not None
    holder.stdout.readline()
    store = LocalStore(tmp_path)
    assert asyncio.run(store.sweep(["held"])) == 0
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    assert asyncio.run(store.sweep(["held"])) == 1


def test_c1_a_failed_sync_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every descriptor that was open then, and for sealing; who opens it anew begins anew."""
    fdatasync = os.fdatasync

    def failing(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def check() -> None:
        store = LocalStore(tmp_path)
        first, second = await store.stage("s"), await store.stage("s")
        first.write(0, b"one")
        first.sync()
        second.write(3, b"two")
        monkeypatch.setattr(os, "fdatasync", failing)
        with pytest.raises(StorageFailed):
            first.sync()
        monkeypatch.setattr(os, "fdatasync", fdatasync)
        for stage in (first, second):
            with pytest.raises(StorageFailed):
                stage.sync()
            with pytest.raises(StorageFailed):
                stage.write(6, b"three")
            with pytest.raises(StorageFailed):
                await stage.prepare(digest_of(b"onetwo"), 6)
            with pytest.raises(StorageFailed):
                stage.seal(digest_of(b"onetwo"), 6)
            stage.close()
        assert list(await store.list()) == []
        anew = await store.stage("s", existing=True)
        anew.write(3, b"two")
        anew.sync()
        anew.seal(digest_of(b"onetwo"), 6)
        assert list(await store.list()) == [digest_of(b"onetwo")]

    asyncio.run(check())


def test_c1_a_name_that_was_not_synced_is_given_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sealing whose directory cannot be synced leaves a stage, unless an equal blob was there."""
    calls: list[Path] = []

    def failing(directory: Path) -> None:
        calls.append(directory)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def check() -> None:
        store, digest = LocalStore(tmp_path), digest_of(b"x")
        stage = await store.stage("s")
        stage.write(0, b"x")
        with monkeypatch.context() as patched:
            patched.setattr(local, "sync_directory", failing)
            with pytest.raises(StorageFailed):
                stage.seal(digest, 1)
        assert calls == [store.locate(digest).parent]
        assert (list(await store.list()), list(await store.stages())) == ([], ["s"])
        stage.seal(digest, 1)
        again = await store.stage("t")
        again.write(0, b"x")
        with monkeypatch.context() as patched:
            patched.setattr(local, "sync_directory", failing)
            with pytest.raises(StorageFailed):
                again.seal(digest, 1)
        assert list(await store.list()) == [digest]

    asyncio.run(check())
