"""``<link rel="preload">`` and the HTTP header ``Link`` for the file that an ``<img>`` will load. Pure.

Rules: https://html.spec.whatwg.org/multipage/links.html#link-type-preload (``imagesrcset``, ``imagesizes``) and
https://www.rfc-editor.org/rfc/rfc8288 (the header).
"""

from __future__ import annotations

from easyimg.attributes import Attributes, write_attributes
from easyimg.markup import Parts

_HINTS: Attributes = (("rel", "preload"), ("as", "image"))


def write_preload(parts: Parts, further: Attributes) -> str:
    """Return the ``<link>``; ``""`` while only an inline placeholder stands in: there is nothing to load.

    Of a ``<picture>`` the first choice is preloaded; browsers that do not know its format ignore the link.

    Args:
        parts: of the image.
        further: attributes that the link shares with the ``<img>``, such as ``fetchpriority`` and ``crossorigin``.
    """
    choice = _choice(parts)
    if choice:
        # No `href`: a browser that does not know `imagesrcset` would load that, and then something else.
        return f"<link{write_attributes((*_HINTS, *choice, *further))}>"
    if parts.src.startswith("data:"):
        return ""
    return f"<link{write_attributes((*_HINTS, ('href', parts.src), *further))}>"


def preload_header(parts: Parts, further: Attributes) -> str:
    """Return the same as one value of the header ``Link``; ``""`` for none.

    The header must name a target; browsers that know ``imagesrcset`` do not look at it.
    """
    choice = _choice(parts)
    target = parts.src
    if target.startswith("data:"):
        if not choice:
            return ""
        target = (parts.sources[0] if parts.sources else parts).candidates[0].url
    values = [name if text is None else f"{name}={_quoted(text)}" for name, text in (*_HINTS, *choice, *further)]
    return "; ".join([f"<{target}>", *values])


def _choice(parts: Parts) -> Attributes:
    """Return what lets the browser choose as it will for the ``<img>``; ``()`` where ``src`` is all there is."""
    first = parts.sources[0] if parts.sources else parts
    if not first.candidates:
        return ()
    type_ = (("type", parts.sources[0].type),) if parts.sources else ()
    sizes = (("imagesizes", first.sizes.removeprefix("auto, ")),) if first.sizes else ()
    return (*type_, ("imagesrcset", first.srcset), *sizes)


def _quoted(text: str) -> str:
    """Return a quoted string (RFC 9110, 5.6.4); what a header cannot hold is left out."""
    printable = "".join(c for c in text if " " <= c <= "~")
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'
