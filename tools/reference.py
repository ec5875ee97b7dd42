"""Writes the reference pages of the documentation from the code: ``python -m tools.reference``.

``--check`` writes nothing and fails if a page is not what it would write.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic.fields import FieldInfo
from typer.cli import get_docs_for_click
from typer.main import get_command

from dsx.app import create_app
from dsx.cli.main import app
from dsx.config import Settings
from dsx.core.errors import STATUS, DSXError
from dsx.setting_values import as_written

DOCS = Path(__file__).parents[1] / "docs"
_NOTE = "<!-- Written by `python -m tools.reference` from the code: do not edit. -->\n"


def settings_page() -> str:
    """Every setting of the server: its variable, default and description."""
    lines = [
        "# Settings",
        "",
        "Flags of `dsx serve` override the environment, which overrides `.env` and `dsx.toml` in",
        "the working directory. `dsx config` prints each value and its source. In the environment",
        "and in `.env`, `DSX_X_FILE` names a file that contains the value of `DSX_X`.",
        "",
        "| Variable | Default | |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        variable, *others = _variables(name, field)
        also = f" Also `{'`, `'.join(others)}`." if others else ""
        lines.append(f"| `{variable}` | {_default(field)} | {field.description}{also} |")
    return "\n".join([*lines, ""])


def _variables(name: str, field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    if alias is None:
        return [f"DSX_{name.upper()}"]
    choices = getattr(alias, "choices", [alias])
    return [str(one) for one in choices]


def _default(field: FieldInfo) -> str:
    shown = as_written(field, field.get_default(call_default_factory=True, validated_data={}))
    return f"`{shown}`" if shown else ""


def errors_page() -> str:
    """Every error code: its HTTP status, whether a retry may help, and what it means."""
    lines = [
        "# Errors",
        "",
        "A failed request is answered with a problem document (RFC 9457). Its `code` is stable;",
        "the SDK raises the class of `dsx.client.errors` with that code. *Retry*: the same request",
        "may succeed later; `Retry-After` says when.",
        "",
        "| Status | Code | Retry | Meaning |",
        "|---|---|---|---|",
    ]
    for kind, status in sorted(STATUS.items(), key=lambda item: (item[1], item[0].code)):
        meaning = " ".join((kind.__doc__ or "").split("\n\n", 1)[0].split())
        if kind is DSXError:
            meaning = "An unexpected failure of the server; its log has the cause."
        retry = "yes" if kind.retryable else ""
        lines.append(f"| {status} | `{kind.code}` | {retry} | {meaning} |")
    return "\n".join([*lines, ""])


def routes_page() -> str:
    """Every route of the API: its method, path and summary."""
    lines = [
        "# REST",
        "",
        "The API is described by the OpenAPI document at `/openapi.json`, shown at `/docs` and",
        "`/redoc` of a running hub. These are its routes, without `/uploads` for tus and the",
        "IETF's resumable uploads, which [Uploads](uploads.md) describes.",
    ]
    for tag, routes in sorted(_by_tag(create_app(Settings(_env_file=None)).openapi()).items()):
        lines += ["", f"## {tag}", "", "| Route | |", "|---|---|"]
        lines += [f"| `{method} {path}` | {summary} |" for method, path, summary in routes]
    return "\n".join([*lines, ""])


def _by_tag(schema: dict[str, Any]) -> dict[str, list[tuple[str, str, str]]]:
    found: dict[str, list[tuple[str, str, str]]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            about = operation.get("description") or operation.get("summary", "")
            first = re.split(r"(?<=\.)\s|\n\n", about, maxsplit=1)[0]
            tag = (operation.get("tags") or ["system"])[0]
            found.setdefault(tag, []).append(
                (method.upper(), path, " ".join(first.replace("|", "\\|").split()))
            )
    return found


def commands_page() -> str:
    """Every command with its options, as ``--help`` shows them."""
    command = get_command(app)
    _drop_hidden(command)
    context = typer.Context(command, info_name="dsx")
    text = get_docs_for_click(obj=command, ctx=context, name="dsx", title="The command line")
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _drop_hidden(command: Any) -> None:
    commands = getattr(command, "commands", {})
    for name, one in list(commands.items()):
        if one.hidden:
            del commands[name]
        _drop_hidden(one)


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "errors.md": errors_page,
    "rest.md": routes_page,
    "cli.md": commands_page,
}


def outdated() -> Iterator[str]:
    """The names of those pages that are not what the code says."""
    for name, write in PAGES.items():
        path = DOCS / name
        if not path.exists() or path.read_text() != _NOTE + write():
            yield name


def main() -> int:
    """Write the pages, or check them."""
    if "--check" in sys.argv:
        wrong = list(outdated())
        for name in wrong:
            sys.stderr.write(f"docs/{name} is outdated: run `python -m tools.reference`\n")
        return bool(wrong)
    for name, write in PAGES.items():
        (DOCS / name).write_text(_NOTE + write())
    return 0


if __name__ == "__main__":
    sys.exit(main())
