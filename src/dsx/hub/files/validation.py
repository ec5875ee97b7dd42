"""What may be said of a file beside its bytes, whichever way it comes in."""

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
_CURLS_OWN = "application/x-www-form-urlencoded"  # what curl says of any raw body: nothing
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
    """The facts of a new file, defaults filled in; `Invalid` for what is unacceptable."""
    return NewFile(
        owner=owner,
        name=check_file_name(name),
        category=check_label("A category", category or DEFAULT_CATEGORY),
        content_type=media_type(content_type, name),
        metadata=check_metadata(dict(metadata or {})),
        tags=check_tags(tags),
    )


def check_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """At most 256 acceptable labels."""
    if len(tags) > MAX_TAGS:
        raise Invalid(f"A file has at most {MAX_TAGS} tags.", {"limit": MAX_TAGS})
    return tuple(check_label("A tag", tag) for tag in tags)


def media_type(given: str | None, name: str) -> str:
    """The content type that was *given*, or what the name suggests."""
    if not given or given == _CURLS_OWN:
        return guess_type(name)
    if not _MEDIA_TYPE.fullmatch(given):
        raise Invalid("The content type must have the form type/subtype.")
    return given
