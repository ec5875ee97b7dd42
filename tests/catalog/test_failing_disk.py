"""C1 for the catalog: a failed fsync of SQLite's log costs that transaction, and no later one.

SQLite alone loses every commit that it acknowledges after such a failure, if transactions that need
not be durable came before.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.failing_disk import EIO, SYNC, FailingDisk
from tests.support.hub import clean_environment

CODE = """
import asyncio, sys
import structlog
from sqlalchemy import text
from dsx.catalog.database import Catalog
from dsx.core.errors import Unavailable

def put(number):
    return lambda connection: connection.execute(text(f"INSERT INTO numbers VALUES ({number})"))

def all_of(connection):
    return list(connection.execute(text("SELECT x FROM numbers ORDER BY x")).scalars())

async def main():
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(sys.stderr))
    catalog = Catalog(f"sqlite:///{sys.argv[1]}/catalog.db")
    await catalog.write(lambda connection: connection.execute(text("CREATE TABLE numbers (x)")))
    await catalog.write(put(1))
    await catalog.write(put(2), durable=False)
    await catalog.read(all_of)
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        await catalog.write(put(3))
    except Unavailable:
        print("refused", flush=True)
    sys.stdin.readline()
    await catalog.write(put(4), durable=False)
    await catalog.write(put(5))
    print(await catalog.read(all_of), flush=True)
    sys.stdin.readline()

asyncio.run(main())
"""


@pytest.mark.parametrize("clean", [False, True], ids=["dropped", "kept in memory"])
def test_c1_commits_after_a_failed_sync_survive(tmp_path: Path, clean: bool) -> None:
    disk = FailingDisk(tmp_path / "data", tmp_path / "kept")
    with subprocess.Popen(
        [sys.executable, "-c", CODE, disk.root],
        env=clean_environment(**disk.environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def go_on() -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        assert process.stdout.readline() == "ready\n"
        with disk.failing(1, EIO, kinds=SYNC, catalog=1, clean=clean):
            assert go_on() == "refused"
        assert go_on() == "[1, 4, 5]"  # the second need not be durable, and is not
        process.kill()
    disk.lose_power()
    with closing(sqlite3.connect(disk.root / "catalog.db")) as catalog:
        assert catalog.execute("SELECT x FROM numbers ORDER BY x").fetchall() == [(1,), (4,), (5,)]
        assert catalog.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
