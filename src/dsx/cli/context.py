"""Server and credential of a command: from flags, environment, ``.env``, profile or defaults."""

from __future__ import annotations

import contextlib
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dsx.cli import profiles
from dsx.cli.local_server import DEFAULT, Setting, local_key, local_server, read_dotenv
from dsx.cli.output import Output, note
from dsx.core.errors import NotFound
from dsx.core.running import CA_FILE

if TYPE_CHECKING:
    from dsx.client.client import DatasetHubClient
    from dsx.client.progress import Progress

DEFAULT_SERVER = "http://127.0.0.1:8000"
SERVER_VARIABLES = ("SERVER_URL", "DSX_SERVER_URL")
CA_VARIABLES = (CA_FILE,)
KEY_VARIABLES = ("DSX_API_KEY", "AUTH_TOKEN")


class Context:
    """Connection settings and output shared by all commands."""

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
        """Take the values of the flags; *default* is the server if none is configured."""
        self.output = Output(as_json=as_json)
        self.profile = profile or profiles.DEFAULT
        self._given = {"server": server, "api_key": api_key, "ca_file": ca_file}
        self._profile = profile
        self._default = default

    @staticmethod
    def of(ctx: typer.Context) -> Context:
        """Return the context created by `dsx.cli.main`."""
        context = ctx.obj
        assert isinstance(context, Context)
        return context

    def client(
        self, cache_dir: Path | None = None, progress: Progress | None = None
    ) -> DatasetHubClient:
        """Return a client for the configured server."""
        from dsx.client.client import DatasetHubClient  # noqa: PLC0415 (slow to import)

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
        """The file of CA certificates that verify the server's."""
        with contextlib.suppress(NotFound):  # the profile does not exist yet
            found = self._look_up("ca_file", CA_VARIABLES) or self._signed_in("ca_file")
            if found is not None:
                return found
        return Setting(None, "system default")

    @cached_property
    def server(self) -> Setting:
        """The server's URL."""
        found = self._look_up("server", SERVER_VARIABLES)
        if found is None and self._look_up("api_key", KEY_VARIABLES) is None:
            found = self._signed_in("server")
        return found or self._local

    @cached_property
    def _local(self) -> Setting:
        """The hub on this machine, unless the default server is another one."""
        found = local_server() if self._default == DEFAULT_SERVER else None
        return found or Setting(self._default, DEFAULT)

    @cached_property
    def api_key(self) -> Setting:
        """The API key or token: configured, from `dsx login`, or the local hub's admin key.

        The latter two are sent only to the server they belong to.
        """
        found = self._look_up("api_key", KEY_VARIABLES)
        if found is not None:
            # The server's setting may list several keys; any of them works.
            value = (found.value or "").split(",")[0].strip()
            return Setting(value, found.origin)
        server = self._signed_in("server")
        if server is not None and _same(server.value, self.server.value):
            found = self._signed_in("api_key")
        return found or local_key(self.server.value, self._local) or Setting(None, "not set")

    def _look_up(self, name: str, variables: tuple[str, ...]) -> Setting | None:
        if self._given[name]:
            return Setting(self._given[name], "flag")
        if self._profile:
            value = self._profile_values.get(name)
            return Setting(str(value), f"profile {self._profile}") if value else None
        dotenv = read_dotenv()
        for origin, values in (("environment", os.environ), (".env", dotenv)):
            for variable in variables:
                if values.get(variable):
                    return Setting(values[variable], f"{origin} ({variable})")
        return None

    @cached_property
    def _profile_values(self) -> dict[str, str]:
        return profiles.read(self.profile)

    def _signed_in(self, name: str) -> Setting | None:
        """A value stored by `dsx login`; None if a profile was selected."""
        if self._profile:
            return None
        value = profiles.read_all().get(profiles.DEFAULT, {}).get(name)
        return Setting(value, f"profile {profiles.DEFAULT}") if value else None


def _same(one: str | None, other: str | None) -> bool:
    return (one or "").rstrip("/") == (other or "").rstrip("/")
