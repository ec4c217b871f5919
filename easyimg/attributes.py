"""Extra HTML attributes: names and values checked when given, escaped when written. All escaping is done here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, time
from decimal import Decimal
from html import escape as _escape
from typing import Any
from uuid import UUID

from easyimg.errors import SpecError, shown

Attributes = tuple[tuple[str, str | None], ...]
"""Checked attributes in order: name and text; None = a bare attribute."""

TOKEN_OPEN = "\ufdd0"
TOKEN_CLOSE = "\ufdd1"
"""Around the tokens that stand for images while a template renders; never let in from outside.

Noncharacters: Unicode keeps them for such internal use (https://www.unicode.org/faq/private_use.html#nonchar1), while
icon fonts use the private-use characters.
"""

_HALF = re.compile("[\ud800-\udfff]")
_NAME = re.compile(r"[A-Za-z_:@][-A-Za-z0-9_:.@]*")
_TRUE_OR_FALSE = frozenset({"draggable", "spellcheck", "contenteditable"})
"""Attributes besides ``aria-*`` whose values are the words; an empty or missing one means something else."""

_WRITABLE = (int, float, Decimal, date, time, UUID)
_OURS = {
    "src": "the source argument",
    "srcset": "width, densities and sizes",
    "sizes": "the option sizes",
    "width": "the option width",
    "height": "the option ratio",
    "alt": "the option alt",
    "loading": "the option loading",
    "decoding": "the option decoding",
    "fetchpriority": "the option fetchpriority",
}


def escape(text: str) -> str:
    """Return text for use inside a double-quoted attribute, without our token characters and half ones."""
    if not text.isascii():
        text = _encodable(text.replace(TOKEN_OPEN, "").replace(TOKEN_CLOSE, ""))
    return _escape(str.__str__(text), quote=True)


def _encodable(text: str) -> str:
    """Return text with U+FFFD for lone surrogates, with which the whole page could not be sent."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _HALF.sub("\ufffd", text)
    return text


def parse_attributes(values: Mapping[str, Any]) -> Attributes:
    """Return checked attributes.

    Args:
        values: name -> value. Names become lower case, as HTML reads them, and their underscores hyphens; of two
            spellings of one name the later counts. True = a bare attribute, None and False leave it out; of ``aria-*``
            and others whose values are the words, ``"true"`` and ``"false"``. Numbers, dates and UUIDs become text.
            Text is taken as text even if it was marked safe.

    Raises:
        SpecError: a name that is no attribute name, an event handler, one that easyimg writes itself, or a value that
            is none of these.
    """
    checked: dict[str, str | None] = {}
    for name, value in values.items():
        attribute = _attribute_name(name)
        checked.pop(attribute, None)
        if attribute in _TRUE_OR_FALSE or attribute.startswith("aria-"):
            value = str(value).lower() if isinstance(value, bool) else value
        if value is False or is_absent(value):
            continue
        checked[attribute] = None if value is True else _attribute_text(attribute, value)
    return tuple(checked.items())


def _attribute_name(name: Any) -> str:
    if not isinstance(name, str):
        raise SpecError(f"img_attrs: attribute name {shown(name)} is not a string")
    attribute = name.replace("_", "-")
    if not _NAME.fullmatch(attribute):
        raise SpecError(f"img_attrs: {shown(name)} is not an attribute name")
    attribute = attribute.lower()
    if attribute.startswith("on"):
        raise SpecError(f"img_attrs: {shown(name)}: event handlers are refused; attach them in a script")
    if attribute in _OURS:
        raise SpecError(f"img_attrs: {shown(name)} is written by easyimg; use {_OURS[attribute]}")
    return attribute


def _attribute_text(name: str, value: Any) -> str:
    text = str(value) if isinstance(value, _WRITABLE) else as_text(value)
    if text is None:
        raise SpecError(f"img_attrs: {name}: {shown(value)} is not a string, a number, a date, True, False or None")
    return text


def check_alt(value: Any) -> str:
    """Return alternative text as a plain string, or raise SpecError."""
    text = as_text(value)
    if text is None:
        raise SpecError(f"alt: {shown(value)} is not a string")
    return text


def as_text(value: Any) -> str | None:
    """Return what is text as a plain string, even if it was marked safe; None for anything else.

    A translation that waits until it is shown (Django's, Babel's) has the methods of a string, and is made now.
    """
    if isinstance(value, str):
        return str.__str__(value)
    if is_absent(value) or not callable(getattr(value, "casefold", None)):
        return None
    return str(value)


_absent: list[type] = [type(None)]


def is_absent(value: Any) -> bool:
    """Return whether a value is None, or stands for a variable that a template does not know.

    Raises:
        Exception: of a template language, where it lets nobody use such a variable.
    """
    return isinstance(value, tuple(_absent)) and not value


def add_absent_kind(kind: type) -> None:
    """Let a template language's undefined variables count as None; called by adapters, once each."""
    if kind not in _absent:
        _absent.append(kind)


def write_attributes(attributes: Iterable[tuple[str, str | None]]) -> str:
    """Return ``' name="text" bare'``: each attribute with a space in front, escaped."""
    return "".join(f" {name}" if text is None else f' {name}="{escape(text)}"' for name, text in attributes)
