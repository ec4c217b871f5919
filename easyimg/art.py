"""Art direction: the dict ``art``, and its checked entries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from easyimg.errors import SpecError, shown
from easyimg.geometry import Focus
from easyimg.media import browsing_order, meaning_of, parse_media
from easyimg.source import Source, as_source

if TYPE_CHECKING:
    from easyimg.options import ImgOptions

_OF_THE_TAG: Final = ("alt", "img_attrs", "loading", "decoding", "fetchpriority", "priority", "placeholder", "art")
"""Options of the one ``<img>`` that all entries share."""

_SLOT: Final = ("width", "sizes", "widths", "layout")
"""Options that say together how wide a slot is."""

_FORMATS: Final = ("format", "formats")


@dataclass(frozen=True, slots=True)
class ArtEntry:
    """One entry of ``art``: what is shown while the media query holds; ``source`` None = the image's own."""

    media: str
    options: ImgOptions
    source: Source | None = None


def check_art(value: Any) -> Mapping[Any, Any]:
    """Return ``art`` if it is a dict; None is an empty one."""
    if value is not None and not isinstance(value, Mapping):
        raise SpecError(f"art: {shown(value)} is not a dict of max-width, media condition or type to options")
    return value or {}


def make_entries(
    art: Mapping[Any, Any], own: Mapping[str, Any], parse: Callable[[Mapping[str, Any]], ImgOptions]
) -> tuple[ArtEntry, ...]:
    """Return the entries of ``art``, the first match being the narrowest.

    Args:
        art: media query -> options.
        own: the Img's own options as given, over which those of an entry are laid.
        parse: options -> checked options.

    Raises:
        SpecError: an entry is not allowed; the message names its key.
    """
    entries: dict[Any, ArtEntry] = {}
    for key, options in art.items():
        media = parse_media("art", key)
        if meaning_of(media) in entries:
            raise SpecError(f"art: {media} is given twice")
        try:
            entries[meaning_of(media)] = _entry(media, options, own, parse)
        except SpecError as exc:
            raise SpecError(f"art[{shown(key)}]: {exc}") from exc
    return tuple(sorted(entries.values(), key=lambda entry: browsing_order(entry.media)))


def _entry(
    media: str, options: Any, own: Mapping[str, Any], parse: Callable[[Mapping[str, Any]], ImgOptions]
) -> ArtEntry:
    if not isinstance(options, Mapping):
        raise SpecError(f"{shown(options)} is not a dict of options")
    for name in options:
        if not isinstance(name, str):
            raise SpecError(f"option {shown(name)} is not a name")
        if name in _OF_THE_TAG or name.startswith("img_"):
            raise SpecError(f"option {name!r} is not allowed here: all entries share the Img's one <img>")
    source = as_source(options.get("source"))
    given = {name: value for name, value in options.items() if name != "source"}
    plain = {name: value for name, value in own.items() if name not in _OF_THE_TAG}
    if source is not None:  # a region or a point of one picture says nothing about another
        plain.pop("window", None)
        if isinstance(parse(plain).crop, Focus):
            del plain["crop"]
    return ArtEntry(media, parse({**_inherited(plain, given), **given}), source)


def _inherited(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Img's own options that still make sense beside those of an entry.

    The slot, the cut and the formats are each described by the one or by the other, never by a mixture of both.
    """
    dropped: set[str] = set()
    if not given.keys().isdisjoint(_SLOT):
        dropped.update(_SLOT)
        if given.get("widths") or given.get("layout") not in (None, "fixed"):
            dropped.add("densities")  # which only a fixed slot has
    if not given.keys().isdisjoint(_FORMATS):
        dropped.update(_FORMATS)
    if "crop" in given or ("ratio" in given and given["ratio"] is None):
        dropped.update(("crop", "contain"))
    return {name: value for name, value in own.items() if name not in dropped}
