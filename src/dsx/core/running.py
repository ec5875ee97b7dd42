"""What a running server leaves in its data directory, for commands on the same machine."""

from __future__ import annotations

SERVER_FILE = "server.json"
"""JSON with ``url``, where the server is to be reached; locked as long as the server runs."""
ADMIN_KEY_FILE = "admin.key"
"""The key that is made where none is set."""
DATA_DIR = "dsx-data"
"""The data directory, unless another one is set."""
CA_FILE = "DSX_CA_FILE"
"""The environment variable that names a file of certificates that clients trust."""
