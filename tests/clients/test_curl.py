"""The commands of docs/uploads.md: curl speaks the native API, tus and the IETF's draft.

They are taken from the document and run as a reader would paste them, with $HUB, $KEY and $NAME
set; files are in the working directory.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from tests.clients.stored import MIB, content, records, stored, upload_id
from tests.support.apt import need
from tests.support.hub import RunningHub

SIZE = 3 * MIB + 1

DOCUMENT = Path(__file__).parents[2] / "docs" / "uploads.md"
BLOCKS = dict(
    re.findall(r"^```bash (\S+)\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
)
CREATE, SEND, SEND_CHECKED, ASK, SEND_THE_REST, DELETE, CREATE_PART, JOIN = (
    BLOCKS[f"tus-{name}"]
    for name in ("create", "send", "checked", "ask", "rest", "delete", "part", "join")
)


class Shell:
    """A shell in a directory with data.bin in it."""

    def __init__(self, hub: RunningHub, directory: Path) -> None:
        need("curl")
        need("openssl")
        self.hub = hub
        self.directory = directory
        self.data = content(SIZE, hash(directory.name) & 0xFFFF)
        (directory / "data.bin").write_bytes(self.data)

    def run(self, *commands: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run *commands* one after the other, up to the first that fails."""
        environment = {**os.environ, "HUB": self.hub.url, "KEY": self.hub.key} | variables
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def says(self, *commands: str, **variables: str) -> str:
        """What *commands*, which must succeed, print."""
        done = self.run(*commands, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def shell(hub: RunningHub, tmp_path: Path) -> Shell:
    return Shell(hub, tmp_path)


def test_create_and_send(shell: Shell) -> None:
    shell.says(CREATE, SEND, NAME="curl-whole.bin")
    stored(shell.hub, "curl-whole.bin", shell.data)


def test_resume(shell: Shell) -> None:
    """The rest comes through a pipe, of a length that nobody told."""
    begin = "head -c 1234567 data.bin | " + SEND.replace("-T data.bin", "-T -")
    said = shell.says(CREATE, begin, ASK, 'echo "$OFFSET"', SEND_THE_REST, NAME="curl-resumed")
    assert said == "1234567\n"
    stored(shell.hub, "curl-resumed", shell.data)


def test_checksum(shell: Shell) -> None:
    shell.says(CREATE, SEND_CHECKED, NAME="curl-checked")
    stored(shell.hub, "curl-checked", shell.data)


def test_wrong_checksum(shell: Shell) -> None:
    """Nothing of the chunk is kept, and the right bytes can still be sent."""
    wrong = SEND_CHECKED.replace("-binary data.bin", "-binary /dev/null")
    code = wrong.replace("-sSf", "-sS -o /dev/null -w '%{http_code} '")
    said = shell.says(CREATE, code, ASK, 'echo "$OFFSET"', SEND_CHECKED, NAME="curl-wrong")
    assert said == "460 0\n"
    stored(shell.hub, "curl-wrong", shell.data)


def test_delete(shell: Shell) -> None:
    done = shell.run(CREATE, DELETE, "echo deleted", ASK, NAME="curl-deleted")
    assert done.stdout == "deleted\n"
    assert "404" in done.stderr or "410" in done.stderr
    assert records(shell.hub, "curl-deleted") == []


def test_join(shell: Shell) -> None:
    """Parts are joined in the order in which the last request names them."""
    parts = [content(size, size) for size in (MIB, 1, 2 * MIB)]
    urls = []
    for number, part in enumerate(parts):
        (shell.directory / f"part{number}").write_bytes(part)
        urls.append(shell.says(CREATE_PART, 'printf %s "$PART"', FILE=f"part{number}"))
    shell.says(JOIN, PARTS=" ".join(reversed(urls)), NAME="curl-joined")
    stored(shell.hub, "curl-joined", b"".join(reversed(parts)))


def test_without_a_key(shell: Shell) -> None:
    done = shell.run(CREATE, NAME="curl-nobody", KEY="wrong")
    assert done.returncode == 22
    assert "401" in done.stderr


def test_draft_in_one_request(shell: Shell) -> None:
    """The interim response says where the upload is, the final one where the file is."""
    shell.says(BLOCKS["draft-whole"], NAME="curl-draft")
    head = (shell.directory / "head.txt").read_text().lower()
    upload, file = [line[10:] for line in head.splitlines() if line.startswith("location: ")]
    assert upload.startswith(f"{shell.hub.url}/uploads/")
    assert file == stored(shell.hub, "curl-draft", shell.data)["url"].removesuffix("/content")


def test_draft_resumed(shell: Shell) -> None:
    begin, ask, rest = (BLOCKS[f"draft-{name}"] for name in ("begin", "ask", "rest"))
    said = shell.says(begin, ask, 'echo "$OFFSET"', rest, NAME="curl-draft-resumed")
    assert said.split()[0] == "1000000"
    stored(shell.hub, "curl-draft-resumed", shell.data)


def test_native(shell: Shell) -> None:
    create, parts, look, finish = (
        BLOCKS[f"native-{name}"] for name in ("create", "parts", "look", "finish")
    )
    said = shell.says(create, parts, look, "echo", finish, NAME="curl-native")
    upload, file = [json.loads(line) for line in said.splitlines()]
    assert upload["received"] == [[0, SIZE]]
    assert stored(shell.hub, "curl-native", shell.data)["id"] == file["id"]


def test_native_abort(shell: Shell) -> None:
    done = shell.run(
        BLOCKS["native-create"], BLOCKS["native-abort"], "echo dropped", BLOCKS["native-look"],
        NAME="curl-aborted",
    )  # fmt: skip
    assert done.stdout == "dropped\n"
    assert "410" in done.stderr


def test_tasks(shell: Shell) -> None:
    """An upload begun by tus is paused, resumed and aborted as the task that it is."""
    states = [
        json.loads(shell.says(BLOCKS[f"task-{name}"], TASK=id_))["state"]
        for id_ in [upload_id(shell.says(CREATE, 'echo "$UPLOAD"', NAME="curl-task").strip())]
        for name in ("pause", "resume", "abort")
    ]
    assert states[0] == "paused"
    assert states[1] in {"pending", "running"}
    assert states[2] == "aborted"
    listed = json.loads(shell.says(BLOCKS["task-list"]))
    assert listed["items"][0]["state"] == "aborted"
    assert "event: task\n" in shell.says(BLOCKS["task-watch"])


def test_tasks_of_files(shell: Shell) -> None:
    """A download is gone on with, a delete carried out."""
    shell.says(CREATE, SEND, NAME="curl-files.bin")
    shell.says(BLOCKS["task-download"], NAME="curl-files.bin")
    whole = (shell.directory / "files.zip").read_bytes()
    (shell.directory / "files.zip").write_bytes(whole[:1_000_000])
    shell.says(BLOCKS["task-download"], NAME="curl-files.bin")
    assert (shell.directory / "files.zip").read_bytes() == whole
    with zipfile.ZipFile(shell.directory / "files.zip") as archive:
        assert archive.read("curl-files.bin") == shell.data
    assert json.loads(shell.says(BLOCKS["task-delete"], NAME="curl-files.bin"))["done"] == 1
    assert records(shell.hub, "curl-files.bin") == []


def test_every_command_is_run() -> None:
    """What the document shows, a test above names."""
    text = Path(__file__).read_text()
    for name in BLOCKS:
        kind, _, last = name.partition("-")
        assert f'"{name}"' in text or (f'"{last}"' in text and f"{kind}-{{name}}" in text), name
