"""Files that a running server leaves in its data directory, for commands on the same machine."""

from __future__ import annotations

SERVER_FILE = "server.json"
"""JSON with ``url``, the server's address; locked while the server runs."""
ADMIN_KEY_FILE = "admin.key"
"""The admin key that is created if none is configured."""
DATA_DIR = "dsx-data"
"""The default data directory."""
CA_FILE = "DSX_CA_FILE"
"""The environment variable that names a file of trusted certificates for clients."""
