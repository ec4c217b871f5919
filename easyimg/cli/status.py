"""``easyimg status``: what is built, what is owed, what failed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from easyimg.cli.pace import Pace
from easyimg.cli.session import Session, chosen_format, format_option, pass_session, stale_after_option
from easyimg.errors import REQUEUE, EasyImgError
from easyimg.maintain import status_report, tripped


@click.command()
@format_option("pretty", "plain", "json")
@stale_after_option(600.0)
@click.option("--fail-on-stale", is_flag=True, help="Exit 1 when a build is stale.")
@click.option(
    "--fail-on-errors", type=click.IntRange(min=0), metavar="N", help="Exit 1 on more than N failed variants."
)
@click.option(
    "--watch",
    type=click.FloatRange(min=0.05),
    is_flag=False,
    flag_value=2.0,
    metavar="[SECONDS]",
    help="Show it again every few seconds (2), until Ctrl-C.",
)
@pass_session
@click.pass_context
def status(
    ctx: click.Context,
    session: Session,
    form: str | None,
    stale_after: float,
    fail_on_stale: bool,
    fail_on_errors: int | None,
    watch: float | None,
) -> None:
    """Show what is built, what is owed and what failed."""
    form = chosen_format(session, form)
    if watch is not None:
        _watch(session, form, stale_after, watch)
        return
    report = _report(session, stale_after)
    _show(session, form, report)
    if tripped(report, fail_on_stale=fail_on_stale, fail_on_errors=fail_on_errors):
        ctx.exit(1)


def plain(report: dict[str, Any]) -> str:
    """Return a report as lines of text."""
    counts, stale = report["counts"], report["stale"]
    lines = [
        f"Sources: {counts['sources']}",
        f"Built variants: {counts['generated']} ({report['avg_per_source']:.2f} per source)",
        f"Pending: {counts['pending']} (queued {counts['queued']}, building {counts['building']})",
        f"Stale: {stale['count']} (over {stale['threshold_seconds']:g} s)",
        f"Oldest owed: {report['oldest_owed_seconds']:.0f} s",
        f"Source errors: {counts['source_errors']}",
        f"Build errors: {counts['build_errors']}",
    ]
    lines += [f"  {e['kind']}: {e['count']}, e.g. {e['example']}{_advice(e)}" for e in report["errors"]]
    lines += [f"  failed {e['error_count']} times: {e['count']}" for e in report["error_dist"]]
    lines += [f"Suggestion: {text}" for text in report["suggestions"]]
    lines += [f"Rate: {rate_text(report['rate'])}"] if report.get("rate") else []
    return "\n".join(lines)


def rate_text(rate: dict[str, Any]) -> str:
    """Return a rate in words: what was built a second, and about how long the backlog takes."""
    number = f"{rate['built_per_second']:.1f}"
    text = f"{number} built/s" if rate["is_exact"] else f"backlog shrinks by about {number}/s"
    if rate["done_in_seconds"]:
        text += f", done in about {_duration(rate['done_in_seconds'])}"
    return text


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _advice(error: dict[str, Any]) -> str:
    """Return what helps where no command does."""
    return "" if error["remedy"] == REQUEUE else f" ({error['remedy']})"


def pretty(report: dict[str, Any]) -> RenderableType:
    """Return a report as a table with bars, errors and suggestions."""
    counts = report["counts"]
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    total = max(1, counts["generated"] + counts["pending"] + counts["source_errors"] + counts["build_errors"])
    for label, key, colour in (
        ("built", "generated", "green"),
        ("queued", "queued", "cyan"),
        ("building", "building", "blue"),
        ("source errors", "source_errors", "red"),
        ("build errors", "build_errors", "red"),
    ):
        bar = "█" * max(round(24 * counts[key] / total), 1 if counts[key] else 0)
        table.add_row(label, Text(f"{counts[key]:,}", justify="right"), Text(bar, style=colour))
    return Group(_headline(report), table, *_notes(report))


def _headline(report: dict[str, Any]) -> Text:
    text = Text()
    text.append(f"{report['counts']['sources']:,} sources", style="bold")
    text.append(f", {report['counts']['generated']:,} variants ({report['avg_per_source']:.2f} each)")
    if report["counts"]["pending"]:
        text.append(f", {report['counts']['pending']:,} pending, oldest for {report['oldest_owed_seconds']:.0f} s")
    return text


def _notes(report: dict[str, Any]) -> list[Text]:
    notes = []
    if report["stale"]["count"]:
        seconds = report["stale"]["threshold_seconds"]
        notes.append(Text(f"{report['stale']['count']:,} builds stale for over {seconds:g} s", style="yellow"))
    notes += [Text(f"{e['count']:,} x {e['kind']}: {e['example']}{_advice(e)}", style="red") for e in report["errors"]]
    notes += [Text.assemble("try: ", (command, "bold")) for command in report["suggestions"]]
    notes += [Text(rate_text(report["rate"]), style="green")] if report.get("rate") else []
    return notes


def _report(session: Session, stale_after: float, pace: Pace | None = None) -> dict[str, Any]:
    stale_after = int(stale_after) if stale_after == int(stale_after) else stale_after
    counts = session.app.metadata.counts(stale_after=stale_after)
    report = status_report(counts, stale_after=stale_after, command=session.program)
    return report if pace is None else {**report, "rate": pace.look(counts, time.monotonic())}


def _show(session: Session, form: str, report: dict[str, Any]) -> None:
    if form == "json":
        click.echo(json.dumps(report))
    elif form == "plain":
        click.echo(plain(report))
    else:
        session.out.print(pretty(report))


def _watch(session: Session, form: str, stale_after: float, seconds: float) -> None:
    """Show the status until Ctrl-C, which is the normal end here."""
    looks = _looks(session, stale_after, seconds)
    try:
        if form != "pretty":
            for look in looks:
                if isinstance(look, str):
                    click.echo(f"Error: {look}", err=True)
                else:
                    _show(session, form, look)
        first = next(looks)
        assert not isinstance(first, str)
        latest = pretty(first)
        with Live(latest, console=session.out, auto_refresh=False) as live:
            for look in looks:
                if isinstance(look, str):
                    live.update(Group(Text(f"Error: {look}", style="red"), latest), refresh=True)
                else:
                    latest = pretty(look)
                    live.update(latest, refresh=True)
    except KeyboardInterrupt:
        return


def _looks(session: Session, stale_after: float, seconds: float) -> Iterator[dict[str, Any] | str]:
    """Yield a report every few seconds, for ever; once there was one, an error's words where the rows do not answer."""
    pace = Pace()
    yield _report(session, stale_after, pace)
    while True:
        time.sleep(seconds)
        try:
            look: dict[str, Any] | str = _report(session, stale_after, pace)
        except EasyImgError as exc:  # a database that is started again, or upgraded
            look = str(exc)
        yield look
