"""M16: ``dsx download`` of several files: trees keep their paths, and none overwrites another."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import unicodedata
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.support.commands import Commands
from tests.support.corrupting import Proxy
from tests.support.hub import PASSWORD, RunningHub

from dsx import DatasetHubClient
from dsx.client import destinations, errors


@pytest.fixture
def client(hub: RunningHub) -> DatasetHubClient:
    return DatasetHubClient(hub.url, hub.key, None)


@pytest.fixture
def top() -> str:
    return f"down-{uuid.uuid4().hex}"


def fetched(proxy: Proxy) -> list[str]:
    """Contents that were asked for."""
    return [line for line, _ in proxy.faults.asked if line.endswith("/content")]


def below(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_m16_trees_keep_their_paths(
    dsx: Commands, client: DatasetHubClient, top: str, tmp_path: Path
) -> None:
    names = [f"{top}/a/config.json", f"{top}/b/config.json"]
    for name in names:
        client.upload(name.encode(), name)
    done = dsx("download", *names, "-o", "dir/")
    contents = {name: name.encode() for name in names}
    assert below(tmp_path / "dir") == contents
    assert done.stdout.decode().split() == [f"dir/{name}" for name in names]
    (tmp_path / "again").mkdir()
    dsx("download", *names, names[0], "-o", "again")  # the same one twice is no clash
    assert below(tmp_path / "again") == contents
    paths = client.download_files(names, tmp_path / "sdk")
    assert paths == [tmp_path / "sdk" / name for name in names]
    assert below(tmp_path / "sdk") == contents


def test_m16_a_target_that_ends_with_a_slash_is_a_directory(
    dsx: Commands, client: DatasetHubClient, top: str, tmp_path: Path
) -> None:
    client.upload(b"x", f"{top}/config.json")
    dsx("download", f"{top}/config.json", "-o", "dir/")
    assert below(tmp_path / "dir") == {"config.json": b"x"}
    assert client.download(f"{top}/config.json", f"{tmp_path}/sdk/").parent == tmp_path / "sdk"


def test_m16_a_clash_is_refused_before_anything_is_fetched(
    through: Commands, proxy: Proxy, client: DatasetHubClient, top: str, tmp_path: Path
) -> None:
    """Two versions of a name; a file where another one needs a directory; what is there."""
    first, second = client.upload(b"1", f"{top}/x"), client.upload(b"2", f"{top}/x")
    inner = client.upload(b"3", f"{top}/x/inside")
    free = client.upload(b"4", f"{top}/free")
    for clash in ([first, second], [second, inner], [inner, second]):
        refs = [str(info.number) for info in [free, *clash]]
        told = through("download", *refs, "-o", "dir", code=5).stderr.decode()
        assert "nothing was downloaded" in told
        assert str(clash[0].number) in told
        assert not (tmp_path / "dir").exists()
    (tmp_path / "dir" / top / "x").mkdir(parents=True)
    through("download", free.name, second.name, "-o", "dir", code=5)
    (tmp_path / "dir" / top / "x").rmdir()
    (tmp_path / "dir" / top / "x").write_bytes(b"mine")
    through("download", free.name, inner.name, "-o", "dir", code=5)
    (tmp_path / "file").write_bytes(b"mine")
    through("download", free.name, inner.name, "-o", "file", code=5)
    assert fetched(proxy) == []
    assert below(tmp_path / "dir") == {f"{top}/x": b"mine"}


@pytest.mark.parametrize(
    ("one", "other"),
    [("Read.me", "READ.ME"), ("D/a", "d/A"), ("\u00e9", "e\u0301"), ("d", "D/a")],
)
def test_m16_names_that_only_some_file_systems_tell_apart(
    client: DatasetHubClient,
    top: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    one: str,
    other: str,
) -> None:
    infos = [client.upload(name.encode(), f"{top}-{name}") for name in (one, other)]
    paths = client.download_files(infos, tmp_path / "here")
    assert [path.read_bytes() for path in paths] == [one.encode(), other.encode()]
    monkeypatch.setattr(destinations, "comparison", lambda _: destinations._folded)
    with pytest.raises(errors.Conflict, match="conflicting paths"):
        client.download_files(infos, tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_m16_what_a_file_system_compares_is_tried_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert destinations.comparison(tmp_path / "not" / "yet")("A\u00e9") == "A\u00e9"
    assert list(tmp_path.iterdir()) == []
    real = Path.exists

    def careless(path: Path) -> bool:
        """As file systems of macOS look for names."""
        wanted = unicodedata.normalize("NFC", path.name).casefold()
        return real(path) or any(
            unicodedata.normalize("NFC", entry.name).casefold() == wanted
            for entry in path.parent.iterdir()
        )

    monkeypatch.setattr(Path, "exists", careless)
    same = destinations.comparison(tmp_path)
    assert same("A\u00e9") == same("ae\u0301")


def into(path: Path, command: Callable[[], object]) -> bytes:
    """What *command* writes into the pipe at *path*."""
    with (
        tempfile.TemporaryFile() as taken,
        subprocess.Popen(["cat", path], stdout=taken) as reader,
    ):
        command()
        reader.wait(30)
        taken.seek(0)
        return taken.read()


def test_a_pipe_is_written_into_and_stays(
    dsx: Commands, client: DatasetHubClient, top: str, tmp_path: Path
) -> None:
    """#2: as with -o -; a regular file must never take the place of something else."""
    info = client.upload(b"abc" * 100_000, f"{top}/x")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    for name in ("pipe", "link"):
        assert into(pipe, partial(dsx, "download", info.name, "-o", name)) == b"abc" * 100_000
    task = client.tasks.create_download([info])
    for download in (
        lambda: dsx("download", info.name, "--zip", "-o", "pipe"),
        lambda: client.tasks.download(task, pipe),
    ):
        assert into(pipe, download).startswith(b"PK")
    tree = tmp_path / "tree" / top
    tree.mkdir(parents=True)
    os.mkfifo(tree / "x")
    assert into(tree / "x", lambda: client.download_files([info], tmp_path / "tree"))
    assert pipe.is_fifo()
    assert (tree / "x").is_fifo()
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_is_written_into_and_stays(
    hub: RunningHub, dsx: Commands, client: DatasetHubClient, top: str, tmp_path: Path
) -> None:
    info = client.upload(b"abc", f"{top}/x")
    for name, minor, code in (("null", 3, 0), ("full", 7, 8)):
        os.mknod(tmp_path / name, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        for more in ((), ("--zip",)):
            done = dsx("download", info.name, *more, "-o", name, code=code)
            assert (f"dsx: {name}: No space left" in done.stderr.decode()) == bool(code)
        assert (tmp_path / name).is_char_device()
    user = {"SERVER_URL": hub.url, "DSX_API_KEY": "", "DSX_CONFIG": "null"}
    hub.user(top)
    told = dsx("login", top, stdin=PASSWORD.encode(), code=2, **user).stderr.decode()
    assert "not a regular file" in told
    assert (tmp_path / "null").is_char_device()


def test_a_link_is_followed(
    dsx: Commands, client: DatasetHubClient, top: str, tmp_path: Path
) -> None:
    """#2: what it leads to is replaced, whole, and made if it is not there."""
    info = client.upload(b"abc", f"{top}/x")
    real = tmp_path / "real"
    real.mkdir()
    (real / "there").write_bytes(b"old")
    for name in ("there", "new"):
        (tmp_path / name).symlink_to(Path("real", name))
        dsx("download", info.name, "-o", name)
        assert (tmp_path / name).is_symlink()
        assert (real / name).read_bytes() == b"abc"
        dsx("download", info.name, "--zip", "-o", name)
        assert (real / name).read_bytes().startswith(b"PK")
    assert sorted(path.name for path in real.iterdir()) == ["new", "there"]


def test_a_descriptor_is_written_to_where_it_stands(
    dsx: Commands, client: DatasetHubClient, top: str, tmp_path: Path
) -> None:
    info = client.upload(b"abc", f"{top}/x")
    with (tmp_path / "log").open("wb", buffering=0) as log:
        log.write(b"before ")
        command = f"exec {sys.executable} -m dsx download {info.name} -o /dev/stdout"
        subprocess.run(
            command, shell=True, check=True, stdout=log, cwd=tmp_path, env=dsx._environment({})
        )
    assert (tmp_path / "log").read_bytes() == b"before abc/dev/stdout\n"
