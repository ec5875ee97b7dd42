"""What a server's process needed so far, as the kernel counts it."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.hub import RunningHub


def peak_rss(hub: RunningHub) -> int:
    """Highest resident set of the server since `reset_peak`, bytes."""
    return _count(hub, "status", "VmHWM") * 1024


def rss(hub: RunningHub) -> int:
    """Resident set of the server, bytes."""
    return _count(hub, "status", "VmRSS") * 1024


def cpu_seconds(hub: RunningHub) -> float:
    """Processor time the server has had."""
    text = Path(f"/proc/{hub.process.pid}/stat").read_text()
    fields = text.rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def reset_peak(hub: RunningHub) -> None:
    Path(f"/proc/{hub.process.pid}/clear_refs").write_text("5")


def bytes_read(hub: RunningHub) -> int:
    """Bytes the server has read from files so far, whether cached or not."""
    return _count(hub, "io", "rchar")


def _count(hub: RunningHub, file: str, name: str) -> int:
    text = Path(f"/proc/{hub.process.pid}/{file}").read_text()
    line = next(line for line in text.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])
