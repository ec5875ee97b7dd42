"""The file server seed's flags: ``dsx -l``, ``dsx -u FILE``, ``dsx -d NAME``, as commands."""

from __future__ import annotations

from collections.abc import Sequence

HELP = """
Short forms: -l, --list · -u, --upload FILE · -d, --delete NAME
"""

_COMMANDS = {
    "-l": ("list",),
    "--list": ("list",),
    "-u": ("upload",),
    "--upload": ("upload",),
    "-d": ("delete", "--name"),
    "--delete": ("delete", "--name"),
}


def as_command(arguments: Sequence[str]) -> list[str]:
    """Replace a leading flag in *arguments* by its command."""
    first, *rest = arguments or [""]
    flag, equals, value = first.partition("=")
    if not first.startswith("--"):
        flag, equals, value = first[:2], first[2:], first[2:].removeprefix("=")
    if flag not in _COMMANDS:
        return list(arguments)
    return [*_COMMANDS[flag], *([value] if equals else []), *rest]
