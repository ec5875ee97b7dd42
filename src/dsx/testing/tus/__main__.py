"""`python -m dsx.testing.tus URL…`: check how well servers conform to the protocol."""

from __future__ import annotations

import argparse
import sys

from dsx.testing.tus.outcome import Level, Verdict
from dsx.testing.tus.report import as_json, as_table
from dsx.testing.tus.suite import run


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 'Name: value'")
    return name.strip(), value.strip()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m dsx.testing.tus",
        description="Check servers for conformance to tus 1.0.0.",
        epilog="Exit code 1: a MUST fails on the first server; 2: a server cannot be reached.",
    )
    parser.add_argument("urls", nargs="+", metavar="URL", help="where the server creates uploads")
    parser.add_argument(
        "--header",
        action="append",
        default=[],
        type=_header,
        metavar="'Name: value'",
        help="sent with every request to every server; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument(
        "--patience",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="also run checks that have to wait (expiry, closing of stalled connections), each for "
        "at most this long",
    )
    return parser.parse_args()


def main() -> int:
    """Run the suite with the options of the command line and return the exit code."""
    options = _arguments()
    try:
        columns = [
            (url, run(url, options.header, patience=options.patience)) for url in options.urls
        ]
    except OSError as error:
        sys.stderr.write(f"nothing to test: {error}\n")
        return 2
    sys.stdout.write((as_json if options.json else as_table)(columns) + "\n")
    broken = any(
        result.level is Level.MUST and result.verdict is Verdict.FAIL for result in columns[0][1]
    )
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
