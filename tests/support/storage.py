"""A user of the proxy-and-nodes seed: its commands, typed beside its image."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.hub import RunningHub
from tests.support.shell import sh

IMAGE = random.Random(3).randbytes(32634)
MD5 = hashlib.md5(IMAGE).hexdigest()
NEW = "$B/storage/tmp-upload/"
AS = 'curl -H "Authorization: JWT $J"'


@dataclass
class Typist:
    """Types commands in *directory*, where the image is. $B is the hub, $J the token."""

    hub: RunningHub
    directory: Path
    token: str = ""

    def __post_init__(self) -> None:
        (self.directory / "some-image.png").write_bytes(IMAGE)

    def type(self, command: str, **variables: str) -> str:
        """What the command prints."""
        known = {"B": self.hub.url, "J": self.token or self.hub.key, "MD5": MD5}
        return sh(command, self.directory, **known | variables)

    def ask(self, command: str, status: int = 200, **variables: str) -> Any:
        """The JSON that a curl command prints; the answer has to have *status*."""
        printed = self.type(f"{command} -w '\\n%{{http_code}}'", **variables)
        body, _, code = printed.rpartition("\n")
        assert code == str(status), printed
        return json.loads(body)

    def chunk(self, span: str, file: str, to: str = NEW, *more: str, status: int = 200) -> Any:
        """The answer to a PUT of *file* as the bytes *span*."""
        ranged = f'-H "Content-Range: bytes {span}" -F file=@{file}'
        return self.ask(" ".join([AS, ranged, *more, "-X PUT", to]), status)

    def store(self, name: str, *more: str, status: int = 201) -> Any:
        """The answer to a POST of the whole image as *name*."""
        form = f"-X POST -F file=@some-image.png -F filename={name} -F md5=$MD5"
        return self.ask(" ".join([AS, form, *more, NEW]), status)

    def listed(self, name: str) -> dict[str, Any]:
        """The file of that name as the listing has it; empty if it has not."""
        page = self.ask(f"{AS} '{self.hub.url}/storage/files/?page_size=1000'")
        found: dict[str, Any] = next((r for r in page["results"] if r["filename"] == name), {})
        return found

    def part(self, file: str, start: int, stop: int) -> str:
        """The name of a *file*, made now, of these bytes of the image."""
        (self.directory / file).write_bytes(IMAGE[start:stop])
        return file
