"""``dsx config``: all settings and their origins."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import typer

from dsx.cli.context import Context
from dsx.cli.profiles import profiles_file
from dsx.cli.server_extra import needs_server
from dsx.core.errors import Invalid

MASK = "********"
SECRET = {"api_key", "secret_key", "oidc_client_secret"}
_IN_QUERY = re.compile(r"([?&][a-z_]*(?:password|secret|token|key)=)[^&]*", re.IGNORECASE)


def config(ctx: typer.Context) -> None:
    """Print each setting with its value and origin; secrets are masked.

    First the settings of this command line, then, if the server is installed, those that
    `dsx serve` would use in this directory.

    Examples:

        dsx config

        dsx --profile lab config
    """
    context = Context.of(ctx)
    key = context.api_key
    rows = [
        {"setting": "server", "value": context.server.value, "origin": context.server.origin},
        {"setting": "api_key", "value": key.value and MASK, "origin": key.origin},
        {"setting": "ca_file", "value": context.ca_file.value, "origin": context.ca_file.origin},
        {"setting": "profiles", "value": str(profiles_file()), "origin": "DSX_CONFIG or default"},
        {"setting": "state", **_state()},
        *_server_rows(),
    ]
    columns = [
        ("setting", lambda row: row["setting"]),
        ("value", lambda row: "-" if row["value"] is None else row["value"]),
        ("from", lambda row: row["origin"]),
    ]
    context.output.items(rows, columns)


def _state() -> dict[str, str | None]:
    """The directory that records unfinished uploads."""
    from dsx.client.upload_journal import states  # noqa: PLC0415 (slow to import)

    try:
        return {"value": str(states().parent), "origin": "XDG_STATE_HOME or default"}
    except (OSError, RuntimeError) as error:
        return {"value": None, "origin": f"unavailable: {error}"}


def _server_rows() -> list[dict[str, Any]]:
    try:
        with needs_server():
            from dsx.run import load_settings  # noqa: PLC0415
            from dsx.setting_origins import origins  # noqa: PLC0415 (the SDK has no server packages)
            from dsx.setting_values import as_written  # noqa: PLC0415
    except Invalid:
        return []
    settings = load_settings({})
    rows, fields = [], type(settings).model_fields
    for name, origin in origins().items():
        value = getattr(settings, name)
        if name in SECRET:
            value = MASK if value else None
        shown = _masked(as_written(fields[name], value)) or None
        rows.append({"setting": f"DSX_{name.upper()}", "value": shown, "origin": origin})
    return rows


def _masked(value: str) -> str:
    """Mask passwords in a URL and its query; other values are returned unchanged."""
    if "://" not in value:
        return value
    password = urlsplit(value).password
    shown = value.replace(f":{password}@", f":{MASK}@") if password else value
    return _IN_QUERY.sub(rf"\g<1>{MASK}", shown)
