"""Password prompts."""

from __future__ import annotations

import sys

import typer

from dsx.core.errors import Invalid


def ask_password(question: str, *, confirm: bool = False) -> str:
    """Prompt for a password; read it from standard input if that is not a terminal."""
    if sys.stdin.isatty():
        answer: str = typer.prompt(question, hide_input=True, confirmation_prompt=confirm, err=True)
        return answer
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise Invalid("No password was given: type it, or pass it as a line on standard input.")
    return line
