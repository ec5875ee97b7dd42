"""``dsx …`` as a person or a script uses it: processes, exit codes, streams."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tests.support.commands import Commands, lines
from tests.support.faulty import faulty_server
from tests.support.hub import RunningHub, clean_environment
from tests.support.listening import silent
from tests.support.waiting import eventually

from dsx.cli.exits import code_for
from dsx.cli.main import _general_first, app
from dsx.core import errors


def test_a_file_there_and_back(dsx: Commands, tmp_path: Path) -> None:
    data = os.urandom(100_000)
    (tmp_path / "cli.bin").write_bytes(data)
    done = dsx(
        "--json", "upload", "cli.bin", "--category", "c", "--tag", "a", "--tag", "b",
        "--meta", "loss=0.5", "--meta", "note=fine",
    )  # fmt: skip
    (info,) = lines(done)
    assert info["metadata"] == {"loss": 0.5, "note": "fine"}
    assert (info["category"], info["tags"]) == ("c", ["a", "b"])
    (tmp_path / "out").mkdir()
    for ref in (info["id"], str(info["number"]), "cli.bin"):
        assert dsx("download", ref, "-o", "out").stdout.decode().strip() == "out/cli.bin"
        assert (tmp_path / "out" / "cli.bin").read_bytes() == data
        assert dsx("download", ref, "-o", "-").stdout == data
    dsx("upload", "cli.bin", "--if-absent", code=5)


def test_standard_input_and_archives(dsx: Commands, tmp_path: Path) -> None:
    dsx("upload", "-", "--name", "cli-in-1", stdin=b"one")
    dsx("upload", "-", "--name", "cli-in-2", stdin=b"two" * 100_000)
    dsx("download", "cli-in-1", "cli-in-2", "--zip", "-o", "both.zip")
    with zipfile.ZipFile(tmp_path / "both.zip") as archive:
        assert archive.read("cli-in-2") == b"two" * 100_000
    piped = dsx("download", "cli-in-1", "cli-in-2", "--zip", "-o", "-").stdout
    assert piped == (tmp_path / "both.zip").read_bytes()
    assert dsx("download", "cli-in-1", "cli-in-2", "-o", "-").stdout == b"one" + b"two" * 100_000
    dsx("upload", "-", code=2)
    dsx("upload", "a", "b", "--name", "c", code=2)


def test_listing(dsx: Commands) -> None:
    for number in range(3):
        dsx("upload", "-", "--name", f"cli-list-{number}", "--tag", "cli-list", stdin=b"x")
    plain = dsx("list", "cli-list-*", "--sort", "name").stdout.decode()
    assert plain.split() == ["cli-list-0", "cli-list-1", "cli-list-2"]
    assert plain == dsx("ls", "cli-list-*", "--sort", "name").stdout.decode()
    assert len(lines(dsx("list", "--tag", "cli-list", "--limit", "2", "--json"))) == 2
    long = dsx("list", "--regex", "^cli-list-1$", "--long").stdout.decode()
    assert "1 B" in long
    assert long.count("\n") == 1
    assert dsx("list", "no-such-*").stdout == b""


def test_trash(dsx: Commands) -> None:
    (info,) = lines(dsx("upload", "-", "--name", "cli-trash", "--json", stdin=b"x"))
    assert b"dsx trash restore" in dsx("delete", "cli-trash").stdout
    dsx("download", "cli-trash", code=3)
    assert info["id"] in [item["id"] for item in lines(dsx("trash", "list", "--json"))]
    dsx("trash", "restore", str(info["number"]))
    dsx("rm", info["id"])
    dsx("trash", "purge", info["id"])
    dsx("trash", "restore", info["id"], code=3)


def test_datasets(dsx: Commands, hub: RunningHub, tmp_path: Path) -> None:
    root = hub.dataset_path / "cli-set"
    (root / "train").mkdir(parents=True)
    for number in range(5):
        (root / "train" / f"{number}.txt").write_text(f"{number}")
    (root / "labels.csv").write_text("x")
    assert b"cli-set" in dsx("datasets").stdout
    assert len(lines(dsx("manifest", "cli-set", "--json"))) == 6
    (summary,) = lines(dsx("fetch", "cli-set", "train/[01]*", "labels.csv", "--json"))
    assert (summary["files"], summary["size"]) == (3, 3)
    assert (tmp_path / "cache/cli-set/train/1.txt").read_text() == "1"
    assert not (tmp_path / "cache/cli-set/train/2.txt").exists()
    dsx("fetch", "cli-set", "--to", "elsewhere")
    assert len(list((tmp_path / "elsewhere/cli-set").rglob("*.txt"))) == 5
    (size,) = lines(dsx("cache", "size", "--json"))
    (freed,) = lines(dsx("cache", "clear", "--json"))
    assert size["bytes"] == freed["freed"] > 0
    assert b"no-such" in dsx("fetch", "cli-set", "no-such*", code=3).stderr
    assert b"DSX_DATASET_PATH" in dsx("manifest", "no-such", code=3).stderr


def test_d4_wrong_bytes_in_the_cache_are_found(
    dsx: Commands, hub: RunningHub, tmp_path: Path
) -> None:
    directory = hub.dataset_path / "cli-verify"
    directory.mkdir()
    (directory / "a").write_bytes(b"alpha")
    dsx("fetch", "cli-verify")
    copy = tmp_path / "cache" / "cli-verify" / "a"

    def rot() -> None:
        times = copy.stat()
        copy.write_bytes(b"alphA")
        os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))

    rot()
    assert b"1 damaged and fetched again" in dsx("fetch", "cli-verify", "--verify").stdout
    assert copy.read_bytes() == b"alpha"
    rot()
    (told,) = lines(dsx("cache", "verify", "cli-verify", "--json"))
    assert told == {"files": 1, "wrong": ["cli-verify/a"], "lost": []}
    assert copy.read_bytes() == b"alpha"
    assert dsx("cache", "verify").stdout.decode() == "1 files checked, 0 damaged\n"
    rot()
    away = dsx("cache", "verify", "--server", "http://127.0.0.1:9", code=6)
    assert b"could not be fetched again" in away.stderr


def test_m17_fetch_mirrors_and_says_when_it_could_not_ask(
    dsx: Commands, hub: RunningHub, tmp_path: Path
) -> None:
    """And `dsx datasets` lists what a dataset leaves out."""
    root = hub.dataset_path / "cli-mirror"
    root.mkdir()
    for name in ("a", "b", "c"):
        (root / name).write_text(name)
    (root / "out").symlink_to("../../elsewhere")
    dsx("fetch", "cli-mirror")
    told = dsx("datasets").stderr.decode()
    assert "cli-mirror leaves out 1 (broken link): out" in told
    (root / "a").unlink()

    def fetched() -> dict[str, Any]:
        (summary,) = lines(dsx("fetch", "cli-mirror", "--keep", "--json"))
        return summary

    summary = eventually(lambda: (now := fetched())["files"] == 2 and now)  # it is seen soon
    assert (summary["files"], summary["removed"]) == (2, 0)
    assert (tmp_path / "cache/cli-mirror/a").exists()
    told = dsx("fetch", "cli-mirror").stdout.decode()
    assert "2 files" in told
    assert "1 removed" in told
    assert not (tmp_path / "cache/cli-mirror/a").exists()
    away = dsx("fetch", "cli-mirror", "--server", "http://127.0.0.1:9")
    assert b"2 files" in away.stdout
    assert b"Using cached data, which may be out of date" in away.stderr


def test_failures_say_what_to_do(bare: Commands, dsx: Commands, hub: RunningHub) -> None:
    denied = bare.run("list", SERVER_URL=hub.url, DSX_API_KEY="wrong")
    assert denied.returncode == 4
    assert b"DSX_API_KEY" in denied.stderr
    assert bare.run("list", SERVER_URL=hub.url).returncode == 4
    down = bare.run("upload", "-", "--name", "x", stdin=b"x", SERVER_URL="http://127.0.0.1:9")
    assert down.returncode == 7
    assert b"is the server running" in down.stderr
    assert b"Traceback" not in down.stderr
    debug = bare.run("list", SERVER_URL=hub.url, DSX_API_KEY="wrong", DSX_DEBUG="1")
    assert b"Traceback" in debug.stderr
    assert b"none.bin" in dsx("upload", "none.bin", code=3).stderr
    dsx("list", "--created-from", "yesterday", code=2)
    dsx("no-such-command", code=2)
    dsx("upload", "-", "--name", "x", "--meta", "novalue", code=2)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.DSXError, 1),
        (errors.Invalid, 2),
        (errors.NotFound, 3),
        (errors.Gone, 3),
        (errors.Unauthenticated, 4),
        (errors.Denied, 4),
        (errors.AlreadyExists, 5),
        (errors.OffsetMismatch, 5),
        (errors.PreconditionFailed, 5),
        (errors.DigestMismatch, 6),
        (errors.Unavailable, 7),
        (errors.RateLimited, 7),
        (errors.TooLarge, 8),
        (errors.StorageFull, 8),
    ],
)
def test_exit_codes(kind: type[errors.DSXError], code: int) -> None:
    assert code_for(kind("")) == code


def test_exit_codes_of_the_system_and_in_the_help(bare: Commands) -> None:
    assert code_for(OSError(28, "No space left on device")) == 8
    assert code_for(FileNotFoundError()) == 3
    told = " ".join(bare.run("--help").stdout.decode().split())
    for part in ("0 done", "3 not found", "7 server unreachable", "130 interrupted"):
        assert part in told


def test_wrong_bytes_exit_with_6(bare: Commands) -> None:
    with faulty_server() as server:
        server.faults.corruptions = 9
        done = bare.run("upload", "-", "--name", "x", stdin=b"x", SERVER_URL=server.url)
    assert done.returncode == 6


def every_command() -> list[str]:
    import typer  # noqa: PLC0415

    found = []
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        children = getattr(command, "commands", {})
        found += [f"{name} {child}" for child in children] or [name]
    return found


@pytest.mark.parametrize("command", every_command())
def test_every_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    from dsx.cli.main import main  # noqa: PLC0415

    assert main([*command.split(), "--help"]) == 0
    told = capsys.readouterr().out
    assert "Examples:" in told
    assert "dsx " in told.split("Examples:")[1]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["list", "--json"], ["--json", "list"]),
        (["list", "--server", "u", "x"], ["--server", "u", "list", "x"]),
        (["list", "--server=u"], ["--server=u", "list"]),
        (["upload", "--", "--json"], ["upload", "--", "--json"]),
        (["list", "--server"], ["--server", "list"]),
    ],
)
def test_general_options_may_stand_anywhere(given: list[str], wanted: list[str]) -> None:
    assert _general_first(given) == wanted


def test_where_settings_come_from(bare: Commands, tmp_path: Path) -> None:
    def settings(*arguments: str, **variables: str) -> dict[str, tuple[str, str]]:
        done = bare.run("config", "--json", *arguments, **variables)
        assert done.returncode == 0, done.stderr
        assert b"secret" not in done.stdout
        return {row["setting"]: (row["value"], row["origin"]) for row in lines(done)}

    assert settings()["server"] == ("http://127.0.0.1:8000", "default")
    assert settings()["api_key"] == (None, "not set")
    (tmp_path / "dsx-data").mkdir()
    (tmp_path / "dsx-data" / "admin.key").write_text("secret\n")
    assert "admin.key" in settings()["api_key"][1]
    assert settings(SERVER_URL="http://other")["api_key"] == (None, "not set")
    (tmp_path / ".env").write_text("# x\nSERVER_URL='http://dotenv'\nAUTH_TOKEN=secret # c\n")
    assert settings()["server"] == ("http://dotenv", ".env (SERVER_URL)")
    assert settings()["api_key"][1] == ".env (AUTH_TOKEN)"
    found = settings(SERVER_URL="http://env", DSX_API_KEY="secret")
    assert found["server"] == ("http://env", "environment (SERVER_URL)")
    config = tmp_path / "config.toml"
    config.write_text('[profiles.lab]\nserver = "http://lab"\napi_key = "secret"\n')
    found = settings("--profile", "lab", DSX_CONFIG=str(config), SERVER_URL="http://env")
    assert found["server"] == ("http://lab", "profile lab")
    assert settings("--server", "http://flag", SERVER_URL="http://env")["server"] == (
        "http://flag",
        "flag",
    )
    unknown = bare.run("--profile", "none", "list", DSX_CONFIG=str(config))
    assert unknown.returncode == 3
    assert b"lab" in unknown.stderr


def test_an_interrupt_exits_with_130(tmp_path: Path) -> None:
    with faulty_server() as server:
        server.faults.refusals, server.faults.retry_after = 9, "30"
        process = subprocess.Popen(
            [sys.executable, "-m", "dsx", "list"],
            env=clean_environment(SERVER_URL=server.url, DSX_API_KEY="k"),
            cwd=tmp_path,
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + 20
        while not server.requests and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(2)
        _, told = process.communicate(timeout=10)
    assert process.returncode == 130
    assert b"Traceback" not in told


def test_progress_shows_on_a_terminal_only(dsx: Commands, hub: RunningHub, tmp_path: Path) -> None:
    assert dsx("upload", "-", "--name", "cli-bar", stdin=b"x" * 300_000_000).stderr == b""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "dsx", "download", "cli-bar"],
        env=clean_environment(SERVER_URL=hub.url, DSX_API_KEY=hub.key, COLUMNS="120"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=follower,
    )
    os.close(follower)
    shown = b""
    with contextlib.suppress(OSError):  # how a pseudo-terminal says that it was closed
        while part := os.read(leader, 65536):
            shown += part
    os.close(leader)
    printed, _ = process.communicate(timeout=20)
    assert (process.returncode, printed) == (0, b"cli-bar\n")
    assert b"cli-bar" in shown
    assert re.search(rb"\d (bytes|.?i?B)/s", shown)
    assert re.search(rb"\d:\d\d:\d\d", shown)


def test_completion_is_offered(bare: Commands) -> None:
    done = bare.run(_DSX_COMPLETE="complete_bash", COMP_WORDS="dsx dat", COMP_CWORD="1")
    assert done.stdout.split() == [b"datasets"]


def test_tar_through_a_pipe(dsx: Commands, tmp_path: Path) -> None:
    """The example of `dsx upload --help`."""
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        archive.add(__file__, "test.py")
    dsx("upload", "-", "--name", "cli-photos.tar", stdin=(tmp_path / "photos.tar").read_bytes())
    (tmp_path / "back.tar").write_bytes(dsx("download", "cli-photos.tar", "-o", "-").stdout)
    with tarfile.open(tmp_path / "back.tar") as archive:
        assert archive.getnames() == ["test.py"]


def test_addresses_that_cannot_be_right(bare: Commands, hub: RunningHub) -> None:
    """Issue 9, section 4: clear sentences, at once, without the key."""
    secure = hub.url.replace("http:", "https:")
    for url, wanted, code in (
        (hub.url.removeprefix("http://"), "http://", 2),
        (secure, f"use {hub.url}.", 7),
        (hub.url.replace("//", "//me:secret@"), "password", 2),
    ):
        done = bare.run("list", SERVER_URL=url, DSX_API_KEY="secret")
        told = done.stderr.decode()
        assert (done.returncode, told.count("\n")) == (code, 1), told
        assert wanted in told
        assert "secret" not in told
    wrong = bare.run("list", SERVER_URL=hub.url, DSX_API_KEY="secret", DSX_CA_FILE="none.pem")
    assert (wrong.returncode, b"none.pem" in wrong.stderr) == (2, True)


def test_a_command_says_that_it_is_waiting(bare: Commands) -> None:
    with silent() as url:
        process = bare.start("list", SERVER_URL=url, DSX_API_KEY="k")
        assert process.stderr is not None
        told = process.stderr.readline().decode()
        process.kill()
        process.communicate()
    assert told == f"dsx: {url} has not answered yet. Still trying.\n"
