"""``python -m dsx.cli``."""

import sys

from dsx.cli.main import main

sys.exit(main())
