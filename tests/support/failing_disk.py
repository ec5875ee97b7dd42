"""A disk that fails, forgets and loses power, for the programs that a test starts on it.

`tests/faults/failing_disk.c` is put in front of libc; this compiles it, tells it what is to fail,
and has a directory be what survives a power loss.
"""

from __future__ import annotations

import atexit
import ctypes
import errno
import functools
import mmap
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.apt import ensure

SOURCES = Path(__file__).parent.parent / "faults"
WRITE, SYNC, RENAME, TRUNCATE, READ = 1, 2, 4, 8, 16
CHANGES = WRITE | SYNC | RENAME | TRUNCATE
EIO, ENOSPC, SHORT = errno.EIO, errno.ENOSPC, 0
DEATH = 1000
"""The call succeeds, and is the last one of the process."""
_PAGE = 4096
_KINDS = ("content", "dirty", "lost", "names", "held", "locks")


class Control(ctypes.Structure):
    """``struct control`` of the library."""

    _fields_ = (
        ("armed", ctypes.c_uint32),
        ("kinds", ctypes.c_uint32),
        ("catalog", ctypes.c_uint32),
        ("failure", ctypes.c_uint32),
        ("clean", ctypes.c_uint32),
        ("repeat", ctypes.c_uint32),
        ("number", ctypes.c_uint64),
        ("count", ctypes.c_uint64),
        ("failed", ctypes.c_uint64),
        ("last", ctypes.c_char * 256),
    )


@functools.cache
def library(name: str = "failing_disk") -> Path:
    """The compiled library *name*; a C compiler is installed for it if need be."""
    directory = Path(tempfile.mkdtemp(prefix="dsx-library-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    target, source = directory / f"{name}.so", SOURCES / f"{name}.c"
    compiler = ensure(_compiler, "gcc", "libc6-dev")
    flags = ("-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
    subprocess.run([compiler, *flags, "-o", target, source, "-ldl"], check=True)
    return target


def _compiler() -> str | None:
    has_headers = Path("/usr/include/stdio.h").exists()
    return (shutil.which("cc") or shutil.which("gcc")) if has_headers else None


class FailingDisk:
    """The directory *root*, as programs started with `environment` see it."""

    def __init__(self, root: Path, kept: Path) -> None:
        """*kept*, on the same file system, takes what is durable of *root*."""
        self.root, self.kept = root, kept
        root.mkdir(parents=True, exist_ok=True)
        kept.mkdir()
        block = kept / "control"
        block.write_bytes(bytes(ctypes.sizeof(Control)))
        with block.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), ctypes.sizeof(Control))
        self.control = Control.from_buffer(self._map)
        self._begin()

    @property
    def environment(self) -> dict[str, str]:
        """What puts a program on this disk."""
        return {
            "LD_PRELOAD": str(library()),
            "FAILING_DISK_ROOT": str(self.root),
            "FAILING_DISK_KEPT": str(self.kept),
            "FAILING_DISK_CONTROL": str(self.kept / "control"),
        }

    @contextmanager
    def failing(
        self,
        number: int,
        failure: int = EIO,
        *,
        kinds: int = CHANGES,
        catalog: int = 0,
        clean: bool = False,
        repeat: int = 1,
    ) -> Iterator[Control]:
        """The *number*-th call of *kinds* in the block fails; `Control.failed` says if it did.

        *catalog*: 0: calls on all but the catalog's files count, 1: only on those, 2: on all.
        *clean*: what a failed sync loses stays readable until `forget`. *repeat*: calls that fail
        in a row.
        """
        control = self.control
        control.armed = 0
        control.kinds, control.failure, control.catalog = kinds, failure, catalog
        control.clean, control.repeat, control.number = clean, repeat, number
        control.count = control.failed = 0
        control.last = b""
        control.armed = 1
        try:
            yield control
        finally:
            control.armed = 0

    def forget(self) -> None:
        """Have the pages that were lost but are in memory be read from the disk."""
        paths = {path.stat().st_ino: path for path in self.root.rglob("*") if path.is_file()}
        for listed in (self.kept / "lost").iterdir():
            path = paths.get(int(listed.name))
            ranges = memoryview(listed.read_bytes()).cast("q").tolist()
            if path is not None:
                self._revert(path, self.kept / "content" / listed.name, ranges)
            listed.unlink()

    def _revert(self, path: Path, content: Path, ranges: list[int]) -> None:
        durable = content.read_bytes() if content.exists() else b""
        size = path.stat().st_size
        descriptor = os.open(path, os.O_RDWR)
        try:
            for start, stop in zip(ranges[::2], ranges[1::2], strict=True):
                first = start // _PAGE * _PAGE
                last = min(-(-stop // _PAGE) * _PAGE, size)
                piece = durable[first:last].ljust(max(0, last - first), b"\0")
                os.pwrite(descriptor, piece, first)
        finally:
            os.close(descriptor)

    def lose_power(self, luck: random.Random | None = None, *, names: bool = False) -> None:
        """Have *root* be what had been synced; all its programs have to be dead.

        With *luck*, some of the pages that had not been synced have reached the disk, too; with
        *names*, all names have, as on most file systems after a while, but not what they name.
        """
        if names:
            self._keep_names()
        if luck is not None:
            self._write_some(luck)
        after = self.root.with_name(f"{self.root.name}.after")
        self._rebuild(self.root.stat().st_ino, after)
        shutil.rmtree(self.root)
        after.rename(self.root)
        self._begin()

    def _write_some(self, luck: random.Random) -> None:
        """As the kernel does by itself: write dirty pages back, in no order."""
        for path in self.root.rglob("*"):
            dirty = self.kept / "dirty" / str(path.stat().st_ino)
            content = self.kept / "content" / dirty.name
            if not path.is_file() or not dirty.exists() or not content.exists():
                continue
            ranges = memoryview(dirty.read_bytes()).cast("q").tolist()
            with path.open("rb") as now, content.open("r+b") as durable:
                for start, stop in zip(ranges[::2], ranges[1::2], strict=True):
                    for page in range(start // _PAGE * _PAGE, stop, _PAGE):
                        if luck.random() < 0.5:
                            now.seek(page)
                            durable.seek(page)
                            durable.write(now.read(_PAGE))

    def _rebuild(self, inode: int, target: Path) -> None:
        target.mkdir(mode=0o700)
        names = self.kept / "names" / str(inode)
        for line in names.read_text().splitlines() if names.exists() else ():
            number, kind, name = line.split(" ", 2)
            if name.endswith("-shm"):  # shared memory of living processes
                continue
            if kind == "d":
                self._rebuild(int(number), target / name)
                continue
            content = self.kept / "content" / number
            (target / name).write_bytes(content.read_bytes() if content.exists() else b"")
            (target / name).chmod(0o600)

    def _begin(self) -> None:
        """All that is there is durable."""
        for kind in _KINDS:
            shutil.rmtree(self.kept / kind, ignore_errors=True)
            (self.kept / kind).mkdir()
        self._keep_names()
        for path in self.root.rglob("*"):
            if path.is_file():
                inode = str(path.stat().st_ino)
                shutil.copyfile(path, self.kept / "content" / inode)
                os.link(path, self.kept / "held" / inode)

    def _keep_names(self) -> None:
        for directory in (self.root, *self.root.rglob("*")):
            if directory.is_dir():
                lines = [
                    f"{path.stat().st_ino} {'d' if path.is_dir() else 'f'} {path.name}\n"
                    for path in directory.iterdir()
                ]
                names = self.kept / "names" / str(directory.stat().st_ino)
                names.write_text("".join(lines))
