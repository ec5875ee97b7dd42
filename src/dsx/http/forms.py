"""Reads text fields from a request's body, in any encoding of forms and APIs."""

from __future__ import annotations

from urllib.parse import parse_qsl

from pydantic_core import from_json
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from dsx.core.digest import Buffer
from dsx.core.errors import Invalid
from dsx.http.json_body import MAX_FIELD_BYTES, buffered
from dsx.http.receive import MAX_FIELDS, pump_form

_PLAIN = b"application/x-www-form-urlencoded"


async def read_fields(request: Request) -> dict[str, str]:
    """Return the fields of a form, in either encoding, or of a JSON object; the last of each.

    An empty body has none. A body that begins with a brace is JSON whatever its type:
    ``curl -d '{…}'`` sends it as a form.

    Raises `Invalid` if the body is malformed or has a file, `TooLarge` for one over 64 KiB.
    """
    kind, _ = parse_options_header(request.headers.get("content-type"))
    if kind == b"multipart/form-data":
        form = await pump_form(request, _no_file, required=False, at_most=MAX_FIELD_BYTES)
        return form.texts
    async with buffered(request, MAX_FIELD_BYTES) as body:
        return _decoded(body, kind) if body else {}


def _no_file(data: Buffer) -> None:
    if len(data):
        raise Invalid("Files are not accepted here: send text fields only.")


def _decoded(body: bytes, kind: bytes) -> dict[str, str]:
    try:
        braced = body.lstrip().startswith(b"{")
        if kind == _PLAIN and not braced:
            text = body.decode()
            pairs = parse_qsl(
                text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
            )
            return dict(pairs)
        value = from_json(body) if braced or kind == b"application/json" else None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Invalid("The body must be a form, or a JSON object of strings.")
    given = {name: field for name, field in value.items() if field is not None}
    if not all(isinstance(field, str) for field in given.values()):
        raise Invalid("All fields must be strings.")
    return given
