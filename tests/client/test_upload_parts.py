"""Large files through the SDK: parts in parallel, over connections that break and that lie."""

from __future__ import annotations

import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.support.corrupting import Faults, Proxy
from tests.support.digests import sha256
from tests.support.hub import RunningHub
from tests.support.waiting import eventually

from dsx import DatasetHubClient
from dsx.client import errors, uploading

MIB = 1 << 20
SIZE = 3 * MIB + 12_345


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that is sent in parts, with a name of its own."""
    path = tmp_path / f"{uuid.uuid4().hex}.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


def stored_well(client: DatasetHubClient, path: Path) -> bool:
    """Whether the hub has the file at *path*, once."""
    (info,) = client.versions(path.name)
    return client.download_bytes(info) == path.read_bytes() and info.sha256 == sha256(path)


def open_uploads(hub: RunningHub, name: str) -> list[str]:
    items = hub.get("/api/v1/uploads", params={"limit": 1000}).json()["items"]
    return [item["id"] for item in items if item["name"] == name]


@pytest.mark.usefixtures("small_parts")
def test_a_large_file_is_stored_with_all_its_facts(
    hub: RunningHub, real: DatasetHubClient, large: Path, state: Path
) -> None:
    seen: list[tuple[int, int | None]] = []
    info = real.upload(
        large,
        "parts/ü.bin",
        category="train",
        tags=["a", "b"],
        metadata={"loss": 0.5, "deep": {"x": [1, None]}},
        content_type="application/x-large",
        progress=lambda done, total, name: seen.append((done, total)),
    )
    assert (info.name, info.category, info.tags) == ("parts/ü.bin", "train", ["a", "b"])
    assert info.metadata == {"loss": 0.5, "deep": {"x": [1, None]}}
    assert (info.content_type, info.size, info.version) == ("application/x-large", SIZE, 1)
    assert info.sha256 == sha256(large)
    assert real.download_bytes(info) == large.read_bytes()
    assert seen[-1] == (SIZE, SIZE)
    assert seen == sorted(seen)
    assert open_uploads(hub, info.name) == []
    assert list(state.iterdir()) == []


def test_parts_are_sent_several_at_once(
    through: DatasetHubClient, proxy: Proxy, large: Path, small_parts: int
) -> None:
    proxy.faults = Faults(hang_after=50_000)
    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(through.upload, large)
        eventually(lambda: len(proxy.faults.parts()) >= 8)  # and none of them has an answer
        proxy.faults.resume()
        upload.result(30)
    sent = sorted((int(line.rsplit("/", 1)[1]), length) for line, length in proxy.faults.parts())
    assert [start for start, _ in sent] == list(range(0, SIZE, small_parts))
    assert sum(length for _, length in sent) == SIZE
    assert stored_well(through, large)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(
    ("size", "in_parts"), [(0, False), (MIB - 1, False), (MIB, True), (MIB + 1, True)]
)
def test_from_which_size_on_there_are_parts(
    through: DatasetHubClient, proxy: Proxy, tmp_path: Path, size: int, in_parts: bool
) -> None:
    path = tmp_path / f"{uuid.uuid4().hex}.bin"
    path.write_bytes(os.urandom(size))
    through.upload(path)
    assert sum(length for _, length in proxy.faults.parts()) == (size if in_parts else 0)
    assert stored_well(through, path)


@pytest.mark.parametrize("size", [0, 1])
def test_a_tiny_file_can_be_sent_in_parts_too(
    real: DatasetHubClient, tmp_path: Path, size: int
) -> None:
    path = tmp_path / f"{uuid.uuid4().hex}.bin"
    path.write_bytes(os.urandom(size))
    assert real.upload(path, instant=True).size == size
    assert stored_well(real, path)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("resume", [True, False])
def test_a_taken_name_fails_if_it_must_be_free(
    hub: RunningHub, real: DatasetHubClient, large: Path, state: Path, resume: bool
) -> None:
    real.upload(b"first", large.name)
    with pytest.raises(errors.PreconditionFailed):
        real.upload(large, if_absent=True, resume=resume)
    assert open_uploads(hub, large.name) == []
    assert not state.exists() or list(state.iterdir()) == []
    assert real.upload(large).version == 2


@pytest.mark.usefixtures("small_parts")
def test_a_name_that_is_taken_meanwhile_drops_the_upload(
    hub: RunningHub, through: DatasetHubClient, proxy: Proxy, large: Path, state: Path
) -> None:
    proxy.faults = Faults(hang_after=MIB)
    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(through.upload, large, if_absent=True)
        eventually(lambda: proxy.faults.fired)
        hub.store(large.name, b"quicker")
        proxy.faults.resume()
        with pytest.raises(errors.PreconditionFailed):
            upload.result(30)
    assert open_uploads(hub, large.name) == []
    assert list(state.iterdir()) == []


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("after", [10, 700_000, SIZE - 1000])
def test_a_cut_connection_costs_a_part_at_most(
    through: DatasetHubClient, proxy: Proxy, large: Path, after: int
) -> None:
    proxy.faults = Faults(cut_after=after)
    seen: list[int] = []
    through.upload(large, progress=lambda done, total, name: seen.append(done))
    assert proxy.faults.fired == ["cut_after"]
    assert proxy.faults.sent < SIZE + MIB
    assert seen[-1] == SIZE
    assert stored_well(through, large)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("number", range(1, 18))
def test_a_lost_answer_does_no_harm(
    hub: RunningHub, through: DatasetHubClient, proxy: Proxy, large: Path, number: int
) -> None:
    """Of the request that begins it, of any part, of the last one that makes the file."""
    proxy.faults = Faults(drop_reply=number)
    through.upload(large)
    assert stored_well(through, large)
    # One that was begun without our hearing of it expires by itself.
    assert len(open_uploads(hub, large.name)) == (1 if number == 1 else 0)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("version", [1, 2])
def test_changed_bytes_never_become_a_file(
    hub: RunningHub,
    through: DatasetHubClient,
    proxy: Proxy,
    large: Path,
    state: Path,
    version: int,
) -> None:
    if version > 1:
        through.upload(b"good", large.name)
    proxy.faults = Faults(flip_body=3)  # the first is that of the request that begins it
    with pytest.raises(errors.DigestMismatch, match=large.name):
        through.upload(large)
    assert proxy.faults.fired == ["flip_body"]
    if version > 1:
        assert through.download_bytes(large.name) == b"good"
    else:
        with pytest.raises(errors.NotFound):
            through.get_info(large.name)
    assert open_uploads(hub, large.name) == []
    assert list(state.iterdir()) == []
    assert through.upload(large).sha256 == sha256(large)


@pytest.mark.usefixtures("small_parts")
def test_known_bytes_are_not_sent(
    through: DatasetHubClient, proxy: Proxy, large: Path, tmp_path: Path
) -> None:
    through.upload(large.read_bytes(), "parts-known")
    proxy.faults, told, seen = Faults(), [], []
    info = through.upload(
        large,
        instant=True,
        on_state=lambda *state: told.append(state),
        progress=lambda done, total, name: seen.append(done),
    )
    assert (info.sha256, info.name, info.version) == (sha256(large), large.name, 1)
    assert proxy.faults.parts() == []
    assert seen[-1] == SIZE
    assert [state for state, _, _ in told] == ["hashing", "running"]
    other = tmp_path / "other.bin"
    other.write_bytes(large.read_bytes()[:-1] + b"?")
    through.upload(other, f"other-{large.name}", instant=True)
    assert sum(length for _, length in proxy.faults.parts()) == SIZE


@pytest.mark.usefixtures("small_parts")
def test_a_proof_that_is_refused_means_that_the_bytes_are_sent(
    through: DatasetHubClient, proxy: Proxy, large: Path
) -> None:
    info = through.upload(large, instant=True)
    assert [line for line, _ in proxy.faults.asked if line.endswith("/proof")]
    assert info.sha256 == sha256(large)
    assert sum(length for _, length in proxy.faults.parts()) == SIZE


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("change", ["append", "touch", "truncate", "replace", "remove"])
def test_a_file_that_changes_meanwhile_is_not_stored(
    hub: RunningHub,
    through: DatasetHubClient,
    proxy: Proxy,
    large: Path,
    state: Path,
    change: str,
) -> None:
    proxy.faults = Faults(hang_after=50_000)
    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(through.upload, large)
        eventually(lambda: proxy.faults.fired)
        changed(large, change)
        proxy.faults.resume()
        with pytest.raises(errors.Conflict, match=r"shorter|changed"):
            upload.result(30)
    assert list(through.list_files(large.name)) == []
    assert open_uploads(hub, large.name) == []
    assert list(state.iterdir()) == []


@pytest.mark.parametrize("in_parts", [True, False])
def test_a_file_that_shrinks_under_the_request_says_so(
    hub: RunningHub,
    real: DatasetHubClient,
    large: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_parts: bool,
) -> None:
    """The HTTP library takes what happens in a body for a failure of the connection."""
    monkeypatch.setattr(uploading, "PARTS_FROM", MIB if in_parts else 2 * SIZE)

    def shrink(_done: int, _total: int | None, _name: str) -> None:
        os.truncate(large, MIB // 2)

    with pytest.raises(errors.Conflict, match="became shorter"):
        real.upload(large, progress=shrink)
    assert open_uploads(hub, large.name) == []


def changed(path: Path, how: str) -> None:
    if how == "append":
        with path.open("ab") as file:
            file.write(b"more")
    elif how == "touch":
        os.utime(path)
    elif how == "truncate":
        os.truncate(path, 1000)
    elif how == "replace":
        other = path.with_name("other")
        other.write_bytes(os.urandom(SIZE))
        other.replace(path)
    else:
        path.unlink()


@pytest.mark.usefixtures("small_parts")
def test_a_progress_that_raises_ends_the_upload(
    through: DatasetHubClient, proxy: Proxy, large: Path
) -> None:
    """An interrupt in one thread stops the other parts, and what has come is kept."""

    def interrupt(done: int, _total: int | None, _name: str) -> None:
        if done > MIB:
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        through.upload(large, progress=interrupt)
    assert len(proxy.faults.parts()) < 14
    eventually(lambda: threading.active_count() <= before + 8)  # the proxy's own ones
    through.upload(large)
    assert stored_well(through, large)


@pytest.mark.usefixtures("small_parts")
def test_without_resume_nothing_is_left_of_a_failure(
    hub: RunningHub, through: DatasetHubClient, large: Path, state: Path
) -> None:
    def interrupt(done: int, _total: int | None, _name: str) -> None:
        if done > MIB:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        through.upload(large, resume=False, progress=interrupt)
    assert open_uploads(hub, large.name) == []
    assert not state.exists()


def test_a_file_of_the_real_threshold_is_sent_in_real_parts(
    through: DatasetHubClient, proxy: Proxy, tmp_path: Path
) -> None:
    path = tmp_path / f"{uuid.uuid4().hex}.bin"
    with path.open("wb") as file:  # sparse, except for its ends
        file.write(b"head")
        file.seek(32 * MIB - 4)
        file.write(b"tail")
    info = through.upload(path)
    assert info.sha256 == sha256(path)
    lengths = sorted(length for _, length in proxy.faults.parts())
    assert lengths == [16 * MIB, 16 * MIB]
