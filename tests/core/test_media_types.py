"""Media types of what data and models come in: the same on every system."""

from __future__ import annotations

import pytest

from dsx.core.media_types import guess_type

BYTES = "application/octet-stream"
TYPES = {
    "model.pt": BYTES,
    "model.PT": BYTES,
    "deep/er/model.safetensors": BYTES,
    "model.gguf": BYTES,
    "model.onnx": BYTES,
    "model.ckpt": BYTES,
    "t.parquet": "application/vnd.apache.parquet",
    "t.arrow": "application/vnd.apache.arrow.file",
    "x.npy": "application/x-npy",
    "x.jsonl": "application/jsonl",
    "x.json": "application/json",
    "x.csv": "text/csv",
    "x.png": "image/png",
    "x.txt": "text/plain",
    "README": BYTES,
    ".pt": BYTES,
    "a.b/c": BYTES,
    "x.tar.gz": BYTES,
    "odd.": BYTES,
    "data:,a.html": "text/html",
}


@pytest.mark.parametrize(("name", "expected"), TYPES.items())
def test_what_a_name_suggests(name: str, expected: str) -> None:
    assert guess_type(name) == expected
