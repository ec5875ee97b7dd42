"""S2.26: secrets come from outside, and change while the server runs, signing nobody out."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from tests.support.commands import Commands
from tests.support.hub import KEY, PASSWORD, RunningHub, clean_environment, running_hub

from dsx import config

pytestmark = pytest.mark.ledger("S2.26")
SOURCE = Path(__file__).resolve().parents[2] / "src"
GRACE = 2
HARD_CODED = re.compile(
    r"""(?ix) (secret|password|passwd|api_?key|token|salt|private_?key) \w*
    \s* (?: : \s* [\w\[\] |]+ )? = \s* [rbf]? ["'] (?P<value> [^"']{8,}) ["']"""
)
PUBLIC = {"secret.key", "{API}/tokens"}
SIGN = """
import asyncio, sys
from dsx.app import open_hub
from dsx.config import Settings
from dsx.catalog import users

async def main():
    async with open_hub(Settings()) as hub:
        user = await hub.catalog.read(lambda connection: users.find(connection, sys.argv[1]))
        print(await hub.accounts.issue_jwt(user))

asyncio.run(main())
"""


def signed(hub: RunningHub, user: str, **variables: str) -> str:
    """A signed token, made by another process on the same data."""
    settings = {"DSX_DATA_DIR": str(hub.data_dir), "DSX_API_KEY": KEY} | variables
    command = [sys.executable, "-c", SIGN, user]
    made = subprocess.check_output(command, env=clean_environment(**settings), text=True)
    return made.strip()


def status(hub: RunningHub, token: str) -> int:
    shown = {"Authorization": f"JWT {token}"}
    return requests.get(f"{hub.url}/api/v1/account", headers=shown, timeout=10).status_code


def sealed_keys(hub: RunningHub) -> list[str]:
    catalog = sqlite3.connect(hub.data_dir / "catalog.db")
    try:
        return [row[0] for row in catalog.execute("SELECT sealed FROM signing_keys")]
    finally:
        catalog.close()


def test_rotation_while_the_server_runs(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        alice = hub.user("alice")
        who = {"username": "alice", "password": PASSWORD}
        browser = requests.Session()
        assert browser.post(f"{hub.url}/api/v1/session", json=who, timeout=10).ok
        old = signed(hub, "alice")
        assert status(hub, old) == 200

        dsx = Commands(tmp_path, {"DSX_DATA_DIR": str(hub.data_dir), "DSX_API_KEY": KEY})
        begun = time.monotonic()
        told = json.loads(dsx("--json", "secrets", "rotate", "--grace", str(GRACE)).stdout)
        rotated = time.monotonic()
        assert told["grace"] == GRACE
        new = signed(hub, "alice")
        assert status(hub, new) == 200  # at once, though this server had read the keys before
        if time.monotonic() < begun + GRACE:
            assert status(hub, old) == 200
        time.sleep(max(0.0, rotated + GRACE + 0.1 - time.monotonic()))
        assert status(hub, old) == 401
        assert status(hub, new) == 200

        assert alice.get("/api/v1/account").json()["username"] == "alice"
        assert hub.get("/api/v1/account").json()["username"] == "admin"
        assert browser.get(f"{hub.url}/api/v1/account", timeout=10).json()["username"] == "alice"
        assert requests.get(
            f"{hub.url}/api/v1/account", auth=("alice", PASSWORD), timeout=10
        ).ok  # fmt: skip


def test_within_the_grace_the_old_and_the_new_count(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_WORKERS="2") as hub:
        hub.user("alice")
        old = signed(hub, "alice")
        assert {status(hub, old) for _ in range(10)} == {200}  # every worker has read the keys
        dsx = Commands(tmp_path, {"DSX_DATA_DIR": str(hub.data_dir)})
        dsx("secrets", "rotate", "--grace", "60")
        new = signed(hub, "alice")
        assert {status(hub, token) for token in (new, old) for _ in range(10)} == {200}
        dsx("secrets", "rotate", "--grace", "0")
        time.sleep(1.1)  # for so long a server may not have heard of it
        assert {status(hub, token) for token in (new, old) for _ in range(10)} == {401}
        assert status(hub, signed(hub, "alice")) == 200


def test_the_secret_is_in_a_file_that_only_the_server_reads(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        hub.user("alice")
        token = signed(hub, "alice")
        secret = hub.data_dir / "secret.key"
        assert secret.stat().st_mode & 0o777 == 0o600
        (sealed,) = sealed_keys(hub)
        assert sealed.startswith("gAAAA")  # Fernet: AES-CBC and HMAC
        assert secret.read_text().strip() not in sealed
        everything = (hub.data_dir / "catalog.db").read_bytes()
        assert secret.read_bytes().strip() not in everything
        assert token.encode() not in everything


_named_files = pytest.mark.skipif(
    not hasattr(config, "NamedFiles"), reason="DSX_X_FILE is not served by this version"
)


@pytest.mark.parametrize("where", ["variable", pytest.param("file", marks=_named_files)])
def test_the_secret_comes_from_outside(tmp_path: Path, where: str) -> None:
    first, second = "a long secret of the operator's", "another secret of the operator's"
    if where == "file":
        kept = tmp_path / "secret"
        kept.write_text(first + "\n")
        kept.chmod(0o600)
        variables = {"DSX_SECRET_KEY_FILE": str(kept)}
    else:
        variables = {"DSX_SECRET_KEY": first}
    with running_hub(tmp_path, **variables) as hub:
        hub.user("alice")
        token = signed(hub, "alice", **variables)
        assert status(hub, token) == 200
        assert not (hub.data_dir / "secret.key").exists()
        assert first not in hub.log.read_text()
    # a new one, the old one still known: what is there opens
    with running_hub(tmp_path, DSX_SECRET_KEY=f"{second},{first}") as hub:
        assert status(hub, token) == 200
        dsx = Commands(tmp_path, {"DSX_DATA_DIR": str(hub.data_dir)})
        # rotating with a secret that the server does not have would shut everybody out
        refused = dsx("secrets", "rotate", code=7, DSX_SECRET_KEY="mistyped, perhaps")
        assert b"DSX_SECRET_KEY" in refused.stderr
        assert len(sealed_keys(hub)) == 1
        dsx("secrets", "rotate", DSX_SECRET_KEY=f"{second},{first}")
        new = signed(hub, "alice", DSX_SECRET_KEY=f"{second},{first}")
        assert (status(hub, token), status(hub, new)) == (200, 200)


def test_a_lost_secret_ends_signed_tokens_only(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_SECRET_KEY="lost by the operator") as hub:
        alice = hub.user("alice")
        token = signed(hub, "alice", DSX_SECRET_KEY="lost by the operator")
    found = {"DSX_SECRET_KEY": "made up afterwards"}
    dsx = Commands(tmp_path, {"DSX_DATA_DIR": str(hub.data_dir)} | found)
    assert b"--grace 0" in dsx("secrets", "rotate", code=7).stderr
    dsx("secrets", "rotate", "--grace", "0")
    with running_hub(tmp_path, **found) as hub:
        assert status(hub, token) == 401
        assert status(hub, signed(hub, "alice", **found)) == 200
        shown = {"Authorization": f"Bearer {alice.key}"}
        assert requests.get(f"{hub.url}/api/v1/account", headers=shown, timeout=10).ok


def test_no_secret_is_in_the_source() -> None:
    assert HARD_CODED.search("SECRET_KEY = 'django-insecure-x'")
    assert HARD_CODED.search('api_key: str = "test-key-1"')
    found = [
        f"{path.relative_to(SOURCE)}: {match[0]}"
        for path in SOURCE.rglob("*.py")
        for match in HARD_CODED.finditer(path.read_text())
        if match["value"] not in PUBLIC
    ]
    assert found == []
