"""Accounts with PostgreSQL as their catalog and two server processes on it."""

from __future__ import annotations

from tests.accounts.test_accounts import (
    test_a_password_is_changed_by_who_knows_it,
    test_names_that_will_not_do,
    test_quotas_of_bytes_and_files,
    test_roles_change_and_accounts_are_disabled,
)
from tests.accounts.test_departures import (
    test_n1_names_that_the_hub_has_too,
    test_n15_the_log_keeps_names,
)
from tests.accounts.test_tokens_shares import (
    test_a_link_ends_with_its_share_its_file_and_its_owner,
    test_a_link_expires,
    test_a_link_to_a_category_is_a_zip_of_it,
    test_a_link_with_a_password,
    test_a_revoked_token_ends_at_once,
    test_a_share_with_a_user_expires,
    test_a_token_expires_and_so_does_what_it_makes,
    test_a_token_tells_when_it_was_used,
    test_downloads_are_counted_even_at_once,
    test_only_what_is_ones_own_is_shared,
)
from tests.support.catalogs import hub_on_postgres, postgres
from tests.support.hub import RunningHub

__all__ = [
    "hub_on_postgres",
    "postgres",
    "test_a_link_ends_with_its_share_its_file_and_its_owner",
    "test_a_link_expires",
    "test_a_link_to_a_category_is_a_zip_of_it",
    "test_a_link_with_a_password",
    "test_a_password_is_changed_by_who_knows_it",
    "test_a_revoked_token_ends_at_once",
    "test_a_share_with_a_user_expires",
    "test_a_token_expires_and_so_does_what_it_makes",
    "test_a_token_tells_when_it_was_used",
    "test_downloads_are_counted_even_at_once",
    "test_n1_names_that_the_hub_has_too",
    "test_n15_the_log_keeps_names",
    "test_names_that_will_not_do",
    "test_only_what_is_ones_own_is_shared",
    "test_quotas_of_bytes_and_files",
    "test_roles_change_and_accounts_are_disabled",
]


def test_what_was_done_is_in_the_log(hub: RunningHub, alice: RunningHub) -> None:
    record = alice.store("noted", b"x")
    (entry,) = alice.get("/api/v1/audit", params={"limit": 1}).json()["items"]
    assert (entry["action"], entry["target"]) == ("file.create", record["id"])
    assert entry["username"] == "alice"
