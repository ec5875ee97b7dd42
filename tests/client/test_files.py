"""Files through the SDK: uploads that are never doubled, downloads, archives, the trash."""

from __future__ import annotations

import io
import os
import threading
import zipfile
from pathlib import Path

import pytest
import requests
from tests.support.faulty import FaultyServer

from dsx import DatasetHubClient
from dsx.client import errors, files
from dsx.client.upload_body import Body

DATA = os.urandom(1_500_000)


@pytest.mark.parametrize("status", [429, 503])
def test_a_refused_upload_is_sent_again(
    server: FaultyServer, client: DatasetHubClient, status: int
) -> None:
    server.faults.refusals, server.faults.status = 2, status
    source = io.BytesIO(b"skipped" + DATA)
    source.seek(7)
    seen: list[int] = []
    info = client.upload(source, "a.bin", progress=lambda done, total, name: seen.append(done))
    assert server.uploads == [DATA]
    assert info.size == len(DATA)
    assert seen[-1] == len(DATA)


def test_an_upload_that_may_have_been_kept_is_not_sent_again(
    server: FaultyServer, client: DatasetHubClient
) -> None:
    """A second time would be a second version."""
    server.faults.refusals, server.faults.status = 1, 502
    with pytest.raises(errors.Unavailable):
        client.upload(DATA, "a.bin")
    assert len(server.requests) == 1


def test_a_pipe_is_streamed_and_cannot_be_sent_again(
    server: FaultyServer, client: DatasetHubClient
) -> None:
    def pipe() -> io.FileIO:
        reader, writer = os.pipe()

        def feed() -> None:
            with os.fdopen(writer, "wb") as file:
                file.write(DATA)

        threading.Thread(target=feed, daemon=True).start()
        return io.FileIO(reader)

    with pipe() as source:
        client.upload(source, "a.bin")
    assert server.uploads == [DATA]
    server.faults.refusals = 1
    with pipe() as source, pytest.raises(errors.Unavailable):
        client.upload(source, "a.bin")


def test_an_upload_that_was_changed_on_the_way_is_noticed(
    server: FaultyServer, client: DatasetHubClient
) -> None:
    server.faults.corruptions = 1
    with pytest.raises(errors.DigestMismatch, match=r"a\.bin"):
        client.upload(DATA, "a.bin")


def test_a_growing_file_is_sent_as_long_as_it_was() -> None:
    source = io.BytesIO(b"12345")
    body = Body(source, None, "log")
    source.seek(0, os.SEEK_END)
    source.write(b"678")
    source.seek(0)
    assert b"".join(body) == b"12345"


def test_a_shrinking_file_is_an_error_not_a_hang() -> None:
    source = io.BytesIO(b"12345")
    body = Body(source, None, "log")
    source.truncate(3)
    with pytest.raises(errors.Conflict, match="shorter"):
        list(body)


def test_upload_and_download(real: DatasetHubClient, tmp_path: Path) -> None:
    path = tmp_path / "sdk model.pt"
    path.write_bytes(DATA)
    info = real.upload(str(path), category="x", tags=["t"], metadata={"loss": 0.5})
    assert (info.name, info.size, info.metadata) == ("sdk model.pt", len(DATA), {"loss": 0.5})
    with pytest.raises(errors.PreconditionFailed):
        real.upload(path, if_absent=True)
    again = real.upload(b"", "sdk model.pt")
    assert (again.version, again.size) == (2, 0)
    assert [one.version for one in real.versions(info)] == [2, 1]
    for ref in (info, info.id, info.number):
        assert real.download_bytes(ref) == DATA
    assert real.download_bytes("sdk model.pt") == b""
    target = tmp_path / "out"
    target.mkdir()
    assert real.download(info, target) == target / "sdk model.pt"
    assert (target / "sdk model.pt").read_bytes() == DATA
    output = io.BytesIO()
    assert real.download_to(info.number, output).id == info.id
    assert output.getvalue() == DATA
    assert [entry.name for entry in target.iterdir()] == ["sdk model.pt"]


@pytest.mark.parametrize("name", ["sdk[xy].bin", "sdk dir/ü#%41+&=.bin", "sdk 'quote'.bin"])
def test_a_name_is_looked_up_literally(real: DatasetHubClient, name: str) -> None:
    real.upload(b"decoy", "sdkx.bin")
    info = real.upload(name.encode(), name)
    assert real.get_info(name).id == info.id
    assert real.download_bytes(name) == name.encode()
    with pytest.raises(FileNotFoundError, match="nothing of the kind"):
        real.get_info("nothing of the kind")


def test_download_goes_where_the_name_says_and_nowhere_else(
    real: DatasetHubClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    info = real.upload(b"deep", "sdk/a/b.txt")
    assert real.download(info) == Path("b.txt")
    for hostile in ("..", "a/..", "../x", "/etc/passwd", "a\\b", "nul"):
        with pytest.raises(errors.Invalid):
            real.download(info.model_copy(update={"name": hostile}))
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.txt"]


@pytest.mark.parametrize("ids_in_a_url", [100, 1])
def test_archive(
    real: DatasetHubClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids_in_a_url: int
) -> None:
    monkeypatch.setattr(files, "_IDS_IN_A_URL", ids_in_a_url)
    infos = [real.upload(bytes([n]) * 1000, f"sdk-zip-{n}") for n in range(3)]
    path = real.archive(infos, tmp_path / "all.zip")
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [info.name for info in infos]
    output = io.BytesIO()
    real.archive_to(infos, output)
    assert output.getvalue() == path.read_bytes()


def test_archives_resume(server: FaultyServer, client: DatasetHubClient, tmp_path: Path) -> None:
    server.files["archive.zip"] = DATA
    server.faults.drops, server.faults.drop_after = 3, 300_000
    ref = files.FileInfo.model_construct(id="a", name="a")
    assert client.archive([ref], tmp_path / "a.zip").read_bytes() == DATA
    server.faults.drops, server.faults.ranges = 99, False
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        client.archive([ref], tmp_path / "b.zip")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zip"]


def test_listing_pages_by_itself(real: DatasetHubClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PAGE", 2)
    for number in range(5):
        real.upload(b"x", f"sdk-list-{number}", tags=["sdk-list"])
    names = [info.name for info in real.list_files("sdk-list-*", sort="name")]
    assert names == [f"sdk-list-{number}" for number in range(5)]
    assert len(list(real.list_files(tags=["sdk-list"], limit=3))) == 3
    assert list(real.list_files(limit=0)) == []


def test_update_and_trash(real: DatasetHubClient) -> None:
    info = real.upload(b"x", "sdk-trash", metadata={"a": 1, "b": 2}, tags=["old"])
    changed = real.update(info, tags=[], metadata={"a": None, "c": 3}, category="c")
    assert (changed.tags, changed.metadata, changed.category) == ([], {"b": 2, "c": 3}, "c")
    real.delete(info)
    with pytest.raises(errors.NotFound):
        real.get_info("sdk-trash")
    assert info.id in [one.id for one in real.list_trash()]
    other = real.upload(b"y", "sdk-trash")
    with pytest.raises(errors.AlreadyExists):
        real.restore(info)
    assert real.restore(info, "sdk-trash-2").name == "sdk-trash-2"
    real.delete(other.number)
    real.purge(other)
    with pytest.raises(errors.NotFound):
        real.restore(other)
