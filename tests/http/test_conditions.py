"""Conditional requests (RFC 9110 §13)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from tests.support.hub import RunningHub
from tests.support.wire import Answer, content, wire

DATA = b"conditional" * 1000
PAST = format_datetime(datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC), usegmt=True)
FUTURE = format_datetime(datetime.now(UTC) + timedelta(days=2), usegmt=True)


@pytest.fixture(scope="module")
def path(hub: RunningHub) -> str:
    return content(hub.store("http-conditions.bin", DATA))


@pytest.fixture(scope="module")
def validators(hub: RunningHub, path: str) -> dict[str, str]:
    with wire(hub) as client:
        answer = client.ask("HEAD", path)
    modified = parsedate_to_datetime(answer.headers["last-modified"])
    return {
        "ETAG": answer.headers["etag"],
        "MODIFIED": answer.headers["last-modified"],
        "BEFORE": format_datetime(modified - timedelta(seconds=1), usegmt=True),
        "PAST": PAST,
        "FUTURE": FUTURE,
    }


def asked(
    hub: RunningHub, path: str, validators: dict[str, str], *fields: str, method: str = "GET"
) -> Answer:
    for name, value in validators.items():
        fields = tuple(line.replace(name, value) for line in fields)
    with wire(hub) as client:
        return client.ask(method, path, *fields)


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (304, ["If-None-Match: ETAG"]),
        (304, ["If-None-Match: W/ETAG"]),
        (304, ['If-None-Match: "other", "a,b" , ETAG']),
        (304, ["If-None-Match: *"]),
        (304, ['If-None-Match: "other"', "If-None-Match: ETAG"]),
        (200, ['If-None-Match: "other"']),
        (200, ["If-None-Match: nonsense"]),
        (200, ['If-None-Match: "other"', "If-Modified-Since: FUTURE"]),
        (304, ["If-None-Match: ETAG", "If-Modified-Since: PAST"]),
        (304, ["If-Modified-Since: MODIFIED"]),
        (304, ["If-Modified-Since: FUTURE"]),
        (200, ["If-Modified-Since: BEFORE"]),
        (200, ["If-Modified-Since: PAST"]),
        (200, ["If-Modified-Since: yesterday"]),
        (200, ["If-Modified-Since: Sun, 06 Nov 99999999999 08:49:37 GMT"]),
        (200, ["If-Match: ETAG"]),
        (200, ['If-Match: "other", ETAG']),
        (200, ['If-Match: "other"', "If-Match: ETAG"]),
        (200, ["If-Match: *"]),
        (412, ["If-Match: W/ETAG"]),
        (412, ['If-Match: "other"']),
        (412, ["If-Match: nonsense"]),
        (200, ["If-Match: ETAG", "If-Unmodified-Since: PAST"]),
        (412, ['If-Match: "other"', "If-None-Match: ETAG"]),
        (304, ["If-Match: ETAG", "If-None-Match: ETAG"]),
        (200, ["If-Unmodified-Since: MODIFIED"]),
        (200, ["If-Unmodified-Since: FUTURE"]),
        (412, ["If-Unmodified-Since: BEFORE"]),
        (412, ["If-Unmodified-Since: PAST"]),
        (200, ["If-Unmodified-Since: tomorrow"]),
    ],
)
def test_preconditions(
    hub: RunningHub, path: str, validators: dict[str, str], status: int, fields: list[str]
) -> None:
    answer = asked(hub, path, validators, *fields)
    assert answer.status == status
    assert asked(hub, path, validators, *fields, method="HEAD").status == status
    if status == 200:
        assert answer.body == DATA
        assert answer.headers["content-length"] == str(len(DATA))
    if status == 304:
        assert answer.headers["etag"] == validators["ETAG"]
        assert "content-type" not in answer.headers


@pytest.mark.parametrize(
    ("applies", "if_range"),
    [
        (True, "ETAG"),
        (True, "MODIFIED"),
        (False, "W/ETAG"),
        (False, '"other"'),
        (False, 'ETAG, "other"'),
        (False, "ETAG rest"),
        (False, "FUTURE"),
        (False, "BEFORE"),
        (False, "nonsense"),
    ],
)
def test_if_range(
    hub: RunningHub, path: str, validators: dict[str, str], applies: bool, if_range: str
) -> None:
    answer = asked(hub, path, validators, "Range: bytes=5-9", f"If-Range: {if_range}")
    expected = (206, DATA[5:10]) if applies else (200, DATA)
    assert (answer.status, answer.body) == expected


def test_a_stale_if_range_turns_an_impossible_range_into_the_whole(
    hub: RunningHub, path: str, validators: dict[str, str]
) -> None:
    answer = asked(hub, path, validators, "Range: bytes=999999-", 'If-Range: "other"')
    assert (answer.status, answer.body) == (200, DATA)


def test_conditions_come_before_ranges(
    hub: RunningHub, path: str, validators: dict[str, str]
) -> None:
    impossible = "Range: bytes=999999-"
    assert asked(hub, path, validators, impossible, "If-None-Match: ETAG").status == 304
    assert asked(hub, path, validators, impossible, 'If-Match: "other"').status == 412


def test_the_connection_goes_on_after_304_and_412(
    hub: RunningHub, path: str, validators: dict[str, str]
) -> None:
    with wire(hub) as client:
        assert client.ask("GET", path, f"If-None-Match: {validators['ETAG']}").status == 304
        assert client.ask("GET", path, 'If-Match: "other"').status == 412
        assert client.ask("GET", path).body == DATA
