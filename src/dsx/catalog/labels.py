"""The index for listings: every live file under each of its labels, in every order.

A file's labels are its category, its tags, and `EVERY`. The rows of each label are adjacent in each
order, so a page costs the same whether a label is rare or common. Only the newest versions of live
files have rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    and_,
    delete,
    exists,
    false,
    insert,
    not_,
    or_,
    select,
    true,
)

from dsx.catalog.matching import successor
from dsx.catalog.schema.base import LIVE
from dsx.catalog.schema.content import file_labels, files
from dsx.core.model import FileQuery
from dsx.core.names import check_label
from dsx.core.principals import ResourceScope

EVERY = ""
"""The label of every file."""

_COPIED = ("file", "owner", "number", "created", "name", "size")


def refresh(connection: Connection, file: str) -> None:
    """Update the index of *file* from its record; call it after every change."""
    connection.execute(delete(file_labels).where(file_labels.c.file == file))
    newest = connection.execute(select(files).where(LIVE, files.c.file == file)).mappings().first()
    if newest is None:
        return
    copied = {column: newest[column] for column in _COPIED}
    labels = (EVERY, of_category(newest["category"]), *map(of_tag, newest["tags"]))
    rows = [{"label": label, **copied} for label in labels]
    connection.execute(insert(file_labels), rows)


def of_category(category: str) -> str:
    """Return the label of files of a category."""
    return f"category {category}"


def of_tag(tag: str) -> str:
    """Return the label of files with a tag."""
    return f"tag {tag}"


def chosen(wanted: FileQuery) -> list[ColumnElement[bool]]:
    """Return the conditions on rows for the category and all the tags of *wanted*."""
    labels = [of_tag(check_label("A tag", tag)) for tag in wanted.tags]
    if wanted.category is not None:
        labels.append(of_category(check_label("A category", wanted.category)))
    walked, *others = labels or [EVERY]
    other = file_labels.alias()
    same = other.c.file == file_labels.c.file
    return [
        file_labels.c.label == walked,
        *(exists().where(same, other.c.label == label) for label in others),
    ]


def within(places: Sequence[ResourceScope] | None) -> list[ColumnElement[bool]]:
    """Return the condition that a file lies in one of *places*; None: no condition."""
    columns, other = file_labels.c, file_labels.alias()

    def labelled(category: str) -> ColumnElement[bool]:
        same = other.c.file == columns.file
        return exists().where(same, other.c.label == of_category(category))

    return any_of(places, columns.file, columns.name, labelled)


def versions_within(
    places: Sequence[ResourceScope] | None, version: FromClause = files
) -> list[ColumnElement[bool]]:
    """Return the condition that a row of a version lies in one of *places*."""
    columns = version.c
    return any_of(places, columns.file, columns.name, lambda category: columns.category == category)


def wholly_within(places: Sequence[ResourceScope] | None) -> list[ColumnElement[bool]]:
    """Return the condition that all versions of a row's file lie in *places*."""
    if places is None:
        return []
    other = files.alias()
    outside = not_(and_(*versions_within(places, other)))
    return [~exists().where(other.c.file == files.c.file, outside)]


def any_of(
    places: Sequence[ResourceScope] | None,
    file: ColumnElement[str],
    name: ColumnElement[str],
    in_category: Callable[[str], ColumnElement[bool]],
) -> list[ColumnElement[bool]]:
    """Return `ResourceScope.holds` as an SQL condition over the given columns."""
    if places is None:
        return []
    found: list[ColumnElement[bool]] = [false()]
    for place in places:
        if place.kind == "file":
            found.append(file == place.value)
        elif place.kind == "category":
            found.append(in_category(place.value))
        elif place.kind == "prefix":
            end = successor(place.value)
            found.append((name >= place.value) & (name < end if end is not None else true()))
    return [or_(*found)]
