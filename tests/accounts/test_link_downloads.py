"""M10: a link with ``--downloads N``: what one download is, and what counts nothing."""

from __future__ import annotations

import http.client
import os
import socket
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from tests.support.hub import RunningHub, running_hub
from tests.support.waiting import eventually

SHARES = "/api/v1/shares"
SIZE = 24 << 20
"""So large that it does not fit into buffers: who leaves early has not had all of it."""
DATA = os.urandom(SIZE)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with running_hub(tmp_path_factory.mktemp("downloads")) as running:
        yield running


@pytest.fixture(scope="module")
def record(hub: RunningHub) -> dict[str, Any]:
    return hub.store("big.bin", DATA, category="big")


def linked(hub: RunningHub, record: dict[str, Any], downloads: int, **place: str) -> str:
    place = place or {"kind": "file", "value": record["id"]}
    answer = hub.post(SHARES, json={"place": place, "downloads": downloads})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["url"])


def used(hub: RunningHub) -> int:
    """How often the newest link was used."""
    items = hub.get(SHARES, params={"limit": 1000}).json()["items"]
    return int(items[-1]["downloaded"])


def get(url: str, program: str = "one", **headers: str) -> requests.Response:
    headers = {"User-Agent": program} | headers
    return requests.get(url, headers=headers, timeout=60)


def broken_off(url: str, program: str = "one", **headers: str) -> http.client.HTTPMessage:
    """Read a little of a download and leave."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    connection.request("GET", parts.path, headers={"User-Agent": program} | headers)
    answer = connection.getresponse()
    assert answer.status in {200, 206}
    answer.read(1000)
    assert connection.sock is None or connection.sock.shutdown(socket.SHUT_RDWR) is None
    answer.close()
    connection.close()
    return answer.headers


def test_m10_what_sends_no_content_counts_nothing(hub: RunningHub, record: dict[str, Any]) -> None:
    url = linked(hub, record, 1)
    etag = requests.head(url, timeout=20).headers["ETag"]
    for headers, status in (
        ({"If-None-Match": etag}, 304),
        ({"If-Match": '"other"'}, 412),
        ({"Range": f"bytes={SIZE}-"}, 416),
    ):
        assert get(url, **headers).status_code == status
    assert requests.head(url, timeout=20).status_code == 200
    assert requests.get(url + "/no-such", timeout=20).status_code == 404
    assert used(hub) == 0
    assert get(url).content == DATA
    assert used(hub) == 1
    for headers in ({}, {"If-None-Match": etag}):
        assert get(url, "another", **headers).status_code == 410


def test_m10_a_broken_download_goes_on(hub: RunningHub, record: dict[str, Any]) -> None:
    url = linked(hub, record, 1)
    broken_off(url)
    assert get(url, "another").status_code == 410, "it is taken"
    rest = get(url, Range="bytes=1000-")
    assert rest.status_code == 206
    assert rest.content == DATA[1000:]
    assert used(hub) == 1
    eventually(lambda: get(url).status_code == 410)
    assert requests.head(url, headers={"User-Agent": "one"}, timeout=20).status_code == 410
    assert get(url, Range="bytes=-5000").status_code == 410, "A11: it is complete"
    shown = {"Cookie": rest.headers["Set-Cookie"].partition(";")[0]}
    tail = get(url, Range="bytes=-5000", **shown)
    assert tail.content == DATA[-5000:], "what was lost in the wires comes again"
    assert used(hub) == 1


def test_m10_a_broken_download_begins_again(hub: RunningHub, record: dict[str, Any]) -> None:
    """As programs do that cannot go on: by a request for the whole."""
    url = linked(hub, record, 1)
    broken_off(url)
    again = eventually(lambda: (found := get(url)).status_code == 200 and found)
    assert again.content == DATA
    eventually(lambda: get(url).status_code == 410)
    assert used(hub) == 1


def test_m10_the_ranges_of_a_download_count_once(hub: RunningHub, record: dict[str, Any]) -> None:
    url = linked(hub, record, 1)
    step = SIZE // 8
    ranges = [f"bytes={start}-{start + step - 1}" for start in range(0, SIZE, step)]
    parts = [get(url, Range=ranges[0]).content]
    with ThreadPoolExecutor(4) as pool:
        parts += [one.content for one in pool.map(lambda one: get(url, Range=one), ranges[1:])]
    assert b"".join(parts) == DATA
    assert used(hub) == 1
    assert get(url).status_code == 410
    assert get(url, Range=ranges[0]).status_code == 410


def test_m10_a_cookie_tells_a_recipient_anywhere(hub: RunningHub, record: dict[str, Any]) -> None:
    url = linked(hub, record, 1)
    cookie = broken_off(url)["Set-Cookie"]
    assert "HttpOnly" in cookie
    shown = {"Cookie": cookie.partition(";")[0]}
    elsewhere = {"X-Forwarded-For": "10.1.2.3", "Range": "bytes=1000-"}
    assert get(url, "moved", **elsewhere).status_code == 410
    assert get(url, "moved", **elsewhere, **shown).content == DATA[1000:]
    assert used(hub) == 1


@pytest.mark.parametrize("allowed", [1, 3])
def test_m10_recipients_at_once_do_not_exceed_it(
    hub: RunningHub, record: dict[str, Any], allowed: int
) -> None:
    url = linked(hub, record, allowed)

    def fetch(number: int) -> int:
        answer = get(url, f"recipient {number}", **{"X-Forwarded-For": f"10.3.0.{number}"})
        assert answer.status_code == 410 or answer.content == DATA
        return answer.status_code

    with ThreadPoolExecutor(8) as pool:
        found = Counter(pool.map(fetch, range(12)))
    assert found == {200: allowed, 410: 12 - allowed}
    assert used(hub) == allowed


def test_m10_ranges_are_no_way_to_more(hub: RunningHub, record: dict[str, Any]) -> None:
    """What one download's requests ask for is bounded, whoever sends them."""
    url = linked(hub, record, 1)
    whole = get(url)
    assert whole.status_code == 200
    shown = {"Cookie": whole.headers["Set-Cookie"].partition(";")[0]}
    answers = [get(url, Range="bytes=1-", **shown).status_code for _ in range(6)]
    assert answers == [206, 206, 410, 410, 410, 410]
    assert used(hub) == 1


@pytest.mark.parametrize("size", [51, 5000, 100_000])
def test_a11_a_small_file_is_downloaded_no_more_often(hub: RunningHub, size: int) -> None:
    """A11: neither by who looks like the recipient, nor in ranges without end."""
    url = linked(hub, hub.store(f"small {size}", os.urandom(size)), 1)
    whole = get(url)
    assert whole.status_code == 200
    eventually(lambda: get(url, Range="bytes=1-").status_code == 410)
    shown = {"Cookie": whole.headers["Set-Cookie"].partition(";")[0]}
    answers = [get(url, Range="bytes=1-", **shown).status_code for _ in range(20)]
    assert Counter(answers) == {206: 2, 410: 18}
    url = linked(hub, hub.store(f"small {size}", os.urandom(size)), 1)
    answers = [get(url, Range=f"bytes={first}-").status_code for first in [0] + [1] * 20]
    assert answers[0] == 206
    assert answers.count(206) <= 3
    assert used(hub) == 1


def test_m10_each_file_of_a_category_is_a_download(hub: RunningHub, record: dict[str, Any]) -> None:
    hub.store("small", b"x" * 1000, category="big")
    hub.store("empty", b"", category="big")
    url = linked(hub, record, 2, kind="category", value="big")
    assert get(f"{url}/empty").content == b""
    assert get(f"{url}/small").content == b"x" * 1000
    assert get(f"{url}/big.bin", Range="bytes=0-9").content == DATA[:10]
    assert used(hub) == 2
    assert get(f"{url}/big.bin", Range="bytes=10-").content == DATA[10:]
    assert get(f"{url}/small").status_code == 410
    assert get(url).status_code == 410
    assert used(hub) == 2


def test_m10_a_download_that_cannot_begin_is_given_back(hub: RunningHub) -> None:
    lost = hub.store("lost.bin", os.urandom(300_000))
    url = linked(hub, lost, 1)
    for path in hub.data_dir.rglob(f"*{lost['sha256'][4:]}*"):
        path.unlink()
    assert get(url).status_code in {410, 500, 503}
    eventually(lambda: used(hub) == 0)


def test_m10_links_without_a_number_count_complete_requests(
    hub: RunningHub, record: dict[str, Any]
) -> None:
    made = hub.post(SHARES, json={"place": {"kind": "file", "value": record["id"]}}).json()
    assert get(made["url"]).status_code == 200
    assert get(made["url"], Range="bytes=10-20").status_code == 206
    assert used(hub) == 1
    guest = replace(hub, key=made["url"].rpartition("/")[2])
    assert guest.get(f"/api/v1/files/{record['id']}").status_code == 200


def test_m10_it_is_counted_by_the_server_that_comes_next(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        url = linked(hub, hub.store("big.bin", DATA), 1)
        broken_off(url)
        hub.kill()
    with running_hub(tmp_path, DSX_PORT=str(urlsplit(url).port)):
        assert get(url, Range="bytes=1000-").content == DATA[1000:]
        assert get(url, "another").status_code == 410
