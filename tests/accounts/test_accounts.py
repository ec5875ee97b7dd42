"""Accounts over HTTP: how they begin, who they are, what they may hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from tests.support.hub import PASSWORD, RunningHub, running_hub

USERS = "/api/v1/users"
ACCOUNT = "/api/v1/account"
FILES = "/api/v1/files"


@pytest.fixture(scope="module")
def alice(hub: RunningHub) -> RunningHub:
    return hub.user("acc-alice")


@pytest.fixture(scope="module")
def bob(hub: RunningHub) -> RunningHub:
    return hub.user("acc-bob")


def who(hub: RunningHub, header: str) -> requests.Response:
    return requests.get(hub.url + ACCOUNT, headers={"Authorization": header}, timeout=10)


def sign_up(hub: RunningHub, name: str, **more: str) -> requests.Response:
    body = {"username": name, "password": PASSWORD} | more
    return requests.post(hub.url + USERS, json=body, timeout=10)


@pytest.mark.parametrize("spelling", ["Bearer {}", "JWT {}", "{}", "bearer {}", "Token {}"])
def test_a_secret_is_understood_in_every_spelling(
    hub: RunningHub, alice: RunningHub, spelling: str
) -> None:
    assert who(hub, spelling.format(hub.key)).json()["username"] == "admin"
    assert who(hub, spelling.format(alice.key)).json()["username"] == "acc-alice"


def test_basic_takes_a_password_a_token_or_a_key(hub: RunningHub, alice: RunningHub) -> None:
    for user, secret, name in [
        ("acc-alice", PASSWORD, "acc-alice"),
        ("ACC-Alice", PASSWORD, "acc-alice"),
        ("acc-alice", alice.key, "acc-alice"),
        ("admin", hub.key, "admin"),
    ]:
        answer = requests.get(hub.url + ACCOUNT, auth=(user, secret), timeout=10)
        assert answer.json()["username"] == name


@pytest.mark.parametrize(
    "header",
    ["Bearer nobodys", "Basic !", "Basic", "Basic bm9uZQ==", "dsx_unknown", "a.b.c", "JWT a.b.c"],
)
def test_what_is_no_credential_is_401(hub: RunningHub, header: str) -> None:
    answer = who(hub, header)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert 'Bearer realm="dsx"' in answer.headers["WWW-Authenticate"]


def test_a_pages_script_is_not_asked_by_the_browser(hub: RunningHub) -> None:
    answer = requests.get(hub.url + ACCOUNT, headers={"Sec-Fetch-Dest": "empty"}, timeout=10)
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="dsx"'


def test_spaces_are_personal(alice: RunningHub, bob: RunningHub) -> None:
    hers, his = alice.store("same-name", b"hers"), bob.store("same-name", b"his")
    assert (hers["version"], his["version"]) == (1, 1)
    for own, record, other in [(alice, hers, bob), (bob, his, alice)]:
        assert own.get(str(record["url"])).status_code == 200
        for ref in (record["id"], record["number"]):
            assert other.get(f"{FILES}/{ref}").status_code == 404
            assert other.delete(f"{FILES}/{ref}").status_code == 404
            changed = other.request("PATCH", f"{FILES}/{ref}", json={"category": "x"})
            assert changed.status_code == 404
    names = [item["id"] for item in alice.get(FILES).json()["items"]]
    assert hers["id"] in names
    assert his["id"] not in names


def test_an_admin_reads_and_changes_all(hub: RunningHub, alice: RunningHub) -> None:
    record = alice.store("for-admin", b"x")
    assert hub.get(str(record["url"])).content == b"x"
    changed = hub.request("PATCH", f"{FILES}/{record['id']}", json={"category": "seen"})
    assert changed.json()["owner"] == record["owner"]
    listed = hub.get(FILES, params={"owner": "acc-alice", "category": "seen"}).json()["items"]
    assert [item["id"] for item in listed] == [record["id"]]
    assert hub.delete(f"{FILES}/{record['id']}").status_code == 204
    assert alice.get("/api/v1/trash").json()["items"][0]["id"] == record["id"]


def test_a_reader_only_reads(hub: RunningHub) -> None:
    reader = hub.user("acc-reader", role="reader")
    answer = reader.post(FILES, params={"name": "x"}, data=b"x")
    assert answer.status_code == 403
    assert answer.json()["details"] == {"scope": "write"}
    assert reader.get(FILES).status_code == 200


def test_roles_change_and_accounts_are_disabled(hub: RunningHub) -> None:
    user = hub.user("acc-changing")
    jwt = requests.post(
        f"{hub.url}/api/v1/session",
        json={"username": "acc-changing", "password": PASSWORD},
        timeout=10,
    )
    cookie = jwt.cookies["dsx_session"]
    assert hub.request("PATCH", f"{USERS}/acc-changing", json={"role": "reader"}).status_code == 200
    assert user.post(FILES, params={"name": "x"}, data=b"x").status_code == 403
    ended = requests.get(hub.url + ACCOUNT, cookies={"dsx_session": cookie}, timeout=10)
    assert ended.status_code == 401
    assert hub.request("PATCH", f"{USERS}/acc-changing", json={"disabled": True}).status_code == 200
    assert user.get(FILES).status_code == 401
    basic = requests.get(hub.url + ACCOUNT, auth=("acc-changing", PASSWORD), timeout=10)
    assert basic.status_code == 401
    assert user.request("PATCH", f"{USERS}/acc-changing", json={"role": "admin"}).status_code == 401


def test_a_password_is_changed_by_who_knows_it(hub: RunningHub) -> None:
    user = hub.user("acc-password")
    path = f"{USERS}/acc-password"
    new = "another horse"
    wrong = user.request("PATCH", path, json={"password": new, "current_password": "no"})
    assert wrong.status_code == 403
    assert user.request("PATCH", path, json={"password": new}).status_code == 403
    right = user.request("PATCH", path, json={"password": new, "current_password": PASSWORD})
    assert right.status_code == 200
    statuses = [
        requests.get(hub.url + ACCOUNT, auth=("acc-password", password), timeout=10).status_code
        for password in (PASSWORD, new)
    ]
    assert statuses == [401, 200]
    for change in ({"role": "admin"}, {"quota_bytes": 1}, {"disabled": False}):
        assert user.request("PATCH", path, json=change).status_code == 403
    other = user.request("PATCH", f"{USERS}/acc-alice", json={"password": "stolen it"})
    assert other.status_code == 404


def test_quotas_of_bytes_and_files(hub: RunningHub) -> None:
    user = hub.user("acc-quota")
    hub.request("PATCH", f"{USERS}/acc-quota", json={"quota_bytes": 10, "quota_files": 2})
    user.store("a", b"12345")
    too_much = user.post(FILES, params={"name": "b"}, data=b"123456")
    assert too_much.status_code == 413
    user.store("b", b"1")
    too_many = user.post(FILES, params={"name": "c"}, data=b"1")
    assert too_many.status_code == 413
    assert too_many.json()["details"]["quota_files"] == 2
    usage = user.get(f"{ACCOUNT}/usage").json()
    assert usage == {"bytes": 6, "files": 2, "staged": 0, "quota_bytes": 10, "quota_files": 2}
    hub.request("PATCH", f"{USERS}/acc-quota", json={"quota_bytes": -1, "quota_files": -1})
    user.store("c", b"123456789")


@pytest.mark.parametrize(
    "name", ["", "admin", "Anonymous", "a b", "-x", "x" * 65, "ä", "a/b", "a\u0000", "a:b"]
)
def test_names_that_will_not_do(hub: RunningHub, name: str) -> None:
    answer = hub.post(USERS, json={"username": name, "password": PASSWORD})
    assert answer.status_code in {400, 422}


@pytest.mark.parametrize("password", ["", "short", "x" * 257])
def test_passwords_that_will_not_do(hub: RunningHub, password: str) -> None:
    answer = hub.post(USERS, json={"username": "acc-new", "password": password})
    assert answer.status_code == 422


def test_names_are_taken_once_whatever_their_case(hub: RunningHub, alice: RunningHub) -> None:
    answer = hub.post(USERS, json={"username": "ACC-ALICE", "password": PASSWORD})
    assert answer.status_code == 409


def test_sign_up_is_closed_unless_it_is_opened(hub: RunningHub, alice: RunningHub) -> None:
    assert sign_up(hub, "acc-closed").status_code == 403
    body = {"username": "acc-closed", "password": PASSWORD}
    assert alice.post(USERS, json=body).status_code == 403


@pytest.fixture(scope="module")
def inviting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with running_hub(tmp_path_factory.mktemp("inviting"), DSX_SIGNUP="invite") as running:
        yield running


def test_an_invitation_is_good_once(inviting: RunningHub) -> None:
    assert sign_up(inviting, "eve").status_code == 403
    made = inviting.post("/api/v1/invites", json={"role": "reader"}).json()
    assert sign_up(inviting, "eve", invite="dsxi_guessed").status_code == 403
    assert who(inviting, made["token"]).status_code == 401
    joined = sign_up(inviting, "eve", invite=made["token"])
    assert joined.status_code == 201
    assert joined.json()["role"] == "reader"
    assert sign_up(inviting, "eve2", invite=made["token"]).status_code == 403
    assert who(inviting, made["token"]).status_code == 401


def test_anybody_signs_up_where_that_is_open(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_SIGNUP="open") as hub:
        assert sign_up(hub, "first").status_code == 201
        assert sign_up(hub, "second", role="admin").status_code == 403
        me = requests.get(hub.url + ACCOUNT, auth=("first", PASSWORD), timeout=10).json()
        assert me["scopes"] == ["delete", "read", "write"]


def test_nobody_may_do_what_is_open_to_all(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_ANONYMOUS="read,write") as hub:
        made = requests.post(hub.url + FILES, params={"name": "a"}, data=b"x", timeout=10)
        assert made.status_code == 201
        assert requests.get(hub.url + FILES, timeout=10).json()["items"][0]["name"] == "a"
        path = f"{hub.url}{FILES}/{made.json()['id']}"
        assert requests.delete(path, timeout=10).status_code == 403
