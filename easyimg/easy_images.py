"""The table of django-easy-images, read as what easyimg would call its rows.

Its row is one file: the address of an original, options as JSON, the name of the file once it is built. The ratio was
16:9 unless said otherwise, crops were points, and ``src`` was always a JPEG.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from easyimg.errors import ConfigError, SpecError
from easyimg.foreign import Ask, Foreign, Old
from easyimg.formats import FALLBACK, FORMATS
from easyimg.options import RATIOS, parse_options
from easyimg.source import Source
from easyimg.spec import VariantSpec

TABLE: Final = "easy_images_easyimage"

_PAGE = 1000
"""Rows per statement."""

_PAGES = f"SELECT id, storage, name, args, image FROM {TABLE}{{where}} ORDER BY storage, name, id LIMIT {_PAGE}"  # noqa: S608 - our own words
_AFTER = " WHERE storage > %s OR (storage = %s AND (name > %s OR (name = %s AND id > %s)))"


class Row(NamedTuple):
    """One row of the table."""

    id: Any
    storage: str
    name: str
    args: Mapping[str, Any]
    image: str


def read(ask: Ask) -> Old:
    """Return all rows of the table.

    Raises:
        ConfigError: it is not there, or cannot be read.
    """
    try:
        total = int(ask(f"SELECT COUNT(*) FROM {TABLE}", ())[0][0])  # noqa: S608 - our own words
    except Exception as exc:
        text = " ".join(str(exc).split())
        raise ConfigError(f"database: the table {TABLE} of django-easy-images cannot be read: {text}") from exc
    return Old(total, groups(rows(ask)))


def rows(ask: Ask) -> Iterator[Row]:
    """Yield the rows in order of their sources, read some at a time."""
    where = ""
    values: list[Any] = []
    while page := ask(_PAGES.format(where=where), values):
        for id_, storage, name, args, image in page:
            yield Row(id_, storage, name, _arguments(args), image or "")
        where, (id_, storage, name) = _AFTER, page[-1][:3]
        values = [storage, storage, name, name, id_]


def groups(found: Iterable[Row]) -> Iterator[list[Foreign]]:
    """Yield what the rows of each source mean."""
    for (storage, name), of_source in groupby(found, key=lambda row: (row.storage, row.name)):
        yield list(_translated(Source(storage, name), list(of_source)))


def _translated(source: Source, found: Sequence[Row]) -> Iterator[Foreign]:
    modern = {_family(row.args) for row in found if row.args.get("mimetype") in ("image/webp", "image/avif")}
    for row in found:
        names = _formats(row.args, is_src=_family(row.args) in modern)
        try:
            specs = tuple(make_spec(row.args, name) for name in names)
        except SpecError:
            specs = ()
        yield Foreign(source, specs, row.image)


def make_spec(args: Mapping[str, Any], format: str) -> VariantSpec:
    """Return the spec that easyimg has for a row's options and a format.

    Raises:
        SpecError: easyimg does not allow such options.
    """
    ratio, crop = _ratio(args.get("ratio")), args.get("crop")
    options: dict[str, Any] = {
        "width": args.get("width"),
        "ratio": ratio,
        "window": args.get("window"),
        "quality": args.get("quality") or 80,
    }
    if ratio is not None:
        # Its crop=True was stored as the centre, which is what easyimg's crop=True keeps in view.
        options["crop"] = (True if list(crop) == [0.5, 0.5] else crop) if crop else False
        options["contain"] = bool(args.get("contain")) or bool(crop)
    chosen = parse_options(options)
    assert isinstance(chosen.quality, int)
    return VariantSpec(
        format=format,
        width=chosen.width,
        ratio=chosen.ratio,
        crop=chosen.crop,
        contain=chosen.contain,
        window=chosen.window,
        quality=chosen.quality,
    )


def _formats(args: Mapping[str, Any], *, is_src: bool) -> tuple[str, ...]:
    """Return the formats that a row can stand for.

    Its ``src`` and the candidates of ``format="jpeg"`` look alike: where the same options have candidates in another
    format, a JPEG is the ``src``; else it may be either.
    """
    mime = args.get("mimetype") or "image/jpeg"
    name = next((form.name for form in FORMATS.values() if form.mime == mime and form.output), None)
    if name == "jpeg":
        return (FALLBACK,) if is_src else (FALLBACK, "jpeg")
    return () if name is None else (name,)


def _family(args: Mapping[str, Any]) -> str:
    """Return what the files of one Img had in common."""
    return json.dumps([args.get(name) for name in ("quality", "crop", "contain", "window", "ratio")])


def _ratio(value: Any) -> Any:
    """Return a ratio, by its name where it has one: a float of it would become another fraction."""
    if not value:
        return None
    names = (name for name, ratio in RATIOS.items() if isinstance(value, float) and abs(value - ratio) < 1e-7)
    return next(names, value)


def _arguments(stored: Any) -> Mapping[str, Any]:
    """Return the options, which some drivers give as text."""
    try:
        args = json.loads(stored) if isinstance(stored, str | bytes) else stored
    except ValueError:
        args = None
    return args if isinstance(args, Mapping) else {"mimetype": "unreadable"}
