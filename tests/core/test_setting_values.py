"""Settings are shown as one would write them."""

from __future__ import annotations

from typing import Any

import pytest

from dsx.setting_values import as_written


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ((), ""),
        (True, "true"),
        (False, "false"),
        (("127.0.0.0/8", "::1/128"), "127.0.0.0/8,::1/128"),
        (16 * 1024**2, "16MiB"),
        (3 << 30, "3GiB"),
        (20_000, "20000"),
        (30.0, "30"),
        (0.5, "0.5"),
        ("info", "info"),
    ],
)
def test_values_as_written(value: Any, text: str) -> None:
    assert as_written(value) == text
