"""What logs tell of requests: never a secret, wherever it stands."""

from __future__ import annotations

import pytest

from dsx.redaction import redacted, shown_path

SECRET = "x" * 43


@pytest.mark.parametrize("prefix", ["dsx_", "dsxs_", "dsxi_"])
def test_secrets_of_ours_are_hidden_in_any_text(prefix: str) -> None:
    assert redacted(f"There is no file '{prefix}{SECRET}'.") == "There is no file '***'."


@pytest.mark.parametrize(
    ("path", "root", "shown"),
    [
        ("/s/guess", "", "/s/***"),
        ("/s/guess/a/b", "", "/s/***/a/b"),
        ("//s//guess", "", "//s//***"),
        ("/hub/s/guess", "/hub", "/hub/s/***"),
        (f"/api/v1/files/dsx_{SECRET}", "", "/api/v1/files/***"),
        ("/api/v1/files/s/name", "", "/api/v1/files/s/name"),
    ],
)
def test_links_are_hidden_in_paths_whatever_they_look_like(
    path: str, root: str, shown: str
) -> None:
    assert shown_path(path, root) == shown
