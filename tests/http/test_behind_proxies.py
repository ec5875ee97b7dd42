"""M11: a started hub: who asks, for which host, and settings that cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.hub import RunningHub, clean_environment
from tests.support.wire import wire

from dsx.config import Settings
from dsx.core.errors import Invalid
from dsx.run import load_settings


@pytest.mark.parametrize(
    "hosts", [[], ["Host: a", "Host: a"], ["Host: a", "Host: b"], ["Host: a b"]]
)
def test_m11_no_host_or_two_are_400(hub: RunningHub, hosts: list[str]) -> None:
    with wire(hub) as connection:
        fields = [*hosts, f"Authorization: Bearer {hub.key}", "Content-Length: 5"]
        connection.send(
            "\r\n".join(["POST /api/v1/files?name=a HTTP/1.1", *fields, "", ""]).encode()
        )
        answer = connection.answer()
        assert answer.status == 400
        assert b'"code":"invalid"' in answer.body
    assert hub.get("/api/v1/files", params={"name": "a"}).json()["items"] == []


def test_a_request_without_a_version_is_none(hub: RunningHub) -> None:
    with wire(hub) as connection:
        connection.send(b"GET /health\r\n\r\n")
        assert connection.answer().status == 400


def test_m11_an_old_client_needs_no_host(hub: RunningHub) -> None:
    with wire(hub) as connection:
        connection.send(b"GET /health HTTP/1.0\r\n\r\n")
        assert connection.answer().status == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"X-Forwarded-For": "6.6.6.6, 203.0.113.7"},
        {"Forwarded": 'for=6.6.6.6, for="203.0.113.7:4711";proto=https'},
    ],
)
def test_m11_the_audit_log_has_the_address_of_the_client(
    hub: RunningHub, fields: dict[str, str]
) -> None:
    made = hub.post("/api/v1/files?name=m11-audit", data=b"x", headers=fields)
    items = hub.get("/api/v1/audit?limit=20").json()["items"]
    (entry,) = [one for one in items if one["target"] == made.json()["id"]]
    assert entry["address"] == "203.0.113.7"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("public_url", "lab.example/hub"),
        ("public_url", "ftp://lab.example"),
        ("public_url", "https://"),
        ("public_url", "https://lab.example/hub?x=1"),
        ("public_url", "https://lab.example/../hub"),
        ("public_url", "https://name:password@lab.example"),
        ("public_url", "https://lab.example:port"),
        ("root_path", "/a b"),
        ("root_path", "/../a"),
        ("root_path", "//a//b"),
        ("trusted_proxies", "10.0.0.0/40"),
        ("trusted_proxies", "nginx"),
    ],
)
def test_m11_settings_that_cannot_be_are_named(variable: str, value: str) -> None:
    with pytest.raises(Invalid, match=f"DSX_{variable.upper()}") as caught:
        load_settings({variable: value})
    assert "password" not in str(caught.value)


def test_m11_the_path_of_both_settings_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Invalid, match="DSX_ROOT_PATH"):
        load_settings({"public_url": "https://lab.example/hub", "root_path": "/other"})
    settings = load_settings({"public_url": "https://lab.example/hub/", "root_path": "hub/"})
    assert (settings.public_url, settings.root_path) == ("https://lab.example/hub", "/hub")
    monkeypatch.setattr(os, "environ", dict(os.environ))
    for name in ("DSX_TRUSTED_PROXIES", "DSX_PUBLIC_URL", "DSX_ROOT_PATH"):
        monkeypatch.setenv(name, "")
    for proxies in ("none", "10.0.0.0/8, ::1"):
        monkeypatch.setenv("DSX_TRUSTED_PROXIES", proxies)
        given = Settings()
        assert given.trusted_proxies == (() if proxies == "none" else ("10.0.0.0/8", "::1/128"))
        given.export()  # as for worker processes
        assert Settings().trusted_proxies == given.trusted_proxies


def test_m11_the_start_refuses_a_wrong_address_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dsx", "serve"],
        cwd=tmp_path,
        env=clean_environment(DSX_PUBLIC_URL="lab.example", DSX_PORT="0"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "DSX_PUBLIC_URL" in done.stderr
    assert len(done.stderr.splitlines()) == 1
