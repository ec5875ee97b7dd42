"""Runs all benchmarks and prints their tables. `python -m bench NAME …` runs some of them."""

from __future__ import annotations

import sys

from bench import accounts, listing, small_files, transfers, uploads

ALL = {
    "small_files": small_files.main,
    "transfers": transfers.main,
    "uploads": uploads.main,
    "listing": listing.main,
    "accounts": accounts.main,
}

for name in sys.argv[1:] or ALL:
    ALL[name]()
