"""What must not be made twice."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from tests.support.corrupting import Faults, Proxy
from tests.support.hub import RunningHub

from dsx import DatasetHubClient
from dsx.client import errors


@pytest.mark.parametrize("what", ["token", "share", "user"])
def test_what_must_not_be_made_twice_is_not_asked_for_again(
    hub: RunningHub, through: DatasetHubClient, proxy: Proxy, what: str
) -> None:
    """The answer was lost: the secret in it, too, and a second one would be somebody's for ever."""
    name = uuid.uuid4().hex
    hub.store(name, b"x")
    info = through.get_info(name)
    proxy.faults = Faults(drop_reply=1)
    make: dict[str, Callable[[], object]] = {
        "token": lambda: through.accounts.create_token(name),
        "share": lambda: through.accounts.share(info),
        "user": lambda: through.accounts.create_user(name, "correct horse"),
    }
    with pytest.raises(errors.Unreachable):
        make[what]()
    assert len(proxy.faults.asked) == 1
