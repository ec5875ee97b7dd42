"""The server that `python -m cli.cli_client` talks to, unless SERVER_URL names another."""

SERVER_ADDRESS = "http://127.0.0.1"
SERVER_PORT = 5000
