from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator

import pytest
from tests.http.engine import MIB, Engine, parse, running_engine

DATA = random.Random(5).randbytes(2 * MIB) + b"\r\n--almost\r\n--bounda\r\n\r--boundary"
FILE = (
    b'Content-Disposition: form-data; name="file"; filename="\xc3\xa4 b.csv"\r\n'
    b"Content-Type: text/csv"
)
FIELD = b'Content-Disposition: form-data; name="%s"'


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with running_engine(tmp_path_factory.mktemp("engine"), size=1) as running:
        yield running


def _form(*parts: tuple[bytes, bytes], end: bytes = b"--boundary--\r\n") -> bytes:
    return b"".join(b"--boundary\r\n%b\r\n\r\n%b\r\n" % part for part in parts) + end


def _post(engine: Engine, body: bytes, boundary: str = "boundary") -> tuple[int, bytes]:
    head = (
        "POST /form HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary={boundary}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    status, _, answer = parse(engine.exchange(head.encode() + body))
    return status, answer


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_parts_come_in_any_order(engine: Engine, place: int) -> None:
    parts = [(FIELD % b"tag", b"a"), (FIELD % b"tag", "é".encode()), (FIELD % b"name", b"n")]
    parts.insert(place, (FILE, DATA))
    status, answer = _post(engine, _form(*parts))
    assert status == 200, answer
    assert json.loads(answer) == {
        "fields": {"tag": ["a", "é"], "name": ["n"]},
        "filename": "ä b.csv",
        "type": "text/csv",
        "sha256": hashlib.sha256(DATA).hexdigest(),
    }


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b""),
        (400, b"no form at all"),
        (400, _form((FIELD % b"name", b"n"))),
        (400, _form((FILE, b"one"), (FILE, b"two"))),
        (400, _form((FILE, b"data"), end=b"")),
        (400, _form((FILE, b"data"))[:-6]),
        (400, _form((b"Content-Type: text/plain", b"x"), (FILE, b""))),
        (400, _form((b"Broken header", b"x"), (FILE, b""))),
        (400, _form((FIELD % b"name", b"\xff\xfe"), (FILE, b""))),
        (400, _form((b"X-Long: " + b"y" * 100_000, b"x"), (FILE, b""))),
        (413, _form((FIELD % b"name", b"n" * 65_537), (FILE, b""))),
        (413, _form(*[(FIELD % b"tag", b"t")] * 400, (FILE, b""))),
    ],
)
def test_a_bad_form_is_refused(engine: Engine, status: int, body: bytes) -> None:
    answer = _post(engine, body)
    assert answer[0] == status, answer


def test_a_form_needs_a_sane_boundary(engine: Engine) -> None:
    body = _form((FILE, b"data"))
    assert _post(engine, body, boundary="")[0] == 400
    assert _post(engine, body, boundary="x" * 10_000)[0] == 400
    assert _post(engine, body, boundary="other")[0] == 400
