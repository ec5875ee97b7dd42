"""Streams a request's body into a blocking writer, without buffering it whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from dsx.core.digest import Buffer
from dsx.core.errors import Invalid, TooLarge, Unsupported
from dsx.http.holding import Hold, holding
from dsx.http.json_body import MAX_FIELD_BYTES, check_announced, too_large
from dsx.transport.body import Gate, always_open
from dsx.transport.extensions import INTERIM, RECEIVE_INTO, TRAILERS

Write = Callable[[Buffer], object]

MAX_FIELDS = 300
MAX_TEXT_BYTES = 1024 * 1024
"""Limit of all text fields of a form together."""
FILE_PART = "file"
_PLAIN = {"", "identity", "binary", "7bit", "8bit"}


async def pump(request: Request, write: Write, gate: Gate = always_open) -> int:
    """Pass the body to *write*, which blocks and runs in a worker thread; return its length.

    Awaits *gate* before reading more: a closed gate holds the sender back. *write* gets the bytes
    in order and must not use its buffer after it returns. Raises what *write* raises, Starlette's
    `ClientDisconnect` if the connection breaks first, and `TimedOut` if the sender stalls.
    """
    receive_into = request.scope.get("extensions", {}).get(RECEIVE_INTO)
    if receive_into is not None:
        received: int = await receive_into(write, gate)
        return received
    total = 0
    async for chunk in request.stream():
        await gate()
        if chunk:
            await run_in_threadpool(write, chunk)
            total += len(chunk)
    return total


def announced(request: Request) -> int | None:
    """The declared length of the body in bytes, or None."""
    length = request.headers.get("content-length", "")
    if not length and "transfer-encoding" not in request.headers:
        return 0
    return int(length) if length.isdecimal() else None


def trailer(request: Request, name: str) -> str | None:
    """A field of the trailer section (RFC 9110 §6.5), once the body has been received.

    Raises `Invalid` if it is repeated.
    """
    trailers = request.scope.get("extensions", {}).get(TRAILERS)
    fields = trailers() if trailers is not None else ()
    values = [value for field, value in fields if field.lower() == name.lower().encode()]
    if len(values) > 1:
        raise Invalid(f"The trailer field {name} is repeated.", {"field": name})
    return values[0].decode("latin-1") if values else None


async def interim(request: Request, status: int, headers: Mapping[str, str]) -> bool:
    """Send an interim response (RFC 9110 §15.2); return whether the server supports that."""
    send = request.scope.get("extensions", {}).get(INTERIM)
    if send is not None:
        await send(status, headers)
    return send is not None


@dataclass(slots=True)
class Form:
    """A form without its file's bytes: text fields, the file part's name and content type."""

    filename: str | None = None
    content_type: str | None = None
    fields: dict[str, list[str]] = field(default_factory=dict)

    @property
    def texts(self) -> dict[str, str]:
        """The last value of each field."""
        return {name: values[-1] for name, values in self.fields.items()}


async def pump_form(
    request: Request,
    write: Write,
    gate: Gate = always_open,
    *,
    required: bool = True,
    at_most: int | None = None,
) -> Form:
    """Pass the part ``file`` of a multipart/form-data body (RFC 7578) to *write*, as `pump` does.

    Parts may be in any order. Raises `Invalid` unless there is exactly one such part (at most one
    if not *required*) and the body is well-formed, `TooLarge` for more than 300 parts, a field
    over 64 KiB, fields over 1 MiB together or a body over *at_most* bytes, and `Unsupported` for
    a file with a content coding.
    """
    _, options = parse_options_header(request.headers.get("content-type"))
    if b"boundary" not in options:
        raise Invalid("multipart/form-data needs a boundary in its Content-Type.")
    if at_most is not None:
        check_announced(request, at_most)
    with holding(request) as hold:
        receiver = _FormReceiver(write, hold)
        try:
            await _parse(request, options[b"boundary"], receiver, gate, at_most)
        except FormParserError as error:
            raise Invalid(f"The form is malformed: {error}") from None
    if not receiver.ended or (required and not receiver.has_file):
        raise Invalid(f"The form is truncated or has no part named {FILE_PART!r}.")
    return receiver.form


async def _parse(
    request: Request, boundary: bytes, receiver: _FormReceiver, gate: Gate, at_most: int | None
) -> None:
    parser = MultipartParser(boundary, receiver.callbacks())  # type: ignore[arg-type]
    taken = 0

    def parse(data: Buffer) -> None:
        nonlocal taken
        taken += len(data)
        if at_most is not None and taken > at_most:
            raise too_large(at_most)
        parser.write(bytes(data))

    await pump(request, parse, gate)
    parser.finalize()


class _FormReceiver:
    """The callbacks of the push parser: file bytes go through, fields are kept."""

    def __init__(self, write: Write, hold: Hold) -> None:
        self.form = Form()
        self.has_file = False
        self.ended = False
        self._write = write
        self._hold = hold
        self._headers: dict[str, str] = {}
        self._header = ("", "")
        self._name = ""
        self._text: bytearray | None = None
        self._count = 0
        self._texts = 0  # bytes of all text fields

    def callbacks(self) -> dict[str, Callable[..., None]]:
        """For `MultipartParser`."""
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._headers = {}
        self._header = ("", "")
        self._count += 1
        if self._count > MAX_FIELDS:
            raise TooLarge(f"The form has more than {MAX_FIELDS} parts.", {"limit": MAX_FIELDS})

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0] + data[start:end].decode("latin-1"), self._header[1])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0], self._header[1] + data[start:end].decode("latin-1"))

    def _header_end(self) -> None:
        self._headers[self._header[0].lower()] = self._header[1]
        self._header = ("", "")

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition"))
        if b"name" not in options:
            raise Invalid("A part of the form has no name.")
        self._name = _decode(options[b"name"])
        if self._name != FILE_PART:
            self._text = bytearray()
            return
        if self.has_file:
            raise Invalid(f"The form has more than one part named {FILE_PART!r}.")
        self.has_file = True
        self._text = None
        for name in ("content-encoding", "content-transfer-encoding"):
            coding = self._headers.get(name, "").strip().lower()
            if coding not in _PLAIN:
                raise Unsupported(
                    f"The form's file has {name} {coding[:100]!r}, which is not supported: send "
                    "it unencoded.",
                    {"accept_encoding": "identity"},
                )
        self.form.content_type = self._headers.get("content-type")
        if options.get(b"filename"):
            self.form.filename = _decode(options[b"filename"])

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._text is None:
            self._write(memoryview(data)[start:end])
            return
        self._hold.add(end - start)
        self._text += data[start:end]
        self._texts += end - start
        if len(self._text) > MAX_FIELD_BYTES:
            raise TooLarge(
                f"A form field is larger than {MAX_FIELD_BYTES} bytes.", {"limit": MAX_FIELD_BYTES}
            )
        if self._texts > MAX_TEXT_BYTES:
            raise TooLarge(
                f"The form's fields are larger than {MAX_TEXT_BYTES} bytes together.",
                {"limit": MAX_TEXT_BYTES},
            )

    def _part_end(self) -> None:
        if self._text is not None:
            self.form.fields.setdefault(self._name, []).append(_decode(bytes(self._text)))

    def _end(self) -> None:
        self.ended = True


def _decode(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Invalid("The form's text must be UTF-8.") from None
