"""Validates the descriptive fields of new files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dsx.core.errors import Invalid
from dsx.core.media_types import guess_type
from dsx.core.metadata import check_metadata
from dsx.core.model import NewFile
from dsx.core.names import check_file_name, check_label

DEFAULT_CATEGORY = "default"
MAX_TAGS = 256
_CURLS_OWN = "application/x-www-form-urlencoded"  # curl's default for any raw body
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}(;[ -~]{0,100})?", re.ASCII)


def new_file(
    owner: str,
    name: str,
    *,
    category: str | None,
    content_type: str | None,
    metadata: Mapping[str, Any] | None,
    tags: Sequence[str],
) -> NewFile:
    """Return the fields of a new file, defaults filled in; `Invalid` for unacceptable ones."""
    return NewFile(
        owner=owner,
        name=check_file_name(name),
        category=check_label("A category", category or DEFAULT_CATEGORY),
        content_type=media_type(content_type, name),
        metadata=check_metadata(dict(metadata or {})),
        tags=check_tags(tags),
    )


def check_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Return *tags* if they are at most 256 valid labels; else raise `Invalid`."""
    if len(tags) > MAX_TAGS:
        raise Invalid(f"A file has at most {MAX_TAGS} tags.", {"limit": MAX_TAGS})
    return tuple(check_label("A tag", tag) for tag in tags)


def media_type(given: str | None, name: str) -> str:
    """Return the *given* content type, or a guess from the name."""
    if not given or given == _CURLS_OWN:
        return guess_type(name)
    if not _MEDIA_TYPE.fullmatch(given):
        raise Invalid("The content type must have the form type/subtype.")
    return given
