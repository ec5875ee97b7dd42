"""``dsx login``, ``users``, ``tokens``, ``share``, ``audit``, ``secrets`` against a real hub."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import termios
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.support.commands import Commands, lines
from tests.support.hub import PASSWORD, RunningHub, running_hub
from tests.support.waiting import eventually

TYPED = f"{PASSWORD}\n".encode()
NEW = "battery staple"


@pytest.fixture(scope="module")
def alice(hub: RunningHub) -> RunningHub:
    return hub.user("cli-alice")


@pytest.fixture
def hers(alice: RunningHub, tmp_path: Path) -> Commands:
    """Runs `dsx` with a token of Alice's."""
    return Commands(tmp_path, {"SERVER_URL": alice.url, "DSX_API_KEY": alice.key})


def profile(bare: Commands, name: str = "default") -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(file_of(bare).read_text())["profiles"][name]
    return found


def file_of(commands: Commands) -> Path:
    return commands.directory / ".config" / "dsx" / "config.toml"


def status(hub: RunningHub, token: str) -> int:
    shown = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{hub.url}/api/v1/account", headers=shown, timeout=10).status_code


def test_sign_in_use_it_and_sign_out(hub: RunningHub, alice: RunningHub, bare: Commands) -> None:
    done = bare("login", "--server", hub.url, "cli-alice", stdin=TYPED)
    assert b"signed in" in done.stdout
    kept = profile(bare)
    assert (kept["server"], kept["user"]) == (hub.url, "cli-alice")
    assert kept["api_key"].encode() not in done.stdout + done.stderr
    assert PASSWORD not in file_of(bare).read_text()
    assert file_of(bare).stat().st_mode & 0o777 == 0o600
    assert bare("whoami").stdout.startswith(f"cli-alice on {hub.url}\n".encode())
    bare("upload", "-", "--name", "cli-signed-in", stdin=b"x")
    assert bare("list", "cli-signed-in").stdout == b"cli-signed-in\n"
    assert b"********" in bare("config").stdout
    assert kept["api_key"].encode() not in bare("config").stdout

    bare("logout")
    assert status(hub, kept["api_key"]) == 401
    assert "api_key" not in file_of(bare).read_text()
    bare("logout", code=3)


def test_signing_in_again_ends_the_token_before(
    hub: RunningHub, alice: RunningHub, bare: Commands
) -> None:
    bare("login", "--server", hub.url, "cli-alice", stdin=TYPED)
    first = profile(bare)["api_key"]
    bare("login", "cli-alice", stdin=TYPED)  # the server is known now
    assert (status(hub, first), status(hub, profile(bare)["api_key"])) == (401, 200)
    names = [token["name"] for token in lines(bare("tokens", "list", "--json"))]
    assert len([name for name in names if name.startswith("dsx on ")]) == 1
    bare("logout")


def test_the_password_is_not_shown_as_it_is_typed(
    hub: RunningHub, alice: RunningHub, bare: Commands
) -> None:
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "dsx", "login", "--server", hub.url, "cli-alice"],
        env=bare._environment({"TERM": "dumb"}),
        cwd=bare.directory,
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    )
    seen = b""
    while b"Password for cli-alice" not in seen:
        seen += os.read(terminal, 1000)
    eventually(lambda: not termios.tcgetattr(end)[3] & termios.ECHO)
    os.close(end)
    os.write(terminal, TYPED)
    with contextlib.suppress(OSError):  # how a pseudo-terminal says that it was closed
        while part := os.read(terminal, 1000):
            seen += part
    os.close(terminal)
    assert process.wait(30) == 0, seen
    assert PASSWORD.encode() not in seen
    assert profile(bare)["user"] == "cli-alice"
    bare("logout")


def test_profiles_beside_others_and_in_a_file_with_comments(
    hub: RunningHub, alice: RunningHub, bare: Commands
) -> None:
    file = file_of(bare)
    file.parent.mkdir(parents=True)
    before = '# mine\n[profiles.old]\nserver = "http://old"  # keep\n'
    file.write_text(before)
    file.chmod(0o644)
    bare("--profile", "lab", "login", "cli-alice", stdin=TYPED, code=3)  # which server?
    for _ in range(2):
        bare("--profile", "lab", "login", "--server", hub.url, "cli-alice", stdin=TYPED)
    assert file.read_text().startswith(before)
    assert file.stat().st_mode & 0o777 == 0o600
    assert bare("--profile", "lab", "whoami").stdout.startswith(b"cli-alice")
    bare("whoami", code=7)  # nothing is signed in by default, and nothing runs there
    bare("--profile", "lab", "logout")
    assert file.read_text() == before + "\n"
    bare("--profile", "a.b", "login", "--server", hub.url, "cli-alice", stdin=TYPED, code=2)


def test_a_file_of_profiles_that_only_a_person_can_change_is_left_alone(
    hub: RunningHub, alice: RunningHub, bare: Commands
) -> None:
    file = file_of(bare)
    file.parent.mkdir(parents=True)
    for text in ('profiles = { lab = { server = "x" } }\n', "[profiles\n", 'a = """\n[x]\n'):
        file.write_text(text)
        number = len(alice.get("/api/v1/tokens").json()["items"])
        bare("--profile", "lab", "login", "--server", hub.url, "cli-alice", stdin=TYPED, code=2)
        assert file.read_text() == text
        assert len(alice.get("/api/v1/tokens").json()["items"]) == number


def test_what_was_signed_in_with_is_shown_to_its_own_server_only(
    hub: RunningHub, alice: RunningHub, bare: Commands, tmp_path: Path
) -> None:
    bare("login", "--server", hub.url, "cli-alice", stdin=TYPED)
    with running_hub(tmp_path / "other", DSX_ANONYMOUS="read") as other:
        anonymous = bare("whoami", "--server", other.url).stdout
        assert anonymous.startswith(b"anonymous")
        assert bare("whoami", "--server", hub.url + "/").stdout.startswith(b"cli-alice")
        told = {"SERVER_URL": other.url, "DSX_API_KEY": other.key}
        assert bare("whoami", **told).stdout.startswith(b"admin")
    bare("whoami", DSX_API_KEY=hub.key, code=7)  # a key without a server is not for this one
    bare("logout")


def test_signing_in_fails_clearly(hub: RunningHub, alice: RunningHub, bare: Commands) -> None:
    at = ("--server", hub.url)
    assert b"password" in bare("login", *at, "cli-alice", stdin=b"wrong one\n", code=4).stderr
    bare("login", *at, "nobody-here", stdin=TYPED, code=4)
    assert b"No password" in bare("login", *at, "cli-alice", code=2).stderr
    bare("login", "--server", "http://127.0.0.1:9", "cli-alice", stdin=TYPED, code=7)
    assert not file_of(bare).exists()
    assert b"takes precedence" in bare(
        "login", *at, "cli-alice", stdin=TYPED, DSX_API_KEY=hub.key
    ).stderr  # fmt: skip
    bare("logout")


def test_signing_out_without_the_server(hub: RunningHub, alice: RunningHub, bare: Commands) -> None:
    bare("login", "--server", hub.url, "cli-alice", stdin=TYPED)
    token = profile(bare)["api_key"]
    file = file_of(bare)
    file.write_text(file.read_text().replace(hub.url, "http://127.0.0.1:9"))
    assert b"stays valid" in bare("logout", code=7).stderr
    assert profile(bare)["api_key"] == token
    bare("logout", "--forget")
    assert status(hub, token) == 200
    bare("logout", code=3)


def test_accounts(dsx: Commands, hub: RunningHub) -> None:
    (made,) = lines(dsx("--json", "users", "add", "cli-carol", stdin=TYPED))
    assert (made["username"], made["role"], "password" in made) == ("cli-carol", "member", False)
    dsx("users", "add", "cli-carol", stdin=TYPED, code=5)
    dsx("users", "add", "admin", stdin=TYPED, code=2)
    dsx("users", "add", "cli-short", stdin=b"short\n", code=2)
    (bot,) = lines(dsx("--json", "users", "add", "cli-bot", "--role", "reader", "--generate"))
    answer = requests.get(
        f"{hub.url}/api/v1/account", auth=("cli-bot", bot["password"]), timeout=10
    )
    assert answer.json()["scopes"] == ["read"]

    dsx("users", "set", "cli-carol", code=2)
    dsx("users", "set", "cli-carol", "--quota", "much", code=2)
    (set_,) = lines(
        dsx("--json", "users", "set", "cli-carol", "--quota", "20GiB", "--quota-files", "7")
    )
    assert (set_["quota_bytes"], set_["quota_files"]) == (20 << 30, 7)
    assert b"20.0 GiB, 7 files" in dsx("users", "list").stdout
    (set_,) = lines(dsx("--json", "users", "set", "cli-carol", "--quota", "default"))
    assert (set_["quota_bytes"], set_["quota_files"]) == (None, 7)
    assert b"disabled" in dsx("users", "set", "cli-carol", "--disable").stdout
    assert requests.get(
        f"{hub.url}/api/v1/account", auth=("cli-carol", PASSWORD), timeout=10
    ).status_code == 401  # fmt: skip
    dsx(
        "users",
        "set",
        "cli-carol",
        "--enable",
        "--role",
        "reader",
        "--password",
        stdin=NEW.encode(),
    )
    answer = requests.get(f"{hub.url}/api/v1/account", auth=("cli-carol", NEW), timeout=10)
    assert answer.json()["scopes"] == ["read"]
    assert len(lines(dsx("users", "list", "--json", "--limit", "1"))) == 1
    dsx("users", "set", "cli-nobody", "--disable", code=3)


def test_ones_own_password(hub: RunningHub, bare: Commands) -> None:
    dave = hub.user("cli-dave")
    at = {"SERVER_URL": dave.url, "DSX_API_KEY": dave.key}
    wrong = f"not it at all\n{NEW}\n".encode()
    bare("users", "set", "cli-dave", "--password", stdin=wrong, code=4, **at)
    bare("users", "set", "cli-dave", "--password", stdin=TYPED + NEW.encode(), **at)
    bare("login", "cli-dave", stdin=NEW.encode(), SERVER_URL=hub.url)
    bare("users", "set", "cli-dave", "--role", "admin", code=4)
    bare("users", "list", code=4)
    bare("invite", code=4)
    bare("logout")


def test_an_invitation(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_SIGNUP="invite") as hub:
        admin = Commands(tmp_path, {"SERVER_URL": hub.url, "DSX_API_KEY": hub.key})
        guest = Commands(tmp_path, {"SERVER_URL": hub.url})
        invitation = admin("invite", "--role", "reader", "--days", "1").stdout.decode().strip()
        guest("users", "add", "erin", stdin=TYPED, code=4)
        assert b"erin is reader" in guest(
            "users", "add", "erin", "--invite", invitation, stdin=TYPED
        ).stdout  # fmt: skip
        guest("users", "add", "frank", "--invite", invitation, stdin=TYPED, code=4)
        (made,) = lines(admin("invite", "--json"))
        assert made["token"].startswith("dsxi_")


def test_an_invitation_that_nobody_could_use_and_an_account_that_ends(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        admin = Commands(tmp_path, {"SERVER_URL": hub.url, "DSX_API_KEY": hub.key})
        done = admin("invite", code=5)
        assert done.stdout == b""
        assert b"DSX_SIGNUP=invite" in done.stderr
        hub.user("gone").store("left", b"x")
        hub.user("heir")
        admin("users", "delete", "gone", stdin=b"n\n", code=2)
        ended = admin("users", "delete", "gone", "--heir", "heir", "--yes").stdout
        assert b"heir has its 1 files" in ended
        assert b"gone" not in admin("users", "list").stdout


def test_tokens(hers: Commands, bare: Commands, hub: RunningHub, alice: RunningHub) -> None:
    alice.store("cli-tok-in", b"in", category="cli-tok")
    alice.store("cli-tok-out", b"out")
    limits = ("--category", "cli-tok", "--category", "other", "--prefix", "tok/", "--days", "2")
    done = hers("tokens", "create", "cli-limited", "--scope", "read", *limits)
    secret = done.stdout.decode().strip()
    assert b"dsx tokens revoke" in done.stderr
    at = {"SERVER_URL": hub.url, "DSX_API_KEY": secret}
    assert (
        b"limited to category:cli-tok, category:other, prefix:tok/" in bare("whoami", **at).stdout
    )
    assert bare("list", **at).stdout == b"cli-tok-in\n"
    bare("upload", "-", "--name", "x", "--category", "cli-tok", stdin=b"x", code=4, **at)
    bare("tokens", "create", "more", code=4, **at)
    (token,) = (t for t in lines(hers("tokens", "ls", "--json")) if t["name"] == "cli-limited")
    assert token["scopes"] == ["read"]
    assert token["expires"] is not None
    assert token["token"] is None
    shown = hers("tokens", "list").stdout.decode()
    assert "category:cli-tok" in shown
    assert "revoked" not in shown, "live ones were shown as that"
    hers("tokens", "revoke", token["id"])
    bare("whoami", code=4, **at)
    hers("tokens", "revoke", token["id"], code=3)
    hers("tokens", "create", "x", "--scope", "admin", code=4)
    hers("tokens", "create", "x", "--scope", "all", code=2)
    hers("tokens", "create", "x", "--days", "0", code=2)


def test_shares(hers: Commands, hub: RunningHub, alice: RunningHub, bare: Commands) -> None:
    bob = hub.user("cli-bob")
    his = {"SERVER_URL": hub.url, "DSX_API_KEY": bob.key}
    record = alice.store("cli-shared", b"shared", category="cli-shared")
    (made,) = lines(hers("--json", "share", "cli-shared", "--with", "cli-bob", "--days", "1"))
    assert bob.get(str(record["url"])).content == b"shared"
    assert b"cli-alice" in bare("shares", "list", "--received", **his).stdout
    shown = hers("shares", "list").stdout.decode()
    (line,) = (line for line in shown.splitlines() if made["id"] in line)
    day = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d")
    assert line.split()[1:] == ["cli-bob", day, "file:cli-shared"]
    (endless,) = lines(hers("--json", "share", "cli-shared", "--with", "cli-bob"))
    shown = hers("shares", "list").stdout.decode()
    assert "no end" in next(line for line in shown.splitlines() if endless["id"] in line)
    assert "ended" not in shown, "live ones were shown as that"
    assert b"file:cli-shared" in bare("shares", "list", "--received", **his).stdout
    hers("shares", "end", endless["id"])
    hers("shares", "end", made["id"])
    assert bob.get(str(record["url"])).status_code == 404
    hers("shares", "end", made["id"], code=3)

    done = hers(
        "share", "cli-shared", "--downloads", "1", "--password", stdin=NEW.encode()
    )  # fmt: skip
    link = done.stdout.decode().strip()
    assert requests.get(link, timeout=10).status_code == 401
    assert requests.get(link, auth=("", NEW), timeout=10).content == b"shared"
    assert requests.get(link, auth=("", NEW), timeout=10).status_code == 410
    shown = hers("shares", "list").stdout.decode()
    assert "link, used 1 of 1, password" in shown
    assert "used up" in shown
    (place,) = lines(hers("--json", "share", "--category", "cli-shared", "--with", "cli-bob"))
    assert place["place"] == {"kind": "category", "value": "cli-shared"}
    assert len(lines(hers("shares", "ls", "--json"))) == 2


def test_what_cannot_be_shared(hers: Commands, alice: RunningHub) -> None:
    alice.store("cli-mine", b"x")
    hers("share", code=2)
    hers("share", "cli-mine", "--category", "c", code=2)
    hers("share", "cli-mine", "--with", "cli-bob", "--downloads", "1", code=2)
    hers("share", "cli-mine", "--with", "cli-nobody", code=3)
    hers("share", "cli-not-there", "--with", "cli-bob", code=3)
    hers("share", "--dataset", "imagenet", code=4)


def test_the_audit_log(dsx: Commands, hers: Commands, alice: RunningHub) -> None:
    alice.store("cli-audited", b"x")
    hers("users", "list", code=4)
    mine = lines(hers("audit", "--json"))
    assert {entry["username"] for entry in mine} == {"cli-alice"}
    assert "file.create" in {entry["action"] for entry in mine}
    assert lines(dsx("audit", "--user", "cli-alice", "--json", "--limit", "3"))[0]["number"]
    assert b"cli-alice" in dsx("audit", "--user", "cli-alice").stdout
    hers("audit", "--user", "admin", code=3)
    numbers = [entry["number"] for entry in lines(dsx("audit", "--limit", "1500", "--json"))]
    assert numbers == sorted(numbers, reverse=True)
    refused = {entry["outcome"] for entry in lines(dsx("audit", "--refused", "--json"))}
    assert refused <= {"refused"}


def test_the_rotation_says_what_it_does(bare: Commands, hub: RunningHub) -> None:
    bare("secrets", "rotate", code=3)  # there is no hub here
    assert not (bare.directory / "dsx-data").exists()
    bare("secrets", "rotate", "--grace", "-1", "--data-dir", str(hub.data_dir), code=2)
    done = bare("secrets", "rotate", "--data-dir", str(hub.data_dir))
    assert b"are valid until" in done.stdout
    assert b"not affected" in done.stdout
    (told,) = lines(bare("--json", "secrets", "rotate", "--data-dir", str(hub.data_dir)))
    assert told["grace"] == 86400


EVERY = ["login", "logout", "whoami", "share", "invite", "audit"] + [
    f"{group} {command}"
    for group, commands in {
        "users": "list add set delete",
        "tokens": "create list revoke",
        "shares": "list end",
        "secrets": "rotate",
    }.items()
    for command in commands.split()
]


@pytest.mark.parametrize("command", EVERY)
def test_every_command_shows_examples(bare: Commands, command: str) -> None:
    shown = bare(*command.split(), "--help").stdout.decode()
    assert "Examples:" in shown
    assert f"dsx {command}" in shown
