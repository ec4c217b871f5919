"""From an Img's options to a plan: which variants it means, and how each becomes a candidate. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

from easyimg.checks import Quality
from easyimg.errors import SpecError
from easyimg.formats import FALLBACK, FORMATS
from easyimg.geometry import Size, round_half_up
from easyimg.options import ImgOptions
from easyimg.sizes import SizesEntry
from easyimg.source import Source, SourceInfo
from easyimg.spec import DEFAULT_QUALITY, MAX_SIDE, VariantSpec, keys_of

_RECENT = 4096
"""How many sources' keys a plan remembers, and of how many sizes what it means for them."""


class Group(NamedTuple):
    """The candidates of one format, narrowest first; ``start`` is the place of the first in ``Plan.specs``.

    ``animated`` says whether the plan keeps animations, even if this format cannot.
    """

    format: str
    specs: tuple[VariantSpec, ...]
    start: int
    animated: bool = False

    def suits(self, has_alpha: bool, is_animated: bool) -> bool:
        """Return whether its files show such a source as they shall.

        Not if they would show a transparent one without its transparency while nobody chose a background, or one
        frame of an animation that is kept.
        """
        form = FORMATS[self.format]
        if is_animated and self.animated and not form.animates:
            return False
        return form.alpha or not has_alpha or self.specs[0].background is not None


@dataclass(frozen=True)
class Plan:
    """The variants one Img means.

    Args:
        base: the spec of ``src``, in the fallback format; its box is the slot.
        groups: the candidates by format, in order of preference.
        fluid: True = width descriptors and ``sizes``; False = density descriptors.
        sizes: text of the ``sizes`` attribute, without ``auto``; ``""`` for a fixed slot.
        picture: True = a ``<picture>`` with one typed ``<source>`` per group; False = one group, on the ``<img>``, or
            none where only ``src`` is wanted.
        art: what is shown instead while a media query holds, in the order in which browsers look.
        placeholder: what is shown until the files are loaded: ``"color"``, ``"blur"`` or None.
    """

    base: VariantSpec
    groups: tuple[Group, ...]
    fluid: bool
    sizes: str
    picture: bool = False
    art: tuple[ArtPlan, ...] = ()
    placeholder: str | None = None

    @cached_property
    def specs(self) -> tuple[VariantSpec, ...]:
        """All specs of its own: the base first, then the candidates of each group; ``art`` has others."""
        return (self.base, *(spec for group in self.groups for spec in group.specs))

    def keys(self, address: bytes) -> tuple[str, ...]:
        """Return the keys of ``specs`` for the source with that ``Source.address``, in order.

        About 1 us each, and remembered for the sources of recent pages.
        """
        keys = self._recent.get(address)
        if keys is None:
            if len(self._recent) >= _RECENT:
                self._recent.clear()
            keys = self._recent[address] = keys_of(self.specs, address)
        return keys

    def wanted(self, source: Source) -> dict[str, str]:
        """Return key -> canonical spec of all that it means for a source, its art direction of that source included."""
        found = dict(zip(self.keys(source.address), (spec.canonical for spec in self.specs), strict=True))
        for entry in self.art:
            if entry.source in (None, source):
                found |= entry.plan.wanted(source)
        return found

    @cached_property
    def _recent(self) -> dict[bytes, tuple[str, ...]]:
        return {}

    def slot_size(self, info: SourceInfo | None) -> Size | None:
        """Return the ``width`` and ``height`` of the slot, CSS pixels; None when nothing tells.

        A slot wider than the source shrinks to it, as its file does.
        """
        if info is not None:
            return self._of_size(info).slot
        if self.base.width is None or self.base.ratio is None or self.base.crop is None:
            return None
        return Size(self.base.width, round_half_up(self.base.width / self.base.ratio))

    def needed(self, info: SourceInfo | None) -> tuple[bool, ...]:
        """Return for each of ``specs`` whether its file is worth building, given the facts known.

        Facts drop a candidate that would equal a narrower one (the source is too small), and the groups that do not
        suit the source. The base is always needed.
        """
        return (True,) * len(self.specs) if info is None else self._of_size(info).needed

    def _of_size(self, info: SourceInfo) -> _OfSize:
        """Return what all sources of one size and kind have in common; remembered for the latest ones."""
        kind = (info.width, info.height, info.has_alpha, info.frames > 1 and info.is_animated)  # quicker for stills
        found = self._sizes.get(kind)
        if found is None:
            if len(self._sizes) >= _RECENT:
                self._sizes.clear()
            needed = _needed(self.groups, info.size, info.has_alpha, info.is_animated)
            found = self._sizes[kind] = _OfSize(self.base.frame(info.size).size, needed)
        return found

    @cached_property
    def _sizes(self) -> dict[tuple[int, int, bool, bool], _OfSize]:
        return {}


@dataclass(frozen=True)
class ArtPlan:
    """What a picture shows while a media query holds: a plan of its own, of another source or (None) of the same."""

    media: str
    plan: Plan
    source: Source | None = None


class _OfSize(NamedTuple):
    """The slot's size, and which specs are worth building."""

    slot: Size
    needed: tuple[bool, ...]


def _needed(groups: tuple[Group, ...], source: Size, has_alpha: bool, is_animated: bool) -> tuple[bool, ...]:
    needed = [True]
    for group in groups:
        suits, seen = group.suits(has_alpha, is_animated), set()
        for spec in group.specs:
            size = spec.frame(source).size
            needed.append(suits and size not in seen)
            seen.add(size)
    return tuple(needed)


def make_plan(options: ImgOptions) -> Plan:
    """Return the plan of an Img; one for equal files, so that what it remembers serves an Img made anew as well."""
    return _make_plan(
        replace(options, alt=None, img_attrs=(), loading=None, decoding=None, fetchpriority=None, priority=False)
    )


@lru_cache(maxsize=512)
def _make_plan(options: ImgOptions) -> Plan:
    """Return the plan of some files.

    A fixed slot gets one file per density. A slot with a ``sizes`` dict gets, for every width in it, one file per
    density; a fluid slot the files listed in ``widths``, or those of its layout. Each entry of ``art`` is a plan again.
    """
    fluid = bool(options.sizes or options.widths) or options.layout in ("constrained", "full-width")
    entries = _entries(options) if fluid else [_Entry(None, None)] if options.width is None else _densities(options)
    formats = options.formats or (options.format,)
    groups, start = [], 1
    for name in formats:
        specs = tuple(_spec(options, name, entry) for entry in entries)
        groups.append(Group(name, specs, start, options.animated))
        start += len(specs)
    base = _spec(options, FALLBACK, _Entry(_base_width(options, entries), None))
    sizes = _sizes_text(options) if fluid else ""
    art = tuple(ArtPlan(entry.media, make_plan(entry.options), entry.source) for entry in options.art)
    return Plan(base, tuple(groups), fluid, sizes, bool(options.formats), art, options.placeholder)


@lru_cache(maxsize=1024)
def url_plan(options: ImgOptions, format_name: str | None) -> Plan:
    """Return the plan of one file alone: the base, in the fallback format unless another is said."""
    base = make_plan(options).base
    if format_name is not None:
        base = _spec(options, format_name, _Entry(base.width, None))
    return Plan(base, (), fluid=False, sizes="")


class _Entry(NamedTuple):
    """One file: its width (None = the source's), and the part of ``sizes`` it was made for."""

    width: int | None
    of: SizesEntry | None


def _densities(options: ImgOptions) -> list[_Entry]:
    assert options.width is not None
    return [_Entry(file_width(options.width, density), None) for density in options.densities]


def _entries(options: ImgOptions) -> list[_Entry]:
    """Return the files of a fluid slot, narrowest first, each width once."""
    if options.widths:
        return [_Entry(width, None) for width in options.widths]
    if isinstance(options.sizes, tuple) and options.sizes and options.width is not None:
        found: dict[int, _Entry] = {}
        for entry in (*options.sizes, SizesEntry("", options.width)):
            for density in options.densities:
                width = file_width(entry.width, density)
                found.setdefault(width, _Entry(width, entry))
        return [found[width] for width in sorted(found)]
    return [_Entry(width, None) for width in layout_widths(options.width)]


def layout_widths(width: int | None) -> list[int]:
    """Return the file widths of a layout: a ladder up to twice the slot's width, with the width itself and its double.

    A slot as wide as the screen has the whole ladder, or up to twice the width it is limited to.
    """
    if width is None:
        return list(_LADDER)
    ends = {width, file_width(width, 2)}
    return sorted({step for step in _LADDER if step < max(ends)} | ends)


_LADDER = (320, 480, 640, 828, 1080, 1280, 1668, 2048, 2560, 3840)
"""Widths of phones, tablets, laptops and screens in device pixels, each about a quarter to a half wider."""

_SRC_WIDTH = 1920
"""A fluid slot with no width of its own has a ``src`` of the widest file up to this: only old browsers load it."""


def _base_width(options: ImgOptions, entries: list[_Entry]) -> int | None:
    if options.width is not None or entries[0].width is None:
        return options.width
    return max((e.width for e in entries if e.width and e.width <= _SRC_WIDTH), default=entries[0].width)


def _sizes_text(options: ImgOptions) -> str:
    if isinstance(options.sizes, str):
        return options.sizes
    if options.sizes and options.width is not None:
        entries = (*options.sizes, SizesEntry("", options.width))
        return ", ".join(f"{e.condition} {e.width}px".lstrip() for e in entries)
    if options.layout == "constrained":
        return f"(min-width: {options.width}px) {options.width}px, 100vw"
    return "100vw"


def file_width(slot: int, density: float) -> int:
    """Return a file's width in pixels for a slot in CSS pixels."""
    return min(MAX_SIDE, int(slot * density + 0.5))


def _spec(options: ImgOptions, format_name: str, entry: _Entry) -> VariantSpec:
    own = entry.of
    quality, exact = _quality_for((own and own.quality) or options.quality, format_name)
    spec = VariantSpec(
        format=format_name,
        width=entry.width,
        ratio=options.ratio,
        crop=options.crop,
        contain=options.contain,
        window=options.window,
        upscale=options.upscale,
        quality=quality,
        exact_quality=exact,
        effort=(own and own.effort) or options.effort,
        background=options.background,
        animated=options.animated and (format_name == FALLBACK or FORMATS[format_name].animates),
    )
    _check_height(spec)
    return spec


def _check_height(spec: VariantSpec) -> None:
    """Refuse a file that is too high whatever the source is; without ``upscale`` none is larger than the source."""
    if not (spec.upscale and spec.width and spec.ratio and spec.crop is not None):
        return
    height = round_half_up(spec.width / spec.ratio)
    if height > MAX_SIDE:
        raise SpecError(
            f"width {spec.width:,} and ratio {spec.ratio} with upscale=True make a file of "
            f"{spec.width:,} x {height:,} pixels; no side may be longer than {MAX_SIDE:,}"
        )


def _quality_for(quality: Quality, format_name: str) -> tuple[int, bool]:
    """Return the number for one format, and whether it is the encoder's own."""
    if isinstance(quality, int):
        return quality, False
    numbers = dict(quality)
    own = numbers.get("jpeg" if format_name == FALLBACK else format_name)
    return (DEFAULT_QUALITY, False) if own is None else (own, True)
