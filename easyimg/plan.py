"""From an Img's options to a plan: which variants it means, and how each becomes a candidate. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from easyimg.formats import FALLBACK, FORMATS
from easyimg.geometry import Size, round_half_up
from easyimg.options import ImgOptions, Quality, SizesEntry
from easyimg.source import SourceInfo
from easyimg.spec import DEFAULT_QUALITY, MAX_SIDE, VariantSpec

_RECENT = 4096
"""Sources whose keys a plan remembers."""


@dataclass(frozen=True)
class Plan:
    """The variants one Img means.

    Args:
        base: the spec of ``src``, in the fallback format; its box is the slot.
        srcset: the specs of the candidates, narrowest first.
        fluid: True = width descriptors and ``sizes``; False = density descriptors.
        sizes: text of the ``sizes`` attribute, without ``auto``; ``""`` for a fixed slot.
    """

    base: VariantSpec
    srcset: tuple[VariantSpec, ...]
    fluid: bool
    sizes: str

    @cached_property
    def specs(self) -> tuple[VariantSpec, ...]:
        """All specs: the base first, then the candidates, each once."""
        return (self.base, *(spec for spec in self.srcset if spec != self.base))

    @cached_property
    def loses_alpha(self) -> bool:
        """Whether the candidates would lose a source's transparency while nobody chose a background."""
        return any(spec.background is None and not FORMATS[spec.format].alpha for spec in self.srcset)

    def keys(self, address: bytes) -> tuple[str, ...]:
        """Return the keys of ``specs`` for the source with that ``Source.address``, in order.

        About 1 us each, and remembered for the sources of recent pages.
        """
        keys = self._recent.get(address)
        if keys is None:
            if len(self._recent) >= _RECENT:
                self._recent.clear()
            keys = self._recent[address] = tuple([spec.key(address) for spec in self.specs])
        return keys

    @cached_property
    def _recent(self) -> dict[bytes, tuple[str, ...]]:
        return {}

    def slot_size(self, info: SourceInfo | None) -> Size | None:
        """Return the ``width`` and ``height`` of the slot, CSS pixels; None when nothing tells.

        A slot wider than the source shrinks to it, as its file does.
        """
        if info is not None:
            return self.base.frame(info.size).size
        if self.base.width is None or self.base.ratio is None or self.base.crop is None:
            return None
        return Size(self.base.width, round_half_up(self.base.width / self.base.ratio))

    def needed(self, info: SourceInfo | None) -> tuple[bool, ...]:
        """Return for each of ``specs`` whether its file is worth building, given the facts known.

        Facts drop a candidate that would equal a narrower one (the source is too small), and one in a format without
        alpha for a transparent source with no background. The base is always needed.
        """
        if info is None:
            return (True,) * len(self.specs)
        return _needed(self.specs, info.size, info.has_alpha)


@lru_cache(maxsize=4096)
def _needed(specs: tuple[VariantSpec, ...], source: Size, has_alpha: bool) -> tuple[bool, ...]:
    needed = [True]
    seen = set()
    for spec in specs[1:]:
        file = (spec.format, spec.frame(source).size)
        opaque = has_alpha and spec.background is None and not FORMATS[spec.format].alpha
        needed.append(file not in seen and not opaque)
        seen.add(file)
    return tuple(needed)


def make_plan(options: ImgOptions) -> Plan:
    """Return the plan of an Img.

    A fixed slot gets one file per density. A slot with ``sizes`` gets, for every width in it, one file per density.
    """
    base = _spec(options, FALLBACK, options.width)
    if not options.sizes:
        densities = options.densities if options.width is not None else (1.0,)
        widths = [None if options.width is None else file_width(options.width, d) for d in densities]
        return Plan(base, tuple(_spec(options, options.format, w) for w in widths), fluid=False, sizes="")
    assert options.width is not None
    entries = (*options.sizes, SizesEntry("", options.width))
    candidates: dict[int, VariantSpec] = {}
    for entry in entries:
        for density in options.densities:
            width = file_width(entry.width, density)
            candidates.setdefault(width, _entry_spec(options, entry, width))
    text = ", ".join(f"{e.condition} {e.width}px".lstrip() for e in entries)
    return Plan(base, tuple(candidates[w] for w in sorted(candidates)), fluid=True, sizes=text)


def file_width(slot: int, density: float) -> int:
    """Return a file's width in pixels for a slot in CSS pixels."""
    return min(MAX_SIDE, int(slot * density + 0.5))


def _spec(options: ImgOptions, format_name: str, width: int | None) -> VariantSpec:
    quality, exact = _quality_for(options.quality, format_name)
    return VariantSpec(
        format=format_name,
        width=width,
        ratio=options.ratio,
        crop=options.crop,
        contain=options.contain,
        window=options.window,
        upscale=options.upscale,
        quality=quality,
        exact_quality=exact,
        effort=options.effort,
        background=options.background,
    )


def _entry_spec(options: ImgOptions, entry: SizesEntry, width: int) -> VariantSpec:
    spec = _spec(options, options.format, width)
    quality, exact = _quality_for(entry.quality or options.quality, options.format)
    return replace(spec, quality=quality, exact_quality=exact, effort=entry.effort or options.effort)


def _quality_for(quality: Quality, format_name: str) -> tuple[int, bool]:
    """Return the number for one format, and whether it is the encoder's own."""
    if isinstance(quality, int):
        return quality, False
    numbers = dict(quality)
    own = numbers.get("jpeg" if format_name == FALLBACK else format_name)
    return (DEFAULT_QUALITY, False) if own is None else (own, True)
