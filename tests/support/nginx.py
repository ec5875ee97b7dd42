"""Debian's nginx with TLS, set up as docs/proxies.md says."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.apt import need
from tests.support.waiting import eventually

_DOCS = Path(__file__).parents[2] / "docs" / "proxies.md"
_MAIN = """
daemon off; master_process off; pid {root}/nginx.pid; error_log {root}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {root}/body; proxy_temp_path {root}/p;
  fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
  {servers}
}}
"""


@dataclass(frozen=True)
class Front:
    """A running nginx: where it is, and the certificate to believe."""

    port: int
    ca: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"


def recipe(root: Path, port: int, upstream: str, more: str = "") -> str:
    """The server of the documentation, on *port* for *upstream*, with *more* locations."""
    found = re.search(r"```nginx\n(.*?)```", _DOCS.read_text(), re.DOTALL)
    assert found is not None
    text = found[1].rstrip()
    for old, new in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("server_name lab.example", "server_name localhost"),
        ("/etc/ssl/lab.example.pem", str(root / "tls.pem")),
        ("/etc/ssl/lab.example.key", str(root / "tls.key")),
        ("http://127.0.0.1:8000", upstream),
    ):
        assert old in text
        text = text.replace(old, new)
    return text.removesuffix("}") + more + "}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def nginx(root: Path, port: int, server: str) -> Iterator[Front]:
    """A running nginx with one *server*, and a certificate of its own making."""
    certificate = root / "tls.pem"
    command = [need("openssl"), "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-addext", names]
    files = ["-keyout", str(root / "tls.key"), "-out", str(certificate)]
    subprocess.run([*command, *kind, *files], check=True, capture_output=True)
    config = root / "nginx.conf"
    user = "user root;\n" if os.geteuid() == 0 else ""
    config.write_text(user + _MAIN.format(root=root, servers=server))
    process = subprocess.Popen([need("nginx"), "-c", config, "-p", root], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: _listens(port))
        yield Front(port, certificate)
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True
