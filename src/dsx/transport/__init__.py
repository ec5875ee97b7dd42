"""Bytes between a socket and an ASGI application: our HTTP/1.1 connection, and what it needs."""
