"""Canaries: every kind of secret, shown in every way, turns up nowhere it could be read."""

from __future__ import annotations

import base64
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from tests.support.hub import PASSWORD, RunningHub, clean_environment, running_hub, start_hub

KEY = "canary-api-key-5fb7d1"
SECRET_KEY = "canary-secret-key-93ac0e"
OIDC = "canary-oidc-secret-77d1c2"
RIGHT = "canary right password 1f0a"
WRONG = "canary wrong password 8e4b"
LINK_PASSWORD = "canary link password 4c7d"
GARBLED = "dsx_canary-that-never-was-a-token-00000000000"
WHO = "canarian"
FORMATS = ("Bearer {}", "bearer  {}", "JWT {}", "Token {}", "{}", "Digest {}", "Bearer {} x")
HEADERS = ("X-Api-Key", "X-Auth-Token", "Proxy-Authorization", "Cookie", "Referer", "User-Agent")
PATHS = ("/api/v1/files", "/datasets", "/uploads/1", "/api/v1/account", "/nowhere", "/metrics")


@dataclass
class Told:
    """What was shown, and all that has been answered."""

    hub: RunningHub
    secrets: dict[str, str] = field(default_factory=dict)
    answers: list[tuple[str, str]] = field(default_factory=list)

    def send(self, method: str, path: str, *, keep: bool = True, **more: Any) -> requests.Response:
        more.setdefault("timeout", 20)
        more.setdefault("allow_redirects", False)
        answer = requests.request(method, self.hub.url + path, **more)
        if keep:
            said = "".join(f"{key}: {value}\n" for key, value in answer.headers.items())
            self.answers.append((f"{method} {path[:80]}", said + answer.text))
        return answer


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    hub = start_hub(
        tmp_path_factory.mktemp("canaries"),
        DSX_API_KEY=KEY,
        DSX_SECRET_KEY=SECRET_KEY,
        DSX_OIDC_ISSUER="http://127.0.0.1:9",  # where nobody answers
        DSX_OIDC_CLIENT_ID="canary",
        DSX_OIDC_CLIENT_SECRET=OIDC,
        DSX_LOG_LEVEL="debug",
        DSX_SIGNUP="invite",
    )
    told = Told(hub)
    make(told)
    show(told)
    misplace(told)
    provoke(told)
    yield told
    hub.stop()


def make(told: Told) -> None:
    """One of each, whose making tells them, this once."""
    hub, secrets = told.hub, told.secrets
    secrets |= {"key": KEY, "secret key": SECRET_KEY, "oidc": OIDC, "right": RIGHT}
    secrets |= {"wrong": WRONG, "link password": LINK_PASSWORD, "garbled": GARBLED}
    secrets["invite"] = hub.post("/api/v1/invites").json()["token"]
    spare = hub.post("/api/v1/invites")
    assert spare.headers["Cache-Control"] == "no-store"
    secrets["spare invite"] = spare.json()["token"]
    body = {"username": WHO, "password": RIGHT, "invite": secrets["invite"]}
    assert told.send("POST", "/api/v1/users", json=body).status_code == 201
    mine = {"auth": (WHO, RIGHT), "keep": False}
    scopes = {"scopes": ["read", "write", "delete"]}
    secrets["token"] = told.send("POST", "/api/v1/tokens", json=scopes, **mine).json()["token"]
    session = {"username": WHO, "password": RIGHT}
    cookies = told.send("POST", "/api/v1/session", json=session, keep=False).cookies
    secrets["session"] = cookies["dsx_session"]
    place = {"place": {"kind": "category", "value": "shown"}, "password": LINK_PASSWORD}
    url = told.send("POST", "/api/v1/shares", json=place, **mine).json()["url"]
    secrets["link"] = url.rpartition("/")[2]
    secrets["jwt"] = (
        "eyJhbGciOiJIUzI1NiIsImtpZCI6ImEifQ.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeQ"
    )


def show(told: Told) -> None:
    """In the places where they belong, right and wrong, well-formed and not."""
    for secret in told.secrets.values():
        for path in PATHS[:4]:
            for form in FORMATS:
                header = {"Authorization": form.format(secret)}
                told.send("GET", path, headers=header)
        for text in (f"{WHO}:{secret}", f":{secret}", f"{secret}:", secret):
            encoded = base64.b64encode(text.encode()).decode()
            told.send("GET", PATHS[3], headers={"Authorization": f"Basic {encoded}"})
            told.send("GET", PATHS[3], headers={"Authorization": f"Basic {encoded[:-3]}!"})
        told.send("GET", PATHS[0], cookies={"dsx_session": quote(secret)})
        told.send("POST", PATHS[0], cookies={"dsx_session": quote(secret)})
        body = {"username": WHO, "password": secret}
        told.send("POST", "/api/v1/session", json=body, headers={"Origin": "http://evil.example"})
        told.send("POST", "/api/v1/session", json=body | {"extra": secret})
        told.send("POST", "/api/v1/users", json={"username": "x", "invite": secret} | body)
    for _ in range(2):
        told.send("POST", "/api/v1/session", json={"username": WHO, "password": WRONG})
    change = {"password": WRONG, "current_password": WRONG}
    told.send("PATCH", f"/api/v1/users/{WHO}", json=change, auth=(WHO, RIGHT))
    link = f"/s/{told.secrets['link']}"
    for tail in ("", "/x", "/a/b", "//", "/../x"):
        for password in (None, WRONG, LINK_PASSWORD):
            told.send("GET", link + tail, auth=("", password) if password else None)
            told.send("POST", link + tail)
    told.send("GET", "/s/malformed-canary-link-1d2e")
    told.secrets["malformed link"] = "malformed-canary-link-1d2e"


def misplace(told: Told) -> None:
    """Where they do not belong: other headers, queries, bodies, names; and too long."""
    for name, secret in told.secrets.items():
        for header in HEADERS:
            told.send("GET", PATHS[0], headers={header: secret})
        for query in ("api_key", "token", "access_token", "limit", "cursor", "regex"):
            told.send("GET", PATHS[0], params={query: secret})
            told.send("GET", PATHS[4], params={query: secret}, headers={"X": secret})
        asked = {"code": secret, "state": secret, "error": secret, "iss": secret}
        told.send("GET", "/api/v1/session/oidc", params={"next": f"/{secret}"})
        told.send("GET", "/api/v1/session/oidc/callback", params=asked)
        told.send("GET", "/api/v1/session/oidc/callback", cookies={"dsx_oidc": quote(secret)})
        told.send("POST", "/api-token-auth/", json={"username": WHO, "password": secret})
        told.send("POST", "/create_account", json={"username": "y", "password": secret})
        told.send("POST", "/api/v1/session", data=secret)
        told.send("POST", "/api/v1/session", json=[secret])
        told.send("POST", "/api/v1/session", json={"username": {"a": secret}, "password": [secret]})
        told.send("POST", "/api/v1/tokens", json={"scopes": [secret]}, auth=("admin", KEY))
        if name in {"token", "session", "invite", "spare invite", "link", "jwt", "garbled"}:
            for path in ("/api/v1/files/{}", "/{}", "/uploads/{}", "//s/{}", "/s/x/{}"):
                headers = {"Authorization": f"Bearer {KEY}"}
                told.send("GET", path.format(secret), headers=headers, keep=False)
        long = secret * 200
        told.send("GET", PATHS[3], headers={"Authorization": f"Bearer {long[:6000]}"})
        told.send("POST", "/api/v1/session", json={"username": WHO, "password": long})
        told.send("GET", f"/s/{quote(long[:4000])}")


def provoke(told: Told) -> None:
    """What may fail badly: bytes that are no text, a catalog that is locked."""
    for secret in told.secrets.values():
        for raw in (b"\xff" + secret.encode(), secret.encode() + b"\x80\xfe"):
            told.send("GET", PATHS[3], headers={"Authorization": b"Bearer " + raw})
            text = base64.b64encode(raw + b":" + raw).decode()
            told.send("GET", PATHS[3], headers={"Authorization": f"Basic {text}"})
        surrogate = {"username": f"\ud800{secret[:20]}", "password": f"\udfff{secret}"}
        told.send("POST", "/api/v1/session", json=surrogate)
        told.send("POST", "/api/v1/session", json={"username": f"\x00{WHO}", "password": secret})
        told.send("POST", "/api/v1/users", json={"username": "nul", "password": f"{secret}\x00"})
    told.send("GET", "/health")


def everything(told: Told) -> dict[str, bytes]:
    """Whatever people may read, or find on a disk that they have got hold of."""
    headers = {"Authorization": f"Bearer {KEY}"}
    audit, before = b"", None
    while True:
        asked = {"limit": 1000} | ({} if before is None else {"before": before})
        page = requests.get(
            f"{told.hub.url}/api/v1/audit", headers=headers, params=asked, timeout=30
        )
        audit, before = audit + page.content, page.json()["next"]
        if before is None:
            break
    variables = {"DSX_API_KEY": KEY, "DSX_SECRET_KEY": SECRET_KEY, "DSX_OIDC_CLIENT_SECRET": OIDC}
    variables["DSX_DATABASE_URL"] = f"postgresql://u:{quote(WRONG)}@db/x?password={quote(RIGHT)}"
    config = subprocess.run(
        [sys.executable, "-m", "dsx", "config"],
        env=clean_environment(**variables),
        capture_output=True,
        check=True,
        cwd=told.hub.data_dir,
    )
    found = {
        "log": told.hub.log.read_bytes(),
        "metrics": requests.get(f"{told.hub.url}/metrics", timeout=30).content,
        "audit log": audit,
        "dsx config": config.stdout + config.stderr,
        "process list": Path(f"/proc/{told.hub.process.pid}/cmdline").read_bytes(),
    }
    for path in told.hub.data_dir.iterdir():
        if path.name.startswith("catalog.db"):
            found[path.name] = path.read_bytes()
    return found


def spellings(secret: str) -> set[bytes]:
    texts = {secret, quote(secret), secret.replace(" ", "+")}
    encoded = {base64.b64encode(text.encode()) for text in (secret, f"{WHO}:{secret}")}
    return {text.encode() for text in texts} | {text[:-4] for text in encoded}


def test_no_secret_is_kept_or_told(told: Told) -> None:
    found = everything(told)
    assert {"log", "metrics", "audit log", "catalog.db", "catalog.db-wal"} <= found.keys()
    assert len(found["log"].splitlines()) > 500
    leaks = [
        f"{name} in {place}: {content[max(0, content.find(text) - 150) :][:300]!r}"
        for place, content in found.items()
        for name, secret in told.secrets.items()
        for text in spellings(secret)
        if text in content
    ]
    assert leaks == []
    assert b"$argon2" not in found["log"] + found["audit log"]


def test_no_answer_repeats_a_secret(told: Told) -> None:
    assert len(told.answers) > 1000
    leaks = [
        f"{name}: {request}: {answer[:300]}"
        for request, answer in told.answers
        for name, secret in told.secrets.items()
        if any(text.decode() in answer for text in spellings(secret))
    ]
    assert leaks == []


def test_nothing_failed(told: Told) -> None:
    assert b'"level": "error"' not in told.hub.log.read_bytes()
    assert not [request for request, answer in told.answers if '"status":500' in answer]


def test_the_catalog_keeps_hashes_only(told: Told) -> None:
    with closing(sqlite3.connect(told.hub.data_dir / "catalog.db")) as catalog:
        hashes = [row[0] for row in catalog.execute("select hash from tokens")]
        passwords = [row[0] for row in catalog.execute("select password from users")]
    assert hashes
    assert all(len(one) == 64 for one in hashes)
    assert all(one.startswith("$argon2id$") for one in passwords)


def test_files_with_secrets_are_the_servers_own(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_API_KEY="") as hub:
        assert hub.data_dir.stat().st_mode & 0o077 == 0
        for name in ("admin.key", "secret.key", "catalog.db"):
            assert (hub.data_dir / name).stat().st_mode & 0o777 == 0o600, name
        for name in ("admin.key", "secret.key"):
            secret = (hub.data_dir / name).read_text().strip()
            assert len(secret) > 40
            assert secret not in hub.log.read_text(), name


def test_answers_with_secrets_are_not_kept(hub: RunningHub) -> None:
    alice = hub.user("sec-alice")
    record = alice.store("sec-file", b"x")
    place = {"place": {"kind": "file", "value": record["id"]}}
    for path, body in (("tokens", {}), ("shares", place)):
        answer = alice.post(f"/api/v1/{path}", json=body)
        assert answer.headers["Cache-Control"] == "no-store"
        assert alice.get(f"/api/v1/{path}").headers["Cache-Control"] == "no-store"
    session = {"username": "sec-alice", "password": PASSWORD}
    answer = requests.post(f"{hub.url}/api/v1/session", json=session, timeout=10)
    assert answer.headers["Cache-Control"] == "no-store"


def test_links_tell_nobody_where_they_are(hub: RunningHub) -> None:
    alice = hub.user("sec-linker")
    place = {"place": {"kind": "file", "value": alice.store("sec-linked", b"x")["id"]}}
    plain = alice.post("/api/v1/shares", json=place).json()["url"]
    counted = alice.post("/api/v1/shares", json=place | {"downloads": 1}).json()["url"]
    for url, status, kept in (
        (plain, 200, "private"),
        (counted, 200, "no-store"),
        (counted, 410, "no-store"),
        (plain + "x", 404, "no-store"),
    ):
        answer = requests.get(url, timeout=10)
        assert answer.status_code == status
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert kept in answer.headers["Cache-Control"]
