"""Where a process that runs `dsx` begins: the rest is loaded under the eyes of `interrupts`."""

from dsx.cli import interrupts


def main(*, server: str | None = None) -> int:
    """Run the command of this process; its exit code. *server*: see `dsx.cli.main.main`."""
    interrupts.end_at_once()
    from dsx.cli.main import main as run  # noqa: PLC0415 (slow to import)

    return run() if server is None else run(server=server)
