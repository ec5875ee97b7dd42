"""Blob stores: immutable blobs named by the SHA-256 of their content."""
