"""Checks shared by the parsers of options: numbers, names, choices. Each refuses with the option's name and value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Final

from easyimg.errors import SpecError, did_you_mean, shown
from easyimg.formats import ALIASES, OUTPUT_FORMATS
from easyimg.spec import MAX_SIDE

WIDTHS: Final = {
    "xs": 320,
    "sm": 384,
    "md": 448,
    "lg": 512,
    "screen-sm": 640,
    "screen-md": 768,
    "screen-lg": 1024,
    "screen-xl": 1280,
    "screen-2xl": 1536,
}
"""Names for widths, CSS pixels."""

Quality = int | tuple[tuple[str, int], ...]
"""One number mapped to equal visual quality, or the encoders' own numbers by format."""


def check_number(option: str, value: Any) -> float:
    """Return a finite number as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction) or not math.isfinite(value):
        raise SpecError(f"{option}: {shown(value)} is not a number")
    return float(value)


def check_integer(option: str, value: Any, low: int, high: int) -> int:
    """Return a whole number in ``low..high``; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SpecError(f"{option}: {shown(value)} is not in {low}..{high}")
    return value


def check_boolean(option: str) -> Callable[[Any], bool]:
    """Return a parser of True and False."""

    def parse(value: Any) -> bool:
        if not isinstance(value, bool):
            raise SpecError(f"{option}: {shown(value)} is not True or False")
        return value

    return parse


def check_choice(option: str, *allowed: str | None) -> Callable[[Any], Any]:
    """Return a parser that takes one of the values."""

    def parse(value: Any) -> Any:
        if value not in allowed or isinstance(value, bool):
            raise SpecError(f"{option}: {shown(value)} is not one of {', '.join(repr(a) for a in allowed)}")
        return value

    return parse


def check_named_width(option: str, value: Any) -> int:
    """Return a width in pixels, given as a number or by name."""
    if isinstance(value, str):
        if value not in WIDTHS:
            raise SpecError(f"{option}: {shown(value)} is no width name{did_you_mean(value, WIDTHS)}")
        return WIDTHS[value]
    return check_integer(option, value, 1, MAX_SIDE)


def check_fractions(option: str, value: Any, count: int) -> list[float]:
    """Return that many numbers between 0 and 1, given as a list or as text with commas."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, tuple | list) or len(parts) != count:
        raise SpecError(f"{option}: {shown(value)} is not {count} fractions between 0 and 1")
    try:
        numbers = [float(p) if isinstance(p, str) else check_number(option, p) for p in parts]
    except ValueError as exc:
        raise SpecError(f"{option}: {shown(value)} is not {count} fractions between 0 and 1") from exc
    if not all(0 <= n <= 1 for n in numbers):
        raise SpecError(f"{option}: {shown(value)} is not within 0..1; fractions, not pixels or percent")
    return numbers


def check_quality(value: Any) -> Quality:
    """Return a quality: one number, or the encoders' own numbers by format, sorted."""
    if not isinstance(value, Mapping):
        return check_integer("quality", value, 1, 100)
    numbers = {}
    for name, quality in value.items():
        numbers[check_format("quality", name)] = check_integer(f"quality[{name!r}]", quality, 1, 100)
    return tuple(sorted(numbers.items()))


def check_format(option: str, value: Any) -> str:
    """Return the name of an output format, aliases resolved."""
    name = ALIASES.get(value, value) if isinstance(value, str) else value
    if name not in OUTPUT_FORMATS:
        raise SpecError(f"{option}: {shown(value)} is not one of {', '.join(OUTPUT_FORMATS)}")
    return str(name)
