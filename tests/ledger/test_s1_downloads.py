"""S1 (Datastore): downloads and deletes under a task, with the seed's own commands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.hub import RunningHub, running_hub
from tests.support.seed import User, ended, sign_up
from tests.support.waiting import eventually

MIB = 1024**2
SLOW = 120 * MIB


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    with running_hub(tmp_path_factory.mktemp("downloads"), DSX_PAUSE_GRACE="4") as running:
        yield running


@pytest.fixture
def user(hub: RunningHub, tmp_path: Path) -> User:
    return sign_up(hub, tmp_path)


def zipped(user: User, arguments: str = "", **variables: str) -> set[str]:
    """The names in the ZIP that a new task downloads."""
    command = "rm -f o.zip; curl -fsu $U -o o.zip $B/download_file/$ID " + arguments
    user.sh(command + "; unzip -tqq o.zip", ID=user.task(), **variables)
    return set(user.sh("unzip -Z1 o.zip").splitlines())


@pytest.mark.ledger("S1.18", "S1.19", "S1.25")
def test_s1_18_s1_25_all_files_in_a_zip(user: User) -> None:
    files = {"s18-a.txt": b"alpha", "s18-b.txt": b"beta"}
    for name, data in files.items():
        user.upload(name, data)
    user.sh("curl -fsu $U -o o.zip $B/download_file/$ID", ID=user.task())
    assert set(user.sh("unzip -Z1 o.zip").splitlines()) == user.names() >= set(files)
    assert "Zip archive" in user.sh("file o.zip")
    user.sh("unzip -qo o.zip -d out")
    for name, data in files.items():
        assert (user.directory / "out" / name).read_bytes() == data


@pytest.mark.ledger("S1.25")
def test_s1_25_one_match_is_a_zip_too(user: User) -> None:
    user.upload("s25-only.txt", b"alone")
    assert zipped(user, "-G --data-urlencode 'filename=^s25-only'") == {"s25-only.txt"}
    assert "Zip archive" in user.sh("file o.zip")


@pytest.mark.ledger("S1.20", "S1.24")
def test_s1_20_filename_is_a_regex(user: User) -> None:
    for name in ("img_1.png", "img_22.png", "img_x.png", "an_img_3.png", "img_4.jpg"):
        user.upload(name, b"x")
    command = r"--get --data-urlencode 'filename=^img_\d+\.png$'"
    assert zipped(user, command) == {"img_1.png", "img_22.png"}
    assert zipped(user, "--get --data-urlencode 'filename=(?i)IMG_4'") == {"img_4.jpg"}


@pytest.mark.ledger("S1.21")
@pytest.mark.parametrize(
    ("pattern", "position"), [("img[", 3), ("ab(?=c)", 2), (r"(a)\1", 3), ("x**", 1), ("tail\\", 5)]
)
def test_s1_21_an_invalid_regex_is_explained(user: User, pattern: str, position: int) -> None:
    id_ = user.task()
    for route in ("$B/download_file/$ID", "-X DELETE $B/delete_file/$ID"):
        command = f"curl -u $U --get --data-urlencode filename=$P {route}"
        assert user.status(command, ID=id_, P=pattern) == 422
        told = user.sh(f"{command} -s | jq -c '[.details.position, .details.reason]'",
                       ID=id_, P=pattern)  # fmt: skip
        assert told.startswith(f'[{position},"'), told
    assert user.state(id_)["state"] == "pending"


def test_a_pattern_that_would_take_ages_takes_none(user: User) -> None:
    user.upload("a" * 200 + "b", b"x")
    begun = time.monotonic()
    command = "curl -u $U --get --data-urlencode 'filename=(a+)+$' $B/download_file/$ID"
    assert user.status(command, ID=user.task()) in {200, 404}
    assert time.monotonic() - begun < 2


@pytest.mark.ledger("S1.22", "S1.23", "S1.24")
def test_s1_22_s1_23_dates(user: User) -> None:
    user.upload("dated-1.txt", b"1")
    time.sleep(0.05)
    user.upload("dated-2.txt", b"2")
    listed = user.get("/api/v1/files", params={"name": "dated-?.txt", "sort": "created"})
    first, second = (item["created"] for item in listed.json()["items"])
    both, name = {"dated-1.txt", "dated-2.txt"}, "-G -d filename=dated-"
    assert zipped(user, f"{name} -d from_date=$T", T=first) == both  # inclusive
    assert zipped(user, f"{name} -d from_date=$T", T=second) == {"dated-2.txt"}
    assert zipped(user, f"{name} -d to_date=$T", T=second) == {"dated-1.txt"}  # exclusive
    between = f"{name} -d from_date=$F -d to_date=$T"
    assert zipped(user, between, F=first, T=second) == {"dated-1.txt"}
    assert zipped(user, f"{name} -d from_date=$T", T=second.rstrip("Z")) == {"dated-2.txt"}  # UTC
    assert zipped(user, f"{name} -d from_date=2026-01-01T00:00:00Z") == both
    late = f"curl -u $U {name} -d from_date=2999-01-01 $B/download_file/$ID"
    assert user.status(late, ID=user.task()) == 404
    assert user.status(f"curl -u $U {name} -d from_date=soon $B/download_file/$ID",
                       ID=user.task()) == 422  # fmt: skip


def test_a_task_is_about_what_its_first_request_chose(user: User) -> None:
    user.upload("set-1", b"1")
    id_ = user.task()
    chosen = "curl -fsu $U -o o.zip -G -d filename=^set- $B/download_file/$ID"
    user.sh(chosen, ID=id_)
    before = (user.directory / "o.zip").read_bytes()
    user.upload("set-2", b"2")
    user.sh("curl -fsu $U -X DELETE -G -d filename=^set-1 $B/delete_file/$ID", ID=user.task())
    user.sh("curl -fsu $U -o tail -r 10- $B/download_file/$ID", ID=id_)
    assert (user.directory / "tail").read_bytes() == before[10:]
    length = user.sh("curl -fsIu $U $B/download_file/$ID | grep -i content-length", ID=id_)
    assert int(length.split()[1]) == len(before)
    other = "curl -u $U -G -d filename=^other $B/download_file/$ID"
    assert user.status(other, ID=id_) == 409
    assert user.status("curl -u $U -X DELETE $B/delete_file/$ID", ID=id_) == 409
    user.file("a.bin", b"x")
    assert user.status("curl -u $U -T a.bin $B/upload_file/$ID", ID=id_) == 409


@pytest.fixture
def big(user: User) -> str:
    """The regex of one file that takes some seconds to download."""
    if "slow.bin" not in user.names():
        user.sh("truncate -s $S slow.bin", S=str(SLOW))
        user.sh("curl -fsu $U -X PUT -F file=@slow.bin $B/upload_file/$ID", ID=user.task())
    return "^slow.bin$"


def received(user: User) -> int:
    path = user.directory / "part.zip"
    return path.stat().st_size if path.exists() else 0


@pytest.mark.ledger("S1.2", "S1.26", "S1.27", "S1.34")
def test_s1_26_s1_27_pause_and_resume(user: User, big: str) -> None:
    id_ = user.task()
    command = "curl -fsu $U --limit-rate 20M -o part.zip -G -d filename=$P $B/download_file/$ID"
    curl = user.start(command, ID=id_, P=big)
    eventually(lambda: received(user) > 10 * MIB)
    user.sh("curl -fsu $U -X POST $B/pause_task/$ID", ID=id_)
    time.sleep(1)
    stopped = received(user)
    assert stopped < SLOW
    time.sleep(1.5)
    assert received(user) == stopped
    assert curl.poll() is None
    user.sh("curl -fsu $U -X POST $B/resume_task/$ID", ID=id_)
    assert ended(curl)[0] == 0
    user.sh("unzip -tqq part.zip")
    assert user.state(id_)["state"] == "completed"


@pytest.mark.ledger("S1.2", "S1.26", "S1.27")
def test_s1_27_resumed_after_the_request_was_closed(user: User, big: str) -> None:
    id_ = user.task()
    command = "curl -fsu $U --limit-rate 20M -o part.zip -G -d filename=$P $B/download_file/$ID"
    curl = user.start(command, ID=id_, P=big)
    eventually(lambda: received(user) > 10 * MIB)
    user.order("pause", id_)
    assert ended(curl)[0] == 18
    assert user.status("curl -u $U $B/download_file/$ID", ID=id_) == 409
    user.order("resume", id_)
    kept = received(user)
    user.sh("curl -fsu $U -C - -o part.zip $B/download_file/$ID", ID=id_)
    assert received(user) > kept
    user.sh("unzip -tqq part.zip")


@pytest.mark.ledger("S1.2", "S1.28")
def test_s1_28_an_aborted_download_is_short(user: User, big: str) -> None:
    id_ = user.task()
    command = "curl -fsu $U --limit-rate 20M -o part.zip -G -d filename=$P $B/download_file/$ID"
    curl = user.start(command, ID=id_, P=big)
    eventually(lambda: received(user) > 10 * MIB)
    user.sh("curl -fsu $U -X POST $B/abort_task/$ID", ID=id_)
    assert ended(curl)[0] == 18
    assert user.code("unzip -tqq part.zip") != 0
    assert user.status("curl -u $U $B/download_file/$ID", ID=id_) == 404


@pytest.mark.ledger("S1.29")
def test_s1_29_delete_by_regex(user: User) -> None:
    for name in ("s29.tmp", "s29-b.tmp", "s29.txt"):
        user.upload(name, b"x")
    command = r"curl -fsu $U -X DELETE --get -d filename='\.tmp$' $B/delete_file/$ID"
    answer = user.sh(command + " | jq -e .deleted", ID=user.task())
    assert int(answer) == 2
    assert {name for name in user.names() if name.startswith("s29")} == {"s29.txt"}
    dated = "curl -fsu $U -X DELETE --get -d to_date=2001-01-01 $B/delete_file/$ID"
    assert int(user.sh(f"{dated} | jq .deleted", ID=user.task())) == 0


@pytest.mark.ledger("S1.30")
def test_s1_30_delete_everything_to_the_trash(user: User) -> None:
    user.upload("s30.txt", b"back")
    names = user.names()
    id_ = user.task()
    answer = user.sh("curl -fsu $U -X DELETE $B/delete_file/$ID | jq .deleted", ID=id_)
    assert int(answer) == len(names)
    assert user.names() == set()
    trashed = user.get("/api/v1/trash", params={"limit": 1000}).json()["items"]
    assert {item["name"] for item in trashed} >= names
    number = next(item["number"] for item in trashed if item["name"] == "s30.txt")
    user.request("POST", f"/api/v1/trash/{number}/restore")
    user.sh("curl -fsu $U -X DELETE $B/delete_file/$ID", ID=id_)  # done: what came back stays
    assert user.names() == {"s30.txt"}
