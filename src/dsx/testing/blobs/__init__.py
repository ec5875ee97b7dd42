"""Conformance suite for `dsx.blobs.contract`: one test per guarantee.

Subclass `BlobStoreSuite` (and `StageSuite`, if the store is `Stages`) in a pytest module and define
how to create a store::

    class TestMyStore(BlobStoreSuite):
        def make(self, directory): return MyStore(directory)
"""

from dsx.testing.blobs.stages import StageSuite
from dsx.testing.blobs.stores import BlobStoreSuite

__all__ = ["BlobStoreSuite", "StageSuite"]
