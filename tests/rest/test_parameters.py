"""M14: query parameters that a route does not know, and dates that are none, are refused."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.hub import RunningHub

DIALECTS = {"dialect: tinydist", "dialect: datastore", "dialect: file server", "dialect: storage"}
DESTRUCTIVE = re.compile("delete|abort|purge|empty|cancel|terminate")
TOLERANT = {"/api/v1/session/oidc/callback"}
"""Providers add parameters of their own (RFC 6749 §4.1.2)."""


def _operations(hub: RunningHub) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in hub.get("/openapi.json").json()["paths"].items():
        for method, operation in operations.items():
            filled = re.sub(r"\{[^}]*\}", "1", path)
            yield method.upper(), filled, {"path": path, **operation}


def _is_strict(method: str, operation: dict[str, Any]) -> bool:
    native = operation["path"].startswith("/api/v1") and operation["path"] not in TOLERANT
    destructive = method == "DELETE" or DESTRUCTIVE.search(operation["operationId"])
    return bool(native or destructive)


def test_m14_unknown_parameters_are_refused_on_every_native_or_destructive_route(
    hub: RunningHub,
) -> None:
    walked = 0
    for method, path, operation in _operations(hub):
        if not _is_strict(method, operation):
            continue
        answer = hub.request(method, path, params={"zzz": "1"}, stream=True)
        assert answer.status_code == 422, (method, path, answer.status_code)
        if method != "HEAD":
            assert answer.json()["details"]["field"] == "query.zzz", (method, path)
        walked += 1
    assert walked > 60
    dialects = [one for _, _, one in _operations(hub) if DIALECTS & set(one["tags"])]
    assert sum(bool(DESTRUCTIVE.search(one["operationId"])) for one in dialects) >= 6


@pytest.mark.parametrize("headers", [{"Tus-Resumable": "1.0.0"}, {"Upload-Complete": "?1"}])
def test_m14_resumable_uploads_are_not_dropped_by_a_slip(
    hub: RunningHub, headers: dict[str, str]
) -> None:
    made = hub.post("/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "5"}).headers[
        "Location"
    ]
    path = made.removeprefix(hub.url)
    assert hub.delete(path, params={"zzz": ""}, headers=headers).status_code == 422
    assert hub.request("HEAD", path, headers=headers).status_code in {200, 204}
    over = {"X-HTTP-Method-Override": "DELETE", "Tus-Resumable": "1.0.0"}
    assert hub.post(path, params={"zzz": ""}, headers=over).status_code == 422
    assert hub.delete(path, headers=headers).status_code == 204


@pytest.mark.parametrize("wrong", ["20270101", "0", "1e3", "-1", "2027", "1798761600", "tomorrow"])
def test_m14_a_date_is_iso_8601_wherever_one_is_taken(hub: RunningHub, wrong: str) -> None:
    walked = 0
    for method, path, operation in _operations(hub):
        for parameter in operation.get("parameters", ()):
            kinds = [parameter["schema"], *parameter["schema"].get("anyOf", ())]
            if not any(kind.get("format") == "date-time" for kind in kinds):
                continue
            task = hub.post("/create_task").json()["task_id"]
            under = path.replace("/1", f"/{task}")
            answer = hub.request(method, under, params={parameter["name"]: wrong})
            assert answer.status_code == 422, (method, path, parameter["name"])
            if method != "HEAD":
                assert "ISO 8601" in answer.text
            walked += 1
    assert walked >= 8


def test_m14_nothing_is_deleted_by_a_date_or_a_filter_that_was_not_understood(
    hub: RunningHub,
) -> None:
    own = hub.user(f"m14-{uuid.uuid4().hex[:8]}")
    own.store("kept.bin", b"1")
    for wrong in ({"from_date": "20270101"}, {"from-date": "2027-01-01"}, {"file_name": "^x"}):
        task = own.post("/create_task").json()["task_id"]
        answer = own.delete(f"/delete_file/{task}", params=wrong)
        assert answer.status_code == 422, answer.text
    task = own.post("/create_task").json()["task_id"]
    answer = own.delete(f"/delete_file/{task}", params={"from_date": "2127-01-01"})
    assert answer.json()["deleted"] == 0
    assert [one["name"] for one in own.get("/api/v1/files").json()["items"]] == ["kept.bin"]


def test_m14_a_misspelt_filter_names_the_right_one(hub: RunningHub) -> None:
    answer = hub.get("/api/v1/files", params={"catgory": "train"})
    assert answer.status_code == 422
    assert "'category'" in answer.json()["detail"]
    assert hub.get("/api/v1/files?glob=zzz").status_code == 422
    assert hub.get("/api/v1/files?%ff=1").status_code == 400  # no UTF-8, whatever it names
    assert hub.get("/api/v1/files?=").status_code == 422


@pytest.mark.parametrize(
    ("spelled", "kept"),
    [
        ("2000-01-01", True),
        ("2000-01-01T00:00:00Z", True),
        ("2000-01-01T00:00:00.123456+02:00", True),
        ("2000-01-01 00:00", True),
        ("2127-01-01", False),
        ("2127-01-01T00:00:00-0130", False),
    ],
)
def test_m14_dates_that_are_iso_8601_select(hub: RunningHub, spelled: str, kept: bool) -> None:
    record = hub.store(f"m14-{uuid.uuid4().hex}", b"x")
    params = {"name": record["name"], "created_from": spelled}
    found = hub.get("/api/v1/files", params=params).json()["items"]
    assert [one["id"] for one in found] == ([record["id"]] if kept else [])
