"""Progress reports of transfers, and stopping them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

_PATIENCE = 2.0
"""Seconds to wait after an interrupt for threads that may be stuck."""
Progress = Callable[[int, int | None, str], None]
"""Called with bytes done, bytes in total (None: unknown) and what is being transferred."""


StateTold = Callable[[str, str, str], None]
"""Called with the new state of a transfer ("hashing", "running", "paused"), what is being
transferred, and the id of the task that controls it ("" if there is none yet)."""


class Stopped(Exception):
    """Another part of the same transfer failed, or the user interrupted it."""


class Meter:
    """Adds up the bytes of a transfer, from several threads, and reports to a `Progress`."""

    def __init__(self, progress: Progress | None, total: int | None, name: str) -> None:
        """Report *total* bytes of *name* to *progress*, unless that is None."""
        self._progress = progress
        self._total = total
        self._name = name
        self._done = 0
        self._lock = threading.Lock()
        self._stopped = False

    def add(self, size: int) -> None:
        """Add *size* bytes; a negative number takes back bytes that have to be sent again.

        Raises `Stopped` after `stop`: every part of a transfer calls this for every chunk.
        """
        self.check()
        if self._progress is not None:
            with self._lock:
                self._done += size
                self._progress(self._done, self._total, self._name)

    def check(self) -> None:
        """Raise `Stopped` after `stop`; for parts that are waiting."""
        if self._stopped:
            raise Stopped

    def stop(self) -> None:
        """End all parts of the transfer at their next chunk."""
        self._stopped = True


def in_threads(jobs: Iterable[Callable[[], Any]], workers: int, meter: Meter) -> Iterator[Any]:
    """Run *jobs* in *workers* threads, and iterate over their results in order.

    The first failure, or an interrupt, stops the others through *meter* and is raised once all
    threads have ended. After an interrupt, threads waiting for the network are left behind: they
    end, without further effect, when it responds or times out.
    """
    causes: list[BaseException] = []

    def run(job: Callable[[], Any]) -> Any:
        try:
            return job()
        except Stopped:
            raise
        except BaseException as error:
            causes.append(error)
            meter.stop()
            raise

    patience = None
    pool = ThreadPoolExecutor(workers)
    futures: list[Future[Any]] = [pool.submit(run, job) for job in jobs]
    try:
        for future in futures:
            yield future.result()
    except Stopped as stopped:
        raise (causes[0] if causes else stopped) from None
    except KeyboardInterrupt:
        patience = _PATIENCE
        raise
    finally:
        if not all(future.done() for future in futures):
            meter.stop()
        pool.shutdown(wait=False, cancel_futures=True)
        wait([future for future in futures if not future.cancelled()], patience)
