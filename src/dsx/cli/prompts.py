"""Asks for passwords."""

from __future__ import annotations

import sys

import typer

from dsx.core.errors import Invalid


def ask_password(question: str, *, confirm: bool = False) -> str:
    """A password, typed without echo; the first line of standard input, if that is no terminal."""
    if sys.stdin.isatty():
        answer: str = typer.prompt(question, hide_input=True, confirmation_prompt=confirm, err=True)
        return answer
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise Invalid("No password came: type it, or give it as a line of standard input.")
    return line
