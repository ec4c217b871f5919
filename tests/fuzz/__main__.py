"""The command: ``python -m tests.fuzz``."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from easyimg.engines.limited import LimitedEngine
from easyimg.source import Limits
from tests.fuzz.campaign import Campaign, Counts, pictures, read_files
from tests.fuzz.trial import SETS


def main(arguments: list[str] | None = None) -> int:
    """Run and print; return 1 if anything happened that is neither a picture nor a refusal, 2 if there is no file."""
    options = _parser().parse_args(arguments)
    limits = Limits(max_pixels=options.max_pixels, max_progressive_pixels=options.max_pixels // 2)
    files = read_files(options.folder, limits.max_bytes)
    if not files:
        print(f"no files in {options.folder}", file=sys.stderr)
        return 2
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    total = len(files) * (len(SETS) + options.mutate)
    print(f"{len(files)} files, {total:,} pictures, engine {options.engine}, seed {seed}", flush=True)
    engine = LimitedEngine(options.engine, seconds=options.call_seconds, memory=options.memory << 20)
    campaign = Campaign(engine, limits, options.call_seconds, options.keep)
    started = time.monotonic()
    try:
        with _bar() as bar:
            counts = campaign.run(
                pictures(files, options.mutate, seed), seconds=options.seconds, progress=_shown(bar, total)
            )
    finally:
        engine.close()
    print(text(counts, total, time.monotonic() - started, options.reasons))
    if counts.strange:
        print(f"kept in {options.keep}; again: python -m tests.fuzz {options.keep} --engine {options.engine}")
    if options.json:
        options.json.write_text(json.dumps({"engine": options.engine, "seed": seed, **counts.as_dict()}, indent=1))
    return int(bool(counts.strange))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Run the engine over any pictures.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="every file in it, and in its folders")
    parser.add_argument("--engine", choices=("vips", "pillow"), default="vips")
    parser.add_argument("--mutate", type=int, default=0, metavar="N", help="broken copies of each file; default 0")
    parser.add_argument("--seed", type=int, help="of the damage; printed when it is not given")
    parser.add_argument("--seconds", type=float, metavar="T", help="stop after that long")
    parser.add_argument("--call-seconds", type=float, default=30.0, help="limit of one call; default 30, as for sites")
    parser.add_argument("--memory", type=int, default=2048, metavar="MIB", help="of the child; default 2048")
    parser.add_argument("--max-pixels", type=int, default=50_000_000, help="half of it for a progressive JPEG")
    parser.add_argument("--reasons", type=int, default=20, metavar="N", help="how many messages to print; default 20")
    parser.add_argument("--keep", type=Path, default=Path(".artifacts/fuzz"), metavar="DIR", help="for what is strange")
    parser.add_argument("--json", type=Path, help="file for all counts")
    return parser


def _bar() -> Progress:
    """Return a progress bar on standard error; nothing where that is no terminal."""
    console = Console(stderr=True)
    columns = (BarColumn(), TextColumn("{task.completed:,}/{task.total:,}  {task.description}"), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _shown(bar: Progress, total: int, every: float = 10.0) -> Callable[[Counts], None]:
    """Return what moves the bar, or without a terminal prints a line now and then."""
    task: TaskID = bar.add_task("", total=total)
    told = time.monotonic()

    def show(counts: Counts) -> None:
        nonlocal told
        now = f"ok {counts.ok:,}, refused {counts.refused.total():,}, else {len(counts.strange):,}"
        bar.update(task, completed=counts.tried, description=now)
        if bar.disable and time.monotonic() - told > every:
            told = time.monotonic()
            print(f"{counts.tried:,} of {total:,}: {now}", file=sys.stderr, flush=True)

    return show


def text(counts: Counts, total: int, seconds: float, reasons: int) -> str:
    """Return the counts for people."""
    found: dict[str, Any] = counts.as_dict()
    lines = [f"tried    {counts.tried:>8,} of {total:,} in {seconds:.1f} s; slowest {counts.slowest[0]:.2f} s"]
    lines += [f"ok       {counts.ok:>8,}", f"refused  {counts.refused.total():>8,}"]
    lines += [f"  {kind:<20} {count:>8,}" for kind, count in found["refused"].items()]
    lines += [f"    {row['count']:>6,}  {row['kind']}: {row['message']}" for row in found["reasons"][:reasons]]
    lines += [f"else     {len(counts.strange):>8,}"]
    lines += [f"  {name}: {what}" for name, what in counts.strange.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
