"""Results of one or more servers, side by side."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from dsx.testing.tus.outcome import Level, Verdict
from dsx.testing.tus.suite import Result

Column = tuple[str, list[Result]]
"""A server's name and its results; all servers have the same checks in the same order."""


def as_json(columns: Sequence[Column]) -> str:
    """Return all results as JSON."""
    servers = [
        {"url": name, "results": [asdict(result) for result in results]}
        for name, results in columns
    ]
    return json.dumps(servers, indent=2)


def as_table(columns: Sequence[Column]) -> str:
    """Return a table with a row per check and a column per server, the failures and the counts."""
    legend = [f"[{number}] {name}" for number, (name, _) in enumerate(columns, 1)]
    parts = [legend, _rows(columns), _complaints(columns), counts(columns)]
    return "\n\n".join("\n".join(part) for part in parts if part)


def counts(columns: Sequence[Column]) -> list[str]:
    """Return the number of checks that each server passes, by level."""
    lines = []
    for number, (_, results) in enumerate(columns, 1):
        found = Counter((result.level, result.verdict) for result in results)
        told = [
            f"{level} " + ", ".join(f"{found[level, verdict]} {verdict}" for verdict in Verdict)
            for level in Level
        ]
        lines.append(f"[{number}] " + "; ".join(told))
    return lines


def _rows(columns: Sequence[Column]) -> list[str]:
    rows = [["Section", "Level", "Check", *(f"[{n}]" for n in range(1, len(columns) + 1))]]
    for same in zip(*(results for _, results in columns), strict=True):
        verdicts = (str(result.verdict) for result in same)
        rows.append([same[0].section, str(same[0].level), same[0].check, *verdicts])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [lines[0], "-" * sum(widths, 2 * len(widths)), *lines[1:]]


def _complaints(columns: Sequence[Column]) -> list[str]:
    return [
        f"[{number}] {result.level} {result.name}\n      {result.detail}"
        for number, (_, results) in enumerate(columns, 1)
        for result in results
        if result.verdict is Verdict.FAIL
    ]
