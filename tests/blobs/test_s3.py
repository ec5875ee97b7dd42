"""The bucket store against Ceph's S3 gateway: the contract's suite, and what a bucket adds."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.ceph import Ceph

from dsx.blobs.s3 import S3Store
from dsx.testing.blobs import BlobStoreSuite, StageSuite


@pytest.fixture(autouse=True)
def bucket(s3: Ceph, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh bucket, and the variables that lead to it."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3.create_bucket()


class TestS3Store(BlobStoreSuite, StageSuite):
    @pytest.fixture(autouse=True)
    def _in_bucket(self, bucket: str) -> None:
        self.url = f"s3://{bucket}/some/prefix"

    def make(self, directory: Path) -> S3Store:
        return S3Store(self.url, directory)
