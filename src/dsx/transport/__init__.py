"""The HTTP/1.1 connection between a socket and an ASGI application."""
