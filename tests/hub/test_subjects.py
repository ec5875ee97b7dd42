"""Accounts of who signs in elsewhere, on both kinds of database."""

from __future__ import annotations

import asyncio

from tests.support.catalogs import opened

from dsx.hub.accounts.passwords import Passwords
from dsx.hub.accounts.sign_in_limits import SignInLimiter
from dsx.hub.accounts.signing_keys import SigningKeys
from dsx.hub.accounts.users import Users
from dsx.hub.limits import Limits


def test_who_comes_in_several_times_at_once_gets_one_account(catalog_url: str) -> None:
    """And others who want the same name get another each."""

    async def main() -> None:
        async with opened(catalog_url) as catalog:
            passwords = Passwords()
            accounts = Users(
                catalog,
                passwords,
                SignInLimiter(catalog),
                SigningKeys(catalog, ["secret"]),
                signup="open",
                jwt_ttl=60,
                limits=Limits(),
            )
            people = [f"issuer {number % 4}" for number in range(16)]
            users = await asyncio.gather(*(accounts.of_subject(one, "ada") for one in people))
            passwords.close()
        ids = {user.id for user in users}
        assert len(ids) == 4
        assert {user.name for user in users} == {"ada", "ada-2", "ada-3", "ada-4"}
        for one, user in zip(people, users, strict=True):
            assert user.id == users[people.index(one)].id

    asyncio.run(main())
