"""One hub with all kinds of people and things in it, for asking every route as everybody."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

import requests
from tests.support.hub import PASSWORD, RunningHub

MARK = "Zebra"
"""In the name of everything that is the owner's: nobody else's answers may have it."""
OWNER, OTHER, GONE = "mx-owner", "mx-other", "mx-gone"
CONTENT = b"Zebra crossing"
LONG = CONTENT * 500
"""So much that it may be proven instead of sent."""
DATASET, OPEN_FILE = "pics", "a.txt"
BROKEN = 599
"""Instead of the status of an answer that was not told to its end."""
HERE = {"Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """A connection that is kept; sends what it is told, and nothing more."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)

    def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Answer:
        for last in (False, True):
            try:
                self._connection.request(method, path, body, dict(headers))
                answer = self._connection.getresponse()
                return Answer(answer.status, answer.headers, answer.read())
            except http.client.IncompleteRead as error:
                self._connection.close()
                return Answer(BROKEN, answer.headers, error.partial)
            except (http.client.RemoteDisconnected, ConnectionError, BrokenPipeError):
                self._connection.close()
                if last:
                    raise
        raise AssertionError

    def close(self) -> None:
        self._connection.close()


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@dataclass(frozen=True)
class Thing:
    """Something of the owner's: what routes call it, and what nobody's would be called."""

    ref: str
    also: str = ""
    never: str = "019a0000-0000-7000-8000-00000000dead"


class World:
    """The people, and a factory for each kind of thing."""

    ELSEWHERE: ClassVar = [
        {"kind": "category", "value": "elsewhere"},
        {"kind": "prefix", "value": "elsewhere/"},
    ]

    def __init__(self, hub: RunningHub) -> None:
        self.hub = hub
        self.wire = Wire(hub.url)
        self._count = itertools.count()
        self._owner = hub.user(OWNER).key
        other, gone = hub.user(OTHER).key, hub.user(GONE).key
        hub.request("PATCH", f"/api/v1/users/{GONE}", json={"disabled": True})
        self._share_dataset()
        shared = self._file()
        self.people: dict[str, dict[str, str]] = {
            "nobody": {},
            "owner": bearer(self._owner),
            "other": bearer(other),
            "reader": bearer(self.token(scopes=["read"])),
            "expired": bearer(self.token(seconds=0.001)),
            "limited": bearer(self.token(places=self.ELSEWHERE)),
            "writer": bearer(self.token(scopes=["write"])),
            "link": bearer(self._link_to(shared.ref)),
            "cookie": {"Cookie": self._cookie()},
            "session": {"Cookie": self._cookie()} | HERE,
            "disabled": bearer(gone),
            "placed": bearer(self._of_admin(places=self.ELSEWHERE)),
            "keeper": bearer(self._of_admin(scopes=["admin"])),
            "admin": bearer(hub.key),
        }
        self._makers: dict[str, Callable[[], Thing]] = {
            "": lambda: Thing(""),
            "file": self._file,
            "file name": self._file_name,
            "trashed": self._trashed,
            "upload": self._upload,
            "provable": self._provable,
            "received": lambda: self._upload(0),
            "finished": self._finished,
            "task": lambda: self._task({}),
            "download": lambda: self._task({"kind": "download", "ids": [self._file().ref]}),
            "doomed": lambda: self._task({"kind": "delete", "ids": [self._file().ref]}),
            "token": self._token_id,
            "share": self._share_id,
            "user": lambda: Thing(OWNER, never="nobody-here"),
            "leaver": self._leaver,
            "dataset": lambda: Thing(DATASET, never="never-was"),
            "link": lambda: Thing(self._link_to(self._file().ref), never="dsxs_never"),
            "category link": self._category_link,
        }

    def make(self, kind: str) -> Thing:
        """A new thing of that kind, the owner's."""
        return self._makers[kind]()

    def fresh(self) -> str:
        return f"new-{next(self._count)}"

    def marked(self) -> str:
        return f"{MARK}-{next(self._count)}"

    def token(self, **wanted: Any) -> str:
        """The secret of a new token of the owner's."""
        wanted = {"scopes": ["read", "write", "delete"]} | wanted
        return str(self.as_owner("POST", "/api/v1/tokens", wanted)["token"])

    def as_owner(self, method: str, path: str, body: Any = None, data: bytes | None = None) -> Any:
        """What the owner is answered, who may."""
        headers = bearer(self._owner)
        if body is not None:
            data, headers = (
                json.dumps(body).encode(),
                headers | {"Content-Type": "application/json"},
            )
        answer = self.wire.send(method, path, headers, data)
        assert answer.status < 300, (method, path, answer)
        return json.loads(answer.body) if answer.body else None

    def _of_admin(self, **wanted: Any) -> str:
        """The secret of a new token of the admin's, who has all scopes."""
        wanted = {"scopes": ["read", "write", "delete", "admin"]} | wanted
        return str(self.hub.post("/api/v1/tokens", json=wanted).json()["token"])

    def _cookie(self) -> str:
        who = {"username": OWNER, "password": PASSWORD}
        answer = requests.post(f"{self.hub.url}/api/v1/session", json=who, timeout=10)
        return f"dsx_session={answer.cookies['dsx_session']}"

    def _share_dataset(self) -> None:
        body = {"place": {"kind": "dataset", "value": DATASET}, "user": OWNER}
        assert self.hub.post("/api/v1/shares", json=body).status_code == 201

    def _file(self, content: bytes = CONTENT) -> Thing:
        made = self.as_owner("POST", f"/api/v1/files?name={self.marked()}", data=content)
        return Thing(made["id"], str(made["number"]))

    def _file_name(self) -> Thing:
        name = self.marked()
        self.as_owner("POST", f"/api/v1/files?name={name}", data=CONTENT)
        return Thing(name, never="never-was")

    def _trashed(self) -> Thing:
        thing = self._file()
        self.as_owner("DELETE", f"/api/v1/files/{thing.ref}")
        return thing

    def _upload(self, length: int = 4) -> Thing:
        new = {"name": self.marked(), "length": length}
        return Thing(self.as_owner("POST", "/api/v1/uploads", new)["id"])

    def _finished(self) -> Thing:
        thing = self._upload(0)
        self.as_owner("POST", f"/api/v1/uploads/{thing.ref}/finish")
        return thing

    def _provable(self) -> Thing:
        """An upload of bytes that the hub has, and the proof that its owner has them, too."""
        self._file(LONG)
        digest = hashlib.sha256(LONG).hexdigest()
        new = {"name": self.marked(), "length": len(LONG), "sha256": digest}
        upload = self.as_owner("POST", "/api/v1/uploads", new)
        nonce, places = bytes.fromhex(upload["challenge"]["nonce"]), upload["challenge"]["places"]
        quoted = b"".join(LONG[start:stop] for start, stop in places)
        return Thing(upload["id"], hashlib.sha256(nonce + quoted).hexdigest())

    def _task(self, what: dict[str, Any]) -> Thing:
        new = {"name": self.marked()} | what
        return Thing(self.as_owner("POST", "/api/v1/tasks", new)["id"])

    def _token_id(self) -> Thing:
        return Thing(self.as_owner("POST", "/api/v1/tokens", {"name": self.marked()})["id"])

    def _share_id(self) -> Thing:
        place = {"place": {"kind": "file", "value": self._file().ref}}
        return Thing(self.as_owner("POST", "/api/v1/shares", place | {"user": OTHER})["id"])

    def _leaver(self) -> Thing:
        name = f"mx-{self.fresh()}"
        new = {"username": name, "password": PASSWORD}
        assert self.hub.post("/api/v1/users", json=new).status_code == 201
        return Thing(name, never="nobody-here")

    def _category_link(self) -> Thing:
        category = self.marked()
        self.as_owner("POST", f"/api/v1/files?name={category}&category={category}", data=b"x")
        made = self.link({"kind": "category", "value": category})
        return Thing(made, also=category, never="dsxs_never")

    def _link_to(self, file: str) -> str:
        return self.link({"kind": "file", "value": file})

    def link(self, place: dict[str, str], **more: Any) -> str:
        """The secret of a new link to *place*."""
        made = self.as_owner("POST", "/api/v1/shares", {"place": place} | more)
        return str(made["url"]).rpartition("/")[2]
