"""Runs the hub: listens, starts server processes, reports readiness and shuts down cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shlex
import signal
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from pydantic import ValidationError
from uvicorn.supervisors import Multiprocess

from dsx import __version__
from dsx.config import Settings
from dsx.core.errors import Invalid, Unavailable, Unusable
from dsx.core.running import ADMIN_KEY_FILE, DATA_DIR, SERVER_FILE
from dsx.hub.accounts.oidc_provider import check_installed
from dsx.hub.accounts.signing_keys import load_or_create_secret
from dsx.hub.integrity.belonging import agreement, renew
from dsx.logs import configure_logging
from dsx.setting_origins import of_services, unknown
from dsx.store import KEY_PREFIX, check_secrets, open_store
from dsx.wiring import check_apart

_GRACE = 6  # seconds for requests in flight after SIGTERM; the process must exit within 10
SERVING: dict[str, Any] = {
    "http": "dsx.transport.protocol:DSXProtocol",
    "loop": "asyncio",
    "ws": "none",
    "lifespan": "on",
    "log_config": None,
    "access_log": False,
    "proxy_headers": False,  # see dsx.http.proxies
    "server_header": False,
    "timeout_graceful_shutdown": _GRACE,
    "backlog": 128,  # also how often asyncio tries to accept when out of descriptors
}
"""Options for uvicorn, however it is started."""
_READY_DEADLINE = 60.0
_BACKLOG = 2048


def load_settings(given: Mapping[str, Any], required: Sequence[str] = ()) -> Settings:
    """Load the settings, overridden by *given*; `Invalid` names wrong or missing variables."""
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problems = [
            f"DSX_{str(item['loc'][0]).upper().removeprefix('DSX_')}: "
            + item["msg"].removeprefix("Value error, ")
            for item in error.errors()
        ]
        raise Invalid("; ".join(problems)) from None
    for variable in required:
        if not getattr(settings, variable.removeprefix("DSX_").lower()):
            raise Invalid(f"{variable} is required: set it in the environment or in .env")
    return settings


def run(settings: Settings, *, make_key: bool = False) -> None:
    """Serve until SIGINT or SIGTERM. Raises `Invalid` if *settings* cannot be served.

    *make_key*: generate a missing admin key even if other machines can reach the hub.
    """
    configure_logging(settings.log_level, settings.log_format)
    check_apart(settings)
    for name in of_services():
        _print_status(
            f"  {name} is set by Kubernetes for a service and ignored; use flags or dsx.toml"
        )
    for name in unknown():
        _print_status(f"  {name} is not a setting and is ignored; `dsx config` lists all settings")
    if settings.oidc_issuer:
        check_installed()
    _require_a_key(settings, make_key=make_key)
    _check_storage(settings)
    _tell_where_things_are(settings)
    listener = _listen(settings)
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    settings.export()
    # On exit uvicorn raises the signal again for an earlier handler, which does not exist here.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: None)
    config = uvicorn.Config(
        "dsx.app:create_app",
        factory=True,
        workers=settings.workers,
        **SERVING,
    )
    with _found_by_commands(settings):
        threading.Thread(target=_announce, args=(settings, listener), daemon=True).start()
        if settings.workers == 1:
            uvicorn.Server(config).run([listener])
            return
        with tempfile.TemporaryDirectory(prefix="dsx-metrics-") as directory:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
            Multiprocess(config, sockets=[listener]).run()


@contextlib.contextmanager
def _found_by_commands(settings: Settings) -> Iterator[None]:
    """Publish the server's URL to commands on this machine, in a file locked while it runs."""
    place = settings.data_dir / SERVER_FILE
    if (other := _served_at(place)) is not None:
        _print_status(
            f"  another server uses this data directory, at {other}; commands will find that one"
        )
        yield
        return
    draft = place.with_name(f"{SERVER_FILE}.{os.getpid()}")
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # it serves regardless
            descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            stack.callback(os.close, descriptor)
            stack.callback(_remove_if_ours, place, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, json.dumps({"url": _local_url(settings)}).encode())
            draft.replace(place)
        yield


def _served_at(place: Path) -> str | None:
    """The URL of a running server, if the file *place* is locked by one."""
    with contextlib.suppress(OSError, ValueError, KeyError), place.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return str(json.loads(file.read())["url"])
    return None


def _remove_if_ours(place: Path, descriptor: int) -> None:
    with contextlib.suppress(OSError):
        if os.path.samestat(place.stat(), os.fstat(descriptor)):
            place.unlink()


def _local_url(settings: Settings) -> str:
    """The server's URL on its own machine."""
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    reachable = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(shown, shown)  # noqa: S104
    return f"http://{reachable}:{settings.port}"


def _require_a_key(settings: Settings, *, make_key: bool) -> None:
    """Raise `Invalid` if other machines can reach the hub and no key is set or requested."""
    key_file = settings.data_dir / ADMIN_KEY_FILE
    if not (settings.keys or settings.loopback or make_key or key_file.exists()):
        raise Invalid(
            f"DSX_API_KEY is required to listen on {settings.host}: other machines can reach it. "
            "Set DSX_API_KEY, or listen on 127.0.0.1, or generate a key with --make-key."
        )


def _tell_where_things_are(settings: Settings) -> None:
    """Print locations; a new key only on a terminal, since other output may be logged."""
    key_file = settings.data_dir / ADMIN_KEY_FILE
    _print_status(f"DSX Hub {__version__}")
    _print_status(f"  data      {settings.data_dir.absolute()}")
    _print_status(
        f"  datasets  {settings.dataset_path or 'none; set DSX_DATASET_PATH to serve some'}"
    )
    if settings.public_url:
        _print_status(f"  public    {settings.public_url}")
    if settings.keys:
        _print_status(f"  API keys  {len(settings.keys)} configured")
        return
    key, new = load_or_create_secret(key_file, KEY_PREFIX)
    shown = key if new and sys.stderr.isatty() else "generated" if new else "unchanged"
    _print_status(f"  admin key {shown}  (stored in {key_file.absolute()})")


def _check_storage(settings: Settings) -> None:
    """Fail early on problems that would otherwise fail every server process."""
    try:
        asyncio.run(_check_store(settings))
    except Unusable:
        raise
    except (ValueError, Unavailable) as error:
        raise Invalid(str(error)) from None


async def _check_store(settings: Settings) -> None:
    """Check that catalog and blobs are intact and belong together, and that secrets decrypt."""
    async with open_store(settings) as (catalog, blobs):
        await check_secrets(settings, catalog)
        await renew(catalog, blobs, await agreement(catalog, blobs))


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only on sockets whose protocol is IPPROTO_TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise Invalid(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            "is another server running there? DSX_PORT chooses another port."
        ) from None
    listener.listen(_BACKLOG)
    listener.set_inheritable(True)
    return listener


def _announce(settings: Settings, listener: socket.socket) -> None:
    """Print the ready line once the server answers /ready."""
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _READY_DEADLINE
    while time.monotonic() < deadline:
        try:
            with opener.open(f"{_local_url(settings)}/ready", timeout=5):
                listener.listen(_BACKLOG)  # uvicorn has set a shorter one
                print(f"ready: http://{shown}:{settings.port}", flush=True)  # noqa: T201
                if sys.stderr.isatty() and not settings.keys:  # a key may be known here only
                    _print_status(f"try it in another terminal: {_first_command(settings)}")
                return
        except OSError:
            time.sleep(0.05)
    _print_status(f"not ready after {_READY_DEADLINE:g} seconds; see the log")


def _first_command(settings: Settings) -> str:
    """Return a command that works as pasted into another terminal, in the same directory."""
    program = Path(sys.argv[0])
    command = [sys.executable, "-m", "dsx"] if program.name == "__main__.py" else [str(program)]
    if settings.data_dir.absolute() != Path(DATA_DIR).absolute():
        key_file = settings.data_dir / ADMIN_KEY_FILE
        command += ["--server", _local_url(settings), "--api-key-file", str(key_file)]
    readme = Path("README.md")
    return shlex.join([*command, "upload", str(readme) if readme.exists() else sys.executable])


def _print_status(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201
