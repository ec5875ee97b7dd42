"""Uploads by hand: curl speaks tus and the IETF's draft with the commands of docs/uploads.md.

Each command is shell text as a reader would paste it, with $HUB and $KEY set; files are in the
working directory.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.clients.stored import MIB, content, records, stored, upload_id
from tests.support.apt import need
from tests.support.hub import RunningHub

SIZE = 3 * MIB + 1

CREATE = """
UPLOAD=$(curl -sSf -X POST "$HUB/uploads" -o /dev/null -w '%header{location}' \\
  -H "Authorization: Bearer $KEY" -H 'Tus-Resumable: 1.0.0' \\
  -H "Upload-Length: $(stat -c %s data.bin)" \\
  -H "Upload-Metadata: filename $(printf %s "$NAME" | base64 -w 0)")
"""
SEND = """
curl -sSf -X PATCH -T data.bin "$UPLOAD" \\
  -H "Authorization: Bearer $KEY" -H 'Tus-Resumable: 1.0.0' \\
  -H 'Content-Type: application/offset+octet-stream' -H 'Upload-Offset: 0'
"""
SEND_CHECKED = """
curl -sSf -X PATCH -T data.bin "$UPLOAD" \\
  -H "Authorization: Bearer $KEY" -H 'Tus-Resumable: 1.0.0' \\
  -H 'Content-Type: application/offset+octet-stream' -H 'Upload-Offset: 0' \\
  -H "Upload-Checksum: sha1 $(openssl dgst -sha1 -binary data.bin | base64)"
"""
ASK = """
OFFSET=$(curl -sSf -I "$UPLOAD" -o /dev/null -w '%header{upload-offset}' \\
  -H "Authorization: Bearer $KEY" -H 'Tus-Resumable: 1.0.0')
"""
SEND_THE_REST = """
tail -c "+$((OFFSET + 1))" data.bin | curl -sSf -X PATCH -T - "$UPLOAD" \\
  -H "Authorization: Bearer $KEY" -H 'Tus-Resumable: 1.0.0' \\
  -H 'Content-Type: application/offset+octet-stream' -H "Upload-Offset: $OFFSET"
"""
DELETE = """
curl -sSf -X DELETE "$UPLOAD" -H "Authorization: Bearer $KEY" -H 'Tus-Resumable: 1.0.0'
"""
CREATE_PART = """
PART=$(curl -sSf -X POST "$HUB/uploads" -o /dev/null -w '%header{location}' \\
  -H "Authorization: Bearer $KEY" -H 'Tus-Resumable: 1.0.0' \\
  -H 'Upload-Concat: partial' -H "Upload-Length: $(stat -c %s "$FILE")")
curl -sSf -X PATCH -T "$FILE" "$PART" \\
  -H "Authorization: Bearer $KEY" -H 'Tus-Resumable: 1.0.0' \\
  -H 'Content-Type: application/offset+octet-stream' -H 'Upload-Offset: 0'
"""
JOIN = """
curl -sSf -X POST "$HUB/uploads" -o /dev/null \\
  -H "Authorization: Bearer $KEY" -H 'Tus-Resumable: 1.0.0' \\
  -H "Upload-Concat: final;$PARTS" \\
  -H "Upload-Metadata: filename $(printf %s "$NAME" | base64 -w 0)"
"""
DRAFT_WHOLE = """
curl -sSf -X POST -T data.bin "$HUB/uploads?name=curl-draft" -D head.txt \\
  -H "Authorization: Bearer $KEY" -H 'Upload-Draft-Interop-Version: 8' \\
  -H 'Upload-Complete: ?1'
"""
DRAFT_BEGIN = """
UPLOAD=$(head -c 1000000 data.bin | curl -sSf -X POST -T - "$HUB/uploads" \\
  -o /dev/null -w '%header{location}' \\
  -H "Authorization: Bearer $KEY" -H 'Upload-Draft-Interop-Version: 8' \\
  -H 'Upload-Complete: ?0')
"""
DRAFT_ASK = """
OFFSET=$(curl -sSf -I "$UPLOAD" -o /dev/null -w '%header{upload-offset}' \\
  -H "Authorization: Bearer $KEY" -H 'Upload-Draft-Interop-Version: 8')
"""
DRAFT_REST = """
tail -c "+$((OFFSET + 1))" data.bin | curl -sSf -X PATCH -T - "$UPLOAD" \\
  -H "Authorization: Bearer $KEY" -H 'Upload-Draft-Interop-Version: 8' \\
  -H 'Content-Type: application/partial-upload' \\
  -H "Upload-Offset: $OFFSET" -H 'Upload-Complete: ?1'
"""


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
    begin = SEND.replace("-T data.bin", "-T -").replace(
        "\ncurl", "\nhead -c 1234567 data.bin | curl"
    )
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
    shell.says(DRAFT_WHOLE)
    head = (shell.directory / "head.txt").read_text().lower()
    upload, file = [line[10:] for line in head.splitlines() if line.startswith("location: ")]
    assert upload.startswith(f"{shell.hub.url}/uploads/")
    assert file == stored(shell.hub, "curl-draft", shell.data)["url"].removesuffix("/content")


def test_draft_resumed(shell: Shell) -> None:
    said = shell.says(DRAFT_BEGIN, DRAFT_ASK, 'echo "$OFFSET $UPLOAD"', DRAFT_REST)
    offset, location, *_file = said.split()
    assert int(offset) == 1_000_000
    stored(shell.hub, upload_id(location), shell.data)
