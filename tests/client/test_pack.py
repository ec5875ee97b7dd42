"""Small files come in packs: resumed when they break, repeated when damaged, and checked."""

from __future__ import annotations

import io

import pytest
from tests.support.faulty import FaultyServer

from dsx import DatasetHubClient
from dsx.client import dataset_sync, errors
from dsx.client.pack import CutShort, members
from dsx.core import tar_layout
from dsx.core.digest import digest_of


@pytest.fixture
def many(server: FaultyServer) -> dict[str, bytes]:
    server.files |= {f"d{n % 3}/ü {n}": bytes([n]) * (n * 40) for n in range(50)}
    return server.files


def check(client: DatasetHubClient, files: dict[str, bytes]) -> None:
    paths = client.download_dataset("ds")
    assert [path.read_bytes() for path in paths] == list(files.values())


def packs(server: FaultyServer) -> int:
    return len(server.asked("/pack"))


def test_one_request_brings_them_all(
    server: FaultyServer, client: DatasetHubClient, many: dict[str, bytes]
) -> None:
    check(client, many)
    assert packs(server) == 1
    assert server.asked("/files/") == []
    check(client, many)
    assert packs(server) == 1


def test_packs_are_of_bounded_length(
    server: FaultyServer,
    client: DatasetHubClient,
    many: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dataset_sync, "PACK_FILES", 20)
    check(client, many)
    assert packs(server) == 3
    monkeypatch.setattr(dataset_sync, "PACK_BYTES", 20_000)
    client.clear_cache()
    check(client, many)
    assert packs(server) == 3 + 4


def test_a_broken_pack_goes_on_with_what_is_missing(
    server: FaultyServer, client: DatasetHubClient, many: dict[str, bytes]
) -> None:
    server.faults.drops, server.faults.drop_after = 6, 20_000
    check(client, many)
    assert 3 <= packs(server) <= 7


def test_a_pack_that_always_breaks_is_given_up_and_keeps_what_came(
    server: FaultyServer, client: DatasetHubClient, many: dict[str, bytes]
) -> None:
    server.faults.drops, server.faults.drop_after = 999, 3_000
    with pytest.raises(errors.Broken):
        client.download_dataset("ds")
    kept = client.get_cache_size("ds")
    assert kept > 0
    server.faults.drops = 0
    check(client, many)


def test_a_damaged_member_is_fetched_again(
    server: FaultyServer, client: DatasetHubClient, many: dict[str, bytes]
) -> None:
    many["first"] = b"first"
    server.files = {"first": b"first"} | many
    server.faults.corruptions = 1
    check(client, server.files)
    assert len(server.asked("/files/first")) == 1


@pytest.mark.parametrize("which", ["d0/ü 0", "d1/ü 1", "d1/ü 49"])
def test_what_a_pack_leaves_out_is_fetched_all_the_same(
    server: FaultyServer, client: DatasetHubClient, many: dict[str, bytes], which: str
) -> None:
    """A pack that ends well without all of its members is no success."""
    server.faults.left_out = {which}
    check(client, many)
    assert packs(server) == 1
    assert len(server.asked(f"/files/{which}")) == 1


@pytest.mark.parametrize("size", [100, 2_000_000])
def test_m2_bytes_that_the_manifest_contradicts_are_not_taken_unseen(
    server: FaultyServer, client: DatasetHubClient, size: int
) -> None:
    """The server is asked to look again, and then believed, packed or not."""
    server.files |= {"a": b"a" * size, "b": b"b" * size}
    server.faults.stale = {"a": b"old" + b"a" * (size - 3)}
    paths = client.download_dataset("ds")
    assert [path.read_bytes() for path in paths] == [b"a" * size, b"b" * size]
    assert server.rechecked == ["a"]


def test_m2_without_a_digest_the_beginning_is_compared(
    server: FaultyServer, client: DatasetHubClient
) -> None:
    server.files |= {"a": b"alpha", "b": b"beta"}
    server.faults.hashed = server.faults.digests = False
    server.faults.stale = {"a": b"ALPHA"}
    assert client.download_dataset("ds")[0].read_bytes() == b"alpha"
    assert len(server.asked("/files/a")) == 1


def test_m2_a_manifest_with_another_validator_is_another_file(
    server: FaultyServer, client: DatasetHubClient
) -> None:
    """Of equal size; and where only the validator is new, nothing is fetched."""
    server.files |= {"a": b"alpha", "b": b"beta"}
    client.download_dataset("ds")
    server.requests.clear()
    server.files["a"] = b"ALPHA"
    real = server.etag
    server.etag = lambda path: f"new-{real(path)}"  # type: ignore[method-assign]
    paths = client.download_dataset("ds")
    assert [path.read_bytes() for path in paths] == [b"ALPHA", b"beta"]
    assert len(server.asked("/pack")) == 1
    assert server.asked("/files/") == []
    server.requests.clear()
    client.download_dataset("ds")
    assert server.asked("/pack") == []


@pytest.mark.parametrize("size", [100, 2_000_000])
@pytest.mark.parametrize("known", [True, False])
def test_m1_what_has_gone_since_the_manifest_is_told_and_left_out(
    server: FaultyServer, client: DatasetHubClient, size: int, known: bool
) -> None:
    """Whether or not the server knows of it before it answers."""
    server.files |= {name: name.encode() * size for name in "abc"}
    server.faults.gone = set() if known else {"a", "b"}
    if known:
        server.manifest_paths = ["a", "b", "c"]
        real = server.etag
        etags = {name: real(name) for name in "abc"}
        server.etag = lambda path: etags[path]  # type: ignore[method-assign]
        sizes = {name: server.files.pop(name) for name in "ab"}
        assert sizes
    with pytest.warns(errors.CacheWarning, match="2 files of ds were removed .*: a, b"):
        paths = client.download_dataset("ds")
    assert [path.name for path in paths] == ["c"]
    with pytest.raises(FileNotFoundError):
        client.download_dataset("ds", ["never-there"])


def test_progress_counts_every_byte_once(
    server: FaultyServer, client: DatasetHubClient, many: dict[str, bytes]
) -> None:
    seen: list[tuple[int, int | None, str]] = []
    client._progress = lambda *now: seen.append(now)
    server.files["large"] = bytes(2_000_000)
    client.download_dataset("ds")
    total = sum(map(len, server.files.values()))
    assert seen[-1] == (total, total, "ds")


def test_a_path_the_manifest_does_not_know_is_asked_for(
    server: FaultyServer, client: DatasetHubClient, many: dict[str, bytes]
) -> None:
    server.manifest_paths = []
    (path,) = client.download_dataset("ds", ["d1/ü 1"])
    assert path.read_bytes() == many["d1/ü 1"]
    with pytest.raises(FileNotFoundError, match="none"):
        client.download_dataset("ds", ["none"])


def test_order_and_repeats_of_the_list_are_kept(
    client: DatasetHubClient, many: dict[str, bytes]
) -> None:
    wanted = ["d2/ü 5", "d1/ü 1", "d2/ü 5"]
    paths = client.download_dataset("ds", file_list=wanted)
    assert [path.read_bytes() for path in paths] == [many[path] for path in wanted]


def pack(*files: tuple[str, bytes]) -> bytes:
    parts = []
    for path, data in files:
        member = tar_layout.Member(path, len(data), 1_500_000_000_000_000_001, digest_of(data))
        parts.append(tar_layout.header(member) + data + tar_layout.padding(len(data)))
    return b"".join(parts) + tar_layout.END


class Dribble(io.BytesIO):
    """Hands out a few bytes at a time, as a network does."""

    def read(self, amt: int | None = -1, /) -> bytes:
        return super().read(min(amt or 1, 7))


def test_members_of_any_size_and_name() -> None:
    files = [("a", b""), ("漢" * 80, b"x" * 512), ("long/" * 40 + "n", b"y" * 513), ("n\nl", b"z")]
    for stream in (io.BytesIO(pack(*files)), Dribble(pack(*files))):
        found = list(members(stream))
        assert [(one.path, one.data) for one in found] == files
        assert all(one.intact and one.mtime_ns == 1_500_000_000_000_000_001 for one in found)


def test_every_cut_is_noticed() -> None:
    whole = pack(("a", b"alpha"), ("b", b"beta"))
    for stop in range(0, len(whole) - 1024, 100):
        with pytest.raises(CutShort):
            list(members(io.BytesIO(whole[:stop])))


@pytest.mark.parametrize(
    "damage",
    [
        lambda pack: b"<html>" + pack,
        lambda pack: pack.replace(b"DSX.sha256", b"XSX.sha256"),
        lambda pack: pack.replace(b"size=5", b"size=x"),
        lambda pack: pack.replace(b"size=5", b"size=-"),
        lambda pack: pack[:124] + b"99999999999\0" + pack[136:],
        lambda pack: pack[:124] + b"00000000777\0" + pack[136:],
        lambda pack: pack[:124] + b"77777777777\0" + pack[136:],
    ],
)
def test_what_is_no_pack_is_refused(damage: object) -> None:
    with pytest.raises(errors.Unprocessable):
        list(members(io.BytesIO(damage(pack(("a", b"alpha"))))))  # type: ignore[operator]


def test_members_in_another_order_are_refused(
    client: DatasetHubClient, many: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    header = tar_layout.header
    monkeypatch.setattr(
        tar_layout,
        "header",
        lambda one: header(tar_layout.Member("../x", one.size, one.mtime_ns, one.sha256)),
    )
    with pytest.raises(errors.Unprocessable, match="instead of"):
        client.download_dataset("ds")
