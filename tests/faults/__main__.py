"""The command: ``python -m tests.faults``."""

from __future__ import annotations

import argparse
import contextlib
import logging
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.faults import cases, processes, report
from tests.faults.harness import BROKERS, CASE_SECONDS, DATABASES, FAULTS, Result, run
from tests.faults.lanes import Plan, run_lanes
from tests.faults.servers import Servers


def main() -> int:
    cases.load()
    chosen = _parser().parse_args()
    processes.stop_on_signals()
    seed = secrets.randbelow(10**6) if chosen.seed is None else chosen.seed
    plans = [plan for plan in (_plan(database, chosen, seed) for database in chosen.db) if plan.pairs]
    if chosen.lane:
        (plan,) = plans
        return _lane(plan, chosen.json)
    print(f"seed {seed}: {sum(len(plan.pairs) for plan in plans)} cases", flush=True)
    started = time.monotonic()
    results = run_lanes(plans, [_arguments(plan, chosen) for plan in plans], chosen.jobs)
    minutes = (time.monotonic() - started) / 60
    print(f"\n{report.table(results)}\n\n{report.summary(results)}\n\n{len(results)} cases in {minutes:.1f} min")
    if chosen.json:
        report.write_json(chosen.json, results, seed=seed, minutes=round(minutes, 1), jobs=chosen.jobs)
    if chosen.markdown:
        chosen.markdown.write_text(report.markdown(results, minutes, seed))
    bad = [result for result in results if result.is_bad]
    print(f"seed {seed}: {len(bad)} of {len(results)} cases are bad", flush=True)
    return int(bool(bad) or not results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Break things and count what is lost.")
    parser.add_argument("--fault", type=int, nargs="+", choices=sorted(FAULTS), default=sorted(FAULTS), metavar="N")
    parser.add_argument("--db", nargs="+", choices=DATABASES, default=DATABASES)
    parser.add_argument("--broker", nargs="+", choices=BROKERS, default=BROKERS)
    parser.add_argument("--runs", type=int, help="random moments or repetitions; default: as the fault needs")
    parser.add_argument("--seed", type=int, help="of the random moments; printed when it is not given")
    parser.add_argument("--jobs", type=int, default=1, help="databases at a time, each in a process of its own")
    parser.add_argument("--json", type=Path, help="file for all results")
    parser.add_argument("--markdown", type=Path, help="file for the tables, as the documentation has them")
    parser.add_argument("--lane", action="store_true", help=argparse.SUPPRESS)
    return parser


def _plan(database: str, chosen: Any, seed: int) -> Plan:
    pairs = [
        (number, broker)
        for number in chosen.fault
        if database in FAULTS[number].databases
        for broker in chosen.broker
        if broker in FAULTS[number].brokers
    ]
    return Plan(database, tuple(pairs), chosen.runs, seed)


def _arguments(plan: Plan, chosen: Any) -> list[str]:
    """Return the arguments of a plan's lane."""
    some = ["--db", plan.database, "--broker", *chosen.broker, "--seed", str(plan.seed)]
    some += ["--fault", *map(str, chosen.fault)]
    return [*some, "--runs", str(chosen.runs)] if chosen.runs else some


def _lane(plan: Plan, file: Path) -> int:
    """Do a plan in this process; whoever reads the file finds what was done so far."""
    processes.end_with_parent()
    processes.adopt_orphans()
    logging.getLogger().addHandler(logging.NullHandler())  # of each outage, libraries would tell much
    signal.signal(signal.SIGALRM, _too_long)
    results: list[Result] = []
    with contextlib.ExitStack() as stack:
        stack.callback(processes.end_all)
        servers = stack.enter_context(Servers())
        for number, broker in plan.pairs:
            signal.alarm(round(CASE_SECONDS))
            result = run(
                FAULTS[number], plan.database, broker, runs=plan.runs_of(number), seed=plan.seed, servers=servers
            )
            signal.alarm(0)
            results.append(result)
            report.write_json(file, results)
            print(report.line(result), flush=True)
            for note in result.notes if result.is_bad else [n for n in result.notes if "\n" not in n]:
                print(f"       {note}", flush=True)
    return int(any(result.is_bad for result in results))


def _too_long(*_: object) -> None:
    raise TimeoutError(f"this case took more than {CASE_SECONDS:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
