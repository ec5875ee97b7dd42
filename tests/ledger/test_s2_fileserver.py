"""S2 (the minimal file server seed): its routes and its cap."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import requests
from tests.drills.test_memory import peak_rss, reset_peak
from tests.support.digests import sha256
from tests.support.hub import PASSWORD, RunningHub, running_hub
from tests.support.shell import sh
from tests.support.wire import content, listed, staged, wire

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024**2
CAP = 16 * MIB


def curl(hub: RunningHub) -> dict[str, str]:
    """The variables of a seed's curl line; -H is where that system needed nothing."""
    return {"B": hub.url, "T": f"Authorization: Bearer {hub.key}"}


# The routes


@pytest.mark.ledger("S2.6")
def test_s2_6_list_prints_one_name_a_line(hub: RunningHub, tmp_path: Path) -> None:
    names = ["s2/list/b b.txt", "s2/list/a.txt", "s2/list/größe.txt"]
    for name in names:
        hub.store(name, b"x")
    for accept in ("", "-H 'Accept: text/plain' ", "-H 'Accept: text/html, */*;q=0.8' "):
        printed = sh(f'curl -f {accept}-H "$T" $B/list', tmp_path, **curl(hub))
        assert [line for line in printed.splitlines() if line.startswith("s2/list/")] == sorted(
            names
        )
        assert printed.endswith("\n")


@pytest.mark.ledger("S2.6")
@pytest.mark.parametrize(
    "accept", ["application/json", "text/plain;q=0.5,application/json", "application/json, */*"]
)
def test_s2_6_list_is_json_by_accept(hub: RunningHub, accept: str) -> None:
    hub.store("s2/json/'quoted', ü.txt", b"x")
    answer = hub.get("/list", headers={"Accept": accept})
    assert answer.headers["Content-Type"].startswith("application/json")
    assert "Accept" in answer.headers["Vary"]
    assert "s2/json/'quoted', ü.txt" in answer.json()


@pytest.mark.parametrize("accept", ["application/json;q=0", "text/plain,application/json;q=0.9"])
def test_list_is_text_where_text_is_preferred(hub: RunningHub, accept: str) -> None:
    answer = hub.get("/list", headers={"Accept": accept})
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.ledger("S2.6")
def test_s2_6_a_long_list_is_whole_and_an_empty_one_is_empty(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        assert hub.get("/list").text == ""
        assert hub.get("/list", headers={"Accept": "application/json"}).json() == []
        with requests.Session() as session:
            session.headers["Authorization"] = hub.key
            names = [f"n{number:04}" for number in range(1003)]
            for name in names:
                assert session.put(f"{hub.url}/upload={name}", data=b"x").status_code == 201
            assert session.get(f"{hub.url}/list").text.splitlines() == names
            as_json = session.get(f"{hub.url}/list", headers={"Accept": "application/json"})
            assert as_json.json() == names


@pytest.mark.ledger("S2.7")
@pytest.mark.parametrize(
    "command",
    [
        'curl -fX POST -H "$T" -F file=@a.txt "$B/upload=$N"',
        'curl -fX PUT -H "$T" -F file=@a.txt "$B/upload=$N"',
        'curl -fX POST -H "$T" --data-binary @a.txt "$B/upload=$N"',
        'curl -f -H "$T" -T a.txt "$B/upload=$N"',
        'curl -f -H "$T" -H "Transfer-Encoding: chunked" -T a.txt "$B/upload=$N"',
    ],
)
def test_s2_7_upload(hub: RunningHub, tmp_path: Path, command: str) -> None:
    data = os.urandom(300_000)
    (tmp_path / "a.txt").write_bytes(data)
    name = f"s2-up-{sha256(data)[:9]}.txt"
    sh(command, tmp_path, N=name, **curl(hub))
    (record,) = listed(hub, name)
    assert hub.get(f"/api/v1/files/{record['id']}/content").content == data
    assert record["content_type"] == "text/plain"


@pytest.mark.ledger("S2.7")
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("s2/dir/a.txt", "s2/dir/a.txt"),
        ("s2%2Fencoded.txt", "s2/encoded.txt"),
        ("s2%20%C3%BC%23%25=b.txt", "s2 ü#%=b.txt"),
    ],
)
def test_s2_7_the_path_tells_the_name(hub: RunningHub, path: str, name: str) -> None:
    answer = hub.post(f"/upload={path}", files={"file": ("other.txt", b"bytes")})
    assert answer.status_code == 201
    assert answer.json()["filename"] == name
    assert hub.get(answer.headers["Location"]).json()["name"] == name
    assert hub.post(f"/delete={path}").json()["filename"] == name
    assert listed(hub, name) == []


@pytest.mark.parametrize("name", ["", "..", "a/../b", "/a", "a/", "%00", "a%0Ab", "con", "n" * 300])
@pytest.mark.parametrize("action", ["upload", "delete"])
def test_a_name_that_is_none_is_refused(hub: RunningHub, action: str, name: str) -> None:
    before = staged(hub)
    with wire(hub) as connection:
        answer = connection.ask("POST", f"/{action}={name}", "Content-Length: 0")
    unknown = action == "delete" or "%0A" in name  # a route's path has no line breaks
    assert answer.status == (404 if unknown else 400)
    assert set(staged(hub)) <= set(before)


@pytest.mark.ledger("S2.7", "S2.11")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/upload=a.txt"),
        ("DELETE", "/upload=a.txt"),
        ("GET", "/delete=a.txt"),
        ("HEAD", "/delete=a.txt"),
        ("PUT", "/delete=a.txt"),
        ("POST", "/list"),
    ],
)
def test_s2_what_changes_something_is_no_get(hub: RunningHub, method: str, path: str) -> None:
    assert hub.request(method, path).status_code == 405


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/list"), ("POST", "/upload=a"), ("DELETE", "/delete=a")]
)
def test_all_of_it_needs_a_credential(hub: RunningHub, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = requests.request(method, hub.url + path, headers=headers, timeout=10)
        assert answer.status_code == 401


# The cap


@pytest.mark.ledger("S2.8")
def test_s2_8_over_16_mib_is_refused_before_the_body(hub: RunningHub, tmp_path: Path) -> None:
    before = staged(hub)
    with wire(hub) as connection:
        connection.send(connection.head("POST", "/upload=big", f"Content-Length: {CAP + 1}"))
        answer = connection.answer()  # though not a byte of the body was sent
    assert answer.status == 413
    assert b'"limit":16777216' in answer.body
    with (tmp_path / "big").open("wb") as file:
        file.truncate(CAP + 1)
    command = (
        "curl -sS -o /dev/null -w '%{http_code} %{size_upload}' "
        '-H "$T" -H "Expect: 100-continue" -T big "$B/upload=big"'
    )
    assert sh(command, tmp_path, **curl(hub)) == "413 0"
    assert listed(hub, "big") == []
    assert set(staged(hub)) <= set(before)


@pytest.mark.ledger("S2.8")
def test_s2_8_a_form_far_over_the_cap_is_refused_before_the_body(hub: RunningHub) -> None:
    fields = (f"Content-Length: {CAP + MIB}", "Content-Type: multipart/form-data; boundary=B")
    with wire(hub) as connection:
        connection.send(connection.head("POST", "/upload=big", *fields))
        assert connection.answer().status == 413


@pytest.mark.ledger("S2.8")
@pytest.mark.parametrize(
    "how", ["-F file=@big", '-H "Transfer-Encoding: chunked" --data-binary @big']
)
@pytest.mark.parametrize(("size", "status"), [(CAP, "201"), (CAP + 1, "413")])
def test_s2_8_the_cap_is_exact_where_the_length_is_not_known(
    hub: RunningHub, tmp_path: Path, how: str, size: int, status: str
) -> None:
    before = staged(hub)
    with (tmp_path / "big").open("wb") as file:
        file.truncate(size)
    name = f"s2-cap-{status}"
    command = f"curl -sS -o /dev/null -w '%{{http_code}}' -H \"$T\" {how} -X POST $B/upload={name}"
    assert sh(command, tmp_path, **curl(hub)) == status
    assert [record["size"] for record in listed(hub, name)] == [CAP] * (status == "201")
    assert set(staged(hub)) <= set(before)


def test_the_cap_is_this_routes_own(hub: RunningHub) -> None:
    record = hub.store("s2-over", bytes(CAP + 1))
    assert record["size"] == CAP + 1


@pytest.mark.parametrize(("largest", "cap"), [("1KiB", "16MiB"), ("16MiB", "1KiB")])
def test_the_smaller_of_both_bounds_counts(tmp_path: Path, largest: str, cap: str) -> None:
    with running_hub(tmp_path, DSX_MAX_FILE_SIZE=largest, DSX_FILESERVER_MAX=cap) as hub:
        assert hub.post("/upload=a", data=bytes(1025)).status_code == 413
        assert hub.post("/upload=a", data=bytes(1024)).status_code == 201


@pytest.mark.ledger("S2.10")
def test_s2_10_256_mib_with_the_cap_raised(tmp_path: Path) -> None:
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(256 * MIB)
    with running_hub(tmp_path, DSX_FILESERVER_MAX="256MiB") as hub:
        hub.store("warm-up", b"x" * 3 * MIB)
        for how in ("-F file=@large.bin", "--data-binary @large.bin"):
            reset_peak(hub)
            idle = peak_rss(hub)
            sh(f'curl -sSfX POST -H "$T" {how} "$B/upload=large.bin"', tmp_path, **curl(hub))
            assert peak_rss(hub) - idle < 64 * MIB
        (record,) = listed(hub, "large.bin")
        assert record["size"] == 256 * MIB
        assert record["sha256"] == sha256(tmp_path / "large.bin")


@pytest.mark.ledger("S2.11")
@pytest.mark.parametrize("method", ["DELETE", "POST"])
def test_s2_11_delete_if_it_exists(hub: RunningHub, tmp_path: Path, method: str) -> None:
    record = hub.store("s2-gone.txt", b"x")
    line = f'curl -sX {method} -H "$T" "$B/delete=$N"'
    sh(f"{line} -f", tmp_path, N="s2-gone.txt", **curl(hub))
    assert listed(hub, "s2-gone.txt") == []
    assert hub.post(f"/api/v1/trash/{record['id']}/restore").status_code == 200
    sh(f"{line} -f", tmp_path, N="s2-gone.txt", **curl(hub))
    for name in ("s2-gone.txt", "s2-never.txt", str(record["id"]), str(record["number"])):
        status = sh(f"{line} -o /dev/null -w '%{{http_code}}'", tmp_path, N=name, **curl(hub))
        assert status == "404", name


@pytest.mark.ledger("S2.11")
def test_s2_11_a_file_whose_name_looks_like_a_number_goes_by_its_name(hub: RunningHub) -> None:
    other = hub.store("s2-other", b"x")
    hub.store(str(other["number"]), b"y")
    assert hub.delete(f"/delete={other['number']}").status_code == 200
    assert hub.get(f"/api/v1/files/{other['id']}").json()["name"] == "s2-other"
    assert len(listed(hub, "s2-other")) == 1


# Users


@pytest.mark.ledger("S2.27", "S2.29")
def test_s2_27_s2_29_two_users_one_name_no_clash(hub: RunningHub, tmp_path: Path) -> None:
    (tmp_path / "alice").write_bytes(b"alice's")
    (tmp_path / "bob").write_bytes(b"bob's")
    users = {name: hub.user(f"s2-{name}") for name in ("alice", "bob")}
    lines = [f'curl -sfu "s2-{name}:$P" -F file=@{name} "$B/upload=same.txt"' for name in users]
    at_once = " & ".join(lines * 4)
    sh(f"{at_once} & wait", tmp_path, B=hub.url, P=PASSWORD)
    for name, user in users.items():
        assert user.get("/list").text == "same.txt\n"
        (record,) = listed(user, "same.txt")
        assert user.get(content(record)).content == f"{name}'s".encode()
        assert record["version"] == 4
    assert users["alice"].delete("/delete=same.txt").status_code == 200
    assert users["alice"].delete("/delete=same.txt").status_code == 404
    assert users["bob"].get("/list").text == "same.txt\n"


def test_a_token_that_may_only_read_changes_nothing(hub: RunningHub) -> None:
    reader = hub.user("s2-reader").seen_by("s2-reader", scopes=["read"])
    assert reader.get("/list").status_code == 200
    assert reader.post("/upload=a", data=b"x").status_code == 403
    assert reader.post("/delete=a").status_code == 403
