"""Name filters by RE2: linear time whatever the pattern. Globs are translated to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import re2

from dsx.core.errors import Unprocessable

MAX_PATTERN = 1000
_MAX_MEMORY = 8 << 20
_SPECIAL = re.compile(r"[*?\[]")
_GLOB_TOKEN = re.compile(r"\*+|\?|\[(!?)(\]?[^\]]*)\]|(.)", re.DOTALL)

Matcher = Callable[[str], object]
"""Truthy if a name matches."""


def regex_matcher(pattern: str) -> Matcher:
    """A predicate "is found in"; `Unprocessable` if RE2 does not accept *pattern*."""
    matcher: Matcher = _compile(pattern, "regex").search
    return matcher


def glob_matcher(pattern: str) -> Matcher:
    """A predicate "matches whole", with fnmatch's ``*``, ``?``, ``[…]`` and ``[!…]``."""
    expression = "".join(map(_token, _GLOB_TOKEN.finditer(pattern)))
    matcher: Matcher = _compile(expression, "name").fullmatch
    return matcher


def literal_prefix(pattern: str) -> str:
    """What every name that matches the glob *pattern* begins with."""
    special = _SPECIAL.search(pattern)
    return pattern[: special.start()] if special else pattern


def unescape(pattern: str) -> str | None:
    """The only name the glob matches, if it is literal but for ``[x]`` escapes; else None."""
    plain = re.sub(r"\[([*?\[])\]", lambda match: "\0" + match[1], pattern)
    if _SPECIAL.search(re.sub(r"\0.", "", plain)):
        return None
    return plain.replace("\0", "")


def _compile(pattern: str, field: str) -> Any:
    if len(pattern) > MAX_PATTERN:
        raise Unprocessable(f"A pattern has at most {MAX_PATTERN} characters.", {"field": field})
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    options.dot_nl = True
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeError) as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise Unprocessable(
            f"Not an RE2 expression ({reason}). RE2 has no look-around and no back-references.",
            {"field": field, "reason": reason},
        ) from None


def _token(match: re.Match[str]) -> str:
    text = match[0]
    if text.startswith("*"):
        return ".*"
    if text == "?":
        return "."
    if match[3] is not None:
        return str(re2.escape(text))
    inside = match[2].replace("\\", r"\\").replace("[", r"\[").replace("^", r"\^")
    if inside.startswith("]"):
        inside = "\\" + inside
    return f"[{'^' if match[1] else ''}{inside}]"
