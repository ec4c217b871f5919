"""Media conditions and media queries: when an entry of ``sizes`` or ``art`` holds."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from easyimg.checks import WIDTHS, check_integer
from easyimg.errors import SpecError, did_you_mean, shown

MEDIA_TYPES: Final = ("all", "print", "screen")
"""Media types that pictures are shown on; the others of the standard are deprecated."""

_CHARACTERS = re.compile(r"[-\w\s():.,<>=/]+", re.ASCII)
_GROUP = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))+\)"
_ALL_OF = rf"{_GROUP}(?: and {_GROUP})*"
_CONDITION = re.compile(rf"not {_GROUP}|{_ALL_OF}|{_GROUP}(?: or {_GROUP})+", re.IGNORECASE)
_TYPE = re.compile(
    rf"(?:(?:not|only) )?(?!(?:not|only|and|or)\b)(?P<type>[-\w]+)(?: and (?:not {_GROUP}|{_ALL_OF}))?",
    re.IGNORECASE | re.ASCII,
)


def parse_condition(option: str, key: Any) -> str:
    """Return a media condition; a number or the name of a width means a ``max-width`` in pixels.

    Media types such as ``print`` are not part of the grammar of ``sizes``.
    Source: https://html.spec.whatwg.org/multipage/images.html#sizes-attributes
    """
    widest = _max_width(option, key)
    if widest is not None:
        return widest
    text = _text(option, key, "a media condition")
    if not _CONDITION.fullmatch(text) or "," in text:
        raise SpecError(f"{option}: {shown(key)} is not one media condition such as '(min-width: 800px)'")
    return text


def parse_media(option: str, key: Any) -> str:
    """Return a media query, or several with commas, as ``<source media>`` takes them; numbers and names as above.

    Source: https://www.w3.org/TR/mediaqueries-4/#mq-syntax
    """
    widest = _max_width(option, key)
    if widest is not None:
        return widest
    queries = [query.strip() for query in _text(option, key, "a media query").split(",")]
    for query in queries:
        found = _TYPE.fullmatch(query)
        if found is None and not _CONDITION.fullmatch(query):
            raise SpecError(
                f"{option}: {shown(key)} is not a media query such as '(min-width: 800px)', 'print' or "
                "'screen and (orientation: portrait)'"
            )
        if found is not None and found["type"].lower() not in MEDIA_TYPES:
            hint = did_you_mean(found["type"], [*MEDIA_TYPES, *WIDTHS])
            raise SpecError(f"{option}: {shown(found['type'])} is no media type{hint}")
    return ", ".join(queries)


def is_condition(media: str) -> bool:
    """Return whether a checked media query is one media condition, without a media type."""
    return "," not in media and bool(_CONDITION.fullmatch(media))


def as_group(condition: str) -> str:
    """Return a media condition in parentheses, so that it can stand behind ``not`` and beside ``and``."""
    return condition if re.fullmatch(_GROUP, condition) else f"({condition})"


def _max_width(option: str, key: Any) -> str | None:
    if isinstance(key, str):
        return f"(max-width: {WIDTHS[key]}px)" if key in WIDTHS else None
    if isinstance(key, int) and not isinstance(key, bool):
        return f"(max-width: {check_integer(option, key, 1, 100_000)}px)"
    return None


def _text(option: str, key: Any, kind: str) -> str:
    """Return a key's text, each space once, after refusing what no media query holds."""
    if not isinstance(key, str) or not _CHARACTERS.fullmatch(key) or key.count("(") != key.count(")"):
        raise SpecError(f"{option}: {shown(key)} is not a max-width in pixels or {kind}")
    return " ".join(key.split())


_LENGTH = r"(?P<number{0}>\d*\.?\d+)(?P<unit{0}>px|em|rem)"
_BOUND = re.compile(
    rf"\( ?(?:(?P<name>min|max)-width ?: ?{_LENGTH.format(1)}"
    rf"|width ?(?P<after>[<>]=?) ?{_LENGTH.format(2)}|{_LENGTH.format(3)} ?(?P<before>[<>]=?) ?width) ?\)",
    re.IGNORECASE | re.ASCII,
)
_MIRRORED: Final = str.maketrans("<>", "><")
_PIXELS: Final = {"px": 1.0, "em": 16.0, "rem": 16.0}
"""In media queries both are the browser's font size, 16 pixels unless a visitor chose another:
https://www.w3.org/TR/mediaqueries-4/#units"""


class Bound(NamedTuple):
    """A media condition that says how wide the window is, and nothing else."""

    is_max: bool
    number: float
    unit: str
    is_inclusive: bool = True


def _bound(condition: str) -> Bound | None:
    match = _BOUND.fullmatch(condition)
    if match is None:
        return None
    number, unit = next((match[f"number{i}"], match[f"unit{i}"]) for i in (1, 2, 3) if match[f"unit{i}"])
    sign = match["after"] or (match["before"] or "").translate(_MIRRORED)
    is_max = sign.startswith("<") or (match["name"] or "").lower() == "max"
    return Bound(is_max, float(number), unit.lower(), not sign or sign.endswith("="))


_WHOLE: Final = frozenset({"all", "screen", "only screen", "not print"})
"""Media queries that hold for every window, however wide."""


def browsing_order(condition: str) -> tuple[int, float, bool]:
    """Sort so that the first condition that holds is the narrowest: others as given, max-width up, min-width down.

    Browsers take the first that holds; what holds for every window comes last, or nothing behind it would be shown.
    """
    if condition.lower() in _WHOLE:
        return (3, 0.0, False)
    bound = _bound(condition)
    if bound is None:
        return (0, 0.0, False)
    pixels = bound.number * _PIXELS[bound.unit]
    return (1, pixels, bound.is_inclusive) if bound.is_max else (2, -pixels, bound.is_inclusive)


def meaning_of(condition: str) -> Bound | str:
    """Return what is equal for two conditions that say the same: of two such, browsers never reach the second."""
    return _bound(condition) or condition.lower()
