"""The HTTP parser of a connection, which declines offers to speak another protocol."""

from __future__ import annotations

from array import array
from typing import Protocol

from httptools import HttpParserUpgrade, HttpRequestParser


class Connection(Protocol):
    """What the parser has to know of its connection."""

    def framing(self) -> bytes:
        """A head that says of the current request's body how long it is, and nothing else."""


class Parser(HttpRequestParser):
    """Reads on where httptools takes the body of a request for the protocol it offers to speak."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._connection = connection
        self.declining = False

    def feed_data(self, data: bytes | bytearray | memoryview[int] | array[int]) -> None:
        """Parse *data*; an offer in it is declined."""
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
