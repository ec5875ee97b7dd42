"""What a person's browser does at the provider: its pages have forms, and remember with cookies."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import requests

START = "/api/v1/session/oidc"
_FORM = re.compile(r'<form[^>]*action="([^"]+)"')
_PROMPT = re.compile(r'name="prompt" value="(\w+)"')
_STEPS = 20


class Browser(requests.Session):
    """Follows redirects by itself, to see them."""

    def request(self, *arguments, **more):
        return super().request(*arguments, **{"timeout": 20, **more, "allow_redirects": False})

    def begin(self, hub: str, then: str | None = None) -> str:
        """Where the hub sends it."""
        answer = self.get(hub + START, params={} if then is None else {"next": then})
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    def sign_in(self, url: str, name: str, stop: str) -> str:
        """From the provider's *url* to where it sends the browser back: *stop*, and more."""
        answer = self.get(url)
        for _ in range(_STEPS):
            if answer.is_redirect:
                url = urljoin(url, answer.headers["Location"])
                if url.startswith(stop):
                    return url
                answer = self.get(url)
                continue
            assert answer.status_code == 200, answer.text
            form, prompt = _FORM.search(answer.text), _PROMPT.search(answer.text)
            assert form, answer.text
            assert prompt, answer.text
            fields = {"prompt": prompt[1]}
            if prompt[1] == "login":
                fields |= {"login": name, "password": "any"}
            url = urljoin(url, form[1])
            answer = self.post(url, data=fields)
        raise AssertionError(f"the provider never came to an end: {url}")

    def arrive(self, hub: str, name: str, then: str | None = None) -> requests.Response:
        """All of it: what the hub answers in the end."""
        return self.get(self.sign_in(self.begin(hub, then), name, hub + START))
