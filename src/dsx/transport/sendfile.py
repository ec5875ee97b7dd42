"""Sends a slice of a file to a socket from the event loop, by ``sendfile``.

asyncio's ``loop.sendfile`` requests everything in one system call, which blocks the loop for as
long as a fast reader or an uncached file takes. Here a turn sends at most `SLICE` bytes, and
uncached data is first read by a worker thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

from dsx.core.shield import run_in_thread

SLICE = 4 * 1024 * 1024
"""Most bytes of one system call: about a millisecond of the loop's time."""

_AHEAD = 2 * SLICE
_BUFFER = 1024 * 1024


async def send_slice(connection: socket.socket, file: int, offset: int, count: int) -> None:
    """Send *count* bytes of the descriptor *file* from *offset* on, without buffering.

    *connection* is non-blocking and nothing else may write to it until this returns. Raises
    `OSError` if the connection breaks, `EOFError` if the file ends too soon.
    """
    # A descriptor of our own: the loop allows no other watcher of the transport's.
    sending = _Sending(os.dup(connection.fileno()), file, offset, offset + count)
    try:
        await sending.run()
    finally:
        sending.close()


class _Sending:
    def __init__(self, out: int, file: int, offset: int, stop: int) -> None:
        self._out = out
        self._file = file
        self._offset = offset
        self._stop = stop
        self._warm = offset  # below this, the file was in memory a moment ago
        self._loop = asyncio.get_running_loop()
        self._turn: asyncio.Future[None]

    async def run(self) -> None:
        while self._offset < self._stop:
            if not self._in_memory():
                await run_in_thread(self._read_ahead)
            self._turn = self._loop.create_future()
            self._loop.add_writer(self._out, self._on_writable)
            try:
                await self._turn
            finally:
                self._loop.remove_writer(self._out)

    def close(self) -> None:
        os.close(self._out)

    def _on_writable(self) -> None:
        """Send a slice; end the turn after the last one, or before one that must be read first."""
        try:
            sent = os.sendfile(
                self._out, self._file, self._offset, min(SLICE, self._stop - self._offset)
            )
        except BlockingIOError:
            return
        except OSError as error:
            self._end_turn(error)
            return
        self._offset += sent
        if not sent:
            self._end_turn(EOFError(f"the file ends {self._stop - self._offset} bytes too soon"))
        elif self._offset == self._stop or not self._in_memory():
            self._end_turn()

    def _end_turn(self, error: Exception | None = None) -> None:
        self._loop.remove_writer(self._out)
        if self._turn.done():  # cancelled
            return
        if error is None:
            self._turn.set_result(None)
        else:
            self._turn.set_exception(error)

    def _in_memory(self) -> bool:
        """Whether the next slice can probably be sent without waiting for the disk.

        Reads its last page with ``RWF_NOWAIT``; a file system without support counts as fast.
        """
        if self._offset < self._warm:
            return True
        last = min(self._offset + SLICE, self._stop) - 1
        try:
            os.preadv(self._file, [bytearray(1)], last, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        except OSError:
            self._warm = self._stop
            return True
        self._warm = last + 1
        return True

    def _read_ahead(self) -> None:
        """Read the next slices into the page cache (in a worker thread)."""
        buffer = bytearray(_BUFFER)
        stop = min(self._offset + _AHEAD, self._stop)
        with contextlib.suppress(OSError):  # sendfile will raise the same error
            for position in range(self._offset, stop, _BUFFER):
                os.preadv(self._file, [buffer], position)
        self._warm = stop
