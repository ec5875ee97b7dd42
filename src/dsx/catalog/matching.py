"""Name filters by RE2: linear time whatever the pattern. Globs are translated to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import re2

from dsx.core.errors import Unprocessable

MAX_PATTERN = 1000
_MAX_MEMORY = 1 << 20
_GREATEST = "\U0010ffff"
_SURROGATES, _AFTER_SURROGATES = 0xD800, 0xE000
_NOTHING = r"[^\x00-\x{10FFFF}]"
_SPECIAL = re.compile(r"[*?\[]")
_ESCAPED = re.compile(r"\[([*?\[])\]")
_CLASS_MEMBER = re.compile(r"(.)(?:-(.))?", re.DOTALL)
_UNTEXT = re.compile(r"[\x00\ud800-\udfff]")
_GLOB_TOKEN = re.compile(r"\*+|\?|\[(!?+)(\]?+[^\]]*)\]|(.)", re.DOTALL)

Matcher = Callable[[str], object]
"""Truthy if a name matches."""


def regex_matcher(pattern: str) -> Matcher:
    """Return a predicate "is found in"; `Unprocessable` if RE2 does not accept *pattern*."""
    found: Matcher = _compile(check_pattern(pattern, "regex"), "regex").search
    return found


def glob_matcher(pattern: str) -> Matcher:
    """Return a predicate "matches whole", with fnmatch's ``*``, ``?``, ``[…]`` and ``[!…]``."""
    tokens = _GLOB_TOKEN.finditer(check_pattern(pattern, "name"))
    whole: Matcher = _compile("".join(map(_token, tokens)), "name").fullmatch
    return whole


def literal_prefix(pattern: str) -> str:
    """Return the common prefix of all names that match the glob *pattern*."""
    special = _SPECIAL.search(pattern)
    return pattern[: special.start()] if special else pattern


def successor(prefix: str) -> str | None:
    """Return the least text greater than all that begin with *prefix*; None if there is none."""
    stem = prefix.rstrip(_GREATEST)
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    return stem[:-1] + chr(_AFTER_SURROGATES if following == _SURROGATES else following)


def unescape(pattern: str) -> str | None:
    """Return the only name the glob matches, if literal except for ``[x]`` escapes; else None."""
    plain = _ESCAPED.sub("", pattern)
    return None if _SPECIAL.search(plain) else _ESCAPED.sub(r"\1", pattern)


def check_pattern(pattern: str, field: str) -> str:
    """Return *pattern* if a name could contain its characters, else raise `Unprocessable`."""
    if _UNTEXT.search(pattern):
        reason = "a pattern must be UTF-8 text without NUL"
        raise Unprocessable(f"{reason.capitalize()}.", {"field": field, "reason": reason})
    return pattern


def _compile(pattern: str, field: str) -> Any:
    if len(pattern) > MAX_PATTERN:
        reason = f"a pattern has at most {MAX_PATTERN} characters"
        raise Unprocessable(f"{reason.capitalize()}.", {"field": field, "reason": reason})
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    options.dot_nl = True
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        told = error.args[0]
        reason = told.decode(errors="replace") if isinstance(told, bytes) else str(error)
        position = _position(pattern, reason)
        raise Unprocessable(
            f"Invalid RE2 expression: {reason}, at character {position}. RE2 has no "
            "look-around and no back-references.",
            {"field": field, "reason": reason, "position": position},
        ) from None


def _position(pattern: str, reason: str) -> int:
    """Return the position in *pattern* of the part that RE2 quotes; its end if it quotes none."""
    found = pattern.find(reason.partition(": ")[2] or "\0")
    return found if found >= 0 else len(pattern)


def _token(match: re.Match[str]) -> str:
    text = match[0]
    if text.startswith("*"):
        return ".*"
    if text == "?":
        return "."
    if match[3] is not None:
        return str(re2.escape(text))
    members = "".join(map(_member, _CLASS_MEMBER.finditer(match[2])))
    if match[1]:
        return f"[^{members}]" if members else "."
    return f"[{members}]" if members else _NOTHING


def _member(match: re.Match[str]) -> str:
    """Translate one character of a class, or a range; a reversed range is empty."""
    first, last = match[1], match[2] or match[1]
    return rf"\x{{{ord(first):x}}}-\x{{{ord(last):x}}}" if first <= last else ""
