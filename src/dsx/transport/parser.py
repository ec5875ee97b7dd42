"""The HTTP parser of a connection, which declines protocol upgrades."""

from __future__ import annotations

from array import array
from typing import Protocol

from httptools import HttpParserUpgrade, HttpRequestParser


class Connection(Protocol):
    """The part of a connection that the parser uses."""

    def framing(self) -> bytes:
        """A request header with only the framing of the current request's body."""


class Parser(HttpRequestParser):
    """Continues where httptools takes the body of an upgrade request for the new protocol."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._connection = connection
        self.declining = False

    def feed_data(self, data: bytes | bytearray | memoryview[int] | array[int]) -> None:
        """Parse *data*, declining upgrades."""
        while True:
            try:
                super().feed_data(data)
            except HttpParserUpgrade as offer:
                data = memoryview(data)[offer.args[0] :]
            else:
                return
            self.declining = True
            super().feed_data(self._connection.framing())
            self.declining = False
