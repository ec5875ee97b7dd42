"""A throw-away Ceph cluster with an S3 gateway: in memory and on loopback."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import requests
from tests.support.apt import ensure

ACCESS_KEY = "dsx-test-access"
SECRET_KEY = "dsx-test-secret-cf81b0"
_START_SECONDS = 60
_PROGRAMS = ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "monmaptool", "ceph")
_PACKAGES = ("ceph-mon", "ceph-osd", "radosgw", "ceph-common")
_POOLS = ("log", "control", "meta", "buckets.index", "buckets.data", "buckets.non-ec")

_CONFIG = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{monitor}/0]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
ms bind msgr1 = false
# loopback and throw-away: only S3 requests are authenticated
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
run dir = {root}
admin socket = {root}/$name.$pid.asok
log file = {root}/$name.log
crash dir = {root}
log to stderr = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon data = {root}/mon
mon allow pool size one = true
mon max pg per osd = 2000
mon data avail warn = 1
mon data avail crit = 0
paxos propose interval = 0.02
paxos min wait = 0.01
osd data = {root}/osd
osd objectstore = memstore
osd class update on start = false
# do not wait long for what a killed gateway was watching
osd client watch timeout = 1
memstore device bytes = 4294967296
objecter tick interval = 0.5
rgw data = {root}/rgw
rgw rados pool pg num min = 8
rgw enable usage log = false
rgw lc debug interval = -1
"""


@dataclass
class Ceph:
    """A running cluster: one monitor, one object server, one gateway that speaks S3."""

    root: Path
    port: int
    commands: dict[str, list[str]] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which S3 clients find it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "default",
        }

    def create_bucket(self) -> str:
        """Make an empty bucket; its name."""
        name = f"test-{uuid.uuid4().hex}"
        assert self.request("PUT", f"/{name}").ok
        return name

    def request(
        self, method: str, path: str, query: str = "", data: bytes | None = None
    ) -> requests.Response:
        """One signed request that no S3 library has a part in."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        headers = {
            "host": f"127.0.0.1:{self.port}",
            "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
            "x-amz-date": stamp,
        }
        lines = [f"{name}:{value}" for name, value in headers.items()]
        names = ";".join(headers)
        canonical = "\n".join([method, path, query, *lines, "", names, "UNSIGNED-PAYLOAD"])
        scope = f"{stamp[:8]}/default/s3/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        key = b"AWS4" + SECRET_KEY.encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        url = f"{self.endpoint}{path}" + (f"?{query}" if query else "")
        return requests.request(method, url, headers=headers, data=data, timeout=30)

    def admin(self, *arguments: str) -> str:
        """Run ``radosgw-admin``."""
        return _run("radosgw-admin", "-c", self.root / "ceph.conf", *arguments)

    def objects(self, bucket: str) -> list[str]:
        """The keys in *bucket*, as the engine lists them."""
        answer = self.request("GET", f"/{bucket}", "list-type=2")
        return re.findall("<Key>([^<]*)</Key>", answer.text)

    def unfinished(self, bucket: str) -> list[str]:
        """The keys of multipart uploads that nobody completed or aborted."""
        answer = self.request("GET", f"/{bucket}", "uploads=")
        return re.findall("<Key>([^<]*)</Key>", answer.text)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The gateway hangs for the length of the block: connections open, answers do not come."""
        self.processes["rgw"].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.processes["rgw"].send_signal(signal.SIGCONT)

    @contextmanager
    def away(self) -> Iterator[None]:
        """The gateway is gone for the length of the block; what it stored is not."""
        self.processes["rgw"].kill()
        self.processes["rgw"].wait()
        try:
            yield
        finally:
            self.start("rgw")
            _wait_for(self)

    def start(self, name: str) -> None:
        with (self.root / f"{name}.out").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*self.commands[name], "-f"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(),
            )

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


@contextmanager
def ceph() -> Iterator[Ceph]:
    """Start a cluster; it is gone without a trace afterwards."""
    ensure(lambda: all(map(shutil.which, _PROGRAMS)), *_PACKAGES)
    root = Path(tempfile.mkdtemp(prefix="dsx-ceph-"))
    cluster = Ceph(root, _free_port())
    try:
        _start(cluster)
        yield cluster
    except BaseException:
        for log in root.glob("*.out"):
            print(f"{log.name}:\n{log.read_text(errors='replace')[-2000:]}")
        raise
    finally:
        cluster.stop()
        shutil.rmtree(root)


def _start(cluster: Ceph) -> None:
    root, config = cluster.root, cluster.root / "ceph.conf"
    fsid, osd, monitor = str(uuid.uuid4()), str(uuid.uuid4()), _free_port()
    config.write_text(_CONFIG.format(fsid=fsid, monitor=monitor, root=root))
    frontend = f"beast tcp_nodelay=1 endpoint=127.0.0.1:{cluster.port}"
    cluster.commands |= {
        "mon": ["ceph-mon", "-c", str(config), "-i", "a"],
        "osd": ["ceph-osd", "-c", str(config), "-i", "0"],
        "rgw": ["radosgw", "-c", str(config), "-n", "client.rgw", "--rgw-frontends", frontend],
    }
    for name in cluster.commands:
        (root / name).mkdir()
    address = f"[v2:127.0.0.1:{monitor}]"
    _run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, root / "monmap")
    _run(*cluster.commands["mon"], "--mkfs", "--monmap", root / "monmap")
    cluster.start("mon")
    _run(*cluster.commands["osd"], "--mkfs", "--osd-uuid", osd)
    _run("timeout", _START_SECONDS, "ceph", "-c", config, input_=_set_up(osd))
    cluster.start("osd")
    user = ("user", "create", "--uid=dsx", "--display-name=dsx")
    cluster.admin(*user, f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}")
    cluster.start("rgw")
    _wait_for(cluster)


def _set_up(osd: str) -> str:
    """Words to the monitor: the object server, and the gateway's pools, all at once."""
    steps = [f"osd new {osd} 0"]
    for pool in (".rgw.root", *(f"default.rgw.{name}" for name in _POOLS)):
        steps.append(f"osd pool create {pool} 8 8 --autoscale-mode=off")
        steps.append(f"osd pool application enable {pool} rgw")
    return "\n".join([*steps, ""])


def _wait_for(cluster: Ceph) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if cluster.processes["rgw"].poll() is not None:
            raise RuntimeError("the S3 gateway exited")
        with suppress(OSError), urllib.request.urlopen(cluster.endpoint, timeout=5):
            return
        time.sleep(0.05)
    raise RuntimeError("the S3 gateway does not answer")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("CEPH_")}


def _run(*command: object, input_: str = "") -> str:
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        input=input_,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * _START_SECONDS,
        env=_environment(),
    )
    if done.returncode:
        message = f"{command[0]} failed:\n{done.stdout}"
        raise RuntimeError(message)
    return done.stdout
