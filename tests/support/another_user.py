"""Work of somebody who is not root."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from dsx.core.errors import DSXError

USER = 65533


def in_another_user(
    work: Callable[[], object], groups: Sequence[int] = (), umask: int = 0o022
) -> str:
    """What *work* returns, or the failure it raises, when somebody who is not root does it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(list(groups))
            os.setgid(groups[0] if groups else 65534)
            os.setuid(USER)
            os.umask(umask)
            answer = str(work())
        except BaseException as error:  # noqa: BLE001 (the other side looks at it)
            answer = f"{type(error).__mro__[-5:]} {isinstance(error, DSXError)} {error}"
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as answer:
        return answer.read()
