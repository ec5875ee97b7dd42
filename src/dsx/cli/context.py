"""Which server a command talks to, and how: flags, environment, ``.env``, profile, defaults."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import typer

from dsx.cli import profiles
from dsx.cli.output import Output, note

if TYPE_CHECKING:
    from dsx.client.hub import DatasetHubClient
    from dsx.client.progress import Progress

DEFAULT_SERVER = "http://127.0.0.1:8000"
SERVER_VARIABLES = ("SERVER_URL", "DSX_SERVER_URL")
CA_VARIABLES = ("DSX_CA_FILE",)
KEY_VARIABLES = ("DSX_API_KEY", "AUTH_TOKEN")


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and where it came from."""

    value: str | None
    origin: str


class Context:
    """What all commands share."""

    def __init__(
        self,
        *,
        server: str | None,
        api_key: str | None,
        profile: str | None,
        as_json: bool,
        ca_file: str | None = None,
        default: str = DEFAULT_SERVER,
    ) -> None:
        """What the flags say; *default* is the server that nobody named."""
        self.output = Output(as_json=as_json)
        self.profile = profile or profiles.DEFAULT
        self._given = {"server": server, "api_key": api_key, "ca_file": ca_file}
        self._profile = profile
        self._default = default

    @staticmethod
    def of(ctx: typer.Context) -> Context:
        """The context that `dsx.cli.main` made."""
        context = ctx.obj
        assert isinstance(context, Context)
        return context

    def client(
        self, cache_dir: Path | None = None, progress: Progress | None = None
    ) -> DatasetHubClient:
        """A client of the chosen server."""
        from dsx.client.hub import DatasetHubClient  # noqa: PLC0415 (slow to import)

        return DatasetHubClient(
            self.server.value or self._default,
            self.api_key.value,
            cache_dir,
            progress=progress,
            ca_file=self.ca_file.value,
            notify=note,
        )

    @cached_property
    def ca_file(self) -> Setting:
        """The file of certificates that sign the server's."""
        found = self._look_up("ca_file", CA_VARIABLES) or self._signed_in("ca_file")
        return found or Setting(None, "the system's")

    @cached_property
    def server(self) -> Setting:
        """The server's URL."""
        found = self._look_up("server", SERVER_VARIABLES)
        if found is None and self._look_up("api_key", KEY_VARIABLES) is None:
            found = self._signed_in("server")
        return found or Setting(self._default, "default")

    @cached_property
    def api_key(self) -> Setting:
        """The API key or token: what was given, or was signed in with, or the local server's own.

        Neither of the latter two is ever shown to another server than theirs.
        """
        found = self._look_up("api_key", KEY_VARIABLES)
        if found is not None:
            # The server's setting may list several keys; any of them opens the door.
            value = (found.value or "").split(",")[0].strip()
            return Setting(value, found.origin)
        server = self._signed_in("server")
        if server is not None and _same(server.value, self.server.value):
            return self._signed_in("api_key") or Setting(None, "not set")
        key_file = Path(os.environ.get("DSX_DATA_DIR") or "dsx-data") / "admin.key"
        if self.server.value == self._default and _is_local(self._default):
            with contextlib.suppress(OSError):
                return Setting(key_file.read_text("ascii").strip(), str(key_file))
        return Setting(None, "not set")

    def _look_up(self, name: str, variables: tuple[str, ...]) -> Setting | None:
        if self._given[name]:
            return Setting(self._given[name], "flag")
        if self._profile:
            value = self._profile_values.get(name)
            return Setting(str(value), f"profile {self._profile}") if value else None
        dotenv = _dotenv(Path(".env"))
        for origin, values in (("environment", os.environ), (".env", dotenv)):
            for variable in variables:
                if values.get(variable):
                    return Setting(values[variable], f"{origin} ({variable})")
        return None

    @cached_property
    def _profile_values(self) -> dict[str, str]:
        return profiles.read(self.profile)

    def _signed_in(self, name: str) -> Setting | None:
        """What `dsx login` left, for commands that are told nothing else."""
        if self._profile:
            return None
        value = profiles.read_all().get(profiles.DEFAULT, {}).get(name)
        return Setting(value, f"profile {profiles.DEFAULT}") if value else None


def _same(one: str | None, other: str | None) -> bool:
    return (one or "").rstrip("/") == (other or "").rstrip("/")


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}


def _dotenv(path: Path) -> dict[str, str]:
    """``NAME=value`` lines; quotes around the value are dropped."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    values = {}
    for line in lines:
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            text = value.strip()
            quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
            values[name.strip()] = text[1:-1] if quoted else text.split(" #")[0].strip()
    return values
