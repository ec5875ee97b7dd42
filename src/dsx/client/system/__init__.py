"""Functions that each operating system implements differently, in one module per system.

Both modules have these functions, with these guarantees:

``open_file(path, flags, mode)``
    Like `os.open`, for binary reads and writes. While the file is open, it can be renamed and
    unlinked, and others may read and write it.
``read_at(descriptor, size, offset)`` and ``write_at(descriptor, data, offset)``
    Like `os.pread` and `os.pwrite`, and thread-safe. The position of the next `os.read` or
    `os.write` is undefined.
``lock(descriptor)``
    Lock the file for this descriptor, or raise `OSError` immediately. Locks are advisory, and end
    when the descriptor is closed or the process ends, even by a kill.
``replace_file(draft, place)``
    Like `os.replace`; where open files cannot be replaced, wait a moment for them to be closed.
``sync_directory(path)``
    Make the names in the directory survive a crash of the machine.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from dsx.client.system.windows import (
        lock,
        open_file,
        read_at,
        replace_file,
        sync_directory,
        write_at,
    )
else:
    from dsx.client.system.posix import (
        lock,
        open_file,
        read_at,
        replace_file,
        sync_directory,
        write_at,
    )

__all__ = ["lock", "open_file", "read_at", "replace_file", "sync_directory", "write_at"]
