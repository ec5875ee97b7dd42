"""Gunicorn's worker class for the hub: uvicorn, set up as `dsx serve` does.

``gunicorn --worker-class dsx.gunicorn.Worker app.app:app``; needs ``dsx-hub[gunicorn]``.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, ClassVar

from uvicorn_worker import UvicornWorker

from dsx.run import SERVING


class Worker(UvicornWorker):  # type: ignore[misc]  # that package has no types
    """A server process under gunicorn, which does the listening and the restarting."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = SERVING

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Exit on SIGQUIT, which the master sends when it gets SIGINT.

        The base class only sets a flag, and is killed after 30 seconds.
        """
        _ = sig, frame
        signal.raise_signal(signal.SIGINT)
