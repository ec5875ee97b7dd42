"""The server under test, and the requests of a tus client."""

from __future__ import annotations

import contextlib
import http.client
import time
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit

from dsx.testing.tus.outcome import Broken, Inapplicable, expect
from dsx.testing.tus.wire import Connection, Fields, Pairs, Response, head_of

VERSION = "1.0.0"
OFFSET_TYPE = "application/offset+octet-stream"
SETTLE_SECONDS = 5.0
HOPELESS_SECONDS = 0.2
PAUSE_SECONDS = 0.05

NETWORK_ERRORS = (OSError, http.client.HTTPException, ValueError)


def pairs(fields: Fields | None) -> list[tuple[str, str | None]]:
    """Return fields as a list of pairs; a value of None suppresses a default."""
    if fields is None:
        return []
    return list(fields.items()) if isinstance(fields, Mapping) else list(fields)


class Target:
    """One server: its creation URL, its announced features, and the uploads created on it."""

    def __init__(self, url: str, headers: Pairs = (), patience: float = 0.0) -> None:
        self.url = url
        self.patience = patience
        self._headers = list(headers)
        self._made: list[str] = []
        self._settle_seconds = SETTLE_SECONDS
        self.options = self.ask("OPTIONS", url, {"Tus-Resumable": None})
        self.extensions = frozenset(self.options.items("Tus-Extension"))
        self.algorithms = tuple(self.options.items("Tus-Checksum-Algorithm"))

    @property
    def max_size(self) -> int:
        """The announced limit of an upload's size; checks that need one do not apply without."""
        if self.options.get("Tus-Max-Size") is None:
            raise Inapplicable("no Tus-Max-Size announced")
        return self.options.number("Tus-Max-Size")

    @property
    def missing(self) -> str:
        """A URL in the form of an upload's that does not exist."""
        made = self.create(1)
        return made[:-6] + ("000000" if not made.endswith("000000") else "111111")

    # One request

    def head_bytes(self, method: str, url: str, fields: Fields | None, length: int | None) -> bytes:
        """Return the head of a request: the given fields, completed by the default ones."""
        given = pairs(fields)
        named = {name.lower() for name, _ in given}
        usual: list[tuple[str, str]] = [("Tus-Resumable", VERSION), *self._headers]
        if length is not None and "transfer-encoding" not in named:
            usual.append(("Content-Length", str(length)))
        kept = [(name, value) for name, value in usual if name.lower() not in named]
        asked = [(name, value) for name, value in given if value is not None]
        return head_of(method, url, [*kept, *asked])

    def ask(
        self,
        method: str,
        url: str,
        fields: Fields | None = None,
        body: bytes = b"",
        read_as: str | None = None,
    ) -> Response:
        """Send one request on a new connection; *read_as* is for overridden methods."""
        length = len(body) if body or method in {"POST", "PATCH"} else None
        with Connection(url) as line:
            line.send(self.head_bytes(method, url, fields, length) + body)
            return line.response(read_as or method)

    # Operations of clients

    def post(self, fields: Fields | None = None, body: bytes = b"") -> Response:
        """Send a creation request; the upload is removed at the end of the check."""
        answer = self.ask("POST", self.url, fields, body)
        self.made(answer)
        return answer

    def made(self, answer: Response) -> None:
        """Record a created upload, to remove it later."""
        if answer.get("Location") is not None:
            self._made.append(self.url_in(answer))

    def url_in(self, answer: Response) -> str:
        """Return the URL in a response's Location, which may be relative."""
        return urljoin(self.url, answer.text("Location"))

    def location(self, answer: Response) -> str:
        """Return the URL of the upload that *answer* has created."""
        return self.url_in(answer.must_be(201, about="POST"))

    def create(self, length: int | None, fields: Mapping[str, str] | None = None) -> str:
        """Create an upload and return its URL; a *length* of None is deferred."""
        size = {"Upload-Defer-Length": "1"} if length is None else {"Upload-Length": str(length)}
        return self.location(self.post({**size, **(fields or {})}))

    def patch(
        self, url: str, offset: int | str, data: bytes = b"", fields: Fields | None = None
    ) -> Response:
        """Send *data* for *offset*."""
        usual: list[tuple[str, str | None]] = [
            ("Content-Type", OFFSET_TYPE),
            ("Upload-Offset", str(offset)),
        ]
        given = pairs(fields)
        named = {name.lower() for name, _ in given}
        sent = [(name, value) for name, value in usual if name.lower() not in named]
        return self.ask("PATCH", url, [*sent, *given], data)

    def head(self, url: str, fields: Fields | None = None) -> Response:
        """Send HEAD for an upload."""
        return self.ask("HEAD", url, fields)

    def state(self, url: str) -> Response:
        """Send HEAD and require success."""
        return self.head(url).must_be(200, 204, about="HEAD")

    def offset(self, url: str) -> int:
        """Return the server's offset of an upload."""
        return self.state(url).number("Upload-Offset")

    def must_have(self, url: str, offset: int, after: str) -> None:
        """Fail unless the upload is at *offset*."""
        found = self.offset(url)
        expect(found == offset, f"after {after}: Upload-Offset {found}, not {offset}")

    def upload(self, data: bytes, fields: Mapping[str, str] | None = None) -> str:
        """Create a finished upload of *data* and return its URL."""
        url = self.create(len(data), fields)
        if data:
            self.patch(url, 0, data).must_be(204, about="PATCH")
        return url

    def join(self, parts: list[str], fields: Mapping[str, str] | None = None) -> Response:
        """Request the concatenation of *parts*."""
        return self.post({"Upload-Concat": "final;" + " ".join(parts), **(fields or {})})

    def partial(self, data: bytes, fields: Mapping[str, str] | None = None) -> str:
        """Create a finished partial upload and return its URL."""
        return self.upload(data, {"Upload-Concat": "partial", **(fields or {})})

    def finished(self, url: str) -> Response:
        """Poll HEAD until an upload is finished; return the last response in any case."""
        end = time.monotonic() + self._settle_seconds
        while time.monotonic() < end:
            answer = self.state(url)
            offset = answer.get("Upload-Offset")
            if offset is not None and offset == answer.get("Upload-Length"):
                return answer
            time.sleep(PAUSE_SECONDS)
        self._settle_seconds = HOPELESS_SECONDS  # one long wait is enough for a verdict
        return self.state(url)

    def settled(self, url: str) -> int:
        """Return the offset of an upload once the server notices that its sender is gone."""
        end, last = time.monotonic() + self._settle_seconds, -1
        while time.monotonic() < end:
            with contextlib.suppress(Broken):  # some servers keep it locked by the dead sender
                found = self.offset(url)
                if found == last and found > 0:
                    return found
                last = found
            time.sleep(4 * PAUSE_SECONDS)
        self._settle_seconds = HOPELESS_SECONDS
        return self.offset(url)

    def content(self, url: str) -> bytes:
        """Read a finished upload by GET, which is not part of the protocol but common."""
        answer = self.ask("GET", url)
        if answer.status != http.client.OK:
            raise Inapplicable(f"uploads cannot be read back: GET is answered {answer.status}")
        return answer.body

    def clean(self) -> None:
        """Remove the uploads of a check, if the server allows that."""
        made, self._made = self._made, []
        if "termination" in self.extensions:
            for url in made:
                with contextlib.suppress(*NETWORK_ERRORS):
                    self.ask("DELETE", url)


def path_of(url: str) -> str:
    """Return path and query of a URL."""
    address = urlsplit(url)
    return address.path + (f"?{address.query}" if address.query else "")
