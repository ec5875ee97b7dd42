"""Datasets in place: directories below a root, served directly."""

from dsx.hub.datasets.in_place import Datasets

__all__ = ["Datasets"]
