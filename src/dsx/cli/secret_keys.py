"""``dsx secrets``: the hub's secrets."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from dsx.cli.context import Context
from dsx.cli.server_extra import needs_server
from dsx.core.errors import Unavailable

_DAY = 24 * 3600
app = typer.Typer(no_args_is_help=True, help="Change a hub's secrets, on the server's machine.")


@app.callback()
def secrets() -> None:
    """Change a hub's secrets, on the server's machine."""


@app.command()
def rotate(
    ctx: typer.Context,
    *,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds for which older signed tokens stay valid.")
    ] = _DAY,
    data_dir: Annotated[
        Path | None, typer.Option(help="The server's data directory. [DSX_DATA_DIR]")
    ] = None,
) -> None:
    """Replace the key that signs tokens, while the server runs.

    Runs on the server's machine. Only signed tokens (JWT) are affected, not sessions, tokens, API
    keys or share links.

    Examples:

        dsx secrets rotate

        dsx secrets rotate --grace 0 --data-dir /srv/dsx
    """
    done = asyncio.run(_rotate(data_dir, grace))
    until = datetime.fromisoformat(done["until"]).strftime("%Y-%m-%d %H:%M:%S UTC")
    old = f"are valid until {until} at most" if grace else "have ended"
    lines = [
        "new signed tokens use a new key",
        f"older ones {old}",
        "sessions, tokens, API keys and share links are not affected",
    ]
    Context.of(ctx).output.result(done, lines)


async def _rotate(data_dir: Path | None, grace: float) -> dict[str, Any]:
    with needs_server():
        from dsx.hub.accounts.signing_keys import SigningKeys, end_signing_keys  # noqa: PLC0415
        from dsx.logs import configure_logging  # noqa: PLC0415
        from dsx.run import load_settings  # noqa: PLC0415
        from dsx.store import open_store, secret_keys  # noqa: PLC0415
    settings = load_settings({"data_dir": data_dir})
    configure_logging(settings.log_level, settings.log_format)
    async with open_store(settings, create=False) as (catalog, _):
        keys = secret_keys(settings, create=False)
        if grace and not keys:
            raise Unavailable("There is no secret key: start the server once, or restore the key.")
        try:
            if keys:
                await SigningKeys(catalog, keys).rotate(grace)
            else:
                await end_signing_keys(catalog)
        except Unavailable as error:
            raise Unavailable(
                f"{error.message} If that key is lost and the server has the current one, "
                "`dsx secrets rotate --grace 0` ends all signed tokens and starts with a new key."
            ) from None
    until = datetime.now(UTC) + timedelta(seconds=grace)
    return {"rotated": "signing key", "grace": grace, "until": until.isoformat(timespec="seconds")}
