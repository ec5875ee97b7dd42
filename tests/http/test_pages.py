"""What a browser may do with the hub's pages and answers."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from tests.support.hub import RunningHub


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_api_pages_run_their_own_scripts_in_no_frame(hub: RunningHub, page: str) -> None:
    """Small: ``/docs`` has a content security policy and frame protection."""
    answer = hub.get(page)
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in answer.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "unsafe" not in policy["script-src"]
    for script in re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy["script-src"]


def test_a_downloaded_page_is_shown_nowhere_and_runs_nothing(hub: RunningHub) -> None:
    """It is somebody's, and comes from where everybody's sessions are."""
    answer = hub.get(hub.store("page.html", b"<script>steal()</script>")["url"])
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers.get("Content-Security-Policy") == "sandbox"
