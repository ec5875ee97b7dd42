"""Installing the hub as the seeds' READMEs do, from a clone, into clean virtual environments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.hub import RunningHub, clean_environment
from tests.support.started import free_port, started
from tests.support.venvs import CleanVenv, copy_of_checkout

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_checkout(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="module")
def complete(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> CleanVenv:
    """Where requirements.txt has been installed."""
    venv = CleanVenv(tmp_path_factory.mktemp("complete") / "venv")
    venv.sh("pip install -q -r requirements.txt", clone)
    return venv


@pytest.fixture(scope="module")
def wheel(clone: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", "dist", "."],
        cwd=clone,
        env=clean_environment(),
        check=True,
    )
    (built,) = (clone / "dist").glob("*.whl")
    return built


@pytest.mark.ledger("S0.25", "S2.4", "S2.23")
def test_s0_25_s2_4_s2_23_requirements_cover_server_and_client(
    complete: CleanVenv, clone: Path, tmp_path: Path
) -> None:
    """All that the file server's README has people do after it, from the root of the clone."""
    port = free_port()
    (tmp_path / "a.txt").write_bytes(b"x")
    settings = {"DSX_PORT": str(port), "DSX_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": ""}
    command = ["gunicorn", "--config", "./app/config/server_config.py", "app.app:app"]
    (tmp_path / "app").symlink_to(clone / "app")
    with started([complete.bin / command[0], *command[1:]], tmp_path, port, **settings) as hub:
        access = {"SERVER_URL": hub.url, "DSX_API_KEY": hub.key, "HOME": str(tmp_path)}
        client = "python -m cli.cli_client"
        complete.sh(f"{client} --upload {tmp_path}/a.txt", clone, **access)
        assert complete.sh(f"{client} --list", clone, **access) == "a.txt\n"
    assert complete.sh("python -c 'import dsx; print(dsx.__file__)'", tmp_path).startswith(
        str(clone)
    )


@pytest.mark.ledger("S0.26")
def test_s0_26_pip_install_e(clone: Path, tmp_path: Path) -> None:
    venv = CleanVenv(tmp_path / "venv")
    venv.sh("pip install -q -e .", clone)
    assert "upload" in venv.sh("dsx --help", tmp_path)


@pytest.mark.ledger("S2.24")
def test_s2_24_the_wheel_is_all_a_user_needs(hub: RunningHub, wheel: Path, tmp_path: Path) -> None:
    """On this system; others are in CI's matrix. Nothing in it is built for one of them."""
    assert wheel.name.endswith("-py3-none-any.whl")
    venv = CleanVenv(tmp_path / "venv")
    venv.sh("pip install -q dist/*.whl", wheel.parents[1])
    access = {"SERVER_URL": hub.url, "DSX_API_KEY": hub.key, "HOME": str(tmp_path)}
    data = os.urandom(100_000)
    (tmp_path / "s2-24.bin").write_bytes(data)
    venv.sh(
        "dsx -u s2-24.bin && dsx download s2-24.bin -o back && dsx -d s2-24.bin", tmp_path, **access
    )
    assert (tmp_path / "back").read_bytes() == data
    script = (
        "from dsx import DatasetHubClient as C; import sys; print(C(*sys.argv[1:]).list_datasets())"
    )
    assert venv.sh(f'python -c "{script}" {hub.url} {hub.key}', tmp_path).startswith("[")


@pytest.mark.ledger("S1.41")
def test_s1_41_one_command_installs_what_the_server_needs(complete: CleanVenv, clone: Path) -> None:
    """In place of `pipenv install`; `uvicorn app.main:app` is what comes next there."""
    port = free_port()
    settings = {"DSX_DATA_DIR": str(clone / "dsx-data"), "PYTHONPATH": ""}
    command = [complete.bin / "uvicorn", "app.main:app", "--port", str(port)]
    with started(command, clone, port, **settings) as hub:
        assert hub.get("/docs").status_code == 200


@pytest.mark.ledger("S2.21")
def test_s2_21_the_clients_tests_run_against_a_running_server(hub: RunningHub) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/tests.py"],
        cwd=ROOT,
        env=clean_environment(SERVER_URL=hub.url, DSX_API_KEY=hub.key),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    assert " passed" in ended.stdout
    assert '"http://localhost:8000"' in (ROOT / "tests" / "tests.py").read_text()


@pytest.mark.ledger("S2.21")
def test_s2_21_the_clients_tests_fail_without_a_server() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/tests.py", "-k", "missing_file"],
        cwd=ROOT,
        env=clean_environment(SERVER_URL="http://127.0.0.1:9", DSX_API_KEY="k"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1


@pytest.mark.ledger("S2.22")
def test_s2_22_pytest_from_the_root_resolves_imports() -> None:
    """What imports what is settled when tests are collected."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--collect-only"],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3000:]
    assert "tests/ledger/test_installing.py" in ended.stdout


@pytest.mark.ledger("S2.32")
def test_s2_32_uploads_are_ignored_by_git() -> None:
    for path in ("uploads/x", "dsx-data/catalog.db", ".env", "app/wheels/x.whl"):
        subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=True)
