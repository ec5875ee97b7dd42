"""Expiration."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from dsx.testing.tus.outcome import Inapplicable, expect
from dsx.testing.tus.registry import Section
from dsx.testing.tus.target import OFFSET_TYPE, Target
from dsx.testing.tus.wire import Response

EXPIRES = Section("Expiration/Upload-Expires", "creation", "expiration")

IMF_FIXDATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} "
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d{2}:\d{2}:\d{2} GMT"
)
GRACE_SECONDS = 1.5
"""The header has whole seconds, and the two clocks may differ slightly."""


def _time(answer: Response) -> datetime:
    value = answer.text("Upload-Expires")
    expect(IMF_FIXDATE.fullmatch(value) is not None, f"Upload-Expires: {value}")
    return parsedate_to_datetime(value)


def _in_future(answer: Response) -> None:
    when = _time(answer)
    expect(when > datetime.now(UTC), f"{when} has passed, yet the upload continues")


@EXPIRES.should()
def expires_in_post(tus: Target) -> None:
    """Included in the response to POST (a MUST if it is known by then)."""
    tus.post({"Upload-Length": "10"}).must_be(201).text("Upload-Expires")


@EXPIRES.must()
def expires_in_patch(tus: Target) -> None:
    """Included in every PATCH response of an unfinished upload."""
    url = tus.create(10)
    for offset in range(3):
        tus.patch(url, offset, b"x").must_be(204).text("Upload-Expires")


@EXPIRES.must()
def expires_format(tus: Target) -> None:
    """The value is a date in the format of RFC 9110 (IMF-fixdate)."""
    created = tus.post({"Upload-Length": "10"})
    _time(tus.patch(tus.location(created), 0, b"x").must_be(204))
    if created.get("Upload-Expires") is not None:
        _time(created)


@EXPIRES.must()
def expires_later(tus: Target) -> None:
    """The value is in the future while the upload can be resumed."""
    _in_future(tus.patch(tus.create(10), 0, b"x").must_be(204))


@EXPIRES.must("creation-with-upload")
def expires_with_upload(tus: Target) -> None:
    """Included in the response to POST with a chunk."""
    fields = {"Upload-Length": "10", "Content-Type": OFFSET_TYPE}
    _in_future(tus.post(fields, b"01234").must_be(201))


def _expired(tus: Target) -> str:
    """Create an upload and wait until it has expired."""
    url = tus.create(10)
    left = _time(tus.patch(url, 0, b"x").must_be(204)).timestamp() - time.time()
    if left + GRACE_SECONDS > tus.patience:
        raise Inapplicable(f"expires in {left:.0f} s")
    time.sleep(left + GRACE_SECONDS)
    return url


@EXPIRES.should(waits=True)
def expired_cannot_be_resumed(tus: Target) -> None:
    """Once expired: PATCH and HEAD are answered 404 or 410."""
    url = _expired(tus)
    tus.patch(url, 1, b"x").must_be(404, 410, about="PATCH")
    tus.head(url).must_be(404, 410, about="HEAD").lacks("Upload-Offset")


@EXPIRES.should(waits=True)
def finished_does_not_expire(tus: Target) -> None:
    """Only unfinished uploads expire."""
    done = tus.upload(b"0123456789")
    _expired(tus)
    tus.must_have(done, 10, "the time of unfinished uploads")
