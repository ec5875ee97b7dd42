"""S1 (Datastore): tasks and what controls them, with the seed's own commands."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path

import pytest
from tests.support.hub import RunningHub, running_hub
from tests.support.seed import ROUTES, User, ended, sign_up
from tests.support.waiting import eventually
from tests.support.wire import stages

MIB = 1024**2


@pytest.fixture
def user(hub: RunningHub, tmp_path: Path) -> User:
    return sign_up(hub, tmp_path)


@pytest.mark.ledger("S1.5", "S1.6")
def test_s1_5_s1_6_both_styles_of_documentation(user: User) -> None:
    user.sh("curl -fs $B/docs | grep -qi swagger")
    user.sh("curl -fs $B/redoc | grep -qi redoc")
    paths = json.loads(user.sh("curl -fs $B/openapi.json"))["paths"]
    assert {"put"} == set(paths["/upload_file/{task_id}"])
    assert {"get", "head"} == set(paths["/download_file/{task_id}"])


@pytest.mark.ledger("S1.9")
def test_s1_9_create_task(user: User) -> None:
    id_ = user.sh("curl -fsu $U -X POST $B/create_task | jq -e .task_id")
    assert json.loads(id_)


@pytest.mark.ledger("S1.10")
def test_s1_10_task_ids_are_random_and_unique(user: User) -> None:
    calls = 'curl -fsZu $U -X POST "$B/create_task?[1-10000]" | jq -r .task_id'
    ids = [uuid.UUID(line) for line in user.sh(calls).splitlines()]
    assert len(ids) == len(set(ids)) == 10_000
    assert all((id_.version, id_.variant) == (4, uuid.RFC_4122) for id_ in ids)
    set_bits = [sum(id_.int >> bit & 1 for id_ in ids) for bit in range(128)]
    random_bits = [count for count in set_bits if 4_700 < count < 5_300]  # six sigma
    assert len(random_bits) == 122


@pytest.mark.ledger("S1.16")
@pytest.mark.parametrize("what", ["pause", "resume", "abort"])
def test_s1_16_verbs_of_control(user: User, what: str) -> None:
    for verb in ("POST", "PUT"):
        id_ = user.task()
        if what == "resume":
            user.order("pause", id_)
        user.sh(f"curl -fsu $U -X {verb} $B/{what}_task/$ID", ID=id_)
    assert user.status(f"curl -u $U $B/{what}_task/$ID", ID=user.task()) == 405


@pytest.mark.ledger("S1.31")
def test_s1_31_the_map_holds_the_state(user: User) -> None:
    id_ = user.task()
    command = "curl -fsu $U $B/task/$ID | jq -r .state"
    assert user.sh(command, ID=id_).strip() == "pending"
    user.order("pause", id_)
    assert user.sh(command, ID=id_).strip() == "paused"
    user.file("a.bin", b"x")
    assert user.status("curl -u $U -X PUT -F file=@a.bin $B/upload_file/$ID", ID=id_) == 409
    assert user.status("curl -u $U $B/download_file/$ID", ID=id_) == 409
    user.order("resume", id_)
    assert user.sh(command, ID=id_).strip() == "pending"
    user.sh("curl -fsu $U -X PUT -F file=@a.bin $B/upload_file/$ID", ID=id_)
    assert user.sh(command, ID=id_).strip() == "completed"


@pytest.mark.ledger("S1.32")
def test_s1_32_a_mapping_is_kept_for_a_day(user: User) -> None:
    command = "curl -fsu $U $B/task/$ID | jq -e '.expires_at == .created_at + 86400'"
    user.sh(command, ID=user.task())
    age = "curl -fsu $U $B/task/$ID | jq -e 'now - .created_at | . > -1 and . < 10'"
    user.sh(age, ID=user.task())


@pytest.mark.ledger("S1.35")
def test_s1_35_abort_deletes_the_mapping(user: User) -> None:
    user.file("a.bin", b"x")
    id_ = user.task()
    user.order("abort", id_)
    for route in ROUTES:
        assert user.status(f"curl -u $U {route}", ID=id_) == 404, route
    assert user.get(f"/api/v1/tasks/{id_}").json()["state"] == "aborted"


def test_unknown_tasks_are_not_found(user: User) -> None:
    user.file("a.bin", b"x")
    for route in ROUTES:
        for id_ in (str(uuid.uuid4()), "0", "%00", "..%2f"):
            assert user.status(f"curl -u $U {route}", ID=id_) in {404, 405}, (route, id_)
        assert user.status(f"curl -u $U {route}", ID="x" * 70) == 422


@pytest.mark.ledger("S1.33", "S1.36")
def test_s1_33_s1_36_the_end_of_a_mapping_ends_its_transfer(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_TASK_TTL="3", DSX_COLLECT_INTERVAL="1") as hub:
        user = sign_up(hub, tmp_path)
        big = user.file("big.bin", bytes(30 * MIB))
        idle = user.task()
        slow, curl = user.uploading(big, rate="1M")
        begun = time.monotonic()
        code, _ = ended(curl, seconds=8)  # by itself: at that rate it would take 30 seconds
        assert code != 0
        assert 1 < time.monotonic() - begun < 6
        for id_ in (idle, slow):
            eventually(lambda: user.status("curl -u $U $B/task/$ID", ID=id_) == 404, 3)  # noqa: B023
        assert user.names() == set()
        eventually(lambda: not stages(hub.data_dir), 5)


@pytest.mark.ledger("S1.4")
def test_s1_4_a_task_that_runs_too_long_is_aborted(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_TASK_MAX_SECONDS="3") as hub:
        user = sign_up(hub, tmp_path)
        big = user.file("big.bin", bytes(30 * MIB))
        begun = time.monotonic()
        id_, curl = user.uploading(big, rate="1M")
        time.sleep(1)
        curl.terminate()  # to come again does not set the clock back
        ended(curl)
        command = "curl -fsu $U --limit-rate 1M -T big.bin $B/upload_file/$ID"
        code, _ = ended(user.start(command, ID=id_))
        assert code != 0
        assert 2.5 < time.monotonic() - begun < 6
        task = user.get(f"/api/v1/tasks/{id_}").json()
        assert task["state"] == "aborted"
        assert "3 seconds" in task["message"]
        assert user.status("curl -u $U $B/task/$ID", ID=id_) == 404
        assert user.status("curl -u $U -T big.bin $B/upload_file/$ID", ID=id_) == 404
        eventually(lambda: not stages(hub.data_dir), 5)
        assert user.names() == set()


@pytest.mark.ledger("S1.4")
def test_s1_4_downloads_too(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_TASK_MAX_SECONDS="2") as hub:
        user = sign_up(hub, tmp_path)
        user.upload("big.bin", bytes(60 * MIB))
        id_ = user.task()
        code, _ = ended(
            user.start("curl -fsu $U --limit-rate 2M -o o.zip $B/download_file/$ID", ID=id_)
        )
        assert code == 18
        assert user.get(f"/api/v1/tasks/{id_}").json()["state"] == "aborted"
