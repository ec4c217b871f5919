"""``easyimg adopt``: take over what another library has built."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import click
from rich.table import Table

from easyimg import easy_images
from easyimg.adopt import REASONS, Adopted, adopt
from easyimg.cli.building import progress_bar
from easyimg.cli.session import Session, chosen_format, format_option, pass_session
from easyimg.errors import did_you_mean, shown
from easyimg.foreign import Ask, Old, site_database
from easyimg.ports import App

_LIBRARIES: Final[dict[str, Callable[[Ask], Old]]] = {"django-easy-images": easy_images.read}
_STORAGES: Final = {"django-easy-images": "easy_images"}
"""The alias under which a library's files lie where the site has one; else ``default``."""


@click.command(
    "adopt",
    short_help="Take over the files that another library built.",
    epilog="Example: easyimg adopt django-easy-images --dry-run",
)
@click.argument("library", type=click.Choice(sorted(_LIBRARIES)))
@click.option(
    "--database",
    metavar="URL|ALIAS",
    help="Where its table is: a URL, in Django also an alias of DATABASES. Default: the site's own, or easyimg's.",
)
@click.option("--storage", metavar="ALIAS", help="Where its files are. Default: easy_images if there is one.")
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would be taken over and what queued.")
@format_option("pretty", "plain", "json")
@pass_session
@click.pass_context
def adopt_command(
    ctx: click.Context,
    session: Session,
    library: str,
    database: str | None,
    storage: str | None,
    dry_run: bool,
    form: str | None,
) -> None:
    """Take over the files that another library built, and queue what easyimg would build otherwise."""
    app = session.app
    place = _storage(app, library, storage)
    old = _LIBRARIES[library](_database(app, database))
    bar = progress_bar(session.err, "adopting", old.total, shown=session.err.is_terminal and not session.quiet)
    with bar as advance:
        report = adopt(app, old.groups, storage=place, dry_run=dry_run, progress=advance)
    _show(session, form, report, dry_run)
    ctx.exit(1 if report.failed else 0)


def _storage(app: App, library: str, alias: str | None) -> str:
    known = app.settings.storages
    if alias is None:
        return _STORAGES[library] if _STORAGES[library] in known else "default"
    if alias not in known:
        raise click.UsageError(f"--storage: no storage {shown(alias)}{did_you_mean(alias, known)}")
    return alias


def _database(app: App, named: str | None) -> Ask:
    """Return what asks the database of the other library's table."""
    if named is None or "://" not in named:
        ask = site_database(named)
        if ask is not None:
            return ask
    url = named or app.settings.metadata
    if not isinstance(url, str) or "://" not in url:
        raise click.UsageError(f"--database: {'say where the table is' if named is None else shown(named)}; give a URL")
    return _by_sqlalchemy(url)


def _by_sqlalchemy(url: str) -> Ask:
    from sqlalchemy import text

    from easyimg.metadata.sqlalchemy import SqlAlchemyMetadata

    engine = SqlAlchemyMetadata(url).engine  # knows the drivers; nothing of ours is made before it is asked

    def ask(statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        named = {f"value{number}": value for number, value in enumerate(values)}
        for name in named:
            statement = statement.replace("%s", f":{name}", 1)
        with engine.connect() as conn:
            return [tuple(row) for row in conn.execute(text(statement), named)]

    return ask


def _show(session: Session, form: str | None, report: Adopted, dry_run: bool) -> None:
    form = chosen_format(session, form)
    lines = _lines(report, dry_run, session.program)
    if form == "json":
        click.echo(json.dumps({**dataclasses.asdict(report), "dry_run": dry_run}))
    elif form == "plain":
        session.say("\n".join(f"{label}: {text}" for label, text in lines))
    elif not session.quiet:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for label, text in lines:
            table.add_row(label, text)
        session.out.print(table)


def _lines(report: Adopted, dry_run: bool, program: str) -> list[tuple[str, str]]:
    would = "Would be " if dry_run else ""
    lines = [
        ("Looked at", f"{report.rows:,} rows"),
        (f"{would}adopted".capitalize(), f"{report.adopted:,} variants, {report.bytes:,} bytes"),
        (f"{would}queued".capitalize(), f"{report.queued:,} variants"),
        ("Known already", f"{report.known:,} variants"),
    ]
    if report.skipped:
        lines.append(("Skipped", f"{report.skipped:,} of which nothing can be built"))
    if report.failed:
        lines.append(("Failed", f"{report.failed:,}; run it again"))
    by_number = sorted(report.reasons.items(), key=lambda item: -item[1])
    lines += [("Not adopted", f"{number:,} ({REASONS[reason]})") for reason, number in by_number]
    if report.queued and not dry_run:
        lines.append(("Try", f"{program} build"))
    return lines
