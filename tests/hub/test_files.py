"""Use cases of files and trash, over a real directory of blobs and a real catalog."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.catalogs import opened

from dsx.blobs.local import LocalStore
from dsx.core.content import FileSlice
from dsx.core.digest import digest_of
from dsx.core.errors import (
    AlreadyExists,
    Damaged,
    DigestMismatch,
    DSXError,
    Invalid,
    NotFound,
    PreconditionFailed,
    TooLarge,
    Unprocessable,
)
from dsx.core.model import FileChanges, FileQuery, FileVersion
from dsx.core.principals import SCOPES, Principal
from dsx.hub.clock import SECOND
from dsx.hub.files.files import Files
from dsx.hub.files.trash import Trash
from dsx.hub.integrity.fsck import fsck
from dsx.hub.limits import Limits
from dsx.hub.transfers.control import Controls
from dsx.hub.transfers.emptying import Emptying

ADMIN, BOB = Principal("admin", scopes=frozenset(SCOPES)), Principal("bob")


@dataclass
class House:
    """The parts under test."""

    files: Files
    trash: Trash
    emptying: Emptying
    blobs: LocalStore
    check: Callable[[], Awaitable[Any]]

    async def store(
        self, name: str, data: bytes = b"x", who: Principal = ADMIN, **facts: Any
    ) -> FileVersion:
        receiver = await self.files.receive(who, len(data))
        try:
            await asyncio.to_thread(receiver.write, data)
            return await self.files.create(who, receiver, name=name, **facts)
        finally:
            await receiver.abandon()

    async def read(self, ref: str) -> bytes:
        content = await self.files.content(ADMIN, ref)
        data = b""
        async for piece in content.pieces(0, content.size):
            assert isinstance(piece, FileSlice)
            with open(piece.open(), "rb") as file:  # noqa: ASYNC230, PTH123
                file.seek(piece.start)
                data += file.read(piece.size)
        return data

    async def clean(self) -> None:
        report = await self.check()
        assert (report.problem_count, report.orphans, report.stages) == (0, 0, 0)
        assert report.miscounted == 0


@asynccontextmanager
async def house(url: str, root: Path, **settings: Any) -> AsyncIterator[House]:
    async with opened(url) as catalog:
        blobs = LocalStore(root / "blobs")
        trash = Trash(catalog, blobs, days=1)
        controls = Controls(catalog, grace=1, upload_expiry=60)
        emptying = Emptying(catalog, controls, trash, 60 * SECOND)
        try:
            yield House(
                Files(catalog, blobs, Limits(**settings)),
                trash,
                emptying,
                blobs,
                lambda: fsck(catalog, blobs, deep=True),
            )
        finally:
            await emptying.aclose()
            await controls.aclose()
            await blobs.aclose()


def test_a_file_goes_in_and_comes_back(catalog_url: str, tmp_path: Path):
    async def check() -> None:
        async with house(catalog_url, tmp_path) as hub:
            stored = await hub.store(
                "a/b.csv", b"1,2", tags=("x", "y", "x"), metadata={"k": [1, None]}
            )
            assert (stored.size, stored.sha256, stored.version) == (3, digest_of(b"1,2"), 1)
            assert (stored.category, stored.content_type) == ("default", "text/csv")
            assert (stored.tags, stored.metadata) == (("x", "y"), {"k": [1, None]})
            assert await hub.files.get(ADMIN, stored.id) == stored
            content = await hub.files.content(ADMIN, str(stored.number))
            assert (content.size, content.etag, content.filename) == (3, stored.sha256, "b.csv")
            assert await hub.read(stored.id) == b"1,2"
            again = await hub.store("a/b.csv", b"1,2,3")
            versions = (await hub.files.versions(ADMIN, stored.id)).items
            assert [v.id for v in versions] == [again.id, stored.id]
            assert await hub.read(stored.id) == b"1,2"
            await hub.clean()

    asyncio.run(check())


def test_others_files_are_not_there(catalog_url: str, tmp_path: Path):
    async def check() -> None:
        async with house(catalog_url, tmp_path) as hub:
            mine = await hub.store("a")
            for ask in (
                lambda ref: hub.files.get(BOB, ref),
                lambda ref: hub.files.content(BOB, ref),
                lambda ref: hub.files.versions(BOB, ref),
                lambda ref: hub.files.update(BOB, ref, FileChanges(name="b")),
                lambda ref: hub.trash.delete(BOB, ref),
            ):
                for ref in (mine.id, str(mine.number)):
                    with pytest.raises(NotFound):
                        await ask(ref)
            assert (await hub.files.list(BOB, FileQuery())).items == []
            await hub.trash.delete(ADMIN, mine.id)
            for ask in (hub.trash.restore, hub.trash.purge):
                with pytest.raises(NotFound):
                    await ask(BOB, mine.id)

    asyncio.run(check())


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ({"name": "../x"}, Invalid),
        ({"name": "a", "category": "\n"}, Invalid),
        ({"name": "a", "tags": ("",)}, Invalid),
        ({"name": "a", "tags": tuple(map(str, range(300)))}, Invalid),
        ({"name": "a", "content_type": "text"}, Invalid),
        ({"name": "a", "content_type": "text/plain\r\nX: y"}, Invalid),
        ({"name": "a", "content_type": "text/" + "x" * 300}, Invalid),
        ({"name": "a", "metadata": {"k": "v" * 70_000}}, Invalid),
        ({"name": "a", "metadata": {"k": float("nan")}}, Invalid),
        ({"name": "a", "metadata": {"k": "\ud800"}}, Invalid),
        ({"name": "a", "metadata": {"k": 10**5000}}, Invalid),
        ({"name": "a", "metadata": json.loads('{"a":' * 40 + "1" + "}" * 40)}, Invalid),
        ({"name": "a", "expected": digest_of(b"y")}, DigestMismatch),
        ({"name": "taken", "only_if_absent": True}, PreconditionFailed),
    ],
)
def test_what_is_refused_leaves_nothing(
    catalog_url: str, tmp_path: Path, facts: dict[str, Any], error: type[DSXError]
):
    async def check() -> None:
        async with house(catalog_url, tmp_path) as hub:
            await hub.store("taken", b"before")
            with pytest.raises(error):
                await hub.store(data=b"x", **facts)
            assert [f.name for f in (await hub.files.list(ADMIN, FileQuery())).items] == ["taken"]
            await hub.clean()

    asyncio.run(check())


def test_only_one_of_many_finds_the_name_free(catalog_url: str, tmp_path: Path):
    async def check() -> None:
        async with house(catalog_url, tmp_path) as hub:
            tries = [hub.store("a", str(i).encode(), only_if_absent=True) for i in range(8)]
            done = await asyncio.gather(*tries, return_exceptions=True)
            assert sum(isinstance(result, FileVersion) for result in done) == 1
            assert sum(isinstance(result, PreconditionFailed) for result in done) == 7
            await hub.clean()

    asyncio.run(check())


def test_the_size_limit_holds_announced_or_not(catalog_url: str, tmp_path: Path):
    async def check() -> None:
        async with house(catalog_url, tmp_path, file_size=10) as hub:
            with pytest.raises(TooLarge) as early:
                await hub.files.receive(ADMIN, 1 << 40)
            assert early.value.details["limit"] == 10
            receiver = await hub.files.receive(ADMIN, None)
            receiver.write(b"x" * 10)
            with pytest.raises(TooLarge):
                receiver.write(b"x")
            await receiver.abandon()
            assert (await hub.store("a", b"x" * 10)).size == 10
            await hub.clean()

    asyncio.run(check())


def test_a_patch_changes_the_record_only(catalog_url: str, tmp_path: Path):
    async def check() -> None:
        async with house(catalog_url, tmp_path) as hub:
            first = await hub.store("a", metadata={"keep": 1, "drop": 2, "deep": {"x": 1, "y": 2}})
            await hub.store("a", b"second")
            await hub.store("taken")
            changes = FileChanges(
                "b", "c", ("t",), {"drop": None, "deep": {"x": None, "z": 3}, "new": []}
            )
            patched = await hub.files.update(ADMIN, first.id, changes)
            assert patched.metadata == {"keep": 1, "deep": {"y": 2, "z": 3}, "new": []}
            assert (patched.name, patched.category, patched.tags) == ("b", "c", ("t",))
            assert {v.name for v in (await hub.files.versions(ADMIN, first.id)).items} == {"b"}
            for bad, error in (
                (FileChanges(name="taken"), AlreadyExists),
                (FileChanges(name="a//b"), Invalid),
                (FileChanges(metadata={"k": "v" * 70_000}), Invalid),
                (FileChanges(metadata=_nested(900)), Invalid),
            ):
                with pytest.raises(error):
                    await hub.files.update(ADMIN, first.id, bad)
                assert await hub.files.get(ADMIN, first.id) == patched

    asyncio.run(check())


def _nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def test_missing_bytes_are_said_to_be_missing_and_can_be_deleted(catalog_url: str, tmp_path: Path):
    async def check() -> None:
        async with house(catalog_url, tmp_path) as hub:
            lost = await hub.store("a")
            await hub.blobs.delete([lost.sha256])
            content = await hub.files.content(ADMIN, lost.id)
            (piece,) = [piece async for piece in content.pieces(0, content.size)]
            assert isinstance(piece, FileSlice)
            with pytest.raises(Damaged, match="missing") as gone:
                piece.open()
            assert gone.value.details == {"id": lost.id, "sha256": lost.sha256}
            await hub.trash.delete(ADMIN, lost.id)
            await hub.trash.purge(ADMIN, lost.id)
            await hub.clean()

    asyncio.run(check())


def test_a_bad_filter_is_refused(catalog_url: str, tmp_path: Path):
    async def check() -> None:
        async with house(catalog_url, tmp_path) as hub:
            with pytest.raises(Unprocessable):
                await hub.files.list(ADMIN, FileQuery(regex="(?=x)"))
            with pytest.raises(Invalid):
                await hub.files.list(ADMIN, FileQuery(category="\0"))

    asyncio.run(check())
