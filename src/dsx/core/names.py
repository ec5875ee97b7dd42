"""Rules for names and paths. Pure text rules, without access to a file system.

Names are kept byte for byte (no Unicode normalisation).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from dsx.core.errors import Invalid

MAX_NAME_BYTES = 1024
MAX_SEGMENT_BYTES = 255
MAX_LABEL_BYTES = 255

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Controls, text direction marks and bytes that are not UTF-8, which terminals obey or hide.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_BYTES = range(0xDC80, 0xDD00)  # undecodable bytes of a name (PEP 383)
_DEVICES = r"con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]"
_RESERVED = re.compile(rf"(?:{_DEVICES})(?:\..*)?", re.IGNORECASE | re.DOTALL)
# Windows checks the part before the first dot, and drops trailing spaces and dots.
_NOT_EVERYWHERE = re.compile(rf"(?:{_DEVICES}) *(?:\..*)?|.*[. ]", re.IGNORECASE | re.DOTALL)
_DEVICE = "it is a Windows device name"
_SPECIAL = re.compile(r'[<>:"|?*]')


def check_file_name(name: str) -> str:
    """Return *name* if a file may be stored under it, else raise `Invalid`.

    ``/`` separates segments; a segment is 1 to 255 bytes of UTF-8. Refused: empty segments, ``.``,
    ``..``, backslashes, control characters, unpaired surrogates, and what Windows takes for another
    file or a device (``CON .txt``, ``nul.txt``, ``a:b``, ``a?``, ``a.``, ``a ``), because a
    download must be writable on any client.
    https://learn.microsoft.com/windows/win32/fileio/naming-a-file
    """
    check_stored_name(name)
    for segment in name.split("/"):
        if special := _SPECIAL.search(segment):
            raise _not_everywhere(segment, f"Windows does not allow {special[0]} in names")
        if _NOT_EVERYWHERE.fullmatch(segment):
            ends = segment.endswith((".", " "))
            why = "Windows drops a trailing dot or space" if ends else _DEVICE
            raise _not_everywhere(segment, why)
    return name


def check_stored_name(name: str) -> str:
    """Return *name* if it is valid for a file stored earlier, else raise `Invalid`.

    `check_file_name` was once less strict.
    """
    _check_text("A file name", name, MAX_NAME_BYTES)
    for segment in name.split("/"):
        _check_segment(segment)
        if "\\" in segment:
            raise _not_everywhere(segment, "a backslash separates directories on Windows")
        if _RESERVED.fullmatch(segment.rstrip(" .")):
            raise _not_everywhere(segment, _DEVICE)
    return name


def check_relative_path(path: str) -> str:
    """Return *path* if it is a relative POSIX path that stays below its root, else `Invalid`.

    The rule for paths of datasets served in place, whose names the file system chose: only empty,
    ``.`` and ``..`` segments and NUL are refused.
    """
    if "\0" in path or not is_utf8(path):
        raise Invalid("A path must be UTF-8 text without NUL.")
    for segment in path.split("/"):
        _check_segment(segment)
    return path


def check_dataset_name(name: str) -> str:
    """Return *name* if it is one path segment and valid for a dataset, else raise `Invalid`."""
    if "/" in check_relative_path(name) or name.startswith("."):
        raise Invalid("A dataset's name must be one path segment that does not start with a dot.")
    return name


def in_the_way(names: Iterable[str]) -> tuple[str, str] | None:
    """Return a name that another one needs as a directory, and that other one; or None."""
    known = dict.fromkeys(names)
    for name in known:
        end = name.find("/")
        while end >= 0:
            if name[:end] in known:
                return name[:end], name
            end = name.find("/", end + 1)
    return None


def shown(text: str) -> str:
    """Return *text* for display: characters that a terminal would interpret or hide are escaped."""
    return _UNSEEN.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code in _BYTES:
        return f"\\x{code - _BYTES.start + 0x80:02x}"
    return found[0].encode("unicode_escape", "backslashreplace").decode("ascii")


def check_label(what: str, text: str) -> str:
    """Return a category or tag of 1 to 255 bytes, no control characters, else `Invalid`."""
    return _check_text(what, text, MAX_LABEL_BYTES)


def _check_text(what: str, text: str, limit: int) -> str:
    if not text:
        raise Invalid(f"{what} must not be empty.")
    if not is_utf8(text) or _CONTROL.search(text):
        raise Invalid(f"{what} must be UTF-8 text without control characters.")
    if len(text.encode()) > limit:
        raise Invalid(f"{what} must be at most {limit} bytes long.", {"limit": limit})
    return text


def _check_segment(segment: str) -> None:
    if segment in {"", ".", ".."}:
        raise Invalid(
            "A path must not have empty, '.' or '..' segments, or a leading or trailing '/'."
        )
    if len(segment.encode()) > MAX_SEGMENT_BYTES:
        raise Invalid(f"A path segment must be at most {MAX_SEGMENT_BYTES} bytes long.")


def _not_everywhere(segment: str, why: str) -> Invalid:
    return Invalid(f"{segment!r} cannot be part of a file name on every system: {why}.")


def is_utf8(text: str) -> bool:
    """Return whether *text* is valid UTF-8: names of files may be other bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
