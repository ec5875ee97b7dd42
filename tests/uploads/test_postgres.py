"""Uploads with PostgreSQL as their catalog, where transactions really run at the same time."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.support.catalogs import hub_on_postgres, postgres
from tests.support.hub import RunningHub
from tests.support.postgres import Cluster
from tests.uploads.machine import UploadMachine
from tests.uploads.speakers import TUS
from tests.uploads.test_adversary import (
    nothing_unforeseen,
    test_a_challenge_is_answered_once,
    test_a_final_that_is_refused_leaves_nothing,
    test_a_partial_is_not_harmed_by_a_final_that_cannot_be_made,
    test_a_task_is_taken_up_once,
    test_finishing_a_final_whose_partials_are_not_ready,
    test_finishing_while_a_part_arrives,
)
from tests.uploads.test_fault_fields import test_17_lengths_are_exact, test_20_names_of_the_world
from tests.uploads.test_faults import (
    test_2_identical_part_again,
    test_3_other_bytes_for_the_same_part,
    test_5_part_digest_that_does_not_fit,
    test_9_disconnect_keeps_the_prefix,
    test_10_many_newcomers,
    test_10_newcomer_wins_over_a_stale_writer,
    test_11_two_finishers_make_one_file,
    test_12_final_reply_lost,
    test_25_aborted_uploads_stay_so,
)
from tests.uploads.test_machine import run

__all__ = [
    "hub_on_postgres",
    "nothing_unforeseen",
    "postgres",
    "test_2_identical_part_again",
    "test_3_other_bytes_for_the_same_part",
    "test_5_part_digest_that_does_not_fit",
    "test_9_disconnect_keeps_the_prefix",
    "test_10_many_newcomers",
    "test_10_newcomer_wins_over_a_stale_writer",
    "test_11_two_finishers_make_one_file",
    "test_12_final_reply_lost",
    "test_17_lengths_are_exact",
    "test_20_names_of_the_world",
    "test_25_aborted_uploads_stay_so",
    "test_a_challenge_is_answered_once",
    "test_a_final_that_is_refused_leaves_nothing",
    "test_a_partial_is_not_harmed_by_a_final_that_cannot_be_made",
    "test_a_task_is_taken_up_once",
    "test_finishing_a_final_whose_partials_are_not_ready",
    "test_finishing_while_a_part_arrives",
]


def test_room_is_promised_once(hub: RunningHub) -> None:
    """Uploads that begin at the same moment are not promised the same room."""
    length = shutil.disk_usage(hub.data_dir).free * 6 // 10

    def begin(number: int) -> str:
        facts = {"name": f"large-{number}", "length": length}
        answer = hub.post("/api/v1/uploads", json=facts)
        assert answer.status_code in {201, 507}, answer.text
        return str(answer.json().get("url", ""))

    for _ in range(5):
        with ThreadPoolExecutor(8) as pool:
            made = [url for url in pool.map(begin, range(8)) if url]
        for url in made:
            assert hub.delete(url).status_code == 204
        assert len(made) == 1


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("kind", ["api/v1/uploads", "api/v1/tasks", "uploads"])
def test_ids_that_the_database_cannot_spell(hub: RunningHub, kind: str, method: str) -> None:
    answer = hub.request(method, f"/{kind}/%00", headers=TUS)
    assert answer.status_code in {400, 404, 405, 422}


def test_pages_that_the_database_cannot_spell(hub: RunningHub) -> None:
    for query in ("uploads?after=%00", "tasks?before=%00", "tasks/events?seconds=1&id=%00"):
        assert hub.get(f"/api/v1/{query}").status_code in {200, 400, 404, 422}


@pytest.mark.timeout(300)
def test_engine_and_model_agree(postgres: Cluster) -> None:
    class PostgresMachine(UploadMachine):
        new_database = staticmethod(postgres.create_database)

    assert run(PostgresMachine, examples=8, steps=30) > 150
