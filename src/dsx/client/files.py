"""Files of a hub: download, list, describe, delete and restore; for uploads see `storing`."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

from dsx.client.destinations import Destination, destinations, refuse_clashes_in_archive
from dsx.client.emptying import TRASH, empty_trash
from dsx.client.errors import NotFound
from dsx.client.models import FileInfo
from dsx.client.names import local_name, segments
from dsx.client.paths import local
from dsx.client.progress import Progress
from dsx.client.saving import save
from dsx.client.storing import FILES, StoreOperations
from dsx.client.transfer import Remote, fetch_bytes, fetch_stream
from dsx.core.errors import DSXError

ARCHIVE = "/api/v1/archive"
_SLASHES = ("/", os.sep)
_IDS_IN_A_URL = 100
_PAGE = 1000
Ref = str | int | FileInfo
_SPECIAL = str.maketrans({character: f"[{character}]" for character in "*?["})


class FileOperations(StoreOperations):
    """Operations of the client on stored files."""

    def download(
        self, ref: Ref, target: str | Path | None = None, *, progress: Progress | None = None
    ) -> Path:
        """Download a file by record, id, number or name to *target*; return its path.

        *target* is a file or a directory; one that ends with a slash is created as a directory. It
        defaults to the last part of the file's name, in the working directory. The file appears
        complete and verified, or not at all. After an interruption, the bytes received stay in a
        hidden ``.NAME.….part`` beside it, and the same call resumes there. If *target* is a link,
        the file it points to is replaced; to a pipe or device, bytes are written as they arrive.
        """
        info = self.get_info(ref)
        place = local(target) if target is not None else Path(local_name(info.name))
        if str(target).endswith(_SLASHES):
            place.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            place /= local_name(info.name)
        save(self._content(info), place, progress or self._progress, key=info.sha256)
        return place

    def download_files(
        self,
        refs: Sequence[Ref],
        directory: str | Path = ".",
        *,
        progress: Progress | None = None,
    ) -> list[Path]:
        """Download several files below *directory*, each by its full name: ``a/config.json``.

        Raises `Conflict` before anything is fetched if two of them would be the same file there.
        """
        found = destinations([self.get_info(ref) for ref in refs], local(directory))
        return [self._download_to(one, progress) for one in found]

    def _download_to(self, one: Destination, progress: Progress | None) -> Path:
        one.path.parent.mkdir(parents=True, exist_ok=True)
        return self.download(one.info, one.path, progress=progress)

    def download_bytes(self, ref: Ref) -> bytes:
        """Return the content of a file by record, id, number or name."""
        return fetch_bytes(self._content(self.get_info(ref)), self._progress)

    def download_to(
        self, ref: Ref, output: IO[bytes], *, progress: Progress | None = None
    ) -> FileInfo:
        """Write the content of a file to a stream, which may be a pipe; return its record.

        Raises `DigestMismatch` after the last byte if the content is wrong.
        """
        info = self.get_info(ref)
        fetch_stream(self._content(info), output.write, progress or self._progress)
        return info

    def archive(
        self, refs: Sequence[Ref], target: str | Path, *, progress: Progress | None = None
    ) -> Path:
        """Download several files as one ZIP; return its path.

        Raises `Conflict` if a file's name is a directory of another's, which cannot be unpacked.
        """
        place = local(target)
        save(self._archive(refs, place.name), place, progress or self._progress)
        return place

    def archive_to(
        self, refs: Sequence[Ref], output: IO[bytes], *, progress: Progress | None = None
    ) -> None:
        """Write several files as one ZIP to a stream, which may be a pipe."""
        remote = self._archive(refs, "archive")
        fetch_stream(remote, output.write, progress or self._progress)

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
        """Iterate over the latest versions of your files.

        *name* is a glob, *regex* is RE2, and times are ISO 8601.
        """
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
        """Return the record of a file, or raise `NotFound`.

        An int is a number. A string is the exact name of a file if one exists, and otherwise an id
        or a number without leading zeros.
        """
        if isinstance(ref, FileInfo):
            return ref
        if isinstance(ref, int):
            return self.get_by_id(ref)
        try:
            return self.find(ref)
        except NotFound:
            if not may_be_id(ref):
                raise
        return self.get_by_id(ref)

    def get_by_id(self, ref: str | int) -> FileInfo:
        """Return the record of the version with this id or number, ignoring names."""
        if not may_be_id(str(ref)):
            raise NotFound(f"There is no file {str(ref)!r}.")
        return self._info("GET", FILES + segments(str(ref)))

    def find(self, name: str) -> FileInfo:
        """Return the record of the file with exactly this name, even if it looks like an id."""
        for info in self.list_files(name.translate(_SPECIAL), limit=1):
            return info
        raise NotFound(f"There is no file named {name!r}.", {"name": name})

    def versions(self, ref: Ref, limit: int | None = None) -> list[FileInfo]:
        """Return the versions of a file, newest first; at most *limit*."""
        path = FILES + segments(self.get_info(ref).id, "versions")
        return list(self._pages(path, {}, limit))

    def version(self, ref: Ref, number: int) -> FileInfo:
        """Return the record of version *number* of a file, counted from 1; or raise `NotFound`."""
        return self._info("GET", self._version(ref, number))

    def update(
        self,
        ref: Ref,
        *,
        name: str | None = None,
        category: str | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> FileInfo:
        """Change the given fields; *metadata* is merged, and a value of None removes its key."""
        given = {
            "name": name,
            "category": category,
            "tags": list(tags) if tags is not None else None,
            "metadata": metadata,
        }
        changes = {key: value for key, value in given.items() if value is not None}
        path = FILES + segments(self.get_info(ref).id)
        return self._info("PATCH", path, json=changes)

    def delete(self, ref: Ref, version: int | None = None) -> None:
        """Move a file with all its versions, or only one *version*, to the trash.

        A record, id or number of an older version also means only that version.
        """
        info = self.get_info(ref)
        path = FILES + segments(info.id) if version is None else self._version(info, version)
        self._connection.request("DELETE", path)

    def list_trash(self, limit: int | None = None) -> Iterator[FileInfo]:
        """Iterate over deleted files, latest deletion first."""
        return self._pages(TRASH, {}, limit)

    def restore(self, ref: Ref, name: str | None = None, *, version: int | None = None) -> FileInfo:
        """Restore a deleted file by record, id or number, or only one *version* of it.

        *name*: restore it under this name, for example if its own is taken.
        """
        how = {"name": name} if version is None else {"name": name, "version": version}
        return self._info("POST", TRASH + segments(_id(ref), "restore"), json=how)

    def purge(self, ref: Ref) -> None:
        """Permanently delete a file in the trash, by record, id or number."""
        self._connection.request("DELETE", TRASH + segments(_id(ref)))

    def empty_trash(self, progress: Progress | None = None) -> int:
        """Permanently delete everything in the trash; return the number of files.

        This waits for the server's task and reports its files to *progress*. A concurrent call
        waits for the same task. Raises `Gone` if the task is aborted.
        """
        return empty_trash(self._connection, progress)

    def storage_full(self) -> bool:
        """Whether the hub reports that its disk is full."""
        try:
            return bool(self._connection.json("GET", "/ready", retries=0).get("storage") == "full")
        except (DSXError, AttributeError):
            return False

    def _version(self, ref: Ref, number: int) -> str:
        return FILES + segments(self.get_info(ref).id, "versions", str(number))

    def _content(self, info: FileInfo) -> Remote:
        path = FILES + segments(info.id, "content")
        return Remote(self._connection, path, info.name, info.sha256, info.size)

    def _archive(self, refs: Sequence[Ref], name: str) -> Remote:
        infos = [self.get_info(ref) for ref in refs]
        refuse_clashes_in_archive(infos)
        ids = [info.id for info in infos]
        if len(ids) > _IDS_IN_A_URL:
            return Remote(self._connection, ARCHIVE, name, method="POST", json={"ids": ids})
        query = urlencode([("id", id_) for id_ in ids])
        return Remote(self._connection, f"{ARCHIVE}?{query}", name)

    def _pages(self, path: str, params: Mapping[str, Any], limit: int | None) -> Iterator[FileInfo]:
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            size = min(left or _PAGE, _PAGE)
            items, cursor = self._connection.page(
                "GET", path, params={**params, "limit": size, "cursor": cursor}
            )
            for item in items:
                yield FileInfo.read(item)
            if cursor is None:
                return
            left = None if left is None else left - len(items)


def _id(ref: Ref) -> str:
    return ref.id if isinstance(ref, FileInfo) else str(ref)


def may_be_id(text: str) -> bool:
    """Whether *text* has the form of a number or an id."""
    if text.isascii() and text.isdecimal():
        return text[0] != "0"
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
