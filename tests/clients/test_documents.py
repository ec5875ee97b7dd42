"""What the documents' commands need is defined in them, before it is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.support.hub import running_hub
from tests.support.shell import sh

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(?:bash|console|sh)\b[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
USED_OR_SET = re.compile(r"\$\{?([A-Z][A-Z0-9_]*)|\b([A-Z][A-Z0-9_]*)=|\bfor ([A-Z][A-Z0-9_]*) in")
SET_BY_SHELLS = {"HOME", "PWD", "PATH", "USER"}


def undefined(text: str) -> set[str]:
    """Variables that commands in *text* use before it says what they are."""
    known, missing = set(SET_BY_SHELLS), set()
    for block in BLOCK.findall(text):
        for used, *given in USED_OR_SET.findall(block):
            if used and used not in known:
                missing.add(used)
            known.update(filter(None, given))
    return missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=[path.name for path in DOCUMENTS])
def test_every_variable_is_defined(document: Path) -> None:
    """Issue 9, section 4: docs use `$NAME` without defining it."""
    assert undefined(document.read_text()) == set()


def test_what_is_not_defined_is_found() -> None:
    assert undefined('```bash x\nA=1\necho "$A ${B}" $C\n```\nC=2\n') == {"B", "C"}


def test_pages_can_be_pasted(tmp_path: Path) -> None:
    """#7, #17, #35: top to bottom, in one hub, here below a path."""
    with running_hub(tmp_path, DSX_ROOT_PATH="/hub") as hub:
        url = hub.url.removesuffix("/hub") + "/hub"
        key = tmp_path / "dsx-data" / "admin.key"
        key.parent.mkdir()
        key.write_text(hub.key)
        hub.user("alice")
        for document in ("docs/uploads.md", "docs/accounts.md", "docs/storage.md"):
            text = (ROOT / document).read_text()
            blocks = re.findall(r"^```bash[^\n]*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
            wanted = [
                block for block in blocks if "make " not in block and "catalog.db" not in block
            ]
            commands = "\n".join(wanted).replace("http://127.0.0.1:8000", url)
            told = sh(re.sub(r"\bcurl (?!-s)", "curl -sSf ", commands), tmp_path)
            assert told
