"""Text fields out of a request's body, whichever way clients of forms and APIs encode them."""

from __future__ import annotations

import json
from urllib.parse import parse_qsl

from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from dsx.core.digest import Buffer
from dsx.core.errors import Invalid, TooLarge
from dsx.http.receive import MAX_FIELD_BYTES, MAX_FIELDS, pump, pump_form

_PLAIN = b"application/x-www-form-urlencoded"


async def read_fields(request: Request) -> dict[str, str]:
    """The fields of a form, in either encoding, or of a JSON object; of each the last. Or none.

    What begins with a brace is JSON whatever it is called: ``curl -d '{…}'`` calls it a form.

    Raises `Invalid` if the body is malformed or has a file, `TooLarge` for one over 64 KiB.
    """
    kind, _ = parse_options_header(request.headers.get("content-type"))
    if kind == b"multipart/form-data":
        form = await pump_form(request, _no_file, required=False)
        return form.texts
    body = bytearray()

    def collect(data: Buffer) -> None:
        if len(body) + len(data) > MAX_FIELD_BYTES:
            raise TooLarge(
                f"Such a body has at most {MAX_FIELD_BYTES} bytes.", {"limit": MAX_FIELD_BYTES}
            )
        body.extend(data)

    await pump(request, collect)
    if not body:
        return {}
    return _decoded(bytes(body), kind)


def _no_file(data: Buffer) -> None:
    if len(data):
        raise Invalid("A file does not belong here: this takes text fields.")


def _decoded(body: bytes, kind: bytes) -> dict[str, str]:
    try:
        braced = body.lstrip().startswith(b"{")
        if kind == _PLAIN and not braced:
            text = body.decode()
            pairs = parse_qsl(
                text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
            )
            return dict(pairs)
        value = json.loads(body) if braced or kind == b"application/json" else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Invalid("The body is a form, or a JSON object of texts.")
    given = {name: field for name, field in value.items() if field is not None}
    if not all(isinstance(field, str) for field in given.values()):
        raise Invalid("The fields are texts.")
    return given
