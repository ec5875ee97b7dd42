"""The names by which an application finds what the transport can do beyond plain ASGI.

Each is a key of the scope's ``extensions``; `SETTINGS` is one of the lifespan's state.
"""

ZERO_COPY = "http.response.zerocopysend"
"""ASGI's extension: a message that sends a slice of a file."""
RECEIVE_INTO = "dsx.request.receive_into"
"""A coroutine function that hands a large body to a blocking writer, past ASGI's messages."""
TRAILERS = "dsx.request.trailers"
"""A function that returns the trailer fields of a chunked body, once it has been received."""
INTERIM = "dsx.response.interim"
"""A coroutine function that sends a 1xx response before the final one."""
WANTED = "dsx.response.wanted"
"""A function that returns whether an endless response should continue."""
SETTINGS = "dsx.connections"
"""The `ConnectionSettings` that the application passes to the transport."""
