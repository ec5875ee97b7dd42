"""The index that listings walk: every live file under each of its labels, in every order.

A file's labels are its category, its tags, and `EVERY`. Whichever a listing asks for, its rows lie
one after the other in the order asked for, so a page costs the same whether a label is rare or
common. Rows exist for the newest version of live files only.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, delete, exists, insert, select

from dsx.catalog.schema import LIVE, file_labels, files
from dsx.core.model import FileQuery
from dsx.core.names import check_label

EVERY = ""
"""The label of every file."""

_COPIED = ("file", "owner", "number", "created", "name", "size")


def refresh(connection: Connection, file: str) -> None:
    """Make the index say of *file* what its record says; call it after every change."""
    connection.execute(delete(file_labels).where(file_labels.c.file == file))
    newest = connection.execute(select(files).where(LIVE, files.c.file == file)).mappings().first()
    if newest is None:
        return
    copied = {column: newest[column] for column in _COPIED}
    labels = (EVERY, of_category(newest["category"]), *map(of_tag, newest["tags"]))
    rows = [{"label": label, **copied} for label in labels]
    connection.execute(insert(file_labels), rows)


def of_category(category: str) -> str:
    """The label of files of a category."""
    return f"category {category}"


def of_tag(tag: str) -> str:
    """The label of files with a tag."""
    return f"tag {tag}"


def chosen(wanted: FileQuery) -> list[ColumnElement[bool]]:
    """The conditions on rows for the category and all the tags of *wanted*."""
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
