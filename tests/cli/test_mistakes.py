"""Typical mistakes at the command line, and what it answers: the table is printed with ``-s``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.certificates import self_signed
from tests.support.commands import Commands
from tests.support.hub import RunningHub, running_hub
from tests.support.listening import listening, says

LEAKS = (
    "Traceback",
    "urllib3",
    "HTTPConnectionPool",
    "HTTPSConnectionPool",
    "requests.",
    "pydantic",
)

PAGE = says(200, "text/html", b"<html>It works!</html>")


@dataclass
class Mistake:
    """A command, the exit code it has, and what the answer says to do or look at."""

    what: str
    command: str
    code: int
    hint: str
    server: str = "{url}"
    key: str = "{key}"


MISTAKES = [
    Mistake("wrong key", "list", 4, "DSX_API_KEY", key="wrong"),
    Mistake("no key", "list", 4, "DSX_API_KEY", key=""),
    Mistake("no server", "list", 7, "http://127.0.0.1:9", server="http://127.0.0.1:9"),
    Mistake("unknown host", "list", 7, "hub.invalid", server="http://hub.invalid"),
    Mistake("http to a TLS server", "list", 7, "https", server="{plain}"),
    Mistake("https to a plain server", "list", 7, "http://", server="{https}"),
    Mistake("self-signed certificate", "list", 7, "DSX_CA_FILE", server="{tls}"),
    Mistake("another server", "list", 1, "SERVER_URL", server="{other}"),
    Mistake("address without scheme", "list", 2, "http", server="hub:8000"),
    Mistake("no such local file", "upload missing.bin", 3, "missing.bin"),
    Mistake("a directory without -r", "upload directory", 2, "-r"),
    Mistake("no such file", "download nothing.bin", 3, "nothing.bin"),
    Mistake("no such dataset", "fetch nothing", 3, "nothing"),
    Mistake("not in the trash", "trash restore nothing", 3, "nothing"),
    Mistake("two files into one", "download a/x.bin b/x.bin -o small.bin", 5, "small.bin"),
    Mistake("no such directory", "download a/x.bin -o no/where/x", 3, "no/where"),
    Mistake("no permission", "upload small.bin", 4, "write", key="{reader}"),
    Mistake("over the quota", "upload big.bin", 8, "dsx trash empty", key="{limited}"),
    Mistake("file too large", "upload huge.bin", 8, "largest file"),
    Mistake("unknown command", "uplaod small.bin", 2, "uplaod"),
    Mistake("unknown option", "list --sise", 2, "--sise"),
    Mistake("bad option value", "audit --limit many", 2, "integer"),
    Mistake("bad metadata", "upload small.bin --meta loss", 2, "="),
    Mistake("unknown profile", "--profile lab list", 3, "lab"),
]


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub with small limits."""
    with running_hub(tmp_path_factory.mktemp("strict"), DSX_MAX_FILE_SIZE="3000000") as hub:
        yield hub


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server with a self-signed certificate."""
    with listening(PAGE, self_signed(tmp_path_factory.mktemp("tls"))) as url:
        yield url


@pytest.fixture(scope="module")
def other() -> Iterator[str]:
    """The URL of a web server that is no hub."""
    with listening(PAGE) as url:
        yield url


@pytest.fixture(scope="module")
def names(strict: RunningHub, tls: str, other: str) -> dict[str, str]:
    """What stands for what in the table."""
    reader = strict.user("reader", "reader")
    limited = strict.user("limited")
    assert strict.request("PATCH", "/api/v1/users/limited", json={"quota_bytes": 10}).ok
    for name in ("a/x.bin", "b/x.bin"):
        strict.store(name, name.encode())
    return {
        "url": strict.url,
        "https": strict.url.replace("http:", "https:"),
        "key": strict.key,
        "reader": reader.key,
        "limited": limited.key,
        "tls": tls,
        "plain": tls.replace("https:", "http:"),
        "other": other,
    }


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    for name, size in (("small.bin", 5), ("big.bin", 1000), ("huge.bin", 3_000_001)):
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / "directory").mkdir()
    return tmp_path


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.what)
def test_a_mistake_is_answered(mistake: Mistake, names: dict[str, str], prepared: Path) -> None:
    variables = {
        "SERVER_URL": mistake.server.format(**names),
        "DSX_API_KEY": mistake.key.format(**names),
        "DSX_RETRY_SECONDS": "0",
    }
    done = Commands(prepared, variables).run(*mistake.command.split())
    answer = done.stderr.decode()
    print(f"| {mistake.what} | `dsx {mistake.command}` | {done.returncode} | {answer.strip()} |")
    assert done.returncode == mistake.code, answer
    assert mistake.hint in answer, answer
    assert not [leak for leak in LEAKS if leak in answer], answer
