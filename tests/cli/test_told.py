"""What commands say of failures and of what comes next: one sentence that helps."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from tests.support.commands import Commands, lines
from tests.support.hub import PASSWORD, RunningHub

from dsx.cli import scrub
from dsx.cli.exits import told
from dsx.client import errors
from dsx.client.scrub import ScrubInfo


def test_whoever_is_not_signed_in_is_told_how(hub: RunningHub, bare: Commands) -> None:
    """#30: and a wrong password is no API key."""
    there = ("--server", hub.url)
    assert b"`dsx login`" in bare("list", *there, code=4).stderr
    name = f"u{uuid.uuid4().hex[:12]}"
    hub.user(name)
    wrong = bare("login", name, *there, stdin=b"wrong\n", code=4).stderr
    assert b"password" in wrong
    assert b"API" not in wrong
    assert b"signed in" in bare("login", name, *there, stdin=PASSWORD.encode()).stdout


def test_where_there_is_no_hub(dsx: Commands) -> None:
    """#34"""
    there = dsx.variables["SERVER_URL"]
    told_ = dsx("list", "--server", f"{there}/foo", code=3).stderr.decode()
    assert f"There is no hub at {there}/foo" in told_
    told_ = dsx("list", "--server", "http://no-such-host.invalid", code=7).stderr.decode()
    assert "unknown host no-such-host.invalid" in told_


def test_failures_in_json_are_json(dsx: Commands) -> None:
    """#38: on standard error, as one object."""
    done = dsx("--json", "download", "not-there", code=3)
    failure = json.loads(done.stderr)
    assert (failure["kind"], failure["code"]) == ("not_found", 3)
    assert "not-there" in failure["error"]
    assert done.stdout == b""


def test_a_line_of_a_table_is_a_line(hub: RunningHub, dsx: Commands) -> None:
    """#38: names of datasets' files may have line ends."""
    top = hub.dataset_path / f"lines-{uuid.uuid4().hex[:8]}"
    top.mkdir()
    (top / "a\nb\x1bc é").write_bytes(b"x")
    done = dsx("manifest", top.name).stdout.decode()
    assert done.endswith("a\\nb\\x1bc é\n")
    assert done.count("\n") == 1
    assert lines(dsx("manifest", top.name, "--json"))[0]["path"] == "a\nb\x1bc é"
    assert "left out" not in dsx("datasets").stdout.decode().split(top.name)[1].split("\n")[0]


def test_globs_are_deleted_after_a_question(hub: RunningHub, dsx: Commands) -> None:
    """#39: as `dsx list` takes them; and what is in the trash has a name."""
    top = uuid.uuid4().hex
    for name in ("a1", "a2", "b"):
        hub.store(f"{top}/{name}", name.encode())
    refused = dsx("delete", f"{top}/a*", code=2).stderr.decode()
    assert f"{top}/a1" in refused
    assert "--yes" in refused
    assert b"No file matches" in dsx("delete", f"{top}/c*", code=3).stderr
    dsx("delete", f"{top}/a*", "--yes")
    dsx("delete", f"{top}/*")  # one file, as if it was named
    assert lines(dsx("list", f"{top}/*", "--json")) == []
    assert b"permanently deleted" in dsx("trash", "purge", f"{top}/a1").stdout
    assert b"in the trash" in dsx("trash", "purge", f"{top}/a1", code=3).stderr
    hub.store(f"{top}/b", b"again")
    dsx("delete", f"{top}/b")
    assert b"more than once" in dsx("trash", "purge", f"{top}/b", code=2).stderr


def test_shares_of_what_is_not_there(hub: RunningHub, dsx: Commands) -> None:
    """#36"""
    assert b"no dataset 'nix'" in dsx("share", "--dataset", "nix", code=3).stderr
    name = uuid.uuid4().hex
    hub.store(name, b"x")
    url = lines(dsx("share", name, "--json"))[0]["url"]
    id_ = lines(dsx("shares", "list", "--json"))[-1]["id"]
    assert url
    dsx("delete", name)
    (line,) = [line for line in dsx("shares", "list").stdout.decode().splitlines() if name in line]
    assert "deleted" in line
    dsx("trash", "purge", name)
    shares = lines(dsx("shares", "list", "--json"))
    assert [share["there"] for share in shares if share["id"] == id_] == [False]


def test_what_is_used_of_the_quota(hub: RunningHub, dsx: Commands, tmp_path: Path) -> None:
    """#28, #26: in sizes for people."""
    name = f"u{uuid.uuid4().hex[:12]}"
    hers = dsx.variables | {"DSX_API_KEY": hub.user(name).key}
    dsx("users", "set", name, "--quota", "2MiB")
    (tmp_path / "x").write_bytes(bytes(1_500_000))
    user = Commands(tmp_path, hers)
    user("upload", "x")
    assert "uses 1.4 MiB of 2.0 MiB" in user("whoami").stdout.decode()
    over = user("upload", "x", "--name", "y", code=8).stderr.decode()
    assert "1.4 MiB of 2.0 MiB are used" in over
    assert "dsx trash empty" in over


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.StorageFull("no", {"needed": 5 << 30}), "no room for 5.0 GiB: `dsx delete`"),
        (errors.StorageFull("The disk is full."), "The disk is full."),
        (
            errors.TooLarge("no", {"limit": 1 << 20, "max_file_size": 1 << 20}),
            "accepts is 1.0 MiB",
        ),
        (errors.TooLarge("Other."), "Other."),
    ],
)
def test_what_there_is_no_room_for(error: Exception, text: str) -> None:
    """#26, #27"""
    assert text in told(error)


@pytest.mark.parametrize(("left", "text"), [(0, "2 of them"), (1, "1 of them"), (2, "2 damaged")])
def test_what_a_check_found_may_be_healed(left: int, text: str) -> None:
    """#24"""
    cycle = {"begun": 0, "ended": 1, "checked": 9, "checked_bytes": 9, "found": 2}
    kind = {
        "name": "blobs", "running": False, "requested": False, "total": 9, "total_bytes": 9,
        "cycle": None, "last": cycle,
    }  # fmt: skip
    status = {"days": 30, "rate": None, "damaged": left, "kinds": [kind]}
    last = scrub._lines(ScrubInfo.read(status), now=False)[-1]
    assert text in last
    assert ("repaired" in last) == (left < 2)
