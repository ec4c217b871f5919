"""``easyimg build``, ``build_img_queue`` and ``worker``: make what is owed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from easyimg.build import Outcome
from easyimg.cli.session import Session, pass_session, stale_after_option
from easyimg.drain import Drained
from easyimg.logs import FORMATS
from easyimg.maintain import build_due, revive
from easyimg.reach import check_storages

F = TypeVar("F", bound=Callable[..., Any])


def _build_options(command: F) -> F:
    for option in reversed(
        (
            click.option(
                "--max-errors",
                type=click.IntRange(min=0),
                metavar="N",
                help="First queue variants again that failed at most N times.",
            ),
            stale_after_option(None),
            click.option(
                "--workers",
                type=click.IntRange(1, 64),
                default=1,
                show_default=True,
                metavar="N",
                help="Threads that build: libvips and Pillow let them use all processors.",
            ),
            click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after about N variants."),
        )
    ):
        command = option(command)
    return command


@click.command()
@_build_options
@pass_session
@click.pass_context
def build(
    ctx: click.Context,
    session: Session,
    max_errors: int | None,
    stale_after: float | None,
    workers: int,
    limit: int | None,
) -> None:
    """Build every variant that is due, with a progress bar."""
    started = time.perf_counter()
    app = session.app
    check_storages(app)
    revive(app, max_errors=max_errors, stale_after=stale_after)
    pending = app.metadata.counts(stale_after=0).pending
    shown = session.err.is_terminal and not session.quiet
    with progress_bar(session.err, "building", min(pending, limit or pending), shown=shown) as advance:
        total = build_due(
            app,
            workers=workers,
            limit=limit,
            progress=lambda outcome: advance(_settled(outcome)),
            stop=session.is_asked_to_stop,
        )
    session.end_if_asked()
    session.say(summary(total, time.perf_counter() - started))
    ctx.exit(1 if total.failed else 0)


@click.command("build_img_queue", short_help="Build every variant that is due, for cron.")
@_build_options
@pass_session
@click.pass_context
def build_img_queue(
    ctx: click.Context,
    session: Session,
    max_errors: int | None,
    stale_after: float | None,
    workers: int,
    limit: int | None,
) -> None:
    """Build every variant that is due: for cron; says nothing when there was nothing to do."""
    started = time.perf_counter()
    check_storages(session.app)
    total = build_due(
        session.app,
        max_errors=max_errors,
        stale_after=stale_after,
        workers=workers,
        limit=limit,
        stop=session.is_asked_to_stop,
    )
    session.end_if_asked()
    if total.sources:
        session.say(summary(total, time.perf_counter() - started))
    ctx.exit(1 if total.failed else 0)


@click.command()
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Default: one a processor that may be used, where there is memory for it.",
)
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, metavar="N", help="Per process.")
@click.option(
    "--metrics", metavar="[HOST:]PORT", help="Serve Prometheus metrics there; without a host, to this machine alone."
)
@click.option(
    "--log-format", type=click.Choice(FORMATS), default="plain", show_default=True, help="json: one object a line."
)
@pass_session
@click.pass_context
def worker(
    ctx: click.Context, session: Session, processes: int | None, threads: int, metrics: str | None, log_format: str
) -> None:
    """Work off the broker's doorbells until SIGTERM or Ctrl-C."""
    from easyimg.worker import run_worker

    session.hush(always=True)  # the worker logs by itself
    level = "DEBUG" if session.verbose else "ERROR" if session.quiet else "INFO"
    ctx.exit(run_worker(session.spec, processes, threads, log_level=level, log_format=log_format, metrics=metrics))


def summary(total: Drained, seconds: float) -> str:
    """Return the closing line of a build."""
    variants = "1 variant" if total.built == 1 else f"{total.built} variants"
    sources = "1 source" if total.sources == 1 else f"{total.sources} sources"
    text = f"Built {variants} of {sources} in {seconds:.1f} s; {total.failed} failed"
    return f"{text}; {total.retried} will be tried again" if total.retried else text


@contextmanager
def progress_bar(console: Console, label: str, total: int, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """Show a progress bar; gives the function that moves it on by some steps."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        task = progress.add_task(label, total=total)

        def advance(steps: int) -> None:
            progress.advance(task, steps)

        yield advance


def _settled(outcome: Outcome) -> int:
    return len(outcome.claim.variants)
