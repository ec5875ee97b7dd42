"""S3 (proxy and nodes): chunked uploads, files and versions, downloads in ranges.

Commands are the seed's own; only host, port, token, UUID and digest come from variables.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from pathlib import Path
from urllib.parse import quote_plus, urlsplit

import pytest
import requests
from tests.support.hub import PASSWORD, RunningHub, running_hub
from tests.support.memory import bytes_read, peak_rss, reset_peak
from tests.support.storage import AS, IMAGE, MD5, NEW, Typist
from tests.support.waiting import eventually
from tests.support.wire import stages

MIB = 1024**2
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
PUT = (
    'curl -H "Authorization: JWT $J" -H "Content-Range: bytes {}" -F file=@some-image.png'
    " -F filename=some-image.png -X PUT $B/storage/tmp-upload/"
)
POST = 'curl -H "Authorization: JWT $J" -X POST $URL'
LIST = 'curl -H "Authorization: JWT $J" $B/storage/files/'


LOGIN = 'curl -X POST -d "username={}&password={}" $B/api-token-auth/'


@pytest.fixture(scope="module")
def alice(hub: RunningHub) -> RunningHub:
    return hub.user("s3-alice")


@pytest.fixture
def typist(alice: RunningHub, tmp_path: Path) -> Typist:
    return signed_in(alice, tmp_path, "s3-alice")


def signed_in(hub: RunningHub, directory: Path, name: str) -> Typist:
    """A user who has asked for a token as the seed has it."""
    answer = Typist(hub, directory).ask(LOGIN.format(name, quote_plus(PASSWORD)))
    assert list(answer) == ["token"]
    return Typist(hub, directory, answer["token"])


@pytest.mark.ledger("S3.21", "S3.22")
def test_s3_21_a_password_gives_a_jwt(hub: RunningHub, typist: Typist) -> None:
    header, claims, signature = typist.token.split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "==="))["typ"] == "JWT"
    typist.ask(LIST)
    forged = json.loads(base64.urlsafe_b64decode(claims + "==="))
    forged["exp"] += 3600
    other = base64.urlsafe_b64encode(json.dumps(forged).encode()).decode().rstrip("=")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    for token in (
        f"{header}.{other}.{signature}",
        f"{header}.{claims}.{signature[::-1]}",
        f"{none}.{claims}.",
        f"{none}.{claims}.{signature}",
        "nobodys",
    ):
        typist.ask(LIST, 401, J=token)
    typist.ask(LOGIN.format("s3-alice", "wrong"), 401)
    typist.ask(LOGIN.format("s3-nobody", "wrong"), 401)
    typist.ask("curl -X POST -d username=s3-alice $B/api-token-auth/", 400)
    typist.ask("curl -X POST $B/api-token-auth/", 400)
    login = {"username": "s3-alice", "password": PASSWORD}
    assert requests.post(f"{hub.url}/api-token-auth/", json=login, timeout=10).json()["token"]


@pytest.mark.ledger("S3.22")
def test_s3_22_a_jwt_expires(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_JWT_TTL="2") as hub:
        hub.user("s3-late")
        typist = signed_in(hub, tmp_path, "s3-late")
        listing = {"Authorization": f"JWT {typist.token}"}
        assert typist.ask(LIST)["count"] == 0
        assert eventually(lambda: hub.get("/storage/files/", headers=listing).status_code == 401)


@pytest.mark.ledger("S3.45")
def test_s3_45_each_user_has_files_of_their_own(hub: RunningHub, tmp_path: Path) -> None:
    typists, seen = [], []
    for name in ("s3-bob", "s3-carol"):
        hub.user(name)
        typists.append(signed_in(hub, tmp_path, name))
    for typist, count in zip(typists, (2, 3), strict=True):
        for number in range(count):
            typist.store(f"own{number}.png")
        page = typist.ask(LIST)
        assert page["count"] == len(page["results"]) == count
        seen.append({entry["id"]: entry["download_url"] for entry in page["results"]})
    assert not seen[0].keys() & seen[1].keys()
    for typist, others in zip(typists, reversed(seen), strict=True):
        for id_, url in others.items():
            typist.ask(f"{AS} {url}", 404)
            typist.ask(f"{AS} $B/storage/tmp-upload/{id_}/", 404)
            typist.store("stolen.png", f"-F parent={id_}", status=404)
    assert [typist.ask(LIST)["count"] for typist in typists] == [2, 3]


@pytest.mark.ledger("S3.23", "S3.25", "S3.26", "S3.28", "S3.29", "S3.30", "S3.31", "S3.32")
@pytest.mark.ledger("S3.33", "S3.34")
def test_s3_23_put_a_chunk(hub: RunningHub, alice: RunningHub, typist: Typist) -> None:
    state = typist.ask(PUT.format("0-32633/32634"))
    assert state["url"] == f"{hub.url}/storage/tmp-upload/{uuid.UUID(state['id'])}/"
    assert state["filename"] == "some-image.png"
    assert state["offset"] == 32634
    assert TIME.fullmatch(state["created_at"])
    assert state["status"] == 1
    assert "completed_at" in state
    assert state["completed_at"] is None
    assert state["user"] == alice.get("/api/v1/account").json()["number"] > 0
    assert "parent" in state
    assert state["parent"] is None
    assert len(state) == 11  # the ten of the seed's sample, and `expires`


@pytest.mark.ledger("S3.24")
def test_s3_24_the_seeds_own_range_counts_from_1(typist: Typist) -> None:
    literal = PUT.format("1-32634/32634")
    assert typist.ask(literal)["offset"] == 32634
    (typist.directory / "some-image.png").write_bytes(IMAGE[1:])  # what 1 to N-1 would be from 0 on
    assert typist.ask(literal, 400)["details"]["offset"] == 0
    assert typist.ask(PUT.format("1-32633/32634"), 400)["details"]["offset"] == 0


@pytest.mark.ledger("S3.27")
def test_s3_27_the_file_needs_a_login(hub: RunningHub, alice: RunningHub, typist: Typist) -> None:
    state = typist.ask(PUT.format("0-32633/32634"))
    for stage in (state, typist.ask(POST, URL=state["url"])):
        path = urlsplit(stage["file"]).path
        assert stage["file"] == hub.url + path
        assert alice.get(path).status_code == 200
        for nobody in ("", "JWT wrong"):
            assert hub.get(path, headers={"Authorization": nobody}).status_code == 401


@pytest.mark.ledger("S3.2", "S3.35", "S3.36", "S3.39")
def test_s3_35_later_chunks_go_to_the_url(typist: Typist) -> None:
    first = typist.part("part1", 0, 10000)
    begun = typist.chunk("0-9999/32634", first, NEW, "-F filename=chunks.png")
    assert begun["offset"] == 10000
    expires = begun["expires"]
    for start, stop in ((10000, 30000), (30000, 32634)):
        part = typist.part("part", start, stop)
        state = typist.chunk(f"{start}-{stop - 1}/32634", part, begun["url"])
        assert (state["url"], state["offset"], state["status"]) == (begun["url"], stop, 1)
        assert TIME.fullmatch(state["expires"])
        assert state["expires"] > expires
        expires = state["expires"]
    assert not typist.listed("chunks.png")
    done = typist.ask("curl -H 'Authorization: JWT '$J -X POST -F md5=$MD5 $URL", URL=begun["url"])
    assert done["status"] == 2
    assert TIME.fullmatch(done["completed_at"])
    assert done["completed_at"] > begun["created_at"]
    assert done["checksum_verified"] is True
    assert done["sha256"] == hashlib.sha256(IMAGE).hexdigest()
    typist.type(f"{AS} -f -o whole $DU; cmp whole some-image.png", DU=done["download_url"])


@pytest.mark.ledger("S3.37")
def test_s3_37_a_wrong_start_is_told_the_offset(typist: Typist) -> None:
    url = typist.chunk("0-9999/32634", typist.part("part", 0, 10000))["url"]
    for span, part in (
        ("20000-32633", typist.part("gap", 20000, 32634)),
        ("0-9999", "part"),
        ("9000-20000", typist.part("overlap", 9000, 20001)),
    ):
        refused = typist.chunk(f"{span}/32634", part, url, status=409)
        assert refused["details"]["offset"] == 10000
    assert typist.ask(f"{AS} {url}")["offset"] == 10000
    rest = typist.part("rest", 10000, 32634)
    assert typist.chunk("10000-32633/32634", rest, url)["offset"] == 32634
    assert typist.ask(f"{AS} -X POST -F md5=$MD5 {url}")["checksum_verified"] is True


@pytest.mark.ledger("S3.38")
def test_s3_38_an_upload_expires(tmp_path: Path) -> None:
    settings = {"DSX_UPLOAD_EXPIRY": "2", "DSX_COLLECT_INTERVAL": "0.2"}
    with running_hub(tmp_path, **settings) as hub:
        typist = Typist(hub, tmp_path)
        url = typist.ask(PUT.format("0-32633/99999"))["url"]
        staged = stages(hub.data_dir)
        assert sum(path.stat().st_size for path in staged) >= 32634
        path = urlsplit(url).path
        assert hub.get(path).status_code == 200
        assert eventually(lambda: hub.get(path).status_code == 410)
        assert eventually(lambda: not any(path.exists() for path in staged), 1.5)
        assert hub.post(path, data={"md5": MD5}).status_code == 410
        assert hub.request("PUT", path, files={"file": b"x"}).status_code == 410


@pytest.mark.ledger("S3.40")
def test_s3_40_a_wrong_md5_makes_no_file(typist: Typist) -> None:
    part = "some-image.png -F filename=wrong.png"
    url = typist.chunk("0-32633/32634", part)["url"]
    wrong = f"{AS} -X POST -F md5={'0' * 32} {url}"
    for _ in range(2):
        assert typist.ask(wrong, 400)["details"]["received"] == MD5
        assert typist.ask(f"{AS} {url}")["status"] == 1
        assert not typist.listed("wrong.png")
    assert typist.ask(f"{AS} -X POST -F md5=$MD5 {url}")["status"] == 2
    assert typist.listed("wrong.png")
    assert typist.ask(wrong, 400)["details"]["received"] == MD5


@pytest.mark.ledger("S3.41")
def test_s3_41_no_md5_is_no_check(typist: Typist) -> None:
    url = typist.ask(PUT.format("1-32634/32634"))["url"]
    done = typist.ask(POST, URL=url)
    assert (done["status"], done["checksum_verified"]) == (2, False)
    assert done["sha256"] == hashlib.sha256(IMAGE).hexdigest()
    assert typist.ask(POST, URL=url) == done


@pytest.mark.ledger("S3.41")
def test_s3_41_an_operator_may_ask_for_the_md5(tmp_path: Path) -> None:
    with running_hub(tmp_path, DSX_REQUIRE_CHECKSUM="1") as hub:
        typist = Typist(hub, tmp_path)
        url = typist.ask(PUT.format("1-32634/32634"))["url"]
        typist.ask(POST, 400, URL=url)
        typist.ask(f"{AS} -X POST -F file=@some-image.png {NEW}", 400)
        assert typist.ask(LIST)["count"] == 0
        assert typist.ask(f"{POST} -F md5=$MD5", URL=url)["checksum_verified"] is True
        typist.store("one.png")
        assert typist.ask(LIST)["count"] == 2


@pytest.mark.ledger("S3.42")
def test_s3_42_a_single_post_is_enough(typist: Typist) -> None:
    done = typist.ask(
        'curl -H "Authorization: JWT $J" -X POST -F file=@some-image.png -F filename=single.png '
        "-F md5=$MD5 $B/storage/tmp-upload/",
        201,
    )
    assert (done["status"], done["checksum_verified"], done["offset"]) == (2, True, 32634)
    assert typist.ask(f"{AS} {done['url']}") == done
    typist.type(f"{AS} -f -o whole $DU; cmp whole some-image.png", DU=done["download_url"])
    form = f"-F md5={'0' * 32} -F filename=single2.png -F file=@some-image.png"
    typist.ask(f"{AS} -X POST {form} {NEW}", 400)
    assert not typist.listed("single2.png")


@pytest.mark.ledger("S3.43", "S3.53")
def test_s3_43_versions(typist: Typist) -> None:
    ids = [typist.store("versions.png")["id"]]
    assert typist.listed("versions.png")["versions"] == []
    for chunked in (False, True):
        if chunked:
            fields = f"-F parent={ids[-1]} -F filename=other.png"
            url = typist.chunk("0-32633/32634", "some-image.png", NEW, fields)["url"]
            state = typist.ask(f"{AS} -X POST -F md5=$MD5 {url}")
        else:
            state = typist.store("other.png", f"-F parent={ids[-1]}")
        assert (state["parent"], state["filename"]) == (ids[-1], "versions.png")
        entry = typist.listed("versions.png")
        assert entry["id"] == state["id"]
        assert [version["id"] for version in entry["versions"]] == ids[::-1]
        for version in entry["versions"]:
            assert TIME.fullmatch(version["created_at"])
            typist.type(f"{AS} -f -o old {version['download_url']}; cmp old some-image.png")
        ids.append(state["id"])
    assert not typist.listed("other.png")


@pytest.mark.ledger("S3.46", "S3.47", "S3.48")
def test_s3_46_pages(typist: Typist) -> None:
    for number in range(3):
        typist.store(f"page{number}.png")
    page = typist.ask(f"{LIST}?page_size=2")
    count, seen = page["count"], [entry["id"] for entry in page["results"]]
    assert page["previous"] is None
    while page["next"]:
        page = typist.ask(f"{AS} '{page['next']}'")
        assert page["count"] == count
        assert len(page["results"]) == 2 or page["next"] is None
        back = typist.ask(f"{AS} '{page['previous']}'")
        assert [entry["id"] for entry in back["results"]] == seen[-2:]
        seen += [entry["id"] for entry in page["results"]]
    assert len(set(seen)) == len(seen) == count >= 3
    typist.ask(f"{LIST}?page={count + 1}", 404)
    assert typist.ask(LIST)["previous"] is None


@pytest.mark.ledger("S3.49", "S3.50", "S3.51", "S3.52")
def test_s3_49_an_entry(hub: RunningHub, typist: Typist) -> None:
    done = typist.store("entry.png")
    entry = next(e for e in typist.ask(LIST)["results"] if e["filename"] == "entry.png")
    assert uuid.UUID(entry["id"])
    assert entry["created_at"] == done["completed_at"]
    assert TIME.fullmatch(entry["created_at"])
    assert entry["download_url"] == f"{hub.url}/storage/download/{entry['id']}/"
    assert set(entry) == {"id", "filename", "created_at", "download_url", "versions"}


@pytest.mark.ledger("S3.54", "S3.55", "S3.56", "S3.57")
def test_s3_54_downloads(typist: Typist) -> None:
    url = typist.store("down.png")["download_url"]
    typist.type(
        'curl -L -H "Authorization: JWT $J" -o o $DU; cmp o some-image.png\n'
        'curl -L -H "Authorization: JWT $J" --range 0-29999 -o img.part1 $DU\n'
        'curl -L -H "Authorization: JWT $J" --range 30000-32634 -o img.part2 $DU\n'
        "test $(stat -c %s img.part1) = 30000; test $(stat -c %s img.part2) = 2634\n"
        "cat img.part? > img.png; cmp img.png some-image.png",
        DU=url,
    )
    head = "curl -s -D - -o /dev/null -L -H 'Authorization: JWT '$J --range {} $DU"
    first = typist.type(head.format("0-29999"), DU=url)
    assert first.startswith("HTTP/1.1 206 ")
    assert "content-range: bytes 0-29999/32634" in first.lower()
    second = typist.type(head.format("30000-32634"), DU=url)
    assert second.startswith("HTTP/1.1 206 ")
    assert "content-range: bytes 30000-32633/32634" in second.lower()


def round_trip(directory: Path, chunk: int, chunks: int) -> None:
    """Sparse chunks with some bytes of their own, one after the other; then the whole back."""
    with running_hub(directory) as hub:
        typist = Typist(hub, directory)
        typist.store("warm-up.png")
        reset_peak(hub)
        idle = peak_rss(hub)
        url, total = NEW, chunk * chunks
        for number in range(chunks):
            name = f"chunk{number:02}"
            with (directory / name).open("wb") as file:
                file.write(f"chunk {number}".encode())
                file.truncate(chunk)
            start = number * chunk
            span = f"{start}-{start + chunk - 1}/{total}"
            state = typist.chunk(span, name, url, "-F filename=large.bin")
            assert state["offset"] == start + chunk
            url = state["url"]
        md5 = typist.type("cat chunk* | md5sum | cut -d' ' -f1").strip()
        read = bytes_read(hub)
        done = typist.ask(f"{AS} -X POST -F md5={md5} {url}")
        assert done["checksum_verified"] is True
        assert bytes_read(hub) - read < 16 * MIB  # nothing is put together or hashed again
        typist.type(f"{AS} -fs {done['download_url']} | cmp - <(cat chunk*)")
        growth = peak_rss(hub) - idle
        print(f"peak RSS over {total / 1024**3:g} GiB up and down: idle + {growth / MIB:.1f} MiB")
        assert growth < 64 * MIB


@pytest.mark.ledger("S3.1", "S3.2")
def test_s3_1_large_files(tmp_path: Path) -> None:
    round_trip(tmp_path, 256 * MIB, 4)


@pytest.mark.drill
@pytest.mark.ledger("S3.1", "S3.2")
def test_s3_1_files_of_10_gib(tmp_path: Path) -> None:
    round_trip(tmp_path, 1024 * MIB, 10)
