"""What a browser is shown at the root of a hub."""

from __future__ import annotations

import re
from pathlib import Path

import requests
from tests.support.hub import RunningHub, running_hub

from dsx import __version__


def test_the_root_links_to_the_documentation(hub: RunningHub) -> None:
    answer = requests.get(hub.url, timeout=60)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert __version__ in answer.text
    for link in re.findall('href="([^"]*)"', answer.text):
        assert requests.get(hub.url + link, timeout=60).status_code == 200


def test_links_are_below_the_root_path(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_ROOT_PATH="/hub") as hub:
        base = hub.url.removesuffix("/hub")
        links = re.findall('href="([^"]*)"', requests.get(f"{base}/hub/", timeout=60).text)
        assert links
        for link in links:
            assert link.startswith("/hub/")
            assert requests.get(base + link, timeout=60).status_code == 200
