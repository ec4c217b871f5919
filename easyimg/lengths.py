"""CSS lengths as ``sizes`` takes them: numbers with units, and the functions that calculate with them."""

from __future__ import annotations

import re
from collections.abc import Iterator

_NUMBER = re.compile(r"([+-]?(?:\d*\.)?\d+(?:e[+-]?\d+)?)([a-z]*%?)", re.IGNORECASE | re.ASCII)
_OPEN = re.compile(r"(calc|min|max|clamp)?\( ?", re.IGNORECASE)
_CLOSE = re.compile(r" ?\)")
_COMMA = re.compile(r" ?, ?")
_PLUS_MINUS = re.compile(r" [+-] ")
_TIMES_BY = re.compile(r" ?([*/]) ?")

_UNITS = frozenset(
    [f"{kind}{axis}" for kind in ("v", "sv", "lv", "dv") for axis in ("w", "h", "i", "b", "min", "max")]
    + ["px", "cm", "mm", "q", "in", "pt", "pc", "em", "rem", "ex", "rex", "ch", "rch", "cap", "rcap", "ic", "ric"]
    + ["lh", "rlh"]
)
"""https://www.w3.org/TR/css-values-4/#lengths"""

_MAX_DEPTH = 32
"""Parentheses in parentheses that every browser reads: https://www.w3.org/TR/css-values-4/#calc-syntax."""


def is_length(text: str) -> bool:
    """Return whether a text, each space once, is a CSS length that is not negative as far as one can see.

    Percentages are none here: https://html.spec.whatwg.org/multipage/images.html#sizes-attributes
    """
    plain = _NUMBER.fullmatch(text)
    if plain is not None:
        number = float(plain[1])
        return number >= 0 and (plain[2].lower() in _UNITS or (number == 0 and not plain[2]))
    reader = _Calculation(text)
    try:
        return reader.value() and reader.is_at_end()
    except ValueError:
        return False


def split_outside(text: str, separator: str) -> Iterator[str]:
    """Yield the parts of a text between separators that no parentheses hold."""
    depth, start = 0, 0
    for index, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == separator and depth <= 0:
            yield text[start:index]
            start = index + 1
    yield text[start:]


class _Calculation:
    """Reads one calculation by the grammar of CSS; each method says whether what it read is a length, else a number.

    https://www.w3.org/TR/css-values-4/#calc-syntax

    Raises:
        ValueError: the text does not go on as it must.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def is_at_end(self) -> bool:
        return self._at == len(self._text)

    def value(self) -> bool:
        number = self._take(_NUMBER)
        if number is not None:
            if number[2] and number[2].lower() not in _UNITS:
                raise ValueError(number[2])
            return bool(number[2])
        opened = self._take(_OPEN)
        if opened is None or not (opened[1] or self._depth) or self._depth == _MAX_DEPTH:
            raise ValueError(self._text)  # parentheses alone calculate only inside a function
        self._depth += 1
        is_length = self._arguments((opened[1] or "").lower())
        self._depth -= 1
        return is_length

    def _arguments(self, function: str) -> bool:
        kinds = [self._sum()]
        while self._take(_COMMA):
            kinds.append(self._sum())
        allowed = {"min": len(kinds), "max": len(kinds), "clamp": 3}.get(function, 1)
        if len(kinds) != allowed or len(set(kinds)) > 1 or not self._take(_CLOSE):
            raise ValueError(self._text)
        return kinds[0]

    def _sum(self) -> bool:
        is_length = self._product()
        while self._take(_PLUS_MINUS):
            if self._product() != is_length:
                raise ValueError(self._text)
        return is_length

    def _product(self) -> bool:
        is_length = self.value()
        while sign := self._take(_TIMES_BY):
            other = self.value()
            if other and (is_length or sign[1] == "/"):
                raise ValueError(self._text)
            is_length = is_length or other
        return is_length

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return found
