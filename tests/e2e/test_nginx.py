"""M11: everything through a real nginx with TLS below a path, set up as docs/proxies.md says."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import socket
import ssl
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from tests.support.hub import KEY, PASSWORD, RunningHub, clean_environment, running_hub
from tests.support.nginx import Front, free_port, nginx, recipe
from tests.support.waiting import eventually

from dsx import DatasetHubClient
from dsx.client import parts, uploading

MIB = 1 << 20
_STRIPPING = """
    location /plain/ {{
        proxy_pass {url}/;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $http_host;
        proxy_set_header X-Forwarded-Prefix /plain;
        client_max_body_size 0;
        proxy_request_buffering off;
        proxy_buffering off;
    }}
"""


@dataclass
class Site:
    """A hub behind nginx, by the URL that its clients know."""

    url: str
    ca: Path
    hub: RunningHub

    def ask(self, method: str, where: str, **more: Any) -> requests.Response:
        """*where*: a path of the hub, or a whole URL of the site."""
        headers = {"Authorization": f"Bearer {KEY}"} | more.pop("headers", {})
        url = where if where.startswith("https://") else self.url + where
        assert url.startswith(self.url + "/"), where
        return requests.request(
            method, url, headers=headers, verify=str(self.ca), timeout=60, **more
        )

    def within(self, location: str) -> str:
        """A ``Location`` that is only a path, which has to be the site's, as a URL."""
        root = urlsplit(self.url).path
        assert location.startswith(f"{root}/"), location
        return self.url + location.removeprefix(root)


@pytest.fixture(scope="module")
def fronts(
    hub: RunningHub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Front, RunningHub]]:
    root, port = tmp_path_factory.mktemp("nginx"), free_port()
    public = f"https://localhost:{port}/hub"
    with running_hub(tmp_path_factory.mktemp("behind"), DSX_PUBLIC_URL=public) as behind:
        server = recipe(root, port, behind.url, _STRIPPING.format(url=hub.url))
        with nginx(root, port, server) as front:
            yield front, behind
        assert behind.stop() == 0


@pytest.fixture(params=["set", "told"])
def site(request: pytest.FixtureRequest, fronts: tuple[Front, RunningHub], hub: RunningHub) -> Site:
    """The recipe, with DSX_PUBLIC_URL; or a proxy that says what it strips, and no setting."""
    front, behind = fronts
    if request.param == "set":
        return Site(f"{front.url}/hub", front.ca, behind)
    return Site(f"{front.url}/plain", front.ca, hub)


@pytest.fixture
def client(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DatasetHubClient]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(site.ca))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with DatasetHubClient(site.url, KEY, tmp_path / "cache") as opened:
        yield opened


def test_m11_the_sdk(
    site: Site, client: DatasetHubClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploading, "PARTS_FROM", MIB)
    for module in (uploading, parts):
        monkeypatch.setattr(module, "PART", MIB // 4)
    name = f"m11/ä b+c%41&{uuid.uuid4().hex}.bin"
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(3 * MIB))
    for source in (b"small", path):
        info = client.upload(source, name)
        want = source if isinstance(source, bytes) else source.read_bytes()
        assert client.download(info, tmp_path / "got").read_bytes() == want
    assert [one.version for one in client.versions(name)] == [2, 1]
    assert next(one.name for one in client.list_files("m11/*")) == name
    shared = client.accounts.share(info)
    assert shared.url is not None
    assert shared.url.startswith(f"{site.url}/s/")
    tree = site.hub.dataset_path / f"set{uuid.uuid4().hex[:6]}"
    tree.mkdir()
    (tree / "a b.txt").write_bytes(b"in place")
    eventually(lambda: tree.name in client.list_datasets())
    assert client.get_file_bytes(tree.name, "a b.txt") == b"in place"
    client.delete(name)


def test_m11_the_command_line(site: Site, tmp_path: Path) -> None:
    (tmp_path / "cli.bin").write_bytes(b"by the command line")
    environment = clean_environment(
        SERVER_URL=site.url,
        DSX_API_KEY=KEY,
        REQUESTS_CA_BUNDLE=str(site.ca),
        HOME=str(tmp_path),
        XDG_STATE_HOME=str(tmp_path),
    )
    for command in (["upload", "cli.bin"], ["share", "cli.bin"]):
        done = subprocess.run(
            [sys.executable, "-m", "dsx", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    (url,) = re.findall(r"https://\S+", done.stdout)
    assert requests.get(url, verify=str(site.ca), timeout=20).content == b"by the command line"


def test_m11_a_share_link(site: Site) -> None:
    record = site.ask("POST", "/api/v1/files?name=m11-shared", data=b"0123456789").json()
    place = {"kind": "file", "value": record["id"]}
    url = site.ask("POST", "/api/v1/shares", json={"place": place}).json()["url"]
    assert url.startswith(f"{site.url}/s/")
    got = requests.get(url, verify=str(site.ca), headers={"Range": "bytes=2-4"}, timeout=20)
    assert (got.status_code, got.content) == (206, b"234")
    assert got.headers["Content-Range"] == "bytes 2-4/10"


def test_m11_tus(site: Site) -> None:
    def call(method: str, where: str, data: bytes = b"", **fields: str) -> requests.Response:
        headers = {"Tus-Resumable": "1.0.0"}
        headers |= {name.replace("_", "-"): value for name, value in fields.items()}
        if method == "PATCH":
            headers["Content-Type"] = "application/offset+octet-stream"
        return site.ask(method, where, data=data, headers=headers)

    pieces = []
    for text in (b"first ", b"second"):
        made = call("POST", "/uploads", Upload_Length=str(len(text)), Upload_Concat="partial")
        pieces.append(made.headers["Location"])
        assert pieces[-1].startswith(f"{site.url}/uploads/")
        half = len(text) // 2
        call("PATCH", pieces[-1], text[:half], Upload_Offset="0")
        assert call("HEAD", pieces[-1]).headers["Upload-Offset"] == str(half)
        assert call("PATCH", pieces[-1], text[half:], Upload_Offset=str(half)).status_code == 204
    name = base64.b64encode(b"m11-tus.bin").decode()
    final = call(
        "POST",
        "/uploads",
        Upload_Concat=f"final;{' '.join(pieces)}",
        Upload_Metadata=f"filename {name}",
    )
    assert final.status_code == 201, final.text
    assert site.ask("GET", final.headers["Location"]).content == b"first second"


def test_m11_the_ietf_draft(site: Site) -> None:
    draft = {"Upload-Draft-Interop-Version": "8", "Upload-Complete": "?0"}
    made = site.ask("POST", "/uploads?name=m11-ietf.bin", data=b"first ", headers=draft)
    assert made.status_code == 201, "an interim response came through as the final one"
    place = made.headers["Location"]
    assert place.startswith(f"{site.url}/uploads/")
    assert site.ask("HEAD", place, headers=draft).headers["Upload-Offset"] == "6"
    last = {"Upload-Complete": "?1", "Upload-Offset": "6"}
    last["Content-Type"] = "application/partial-upload"
    done = site.ask("PATCH", place, data=b"second", headers=draft | last)
    assert done.status_code == 201, done.text
    file = site.within(done.headers["Location"])
    assert site.ask("GET", f"{file}/content").content == b"first second"


def test_m11_the_urls_of_rest_and_of_the_dialects(site: Site) -> None:
    for _ in range(3):
        made = site.ask("POST", f"/api/v1/files?name=m11-{uuid.uuid4().hex}", data=b"x")
        assert site.ask("GET", site.within(made.headers["Location"])).status_code == 200
    page = site.ask("GET", "/api/v1/files?limit=1")
    assert site.ask("GET", page.links["next"]["url"]).json()["items"]
    begun = site.ask("POST", "/api/v1/uploads", json={"name": "m11-parts", "length": 1})
    assert site.ask("GET", site.within(begun.headers["Location"])).status_code == 200
    stored = site.ask("POST", "/upload=m11-fileserver", data=b"x")
    assert site.ask("GET", site.within(stored.headers["Location"])).status_code == 200
    state = site.ask("PUT", "/storage/tmp-upload/", files={"file": ("m11.png", b"png")}).json()
    done = site.ask("POST", state["url"], data={"md5": hashlib.md5(b"png").hexdigest()}).json()
    assert site.ask("GET", done["download_url"]).content == b"png"
    listing = site.ask("GET", "/storage/files/?page_size=1").json()
    assert site.ask("GET", listing["next"]).status_code == 200


def test_m11_the_documentation(site: Site) -> None:
    root = urlsplit(site.url).path
    for page in ("/docs", "/redoc"):
        text = site.ask("GET", page).text
        found = [path for path in re.findall(r"""["'](/[^"'\s]+)["']""", text) if "." in path]
        assert len(found) >= 2
        for path in found:
            assert site.ask("GET", site.within(path)).status_code == 200, path
    document = site.ask("GET", "/openapi.json").json()
    assert [one["url"] for one in document["servers"]] == [root]
    assert site.ask("GET", "/health", headers={"Authorization": ""}).status_code == 200


def test_m11_a_session_of_a_browser(site: Site) -> None:
    name = f"m11-{uuid.uuid4().hex[:8]}"
    site.hub.user(name)
    browser = requests.Session()
    browser.verify, browser.trust_env = str(site.ca), False
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(site.url))
    who = {"username": name, "password": PASSWORD}
    ours = {"Origin": origin}
    made = browser.post(f"{site.url}/api/v1/session", json=who, headers=ours, timeout=20)
    cookie = made.headers["Set-Cookie"].lower()
    assert f"path={urlsplit(site.url).path};" in cookie
    assert "secure" in cookie
    account = f"{site.url}/api/v1/account"
    assert browser.get(account, timeout=20).json()["username"] == name
    files = f"{site.url}/api/v1/files?name=m11"
    evil = {"Origin": "https://evil.example"}
    assert browser.post(files, data=b"x", headers=evil, timeout=20).status_code == 403
    assert browser.post(files, data=b"x", headers=ours, timeout=20).status_code == 201
    browser.delete(f"{site.url}/api/v1/session", headers=ours, timeout=20)
    assert "dsx_session" not in browser.cookies
    assert browser.get(account, timeout=20).status_code == 401


def test_m11_downloads_in_ranges(site: Site) -> None:
    data = os.urandom(4 * MIB)
    record = site.ask("POST", "/api/v1/files?name=m11-ranges", data=data).json()
    url = f"/api/v1/files/{record['id']}/content"
    whole = site.ask("GET", url)
    assert whole.content == data
    assert site.ask("HEAD", url).headers["Content-Length"] == str(len(data))
    tail = site.ask("GET", url, headers={"Range": "bytes=-100", "If-Range": whole.headers["ETag"]})
    assert (tail.status_code, tail.content) == (206, data[-100:])
    two = site.ask("GET", url, headers={"Range": "bytes=0-1,5-6"})
    assert two.headers["Content-Type"].startswith("multipart/byteranges")
    same = site.ask("GET", url, headers={"If-None-Match": whole.headers["ETag"]})
    assert same.status_code == 304


def test_m11_a_large_upload_reaches_the_hub_while_it_comes(site: Site) -> None:
    """Half of it is sent, and the hub has that, before the other half leaves the client."""
    half, address = 16 * MIB, urlsplit(site.url)
    context = ssl.create_default_context(cafile=str(site.ca))
    head = (
        f"POST {address.path}/api/v1/files?name=m11-large HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: Bearer {KEY}\r\nContent-Length: {2 * half}\r\n\r\n"
    )
    staging = site.hub.data_dir / "staging"

    def arrived() -> int:
        return max((one.stat().st_blocks * 512 for one in staging.iterdir()), default=0)

    with (
        socket.create_connection(("127.0.0.1", address.port or 443), 30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(head.encode() + b"a" * half)
        eventually(lambda: arrived() >= half - 2 * MIB)
        connection.sendall(b"b" * half)
        assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")
    (record,) = site.ask("GET", "/api/v1/files?name=m11-large&limit=1").json()["items"]
    assert record["sha256"] == hashlib.sha256(b"a" * half + b"b" * half).hexdigest()


def test_m11_the_path_alone_leads_to_the_hub(fronts: tuple[Front, RunningHub]) -> None:
    front, _ = fronts
    answer = requests.get(
        f"{front.url}/hub", verify=str(front.ca), allow_redirects=False, timeout=20
    )
    assert (answer.status_code, urlsplit(answer.headers["Location"]).path) == (308, "/hub/")
