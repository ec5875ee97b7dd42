"""Pages, sorts, filters and cursors of listings."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from dataclasses import replace

import pytest
from tests.support.catalogs import opened
from tests.support.stored import OWNER, add

from dsx.catalog import files, trash
from dsx.catalog.database import Catalog
from dsx.core.errors import Invalid, Unprocessable
from dsx.core.model import FileQuery, FileVersion

SORTS = ["created", "-created", "name", "-name", "size", "-size"]


async def _all(catalog: Catalog, query: FileQuery) -> list[FileVersion]:
    found: list[FileVersion] = []
    while True:
        page = await catalog.read(lambda c, q=query: files.list_live(c, OWNER, q))
        assert len(page.items) <= query.limit
        found += page.items
        if page.next is None:
            return found
        assert len(page.items) == query.limit
        query = replace(query, cursor=page.next)


def _fill(connection) -> None:
    for i in range(40):
        add(
            connection,
            f"dir{i % 4}/é{i:02}.csv",
            category="train" if i % 2 else "test",
            tags=tuple(tag for tag, every in (("two", 2), ("three", 3)) if i % every == 0),
            size=i % 5,
            now=1000 + i // 3,
        )
    add(connection, "dir0/é00.csv", size=7, now=5000)
    add(connection, "other", owner="bob")
    trash.put_file(connection, add(connection, "gone").file, 1, 2)


def test_every_sort_is_complete_and_in_order(catalog_url: str):
    async def check() -> None:
        async with opened(catalog_url) as catalog:
            await catalog.write(_fill)
            for sort, limit in itertools.product(SORTS, (1, 7, 39, 40, 1000)):
                found = await _all(catalog, FileQuery(sort=sort, limit=limit))
                key = sort.removeprefix("-")
                keys = [(_bytes(getattr(f, key)), f.number) for f in found]
                assert keys == sorted(keys, reverse=sort.startswith("-"))
                assert len({f.name for f in found}) == len(found) == 40

    asyncio.run(check())


def _bytes(key: str | int) -> bytes | int:
    return key.encode() if isinstance(key, str) else key


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (FileQuery(category="train"), lambda f: f.category == "train"),
        (FileQuery(category="no"), lambda f: False),
        (FileQuery(tags=("two",)), lambda f: "two" in f.tags),
        (FileQuery(tags=("two", "three")), lambda f: {"two", "three"} <= set(f.tags)),
        (FileQuery(glob="dir1/*"), lambda f: f.name.startswith("dir1/")),
        (FileQuery(glob="*0?.csv"), lambda f: f.name[-6] == "0"),
        (FileQuery(glob="dir[!01]/*"), lambda f: f.name[3] not in "01"),
        (FileQuery(glob="dir1/é01.csv"), lambda f: f.name == "dir1/é01.csv"),
        (FileQuery(glob="DIR*"), lambda f: False),
        (FileQuery(regex=r"^dir[12].*\d1"), lambda f: f.name[3] in "12" and f.name[-5] == "1"),
        (FileQuery(regex="é"), lambda f: True),
        (FileQuery(created_from=1003, created_to=1005), lambda f: 1003 <= f.created < 1005),
        (
            FileQuery(category="test", tags=("three",), regex="2", created_from=1001),
            lambda f: (
                f.category == "test" and "three" in f.tags and "2" in f.name and f.created > 1000
            ),
        ),
    ],
    ids=[
        "category", "no such category", "tag", "two tags", "prefix", "any character", "other than",
        "literal", "case", "anchored regex", "regex", "created", "several",
    ],
)  # fmt: skip
def test_filters_select_what_they_say(catalog_url: str, query: FileQuery, wanted):
    async def check() -> None:
        async with opened(catalog_url) as catalog:
            await catalog.write(_fill)
            everything = await _all(catalog, FileQuery())
            for sort in SORTS:
                found = await _all(catalog, replace(query, sort=sort, limit=3))
                assert {f.name for f in found} == {f.name for f in everything if wanted(f)}

    asyncio.run(check())


def test_a_tag_is_no_category_of_the_same_name(catalog_url: str):
    async def check() -> None:
        async with opened(catalog_url) as catalog:
            await catalog.write(lambda c: add(c, "tagged", tags=("train",)))
            await catalog.write(lambda c: add(c, "within", category="train"))
            for query, name in (
                (FileQuery(category="train"), "within"),
                (FileQuery(tags=("train",)), "tagged"),
            ):
                assert [f.name for f in await _all(catalog, query)] == [name]

    asyncio.run(check())


def test_a_page_walk_survives_insertions(catalog_url: str):
    """Whatever was there at the start is listed exactly once, whatever comes in meanwhile."""

    async def check(sort: str, catalog: Catalog) -> None:
        before = {f.name for f in await _all(catalog, FileQuery())}
        seen: list[str] = []
        query = FileQuery(sort=sort, limit=5)
        for i in itertools.count():
            page = await catalog.read(lambda c, q=query: files.list_live(c, OWNER, q))
            seen += [f.name for f in page.items]
            new = f"new{sort}{i}"
            await catalog.write(lambda c, n=new, k=i: add(c, n, size=k % 5, now=1000 + k))
            await catalog.write(lambda c, n=new: add(c, f"dir2/{n}", size=2, now=1005))
            if page.next is None or i > 200:
                break
            query = replace(query, cursor=page.next)
        assert len(seen) == len(set(seen))
        assert before <= set(seen)

    async def check_all() -> None:
        async with opened(catalog_url) as catalog:
            await catalog.write(_fill)
            for sort in ("-created", "name", "-size"):
                await check(sort, catalog)

    asyncio.run(check_all())


def _cursor(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x", "====", "é", "\0", "\ud800", "a" * 100_000,
        _cursor([]), _cursor({}), _cursor(None), _cursor(["name", "a"]),
        _cursor(["name", "a", -1]), _cursor(["name", "a", True]), _cursor(["name", 1, 1]),
        pytest.param(_cursor(["name", "a", 1 << 63]), id="number"),
        pytest.param(_cursor(["-name", "a", 1]), id="sort"), _cursor(["size", 1, 1]),
        _cursor(["name", "\0", 1]), _cursor(["name", "\ud800", 1]), _cursor(["name", "a", 1.5]),
        base64.b64encode(b"[" * 5000).decode(), base64.b64encode(b"\xff\xfe").decode(),
    ],
)  # fmt: skip
def test_a_tampered_cursor_is_invalid(catalog_url: str, cursor: str):
    async def check() -> None:
        async with opened(catalog_url) as catalog:
            await catalog.write(_fill)
            query = FileQuery(sort="name", cursor=cursor)
            with pytest.raises(Invalid):
                await catalog.read(lambda c: files.list_live(c, OWNER, query))

    asyncio.run(check())


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "a\ud800*", "a\0*", "\U0010ffff*", "["])
def test_hostile_filters_match_nothing_or_are_refused(catalog_url: str, text: str):
    queries = [
        FileQuery(glob=text),
        FileQuery(regex=f"^b{text}"),
        FileQuery(category=text),
        FileQuery(tags=(text,)),
    ]

    async def check() -> None:
        async with opened(catalog_url) as catalog:
            await catalog.write(_fill)
            await catalog.write(lambda c: add(c, "ab"))
            for query in queries:
                try:
                    page = await catalog.read(lambda c, q=query: files.list_live(c, OWNER, q))
                except (Invalid, Unprocessable):
                    continue
                assert page.items == []

    asyncio.run(check())


def test_the_longest_name_can_be_asked_for(catalog_url: str):
    name = "/".join(["[" + "x" * 203] * 5)

    async def check() -> None:
        async with opened(catalog_url) as catalog:
            await catalog.write(lambda c: add(c, name))
            query = FileQuery(glob=name.replace("[", "[[]"))
            page = await catalog.read(lambda c: files.list_live(c, OWNER, query))
            assert [f.name for f in page.items] == [name]

    asyncio.run(check())


def test_a_filter_that_takes_long_ends_the_page_early(
    catalog_url: str, monkeypatch: pytest.MonkeyPatch
):
    async def check() -> None:
        async with opened(catalog_url) as catalog:
            await catalog.write(_fill)
            everything = {f.name for f in await _all(catalog, FileQuery())}
            monkeypatch.setattr("dsx.catalog.pages._SCAN_SECONDS", 0.0)
            query, seen, pages = FileQuery(regex="é"), set(), 0
            while True:
                page = await catalog.read(lambda c, q=query: files.list_live(c, OWNER, q))
                seen |= {f.name for f in page.items}
                pages += 1
                if page.next is None:
                    break
                query = replace(query, cursor=page.next)
            assert seen == everything
            assert pages > 1

    asyncio.run(check())


def test_a9_a_page_ends_where_its_metadata_would_be_megabytes(catalog_url: str):
    """A9: the cursor goes on behind its last row, whatever the order; nothing is left out."""

    def fill(connection) -> None:
        for i in range(120):
            add(connection, f"{i:03}", metadata={"k": "v" * 50_000}, size=i % 5, now=i // 3)

    async def check() -> None:
        async with opened(catalog_url) as catalog:
            await catalog.write(fill)
            for sort in SORTS:
                query, names, pages = FileQuery(sort=sort, limit=1000), [], 0
                while query is not None:
                    page = await catalog.read(lambda c, q=query: files.list_live(c, OWNER, q))
                    assert 0 < sum(len(str(one.metadata)) for one in page.items) < 3 * 1024 * 1024
                    names += [one.name for one in page.items]
                    pages += 1
                    query = replace(query, cursor=page.next) if page.next else None
                assert (len(names), len(set(names))) == (120, 120)
                assert pages > 1

    asyncio.run(check())
