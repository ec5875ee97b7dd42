"""Files of a hub: upload, download, list, describe, delete, restore."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from dsx.client.http import Connection, segments
from dsx.client.models import FileInfo
from dsx.client.progress import Meter, Progress
from dsx.client.transfer import fetch_bytes, fetch_file
from dsx.core.errors import DigestMismatch, NotFound

FILES = "/api/v1/files"
TRASH = "/api/v1/trash"
_CHUNK = 512 * 1024
Source = str | Path | bytes | IO[bytes]
Ref = str | int | FileInfo
_SPECIAL = str.maketrans({character: f"[{character}]" for character in "*?["})


class FileOperations:
    """The part of the client that deals with stored files."""

    def __init__(self, connection: Connection, progress: Progress | None) -> None:
        self._connection = connection
        self._progress = progress

    def upload(
        self,
        source: Source,
        name: str | None = None,
        *,
        category: str | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        content_type: str | None = None,
        if_absent: bool = False,
        progress: Progress | None = None,
    ) -> FileInfo:
        """Store a file (path, bytes or binary file object) and return its record.

        *name* defaults to the path's last part. A file of that name gets a new version, unless
        *if_absent*: then `PreconditionFailed`. The SHA-256 that the server computed is compared
        with that of the bytes sent; `DigestMismatch` if they differ.
        """
        if isinstance(source, (str, Path)):
            path = Path(source)
            with path.open("rb") as file:
                return self.upload(
                    file, name or path.name, category=category, tags=tags, metadata=metadata,
                    content_type=content_type, if_absent=if_absent, progress=progress,
                )  # fmt: skip
        if isinstance(source, bytes):
            source = io.BytesIO(source)
        if name is None:
            raise ValueError("bytes and file objects need a name")
        params = {"name": name, "category": category, "tag": list(tags)}
        if metadata:
            params["metadata"] = json.dumps(metadata)
        headers = {"Content-Type": content_type} if content_type else {}
        if if_absent:
            headers["If-None-Match"] = "*"
        body = _Body(source, progress or self._progress, name)
        # A sent upload is never repeated by itself: it would be another version.
        answer = self._connection.json(
            "POST", FILES, params=params, headers=headers, data=body, retries=0
        )
        info = FileInfo.model_validate(answer)
        if info.sha256 != body.digest:
            raise DigestMismatch(
                f"{name!r} was changed on the way to the server; upload it again.",
                {"expected": body.digest, "received": info.sha256},
            )
        return info

    def download(
        self, ref: Ref, target: str | Path | None = None, *, progress: Progress | None = None
    ) -> Path:
        """Download a file by record, id, number or name to *target* (a file or a directory).

        *target* defaults to the file's name in the working directory. It appears whole and
        verified, or not at all.
        """
        info = self.get_info(ref)
        place = Path(target) if target is not None else Path(Path(info.name).name)
        if place.is_dir():
            place /= Path(info.name).name
        with _draft_beside(place) as (draft, descriptor):
            fetch_file(
                self._connection, info.url, descriptor,
                expected=info.sha256, progress=progress or self._progress,
            )  # fmt: skip
            os.fsync(descriptor)
            draft.replace(place)
        return place

    def download_bytes(self, ref: Ref) -> bytes:
        """The content of a file by record, id, number or name."""
        info = self.get_info(ref)
        return fetch_bytes(self._connection, info.url, info.sha256, self._progress)

    def archive(self, refs: Sequence[Ref], target: str | Path) -> Path:
        """Download several files as one ZIP."""
        place = Path(target)
        ids = [self.get_info(ref).id for ref in refs]
        with _draft_beside(place) as (draft, descriptor):
            with self._connection.request(
                "POST", "/api/v1/archive", json={"ids": ids}, stream=True
            ) as response, os.fdopen(os.dup(descriptor), "wb") as file:  # fmt: skip
                response.raw.decode_content = False
                shutil.copyfileobj(response.raw, file, 1024 * 1024)
            expected = response.headers.get("Content-Length")
            if expected is not None and os.fstat(descriptor).st_size != int(expected):
                raise DigestMismatch("The archive arrived incomplete; try again.")
            os.fsync(descriptor)
            draft.replace(place)
        return place

    def list_files(
        self,
        name: str | None = None,
        *,
        regex: str | None = None,
        category: str | None = None,
        tags: Sequence[str] = (),
        created_from: str | None = None,
        created_to: str | None = None,
        sort: str = "-created",
        limit: int | None = None,
    ) -> Iterator[FileInfo]:
        """The newest versions of your files: *name* is a glob, *regex* RE2, times are ISO 8601."""
        params = {
            "name": name,
            "regex": regex,
            "category": category,
            "tag": list(tags),
            "created_from": created_from,
            "created_to": created_to,
            "sort": sort,
        }
        return self._pages(FILES, params, limit)

    def get_info(self, ref: Ref) -> FileInfo:
        """The record of a file by id, number or name; `NotFound` says what was looked for."""
        if isinstance(ref, FileInfo):
            return ref
        text = str(ref)
        if text.isdecimal() or _is_uuid(text):
            return self._info("GET", FILES + segments(text))
        for info in self.list_files(text.translate(_SPECIAL), limit=1):
            return info
        raise NotFound(f"There is no file named {text!r}.", {"name": text})

    def versions(self, ref: Ref) -> list[FileInfo]:
        """All versions of a file, newest first."""
        path = FILES + segments(self.get_info(ref).id, "versions")
        return [
            FileInfo.model_validate(item) for item in self._connection.json("GET", path)["items"]
        ]

    def update(self, ref: Ref, **changes: Any) -> FileInfo:
        """Change ``name``, ``category``, ``tags`` or (merged) ``metadata`` of a file."""
        path = FILES + segments(self.get_info(ref).id)
        return self._info("PATCH", path, json=changes)

    def delete(self, ref: Ref) -> None:
        """Move a file, with all its versions, to the trash."""
        self._connection.request("DELETE", FILES + segments(self.get_info(ref).id))

    def list_trash(self, limit: int | None = None) -> Iterator[FileInfo]:
        """Deleted files, latest deletion first."""
        return self._pages(TRASH, {}, limit)

    def restore(self, id: str | int, name: str | None = None) -> FileInfo:  # noqa: A002
        """Bring a deleted file back, under another *name* if its own is taken."""
        return self._info("POST", TRASH + segments(str(id), "restore"), json={"name": name})

    def purge(self, id: str | int) -> None:  # noqa: A002
        """Drop a deleted file for good."""
        self._connection.request("DELETE", TRASH + segments(str(id)))

    def empty_trash(self) -> int:
        """Drop all deleted files for good; how many there were."""
        answer = self._connection.json("DELETE", TRASH, params={"confirm": "all"})
        return int(answer["purged"])

    def _info(self, method: str, path: str, **more: Any) -> FileInfo:
        return FileInfo.model_validate(self._connection.json(method, path, **more))

    def _pages(self, path: str, params: Mapping[str, Any], limit: int | None) -> Iterator[FileInfo]:
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            size = min(left or 1000, 1000)
            page = self._connection.json(
                "GET", path, params={**params, "limit": size, "cursor": cursor}
            )
            for item in page["items"]:
                yield FileInfo.model_validate(item)
            cursor = page["next"]
            if cursor is None:
                return
            left = None if left is None else left - len(page["items"])


class _Body:
    """A request body that hashes and reports itself as it is sent.

    It is an iterable, not a file: the HTTP library would read a file in pieces of 16 KiB.
    """

    def __init__(self, source: IO[bytes], progress: Progress | None, name: str) -> None:
        self._source = source
        self._sha256 = hashlib.sha256()
        size = _rest_of(source)
        self._meter = Meter(progress, size, name)
        if size is not None:
            self.len = size  # how requests learns the Content-Length; without it, it sends chunks

    @property
    def digest(self) -> str:
        """SHA-256 of what was sent."""
        return self._sha256.hexdigest()

    def __iter__(self) -> Iterator[bytes]:
        while data := self._source.read(_CHUNK):
            self._sha256.update(data)
            self._meter.add(len(data))
            yield data


def _rest_of(source: IO[bytes]) -> int | None:
    """Bytes left in *source*, or None if it cannot tell (a pipe)."""
    try:
        position = source.tell()
        end = source.seek(0, os.SEEK_END)
        source.seek(position)
    except (OSError, AttributeError, ValueError):
        return None
    return end - position


class _draft_beside:  # noqa: N801 (used like a function)
    """A hidden file beside *place*, with a descriptor; removed unless it was moved there."""

    def __init__(self, place: Path) -> None:
        self._path = place.with_name(f".{place.name[:200]}.{uuid.uuid4().hex[:8]}.part")

    def __enter__(self) -> tuple[Path, int]:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        return self._path, self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        self._path.unlink(missing_ok=True)


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
