"""The three upload protocols behind one face, so that a test can be said once for all of them."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from tests.support.hub import RunningHub

TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = {"Content-Type": "application/offset+octet-stream"}
INTEROP = {"Upload-Draft-Interop-Version": "8"}
PARTIAL = {"Content-Type": "application/partial-upload"}


def encoded(**metadata: str) -> str:
    """``Upload-Metadata`` of tus."""
    return ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in metadata.items())


def id_of(path: str) -> str:
    """The id of the upload at *path*."""
    return path.rsplit("/", 1)[1]


def path_of(answer: requests.Response) -> str:
    """The path of what was created, whether ``Location`` is one or a whole URL."""
    return urlsplit(answer.headers["Location"]).path


@dataclass
class Speaker(ABC):
    """One upload in one protocol. ``request`` fields say how to send bytes on a bare socket."""

    hub: RunningHub
    name: str
    length: int
    path: str = ""

    @abstractmethod
    def create(self) -> requests.Response:
        """Begin; sets ``path``."""

    @abstractmethod
    def head_of(self, offset: int, size: int, *, last: bool) -> tuple[str, str, dict[str, str]]:
        """Method, path and fields of a request that appends."""

    @abstractmethod
    def offset(self) -> int:
        """Where the upload stands."""

    def append(self, offset: int, data: bytes, *, last: bool | None = None) -> requests.Response:
        """Send *data* in one request."""
        last = offset + len(data) == self.length if last is None else last
        method, path, fields = self.head_of(offset, len(data), last=last)
        return self.hub.request(method, path, data=data, headers=fields)

    def finish(self) -> dict[str, Any]:
        """The record of the file, once all bytes are there."""
        (record,) = self.hub.get("/api/v1/files", params={"name": self.name}).json()["items"]
        return dict(record)

    def abort(self) -> requests.Response:
        return self.hub.delete(self.path, headers=TUS)


class Native(Speaker):
    def create(self) -> requests.Response:
        answer = self.hub.post("/api/v1/uploads", json={"name": self.name, "length": self.length})
        if answer.status_code == 201:
            self.path = path_of(answer)
        return answer

    def head_of(self, offset: int, size: int, *, last: bool) -> tuple[str, str, dict[str, str]]:
        return "PUT", f"{self.path}/parts/{offset}", {}

    def offset(self) -> int:
        return int(self.hub.get(self.path).json()["offset"])

    def finish(self) -> dict[str, Any]:
        answer = self.hub.post(f"{self.path}/finish")
        assert answer.status_code == 201, answer.text
        return dict(answer.json())


class Tus(Speaker):
    def create(self) -> requests.Response:
        fields = {"Upload-Length": str(self.length), "Upload-Metadata": encoded(filename=self.name)}
        answer = self.hub.post("/uploads", headers=TUS | fields)
        if answer.status_code == 201:
            self.path = path_of(answer)
        return answer

    def head_of(self, offset: int, size: int, *, last: bool) -> tuple[str, str, dict[str, str]]:
        return "PATCH", self.path, TUS | CHUNK | {"Upload-Offset": str(offset)}

    def offset(self) -> int:
        answer = self.hub.request("HEAD", self.path, headers=TUS)
        assert answer.status_code == 200, answer.status_code
        return int(answer.headers["Upload-Offset"])


class Rufh(Speaker):
    def create(self) -> requests.Response:
        fields = {"Upload-Length": str(self.length), "Upload-Complete": "?0"}
        answer = self.hub.post("/uploads", headers=INTEROP | fields, params={"name": self.name})
        if answer.status_code == 201:
            self.path = path_of(answer)
        return answer

    def head_of(self, offset: int, size: int, *, last: bool) -> tuple[str, str, dict[str, str]]:
        complete = {"Upload-Complete": "?1" if last else "?0"}
        return "PATCH", self.path, INTEROP | PARTIAL | complete | {"Upload-Offset": str(offset)}

    def offset(self) -> int:
        answer = self.hub.request("HEAD", self.path, headers=INTEROP)
        assert answer.status_code == 204, answer.status_code
        return int(answer.headers["Upload-Offset"])

    def finish(self) -> dict[str, Any]:
        """The offset alone does not tell that an upload is complete; saying so twice is no harm."""
        if self.hub.request("HEAD", self.path, headers=INTEROP).headers["Upload-Complete"] == "?0":
            answer = self.append(self.length, b"", last=True)
            assert answer.status_code == 201, answer.text
        return super().finish()


SPEAKERS = (Native, Tus, Rufh)
