"""The list of checks. A check is a function on a `Target`; its docstring is its title."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dsx.testing.tus.outcome import Level
from dsx.testing.tus.target import Target

Body = Callable[[Target], None]


@dataclass(frozen=True)
class Check:
    """One requirement of the protocol, as a function that tests it."""

    section: str
    level: Level
    title: str
    needs: frozenset[str]
    """The extensions that it requires."""
    waits: bool
    """Whether it has to wait for the server: run only with a patience greater than 0."""
    body: Body


CHECKS: list[Check] = []


class Section:
    """A section of the protocol, which collects its checks."""

    def __init__(self, name: str, *needs: str) -> None:
        self._name = name
        self._needs = needs

    def must(self, *needs: str, waits: bool = False) -> Callable[[Body], Body]:
        """Collect a check of what a server MUST do."""
        return self._check(Level.MUST, needs, waits)

    def should(self, *needs: str, waits: bool = False) -> Callable[[Body], Body]:
        """Collect a check of what a server SHOULD do.

        This includes refusing what clients MUST NOT send, where the protocol leaves the answer to
        the reader.
        """
        return self._check(Level.SHOULD, needs, waits)

    def may(self, *needs: str, waits: bool = False) -> Callable[[Body], Body]:
        """Collect a check of what a server MAY do to the benefit of clients."""
        return self._check(Level.MAY, needs, waits)

    def _check(self, level: Level, needs: tuple[str, ...], waits: bool) -> Callable[[Body], Body]:
        def collect(body: Body) -> Body:
            title = " ".join((body.__doc__ or body.__name__).split()).rstrip(".")
            every = frozenset((*self._needs, *needs))
            CHECKS.append(Check(self._name, level, title, every, waits, body))
            return body

        return collect
