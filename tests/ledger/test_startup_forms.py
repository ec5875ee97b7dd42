"""How the seeds start their servers: the same hub behind every form."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from tests.support.digests import sha256
from tests.support.hub import RunningHub, clean_environment
from tests.support.shell import sh
from tests.support.started import free_port, started
from tests.support.wire import FILES, content, listed, staged, wire
from tests.uploads.conftest import noise
from tests.uploads.speakers import SPEAKERS, Speaker
from tests.uploads.test_control import Drip, eventually, order, stored

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
MIB = 1024**2
GUNICORN = [BIN / "gunicorn", "--config", "./app/config/server_config.py", "app.app:app"]


def clone(directory: Path) -> Path:
    """The start-up forms' directories, which people edit, in *directory*."""
    for part in ("app", "cli"):
        shutil.copytree(ROOT / part, directory / part, ignore=shutil.ignore_patterns("__pycache__"))
    return directory


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def uvicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    directory, port = clone(tmp_path_factory.mktemp("uvicorn")), free_port()
    command = [BIN / "uvicorn", "app.main:app", "--port", str(port)]
    with started(command, directory, port) as hub:
        yield hub


@pytest.fixture(scope="module")
def gunicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    directory, port = clone(tmp_path_factory.mktemp("gunicorn")), free_port()
    edit(directory / "app/config/server_config.py", '"5000"', f'"{port}"')
    with started(GUNICORN, directory, port) as hub:
        yield hub


@pytest.fixture(params=["uvicorn", "gunicorn"])
def form(request: pytest.FixtureRequest) -> RunningHub:
    hub: RunningHub = request.getfixturevalue(request.param)
    return hub


# Datastore: uvicorn app.main:app


@pytest.mark.ledger("S1.42")
def test_s1_42_uvicorn_app_main_app(uvicorn: RunningHub, tmp_path: Path) -> None:
    assert sh('curl -f "$B/health"', tmp_path, B=uvicorn.url) == '{"status":"ok"}'
    shown = subprocess.check_output([BIN / "uvicorn", "--help"], text=True)
    assert re.search(r"--port INTEGER[^-]*default:\s+8000", shown)  # as the seed's README has it


@pytest.mark.ledger("S1.42")
def test_s1_42_ctrl_c_ends_it(tmp_path: Path) -> None:
    port = free_port()
    with started(
        [BIN / "uvicorn", "app.main:app", "--port", str(port)], clone(tmp_path), port
    ) as h:
        h.store("a", b"x")
    assert h.process.returncode is not None
    assert "Traceback" not in h.log.read_text()


# The file server: gunicorn --config …


@pytest.mark.ledger("S2.3", "S2.5")
def test_s2_3_s2_5_the_configured_port_answers(gunicorn: RunningHub, tmp_path: Path) -> None:
    assert sh('curl -f "$B/health"', tmp_path, B=gunicorn.url) == '{"status":"ok"}'
    assert "Using worker: dsx.gunicorn.Worker" in gunicorn.log.read_text()


@pytest.mark.ledger("S2.5")
def test_s2_5_the_port_is_5000_unless_changed() -> None:
    script = (
        "import runpy; print(runpy.run_path('app/config/server_config.py')['bind'])"  # as gunicorn
    )
    shown = subprocess.check_output(
        [sys.executable, "-c", script], cwd=ROOT, env=clean_environment(), text=True
    )
    assert shown.strip() == "127.0.0.1:5000"


@pytest.mark.ledger("S2.5")
def test_s2_5_the_literal_path_with_py_never_worked(tmp_path: Path) -> None:
    """The seed's own line fails before any of our code is read: gunicorn imports modules."""
    ended = subprocess.run(
        [*GUNICORN[:-1], "--bind", "127.0.0.1:0", "./app/app.py:app"],
        cwd=clone(tmp_path),
        env=clean_environment(HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert "relative import" in ended.stderr


@pytest.mark.ledger("S2.8", "S2.9")
def test_s2_9_the_cap_in_server_config(gunicorn: RunningHub, tmp_path: Path) -> None:
    data = bytes(17 * MIB)
    assert gunicorn.post("/upload=17", data=data).status_code == 413
    directory, port = clone(tmp_path), free_port()
    config = directory / "app/config/server_config.py"
    edit(config, '"16MiB"', '"64MB"')
    edit(config, '"5000"', f'"{port}"')
    with started(GUNICORN, directory, port) as hub:
        assert hub.post("/upload=17", data=data).status_code == 201
        assert hub.request("PUT", "/upload=17", files={"file": ("17", data)}).status_code == 201
        assert hub.post("/upload=65", data=bytes(65 * 1000**2)).status_code == 413
    assert hub.process.returncode == 0


def test_the_seeds_commands_need_no_key_on_one_machine(tmp_path: Path) -> None:
    """Clone, start, use: the key that the server makes is found by the client beside it."""
    directory, port = clone(tmp_path), free_port()
    edit(directory / "app/config/server_config.py", '"5000"', f'"{port}"')
    edit(directory / "cli/config/cli_config.py", "= 5000", f"= {port}")
    (directory / "a.txt").write_bytes(b"x")
    with started(GUNICORN, directory, port, DSX_API_KEY="", DSX_DATA_DIR="") as hub:
        path = {"PATH": f"{BIN}:{os.environ['PATH']}", "XDG_STATE_HOME": str(tmp_path)}
        sh("python -m cli.cli_client --upload a.txt", directory, **path)
        assert sh("python -m cli.cli_client --list", directory, **path) == "a.txt\n"
        assert requests.get(f"{hub.url}/list", timeout=10).status_code == 401
        assert "admin.key" in hub.log.read_text()


# What the engine promises, behind servers that are not `dsx serve`


@pytest.mark.parametrize("how", ["raw", "form", "chunked"])
def test_large_uploads(form: RunningHub, tmp_path: Path, how: str) -> None:
    before = staged(form)
    (tmp_path / "large").write_bytes(os.urandom(40 * MIB + 7))
    given = {
        "raw": "--data-binary @large",
        "form": "-F file=@large",
        "chunked": '-H "Transfer-Encoding: chunked" --data-binary @large',
    }[how]
    command = f'curl -sSf -X POST -H "Authorization: $K" {given} "$B$F?name=large-{how}"'
    sh(command, tmp_path, B=form.url, F=FILES, K=form.key)
    (record,) = listed(form, f"large-{how}")
    assert record["sha256"] == sha256(tmp_path / "large")
    answer = form.get(content(record))
    assert sha256(answer.content) == record["sha256"]
    assert set(staged(form)) <= set(before)


def test_ranges(form: RunningHub) -> None:
    data = os.urandom(3 * MIB)
    path = content(form.store("ranges", data))
    part = form.get(path, headers={"Range": "bytes=1000000-2999999"})
    assert (part.status_code, part.content) == (206, data[1_000_000:3_000_000])
    assert form.get(path, headers={"Range": "bytes=-5"}).content == data[-5:]
    assert form.get(path, headers={"Range": "bytes=9999999-"}).status_code == 416
    several = form.get(path, headers={"Range": "bytes=0-1,5-6"})
    assert several.headers["Content-Type"].startswith("multipart/byteranges")
    assert form.request("HEAD", path).headers["Content-Length"] == str(len(data))


@pytest.mark.parametrize("kind", SPEAKERS)
def test_an_upload_in_parts_and_a_pause(form: RunningHub, kind: type[Speaker]) -> None:
    data = noise(6 * MIB, seed=1)
    speaker = kind(form, f"paused-{kind.__name__}", len(data))
    assert speaker.create().status_code == 201
    assert speaker.append(0, data[:MIB]).ok
    assert speaker.offset() == MIB
    id_ = speaker.path.rsplit("/", 1)[1]
    drip = Drip(speaker, data[MIB:], start=MIB)
    eventually(lambda: stored(speaker) > 2 * MIB, 10)
    assert order(form, id_, "pause")["state"] == "paused"
    time.sleep(1)
    frozen = stored(speaker)
    time.sleep(0.3)
    assert stored(speaker) == frozen < len(data)
    order(form, id_, "resume")
    drip.hurry.set()
    drip.join(20)
    assert drip.outcome.ok, drip.outcome.text
    assert speaker.finish()["sha256"] == sha256(data)


def test_a_download_is_paused_and_ended(form: RunningHub) -> None:
    for number in range(3):
        form.store(f"zipped-{number}", os.urandom(8 * MIB))
    task = form.post("/api/v1/tasks", json={"kind": "download", "glob": "zipped-*"}).json()["id"]
    with form.get(f"/api/v1/tasks/{task}/content", stream=True) as answer:
        pieces = answer.iter_content(64 * 1024)
        next(pieces)
        assert order(form, task, "pause")["state"] == "paused"
        assert order(form, task, "abort")["state"] == "aborted"
        with pytest.raises(requests.RequestException):
            sum(map(len, pieces))


@pytest.mark.parametrize("part", [1, 100_000, 5 * MIB])
def test_a_client_that_goes_away_leaves_nothing_behind(form: RunningHub, part: int) -> None:
    before = set(staged(form))
    with wire(form) as connection:
        head = connection.head("POST", "/upload=gone", f"Content-Length: {8 * MIB}")
        connection.send(head + bytes(part))
        eventually(lambda: bool(set(staged(form)) - before), 10)
    eventually(lambda: set(staged(form)) <= before, 10)
    assert listed(form, "gone") == []
