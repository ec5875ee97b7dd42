"""S1 (Datastore): accounts, and what one's credentials open, with the seed's own commands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.hub import RunningHub, running_hub
from tests.support.seed import ROUTES, User, sign_up


@pytest.fixture(scope="module")
def open_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub where anybody may sign up."""
    with running_hub(tmp_path_factory.mktemp("open"), DSX_SIGNUP="open") as hub:
        yield hub


@pytest.fixture
def nobody(open_hub: RunningHub, tmp_path: Path) -> User:
    return User(open_hub, "", tmp_path)


@pytest.mark.ledger("S1.7")
def test_s1_7_anybody_makes_an_account(nobody: User) -> None:
    made = nobody.sh(
        """curl -fsX POST $B/create_account -d '{"username":"alice","password":"open sesame"}' """
        "-w '%{http_code}' -o answer && jq -er '.username, .id' answer"
    ).split()
    assert made[0] == "201alice"
    nobody.sh("curl -fsu 'alice:open sesame' -X POST $B/create_task | jq -e .task_id")
    form = "curl -fsX POST $B/create_account -d username=bob -d 'password=open sesame'"
    assert nobody.sh(f"{form} | jq -r .username").strip() == "bob"
    again = "curl -X POST $B/create_account -F username=bob -F 'password=open sesame'"
    assert nobody.status(again) == 409


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("", 422),
        ("{", 400),
        ('{"username": 1, "password": "open sesame"}', 400),
        ('{"username": "carol"}', 422),
        ('{"username": "../carol", "password": "open sesame"}', 422),
        ('{"username": "carol", "password": "short"}', 422),
        ("[" * 60_000, 422),
        ("username=" + "x" * 70_000, 413),
    ],
)
def test_bodies_that_make_no_account(nobody: User, body: str, status: int) -> None:
    (nobody.directory / "body").write_text(body)
    assert nobody.status("curl -X POST $B/create_account -d @body") == status


def test_where_sign_up_is_closed(hub: RunningHub, tmp_path: Path) -> None:
    nobody = User(hub, "", tmp_path)
    facts = """-d '{"username":"dave-s1","password":"open sesame"}'"""
    assert nobody.status(f"curl -X POST $B/create_account {facts}") == 403
    admin = f"curl -X POST -H 'Authorization: Bearer {hub.key}' $B/create_account {facts}"
    assert nobody.status(admin) == 201
    assert nobody.status(f"curl -u 'dave-s1:wrong horse' -X POST $B/create_account {facts}") == 401


@pytest.mark.ledger("S1.8")
def test_s1_8_basic_authorization_on_all_other_requests(hub: RunningHub, tmp_path: Path) -> None:
    alice = sign_up(hub, tmp_path)
    alice.file("a.bin", b"x")
    requests = ["-X POST $B/create_task", *ROUTES]
    for route in requests:
        challenge = alice.sh(f"curl -sD - -o /dev/null {route}", ID=alice.task())
        assert challenge.startswith("HTTP/1.1 401"), route
        assert "basic" in challenge.lower().split("www-authenticate:", 1)[1], route
        wrong = f'curl -u "${{U%%:*}}:wrong horse" {route}'
        if route == requests[0]:  # every one counts: there are only so many attempts
            assert alice.status(wrong) == 401
    id_ = alice.task()
    for route in (ROUTES[1], ROUTES[2], ROUTES[0], ROUTES[6]):
        assert alice.status(f"curl -u $U {route}", ID=id_) in {200, 201}, route
    for route in (ROUTES[4], ROUTES[5]):
        assert alice.status(f"curl -u $U {route}", ID=alice.task()) == 200, route
    assert alice.status(f"curl -u $U {ROUTES[3]}", ID=alice.task()) == 200


@pytest.mark.ledger("S1.46")
def test_s1_46_tasks_of_others_are_not_found(hub: RunningHub, tmp_path: Path) -> None:
    alice, bob = sign_up(hub, tmp_path), sign_up(hub, tmp_path)
    alice.file("a.bin", b"x")
    uploaded = alice.upload("mine.txt", b"mine")
    downloaded = alice.task()
    alice.sh("curl -fsu $U -o o.zip $B/download_file/$ID", ID=downloaded)
    pending = alice.task()
    assert len(ROUTES) == 7
    for id_ in (pending, uploaded, downloaded):
        for route in ROUTES:
            assert bob.status(f"curl -u $U {route}", ID=id_) == 404, route
    assert alice.state(pending)["state"] == "pending"
    assert alice.names() == {"mine.txt"}


@pytest.mark.ledger("S1.19")
def test_s1_19_every_file_of_that_user_and_none_of_others(hub: RunningHub, tmp_path: Path) -> None:
    alice, bob = sign_up(hub, tmp_path), sign_up(hub, tmp_path)
    for name in ("a.txt", "b/c.txt", "ü.txt"):
        path = name.replace("/", "-")
        alice.file(path, name.encode())
        alice.sh(f"curl -fsu $U -X PUT -F 'file=@{path};filename={name}' $B/upload_file/$ID",
                 ID=alice.task())  # fmt: skip
    bob.upload("bobs.txt", b"bob's")
    alice.sh("curl -fsu $U -o o.zip $B/download_file/$ID && unzip -l o.zip", ID=alice.task())
    assert set(alice.sh("unzip -Z1 o.zip").splitlines()) == alice.names()
    assert alice.names() == {"a.txt", "b/c.txt", "ü.txt"}
