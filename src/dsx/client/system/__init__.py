"""What the SDK asks of the operating system and each does in its own way: one file for each.

Both files have these functions, and the SDK relies on this:

``open_file(path, flags, mode)``
    As `os.open`, for binary reads and writes. While the file is open, it can be renamed, and its
    name removed; others may read and write it.
``read_at(descriptor, size, offset)`` and ``write_at(descriptor, data, offset)``
    As `os.pread` and `os.pwrite`: threads may do so at once. Where the next `os.read` or `os.write`
    will be is not told.
``lock(descriptor)``
    Take the file for this descriptor alone, or raise `OSError` at once. Locks bind those who ask
    for them, and end when the descriptor is closed or the process ends, however it ends.
``replace_file(draft, place)``
    As `os.replace`; where what is open cannot be replaced, wait a moment for it to be closed.
``sync_directory(path)``
    Return once the names in the directory survive a crash of the machine.
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
