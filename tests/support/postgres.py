"""A throw-away PostgreSQL cluster: its own directory, a Unix socket, no TCP port."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from tests.support.apt import ensure

_SETTINGS = "-c listen_addresses= -c fsync=off -c max_connections=60 -c shared_buffers=32MB"


@dataclass(frozen=True)
class Cluster:
    """A running server; its socket lies in *root*."""

    root: Path

    def url(self, database: str) -> str:
        return f"postgresql://dsx@/{database}?host={self.root}"

    def create_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start a cluster; it is gone without a trace afterwards."""
    bin_dir = _binaries()
    root = Path(tempfile.mkdtemp(prefix="dsx-pg-"))
    try:
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            shutil.chown(root, "postgres")
        data = root / "data"
        _run(bin_dir / "initdb", "-U", "dsx", "-A", "trust", "-E", "UTF8", "-N", "-D", data)
        log = ("-l", root / "log", "-w")
        options = f"{_SETTINGS} -k {root}"
        _run(bin_dir / "pg_ctl", "-D", data, *log, "-o", options, "start")
        try:
            yield Cluster(root)
        finally:
            _run(bin_dir / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(root)


def _binaries() -> Path:
    return ensure(_newest, "postgresql")


def _newest() -> Path | None:
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(versions, key=lambda path: int(path.parent.parent.name), default=None)
    if newest is not None:
        return newest.parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def _run(*command: object) -> None:
    user = "postgres" if os.geteuid() == 0 else None
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        user=user,
        group=user,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        message = f"{command[0]} failed:\n{done.stdout}"
        raise RuntimeError(message)
