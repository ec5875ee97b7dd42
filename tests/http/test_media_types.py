"""The media types that downloads are sent with."""

from __future__ import annotations

import pytest
from tests.support.hub import RunningHub

from dsx.core.media_types import guess_type


@pytest.mark.parametrize("name", ["m.pt", "t.parquet", "x.jsonl"])
def test_stored_files_and_datasets_alike(hub: RunningHub, name: str) -> None:
    """`.pt` was a Super Nintendo's page table."""
    (hub.dataset_path / "typed").mkdir(exist_ok=True)
    (hub.dataset_path / "typed" / name).write_bytes(b"x")
    assert hub.store(name, b"x")["content_type"] == guess_type(name)
    answer = hub.get(f"/file/typed/{name}")
    assert answer.headers["Content-Type"] == guess_type(name)
