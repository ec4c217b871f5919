"""The command: ``python -m tests.faults``."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from tests.faults.cases import brokers, disks, kills, servers_down, sources, strange  # noqa: F401  # register faults
from tests.faults.harness import BROKERS, DATABASES, FAULTS, Result, run
from tests.faults.servers import Servers

COLUMNS = (
    "fault",
    "database",
    "broker",
    "runs",
    "rows",
    "failed",
    "lost",
    "duplicated",
    "partial",
    "missing",
    "seconds",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Break things and count what is lost.")
    parser.add_argument("--fault", type=int, nargs="+", choices=sorted(FAULTS), default=sorted(FAULTS), metavar="N")
    parser.add_argument("--db", nargs="+", choices=DATABASES, default=DATABASES)
    parser.add_argument("--broker", nargs="+", choices=BROKERS, default=BROKERS)
    parser.add_argument("--runs", type=int, help="random moments or repetitions; default: as the fault needs")
    parser.add_argument("--seed", type=int, help="of the random moments; printed when it is not given")
    parser.add_argument("--json", type=Path)
    chosen: Any = parser.parse_args()
    seed = secrets.randbelow(10**6) if chosen.seed is None else chosen.seed
    print(f"seed {seed}", flush=True)
    started, results = time.monotonic(), []
    with Servers() as servers:
        for number in chosen.fault:
            results += _run_fault(number, chosen, seed, servers)
    print(f"\n{table(results)}\n{len(results)} cases in {(time.monotonic() - started) / 60:.1f} min, seed {seed}")
    if chosen.json:
        chosen.json.write_text(json.dumps([result.as_dict() for result in results], indent=1))
    return int(any(result.is_bad for result in results))


def _run_fault(number: int, chosen: Any, seed: int, servers: Servers) -> list[Result]:
    fault, results = FAULTS[number], []
    for database in [name for name in fault.databases if name in chosen.db]:
        for broker in [name for name in fault.brokers if name in chosen.broker]:
            result = run(fault, database, broker, runs=chosen.runs or fault.runs, seed=seed, servers=servers)
            results.append(result)
            print(f"{'BAD ' if result.is_bad else 'ok  '} {number}: {fault.title}: {line(result)}", flush=True)
            for note in result.notes if result.is_bad else [n for n in result.notes if "\n" not in n]:
                print(f"       {note}", flush=True)
    return results


def line(result: Result) -> str:
    counts = f"lost={result.lost} duplicated={result.duplicated} partial={result.partial} missing={result.missing}"
    return f"{result.database}+{result.broker} runs={result.runs} rows={result.rows} {counts} in {result.seconds:g} s"


def table(results: list[Result]) -> str:
    """Return the results as a Markdown table."""
    lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS)]
    for result in results:
        cells = {**result.as_dict(), "fault": f"{result.fault} {result.title}"}
        lines.append(
            " | ".join(str(cells[column]) for column in COLUMNS) + (" | " + result.error if result.error else "")
        )
    return "\n".join(f"| {line} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
