"""``easyimg requeue`` and ``queue``: order variants again, or of pictures that are stored already."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import click

from easyimg.cli.building import progress_bar
from easyimg.cli.inspecting import address_of
from easyimg.cli.session import Found, Session, pass_session, stale_after_option
from easyimg.errors import SpecError, did_you_mean, error_kinds, shown
from easyimg.existing import find_pictures, queue_pictures
from easyimg.img import Img, preset
from easyimg.maintain import set_focus, sweep
from easyimg.models import models_of
from easyimg.ports import App
from easyimg.source import Source

_OPTION = re.compile(r"([A-Za-z_]+)=(.*)", re.DOTALL)


@click.command()
@click.option(
    "--max-errors", type=click.IntRange(min=0), metavar="N", help="Only variants that failed at most N times."
)
@click.option("--include-stale", is_flag=True, help="Also builds that ended without a verdict.")
@stale_after_option(600.0)
@click.option(
    "--kind", "kinds", multiple=True, metavar="KIND", help="Only these errors (SourceUnreadable); repeatable."
)
@pass_session
def requeue(
    session: Session, max_errors: int | None, include_stale: bool, stale_after: float, kinds: tuple[str, ...]
) -> None:
    """Queue failed variants again."""
    app = session.app
    _check_kinds(app, kinds)
    count = app.metadata.requeue(
        kinds=kinds or None, max_errors=max_errors, include_stale=include_stale, stale_after=stale_after
    )
    if count:
        sweep(app, overdue=0.0)  # through a broker, the workers know at once
    session.say(f"Requeued {count} variants")


def _check_kinds(app: App, kinds: Iterable[str]) -> None:
    """Refuse a kind that is neither one of ours nor in any row: it is a slip, and nothing would be queued for it."""
    ours = set(error_kinds())
    if ours.issuperset(kinds):
        return
    known = ours.union(kind for kind, _, _ in app.metadata.counts(stale_after=0).error_kinds)
    for kind in kinds:
        if kind not in known:
            raise click.UsageError(f"--kind: no error is a {shown(kind)}{did_you_mean(kind, known)}")


@click.command(
    short_help="Queue pictures that are stored already.",
    epilog="Example: easyimg queue photos/ width=300 ratio=4/3 format=avif",
)
@click.argument("what", nargs=-1, required=True, metavar="PREFIX|NAME|MODEL... [OPTION=VALUE...]")
@click.option("--preset", "preset_name", metavar="NAME", help="The Img of the settings to queue for.")
@click.option("--storage", default="default", show_default=True, metavar="ALIAS", help="Where the pictures lie.")
@pass_session
def queue(session: Session, what: tuple[str, ...], preset_name: str | None, storage: str) -> None:
    """Queue pictures that are stored already: those named, those below a folder, those of a model's rows."""
    names, options = split_options(what)
    app = session.app
    if not names:
        raise click.UsageError("say which pictures: a folder ('photos/', '/' for all), names, or in Django a model")
    if preset_name is None and not options:
        raise click.UsageError("say what to queue: --preset NAME, or options such as width=300")
    img = preset(preset_name, app, **options) if preset_name else Img(app=app, **options)
    models = {name: found for name in names if (found := session.find_model(name)) is not None}
    names = [name for name in names if name not in models]
    sources = find_pictures(app, ["" if name == "/" else name for name in names], storage)
    if names and not sources:
        raise click.ClickException(f"no pictures found in storage {storage!r}: {', '.join(names)}")
    new, looked_at = _queued(session, img, sources, list(models.values()))
    session.say(
        f"Queued {new} of {looked_at} pictures; the others had their rows already"
        if new < looked_at
        else f"Queued {new} picture{'' if new == 1 else 's'}"
    )


def _queued(session: Session, img: Img, sources: Sequence[Source], models: Sequence[Found]) -> tuple[int, int]:
    """Queue pictures of storages and of models' rows; return how many got something new, and how many there are."""
    total = len(sources) + sum(models_of(model).stored(model, fields=fields)[0] for model, fields in models)
    looked_at = 0
    with progress_bar(session.err, "queueing", total, shown=session.err.is_terminal and not session.quiet) as advance:

        def progress(steps: int) -> None:
            nonlocal looked_at
            looked_at += steps
            advance(steps)

        new = queue_pictures(session.app, img.plan, sources, progress)
        new += sum(img.queue_existing(model, fields=fields, progress=progress) for model, fields in models)
    return new, looked_at


@click.command(
    short_help="Say which point of a picture crops keep in view.",
    epilog="Example: easyimg focus photos/team.jpg 0.3 0.2",
)
@click.argument("source", metavar="[ALIAS:]NAME")
@click.argument("point", nargs=-1, type=click.FloatRange(0, 1), metavar="[X Y]")
@click.option("--clear", is_flag=True, help="Keep the centre in view again.")
@click.option("--storage", metavar="ALIAS", help="Where it lies.")
@pass_session
def focus(session: Session, source: str, point: tuple[float, ...], clear: bool, storage: str | None) -> None:
    """Say which point of a picture crops keep in view: X and Y from 0 (left, top) to 1."""
    if len(point) != (0 if clear else 2):
        raise click.UsageError("give X and Y, or --clear")
    app = session.app
    address = address_of(app, source, storage)
    try:
        if app.metadata.inspect(address) is None and app.storage(address.storage).size(address.name) is None:
            raise click.ClickException(f"there is no {address}")
        set_focus(address, None if clear else point, app)
    except SpecError as exc:
        raise click.UsageError(str(exc)) from exc
    session.say(f"{address}: crops keep {'the centre' if clear else f'{point[0]:g}, {point[1]:g}'} in view")


def split_options(words: Iterable[str]) -> tuple[list[str], dict[str, Any]]:
    """Return names, and ``option=value`` words as Img options. Values are JSON where they can be, else text."""
    names, options = [], {}
    for word in words:
        found = _OPTION.fullmatch(word)
        if found is None:
            names.append(word)
        else:
            options[found[1]] = _value(found[2])
    return names, options


def _value(text: str) -> Any:
    try:
        return json.loads(text, object_hook=_with_numbers)
    except ValueError:
        return text


def _with_numbers(value: dict[str, Any]) -> dict[int | str, Any]:
    """Return an object of JSON, whose keys are text, with the numbers that a max-width in ``sizes`` or ``art`` is."""
    return {int(key) if key.isdecimal() else key: item for key, item in value.items()}
