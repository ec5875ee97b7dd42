"""Entry point of `dsx`: handles interrupts while the rest is loaded."""

from dsx.cli import interrupts


def main(*, server: str | None = None) -> int:
    """Run the command of this process; see `dsx.cli.main.main`."""
    interrupts.end_at_once()
    from dsx.cli.main import main as run  # noqa: PLC0415 (slow to import)

    return run() if server is None else run(server=server)
