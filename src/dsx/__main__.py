"""``python -m dsx``."""

import sys

from dsx.cli.start import main

sys.exit(main())
