"""Container files and continuous integration, as far as they can be tried without an engine.

There is no Docker engine to build and run images with where these tests run. They install what the
Dockerfiles install, start what they start with the settings they set, and compare the files with
each other; building the images is the job `images` of `.github/workflows/ci.yml`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.containers import Image, image
from tests.support.hub import clean_environment, running_hub
from tests.support.shell import sh
from tests.support.started import free_port, started
from tests.support.venvs import CleanVenv, copy_of_checkout

from dsx.config import Settings

ROOT = Path(__file__).resolve().parents[2]
BASE = "python:3.11-slim"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def hub_image() -> Image:
    return image(ROOT / "Dockerfile")


@pytest.fixture(scope="module")
def server_image() -> Image:
    return image(ROOT / "app" / "Dockerfile")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text()))


@pytest.fixture(scope="module")
def base(hub_image: Image, tmp_path_factory: pytest.TempPathFactory) -> CleanVenv:
    """In place of the base image; what the top-level Dockerfile installs has been installed."""
    assert hub_image.all("FROM") == [BASE]
    assert hub_image.all("COPY") == [". ."]
    context = copy_of_checkout(tmp_path_factory.mktemp("context"))
    for name in context.iterdir():  # as .dockerignore has it
        if f"!{name.name}" not in (ROOT / ".dockerignore").read_text().splitlines():
            shutil.rmtree(name) if name.is_dir() else name.unlink()
    venv = CleanVenv(tmp_path_factory.mktemp("base") / "venv")
    (install,) = hub_image.installs
    venv.sh(install, context)
    shutil.rmtree(context)  # an image that needed it later would not start
    return venv


def start(venv: CleanVenv, built: Image, directory: Path, data: Path, **variables: str) -> Any:
    """The image's CMD with its ENV; only port and data directory are this test's own."""
    port = free_port()
    command = [venv.bin / built.command[0], *built.command[1:]]
    own = {"DSX_PORT": str(port), "DSX_DATA_DIR": str(data), "PYTHONPATH": ""}
    settings = built.environment | {"DSX_API_KEY": ""} | variables | own
    return started(command, directory, port, **settings)


@pytest.mark.ledger("S1.44", "S1.45")
def test_s1_44_s1_45_compose_without_an_engine(
    base: CleanVenv, hub_image: Image, compose: dict[str, Any], tmp_path: Path
) -> None:
    service = compose["services"]["hub"]
    assert service["build"] == "."
    (published,) = service["ports"]
    assert published == f"80:{hub_image.environment['DSX_PORT']}"
    assert hub_image.all("EXPOSE") == [hub_image.environment["DSX_PORT"]]
    (volume,) = service["volumes"]
    name, place = volume.split(":")
    assert name in compose["volumes"]
    assert [place] == hub_image.all("VOLUME") == [hub_image.environment["DSX_DATA_DIR"]]
    assert hub_image.environment["DSX_HOST"] == "0.0.0.0"
    with start(base, hub_image, tmp_path, tmp_path / "data") as hub:  # no key, as it comes
        sh(f"curl -f {hub.url}/health", tmp_path)
        check(base, service, hub.url)
        key = (tmp_path / "data" / "admin.key").read_text().strip()
        hub.key = key
        assert hub.post("/upload=a", data=b"x").status_code == 201
        assert key not in hub.log.read_text()  # where others may read it
        assert "admin.key" in hub.log.read_text()
    with start(base, hub_image, tmp_path, tmp_path / "data", DSX_API_KEY="given") as hub:
        assert hub.get("/list").text == "a\n"  # what is in the volume is there again
    assert hub.process.returncode == 0


def check(venv: CleanVenv, service: dict[str, Any], url: str) -> None:
    """The service's health check passes, and can fail."""
    kind, *command = service["healthcheck"]["test"]
    assert kind == "CMD"
    assert "http://127.0.0.1:8000/health" in command[-1]
    for address, code in ((url, 0), ("http://127.0.0.1:9", 1)):
        words = [word.replace("http://127.0.0.1:8000", address) for word in command]
        ended = subprocess.run([venv.bin / words[0], *words[1:]], capture_output=True, check=False)
        assert ended.returncode == code


@pytest.mark.ledger("S1.3")
def test_s1_3_demo_profile_without_an_engine(
    base: CleanVenv, hub_image: Image, compose: dict[str, Any], tmp_path: Path
) -> None:
    service = compose["services"]["demo"]
    assert service["profiles"] == ["demo"]
    assert service["ports"] == ["127.0.0.1:8080:8000"]  # its key is known to everybody
    assert "volumes" not in service
    variables = service["environment"]
    known = {f"DSX_{name.upper()}" for name in Settings.model_fields}
    assert set(variables) <= known
    with start(base, hub_image, tmp_path, tmp_path / "data", **variables) as hub:
        assert hub.key == "demo"
        assert hub.get("/list").status_code == 200
        assert "Swagger" in hub.get("/docs").text


@pytest.mark.ledger("S2.1", "S2.2")
def test_s2_1_s2_2_server_image_without_an_engine(
    base: CleanVenv, server_image: Image, tmp_path: Path
) -> None:
    """`cd app && docker build -t server .`, after `pip wheel` as the Dockerfile tells it."""
    assert server_image.all("FROM") == [BASE]
    assert server_image.all("COPY") == [". app"]
    assert server_image.all("EXPOSE") == ["5000"]
    assert "DSX_PORT" not in server_image.environment  # server_config.py tells it
    clone = copy_of_checkout(tmp_path / "clone")
    base.sh("pip wheel -q --no-deps --wheel-dir app/wheels .", clone)
    place = tmp_path / "srv"
    shutil.copytree(clone / "app", place / "app")
    shutil.rmtree(clone)
    base.sh("pip uninstall -q -y dsx-hub", place)
    (install,) = server_image.installs
    base.sh(install, place)
    with start(base, server_image, place, tmp_path / "data") as hub:
        sh(f"curl -f {hub.url}/health", tmp_path)
        hub.key = (tmp_path / "data" / "admin.key").read_text().strip()
        assert hub.post("/upload=a", data=b"x").status_code == 201
        assert "Listening at: http://0.0.0.0:" in hub.log.read_text()
    assert hub.process.returncode == 0


def test_images_do_not_run_as_root(hub_image: Image, server_image: Image) -> None:
    for built in (hub_image, server_image):
        assert built.all("USER") == ["dsx"]
        assert any("useradd --system" in line for line in built.all("RUN"))
        assert not any(name.endswith(("KEY", "TOKEN")) for name in built.environment)


# Continuous integration


def steps(workflow: dict[str, Any], job: str) -> list[str]:
    return [step["run"] for step in workflow["jobs"][job]["steps"] if "run" in step]


@pytest.mark.ledger("S2.24")
def test_s2_24_the_client_job_of_ci_passes_here(workflow: dict[str, Any], tmp_path: Path) -> None:
    """Its commands, in a clean environment: the wheel is built, installed, and tested."""
    systems = workflow["jobs"]["client"]["strategy"]["matrix"]["os"]
    assert {name.split("-")[0] for name in systems} == {"ubuntu", "macos", "windows"}
    clone, venv = copy_of_checkout(tmp_path / "clone"), CleanVenv(tmp_path / "venv")
    commands = steps(workflow, "client")
    assert "python -m pip install dist/*.whl" in commands
    for command in commands:
        printed = venv.sh(command, clone)
    assert " passed" in printed


@pytest.mark.ledger("S2.31")
def test_s2_31_coverage_is_reported(workflow: dict[str, Any], tmp_path: Path) -> None:
    assert any(step.startswith("make coverage") for step in steps(workflow, "everything"))
    recipe = (ROOT / "Makefile").read_text().partition("\ncoverage:")[2].partition("\n\n")[0]
    for command in ("coverage run -m pytest", "coverage combine", "coverage report"):
        assert command in recipe
    script = tmp_path / "test_it.py"
    script.write_text(
        "from tests.support.hub import running_hub\n"
        "def test_it(tmp_path):\n"
        "    with running_hub(tmp_path) as hub:\n"
        "        assert hub.get('/list').status_code == 200\n"
    )
    settings = clean_environment(COVERAGE_FILE=str(tmp_path / ".coverage"))

    def coverage(*arguments: str) -> str:
        command = [sys.executable, "-m", "coverage", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=settings, check=True, capture_output=True, text=True
        ).stdout

    coverage(
        "run", "-m", "pytest", "-q", str(script), "--rootdir", str(ROOT), "-c", "pyproject.toml"
    )
    coverage("combine", "--quiet")
    table = coverage("report", "--include", "*/dialects/fileserver.py", "--format", "total")
    assert int(table) > 40  # the handler ran, in the server's process


# Settings that are secrets


@pytest.mark.ledger("S2.30")
def test_s2_30_the_key_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "k"
    secret.write_text("from-a-file\n")
    variables = {"DSX_API_KEY": "", "DSX_API_KEY_FILE": str(secret)}
    with running_hub(tmp_path, **variables) as hub:
        assert hub.get("/list").status_code == 401
        hub.key = "from-a-file"
        assert hub.get("/list").status_code == 200
        assert not (hub.data_dir / "admin.key").exists()


@pytest.mark.ledger("S2.30")
@pytest.mark.parametrize("content", [None, "", "\n"])
def test_s2_30_a_missing_or_empty_file_is_told(tmp_path: Path, content: str | None) -> None:
    secret = tmp_path / "k"
    if content is not None:
        secret.write_text(content)
    ended = subprocess.run(
        [sys.executable, "-m", "dsx", "serve"],
        env=clean_environment(DSX_PORT="0", DSX_API_KEY_FILE=str(secret)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert f"DSX_API_KEY_FILE: {secret}" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "dsx-data").exists()


def test_files_keep_the_order_of_precedence(tmp_path: Path) -> None:
    (tmp_path / "k").write_text("file")
    (tmp_path / ".env").write_text("DSX_API_KEY=dotenv\n")
    (tmp_path / "dsx.toml").write_text('api_key = "toml"\n')
    script = "from dsx.config import Settings; print(*Settings().keys)"

    def key(**variables: str) -> str:
        command = [sys.executable, "-c", script]
        settings = clean_environment(**variables)
        return subprocess.check_output(command, cwd=tmp_path, env=settings, text=True).strip()

    named = {"DSX_API_KEY_FILE": str(tmp_path / "k")}
    assert key(DSX_API_KEY="environment", **named) == "environment"
    assert key(**named) == "file"
    assert key() == "dotenv"
    (tmp_path / ".env").write_text(f"DSX_API_KEY_FILE={tmp_path}/k\n")
    assert key() == "file"


@pytest.mark.ledger("S2.30")
def test_s2_30_the_recipe_for_the_parameter_store(tmp_path: Path) -> None:
    """As documented; `aws` is a stand-in here that has the value, as there is no account."""
    text = (ROOT / "docs" / "coming-from.md").read_text()
    (recipe,) = (part for part in text.split("```bash\n") if part.startswith("umask 077\naws ssm"))
    aws = tmp_path / "bin" / "aws"
    aws.parent.mkdir()
    asked = "ssm get-parameter --name /dsx/api-key --with-decryption"
    aws.write_text(f'#!/bin/sh\ncase "$*" in "{asked}"*) echo from-ssm ;; *) exit 2 ;; esac\n')
    aws.chmod(0o755)
    script = recipe.split("```")[0].replace(" dsx serve", " exec dsx serve")
    port = free_port()
    path = f"{aws.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {"PATH": path, "DSX_PORT": str(port), "DSX_API_KEY": ""}
    with started(["bash", "-euc", script], tmp_path, port, **settings) as hub:
        hub.key = "from-ssm"
        assert hub.get("/list").status_code == 200
    assert (tmp_path / "api-key").stat().st_mode & 0o777 == 0o600
