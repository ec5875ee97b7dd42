"""Every way to bring a file into the hub, by a client that does not give up.

A sender does what a good client does: it sends again what was not acknowledged, and asks where it
stands before. It returns once the file has been acknowledged.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from tests.support.hub import RunningHub
from tests.uploads.speakers import CHUNK, INTEROP, PARTIAL, TUS, encoded, path_of

TRIES = 12
ALLOWED = {408, 409, 503, 507}
"""How a request may fail on a disk that fails; a conflict is that of somebody who was shut out."""


class NeverStored(AssertionError):
    """A client that does not give up had to."""


@dataclass
class Sender:
    """One file on its way."""

    hub: RunningHub
    name: str
    data: bytes
    acknowledged: int = 0  # bytes from 0 on that the server has said it has
    refusals: int = 0

    @property
    def cuts(self) -> list[tuple[int, int]]:
        """Three parts of it."""
        third = len(self.data) // 3
        return [(0, third), (third, 2 * third), (2 * third, len(self.data))]

    def ask(self, method: str, path: str, *also: int, **kwargs: Any) -> requests.Response | None:
        """The answer; None if it is a failure that may be. *also*: further statuses that may."""
        answer = self.hub.request(method, path, **kwargs)
        if answer.ok:
            return answer
        assert answer.status_code in ALLOWED | {*also}, (
            method,
            path,
            answer.status_code,
            answer.text,
        )
        self.refusals += 1
        time.sleep(0.002 * self.refusals)
        return None

    def until(self, *request: Any, **kwargs: Any) -> requests.Response:
        """The same request until it succeeds."""
        for _ in range(TRIES):
            if (answer := self.ask(*request, **kwargs)) is not None:
                return answer
        raise NeverStored(request)

    def stands(self, offset: int) -> int:
        """Note where the server says that it stands: never before what it had acknowledged."""
        assert offset >= self.acknowledged, "acknowledged bytes are gone"
        self.acknowledged = offset
        return offset


def whole(sender: Sender) -> None:
    """``POST /api/v1/files``, raw."""
    sender.until("POST", "/api/v1/files", params={"name": sender.name}, data=sender.data)


def form(sender: Sender) -> None:
    """The same as a form."""
    params = {"name": sender.name}
    sender.until("POST", "/api/v1/files", params=params, files={"file": ("f", sender.data)})


def parts(sender: Sender, *, parallel: bool = False) -> None:
    """``/api/v1/uploads``: parts out of order, until none is missing."""
    facts = {"name": sender.name, "length": len(sender.data)}
    path = path_of(sender.until("POST", "/api/v1/uploads", json=facts))
    missing = [sender.cuts[index] for index in (2, 0, 1)]
    for _ in range(TRIES):
        with ThreadPoolExecutor(3 if parallel else 1) as pool:
            list(pool.map(lambda cut: _put(sender, path, *cut), missing))
        if sender.ask("POST", f"{path}/finish") is not None:
            return
        upload = sender.until("GET", path).json()
        missing = _gaps(upload["received"], len(sender.data))
    raise NeverStored(path)


def _put(sender: Sender, path: str, start: int, stop: int) -> None:
    sender.ask("PUT", f"{path}/parts/{start}", data=sender.data[start:stop])


def _gaps(received: list[list[int]], length: int) -> list[tuple[int, int]]:
    edges = [0, *(edge for span in received for edge in span), length]
    return [
        (start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True) if start < stop
    ]


def parallel_parts(sender: Sender) -> None:
    """The same, all parts at once."""
    parts(sender, parallel=True)


def tus(sender: Sender) -> None:
    """tus: PATCH after PATCH."""
    _tus(sender, sender.data, {"Upload-Metadata": encoded(filename=sender.name)})


def tus_checksum(sender: Sender) -> None:
    """tus with a checksum of every request."""
    _tus(sender, sender.data, {"Upload-Metadata": encoded(filename=sender.name)}, checksum=True)


def tus_with_creation(sender: Sender) -> None:
    """tus, all of it with the request that begins."""
    facts = {
        "Upload-Length": str(len(sender.data)),
        "Upload-Metadata": encoded(filename=sender.name),
    }
    sender.until("POST", "/uploads", data=sender.data, headers=TUS | CHUNK | facts)


def tus_joined(sender: Sender) -> None:
    """tus: two partial uploads, then the final one."""
    half = len(sender.data) // 2
    paths = []
    for piece in (sender.data[:half], sender.data[half:]):
        sender.acknowledged = 0
        paths.append(_tus(sender, piece, {"Upload-Concat": "partial"}))
    joined = {"Upload-Concat": f"final;{' '.join(paths)}"}
    joined["Upload-Metadata"] = encoded(filename=sender.name)
    sender.until("POST", "/uploads", headers=TUS | joined)


def _tus(sender: Sender, data: bytes, facts: Mapping[str, str], *, checksum: bool = False) -> str:
    sender.acknowledged = 0
    length = {"Upload-Length": str(len(data))}
    path = path_of(sender.until("POST", "/uploads", headers=TUS | length | facts))
    offset, step = 0, -(-len(data) // 3)
    for _ in range(TRIES):
        while True:
            piece = data[offset : offset + step]
            fields = TUS | CHUNK | {"Upload-Offset": str(offset)}
            if checksum:
                digest = base64.b64encode(hashlib.sha1(piece).digest()).decode()
                fields["Upload-Checksum"] = f"sha1 {digest}"
            answer = sender.ask("PATCH", path, data=piece, headers=fields)
            if answer is None:
                break
            offset = sender.stands(int(answer.headers["Upload-Offset"]))
            if offset == len(data):
                return path
        head = sender.ask("HEAD", path, headers=TUS)
        if head is not None:
            offset = sender.stands(int(head.headers["Upload-Offset"]))
    raise NeverStored(path)


def ietf(sender: Sender) -> None:
    """The IETF's resumable uploads: begun empty, then appended to."""
    _ietf(sender, {"Upload-Complete": "?0"}, b"")


def ietf_at_once(sender: Sender) -> None:
    """The same in one request, gone on with if that fails."""
    _ietf(sender, {"Upload-Complete": "?1"}, sender.data)


def _ietf(sender: Sender, complete: Mapping[str, str], first: bytes) -> None:
    length = {"Upload-Length": str(len(sender.data))}
    fields = INTEROP | length | complete
    params = {"name": sender.name}
    answer = sender.until("POST", "/uploads", headers=fields, params=params, data=first)
    path, step = path_of(answer), -(-len(sender.data) // 3)
    for _ in range(TRIES):
        head = sender.ask("HEAD", path, headers=INTEROP)
        if head is None:
            continue
        if head.headers["Upload-Complete"] == "?1":
            return
        offset = sender.stands(int(head.headers["Upload-Offset"]))
        last = offset + step >= len(sender.data)
        fields = INTEROP | PARTIAL | {"Upload-Offset": str(offset)}
        fields["Upload-Complete"] = "?1" if last else "?0"
        sender.ask("PATCH", path, data=sender.data[offset : offset + step], headers=fields)
    raise NeverStored(path)


def tinydist(sender: Sender) -> None:
    """``/upload``."""
    sender.until("POST", "/upload", files={"file": (sender.name, sender.data)})


def tinydist_chunks(sender: Sender) -> None:
    """``/upload_chunk``: out of order; what is lost is told by 410 or 422, and all comes again."""
    for _ in range(TRIES):
        for index in (2, 0, 1):
            start, stop = sender.cuts[index]
            facts = {"filename": sender.name, "chunkIndex": index, "totalChunks": 3}
            facts["checksum"] = hashlib.md5(sender.data).hexdigest()
            chunk = {"file": ("c", sender.data[start:stop])}
            answer = sender.ask("POST", "/upload_chunk", 410, 422, data=facts, files=chunk)
            if answer is not None and answer.status_code == 201:
                return
    raise NeverStored(sender.name)


def datastore(sender: Sender) -> None:
    """``/upload_file``: a form under a task, again and again."""
    task = sender.until("POST", "/create_task").json()["task_id"]
    path = f"/upload_file/{task}"
    for _ in range(TRIES):
        answer = sender.ask("PUT", path, files={"file": (sender.name, sender.data)})
        if _completed(sender, task, answer):
            return
    raise NeverStored(path)


def datastore_raw(sender: Sender) -> None:
    """The same, raw."""
    task = sender.until("POST", "/create_task").json()["task_id"]
    path, params = f"/upload_file/{task}", {"filename": sender.name}
    for _ in range(TRIES):
        answer = sender.ask("PUT", path, params=params, data=sender.data)
        if _completed(sender, task, answer):
            return
    raise NeverStored(path)


def _completed(sender: Sender, task: str, answer: requests.Response | None) -> bool:
    """Whether the file is there: whose answer was lost asks the task."""
    if answer is not None:
        return answer.status_code == 201
    return bool(sender.until("GET", f"/task/{task}").json()["state"] == "completed")


def fileserver(sender: Sender) -> None:
    """``/upload=NAME``."""
    sender.until("PUT", f"/upload={sender.name}", data=sender.data)


def storage(sender: Sender) -> None:
    """``/storage/tmp-upload/``: chunks, then the MD5."""
    path, offset = "/storage/tmp-upload/", 0
    step, size = -(-len(sender.data) // 3), len(sender.data)
    for _ in range(TRIES):
        while offset < size:
            piece = sender.data[offset : offset + step]
            span = {"Content-Range": f"bytes {offset}-{offset + len(piece) - 1}/{size}"}
            chunk = {"files": {"file": ("p", piece)}, "data": {"filename": sender.name}}
            answer = sender.ask("PUT", path, headers=span, **chunk)
            if answer is None:
                break
            if not offset:
                path = f"/storage/tmp-upload/{answer.json()['id']}/"
            offset = sender.stands(answer.json()["offset"])
        else:
            digest = {"md5": hashlib.md5(sender.data).hexdigest()}
            if sender.ask("POST", path, data=digest) is not None:
                return
        if not path.endswith("tmp-upload/"):
            offset = sender.stands(sender.until("GET", path).json()["offset"])
    raise NeverStored(path)


def storage_at_once(sender: Sender) -> None:
    """The same in one request."""
    chunk = {"files": {"file": ("p", sender.data)}, "data": {"filename": sender.name}}
    sender.until("POST", "/storage/tmp-upload/", **chunk)


def drop(sender: Sender) -> None:
    """A file that lies in the hub's ``drop`` directory, deleted and restored."""
    place = Path(sender.hub.data_dir) / "drop" / sender.name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(sender.data)
    for _ in range(TRIES):
        answer = sender.ask("DELETE", "/delete", 404, 412, params={"filename": sender.name})
        trash = sender.until("GET", "/api/v1/trash").json()["items"]
        found = [item["id"] for item in trash if item["name"] == sender.name]
        if answer is not None or found:
            sender.until("POST", f"/api/v1/trash/{found[0]}/restore")
            place.unlink(missing_ok=True)  # a failure after it was stored leaves the original, too
            return
    raise NeverStored(sender.name)


SENDERS: tuple[Callable[[Sender], None], ...] = (
    whole, form, parts, parallel_parts, tus, tus_checksum, tus_with_creation, tus_joined, ietf,
    ietf_at_once, tinydist, tinydist_chunks, datastore, datastore_raw, fileserver, storage,
    storage_at_once, drop,
)  # fmt: skip
