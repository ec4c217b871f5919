"""``easyimg clean`` and ``check``: files that no row names, rows whose files or originals are gone."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import click
from rich.table import Table

from easyimg.clean import DAY, Cleaned, clean
from easyimg.cli.building import progress_bar
from easyimg.cli.session import Session, chosen_format, format_option, pass_session
from easyimg.verify import Finding, Verified, verify, verify_names

_SHOWN = 1000
"""Findings that are listed; the totals count them all."""

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY, "w": 7 * DAY}

Lines = list[tuple[str, str]]


def _seconds(ctx: click.Context, param: click.Parameter, value: str) -> float:
    """Return the seconds of a time such as ``90``, ``90s``, ``15m``, ``2h``, ``1d`` or ``2w``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", value, re.ASCII)
    if found is None:
        raise click.BadParameter(f"{value!r} is no time; write seconds, or 15m, 2h, 1d, 2w", ctx, param)
    return float(found[1]) * _UNITS[found[2]]


@click.command("clean")
@click.option("--dry-run", is_flag=True, help="Remove nothing; say what would go.")
@click.option(
    "--older-than",
    callback=_seconds,
    default="1d",
    show_default=True,
    metavar="TIME",
    help="Never touch younger files: seconds, or 15m, 2h, 1d.",
)
@click.option("--sources", is_flag=True, help="Also remove the rows of sources whose original is gone.")
@click.option("--force", is_flag=True, help="Also when nothing in the storage matches the rows.")
@format_option("pretty", "plain", "json")
@pass_session
@click.pass_context
def clean_command(
    ctx: click.Context,
    session: Session,
    dry_run: bool,
    older_than: float,
    sources: bool,
    force: bool,
    form: str | None,
) -> None:
    """Remove files of the variants folder that no row names."""
    app = session.app
    with _progress(session, "cleaning", sources=sources) as advance:
        report = clean(app, older_than=older_than, sources=sources, dry_run=dry_run, force=force, progress=advance)
    values = {**dataclasses.asdict(report), "dry_run": dry_run, "older_than_seconds": older_than}
    _show(session, form, values, _cleaned_lines(report, dry_run=dry_run, sources=sources))
    ctx.exit(1 if report.failed else 0)


@click.command(
    "check",
    short_help="Compare the rows with files and originals.",
    epilog="Example, from a web server's log: easyimg check --fix /media/img/0a1b...webp",
)
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--fix", is_flag=True, help="Queue what is missing or changed again.")
@click.option("--content", is_flag=True, help="Also read every original, and find those that changed.")
@format_option("pretty", "plain", "json")
@pass_session
@click.pass_context
def check_command(
    ctx: click.Context, session: Session, names: tuple[str, ...], fix: bool, content: bool, form: str | None
) -> None:
    """Compare the rows with files and originals, or only the variants whose files are named."""
    if names and content:
        raise click.UsageError("--content reads all originals: give no names with it")
    app, findings = session.app, _First(_SHOWN)
    if names:
        report = verify_names(app, names, fix=fix, found=findings.add)
    else:
        with _progress(session, "checking", sources=True) as advance:
            report = verify(app, fix=fix, content=content, found=findings.add, progress=advance)
    values = {**dataclasses.asdict(report), "found": report.found, "findings": [_values(f) for f in findings.items]}
    lines = [(f.kind, _told(f)) for f in findings.items] + _verified_lines(
        report, named=bool(names), command=session.program
    )
    _show(session, form, values, lines)
    ctx.exit(1 if report.found > report.fixed else 0)


class _First:
    """The first so many findings."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.items: list[Finding] = []

    def add(self, finding: Finding) -> None:
        if len(self.items) < self._number:
            self.items.append(finding)


def _progress(session: Session, label: str, *, sources: bool) -> Any:
    """Return a progress bar over about as many steps as there are rows."""
    shown = session.err.is_terminal and not session.quiet
    counts = session.app.metadata.counts(stale_after=0)
    total = counts.generated + (counts.sources if sources else 0)
    return progress_bar(session.err, label, total, shown=shown)


def _show(session: Session, form: str | None, values: dict[str, Any], lines: Lines) -> None:
    form = chosen_format(session, form)
    if form == "json":
        click.echo(json.dumps(values))
    elif form == "plain":
        session.say("\n".join(f"{label}: {text}" for label, text in lines))
    elif not session.quiet:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for label, text in lines:
            table.add_row(label, text)
        session.out.print(table)


def _cleaned_lines(report: Cleaned, *, dry_run: bool, sources: bool) -> Lines:
    gone = "Would be removed" if dry_run else "Removed"
    lines = [(gone, f"{report.orphans:,} orphan files, {report.temporaries:,} temporary files, {report.bytes:,} bytes")]
    if sources:
        lines.append((gone, f"rows of {report.sources:,} sources whose original is gone"))
    kept = f"{report.kept:,} files of rows, {report.young:,} too young, {report.foreign:,} of other names"
    lines.append(("Kept", kept))
    if report.failed:
        lines.append(("Failed", f"{report.failed:,} files cannot be removed; see the log"))
    return lines


def _verified_lines(report: Verified, *, named: bool, command: str) -> Lines:
    kinds = ("missing", "resized", "vanished", "changed", "unreadable")
    numbers = ", ".join(f"{getattr(report, kind):,} {kind}" for kind in kinds if getattr(report, kind))
    looked = f"{report.variants:,} built variants" + ("" if named else f" of {report.sources:,} sources")
    lines = [("Checked", looked)]
    if report.unknown:
        lines.append(("Unknown", f"{report.unknown:,} names that no built variant has"))
    lines.append(("Found", numbers or "nothing wrong"))
    if report.fixed:
        lines.append(("Fixed", f"{report.fixed:,}, by queueing again"))
    return lines + [("Try", suggestion) for suggestion in _suggestions(report, command)]


def _suggestions(report: Verified, command: str) -> list[str]:
    found = []
    if report.found - report.vanished - report.unreadable > report.fixed:
        found.append(f"{command} check --fix")
    if report.vanished:
        found.append(f"{command} clean --sources --dry-run")
    return found


def _told(finding: Finding) -> str:
    name = f"{finding.file_name} of {finding.source}" if finding.file_name else str(finding.source)
    return f"{name}: {finding.detail}{'; queued again' if finding.fixed else ''}"


def _values(finding: Finding) -> dict[str, Any]:
    return {**finding._asdict(), "source": dataclasses.asdict(finding.source)}
