"""S0 (tinydist seed) in substance, through the REST API; its own routes come with its dialect."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import requests
from tests.support.hub import RunningHub, clean_environment, running_hub

FILES = "/api/v1/files"


@pytest.fixture(scope="module")
def stored(hub: RunningHub) -> dict[str, dict[str, object]]:
    """Four kinds of file, as S0.1 has them, in two categories."""
    data = random.Random(0)
    return {
        kind: hub.store(f"s0/a.{kind}", data.randbytes(9999), category=f"s0-{category}")
        for kind, category in [("csv", "train"), ("bin", "train"), ("pt", "x"), ("npz", "x")]
    }


def listing(hub: RunningHub, **params: object) -> list[dict[str, object]]:
    answer = hub.get(FILES, params=params)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, object]] = answer.json()["items"]
    return items


@pytest.mark.ledger("S0.1", "S0.13")
def test_any_file_type_comes_back_identical(
    hub: RunningHub, stored: dict[str, dict[str, object]]
) -> None:
    data = random.Random(0)
    for record in stored.values():
        for ref in (record["id"], record["number"]):
            answer = hub.get(f"{FILES}/{ref}/content")
            assert answer.status_code == 200
        assert answer.content == data.randbytes(9999)


@pytest.mark.ledger("S0.2")
def test_upload_with_category_as_a_form(hub: RunningHub) -> None:
    answer = hub.post(FILES, files={"file": ("form.csv", b"1,2")}, data={"category": "s0-form"})
    assert answer.status_code == 201
    assert answer.json()["category"] == "s0-form"
    assert answer.json()["name"] == "form.csv"


@pytest.mark.ledger("S0.2")
def test_form_fields_may_follow_the_file(hub: RunningHub) -> None:
    body = (
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n'
        b"Content-Type: text/csv\r\n\r\n1,2\r\n--B\r\n"
        b'Content-Disposition: form-data; name="category"\r\n\r\nlate\r\n'
        b'--B\r\nContent-Disposition: form-data; name="name"\r\n\r\ns0/late.csv\r\n--B--\r\n'
    )  # fmt: skip
    kind = {"Content-Type": "multipart/form-data; boundary=B"}
    record = hub.post(FILES, data=body, headers=kind).json()
    assert (record["name"], record["category"]) == ("s0/late.csv", "late")
    assert record["content_type"] == "text/csv"


@pytest.mark.ledger("S0.3")
def test_category_is_optional(hub: RunningHub) -> None:
    assert hub.store("s0/no-category", b"x")["category"] == "default"


@pytest.mark.ledger("S0.4")
def test_data_directory_is_configurable(tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    with running_hub(tmp_path, DSX_DATA_DIR=str(place)) as hub:
        record = hub.store("a", b"bytes")
    found = subprocess.run(
        [sys.executable, "-m", "dsx", "--json", "fsck", "--deep"],
        env=clean_environment(DSX_DATA_DIR=str(place)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(found.stdout)["blobs"] == 1
    digest = str(record["sha256"])
    assert [path.name for path in place.rglob(digest)] == [digest]


@pytest.mark.ledger("S0.5", "S0.8", "S0.12")
def test_upload_creates_metadata(hub: RunningHub, stored: dict[str, dict[str, object]]) -> None:
    (record,) = listing(hub, name="s0/a.csv")
    assert record == stored["csv"]
    assert {"id", "number", "name", "category", "size", "created"} <= record.keys()
    assert record["size"] == 9999


@pytest.mark.ledger("S0.9", "S0.10", "S0.11")
def test_limit_and_category_combine(hub: RunningHub, stored: dict[str, dict[str, object]]) -> None:
    assert len(listing(hub, limit=2)) == 2
    train = listing(hub, category="s0-train")
    assert {item["name"] for item in train} == {"s0/a.csv", "s0/a.bin"}
    assert len(listing(hub, category="s0-train", limit=1)) == 1


@pytest.mark.ledger("S0.11")
@pytest.mark.parametrize("limit", ["0", "-1", "abc", "1001", "1e3", ""])
def test_bad_limit_is_422(hub: RunningHub, limit: str) -> None:
    answer = hub.get(FILES, params={"limit": limit})
    assert answer.status_code == 422
    assert answer.json()["code"] == "unprocessable"


@pytest.mark.ledger("S0.14", "S0.15")
def test_many_ids_make_a_zip(hub: RunningHub, stored: dict[str, dict[str, object]]) -> None:
    ids = [stored["csv"]["number"], stored["pt"]["id"]]
    answer = hub.get("/api/v1/archive", params={"id": ids})
    assert answer.headers["Content-Type"] == "application/zip"
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["s0/a.csv", "s0/a.pt"]
    tail = hub.get("/api/v1/archive", params={"id": ids}, headers={"Range": "bytes=5000-"})
    assert tail.status_code == 206
    assert tail.content == answer.content[5000:]


@pytest.mark.ledger("S0.16")
def test_download_by_name(hub: RunningHub, stored: dict[str, dict[str, object]]) -> None:
    (record,) = listing(hub, name="s0/a.npz")
    assert hub.get(str(record["url"])).status_code == 200


@pytest.mark.ledger("S0.17")
def test_content_disposition_names_the_file(
    hub: RunningHub, stored: dict[str, dict[str, object]]
) -> None:
    answer = hub.request("HEAD", str(stored["csv"]["url"]))
    assert answer.headers["Content-Disposition"] == 'attachment; filename="a.csv"'
    assert answer.content == b""
    assert answer.headers["Content-Length"] == "9999"


@pytest.mark.ledger("S0.18", "S0.19", "S0.22")
def test_delete_goes_to_the_trash_and_comes_back(hub: RunningHub) -> None:
    record = hub.store("s0/doomed", b"still here")
    assert hub.delete(f"{FILES}/{record['number']}").status_code == 204
    assert listing(hub, name="s0/doomed") == []
    assert hub.get(str(record["url"])).status_code == 404
    trash = hub.get("/api/v1/trash").json()["items"]
    (item,) = [item for item in trash if item["id"] == record["id"]]
    assert item["trashed"] < item["expires"]
    restored = hub.post(f"/api/v1/trash/{record['id']}/restore")
    assert restored.status_code == 200
    assert restored.json()["trashed"] is None
    assert hub.get(str(record["url"])).content == b"still here"


@pytest.mark.ledger("S0.20")
def test_missing_blob_does_not_stop_a_deletion(hub: RunningHub) -> None:
    record = hub.store("s0/lost", b"to be lost")
    (blob,) = hub.data_dir.rglob(str(record["sha256"]))
    blob.unlink()
    assert hub.request("HEAD", str(record["url"])).status_code == 410
    lost = hub.get(str(record["url"]))
    assert lost.status_code in {404, 410}
    assert "missing" in lost.json()["detail"]
    assert hub.delete(f"{FILES}/{record['id']}").status_code == 204
    assert listing(hub, name="s0/lost") == []
    assert hub.delete(f"/api/v1/trash/{record['id']}").status_code == 204


@pytest.mark.ledger("S0.21")
def test_a_name_in_the_trash_is_free_again(hub: RunningHub) -> None:
    """REST has no un-indexed files to find by name; what remains is that the name can be reused."""
    first = hub.store("s0/again", b"1")
    hub.delete(f"{FILES}/{first['id']}")
    second = hub.store("s0/again", b"2")
    assert second["version"] == 1
    assert second["file"] != first["file"]
    taken = hub.post(f"/api/v1/trash/{first['id']}/restore")
    assert taken.status_code == 409
    renamed = hub.post(f"/api/v1/trash/{first['id']}/restore", json={"name": "s0/again-1"})
    assert renamed.json()["name"] == "s0/again-1"


@pytest.mark.ledger("S0.23")
@pytest.mark.parametrize("ref", ["999999999", "nonsense", "0" * 32, "-1", "9" * 30, "%00"])
def test_unknown_id_is_404(hub: RunningHub, ref: str) -> None:
    for call in (hub.get, hub.delete):
        answer = call(f"{FILES}/{ref}")
        assert answer.status_code == 404
        assert answer.json()["code"] == "not_found"


@pytest.mark.ledger("S0.24")
def test_numbers_are_never_reused(hub: RunningHub) -> None:
    record = hub.store("s0/first", b"1")
    hub.delete(f"{FILES}/{record['id']}")
    assert hub.delete(f"/api/v1/trash/{record['id']}").status_code == 204
    assert hub.store("s0/second", b"2")["number"] > record["number"]  # type: ignore[operator]


@pytest.mark.ledger("S0.27", "S0.29", "S0.30", "S0.31")
@pytest.mark.parametrize("form", ["environment", "dotenv"])
def test_auth_token_secures_the_api(tmp_path: Path, form: str) -> None:
    variables = {"DSX_API_KEY": ""}
    if form == "dotenv":
        (tmp_path / ".env").write_text("AUTH_TOKEN=secret_token\n")
    else:
        variables["AUTH_TOKEN"] = "secret_token"
    with running_hub(tmp_path, **variables) as hub:

        def status(**headers: str) -> int:
            return requests.get(hub.url + FILES, headers=headers, timeout=10).status_code

        assert status(Authorization="secret_token") == 200
        assert status(Authorization="other") == 401
        assert status() == 401


@pytest.mark.ledger("S0.31")
def test_every_api_route_needs_a_key(hub: RunningHub) -> None:
    """All that have to: `tests/accounts` has who may do what on every route."""
    document = hub.get("/openapi.json").json()
    open_ = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if "security" not in operation:
                open_.add(path)
                continue
            answer = requests.request(method, hub.url + path, timeout=10)
            assert answer.status_code == 401, path
    assert {path for path in open_ if not path.startswith("/s/")} == {
        *("/health", "/ready", "/metrics"),
        *("/api/v1/users", "/api/v1/session", "/create_account", "/api-token-auth/"),
        *("/api/v1/session/oidc", "/api/v1/session/oidc/callback"),
    }
