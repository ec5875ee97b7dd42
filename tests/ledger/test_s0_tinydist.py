"""S0 (tinydist seed), by its own routes and, where it has one, its own command."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.support.hub import RunningHub, running_hub
from tests.support.shell import run, sh

KINDS = ["csv", "bin", "pt", "npz"]


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub of its own: the seed's ids and lists are those of everything there is."""
    with running_hub(tmp_path_factory.mktemp("s0"), DSX_API_KEY="secret_token") as hub:
        yield hub


@pytest.fixture
def shell(seed: RunningHub, tmp_path: Path) -> Any:
    """Runs a command where a.csv … are, with $B, the server, and $T, the token."""
    data = random.Random(0)
    for kind in KINDS:
        (tmp_path / f"a.{kind}").write_bytes(data.randbytes(9999))

    def call(command: str, **variables: str) -> str:
        return sh(command, tmp_path, B=seed.url, T=seed.key, **variables)

    return call


def uploaded(answer: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(answer)["metadata"]
    return record


@pytest.mark.ledger("S0.1", "S0.13")
def test_s0_1_stores_any_file_type(shell: Any, tmp_path: Path) -> None:
    for kind in KINDS:
        record = uploaded(shell(f'curl -fF file=@a.{kind} -H "Authorization: $T" $B/upload'))
        assert record["filename"] == f"a.{kind}"
        command = 'curl -fH "Authorization: $T" -o out "$B/files?id=$I"; cmp out a.' + kind
        shell(command, I=str(record["id"]))


@pytest.mark.ledger("S0.2", "S0.3", "S0.30")
def test_s0_2_3_category_is_optional(shell: Any) -> None:
    with_one = 'curl -F "file=@a.csv" -F "category=train" -H "Authorization: $T" $B/upload'
    assert uploaded(shell(with_one))["category"] == "train"
    without = 'curl -f -F "file=@a.csv" -H "Authorization: $T" $B/upload'
    assert uploaded(shell(without))["category"] == "default"


@pytest.mark.ledger("S0.4")
def test_s0_4_files_are_in_the_directory_that_was_chosen(tmp_path: Path) -> None:
    place = tmp_path / "x"
    (tmp_path / "a.csv").write_bytes(b"1,2\n")
    with running_hub(tmp_path, DSX_DATA_DIR=str(place)) as hub:
        up = 'curl -fF file=@a.csv -H "Authorization: $T" $B/upload'
        record = uploaded(sh(up, tmp_path, B=hub.url, T=hub.key))
    found = json.loads(sh("dsx --json fsck", tmp_path, DSX_DATA_DIR=str(place)))
    assert (found["blobs"], found["problem_count"]) == (1, 0)
    (blob,) = place.rglob(record["sha256"])
    assert blob.read_bytes() == b"1,2\n"


@pytest.mark.ledger("S0.5", "S0.8", "S0.12")
def test_s0_5_8_12_upload_creates_metadata_that_is_listed(shell: Any) -> None:
    record = uploaded(shell('curl -fF file=@a.csv -H "Authorization: $T" $B/upload'))
    listed = shell('curl -G -H "Authorization: $T" $B/metadata/list')
    assert json.loads(listed)[0] == record
    fields = {"id", "filename", "category", "size", "timestamp"}
    assert fields <= record.keys()
    assert isinstance(record["id"], int)
    assert record["size"] == 9999
    pick = (
        """curl -G -H "Authorization: $T" $B/metadata/list | jq '.[]|select(.filename=="a.csv")'"""
    )
    assert json.loads(shell(pick)) == record
    assert shell("""curl -G -H "Authorization: $T" $B/metadata/list | jq '.[0]|has("id")'""") == (
        "true\n"
    )


@pytest.mark.ledger("S0.9", "S0.10", "S0.11")
def test_s0_9_10_11_limit_and_category(shell: Any) -> None:
    for _ in range(3):
        shell('curl -fF file=@a.pt -F category=limits -H "Authorization: $T" $B/upload')
        shell('curl -fF file=@a.npz -F category=limits -H "Authorization: $T" $B/upload')
        shell('curl -fF file=@a.csv -F category=train -H "Authorization: $T" $B/upload')
    count = shell('curl -G -d limit=2 -H "Authorization: $T" $B/metadata/list | jq length')
    assert count == "2\n"
    ask = 'curl -G -d category=limits -H "Authorization: $T" $B/metadata/list'
    records = json.loads(shell(ask))
    assert [record["filename"] for record in records] == ["a.npz", "a.pt"]
    assert {record["category"] for record in records} == {"limits"}
    both = 'curl -G -d limit=1 -d category=limits -H "Authorization: $T" $B/metadata/list'
    assert json.loads(shell(both)) == records[:1]


@pytest.mark.ledger("S0.11")
@pytest.mark.parametrize("limit", ["0", "-1", "abc"])
def test_s0_11_a_bad_limit_is_422(seed: RunningHub, limit: str) -> None:
    assert seed.get("/metadata/list", params={"limit": limit}).status_code == 422


@pytest.mark.ledger("S0.8", "S0.9")
def test_s0_8_lists_of_more_than_a_page_are_whole(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        assert hub.get("/metadata/list").json() == []
        with ThreadPoolExecutor(4) as pool, requests.Session() as session:
            session.headers["Authorization"] = hub.key
            list(
                pool.map(
                    lambda i: session.post(
                        hub.url + "/upload", files={"file": (f"{i}", b"x")}, timeout=60
                    ).raise_for_status(),
                    range(1005),
                )
            )
        for limit, count in ((None, 1005), (1003, 1003), (1000, 1000), (5000, 1005)):
            listed = hub.get("/metadata/list", params={"limit": limit}).json()
            ids = [record["id"] for record in listed]
            assert len(ids) == count
            assert ids == sorted(ids, reverse=True)
            assert len({record["filename"] for record in listed}) == count


@pytest.fixture
def two(shell: Any) -> tuple[str, str]:
    """The ids of a.csv and a.pt."""
    ids = [
        str(uploaded(shell(f'curl -fF file=@a.{kind} -H "Authorization: $T" $B/upload'))["id"])
        for kind in ("csv", "pt")
    ]
    return ids[0], ids[1]


@pytest.mark.ledger("S0.14", "S0.15")
@pytest.mark.parametrize("query", ["id=$I&id=$J", "id=$I?id=$J", "id=$I,$J"])
def test_s0_14_15_many_ids_are_a_zip(
    shell: Any, two: tuple[str, str], tmp_path: Path, query: str
) -> None:
    get = (
        f'curl -fH "Authorization: $T" -o o.zip "$B/files?{query}"; unzip -t o.zip; unzip -l o.zip'
    )
    told = shell(get, I=two[0], J=two[1])
    assert "a.csv" in told
    assert "a.pt" in told
    shell("unzip -o o.zip -d d; cmp d/a.csv a.csv; cmp d/a.pt a.pt")


@pytest.mark.ledger("S0.16", "S0.17")
def test_s0_16_17_by_filename_and_under_any_name(shell: Any, two: tuple[str, str]) -> None:
    shell('curl -fH "Authorization: $T" -o mine.csv "$B/files?filename=a.csv"; cmp mine.csv a.csv')
    head = 'curl -sI -H "Authorization: $T" "$B/files?id=$I" | grep -i content-disposition'
    assert 'filename="a.csv"' in shell(head, I=two[0])
    part = 'curl -fr 9000- -H "Authorization: $T" "$B/files?id=$I" | cmp - <(tail -c 999 a.csv)'
    shell(part, I=two[0])


@pytest.mark.ledger("S0.18", "S0.19", "S0.22")
@pytest.mark.parametrize("by", ["id", "filename"])
def test_s0_18_19_22_deleted_files_are_in_the_trash_and_come_back(
    seed: RunningHub, shell: Any, by: str
) -> None:
    up = 'cp a.bin example.txt; curl -fF file=@example.txt -H "Authorization: $T" $B/upload'
    record = uploaded(shell(up))
    value = str(record["id"]) if by == "id" else "example.txt"
    told = shell(f'curl -fX DELETE "$B/delete?{by}=$V" -H "Authorization: $T"', V=value)
    assert "trash" in json.loads(told)["message"]
    names = [item["filename"] for item in seed.get("/metadata/list").json()]
    assert "example.txt" not in names
    assert seed.get(f"/files?id={record['id']}").status_code == 404
    cli = {"SERVER_URL": seed.url, "AUTH_TOKEN": seed.key}
    listed = json.loads(shell("dsx --json trash ls | jq -s .", **cli))
    assert record["uuid"] in json.dumps(listed)
    shell(f"dsx trash restore {record['id']}", **cli)
    shell('curl -fH "Authorization: $T" "$B/files?filename=example.txt" | cmp - a.bin')
    assert seed.delete("/delete?filename=example.txt").status_code == 200


@pytest.mark.ledger("S0.20")
def test_s0_20_a_missing_file_does_not_keep_its_metadata(seed: RunningHub) -> None:
    record = seed.post("/upload", files={"file": ("lost.bin", b"soon lost")}).json()["metadata"]
    (blob,) = seed.data_dir.rglob(record["sha256"])
    blob.unlink()
    answer = seed.delete("/delete", params={"id": record["id"]})
    assert answer.status_code == 200
    assert "missing" in answer.json()["message"]
    assert seed.get("/files", params={"id": record["id"]}).status_code == 404
    names = [item["filename"] for item in seed.get("/metadata/list").json()]
    assert "lost.bin" not in names
    intact = seed.post("/upload", files={"file": ("kept.bin", b"kept")}).json()["metadata"]
    told = seed.delete("/delete", params={"id": intact["id"]}).json()["message"]
    assert "missing" not in told


@pytest.mark.ledger("S0.21")
@pytest.mark.parametrize("name", ["unindexed.txt", "below/it.txt"])
def test_s0_21_a_file_without_metadata_moves_to_the_trash(
    seed: RunningHub, shell: Any, name: str
) -> None:
    dropped = seed.data_dir / "drop" / name
    dropped.parent.mkdir(parents=True, exist_ok=True)
    dropped.write_bytes(b"by hand")
    told = shell(f'curl -fX DELETE "$B/delete?filename={name}" -H "Authorization: $T"')
    number = json.loads(told)["id"]
    assert not dropped.exists()
    assert seed.get("/files", params={"filename": name}).status_code == 404
    cli = {"SERVER_URL": seed.url, "AUTH_TOKEN": seed.key}
    shell(f"dsx trash restore {number}", **cli)
    assert seed.get("/files", params={"filename": name}).content == b"by hand"
    assert seed.delete("/delete", params={"filename": name}).status_code == 200
    assert seed.delete("/delete", params={"filename": name}).status_code == 404


@pytest.mark.ledger("S0.21")
def test_s0_21_nothing_but_files_of_the_drop_is_taken(seed: RunningHub, tmp_path: Path) -> None:
    drop = seed.data_dir / "drop"
    drop.mkdir(exist_ok=True)
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (drop / "link").symlink_to(outside)
    (drop / "inner").write_text("inner")
    (drop / "alias").symlink_to("inner")
    (drop / "up").symlink_to(tmp_path)
    (drop / "directory").mkdir()
    names = ["link", "alias", "up/outside", "directory", "../catalog.db", str(outside), "none", "."]
    for name in names:
        answer = seed.delete("/delete", params={"filename": name})
        assert answer.status_code == 404, name
    assert outside.read_text() == "mine"
    assert (drop / "inner").read_text() == "inner"


@pytest.mark.ledger("S0.23")
def test_s0_23_neither_is_400_and_unknown_is_404(seed: RunningHub) -> None:
    for call in (lambda q: seed.get("/files" + q), lambda q: seed.delete("/delete" + q)):
        assert call("").status_code == 400
        assert call("?id=&filename=").status_code == 400
        assert call("?id=1&filename=a.csv").status_code == 400
        for unknown in ("id=999999999", "id=nonsense", "filename=nothing-of-it", "filename=%00"):
            assert call(f"?{unknown}").status_code == 404, unknown
    assert seed.get("/files?id=999999999,1").status_code == 404


@pytest.mark.ledger("S0.24")
def test_s0_24_ids_are_never_used_again(tmp_path: Path) -> None:
    with running_hub(tmp_path) as hub:
        first = hub.post("/upload", files={"file": ("a", b"1")}).json()["metadata"]
        assert first["id"] == 1
        assert hub.delete("/delete?id=1").status_code == 200
        assert hub.delete("/api/v1/trash/1").status_code == 204
        second = hub.post("/upload", files={"file": ("b", b"2")}).json()["metadata"]
        assert second["id"] == 2


@pytest.mark.ledger("S0.27", "S0.29", "S0.30", "S0.31")
@pytest.mark.parametrize("form", ["environment", "dotenv"])
def test_s0_27_29_30_31_the_token_opens_every_route(tmp_path: Path, form: str) -> None:
    variables = {"DSX_API_KEY": ""}
    if form == "dotenv":
        (tmp_path / ".env").write_text("AUTH_TOKEN=secret_token\n")
    else:
        variables["AUTH_TOKEN"] = "secret_token"
    (tmp_path / "a.csv").write_bytes(b"1,2\n")
    status = "curl -s -o /dev/null -w '%{http_code} ' "
    routes = (
        "-F file=@a.csv $B/upload",
        "-F file=@a.csv -F filename=c -F chunkIndex=0 -F totalChunks=1 $B/upload_chunk",
        "-G $B/metadata/list",
        '"$B/files?id=1"',
        '-X DELETE "$B/delete?id=1"',
    )
    with running_hub(tmp_path, **variables) as hub:
        for header in ("", '-H "Authorization: wrong"'):
            told = sh("; ".join(f"{status}{header} {r}" for r in routes), tmp_path, B=hub.url)
            assert told == "401 " * 5
        right = '-H "Authorization: secret_token"'
        told = sh("; ".join(f"{status}{right} {r}" for r in routes), tmp_path, B=hub.url)
        assert told == "201 201 200 200 200 "


@pytest.mark.ledger("S0.28")
def test_s0_28_server_url_leads_clients_to_the_server(seed: RunningHub, tmp_path: Path) -> None:
    seed.post("/upload", files={"file": ("reached.txt", b"x")})
    told = sh("dsx ls", tmp_path, SERVER_URL=seed.url, AUTH_TOKEN=seed.key)
    assert "reached.txt" in told
    elsewhere = run("dsx ls", tmp_path, SERVER_URL="http://127.0.0.1:9", AUTH_TOKEN=seed.key)
    assert elsewhere.returncode != 0


@pytest.mark.ledger("S0.37")
def test_s0_37_openapi_lists_the_routes(shell: Any, seed: RunningHub) -> None:
    listed = json.loads(shell("curl -f $B/openapi.json | jq '.paths|keys'"))
    assert {"/upload", "/upload_chunk", "/metadata/list", "/files", "/delete"} <= set(listed)
    paths = seed.get("/openapi.json").json()["paths"]
    methods = {path: sorted(paths[path]) for path in ("/upload", "/files", "/delete")}
    assert methods == {"/upload": ["post"], "/files": ["get", "head"], "/delete": ["delete"]}
