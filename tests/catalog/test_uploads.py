"""Uploads in the catalog: who writes where, what has time, whose bytes are needed still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Connection
from tests.support.catalogs import opened

from dsx.catalog import blobs, uploads, writers
from dsx.core.digest import digest_of
from dsx.core.errors import Gone
from dsx.core.intervals import IntervalSet
from dsx.core.model import BlobInfo
from dsx.core.ranges import ByteRange
from dsx.core.transfers import Upload

OWNER = "alice"
PLAIN = Upload(
    id="",
    owner=OWNER,
    kind="whole",
    name="a",
    category="default",
    content_type="text/plain",
    metadata={},
    tags=(),
    only_if_absent=False,
    length=10,
    received=IntervalSet(),
    state="open",
    expected={},
    notes={},
    generation=0,
    paused=False,
    challenge=None,
    blob=None,
    version=None,
    created=1,
    expires=100,
)


def begin(connection: Connection, *ids: str, **facts: object) -> None:
    """Record uploads with these *ids*; else they are `PLAIN`."""
    for id_ in ids:
        uploads.add(connection, replace(PLAIN, id=id_, **facts), 0)  # type: ignore[arg-type]


def joined(connection: Connection) -> None:
    """Two partials, and a final that joins them in another order than that of their ids."""
    begin(connection, "first", "second", kind="partial", name=None)
    begin(connection, "final", kind="final", length=None, parts=("second", "first"))


def check(url: str, work: Callable[[Connection], None]) -> None:
    """Run *work* in a transaction of an empty catalog."""

    async def run() -> None:
        async with opened(url) as catalog:
            await catalog.write(work)

    asyncio.run(run())


def test_writers_whose_bytes_touch_do_not_overlap(catalog_url: str) -> None:
    def work(connection: Connection) -> None:
        begin(connection, "one")
        writers.enter(connection, "before", "one", ByteRange(0, 10))
        writers.enter(connection, "behind", "one", ByteRange(20, 30))
        assert writers.enter(connection, "between", "one", ByteRange(10, 20)) == []
        assert writers.overlapping(connection, "one", ByteRange(19, 20)) == ["between"]

    check(catalog_url, work)


def test_writers_of_other_uploads_are_left_alone(catalog_url: str) -> None:
    def work(connection: Connection) -> None:
        begin(connection, "one", "other")
        writers.enter(connection, "mine", "one", ByteRange(0, 10))
        assert writers.enter(connection, "theirs", "other", ByteRange(0, 10)) == []

    check(catalog_url, work)


def test_older_writers_are_asked_to_yield(catalog_url: str) -> None:
    def work(connection: Connection) -> None:
        begin(connection, "one")
        writers.enter(connection, "older", "one", ByteRange(0, 10))
        assert writers.enter(connection, "newer", "one", ByteRange(5, 15)) == ["older"]
        found = writers.asked(connection, ["older", "newer"])
        assert found == {"older": True, "newer": False}

    check(catalog_url, work)


def test_an_upload_that_waited_too_long_has_expired(catalog_url: str) -> None:
    def work(connection: Connection) -> None:
        begin(connection, "one", expires=100)
        assert uploads.get_open(connection, OWNER, "one", 99).id == "one"
        with pytest.raises(Gone, match="expired"):
            uploads.get_open(connection, OWNER, "one", 100)
        assert uploads.get_held(connection, OWNER, "one").id == "one"

    check(catalog_url, work)


def test_a_challenge_is_answered_once(catalog_url: str) -> None:
    def work(connection: Connection) -> None:
        begin(connection, "one", challenge="first")
        assert not uploads.drop_challenge(connection, "one", "another")
        assert uploads.drop_challenge(connection, "one", "first")
        assert not uploads.drop_challenge(connection, "one", "first")

    check(catalog_url, work)


def test_an_upload_that_is_finished_is_open_no_more(catalog_url: str) -> None:
    def work(connection: Connection) -> None:
        begin(connection, "one")
        uploads.end(connection, "one", "finished", 200)
        assert uploads.get(connection, OWNER, "one").state == "finished"
        assert not uploads.is_open(connection, "one")

    check(catalog_url, work)


def test_partials_are_joined_in_the_order_that_was_told(catalog_url: str) -> None:
    def work(connection: Connection) -> None:
        joined(connection)
        assert uploads.get(connection, OWNER, "final").parts == ("second", "first")

    check(catalog_url, work)


def test_what_is_joined_with_a_partial_lives_as_long_as_that(catalog_url: str) -> None:
    def work(connection: Connection) -> None:
        joined(connection)
        begin(connection, "other", kind="partial")
        uploads.touch(connection, ["first"], 500)
        names = ("first", "second", "final", "other")
        found = {name: uploads.expiry(connection, name) for name in names}
        assert found == {"first": 500, "second": 500, "final": 500, "other": 100}

    check(catalog_url, work)


def test_bytes_of_partials_that_are_ready_are_needed(catalog_url: str) -> None:
    def work(connection: Connection) -> None:
        begin(connection, "open", "finished", "aborted")
        begin(connection, "ready", kind="partial")
        uploads.end(connection, "finished", "finished", 200)
        uploads.end(connection, "aborted", "aborted", 200)
        uploads.end(connection, "ready", "finished", 200)
        asked = ["open", "finished", "aborted", "ready", "never"]
        assert uploads.needing_stages(connection, asked) == {"open", "ready"}

    check(catalog_url, work)


def test_what_an_open_upload_is_being_sealed_into_is_known(catalog_url: str) -> None:
    """Else it would be swept between being sealed and being recorded."""

    def work(connection: Connection) -> None:
        begin(connection, "sealing", "over")
        found = [digest_of(name) for name in (b"sealing", b"over", b"nobody's")]
        for id_, digest in zip(("sealing", "over"), found, strict=False):
            uploads.note_digest(connection, id_, BlobInfo(digest, 10, 0))
        uploads.end(connection, "over", "aborted", 200)
        assert blobs.unknown(connection, found) == found[1:]

    check(catalog_url, work)
