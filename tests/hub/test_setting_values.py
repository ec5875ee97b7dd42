"""Settings are shown as one would write them."""

from __future__ import annotations

from typing import Any

import pytest

from dsx.config import Settings
from dsx.setting_values import as_written


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("quota", None, ""),
        ("api_key", (), ""),
        ("dialects", (), "none"),
        ("trusted_proxies", ("127.0.0.0/8", "::1/128"), "127.0.0.0/8,::1/128"),
        ("open_datasets", True, "true"),
        ("require_checksum", False, "false"),
        ("fileserver_max", 16 * 1024**2, "16MiB"),
        ("quota", 3 << 30, "3GiB"),
        ("quota", 1000, "1000"),
        ("max_uploads", 1 << 20, "1048576"),
        ("trash_days", 30.0, "30"),
        ("trash_days", 0.5, "0.5"),
        ("log_level", "info", "info"),
    ],
)
def test_values_as_written(name: str, value: Any, text: str) -> None:
    assert as_written(Settings.model_fields[name], value) == text
