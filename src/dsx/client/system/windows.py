"""Implementation for Windows, where open files can be renamed only if they were opened for it.

`os.open` does not do that, so files are opened by the system's call.
https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew
"""

from __future__ import annotations

import ctypes
import msvcrt
import os
import sys
import threading
import time
from ctypes import wintypes
from pathlib import Path

assert sys.platform == "win32"

_GENERIC_READ, _GENERIC_WRITE = 0x80000000, 0x40000000
_SHARE_READ_WRITE_DELETE = 7
_CREATE_NEW, _OPEN_EXISTING, _OPEN_ALWAYS = 1, 3, 4
_NORMAL = 0x80
_INVALID = wintypes.HANDLE(-1).value
_LOCKED = 1 << 62
"""The byte that is locked: beyond the end of any file, because locked bytes cannot be accessed."""
_PATIENCE = 2.0
"""Seconds for which replacing a file that is open elsewhere is retried."""

_kernel = ctypes.WinDLL("kernel32", use_last_error=True)
_kernel.CreateFileW.restype = wintypes.HANDLE
_kernel.CreateFileW.argtypes = [
    wintypes.LPCWSTR,
    wintypes.DWORD,
    wintypes.DWORD,
    wintypes.LPVOID,
    wintypes.DWORD,
    wintypes.DWORD,
    wintypes.HANDLE,
]
_kernel.LockFile.argtypes = [wintypes.HANDLE, *[wintypes.DWORD] * 4]
_moving = threading.Lock()  # all threads share the file's position


def open_file(path: Path, flags: int, _mode: int = 0o666) -> int:
    """Open a file; see `dsx.client.system`. Permissions are inherited from its directory."""
    handle = _kernel.CreateFileW(
        str(path),
        _GENERIC_READ | (_GENERIC_WRITE if flags & os.O_RDWR else 0),
        _SHARE_READ_WRITE_DELETE,
        None,
        _disposition(flags),
        _NORMAL,
        None,
    )
    if handle == _INVALID:
        raise _failure(path)
    return msvcrt.open_osfhandle(handle, os.O_BINARY | (flags & os.O_RDWR))


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Read from *offset* on; see `dsx.client.system`."""
    with _moving:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, size)


def write_at(descriptor: int, data: memoryview | bytes, offset: int) -> int:
    """Write at *offset*; return the number of bytes written. See `dsx.client.system`."""
    with _moving:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.write(descriptor, data)


def lock(descriptor: int) -> None:
    """Lock the file; see `dsx.client.system`."""
    low, high = _LOCKED & 0xFFFFFFFF, _LOCKED >> 32
    if not _kernel.LockFile(msvcrt.get_osfhandle(descriptor), low, high, 1, 0):
        raise _failure()


def replace_file(draft: Path, place: Path) -> None:
    """Move *draft* to *place*; see `dsx.client.system`.

    Retries, because other writers, readers and virus scanners open files for moments.
    """
    give_up = time.monotonic() + _PATIENCE
    while True:
        try:
            draft.replace(place)
        except PermissionError:
            if place.is_dir() or time.monotonic() > give_up:
                raise
        else:
            return
        time.sleep(0.01)


def sync_directory(_path: Path) -> None:
    """Do nothing: NTFS journals names, and directories cannot be flushed."""


def _disposition(flags: int) -> int:
    if not flags & os.O_CREAT:
        return _OPEN_EXISTING
    return _CREATE_NEW if flags & os.O_EXCL else _OPEN_ALWAYS


def _failure(path: Path | None = None) -> OSError:
    """Return the error of the last system call as the matching `OSError`."""
    code = ctypes.get_last_error()
    return OSError(None, ctypes.FormatError(code), path and str(path), code)
