"""D7: names and places that a message has to tell of as they are."""

from __future__ import annotations

import os
import sys
import uuid
import zipfile
from pathlib import Path

import pytest
from tests.support.commands import Commands, lines
from tests.support.hub import RunningHub
from tests.support.screens import watch
from tests.support.small_disk import small_disk

from dsx import DatasetHubClient
from dsx.client import errors

BIDI = "photo\u202egpj.exe"
needs_bytes = pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="names are text")


@pytest.fixture
def top() -> str:
    return f"odd-{uuid.uuid4().hex}"


@needs_bytes
def test_d7_a_name_that_is_not_utf8(dsx: Commands, top: str, tmp_path: Path) -> None:
    (tmp_path / top).mkdir()
    odd = tmp_path / top / os.fsdecode(b"a\xff.txt")
    odd.write_bytes(b"odd")
    (tmp_path / top / "good").write_bytes(b"good")
    told = dsx("upload", "-r", top, code=2).stderr.decode()
    assert f"The name '{top}/a\\xff.txt' is not UTF-8; rename it." in told
    assert "1 stored, 0 unchanged, 1 failed" in told
    assert "surrogates" not in told
    first, second = dsx("upload", str(odd), code=2).stderr.decode().splitlines()
    assert first == "dsx: The name 'a\\xff.txt' is not UTF-8; rename it."
    assert "--name" in second
    dsx("upload", str(odd), "--name", f"{top}/named")  # the name here is of no concern
    for asked in (["list", "a\udcff"], ["download", "a\udcff"], ["upload", "x", "--name=\udcff"]):
        told = dsx.run(*asked).stderr.decode()
        assert "surrogates" not in told
    dsx("download", f"{top}/named", "-o", os.fsdecode(b"got\xff"))
    assert (tmp_path / os.fsdecode(b"got\xff")).read_bytes() == b"odd"


def test_d7_a_place_that_is_not_there_is_told(dsx: Commands, hub: RunningHub, top: str) -> None:
    hub.store(top, b"x")
    for more in ([], ["--zip"]):
        told = dsx("download", top, "-o", "nodir/x/y", *more, code=3).stderr.decode()
        assert told == "dsx: nodir/x: No such file or directory\n"


def test_d7_a_place_that_cannot_be_written_is_told(
    hub: RunningHub, top: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own name, not by that of the draft beside it."""
    hub.store(top, b"x")

    def refused(path: Path, *_: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("dsx.client.locks.open_file", refused)
    monkeypatch.setattr("dsx.client.partial_download.open_file", refused)
    client = DatasetHubClient(hub.url, hub.key, None)
    for fetch in (client.download, lambda ref, place: client.archive([ref], place)):
        with pytest.raises(PermissionError) as caught:
            fetch(top, tmp_path / "y")
        assert caught.value.filename == str(tmp_path / "y")


def test_d7_a_full_disk_of_this_machine_is_told(
    dsx: Commands, hub: RunningHub, top: str, tmp_path: Path
) -> None:
    hub.store(top, os.urandom(3 << 20))
    dataset = hub.dataset_path / top
    dataset.mkdir()
    (dataset / "large").write_bytes(os.urandom(3 << 20))
    (dataset / "small").write_bytes(os.urandom(900_000))
    with small_disk(tmp_path / "disk", "size=1m"):
        for more in ([], ["--zip"]):
            told = dsx("download", top, "-o", "disk/y", *more, code=8).stderr.decode()
            assert told == "dsx: disk/y: No space left on device (on this machine)\n"
        for path, where in (("large", f"disk/{top}/large"), ("*", "disk")):
            told = dsx("fetch", top, path, "--to", "disk", code=8).stderr.decode()
            assert "No space left on device" in told
            assert where in told
            assert "None" not in told


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_d7_an_output_that_is_full_is_told(dsx: Commands, hub: RunningHub, top: str) -> None:
    hub.store(top, b"x" * 100_000)
    for command in (f"download {top} -o -", f"list {top}"):
        done = shell(dsx, f"{command} > /dev/full")
        assert done.splitlines()[0] == (
            "dsx: standard output: No space left on device (on this machine)"
        )


def shell(dsx: Commands, command: str) -> str:
    """What a command tells whose output goes elsewhere."""
    run = Commands(dsx.directory, dsx.variables, ("sh", "-c", f"{sys.executable} -m dsx {command}"))
    return run.run().stderr.decode()


def test_d7_an_archive_that_nobody_can_unpack_is_refused(
    dsx: Commands, hub: RunningHub, top: str, tmp_path: Path
) -> None:
    """A file where another one's directory has to be: by the client, the server, a task, a link."""
    one, other = hub.store(top, b"1"), hub.store(f"{top}/x", b"2")
    told = dsx("download", top, f"{top}/x", "--zip", code=5).stderr.decode()
    assert "conflicting paths" in told
    assert str(one["number"]) in told
    assert not (tmp_path / "files.zip").exists()
    told = dsx("download", top, f"{top}/x", "--zip", "-o", "-", code=5).stderr.decode()
    assert "conflicting paths" in told
    ids = [one["id"], other["id"]]
    for answer in (
        hub.get("/api/v1/archive", params={"id": ids}),
        hub.post("/api/v1/archive", json={"ids": ids}),
        hub.post("/api/v1/tasks", json={"kind": "download", "ids": ids}),
    ):
        assert answer.status_code == 409, answer.text
        assert answer.json()["details"]["names"] == [top, f"{top}/x"]
    with pytest.raises(errors.Conflict):
        DatasetHubClient(hub.url, hub.key, None).archive(ids, tmp_path / "a.zip")
    again = hub.store(f"{top}/x", b"3")  # two versions of a name are told apart
    dsx("download", other["id"], again["id"], "--zip", "-o", "good.zip")
    assert len(zipfile.ZipFile(tmp_path / "good.zip").namelist()) == 2


def test_d7_what_a_terminal_would_obey_is_shown(
    dsx: Commands, hub: RunningHub, top: str, tmp_path: Path
) -> None:
    """Wherever text is printed; JSON has names as they are."""
    name = f"{top}/{BIDI}"
    hub.store(name, b"x")
    (hub.dataset_path / top).mkdir()
    (hub.dataset_path / top / "a\x1b[31m\nb").write_bytes(b"x")
    told = [
        dsx("list", f"{top}/*").stdout,
        dsx("download", name).stdout,
        dsx("delete", name).stdout,
        dsx("trash", "list").stdout,
        dsx("download", f"{name}x", code=3).stderr,
    ]
    for text in told:
        assert "photo\\u202egpj.exe" in text.decode()
        assert BIDI not in text.decode()
    assert "a\\x1b[31m\\nb" in dsx("manifest", top).stdout.decode()
    hub.store(name, b"y")
    (item,) = lines(dsx("list", f"{top}/*", "--json"))
    assert item["name"] == name
    seen = watch(tmp_path, ["list", f"{top}/*"], 200, SERVER_URL=hub.url, DSX_API_KEY=hub.key)
    assert "photo\\u202egpj.exe" in "\n".join(seen.end)
