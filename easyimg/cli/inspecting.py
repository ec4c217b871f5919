"""``easyimg inspect`` and ``config``: everything about one source, and about the settings."""

from __future__ import annotations

import dataclasses
import json
import platform
import re
from collections.abc import Mapping
from importlib import metadata as packages
from typing import Any

import click
from rich.table import Table

from easyimg.cli.session import Session, chosen_format, format_option, pass_session
from easyimg.ports import App
from easyimg.source import Source
from easyimg.variant import SourceDetail, VariantDetail

_SECRET = re.compile(r"secret|password|token|key|credential", re.IGNORECASE)
_USER_INFO = re.compile(r"(?<=://)[^/@\s]+@")


@click.command()
@click.argument("source", metavar="[ALIAS:]NAME")
@click.option("--storage", metavar="ALIAS", help="Where it lies.")
@format_option("pretty", "plain", "json")
@pass_session
@click.pass_context
def inspect(ctx: click.Context, session: Session, source: str, storage: str | None, form: str | None) -> None:
    """Show what the rows say about one source and its variants."""
    app = session.app
    address = address_of(app, source, storage)
    detail = app.metadata.inspect(address)
    if detail is None:
        click.echo(f"Error: nothing is known of {address}: no page has shown it and no save has queued it", err=True)
        ctx.exit(1)
    form = chosen_format(session, form)
    if form == "json":
        click.echo(json.dumps(as_json(detail)))
    elif form == "plain":
        click.echo(plain(detail))
    else:
        session.out.print(_headline(detail), style="bold")
        session.out.print(_table(detail))


@click.command(short_help="Show the settings in force and the versions in use.")
@pass_session
def config(session: Session) -> None:
    """Show the settings in force, without secrets, and the versions in use."""
    app = session.unchecked
    for field in dataclasses.fields(app.settings):
        click.echo(f"{field.name} = {_without_secrets(getattr(app.settings, field.name))!r}")
    click.echo(f"engine in use: {app.engine.name}")
    click.echo(f"python {platform.python_version()}")
    for name in ("easyimg", "pyvips", "pyvips-binary", "Pillow", "SQLAlchemy", "dramatiq", "fsspec"):
        click.echo(f"{name} {_version(name)}")


def address_of(app: App, name: str, storage: str | None) -> Source:
    """Return the Source meant by ``name`` or, as messages write it, ``alias:name``."""
    alias, colon, rest = name.partition(":")
    if storage is None and colon and alias in app.settings.storages:
        return Source(alias, rest)
    return Source(storage or "default", name)


def as_json(detail: SourceDetail) -> dict[str, Any]:
    """Return a source's rows as plain values."""
    values = dataclasses.asdict(detail)
    values["variants"] = [{**v._asdict(), "status": v.status.name} for v in _sorted(detail)]
    return values


def plain(detail: SourceDetail) -> str:
    """Return a source's rows as lines of text, one per variant."""
    return "\n".join([_headline(detail), *(" ".join(filter(None, _cells(v))) for v in _sorted(detail))])


def _sorted(detail: SourceDetail) -> list[VariantDetail]:
    return sorted(detail.variants, key=lambda v: (v.format, v.width, v.spec))


def _headline(detail: SourceDetail) -> str:
    info = detail.info
    facts = f"{info.width} x {info.height} {info.format}" if info else "never read"
    if info and info.frames > 1:
        facts += f", {info.frames} frames"
    extras = [f"generation {detail.generation}"]
    extras += [f"version {detail.version}"] if detail.version else []
    extras += [f"focus {detail.focus.x:g}, {detail.focus.y:g}"] if detail.focus else []
    extras += [f"{detail.crashes} crashes"] if detail.crashes else []
    extras += [f"error: {detail.error}"] if detail.error else []
    return f"{detail.source}: {facts}; {'; '.join(extras)}"


def _cells(variant: VariantDetail) -> tuple[str, ...]:
    size = f"{variant.width}x{variant.height}" if variant.width else ""
    weight = f"{variant.bytes:,} B" if variant.bytes else ""
    error = f"{variant.error_kind}: {variant.error}" if variant.error_kind else ""
    return (variant.status.name, variant.spec, variant.format, size, weight, variant.file_name, error)


def _table(detail: SourceDetail) -> Table:
    table = Table(*("status", "spec", "format", "pixels", "weight", "file", "error"), box=None, header_style="dim")
    for variant in _sorted(detail):
        table.add_row(*_cells(variant))
    return table


def _without_secrets(value: Any) -> Any:
    """Return a setting as it may be shown: no user information in URLs, no values of secret options."""
    if isinstance(value, str):
        return _USER_INFO.sub("***@", value)
    if isinstance(value, Mapping):
        return {k: "***" if _SECRET.search(str(k)) else _without_secrets(v) for k, v in value.items()}
    return value


def _version(package: str) -> str:
    try:
        return packages.version(package)
    except packages.PackageNotFoundError:
        return "not installed"
