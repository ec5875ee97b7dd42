"""Runs downloads and deletes under the control of a task."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any

from dsx.core.content import Content, FileSlice, Piece, Stream
from dsx.hub.transfers.control import Control

SMALLEST_SLICE = 128 * 1024
LARGEST_SLICE = 8 * 1024 * 1024
_SLICE_SECONDS = 0.1
_PROGRESS_SECONDS = 0.5


class Transfer:
    """A running download or delete.

    ``done``: its progress; ``completed``: set when it is complete.
    """

    def __init__(self, control: Control, note: Any) -> None:
        self.control = control
        self.done = 0
        self.completed = False
        self._note = note
        self._noted = time.monotonic()

    async def moved(self, done: int) -> None:
        """Record progress occasionally."""
        self.done = max(self.done, done)
        if time.monotonic() - self._noted > _PROGRESS_SECONDS:
            self._noted = time.monotonic()
            await self._note(done=self.done)

    def gated(self, content: Content) -> Content:
        """Return *content* in counted slices, so small that a pause takes effect immediately."""

        async def pieces(start: int, stop: int) -> AsyncIterator[Piece]:
            position, size, handed = start, SMALLEST_SLICE, time.monotonic()
            async for piece in content.pieces(start, stop):
                if isinstance(piece, Stream):
                    yield replace(piece, chunks=partial(self._gated_chunks, piece, position))
                    position += piece.size
                    continue
                offset = 0
                while offset < piece.size:
                    await self.control.proceed()
                    part = _part(piece, offset, size)
                    yield part
                    took, handed = time.monotonic() - handed, time.monotonic()
                    factor = 2 if took < _SLICE_SECONDS else 0.5
                    size = int(min(LARGEST_SLICE, max(SMALLEST_SLICE, size * factor)))
                    offset += part.size
                    position += part.size
                    await self.moved(position)
            self.completed = self.completed or position == content.size

        return replace(content, pieces=pieces)

    async def _gated_chunks(self, stream: Stream, position: int) -> AsyncIterator[bytes]:
        async for chunk in stream.chunks():
            await self.control.proceed()
            yield chunk
            position += len(chunk)
            await self.moved(position)


def _part(piece: Piece, offset: int, size: int) -> Piece:
    if isinstance(piece, FileSlice):
        return replace(piece, start=piece.start + offset, size=min(size, piece.size - offset))
    return piece
