"""How wide a slot is: ``sizes`` as a dict or as text, ``widths``, and their checked values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from easyimg.checks import Quality, check_choice, check_named_width, check_quality
from easyimg.errors import SpecError, shown
from easyimg.lengths import is_length, split_outside
from easyimg.media import browsing_order, is_condition, meaning_of, parse_condition
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
    """Return the file widths of a fluid slot, narrowest first; None is none."""
    if value is None:
        return ()
    if not isinstance(value, tuple | list) or not value:
        raise SpecError(f"widths: {shown(value)} is not a list of file widths such as [320, 640, 1280]")
    if len(value) > MAX_WIDTHS:
        raise SpecError(f"widths: {len(value)} widths; at most {MAX_WIDTHS} are allowed")
    widths = [check_named_width("widths", item) for item in value]
    if len(set(widths)) < len(widths):
        raise SpecError(f"widths: {shown(value)} names a width twice")
    return tuple(sorted(widths))


_CHARACTERS = re.compile(r"[-\w\s().:,/+*<>=]+", re.ASCII)


def _sizes_text(value: str) -> str:
    """Return a checked ``sizes`` text: conditions with lengths, and a last length without a condition.

    Source: https://html.spec.whatwg.org/multipage/images.html#sizes-attributes
    """
    text = " ".join(value.split())
    conditions = []
    for part in split_outside(text, ","):
        *words, length = split_outside(part.strip(), " ")
        condition = " ".join(words)
        if not is_length(length) or (words and not is_condition(condition)):
            text = ""
        conditions.append(condition)
    if not text or not _CHARACTERS.fullmatch(value):
        raise SpecError(f"sizes: {shown(value)} is not a sizes text such as '(max-width: 600px) 100vw, 50vw'")
    if conditions[-1]:
        raise SpecError(f"sizes: {shown(value)} must end with a length that has no condition")
    if not all(conditions[:-1]):
        raise SpecError(f"sizes: {shown(value)}: only the last length has no condition")
    return text


def parse_sizes(value: Any) -> tuple[SizesEntry, ...] | str:
    """Return the entries of a ``sizes`` dict, the first match being the narrowest; or a checked ``sizes`` text.

    None is none.
    """
    if value is None:
        return ()
    if isinstance(value, str):
        return _sizes_text(value)
    if not isinstance(value, Mapping):
        raise SpecError(f"sizes: {shown(value)} is neither a dict of max-width or media condition to width, nor a text")
    entries: dict[Any, SizesEntry] = {}
    for key, slot in value.items():
        entry = _sizes_entry(key, slot)
        if entries.setdefault(meaning_of(entry.condition), entry) is not entry:
            raise SpecError(f"sizes: {entry.condition} is given twice")
    return tuple(sorted(entries.values(), key=lambda entry: browsing_order(entry.condition)))


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
