"""How wide a slot is: ``sizes`` as a dict or as text, ``widths``, and their checked values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from easyimg.checks import Quality, check_choice, check_named_width, check_quality
from easyimg.errors import SpecError, shown
from easyimg.media import browsing_order, parse_condition
from easyimg.spec import EFFORTS

MAX_WIDTHS: Final = 20


@dataclass(frozen=True, slots=True)
class SizesEntry:
    """One entry of ``sizes``: while the condition holds, the slot is that many CSS pixels wide."""

    condition: str
    width: int
    quality: Quality | None = None
    effort: str | None = None


def parse_widths(value: Any) -> tuple[int, ...]:
    """Return the file widths of a fluid slot, narrowest first."""
    if not isinstance(value, tuple | list) or not value:
        raise SpecError(f"widths: {shown(value)} is not a list of file widths such as [320, 640, 1280]")
    if len(value) > MAX_WIDTHS:
        raise SpecError(f"widths: {len(value)} widths; at most {MAX_WIDTHS} are allowed")
    widths = [check_named_width("widths", item) for item in value]
    if len(set(widths)) < len(widths):
        raise SpecError(f"widths: {shown(value)} names a width twice")
    return tuple(sorted(widths))


_LENGTH = r"(?:0|[0-9.]+(?:px|em|rem|ex|ch|vw|vh|[sld]v[wh]|vmin|vmax|cm|mm|in|pt|pc)|(?:calc|min|max|clamp)\([^;]+\))"
_SIZE = re.compile(rf"(?:(?P<condition>(?:not )?\(.+\)) )?(?P<length>{_LENGTH})")
_SIZES_TEXT = re.compile(r"[-\w\s().:,/+*%]+")


def _sizes_text(value: str) -> str:
    """Return a checked ``sizes`` text: conditions with lengths, and a last length without a condition.

    Source: https://html.spec.whatwg.org/multipage/images.html#sizes-attributes (percentages are not lengths here).
    """
    text = " ".join(value.split())
    parts = [part.strip() for part in re.split(r",(?![^()]*\))", text)]
    matches = [_SIZE.fullmatch(part) for part in parts]
    if not _SIZES_TEXT.fullmatch(text) or text.count("(") != text.count(")") or not all(matches):
        raise SpecError(f"sizes: {shown(value)} is not a sizes text such as '(max-width: 600px) 100vw, 50vw'")
    if matches[-1] and matches[-1]["condition"]:
        raise SpecError(f"sizes: {shown(value)} must end with a length that has no condition")
    if any(match and not match["condition"] for match in matches[:-1]):
        raise SpecError(f"sizes: {shown(value)}: only the last length has no condition")
    return text


def parse_sizes(value: Any) -> tuple[SizesEntry, ...] | str:
    """Return the entries of a ``sizes`` dict, the first match being the narrowest; or a checked ``sizes`` text."""
    if isinstance(value, str):
        return _sizes_text(value)
    if not isinstance(value, Mapping):
        raise SpecError(f"sizes: {shown(value)} is neither a dict of max-width or media condition to width, nor a text")
    return tuple(sorted((_sizes_entry(k, v) for k, v in value.items()), key=lambda e: browsing_order(e.condition)))


def _sizes_entry(key: Any, value: Any) -> SizesEntry:
    condition = parse_condition("sizes", key)
    if not isinstance(value, Mapping):
        return SizesEntry(condition, check_named_width(f"sizes[{key!r}]", value))
    for name in value:
        if name not in ("width", "quality", "effort"):
            raise SpecError(f"sizes[{key!r}]: option {name!r} is not allowed here; known: width, quality, effort")
    if "width" not in value:
        raise SpecError(f"sizes[{key!r}]: a width is missing")
    return SizesEntry(
        condition,
        check_named_width(f"sizes[{key!r}]", value["width"]),
        check_quality(value["quality"]) if "quality" in value else None,
        check_choice("effort", *EFFORTS)(value["effort"]) if "effort" in value else None,
    )
