"""`python server/server.py`: the start-up form of the DSX Hub seed; a stricter `dsx serve`."""

import sys

from dsx.cli.main import main

REQUIRED = ["--require", "DSX_API_KEY", "--require", "DSX_DATASET_PATH"]

if __name__ == "__main__":
    sys.exit(main(["serve", "--host", "0.0.0.0", *REQUIRED]))  # noqa: S104 (as that README says)
