"""The OpenAPI document is complete, and the server keeps to it under fuzzing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.hub import RunningHub, clean_environment, running_hub

OPEN = {
    ("post", "/api/v1/users"),
    ("post", "/api/v1/session"),
    ("get", "/api/v1/session/oidc"),
    ("get", "/api/v1/session/oidc/callback"),
}
"""Where nobody has to be anybody yet."""


def test_every_operation_is_described(hub: RunningHub) -> None:
    document = hub.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert operation["description"], where
            if path.startswith("/api/v1"):
                assert "401" in operation["responses"], where
                assert operation.get("security") or (method, path) in OPEN, where


def test_the_seed_routes_are_in_it(hub: RunningHub) -> None:
    paths = hub.get("/openapi.json").json()["paths"]
    assert {"/datasets", "/manifest/{dataset}", "/file/{dataset}/{path}", "/health"} <= set(paths)


def test_documentation_needs_no_network(hub: RunningHub) -> None:
    for page in ("/docs", "/redoc"):
        text = hub.get(page).text
        assert "http://" not in text.replace(hub.url, "")
        assert "https://" not in text
        assets = [part.split('"')[0] for part in text.split('"/docs/assets/')[1:]]
        for asset in assets:
            assert hub.get(f"/docs/assets/{asset}").status_code == 200


def fuzz(directory: Path, examples: int) -> None:
    # With a limit, a length that no disk has room for is 413 and not, as rightly, 507.
    with running_hub(directory, DSX_MAX_FILE_SIZE="1MiB") as hub:
        tree = hub.dataset_path / "imagenet" / "train"
        tree.mkdir(parents=True)
        (tree / "img_001.jpg").write_bytes(b"jpeg")
        hub.store("a.csv", b"1,2\n")
        hub.store("b.csv", b"3,4\n")
        ended = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"),
                "run",
                f"{hub.url}/openapi.json",
                "-H",
                f"Authorization: Bearer {hub.key}",
                "--checks",
                "not_a_server_error,status_code_conformance",
                "--max-examples",
                str(examples),
                # One worker: on CPython 3.11, parsing source in several threads can fail.
                "--workers",
                "1",
                "--exclude-path",
                "/api/v1/tasks/events",  # it has no end
                "--seed",
                "1",
                "--request-timeout",
                "20",
                "--no-color",
            ],
            cwd=directory,
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert hub.get("/health").status_code == 200
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]


@pytest.mark.timeout(900)
def test_fuzzing_finds_no_server_error(tmp_path: Path) -> None:
    fuzz(tmp_path, examples=25)


@pytest.mark.drill
def test_long_fuzzing_finds_no_server_error(tmp_path: Path) -> None:
    fuzz(tmp_path, examples=400)
