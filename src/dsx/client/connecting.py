"""Opens connections, reports slow ones, and diagnoses failed ones."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from dsx.client.errors import Unreachable, Untrusted, WrongAddress

PATIENCE = 1.0
"""Seconds after which a slow connection is reported."""
_UNKNOWN: dict[int | None, type[Unreachable]] = {socket.EAI_NONAME: WrongAddress}
"""Failures that retrying cannot fix."""
_LOOK = 2.0  # seconds to find out what a port speaks


class TellingAdapter(HTTPAdapter):
    """Calls *tell* if a connection is not established after `PATIENCE` seconds."""

    def __init__(self, tell: Callable[[], None], **more: Any) -> None:
        self._tell = tell
        super().__init__(**more)

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        """Create the pool manager, with connections that report slowness."""
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = _pools(self._tell)


def _pools(tell: Callable[[], None]) -> dict[str, type[HTTPConnectionPool]]:
    @contextlib.contextmanager
    def telling() -> Iterator[None]:
        timer = threading.Timer(PATIENCE, tell)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    class Plain(HTTPConnection):
        def connect(self) -> None:
            with telling():
                super().connect()

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            with telling():
                super().connect()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def diagnosed(base_url: str, error: BaseException) -> Unreachable:
    """Explain why *base_url* cannot be reached, and what to do."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Untrusted(
                f"The certificate of {base_url} is not trusted ({cause.verify_message}): name a "
                "file with its CA certificate (ca_file, --ca-file or DSX_CA_FILE)."
            )
        if isinstance(cause, socket.gaierror):
            host = urlsplit(base_url).hostname
            return _UNKNOWN.get(cause.errno, Unreachable)(
                f"Cannot reach {base_url}: unknown host {host} ({cause.strerror})."
            )
        if isinstance(cause, ConnectionRefusedError):
            break  # nothing is listening
    else:
        other = other_scheme(base_url)
        if other is not None:
            return WrongAddress(f"{base_url} does not speak {_name(base_url)}: use {other}.")
    if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)):
        return Untrusted(f"Cannot establish a secure connection to {base_url}: {_reason(error)}.")
    return Unreachable(f"Cannot reach {base_url}: is the server running?")


def other_scheme(base_url: str) -> str | None:
    """Return *base_url* with the other of http and https, if its port speaks that; else None."""
    parts = urlsplit(base_url)
    assert parts.hostname is not None
    secure = parts.scheme.lower() == "https"
    port = parts.port or (443 if secure else 80)
    speaks = _speaks_http if secure else _speaks_tls
    try:
        with socket.create_connection((parts.hostname, port), _LOOK) as probe:
            probe.settimeout(_LOOK)
            if not speaks(probe, parts.hostname):
                return None
    except OSError:
        return None
    return parts._replace(scheme="http" if secure else "https").geturl()


def _speaks_http(probe: socket.socket, host: str) -> bool:
    request = (
        f"HEAD / HTTP/1.1\r\nHost: {host.encode('idna').decode()}\r\nConnection: close\r\n\r\n"
    )
    probe.sendall(request.encode())
    return probe.recv(5).startswith(b"HTTP/")


def _speaks_tls(probe: socket.socket, host: str) -> bool:
    context = ssl.create_default_context()
    context.check_hostname = False  # nothing is sent; trust is checked later
    context.verify_mode = ssl.CERT_NONE
    with context.wrap_socket(probe, server_hostname=host):
        return True


def _name(base_url: str) -> str:
    return urlsplit(base_url).scheme.upper()


def _reason(error: BaseException) -> str:
    failures = [cause for cause in _causes(error) if isinstance(cause, ssl.SSLError)]
    return str(failures[-1].reason or "TLS failed").lower().replace("_", " ")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Iterate over *error* and the errors wrapped in it by the HTTP libraries."""
    left, seen = [error], set[int]()
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]
        left += [cause for cause in inner if isinstance(cause, BaseException)]
