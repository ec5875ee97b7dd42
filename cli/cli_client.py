"""`python -m cli.cli_client`: the file server seed's client is `dsx`, which knows its flags."""

import sys

from cli.config import cli_config
from dsx.cli.main import main

if __name__ == "__main__":
    sys.exit(main(server=f"{cli_config.SERVER_ADDRESS}:{cli_config.SERVER_PORT}"))
