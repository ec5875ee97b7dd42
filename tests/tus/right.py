"""A small tus server with every extension, in memory: the suite must find nothing wrong with it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import re
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import urlsplit

from tests.tus.wrong import Wrong

MAX_SIZE = 2**60
ALGORITHMS = ("sha1", "sha256", "md5")
OPTIONS = {
    "Tus-Version": "1.0.0",
    "Tus-Max-Size": str(MAX_SIZE),
    "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    "Tus-Extension": "creation,creation-with-upload,creation-defer-length,expiration,checksum,"
    "checksum-trailer,termination,concatenation,concatenation-unfinished",
}


@dataclass
class Upload:
    length: int | None
    metadata: str | None = None
    concat: str | None = None
    parts: list[Upload] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def whole(self) -> bytes:
        return b"".join(part.whole for part in self.parts) if self.parts else bytes(self.data)

    @property
    def size(self) -> int | None:
        lengths = [part.length for part in self.parts]
        return self.length if not lengths else None if None in lengths else sum(lengths)  # type: ignore[arg-type]


class Refused(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


class Right(Wrong):
    """Does what the protocol says."""

    uploads: dict[str, Upload]
    names = itertools.count()

    def do_OPTIONS(self) -> None:  # noqa: N802
        self._dispatch()

    do_GET = do_POST = do_PATCH = do_HEAD = do_DELETE = do_OPTIONS  # noqa: N815

    def _dispatch(self) -> None:
        method = self.headers.get("X-HTTP-Method-Override", self.command)
        right_version = self.headers.get("Tus-Resumable") == "1.0.0"
        self.pending = int(self.headers.get("Content-Length", 0))
        try:
            if method == "OPTIONS":
                self._answer(204, OPTIONS)
            elif right_version or method == "GET":
                getattr(self, f"tus_{method.lower()}")()
            else:
                self._refuse(412)
        except Refused as refusal:
            self._refuse(refusal.status)

    def _refuse(self, status: int) -> None:
        if not self.headers.get("Expect"):
            self._read()  # closing with bytes unread would take the answer back
        self._tus(status, {"Tus-Version": "1.0.0"})

    def _read(self) -> bytes:
        size, self.pending = self.pending, 0
        return self.rfile.read(size)

    def handle_expect_100(self) -> bool:
        return True  # said when the body is wanted

    def _tus(self, status: int, fields: dict[str, str], body: bytes = b"") -> None:
        self._answer(status, {"Tus-Resumable": "1.0.0", **fields}, body)

    def _found(self, path: str | None = None) -> Upload:
        upload = self.uploads.get(path or self.path)
        if upload is None:
            raise Refused(404)
        return upload

    def _number(self, name: str, wrong: int = 400) -> int:
        values = self.headers.get_all(name, [])
        if len(values) != 1 or not re.fullmatch("[0-9]{1,19}", values[0]):
            raise Refused(wrong)
        return int(values[0])

    def _length(self) -> int:
        length = self._number("Upload-Length")
        if length > MAX_SIZE:
            raise Refused(413)
        return length

    # Requests

    def tus_get(self) -> None:
        self._answer(200, {}, self._found().whole)

    def tus_head(self) -> None:
        upload = self._found()
        fields = {"Cache-Control": "no-store", "Upload-Offset": str(len(upload.whole))}
        if upload.size is None:
            fields["Upload-Defer-Length"] = "1"
        else:
            fields["Upload-Length"] = str(upload.size)
        if upload.parts and len(upload.whole) != upload.size:
            del fields["Upload-Offset"]
        fields |= {"Upload-Metadata": upload.metadata} if upload.metadata else {}
        fields |= {"Upload-Concat": upload.concat} if upload.concat else {}
        self._tus(200, fields)

    def tus_delete(self) -> None:
        self._found()
        del self.uploads[self.path]
        self._tus(204, {})

    def tus_post(self) -> None:
        upload = self._created()
        fields = {"Location": f"/files/{next(self.names):08}"}
        if self.headers.get("Content-Length", "0") != "0" or self.headers.get("Content-Type"):
            fields["Upload-Offset"] = str(self._receive(upload))
        self.uploads[fields["Location"]] = upload
        self._tus(201, fields | self._expiry(upload))

    def tus_patch(self) -> None:
        upload = self._found()
        if upload.parts:
            raise Refused(403)
        offset = self._number("Upload-Offset")
        with upload.lock:
            if offset != len(upload.data):
                raise Refused(409)
            if "Upload-Length" in self.headers:
                length = self._length()
                if upload.length not in {None, length} or length < offset:
                    raise Refused(400)
                upload.length = length
            new = self._receive(upload)
        self._tus(204, {"Upload-Offset": str(new)} | self._expiry(upload))

    # Their parts

    def _expiry(self, upload: Upload) -> dict[str, str]:
        if upload.length == len(upload.data) or upload.parts:
            return {}
        return {"Upload-Expires": formatdate(time.time() + 3600, usegmt=True)}

    def _created(self) -> Upload:
        metadata, concat = self._metadata(), self.headers.get("Upload-Concat")
        if concat is not None and concat.startswith("final;"):
            return Upload(None, metadata, concat, self._parts(concat))
        deferred = self.headers.get("Upload-Defer-Length")
        if concat not in {None, "partial"} or deferred not in {None, "1"}:
            raise Refused(400)
        if deferred is not None and "Upload-Length" in self.headers:
            raise Refused(400)
        return Upload(None if deferred else self._length(), metadata, concat)

    def _parts(self, concat: str) -> list[Upload]:
        own = {"", self.headers["Host"]}
        urls = [urlsplit(url) for url in concat.removeprefix("final;").split()]
        if not urls or "Upload-Length" in self.headers or any(u.netloc not in own for u in urls):
            raise Refused(400)
        parts = [self._found(url.path) for url in urls]
        if any(part.concat != "partial" for part in parts):
            raise Refused(400)
        return parts

    def _metadata(self) -> str | None:
        value = self.headers.get("Upload-Metadata")
        keys = set()
        for pair in value.split(",") if value else []:
            key, _, encoded = pair.partition(" ")
            if not key or key in keys:
                raise Refused(400)
            keys.add(key)
            try:
                base64.b64decode(encoded, validate=True)
            except binascii.Error:
                raise Refused(400) from None
        return value

    def _receive(self, upload: Upload) -> int:
        if self.headers.get("Content-Type") != "application/offset+octet-stream":
            raise Refused(415)
        if self.headers.get("Expect"):
            self.send_response_only(100)
            self.end_headers()
        data, checksum = self._body()
        self._verify(data, checksum)
        if upload.length is not None and len(upload.data) + len(data) > upload.length:
            raise Refused(413)
        upload.data += data
        return len(upload.data)

    def _body(self) -> tuple[bytes, str | None]:
        checksum = self.headers.get("Upload-Checksum")
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self._read(), checksum
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        for line in iter(self.rfile.readline, b"\r\n"):
            name, _, value = line.decode().partition(":")
            if name == "Upload-Checksum" == self.headers.get("Trailer"):
                checksum = value.strip()
        return data, checksum

    def _verify(self, data: bytes, checksum: str | None) -> None:
        if checksum is None:
            return
        algorithm, _, encoded = checksum.partition(" ")
        if algorithm not in ALGORITHMS:
            raise Refused(400)
        try:
            expected = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            raise Refused(400) from None
        if hashlib.new(algorithm, data).digest() != expected:
            raise Refused(460)
