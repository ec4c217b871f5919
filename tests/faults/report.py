"""What came of the faults: lines, one table for people, one file for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.faults.harness import BROKERS, DATABASES, FAULTS, Result

COLUMNS = ("runs", "rows", "failed", "lost", "duplicated", "partial", "missing", "pages", "seconds")

LEGEND = (
    "Counted per fault and backend: *runs* = repetitions, each at a random moment; *rows* = variants ordered; "
    "*failed* = those that were to end as an error, and did; *lost* = neither built nor failed with a reason; "
    "*duplicated* = published twice; *partial* and *missing* = files behind a BUILT row or a URL in a page that were "
    "no whole picture, or not there; *pages* = pages that a visitor read meanwhile, with every picture they name."
)


def line(result: Result) -> str:
    """Return a result as one line."""
    counts = f"lost={result.lost} duplicated={result.duplicated} partial={result.partial} missing={result.missing}"
    seen = f"pages={result.pages} slowest_page={result.slowest_page * 1000:.0f}ms urls={result.urls}"
    where = f"{result.database}+{result.broker} runs={result.runs} rows={result.rows}"
    state = "BAD " if result.is_bad else "part" if result.not_done else "ok  "
    where += f" NOT DONE: {result.not_done}" if result.not_done else ""
    return f"{state} {result.fault}: {result.title}: {where} {counts} {seen} in {result.seconds:g} s"


def table(results: Sequence[Result]) -> str:
    """Return the results as a Markdown table, and what was left out on some backends below it."""
    lines = [["fault", "database", "broker", *COLUMNS], ["---"] * (3 + len(COLUMNS))]
    for result in _sorted(results):
        cells = result.as_dict()
        first = [f"{result.fault} {result.title}", result.database, result.broker]
        lines.append([*first, *(str(cells[column]) for column in COLUMNS), *filter(None, [_said(result)])])
    text = "\n".join(f"| {' | '.join(cells).replace(chr(10), ' ')} |" for cells in lines)
    return "\n\n".join([text, *left_out({result.fault for result in results})])


def _said(result: Result) -> str:
    """Return what stands behind a result's row: its error, and what of it was not done."""
    return "; ".join(filter(None, [result.error, f"not done: {result.not_done}" if result.not_done else ""]))


def summary(results: Sequence[Result]) -> str:
    """Return a Markdown table with one row per fault: its backends together."""
    lines = [
        "| fault | databases | brokers | runs | rows | lost | duplicated | partial | missing |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for number, group in groupby(_sorted(results), key=lambda result: result.fault):
        some = list(group)
        sums = [sum(getattr(r, name) for r in some) for name in ("runs", "rows", "lost", "duplicated")]
        sums += [sum(getattr(r, name) for r in some) for name in ("partial", "missing")]
        databases = ", ".join(dict.fromkeys(r.database for r in some))
        brokers = ", ".join(dict.fromkeys(r.broker for r in some))
        cells = [f"{number} {some[0].title}", databases, brokers, *map(str, sums)]
        failed = " **failed**" if any(r.is_bad for r in some) else ""
        partly = " **not all of it was done**" if any(r.not_done for r in some) else ""
        lines.append(f"| {' | '.join(cells)} |{failed}{partly}")
    return "\n".join(lines)


def left_out(numbers: Iterable[int]) -> list[str]:
    """Return a sentence for each fault that does not apply everywhere."""
    return [f"Fault {n} does not apply everywhere: {FAULTS[n].absent}." for n in sorted(numbers) if FAULTS[n].absent]


def write_json(path: Path, results: Sequence[Result], **facts: Any) -> None:
    """Write facts of the run and all results; whole, or not at all."""
    hidden = path.with_name(path.name + ".new")
    hidden.write_text(json.dumps({**facts, "results": [result.as_dict() for result in _sorted(results)]}, indent=1))
    hidden.replace(path)


def read_json(path: Path) -> list[Result]:
    """Return the results of a file; none, if there is no such file."""
    if not path.exists():
        return []
    return [Result(**values) for values in json.loads(path.read_text())["results"]]


def markdown(results: Sequence[Result], minutes: float, seed: int) -> str:
    """Return what goes into the documentation."""
    head = f"{len(results)} cases in {minutes:.0f} minutes, seed {seed}."
    return "\n\n".join([head, summary(results), LEGEND, table(results)]) + "\n"


def _sorted(results: Sequence[Result]) -> list[Result]:
    return sorted(results, key=lambda r: (r.fault, DATABASES.index(r.database), BROKERS.index(r.broker)))
