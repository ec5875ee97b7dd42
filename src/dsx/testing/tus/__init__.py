"""A conformance suite for servers of the tus resumable upload protocol, version 1.0.0.

Every requirement of the protocol on servers is a check, named after its section and run against a
URL over plain sockets::

    python -m dsx.testing.tus https://tus.example.org/files --header 'Authorization: Bearer …'

or, from a test::

    from dsx.testing.tus import Verdict, run
    assert not [r for r in run(url) if r.verdict is Verdict.FAIL]

Uploads it creates are removed if the server has the termination extension. Checks marked "read back
by GET" need a server that serves its uploads, which is outside the protocol.
"""

from dsx.testing.tus.outcome import Level, Verdict
from dsx.testing.tus.suite import Result, run

__all__ = ["Level", "Result", "Verdict", "run"]
