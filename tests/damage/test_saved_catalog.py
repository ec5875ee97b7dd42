"""What docs/storage.md says about a damaged catalog, pasted: all that can be read is saved."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.support.apt import need
from tests.support.hub import running_hub
from tests.support.shell import run, sh

DOCUMENT = Path(__file__).parents[2] / "docs" / "storage.md"
BLOCKS = dict(
    re.findall(r"^```bash (\S+)\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
)
PAGE = 4096
FILES = 60


def damage(catalog: Path, table: str) -> None:
    """Overwrite what is in the middle of a *table*."""
    query = f"SELECT pageno FROM dbstat WHERE name = '{table}' AND pagetype = 'leaf'"
    found = subprocess.run(["sqlite3", catalog, query], check=True, capture_output=True)
    pages = [int(page) for page in found.stdout.split()]
    assert len(pages) > 2
    with catalog.open("r+b") as file:
        file.seek((pages[len(pages) // 2] - 1) * PAGE + 100)
        file.write(b"\xff" * 3000)


def test_what_can_be_read_of_a_damaged_catalog_is_saved(tmp_path: Path) -> None:
    """#4: with the sqlite3 that Debian has."""
    need("sqlite3")
    data = tmp_path / "dsx-data"
    with running_hub(tmp_path, DSX_DATA_DIR=str(data)) as hub:
        for number in range(FILES):
            hub.store(f"f{number}", b"%d" % number)
    damage(data / "catalog.db", "files")
    told = run("dsx fsck", tmp_path)
    assert (told.returncode, "docs/storage.md" in told.stderr) == (6, True)
    saved = run(BLOCKS["catalog-save"], tmp_path).stdout.split()
    assert saved[0] == "ok"
    assert 20 < int(saved[1]) < FILES
    checked = sh(f"cd dsx-data\n{BLOCKS['catalog-replace']}", tmp_path)
    assert "Every record has its blob" in checked
    assert "wrong usage counts; --repair" in checked
    with running_hub(tmp_path, DSX_DATA_DIR=str(data)) as hub:
        answer = hub.get("/api/v1/files?limit=100")
        assert answer.status_code == 200, (answer.text, hub.log.read_text())
        found = answer.json()["items"]
        assert len(found) == int(saved[1])
        for record in found:
            assert hub.get(f"/api/v1/files/{record['id']}/content").text == record["name"][1:]
        hub.store("again", b"new")
