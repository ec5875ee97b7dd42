"""A load balancer that sends each request to the next server, whoever asks."""

from __future__ import annotations

import http.client
import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_HOP = {"connection", "keep-alive", "transfer-encoding", "host"}


@dataclass
class Balancer:
    """Its URL, and the statuses of what it passed on, with the method."""

    url: str
    passed: list[tuple[str, int]] = field(default_factory=list)


@contextmanager
def balancing(urls: Sequence[str]) -> Iterator[Balancer]:
    """A balancer for the servers at *urls*."""
    turns = itertools.cycle(urls)
    lock = threading.Lock()
    balancer = Balancer("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                target = urlsplit(next(turns))
            fields = {k: v for k, v in self.headers.items() if k.lower() not in _HOP}
            connection = http.client.HTTPConnection(target.netloc, timeout=60)
            try:
                connection.request(self.command, self.path, body or None, fields)
                answer = connection.getresponse()
                data = answer.read()
            except OSError:  # it answered before it had read all
                self.send_error(502)
                return
            finally:
                connection.close()
            with lock:
                balancer.passed.append((self.command, answer.status))
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            if answer.getheader("Content-Length") is None and answer.status != 204:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.pass_on)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    running = threading.Thread(target=server.serve_forever, daemon=True)
    running.start()
    balancer.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield balancer
    finally:
        server.shutdown()
        server.server_close()
        running.join()
