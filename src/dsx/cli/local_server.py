"""The hub on this machine: its URL, and the admin key in its data directory."""

from __future__ import annotations

import contextlib
import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dsx.cli.output import note
from dsx.client.paths import local
from dsx.core.running import ADMIN_KEY_FILE, DATA_DIR, SERVER_FILE

DEFAULT = "default"
"""The origin of values that are not configured."""
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_EVERYWHERE = {"0.0.0.0", "::", ""}  # noqa: S104


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and its origin."""

    value: str | None
    origin: str


def local_server() -> Setting | None:
    """Return the URL of the hub with this data directory, running or configured; else None."""
    return _running() or _configured()


def local_key(server: str | None, local: Setting) -> Setting | None:
    """Return the admin key in the data directory, if *server* is *local*, the hub it belongs to."""
    if server is None or local.value is None or _address(server) != _address(local.value):
        return None
    if local.origin == DEFAULT and urlsplit(server).hostname not in _LOOPBACK:
        return None
    path = _data_dir() / ADMIN_KEY_FILE
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return Setting(path.read_text("ascii").strip(), str(path))
    return None


def read_dotenv(path: Path = Path(".env")) -> dict[str, str]:
    """Parse ``NAME=value`` lines; quotes around values are removed."""
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


def _running() -> Setting | None:
    """The URL published by a running server; a crashed one leaves its file unlocked."""
    from dsx.client.system import lock, open_file  # noqa: PLC0415 (slow to import)

    path = _data_dir() / SERVER_FILE
    try:
        descriptor = open_file(path, os.O_RDONLY, 0)
    except OSError:
        return None
    try:
        lock(descriptor)
    except OSError:
        with contextlib.suppress(ValueError, KeyError, TypeError, OSError):
            return Setting(str(json.loads(path.read_bytes())["url"]), str(path))
    finally:
        os.close(descriptor)
    return None


def _configured() -> Setting | None:
    """The URL on which `dsx serve` would listen in this directory, if configured."""
    port = _server_setting("port")
    if port is None or port.value is None:
        return None
    if not port.value.isascii() or not port.value.isdecimal() or not 0 < int(port.value) < 1 << 16:
        note(f"DSX_PORT is not a port number ({port.origin}); it is ignored")
        return None
    host = _server_setting("host")
    name = (host.value if host else None) or ""
    shown = "127.0.0.1" if name in _EVERYWHERE else f"[{name}]" if ":" in name else name
    return Setting(f"http://{shown}:{port.value}", port.origin)


def _data_dir() -> Path:
    found = _server_setting("data_dir")
    return local((found.value if found else None) or DATA_DIR)


def _server_setting(name: str) -> Setting | None:
    """A server setting, from the same sources that the server reads."""
    variable = f"DSX_{name.upper()}"
    for origin, values in (("environment", os.environ), (".env", read_dotenv())):
        if values.get(variable):
            return Setting(values[variable], f"{origin} ({variable})")
    with contextlib.suppress(OSError, ValueError):
        value = tomllib.loads(Path("dsx.toml").read_text("utf-8")).get(name)
        return None if value is None else Setting(str(value), "dsx.toml")
    return None


def _address(url: str) -> tuple[str, str, int | None]:
    """Normalize *url*, so that spellings of the same address compare equal."""
    parts = urlsplit(url.rstrip("/"))
    host = parts.hostname or ""
    with contextlib.suppress(ValueError):
        return parts.scheme + parts.path, "127.0.0.1" if host == "localhost" else host, parts.port
    return url, "", None
