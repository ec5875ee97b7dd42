"""A hub of its own for what looks into the hub's staging: elsewhere uploads are left unfinished."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.hub import RunningHub, running_hub


@pytest.fixture(scope="package")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """One real hub for this folder, with nothing in its staging when nothing is on its way."""
    with running_hub(tmp_path_factory.mktemp("http-hub")) as running:
        yield running
        assert running.stop() == 0
