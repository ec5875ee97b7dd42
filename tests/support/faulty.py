"""A small server of the hub's client-facing routes that misbehaves on request.

It keeps its files in memory and speaks what the SDK relies on: ETag, ranges, conditional requests,
Repr-Digest, manifests, packs and uploads. `Faults` says what goes wrong.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from dsx.core import tar_layout
from dsx.core.digest import digest_of, to_repr_digest
from dsx.core.ranges import parse_range

MTIME = 1_700_000_000_123_456_789


@dataclass
class Faults:
    """What goes wrong. Counters count down to zero, then all is well."""

    refusals: int = 0  # answer so many requests with `status` …
    status: int = 503
    retry_after: str | None = None  # … and this header
    problem: dict[str, Any] | None = None
    drops: int = 0  # break so many bodies off after `drop_after` bytes
    drop_after: int = 0
    corruptions: int = 0  # flip a byte in so many bodies
    ranges: bool = True  # honour Range
    digests: bool = True  # send Repr-Digest
    hashed: bool = True  # have SHA-256s in the manifest
    change_on_drop: bytes | None = None  # a dropped file has this content afterwards
    left_out: set[str] = field(default_factory=set)  # members that packs have not
    stale: dict[str, bytes] = field(default_factory=dict)  # what manifest and digests speak of
    gone: set[str] = field(default_factory=set)  # in the manifest, but no longer there


@dataclass
class FaultyServer:
    """The server, what it serves, what it was asked."""

    url: str = ""
    faults: Faults = field(default_factory=Faults)
    files: dict[str, bytes] = field(default_factory=dict)  # of the one dataset, "ds"
    manifest_paths: list[str] | None = None  # instead of the real ones
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    peers: list[int] = field(default_factory=list)  # the client's port of each request
    uploads: list[bytes] = field(default_factory=list)
    rechecked: list[str] = field(default_factory=list)  # files that were to be read anew
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, counter: str) -> bool:
        """Whether a fault that is counted is due; counts it."""
        with self.lock:
            left = getattr(self.faults, counter)
            setattr(self.faults, counter, max(0, left - 1))
            return left > 0

    def asked(self, part: str) -> list[dict[str, str]]:
        """Headers of the requests whose path contains *part*."""
        return [headers for _, path, headers in self.requests if part in path]

    def digest(self, path: str) -> str | None:
        """What the manifest says of a file."""
        data = self.faults.stale.get(path, self.files[path])
        return digest_of(data) if self.faults.hashed else None

    def etag(self, path: str) -> str:
        data = self.files[path]
        return f"{MTIME:x}-{len(data):x}-{digest_of(self.faults.stale.get(path, data))[:12]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "faulty"
    state: FaultyServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    def do_HEAD(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def _handle(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self._body()
        self.state.requests.append((self.command, path, dict(self.headers)))
        self.state.peers.append(self.client_address[1])
        if self.state.take("refusals"):
            self._refuse()
        elif path == "/api/v1/datasets":
            self._json({"items": [{"name": "ds"}]})
        elif path == "/api/v1/datasets/ds/manifest":
            self._manifest()
        elif path == "/api/v1/datasets/ds/pack":
            self._pack(json.loads(body)["paths"])
        elif path.startswith("/api/v1/datasets/ds/files/"):
            self._file(path.removeprefix("/api/v1/datasets/ds/files/"))
        elif path.startswith("/api/v1/archive"):
            self._file("archive.zip")
        elif path == "/api/v1/files" and self.command == "POST":
            self._upload(body)
        else:
            self._problem(404, "not_found", f"There is no {path}.")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _manifest(self) -> None:
        files = self.state.files
        paths = list(files) if self.state.manifest_paths is None else self.state.manifest_paths
        entries = [
            {
                "path": path,
                "size": len(files.get(path, b"")),
                "hash": hashlib.md5(
                    self.state.faults.stale.get(path, files.get(path, b""))[:1024]
                ).hexdigest(),
                "sha256": self.state.digest(path) if path in files else None,
                "etag": self.state.etag(path) if path in files else "none",
                "mtime": MTIME / 1e9,
            }
            for path in paths
        ]
        data = json.dumps(entries).encode()
        etag = f'"{digest_of(data)}"'
        if self.headers.get("If-None-Match") == etag:
            self._send(304, b"", {"ETag": etag})
        else:
            self._send(200, data, {"ETag": etag, "Content-Type": "application/json"})

    def _file(self, path: str) -> None:
        data = self.state.files.get(path)
        if data is None or path in self.state.faults.gone:
            self._problem(404, "not_found", f"There is no file {path!r} in ds.")
            return
        if self.headers.get("Cache-Control") == "no-cache":
            self.state.faults.stale.pop(path, None)
            self.state.rechecked.append(path)
        etag = f'"{self.state.etag(path)}"'
        headers = {"ETag": etag}
        if self.state.faults.digests:
            told = self.state.faults.stale.get(path, data)
            headers["Repr-Digest"] = to_repr_digest(digest_of(told))
        if self.headers.get("If-None-Match") == etag:
            self._send(304, b"", headers)
            return
        status = 200
        if self.state.faults.ranges:
            headers["Accept-Ranges"] = "bytes"
            wanted = self.headers.get("Range")
            if wanted and self.headers.get("If-Range", etag) == etag:
                (part,) = parse_range(wanted, len(data)) or ()
                headers["Content-Range"] = part.content_range(len(data))
                status, data = 206, data[part.start : part.stop]
        self._send(status, data, headers, path)

    def _pack(self, paths: list[str]) -> None:
        stream = bytearray()
        missing = [path for path in paths if path not in self.state.files]
        if missing:
            details = {"missing": missing}
            self._problem(404, "not_found", f"There is no file {missing[0]!r}.", details)
            return
        for path in paths:
            if path in self.state.faults.left_out | self.state.faults.gone:
                continue
            data = self.state.files[path]
            stream += tar_layout.header(tar_layout.Member(path, len(data), MTIME, digest_of(data)))
            if self.state.take("corruptions"):
                data = b"X" + data[1:]
            stream += data + tar_layout.padding(len(data))
        self._send(200, bytes(stream + tar_layout.END), {"Content-Type": "application/x-tar"}, None)

    def _upload(self, body: bytes) -> None:
        self.state.uploads.append(body)
        name = parse_qs(urlsplit(self.path).query)["name"][0]
        kept = b"X" + body[1:] if self.state.take("corruptions") else body
        record = {
            "id": f"00000000-0000-7000-8000-{len(self.state.uploads):012}",
            "number": len(self.state.uploads),
            "file": "00000000-0000-7000-8000-000000000001",
            "version": 1,
            "latest": True,
            "owner": "admin",
            "name": name,
            "category": "",
            "content_type": "application/octet-stream",
            "size": len(body),
            "sha256": digest_of(kept),
            "created": "2026-01-01T00:00:00.000000Z",
            "metadata": {},
            "tags": [],
            "url": "/none",
        }
        self._send(201, json.dumps(record).encode(), {"Content-Type": "application/json"})

    def _refuse(self) -> None:
        faults = self.state.faults
        headers = {"Retry-After": faults.retry_after} if faults.retry_after is not None else {}
        body = b"" if faults.problem is None else json.dumps(faults.problem).encode()
        if body:
            headers["Content-Type"] = "application/problem+json"
        self._send(faults.status, body, headers)

    def _problem(
        self, status: int, code: str, detail: str, details: dict[str, Any] | None = None
    ) -> None:
        body = json.dumps({"code": code, "detail": detail, "details": details or {}}).encode()
        self._send(status, body, {"Content-Type": "application/problem+json"})

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(
        self, status: int, data: bytes, headers: dict[str, str], path: str | None = ""
    ) -> None:
        """*path* "" is an answer that no fault of bodies concerns; None is a pack."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if path and self.state.take("corruptions"):
            data = b"X" + data[1:]
        drop_after = self.state.faults.drop_after
        if path != "" and len(data) > drop_after and self.state.take("drops"):
            self.wfile.write(data[:drop_after])
            self.wfile.flush()
            self.close_connection = True
            if path and self.state.faults.change_on_drop is not None:
                self.state.files[path] = self.state.faults.change_on_drop
            return
        self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are expected."""


@contextmanager
def faulty_server() -> Iterator[FaultyServer]:
    """A server for the length of a block."""
    state = FaultyServer()
    handler = type("BoundHandler", (Handler,), {"state": state})
    with _Server(("127.0.0.1", 0), handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
