"""Options written as text, where no list can be: in the tags of templates, whose values may come from anywhere."""

from __future__ import annotations

import re
from typing import Any, Final

_LISTS: Final = ("widths", "densities", "formats")
_NUMBERS: Final = ("width", "quality")


def from_text(option: str, value: Any) -> Any:
    """Return the value that a text means for an option; what is no text stays as it is.

    ``"320, 640, md"`` is a list where a list is needed, and ``"300"`` a number where a number is. Nothing is checked.
    """
    if not isinstance(value, str):
        return value
    text = str.__str__(value)
    if option in _LISTS:
        return [_number(part.strip()) for part in text.split(",")]
    return _number(text.strip()) if option in _NUMBERS else text


def _number(text: str) -> int | float | str:
    if re.fullmatch(r"-?[0-9]{1,9}", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?[0-9]{1,9}\.[0-9]{1,9}", text) else text
