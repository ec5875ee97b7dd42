"""Guesses media types from file names, the same on every system.

Python's table lacks most data and model formats, maps ``.pt`` to something else, and includes the
system's own table. The table here takes precedence.
"""

from __future__ import annotations

import mimetypes

DEFAULT_TYPE = "application/octet-stream"

# Registered names where there are any (https://www.iana.org/assignments/media-types), else those
# used by the formats' own projects. Model weights have none: they are bytes.
_OURS = {
    ".arrow": "application/vnd.apache.arrow.file",
    ".arrows": "application/vnd.apache.arrow.stream",
    ".avro": "application/vnd.apache.avro",
    ".feather": "application/vnd.apache.arrow.file",
    ".h5": "application/x-hdf5",
    ".hdf5": "application/x-hdf5",
    ".ipynb": "application/x-ipynb+json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".msgpack": "application/vnd.msgpack",
    ".ndjson": "application/x-ndjson",
    ".nc": "application/netcdf",
    ".npy": "application/x-npy",
    ".npz": "application/x-npz",
    ".orc": "application/vnd.apache.orc",
    ".parquet": "application/vnd.apache.parquet",
    ".proto": "text/plain",
    ".toml": "application/toml",
    ".webp": "image/webp",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
} | dict.fromkeys(
    (
        ".bin", ".ckpt", ".engine", ".ggml", ".gguf", ".h5ad", ".joblib", ".mlmodel", ".onnx",
        ".ort", ".pb", ".pdparams", ".pickle", ".pkl", ".pt", ".pt2", ".pte", ".pth",
        ".safetensors", ".tfrecord", ".tfrecords", ".tflite", ".torchscript",
    ),
    DEFAULT_TYPE,
)  # fmt: skip
_PYTHONS = mimetypes.MimeTypes()  # without the system's own table


def guess_type(name: str) -> str:
    """Return the media type for *name*, or application/octet-stream."""
    base, dot, ending = name.rpartition("/")[2].rpartition(".")
    ours = _OURS.get(f".{ending.lower()}") if base and dot else None
    return ours or _PYTHONS.guess_type(f"x.{ending}" if dot else "x")[0] or DEFAULT_TYPE
