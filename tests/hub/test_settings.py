"""Values of settings, from wherever they come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dsx.config import Settings


@pytest.mark.parametrize("value", [0, "0", "0 B"])
def test_nothing_is_not_no_limit(tmp_path: Path, value: Any) -> None:
    """A number, as dsx.toml has it, means what it means as text."""
    settings = Settings(data_dir=tmp_path, quota=value, max_file_size=value, reserve=value)
    assert (settings.quota, settings.max_file_size, settings.reserve) == (0, 0, 0)
    with pytest.raises(ValidationError, match="scrub_rate"):
        Settings(data_dir=tmp_path, scrub_rate=value)


@pytest.mark.parametrize("value", [None, "", "  "])
def test_no_value_is_no_limit(tmp_path: Path, value: Any) -> None:
    assert Settings(data_dir=tmp_path, quota=value).quota is None
