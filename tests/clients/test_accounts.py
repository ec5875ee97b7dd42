"""The commands of docs/accounts.md, as a reader would paste them."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from tests.support.hub import PASSWORD, RunningHub
from tests.support.shell import sh

DOCUMENT = Path(__file__).parents[2] / "docs" / "accounts.md"
BLOCKS = dict(
    re.findall(r"^```bash (\S+)\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
)


def test_every_command_in_their_order(hub: RunningHub, tmp_path: Path) -> None:
    variables = {"HUB": hub.url, "KEY": hub.key, "NAME": "doc-carol", "PASSWORD": PASSWORD}

    def run(block: str) -> str:
        return sh(BLOCKS.pop(block), tmp_path, **variables)

    assert '"role":"member"' in run("account-create")
    assert run("account-spellings").count('"username":"admin"') == 3
    assert '"items":[]' in run("token-create")
    assert run("share-link").endswith("results")
    assert zipfile.ZipFile(tmp_path / "train.zip").namelist() == ["results.txt"]
    assert BLOCKS == {}
