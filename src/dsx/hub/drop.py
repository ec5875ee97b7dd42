"""The drop: a directory for files that reached the server by other ways.

Nothing in it is listed or served. Such a file can only be deleted by its name; it then goes to the
trash like any other, and can be restored from there as an ordinary file.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import suppress
from functools import partial
from pathlib import Path

from dsx.core.errors import Conflict, Invalid, NotFound
from dsx.core.model import FileVersion
from dsx.core.names import check_file_name
from dsx.core.principals import Principal
from dsx.core.shield import run_in_thread, run_to_completion
from dsx.hub.datasets.beneath import open_to_move
from dsx.hub.files.files import Files
from dsx.hub.files.receiver import Receiver
from dsx.hub.files.trash import Trash

_CHUNK = 1024 * 1024


class Drop:
    """The files below one directory. They have no owner, so only admins may delete them."""

    def __init__(self, directory: Path, files: Files, trash: Trash) -> None:
        """*directory* need not exist."""
        self._directory = directory
        self._files = files
        self._trash = trash

    async def delete(self, principal: Principal, name: str) -> FileVersion:
        """Move the ordinary file *name* to the principal's trash; it is never listed in between.

        The original is removed once its bytes and its record are durable; a crash in between leaves
        both. Raises `NotFound` if there is none or the caller is no admin, `Conflict` if it is
        being written or deleted, `PreconditionFailed` if a file of that name is stored meanwhile,
        and what `Files.create` raises.
        """
        missing = NotFound(f"There is no file named {name!r}.", {"name": name})
        if not principal.admin:
            raise missing
        try:
            found = await run_in_thread(_Found, self._directory, check_file_name(name))
        except (Invalid, NotFound):
            raise missing from None
        return await run_to_completion(self._move(principal, found, name))

    async def _move(self, principal: Principal, found: _Found, name: str) -> FileVersion:
        put = partial(self._trash.put, principal)
        try:
            receiver = await self._files.receive(principal, found.size)
            try:
                await run_in_thread(found.copy, receiver)
                version = await self._files.create(
                    principal, receiver, name=name, only_if_absent=True, then=put
                )
            finally:
                await receiver.abandon()
            await run_in_thread(found.remove)
        finally:
            await asyncio.to_thread(found.close)
        return version


class _Found:
    """A file in the drop, locked against a second deletion. Methods are blocking."""

    def __init__(self, root: Path, name: str) -> None:
        self._name = name.rsplit("/", 1)[-1]
        self._file, self._directory = open_to_move(root, name)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise Conflict(f"{name!r} is already being deleted, or is in use.") from None
        self._before = os.fstat(self._file)
        if self._before.st_nlink == 0:  # the previous holder has just removed it
            self.close()
            raise NotFound(f"{name!r} no longer exists.")
        self.size = self._before.st_size

    def copy(self, receiver: Receiver) -> None:
        while data := os.read(self._file, _CHUNK):
            receiver.write(data)
        after = os.fstat(self._file)
        if _state(after) != _state(self._before) or receiver.size != after.st_size:
            raise Conflict(f"{self._name!r} is being written; delete it once it is complete.")

    def remove(self) -> None:
        """Unlink it, unless it has changed or another file has taken its name."""
        with suppress(FileNotFoundError):
            there = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
            if _state(there) == _state(self._before):
                os.unlink(self._name, dir_fd=self._directory)
                os.fsync(self._directory)

    def close(self) -> None:
        os.close(self._file)
        os.close(self._directory)


def _state(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
