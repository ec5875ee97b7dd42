"""The conformance suite, on the reference server, on the hub, and on servers that are wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.hub import RunningHub, clean_environment, running_hub
from tests.support.node import node, node_modules
from tests.tus.right import Right
from tests.tus.wrong import Ignorant, Wrong, served

from dsx.testing.tus import Level, Result, Verdict, run
from dsx.testing.tus.registry import CHECKS
from dsx.testing.tus.report import as_table, counts

HERE = Path(__file__).parent
EXPIRY_SECONDS = 3

OVERRIDE = "Core/X-HTTP-Method-Override"
REFERENCE_FAILS = {
    # 412 comes without Tus-Version; a version it does not know is 400
    "Core/Tus-Resumable: Unsupported version: 412 with Tus-Version",
    "Core/Tus-Resumable: Absent: 412 with Tus-Version",
    "Termination/DELETE: Unsupported Tus-Resumable: 412, the upload is not terminated",
    # X-HTTP-Method-Override is not looked at
    f"{OVERRIDE}: POST overridden as PATCH is a PATCH",
    f"{OVERRIDE}: POST overridden as DELETE is a DELETE",
    f"{OVERRIDE}: GET overridden as HEAD is a HEAD",
    f"{OVERRIDE}: The actual method is ignored: PATCH or DELETE overridden as HEAD changes nothing",
    # values are decoded as UTF-8 and encoded again
    "Creation/Upload-Metadata: Values are arbitrary: UTF-8, binary, long",
}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The creation URL of the reference server, where uploads expire within seconds."""
    node_modules(HERE)
    directory = tmp_path_factory.mktemp("reference")
    log = (directory / "log").open("w")
    (directory / "files").mkdir()
    command = [node(), "server.mjs", str(directory / "files"), str(EXPIRY_SECONDS)]
    with (
        log,
        subprocess.Popen(
            command, cwd=HERE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("ready: "), (directory / "log").read_text()
            yield line.removeprefix("ready: ").strip()
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def reference_results(reference: str) -> list[Result]:
    return run(reference, patience=2 * EXPIRY_SECONDS)


def names(results: list[Result], verdict: Verdict, *levels: Level) -> set[str]:
    return {r.name for r in results if r.verdict is verdict and (not levels or r.level in levels)}


def test_checks_have_names_of_their_own():
    found = [(check.section, check.title) for check in CHECKS]
    assert len(found) == len(set(found)) > 100


def test_the_reference_server(reference_results: list[Result]):
    """Its known defects are the only ones; everything it announces is checked."""
    broken = names(reference_results, Verdict.FAIL, Level.MUST)
    assert broken <= REFERENCE_FAILS, as_table([("reference", reference_results)])
    passed = names(reference_results, Verdict.PASS)
    assert "Core/PATCH: Upload-Offset mismatch: 409" in passed
    assert (
        "Expiration/Upload-Expires: Once expired: PATCH and HEAD are answered 404 or 410" in passed
    )
    absent = {name.split(":")[0].split("/")[0] for name in names(reference_results, Verdict.NA)}
    assert absent <= {"Checksum", "Concatenation", "Creation With Upload", "Core"}


def test_the_hub(
    hub: RunningHub, reference: str, reference_results: list[Result], capsys: pytest.CaptureFixture
):
    """As it is started by default: nothing fails, nothing is left out but what a limit brings."""
    results = run(f"{hub.url}/uploads", {"Authorization": f"Bearer {hub.key}"})
    same = {result.name for result in results}
    other = [result for result in reference_results if result.name in same]
    columns = [("hub", results), ("@tus/server", other)]
    with capsys.disabled():
        print("", "tus conformance: [1] the hub, [2] @tus/server", *counts(columns), sep="\n")
    assert not names(results, Verdict.FAIL), as_table(columns)
    left_out = [result for result in results if result.verdict is Verdict.NA]
    assert {result.detail for result in left_out} <= {"no Tus-Max-Size announced"}, left_out


def test_the_hub_with_limits(tmp_path: Path):
    """Of size, of an upload's life and of a sender's silence: every check applies, none fails."""
    limits = {
        "DSX_MAX_FILE_SIZE": str(2**54),
        "DSX_UPLOAD_EXPIRY": "5",
        "DSX_STALL_TIMEOUT": "2",
    }
    with running_hub(tmp_path, **limits) as hub:
        results = run(f"{hub.url}/uploads", {"Authorization": f"Bearer {hub.key}"}, patience=8)
    assert {r.name: r.detail for r in results if r.verdict is not Verdict.PASS} == {}


def test_a_server_that_is_right():
    with served(Right) as url:
        results = run(url)
    assert not names(results, Verdict.FAIL), as_table([(url, results)])
    assert not names(results, Verdict.NA), as_table([(url, results)])


@pytest.fixture(scope="module")
def ignorant_results() -> list[Result]:
    with served(Ignorant) as url:
        return run(url)


@pytest.mark.parametrize(
    "name",
    [
        "Core/PATCH: Upload-Offset mismatch: 409",
        "Core/PATCH: Upload-Offset mismatch: the upload is not modified",
        "Core/PATCH: Of two simultaneous requests for one offset, at most one is acknowledged",
        "Core/PATCH: Content-Type wrong or absent: 415",
        "Core/Tus-Resumable: Unsupported version: the request is not processed",
        "Core/Tus-Resumable: Absent: 412 with Tus-Version",
        "Core/HEAD: Upload-Length is included if known, at every stage",
        "Creation/Upload-Metadata: Included in HEAD as specified at creation",
        "Checksum: Checksums mismatch: 460",
        "Checksum: Checksums mismatch: the chunk is discarded, the offset not updated",
        "Checksum: Unknown algorithm: 400",
        "Checksum: Tus-Checksum-Algorithm lists sha1",
        "Expiration/Upload-Expires: Included in every PATCH response of an unfinished upload",
        "Termination/DELETE: New upload: 204",
        "Concatenation/final: PATCH: 403",
        "Concatenation/final: HEAD has Upload-Concat as received at creation",
    ],
)
def test_what_is_ignored_is_noticed(name: str, ignorant_results: list[Result]):
    assert name in names(ignorant_results, Verdict.FAIL)


def test_what_is_right_is_not_held_against_a_wrong_server(ignorant_results: list[Result]):
    passed = names(ignorant_results, Verdict.PASS)
    assert "Core/PATCH: Success: 204 with the new Upload-Offset" in passed
    assert "Core/HEAD: The response has Cache-Control: no-store" in passed
    unannounced = names(ignorant_results, Verdict.NA)
    assert "Concatenation/unfinished: The concatenation request may come before the data: 201" in (
        unannounced
    )


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dsx.testing.tus", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=clean_environment(),
        timeout=100,
    )


def test_the_command_compares_servers():
    with served(Ignorant) as one, served(Wrong) as other:
        table = command(one, other, "--header", "X-Any: thing")
        assert table.returncode == 1, table.stderr
        assert f"[2] {other}" in table.stdout
        (row,) = [row for row in table.stdout.splitlines() if "Cache-Control: no-store  " in row]
        assert row.split()[-2:] == ["pass", "FAIL"]
        (first,) = json.loads(command(one, "--json").stdout)
    assert first["url"] == one
    assert len(first["results"]) == len([check for check in CHECKS if not check.waits])


def test_the_command_where_nothing_answers():
    nothing = command("http://127.0.0.1:9/files")
    assert nothing.returncode == 2
    assert nothing.stderr.startswith("nothing to test: ")
