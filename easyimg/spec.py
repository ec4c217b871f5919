"""VariantSpec: the recipe for one output file. Its canonical text, and the keys made from it.

A key is a function of the *requested* spec and the source's address alone, so that a page can compute it without a
query: abstract values (``format="fallback"``, ``width=None``, ``crop="focus"``) stay abstract in it. What an encoder is
told for a name such as ``effort="balanced"`` is covered by :data:`RECIPE`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any, Final, Literal

from easyimg.errors import SpecError, did_you_mean, shown
from easyimg.formats import FALLBACK, OUTPUT_FORMATS
from easyimg.geometry import CENTER, Focus, Frame, Size, Window, frame

RECIPE: Final = 2
"""Raised when the same spec would give visibly other pixels: every key changes, every variant is built anew."""

DEFAULT_QUALITY: Final = 80
MAX_SIDE: Final = 16383
"""Longest side of any file, pixels: WebP's limit (RFC 9649, section 2.6)."""

Crop = Focus | Literal["focus", "smart"]
"""Where a cut happens: a fixed point, the source's own focus point, or found by the engine."""


@dataclass(frozen=True)
class VariantSpec:
    """What one variant shall be. Frozen, hashable, free of any fact about the source.

    Args:
        format: an output format, or ``"fallback"``: JPEG, PNG where the source is transparent, GIF where its animation
            is kept.
        width: of the file's box in pixels, 1-16383; None = the width of what is shown of the source.
        ratio: width / height of the box; None = that of what is shown.
        crop: with a ratio: the point kept in view when the box is filled; None = nothing is cut.
        contain: with no crop: True fits inside the box, False covers it.
        window: the region kept before anything else.
        upscale: whether a box larger than the source enlarges it.
        quality: 1-100.
        exact_quality: True = ``quality`` is the encoder's own number, not the one mapped to equal visual quality.
        effort: how hard the encoder tries.
        background: ``#rrggbb`` put behind transparency.
        animated: whether all frames of an animation are kept, by a format that can; False = the first frame.
    """

    format: str = FALLBACK
    width: int | None = None
    ratio: Fraction | None = None
    crop: Crop | None = "focus"
    contain: bool = True
    window: Window | None = None
    upscale: bool = False
    quality: int = DEFAULT_QUALITY
    exact_quality: bool = False
    effort: str = "balanced"
    background: str | None = None
    animated: bool = False

    def __post_init__(self) -> None:
        # Fields that have no effect return to their default, so that equal pixels have equal keys.
        if self.ratio is None:
            object.__setattr__(self, "crop", "focus")
            object.__setattr__(self, "contain", True)
        elif self.crop is not None:
            object.__setattr__(self, "contain", True)

    @cached_property
    def canonical(self) -> str:
        """The spec as compact JSON: only what differs from the defaults, sorted. Stored in the variant's row."""
        return json.dumps(self._asked(), sort_keys=True, separators=(",", ":"))

    @cached_property
    def begun(self) -> hashlib.blake2b:
        """The hash that makes keys, of all but the source: copied, never changed."""
        # Of the hashes at hand the quickest to copy and finish: a page makes three for each of its images.
        return hashlib.blake2b(f"easyimg:{RECIPE}:{self.canonical}\n".encode(), digest_size=16)

    def key(self, address: bytes) -> str:
        """Return the variant's key, 32 hex digits: the id of this spec applied to ``Source.address``."""
        return keys_of((self,), address)[0]

    def actual_format(self, has_alpha: bool, is_animated: bool = False) -> str:
        """Return the format of the file, once it is known whether the source is transparent, and whether it moves."""
        if self.format != FALLBACK:
            return self.format
        if self.animated and is_animated:
            return "gif"
        return "png" if has_alpha and self.background is None else "jpeg"

    def frame(self, source: Size, focus: Focus | None = None) -> Frame:
        """Return region and size of the variant of an upright source, ``focus`` being the source's own point.

        ``crop="smart"`` counts as the focus point here; the engine finds the point and passes it as ``focus``.
        """
        crop = (focus or CENTER) if isinstance(self.crop, str) else self.crop
        return frame(
            source,
            width=self.width,
            ratio=self.ratio,
            crop=crop,
            contain=self.contain,
            window=self.window,
            upscale=self.upscale,
        )

    def _asked(self) -> dict[str, Any]:
        asked: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            if isinstance(value, Fraction):
                value = f"{value.numerator}/{value.denominator}"
            elif isinstance(value, tuple):
                value = [float(number) for number in value]  # 0 and 0.0 are one point, so they must have one key
            asked[field.name] = value
        return asked

    @classmethod
    @lru_cache(maxsize=1024)  # most rows of a site hold the same few
    def from_canonical(cls, text: str) -> VariantSpec:
        """Return the spec of a stored row.

        Raises:
            SpecError: written by a newer easyimg, or by nobody: an unknown field, or a value out of range.
        """
        try:
            stored = json.loads(text)
        except ValueError as exc:
            raise SpecError(f"stored spec {shown(text)} is not JSON") from exc
        if not isinstance(stored, dict):
            raise SpecError(f"stored spec {shown(text)} is not an object")
        known = {field.name for field in fields(cls)}
        for name in stored:
            if name not in known:
                raise SpecError(f"stored spec has an unknown field {name!r}{did_you_mean(name, known)}")
        try:
            spec = cls(**_revived(stored))
        except (TypeError, ValueError, ArithmeticError) as exc:
            raise SpecError(f"stored spec {shown(text)} cannot be read: {exc}") from exc
        spec._check()
        return spec

    def _check(self) -> None:
        """Refuse values that would reach an encoder unchecked (a row may have been written by anybody)."""
        if self.format not in (*OUTPUT_FORMATS, FALLBACK):
            raise SpecError(f"stored spec asks for format {shown(self.format)}; known: {', '.join(OUTPUT_FORMATS)}")
        if self.width is not None and not (type(self.width) is int and 1 <= self.width <= MAX_SIDE):
            raise SpecError(f"stored spec asks for width {shown(self.width)}, not in 1..{MAX_SIDE}")
        if not (type(self.quality) is int and 1 <= self.quality <= 100):
            raise SpecError(f"stored spec asks for quality {shown(self.quality)}, not in 1..100")
        if self.effort not in EFFORTS:
            raise SpecError(f"stored spec asks for effort {shown(self.effort)}; known: {', '.join(EFFORTS)}")
        for name in ("contain", "upscale", "exact_quality", "animated"):
            if type(getattr(self, name)) is not bool:
                raise SpecError(f"stored spec asks for {name} {shown(getattr(self, name))}, neither true nor false")
        self._check_region()
        if self.background is not None and not _is_colour(self.background):
            raise SpecError(f"stored spec asks for background {shown(self.background)}, not #rrggbb")

    def _check_region(self) -> None:
        if self.ratio is not None and not Fraction(1, MAX_SIDE) <= self.ratio <= MAX_SIDE:
            raise SpecError(f"stored spec asks for ratio {shown(self.ratio)}, not in 1/{MAX_SIDE}..{MAX_SIDE}")
        if isinstance(self.crop, Focus):
            if not _are_fractions(self.crop):
                raise SpecError(f"stored spec asks for crop {shown(tuple(self.crop))}, not two numbers in 0..1")
        elif self.crop not in (None, "focus", "smart"):
            raise SpecError(f"stored spec asks for crop {shown(self.crop)}; known: focus, smart, a point")
        if self.window is not None:
            left, top, right, bottom = self.window
            if not (_are_fractions(self.window) and left < right and top < bottom):
                raise SpecError(
                    f"stored spec asks for window {shown(tuple(self.window))}, not left, top, right, bottom in 0..1"
                )


def keys_of(specs: Iterable[VariantSpec], address: bytes) -> tuple[str, ...]:
    """Return the keys of several specs for one ``Source.address``, in order: a page makes three for each image."""
    keys = []
    for spec in specs:
        digest = spec.begun.copy()
        digest.update(address)
        keys.append(digest.hexdigest())
    return tuple(keys)


EFFORTS: Final = ("fast", "balanced", "small")
"""Encoder effort by name; each engine documents what it makes of them."""


def _are_fractions(numbers: Iterable[Any]) -> bool:
    return all(type(number) in (int, float) and 0 <= number <= 1 for number in numbers)


def _is_colour(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("#[0-9a-f]{6}", value) is not None


def _revived(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON values as the types of the fields."""
    values = dict(stored)
    if values.get("ratio") is not None:
        values["ratio"] = Fraction(values["ratio"])
    if isinstance(values.get("crop"), list):
        values["crop"] = Focus(*values["crop"])
    if values.get("window") is not None:
        values["window"] = Window(*values["window"])
    return values
