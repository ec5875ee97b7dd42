"""A tiny application on our protocol class, on real sockets, in a thread of this process."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dsx.core.content import Content, FileSlice, Literal, Piece, Stream
from dsx.core.digest import Buffer
from dsx.core.errors import STATUS, DSXError, Gone, TooLarge
from dsx.http.receive import pump, pump_form, trailer
from dsx.http.send import ContentResponse
from dsx.transport.extensions import ZERO_COPY
from dsx.transport.protocol import DSXProtocol

MIB = 1024 * 1024


@dataclass
class Engine:
    """The running server, the file it serves, and what its application saw."""

    port: int
    file: Path
    data: bytes
    loop: asyncio.AbstractEventLoop
    server: uvicorn.Server
    outcomes: list[object] = field(default_factory=list)
    write_delay: float = 0.0
    written: int = 0
    opened: int = 0
    streamed: int = 0

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def exchange(self, request: bytes) -> bytes:
        """Send *request* on a fresh connection that is then read to its end."""
        with self.connect() as connection:
            connection.sendall(request)
            return read_all(connection)

    def get(
        self, path: str, *headers: str, method: str = "GET"
    ) -> tuple[int, dict[str, str], bytes]:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
        return parse(self.exchange("\r\n".join(lines).encode()))

    def outcome(self) -> object:
        """What the next finished upload came to."""
        wait_until(lambda: bool(self.outcomes))
        return self.outcomes.pop(0)

    def writer(self) -> Callable[[Buffer], None]:
        digest = hashlib.sha256()

        def write(data: Buffer) -> None:
            time.sleep(self.write_delay)
            digest.update(data)
            self.written += len(data)

        write.digest = digest  # type: ignore[attr-defined]
        return write

    def open(self) -> int:
        self.opened += 1
        return os.open(self.file, os.O_RDONLY)

    def content(self, pieces: Callable[[int, int], AsyncIterator[Piece]] | None = None) -> Content:
        async def whole(start: int, stop: int) -> AsyncIterator[Piece]:
            yield FileSlice(self.open, start, stop - start)

        size = len(self.data)
        return Content(size, "a/b", "tag", 1_000_000, "näme.bin", None, pieces or whole)


class Application:
    """The routes; what they see and do is in *engine*."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def download(self, request: Request) -> Response:
        return ContentResponse(request, self.engine.content())

    async def fallback(self, request: Request) -> Response:
        del request.scope["extensions"][ZERO_COPY]
        return ContentResponse(request, self.engine.content())

    async def mixed(self, request: Request) -> Response:
        """The same bytes, in every kind of piece."""

        async def chunks(start: int, stop: int) -> AsyncIterator[bytes]:
            for position in range(start, stop, 1000):
                yield self.engine.data[position : min(position + 1000, stop)]

        async def pieces(start: int, stop: int) -> AsyncIterator[Piece]:
            sizes = [0, 1, 70_000, 5, 3000, 200_000, 65_536, 65_537]
            turn = 0
            while start < stop:
                end = min(stop, start + sizes[turn % len(sizes)])
                turn += 1
                if turn % 3 == 0:
                    yield Literal(self.engine.data[start:end])
                elif turn % 5 == 0:
                    yield Stream(lambda s=start, e=end: chunks(s, e), end - start)  # type: ignore[misc]
                else:
                    yield FileSlice(self.engine.open, start, end - start)
                start = end

        return ContentResponse(request, self.engine.content(pieces))

    async def gone(self, request: Request) -> Response:
        def refuse() -> int:
            raise Gone("It went away.")

        async def pieces(start: int, stop: int) -> AsyncIterator[Piece]:
            if request.path_params["when"] == "later":
                yield FileSlice(self.engine.open, start, 100_000)
            yield FileSlice(refuse, start, stop - start)

        return ContentResponse(request, self.engine.content(pieces))

    async def endless(self, request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            while True:
                self.engine.streamed += MIB
                yield bytes(MIB)

        async def pieces(_start: int, stop: int) -> AsyncIterator[Piece]:
            yield Stream(chunks, stop)

        return ContentResponse(request, replace(self.engine.content(pieces), size=1 << 50))

    async def upload(self, request: Request) -> Response:
        write = self.engine.writer()
        try:
            size = await pump(request, write)
        except (ClientDisconnect, DSXError) as error:
            self.engine.outcomes.append(type(error))
            raise
        return JSONResponse({"size": size, "sha256": write.digest.hexdigest()})  # type: ignore[attr-defined]

    async def limited(self, request: Request) -> Response:
        def write(data: Buffer) -> None:
            raise TooLarge("Too large.")

        await pump(request, write)
        return Response()

    async def trailers(self, request: Request) -> Response:
        await request.body()
        return JSONResponse(
            {"head": request.headers.get("x-field"), "trailer": trailer(request, "X-Field")}
        )

    async def form(self, request: Request) -> Response:
        write = self.engine.writer()
        form = await pump_form(request, write)
        return JSONResponse(
            {
                "fields": form.fields,
                "filename": form.filename,
                "type": form.content_type,
                "sha256": write.digest.hexdigest(),  # type: ignore[attr-defined]
            }
        )

    async def refuse(self, _: Request) -> Response:
        raise TooLarge("Not even one byte.")

    async def body(self, request: Request) -> Response:
        return Response(await request.body())

    def routes(self) -> list[Route]:
        return [
            Route("/file", self.download, methods=["GET", "HEAD"]),
            Route("/fallback", self.fallback),
            Route("/mixed", self.mixed),
            Route("/gone/{when}", self.gone),
            Route("/endless", self.endless),
            Route("/upload", self.upload, methods=["POST"]),
            Route("/trailers", self.trailers, methods=["POST"]),
            Route("/limited", self.limited, methods=["POST"]),
            Route("/form", self.form, methods=["POST"]),
            Route("/refuse", self.refuse, methods=["POST"]),
            Route("/body", self.body, methods=["POST"]),
        ]


@contextmanager
def running_engine(
    directory: Path,
    *,
    size: int = 3 * MIB,
    protocol: type[DSXProtocol] = DSXProtocol,
    **config: object,
) -> Iterator[Engine]:
    """Serve a file of *size* random bytes in *directory* for the length of a block."""
    file = directory / "file"
    data = os.urandom(size)
    file.write_bytes(data)
    listener = socket.create_server(("127.0.0.1", 0))
    engine = Engine(listener.getsockname()[1], file, data, None, None)  # type: ignore[arg-type]

    async def problem(_: Request, error: Exception) -> Response:
        return Response(str(error), STATUS.get(type(error), 400))  # type: ignore[arg-type, call-overload]

    app = Starlette(
        routes=Application(engine).routes(),
        exception_handlers={DSXError: problem, ClientDisconnect: problem},
    )
    engine.server = uvicorn.Server(
        uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None, **config)  # type: ignore[arg-type]
    )

    async def serve() -> None:
        engine.loop = asyncio.get_running_loop()
        await engine.server.serve([listener])

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    wait_until(lambda: engine.server.started)
    try:
        yield engine
    finally:
        engine.server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def read_all(connection: socket.socket) -> bytes:
    chunks = []
    while chunk := connection.recv(MIB):
        chunks.append(chunk)
    return b"".join(chunks)


def read_response(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One response with a Content-Length, and not a byte more."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, head
        head += byte
    status, headers, _ = parse(head)
    body = b""
    while len(body) < int(headers["content-length"]):
        body += connection.recv(int(headers["content-length"]) - len(body))
    return status, headers, body


def parse(response: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = response.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, body
