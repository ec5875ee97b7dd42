"""S4 (DSX Hub seed), server side: every promise against a real started server."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import requests
from tests.support.hub import KEY, RunningHub, clean_environment, running_hub

ROOT = Path(__file__).resolve().parents[2]
SDK_PARTS = re.compile(r"dsx/(core|client|cli)/|dsx/[^/]*$|dsx_hub-[^/]*/")
TREE = {
    "train/img_001.jpg": b"\xff\xd8" + bytes(range(256)) * 9,
    "train/img 002 #?%.jpg": b"two",
    "train/größe/日本.txt": b"unicode",
    "empty": b"",
}


@pytest.fixture(scope="module")
def dataset(hub: RunningHub) -> str:
    for path, data in TREE.items():
        target = hub.dataset_path / "imagenet" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return "imagenet"


def quote(path: str) -> str:
    return requests.utils.quote(path, safe="/")


@pytest.mark.ledger("S4.14")
def test_datasets_is_a_list_of_names(hub: RunningHub, dataset: str) -> None:
    answer = hub.get("/datasets")
    assert answer.status_code == 200
    names = answer.json()
    assert dataset in names
    assert all(isinstance(name, str) for name in names)


@pytest.mark.ledger("S4.15")
def test_manifest_lists_path_size_hash(hub: RunningHub, dataset: str) -> None:
    entries = hub.get(f"/manifest/{dataset}").json()
    assert {entry["path"] for entry in entries} == set(TREE)
    for entry in entries:
        data = TREE[entry["path"]]
        assert entry["size"] == len(data)
        assert entry["hash"] == hashlib.md5(data[:1024]).hexdigest()
        assert entry["sha256"] in {None, hashlib.sha256(data).hexdigest()}


@pytest.mark.ledger("S4.16", "S4.17")
@pytest.mark.parametrize("path", TREE)
def test_file_gives_its_bytes_whatever_its_path(hub: RunningHub, dataset: str, path: str) -> None:
    answer = hub.get(f"/file/{dataset}/{quote(path)}")
    assert answer.status_code == 200
    assert answer.content == TREE[path]


@pytest.mark.ledger("S4.13", "S4.18")
@pytest.mark.parametrize("path", ["/health", "/docs"])
def test_open_without_a_key(hub: RunningHub, path: str) -> None:
    answer = requests.get(hub.url + path, timeout=10)
    assert answer.status_code == 200
    if path == "/docs":
        assert "swagger" in answer.text.lower()
        assert "https://" not in answer.text


@pytest.mark.ledger("S4.19")
@pytest.mark.parametrize("header", [None, "Bearer wrong", "wrong", "Bearer", "Basic YTpi"])
@pytest.mark.parametrize("path", ["/datasets", "/manifest/imagenet", "/file/imagenet/empty"])
def test_closed_without_the_key(
    hub: RunningHub, dataset: str, path: str, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = requests.get(hub.url + path, headers=headers, timeout=10)
    assert answer.status_code == 401
    assert 'Bearer realm="dsx"' in answer.headers["WWW-Authenticate"]
    assert answer.json()["code"] == "unauthenticated"


@pytest.mark.ledger("S4.20")
@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer {KEY}", KEY])
def test_key_is_accepted_as_bearer_and_bare(hub: RunningHub, dataset: str, header: str) -> None:
    answer = requests.get(hub.url + "/datasets", headers={"Authorization": header}, timeout=10)
    assert answer.status_code == 200


@pytest.mark.ledger("S4.7", "S4.57")
def test_dotenv_in_the_working_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "data-sets" / "mnist").mkdir(parents=True)
    (tmp_path / ".env").write_text(
        f"DSX_DATASET_PATH={tmp_path}/data-sets\nDSX_PORT=0\nDSX_API_KEY=from-dotenv\n"
    )
    with running_hub(tmp_path, DSX_API_KEY="", DSX_DATASET_PATH="", DSX_PORT="") as hub:
        hub.key = "from-dotenv"
        assert hub.get("/datasets").json() == ["mnist"]


@pytest.mark.ledger("S4.8", "S4.9")
@pytest.mark.parametrize(
    ("present", "named"),
    [
        ({"DSX_DATASET_PATH": "."}, "DSX_API_KEY"),
        ({"DSX_API_KEY": "k"}, "DSX_DATASET_PATH"),
        ({"DSX_API_KEY": "k", "DSX_DATASET_PATH": "missing"}, "DSX_DATASET_PATH"),
    ],
)
def test_seed_start_up_names_what_is_missing(
    tmp_path: Path, present: dict[str, str], named: str
) -> None:
    ended = subprocess.run(
        [sys.executable, ROOT / "server" / "server.py"],
        env=clean_environment(DSX_PORT="0", **present),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode != 0
    assert named in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.ledger("S4.10", "S4.57")
def test_port_defaults_to_8000() -> None:
    script = "from dsx.config import Settings; print(Settings(_env_file=None).port)"
    shown = subprocess.run(
        [sys.executable, "-c", script],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == "8000"


@pytest.mark.ledger("S4.11", "S4.12", "S4.1")
def test_server_py_listens_on_all_addresses(tmp_path: Path) -> None:
    (tmp_path / "sets" / "cifar10").mkdir(parents=True)
    variables = {"DSX_PORT": "0", "DSX_API_KEY": "k", "DSX_DATASET_PATH": f"{tmp_path}/sets"}
    process = subprocess.Popen(
        [sys.executable, ROOT / "server" / "server.py"],
        env=clean_environment(**variables),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"ready: http://0\.0\.0\.0:(\d+)\n", line)
        assert found, line
        answer = requests.get(
            f"http://127.0.0.2:{found[1]}/datasets", headers={"Authorization": "k"}, timeout=10
        )
        assert answer.json() == ["cifar10"]
    finally:
        process.terminate()
        assert process.wait(10) == 0
        process.stdout.close()


@pytest.mark.ledger("S4.3", "S4.4", "S4.5", "S4.6")
def test_declared_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[\[<>=~! ]", item)[0] for item in requirements}

    assert names(project["dependencies"]) == {"requests", "pydantic", "typer", "rich"}
    server = names(project["optional-dependencies"]["server"])
    assert {"fastapi", "uvicorn", "python-multipart", "python-dotenv"} <= server


@pytest.mark.ledger("S4.3", "S4.4", "S4.65")
def test_the_sdk_imports_without_the_servers_packages() -> None:
    forbidden = ["fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "pydantic_settings"]
    script = (
        "import sys, importlib.abc\n"
        "class Block(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {forbidden!r}: raise ImportError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "import dsx\n"
        "dsx.DatasetHubClient('http://localhost', 'k', None)\n"
        "import dsx.cli.main\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=clean_environment())


@pytest.mark.ledger("S4.65")
def test_import_is_light() -> None:
    script = "import time; t = time.perf_counter(); import dsx; print(time.perf_counter() - t)"
    runs = [
        float(subprocess.check_output([sys.executable, "-c", script], env=clean_environment()))
        for _ in range(5)
    ]
    assert min(runs) < 0.3


@pytest.mark.ledger("S4.64", "S4.65")
def test_wheel_is_mit_and_small(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, str(ROOT)],
        check=True,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
    )
    (wheel,) = tmp_path.glob("dsx_hub-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        sdk = [item for item in archive.infolist() if SDK_PARTS.match(item.filename)]
    assert sum(item.compress_size for item in sdk) < 200_000
    listing = subprocess.check_output([sys.executable, "-m", "zipfile", "-l", wheel], text=True)
    assert "licenses/LICENSE" in listing
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    assert os.fspath(wheel).endswith(".whl")
