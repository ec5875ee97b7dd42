"""Signing in with an account elsewhere, at a certified OpenID Provider, and at one that cheats."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
import requests
from tests.accounts.oidc.browser import START, Browser
from tests.accounts.oidc.hostile import Hostile, hostile_provider
from tests.support.commands import Commands
from tests.support.hub import PASSWORD, RunningHub, clean_environment, running_hub
from tests.support.node import node, node_modules

from dsx.core.errors import Invalid, Unavailable
from dsx.hub.accounts.oidc_provider import Provider, Registration
from dsx.run import load_settings

HERE = Path(__file__).parent / "oidc"
CALLBACK = START + "/callback"
ACCOUNT = "/api/v1/account"


@contextmanager
def openid_provider(port: int = 0) -> Iterator[str]:
    """Its issuer."""
    node_modules(HERE)
    process = subprocess.Popen(
        [node(), "provider.mjs", str(port)],
        cwd=HERE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def settings(issuer: str, **more: str) -> dict[str, str]:
    known = {"DSX_OIDC_ISSUER": issuer, "DSX_OIDC_CLIENT_ID": "dsx"}
    return known | {"DSX_OIDC_CLIENT_SECRET": "known to both", "DSX_OIDC_SIGNUP": "true"} | more


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with openid_provider() as running:
        yield running


@pytest.fixture(scope="module")
def oidc(issuer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """Two workers: what one begins, another may finish."""
    directory = tmp_path_factory.mktemp("oidc")
    with running_hub(directory, **settings(issuer, DSX_WORKERS="2")) as running:
        yield running


@pytest.fixture(scope="module")
def hostile() -> Iterator[Hostile]:
    with hostile_provider() as running:
        yield running


@pytest.fixture(scope="module")
def cheated(hostile: Hostile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with running_hub(tmp_path_factory.mktemp("cheated"), **settings(hostile.issuer)) as running:
        yield running


@pytest.fixture
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


def changed(url: str, **values: str | None) -> str:
    """*url* with parameters replaced, or (None) left out."""
    parts = urlsplit(url)
    query = {**dict(parse_qsl(parts.query)), **values}
    kept = {name: value for name, value in query.items() if value is not None}
    return parts._replace(query=urlencode(kept)).geturl()


def refused(answer: requests.Response, status: int = 403) -> bool:
    """Whether that is no sign-in, and no reason for a browser to ask for a password."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "dsx_session" not in answer.cookies
    assert "WWW-Authenticate" not in answer.headers
    return True


def test_somebody_signs_in_and_is_known_the_next_time(oidc: RunningHub, browser: Browser) -> None:
    answer = browser.arrive(oidc.url, "ada", "/docs?x=1")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/docs?x=1")
    assert answer.headers["Cache-Control"] == "no-store"
    told = answer.headers["Set-Cookie"]
    session = re.search("dsx_session=[^,]*(?:,[^,]*)?", told)
    assert session
    assert "HttpOnly" in session[0]
    assert "samesite=lax" in session[0].lower()
    assert "dsx_oidc" not in browser.cookies  # of no more use
    me = browser.get(oidc.url + ACCOUNT).json()
    assert (me["username"], sorted(me["scopes"])) == ("ada", ["delete", "read", "write"])

    again = Browser()
    again.arrive(oidc.url, "ada")
    assert again.get(oidc.url + ACCOUNT).json()["id"] == me["id"]
    other = Browser()
    other.arrive(oidc.url, "grace")
    assert other.get(oidc.url + ACCOUNT).json()["id"] != me["id"]
    written = {"Sec-Fetch-Site": "same-origin"}
    assert browser.delete(f"{oidc.url}/api/v1/session", headers=written).status_code == 204
    assert browser.get(oidc.url + ACCOUNT).status_code == 401
    for one in (again, other):
        one.close()


def test_what_the_browser_is_sent_with(oidc: RunningHub, browser: Browser) -> None:
    answer = browser.get(oidc.url + START)
    assert answer.headers["Cache-Control"] == "no-store"
    (cookie,) = browser.cookies
    assert (cookie.name, cookie.path) == ("dsx_oidc", START)
    assert {"HttpOnly", "SameSite"} <= cookie._rest.keys()
    assert cookie.expires is not None
    assert cookie.expires - time.time() < 601
    first = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert first["response_type"] == ["code"]
    assert first["code_challenge_method"] == ["S256"]
    assert first["redirect_uri"] == [oidc.url + CALLBACK]
    second = parse_qs(urlsplit(browser.begin(oidc.url)).query)
    for secret in ("state", "nonce", "code_challenge"):
        assert len(first[secret][0]) >= 43
        assert first[secret] != second[secret]
        assert first[secret][0] not in str(cookie.value)
    assert base64.urlsafe_b64decode(str(cookie.value))[0] == 0x80  # Fernet, version 1


def test_names(oidc: RunningHub, browser: Browser) -> None:
    """Taken by an account with a password: it stays that one's. Without a name: the e-mail's."""
    oidc.user("linus")
    for name, becomes in [("linus", "linus-2"), ("mail-joan", "mail-joan@example.org")]:
        browser.cookies.clear()
        browser.arrive(oidc.url, name)
        assert browser.get(oidc.url + ACCOUNT).json()["username"] == becomes
    wrong = requests.get(oidc.url + ACCOUNT, auth=("linus-2", PASSWORD), timeout=10)
    assert wrong.status_code == 401  # it has no password


def test_another_claim_for_names(issuer: str, tmp_path: Path, browser: Browser) -> None:
    named = settings(issuer, DSX_OIDC_NAME_CLAIM="email")
    with running_hub(tmp_path, **named) as hub:
        browser.arrive(hub.url, "ada")
        assert browser.get(hub.url + ACCOUNT).json()["username"] == "ada@example.org"


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "x"},
        {"state": None},
        {"state": ""},
        {"state": "größe"},
        {"code": "x"},
        {"code": None},
        {"iss": "https://another.example.org"},
        {"error": "access_denied", "code": None},
    ],
)
def test_a_callback_that_was_tampered_with(
    oidc: RunningHub, browser: Browser, changes: dict[str, str | None]
) -> None:
    back = browser.sign_in(browser.begin(oidc.url), "eve", oidc.url + START)
    assert refused(browser.get(changed(back, **changes)))


@pytest.mark.parametrize("what", ["nonce", "code_challenge"])
def test_a_request_that_was_tampered_with(oidc: RunningHub, browser: Browser, what: str) -> None:
    """The answer belongs to another request: a code that was stolen, and is injected here."""
    other = base64.urlsafe_b64encode(hashlib.sha256(b"another verifier").digest()).decode()
    url = changed(browser.begin(oidc.url), **{what: other.rstrip("=")})
    assert refused(browser.get(browser.sign_in(url, "eve", oidc.url + START)))


def test_a_callback_counts_once(oidc: RunningHub, browser: Browser) -> None:
    url = browser.begin(oidc.url)
    kept = browser.cookies.get("dsx_oidc")
    back = browser.sign_in(url, "ada", oidc.url + START)
    assert browser.get(back).status_code == 302
    assert refused(browser.get(back))  # the cookie is gone
    with_cookie = {"Cookie": f"dsx_oidc={kept}"}
    assert refused(requests.get(back, headers=with_cookie, timeout=10, allow_redirects=False))


def test_a_callback_belongs_to_the_browser_that_began(oidc: RunningHub, browser: Browser) -> None:
    back = browser.sign_in(browser.begin(oidc.url), "eve", oidc.url + START)
    with Browser() as victim:
        assert refused(victim.get(back))
        victim.begin(oidc.url)
        assert refused(victim.get(back))


@pytest.mark.parametrize("kept", ["", "x", "gAAAAA", '"', "ÿ".encode().decode("latin-1")])
def test_a_cookie_that_is_none(oidc: RunningHub, kept: str) -> None:
    answer = requests.get(
        f"{oidc.url}{CALLBACK}?code=x&state=x",
        headers={"Cookie": f"dsx_oidc={kept}".encode("latin-1")},
        timeout=10,
    )
    assert refused(answer)


@pytest.mark.parametrize(
    "then",
    [
        "https://evil.example.org/",
        "//evil.example.org",
        "/\\evil.example.org",
        "\\\\evil.example.org",
        "/\t/evil.example.org",
        "/\n/evil.example.org",
        "\t//evil.example.org",
        " //evil.example.org",
        "javascript:alert(1)",
        "evil.example.org",
        "",
        "/a\r\nSet-Cookie: a=b",
        "/a\x00",
        "/" + "a" * 2000,
    ],
)
def test_it_leads_nowhere_else(oidc: RunningHub, browser: Browser, then: str) -> None:
    answer = browser.get(oidc.url + START, params={"next": then})
    assert answer.status_code in {400, 422}
    assert "Location" not in answer.headers


def test_paths_it_does_lead_to(oidc: RunningHub, browser: Browser) -> None:
    for then, sent in [("/größe/日本?q=a b".replace(" ", "%20"), None), ("/.//x", "/.//x")]:
        browser.cookies.clear()
        place = browser.arrive(oidc.url, "ada", then).headers["Location"]
        assert place == (sent or "/gr%C3%B6%C3%9Fe/%E6%97%A5%E6%9C%AC?q=a%20b")


def test_who_may_not_come_in(issuer: str, tmp_path: Path, browser: Browser) -> None:
    with running_hub(tmp_path, **settings(issuer)) as hub:
        assert browser.arrive(hub.url, "ada").status_code == 302
        assert hub.request("PATCH", "/api/v1/users/ada", json={"disabled": True}).ok
        with Browser() as again:
            assert refused(again.arrive(hub.url, "ada"))
        assert browser.get(hub.url + ACCOUNT).status_code == 401
        assert hub.request("PATCH", "/api/v1/users/ada", json={"disabled": False}).ok
    with running_hub(
        tmp_path, **settings(issuer, DSX_OIDC_SIGNUP="false", DSX_SIGNUP="invite")
    ) as hub:
        with Browser() as known:
            assert known.arrive(hub.url, "ada").status_code == 302
        with Browser() as unknown:
            assert refused(unknown.arrive(hub.url, "grace"))
        names = [user["username"] for user in hub.get("/api/v1/users").json()["items"]]
        assert names == ["ada"]
        time.sleep(0.6)  # refusals are noted soon after
        noted = {entry["action"] for entry in hub.get("/api/v1/audit").json()["items"]}
        assert {"session.create", "user.create", "refused"} <= noted


def test_the_provider_comes_and_goes(tmp_path: Path, browser: Browser) -> None:
    """It is asked when it is needed; and it has other keys when it is back."""
    with openid_provider() as issuer:
        port = urlsplit(issuer).port
        assert port
    with running_hub(tmp_path, **settings(issuer)) as hub:
        gone = browser.get(hub.url + START)
        assert refused(gone, 503)
        assert "Retry-After" in gone.headers
        assert hub.get("/api/v1/files").status_code == 200
        with openid_provider(port):
            assert browser.arrive(hub.url, "ada").status_code == 302
            back = browser.sign_in(browser.begin(hub.url), "ada", hub.url + START)
        assert refused(browser.get(back), 503)
        with openid_provider(port), Browser() as later:
            assert later.arrive(hub.url, "ada").status_code == 302


CHEATS: dict[str, dict[str, object]] = {
    "for another client": {"claims": {"aud": "another"}},
    "for several, and not us": {"claims": {"aud": ["dsx", "another"], "azp": "another"}},
    "for several, and nobody": {"claims": {"aud": ["dsx", "another"]}},
    "of another client's": {"claims": {"azp": "another"}},
    "of another issuer": {"claims": {"iss": "https://another.example.org"}},
    "expired": {"claims": {"exp": 1_000_000_000, "iat": 999_999_999}},
    "without an end": {"claims": {"exp": None}},
    "without a nonce": {"claims": {"nonce": None}},
    "with another nonce": {"claims": {"nonce": "another"}},
    "of nobody": {"claims": {"sub": None}},
    "of an empty name": {"claims": {"sub": ""}},
    "of a long name": {"claims": {"sub": "x" * 256}},
    "of a number": {"claims": {"sub": 7}},
    "not signed": {"algorithm": "none"},
    "signed with the public key": {"algorithm": "HS256"},
    "of an unknown key": {"kid": "two"},
    "userinfo of another": {
        "claims": {"preferred_username": None},
        "userinfo": {"sub": "somebody", "preferred_username": "admin"},
    },
}


def back_from(hostile: Hostile, hub: RunningHub, browser: Browser) -> requests.Response:
    asked = parse_qs(urlsplit(browser.begin(hub.url)).query)
    hostile.nonce = asked["nonce"][0]
    return browser.get(f"{hub.url}{CALLBACK}?code=x&state={asked['state'][0]}")


@pytest.mark.parametrize("how", CHEATS)
def test_an_id_token_that_proves_nothing(
    hostile: Hostile, cheated: RunningHub, browser: Browser, how: str
) -> None:
    hostile.reset()
    for name, value in CHEATS[how].items():
        setattr(hostile, name, value)
    assert refused(back_from(hostile, cheated, browser))


def test_an_id_token_that_others_signed(
    hostile: Hostile, cheated: RunningHub, browser: Browser
) -> None:
    hostile.reset()
    hostile.secret = hostile.others
    assert refused(back_from(hostile, cheated, browser))
    hostile.reset()
    assert back_from(hostile, cheated, browser).status_code == 302  # the same, but for that
    assert hostile.asked["code_verifier"]
    assert hostile.asked["redirect_uri"] == [cheated.url + CALLBACK]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ((500, b"{}"), 503),
        ((200, b"<html>"), 503),
        ((200, b"[]"), 503),
        ((200, b"{}"), 403),
        ((200, b'{"access_token": "x", "token_type": "Bearer"}'), 403),
        ((200, b'{"access_token": "x", "id_token": "a.b.c"}'), 403),
        ((400, b'{"error": "invalid_grant"}'), 403),
        ((401, b'{"error": "invalid_client"}'), 503),
        ((307, b""), 503),
    ],
)
def test_a_provider_that_answers_nonsense(
    hostile: Hostile,
    cheated: RunningHub,
    browser: Browser,
    answer: tuple[int, bytes],
    status: int,
) -> None:
    hostile.reset()
    hostile.token_answer = answer
    assert refused(back_from(hostile, cheated, browser), status)
    assert "Traceback" not in cheated.log.read_text()


def test_a_document_of_another_issuer(hostile: Hostile) -> None:
    issuer = hostile.issuer.replace("127.0.0.1", "localhost")
    with pytest.raises(Unavailable, match="DSX_OIDC_ISSUER"):
        Provider(Registration(issuer, "dsx", None)).issuer  # noqa: B018
    assert Provider(Registration(hostile.issuer + "/", "dsx", None)).issuer == hostile.issuer


def test_a_hub_without_it(hub: RunningHub) -> None:
    for path in (START, CALLBACK):
        assert hub.get(path, allow_redirects=False).status_code == 404


def started(directory: Path, *before: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """How `dsx serve` fails, after some lines of Python."""
    script = "\n".join([*before, "import sys", "from dsx.cli.main import main"])
    return subprocess.run(
        [sys.executable, "-c", f"{script}\nsys.exit(main(['serve', '--port', '0']))"],
        env=clean_environment(**variables),
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_what_is_missing_is_told_at_the_start(tmp_path: Path) -> None:
    blocked = "import sys; sys.modules['authlib'] = None"
    done = started(tmp_path, blocked, **settings("https://id.example.org"))
    assert (done.returncode, "pip install 'dsx-hub[oidc]'" in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("wrong", "variable"),
    [
        ({"oidc_client_id": ""}, "DSX_OIDC_CLIENT_ID: .*required"),
        ({"oidc_issuer": "http://id.example.org"}, "DSX_OIDC_ISSUER: .*https"),
        ({"oidc_issuer": "id.example.org"}, "DSX_OIDC_ISSUER: .*https"),
    ],
)
def test_settings_that_do_not_go_together(wrong: dict[str, str], variable: str) -> None:
    right = {"oidc_issuer": "https://id.example.org", "oidc_client_id": "dsx"}
    assert load_settings(right).oidc_issuer
    with pytest.raises(Invalid, match=variable):
        load_settings(right | wrong)


def test_the_clients_secret_is_not_shown(tmp_path: Path) -> None:
    shown = Commands(tmp_path, settings("https://id.example.org"))("config").stdout.decode()
    assert "DSX_OIDC_CLIENT_SECRET" in shown
    assert "known to both" not in shown
    assert "https://id.example.org" in shown
