"""The profiles file: a user's hubs and credentials."""

from __future__ import annotations

import os
import re
import secrets
import tomllib
from pathlib import Path
from typing import Any

from dsx.client.paths import local
from dsx.client.system import open_file, replace_file, sync_directory
from dsx.core.errors import Invalid, NotFound

DEFAULT = "default"
"""The profile used if none is selected."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HEADER = re.compile(r"\s*\[\s*profiles\s*\.\s*[\"']?([A-Za-z0-9_-]+)[\"']?\s*\]\s*(#.*)?")


def profiles_file() -> Path:
    """Return the path of the file: ``[profiles.NAME]`` with ``server`` and ``api_key``."""
    default = Path.home() / ".config" / "dsx" / "config.toml"
    return local(os.environ.get("DSX_CONFIG") or default)


def read_all() -> dict[str, dict[str, str]]:
    """Return all profiles by name; empty if there is no file."""
    try:
        text = profiles_file().read_text("utf-8")
    except FileNotFoundError:
        return {}
    found = _parsed(text).get("profiles", {})
    sections = {name: one for name, one in found.items() if isinstance(one, dict)}
    return {name: {key: str(value) for key, value in one.items()} for name, one in sections.items()}


def read(name: str) -> dict[str, str]:
    """Return one profile; raise `NotFound` if it does not exist."""
    found = read_all()
    if name in found:
        return found[name]
    path = profiles_file()
    if not path.exists():
        raise NotFound(f"There is no profile {name!r}: {path} does not exist.")
    known = ", ".join(sorted(found)) or "none"
    raise NotFound(f"{path} has no profile {name!r}; it has: {known}.")


def write(name: str, values: dict[str, str] | None) -> Path:
    """Replace one profile, or remove it if *values* is None; return the file's path.

    The rest of the file is preserved, including comments; raises `Invalid` if that is impossible.
    Afterwards only the user can read the file.
    """
    if not _NAME.fullmatch(name):
        raise Invalid("A profile name must be 1 to 64 letters, digits, _ or -.")
    path = profiles_file().resolve()
    if path.exists() and not path.is_file():
        raise Invalid(f"{path} is not a regular file: set DSX_CONFIG to one.")
    text = path.read_text("utf-8") if path.exists() else ""
    wanted = _parsed(text)
    wanted.setdefault("profiles", {}).pop(name, None)
    kept = _without(text, name)
    if values is not None:
        wanted["profiles"][name] = values
        lines = [f"{key} = {_quoted(value)}" for key, value in values.items()]
        kept = "\n".join([*([kept.rstrip("\n"), ""] if kept.strip() else []), f"[profiles.{name}]"])
        kept += "\n" + "\n".join(lines) + "\n"
    found = _parsed(kept)
    found.setdefault("profiles", {})
    if found != wanted:
        raise Invalid(f"{path} cannot be changed automatically: edit it by hand.")
    _replace(path, kept)
    return path


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{profiles_file()}: {error}") from None


def _without(text: str, name: str) -> str:
    """Remove the section of a profile from *text*."""
    kept, inside = [], False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            header = _HEADER.fullmatch(line.rstrip("\n"))
            inside = header is not None and header[1] == name
        if not inside:
            kept.append(line)
    return "".join(kept)


def _quoted(value: str) -> str:
    """Return *value* as a TOML string."""
    escaped = "".join(
        f"\\u{ord(character):04x}" if character < " " or character in '"\\\x7f' else character
        for character in value
    )
    return f'"{escaped}"'


def _replace(path: Path, text: str) -> None:
    """Write *text* to *path* atomically, readable only by the user."""
    if not os.environ.get("DSX_CONFIG") and not Path.home().is_dir():
        raise Invalid(f"HOME ({Path.home()}) is not a directory: set DSX_CONFIG to a file.")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = open_file(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        replace_file(draft, path)
        sync_directory(path.parent)
    finally:
        draft.unlink(missing_ok=True)
