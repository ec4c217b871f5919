"""``<link rel="preload">`` and the HTTP header ``Link`` for the file that an ``<img>`` will load. Pure.

Rules: https://html.spec.whatwg.org/multipage/links.html#link-type-preload (``imagesrcset``, ``imagesizes``) and
https://www.rfc-editor.org/rfc/rfc8288 (the header).
"""

from __future__ import annotations

from typing import NamedTuple

from easyimg.attributes import Attributes, write_attributes
from easyimg.markup import Parts, PictureSource
from easyimg.media import as_group, is_condition

_HINTS: Attributes = (("rel", "preload"), ("as", "image"))


class _Load(NamedTuple):
    """What a browser loads while a condition holds.

    Args:
        media: ``media``, where there is a condition.
        choice: what lets the browser choose as it will for the ``<img>``; ``()`` where the URL is all there is.
        url: of one file.
    """

    media: Attributes
    choice: Attributes
    url: str


def write_preload(parts: Parts, further: Attributes) -> str:
    """Return the ``<link>``; ``""`` while only an inline placeholder stands in: there is nothing to load.

    Of a ``<picture>`` the first choice is preloaded; browsers that do not know its format ignore the link. With art
    direction there is a link for each condition, one per line, and nothing is loaded twice: conditions exclude those
    before them. None is for ``print``; and none at all is given where a condition cannot be excluded, which is one
    that names another media type or several conditions with commas.

    Args:
        parts: of the image.
        further: attributes that the link shares with the ``<img>``, such as ``fetchpriority`` and ``crossorigin``.
    """
    # No `href` beside a choice: a browser that does not know `imagesrcset` would load that, and then something else.
    return "\n".join(
        f"<link{write_attributes((*_HINTS, *media, *(choice or (('href', url),)), *further))}>"
        for media, choice, url in _loads(parts)
    )


def preload_header(parts: Parts, further: Attributes) -> str:
    """Return the same as values of the header ``Link``; ``""`` for none.

    The header must name a target; browsers that know ``imagesrcset`` do not look at it.
    """
    values = []
    for media, choice, url in _loads(parts):
        given = (*_HINTS, *media, *choice, *further)
        hints = [name if text is None else f"{name}={_quoted(text)}" for name, text in given]
        values.append("; ".join([f"<{url}>", *hints]))
    return ", ".join(values)


def _loads(parts: Parts) -> list[_Load]:
    first: dict[str, PictureSource] = {}
    for source in parts.sources:
        first.setdefault(source.media, source)
    own = first.pop("", None)
    found: list[_Load] = []
    excluded: list[str] = []
    for media, source in first.items():
        if media.lower() == "print":  # no screen is one
            continue
        if not is_condition(media):
            return []
        found.append(
            _Load(_holds([*excluded, as_group(media)]), _choice(source, source.type), source.candidates[0].url)
        )
        excluded.append(f"(not {as_group(media)})")
    shown, type_ = (own, own.type) if own is not None else (parts, "")
    if not parts.src.startswith("data:"):
        return [*found, _Load(_holds(excluded), _choice(shown, type_), parts.src)]
    if shown.candidates:
        return [*found, _Load(_holds(excluded), _choice(shown, type_), shown.candidates[0].url)]
    return found


def _holds(conditions: list[str]) -> Attributes:
    return (("media", " and ".join(conditions)),) if conditions else ()


def _choice(shown: PictureSource | Parts, type_: str) -> Attributes:
    if not shown.candidates:
        return ()
    sizes = (("imagesizes", shown.sizes.removeprefix("auto, ")),) if shown.sizes else ()
    return (*((("type", type_),) if type_ else ()), ("imagesrcset", shown.srcset), *sizes)


def _quoted(text: str) -> str:
    """Return a quoted string (RFC 9110, 5.6.4); what a header cannot hold is left out."""
    printable = "".join(c for c in text if " " <= c <= "~")
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'
