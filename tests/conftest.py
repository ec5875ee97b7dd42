"""Fixtures every part of the suite may use."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from tests.support.ceph import Ceph, ceph
from tests.support.hub import RunningHub, running_hub
from tests.support.promises import (  # noqa: F401 (hooks, which pytest looks for here)
    pytest_collection_finish,
    pytest_runtest_logreport,
    pytest_terminal_summary,
)

_ENDINGS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGHUP", "SIGTERM", "SIGQUIT")
    if hasattr(signal, name)  # Windows has but two of them
]


def pytest_configure() -> None:
    """Have signals do here what they do on a terminal.

    A run in the background or under nohup begins with some of them ignored, and every process that
    a test starts would inherit that: no Ctrl+C would reach it.
    """
    for number in _ENDINGS:
        if signal.getsignal(number) is signal.SIG_IGN:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """One real hub for the whole run: tests use names of their own and leave others' alone."""
    with running_hub(tmp_path_factory.mktemp("hub")) as running:
        yield running
        assert running.stop() == 0


@pytest.fixture(scope="session")
def s3() -> Iterator[Ceph]:
    """A real S3 engine, started when the first test asks for it; every test has its own bucket."""
    with ceph() as running:
        yield running
