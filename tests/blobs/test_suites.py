"""Both stores against the contract's own suite."""

from __future__ import annotations

from pathlib import Path

from dsx.blobs.local import LocalStore
from dsx.blobs.memory import MemoryStore
from dsx.testing.blobs import BlobStoreSuite, StageSuite


class TestLocalStore(BlobStoreSuite, StageSuite):
    def make(self, directory: Path) -> LocalStore:
        return LocalStore(directory)


class TestMemoryStore(BlobStoreSuite, StageSuite):
    def make(self, directory: Path) -> MemoryStore:
        return MemoryStore()
