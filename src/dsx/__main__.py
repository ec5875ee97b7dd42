"""``python -m dsx``."""

import sys

from dsx.cli.main import main

sys.exit(main())
