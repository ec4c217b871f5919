"""From a plan and rows to HTML: candidates, srcset, sizes, the ``<img>`` tag. Pure; every text is escaped here.

Rules: https://html.spec.whatwg.org/multipage/images.html (srcset, sizes, lazy ``auto`` sizes) and
https://html.spec.whatwg.org/multipage/embedded-content.html#the-img-element.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple
from urllib.parse import quote

from easyimg.attributes import Attributes, escape, write_attributes
from easyimg.formats import FORMATS
from easyimg.geometry import Focus, Size, frame
from easyimg.plan import Group, Plan
from easyimg.preview import window_of
from easyimg.source import Source, SourceInfo, is_svg
from easyimg.variant import SourceRecord, Variant, VariantStatus

UrlOf = Callable[[str, str], str | None]
"""(storage alias, file name) -> URL, or None where the storage has none. No I/O."""

_BUILT = VariantStatus.BUILT
_HIDDEN_EXTENSIONS = frozenset(
    "tif tiff heic heif hif bmp psd pdf eps jxl jp2 raw dng cr2 cr3 nef arw orf rw2 raf".split()  # noqa: SIM905 - shorter
)
_PLAIN_URL = re.compile(r"(?:https?:/)?/(?!/)[-A-Za-z0-9/._~%]*")
_SAFE_URL = re.compile(r"(?:https?:)?[^\x00-\x20<>\"'`\\^{|}\x7f-\U0010ffff]+")


class Candidate(NamedTuple):
    """One entry of ``srcset``: URL, descriptor (``""`` for 1x), format, and the file's size in pixels."""

    url: str
    descriptor: str
    format: str
    width: int
    height: int


class PictureSource(NamedTuple):
    """One ``<source>`` of a ``<picture>``, unescaped.

    ``media`` is ``""`` where it always holds. ``width`` and ``height`` are 0 where they are not written: beside no art
    direction, all sources share the box of the ``<img>``.
    """

    type: str
    candidates: tuple[Candidate, ...]
    sizes: str
    media: str = ""
    width: int = 0
    height: int = 0

    @property
    def srcset(self) -> str:
        """The value of the ``srcset`` attribute."""
        return _srcset(self.candidates)


class Parts(NamedTuple):
    """The attributes of one ``<img>``, unescaped. ``width`` and ``height`` are 0 when unknown.

    ``stand_in`` says what ``src`` shows while the base is not built: ``"source"``, ``"placeholder"``, or ``""``.
    ``sources`` stand before the ``<img>`` inside a ``<picture>``, if ``picture`` is set. ``background`` is the style of
    what is shown until the files are loaded.
    """

    src: str
    candidates: tuple[Candidate, ...]
    sizes: str
    width: int
    height: int
    style: str
    stand_in: Literal["", "source", "placeholder"]
    picture: bool = False
    sources: tuple[PictureSource, ...] = ()
    background: str = ""

    @property
    def srcset(self) -> str:
        """The value of the ``srcset`` attribute; ``""`` for none."""
        return _srcset(self.candidates)


def _srcset(candidates: tuple[Candidate, ...]) -> str:
    return ", ".join([f"{c.url} {c.descriptor}" if c.descriptor else c.url for c in candidates])


def image_parts(
    plan: Plan,
    keys: Sequence[str],
    source: Source,
    record: SourceRecord | None,
    url_of: UrlOf,
    *,
    pending: str = "source",
    strict_csp: bool = False,
    lazy: bool = True,
) -> Parts:
    """Return the parts of one image from what is built now.

    Args:
        keys: of ``plan.specs`` for this source, in order.
        record: the source's row with its variants; None when it was never seen.
        pending: ``"source"`` lets the source stand in until the base is built; nothing else does.
        strict_csp: True = no inline style; a placeholder stands in where the source would need one.
        lazy: whether ``loading="lazy"`` will be written; then ``sizes`` begins with ``auto``.
    """
    info, focus = (record.info, record.focus) if record is not None else (None, None)
    if is_svg(source, info):
        return _svg_parts(plan, source, info, url_of)
    variants = record.variants if record is not None else {}
    base, src = _built_base(variants, keys, url_of)
    if base is not None:
        style = _position(plan, info, focus) if _is_cut_by_css(plan) and not strict_csp else ""
        parts = Parts(src, (), "", base.width, base.height, style, "")
    else:
        parts = _not_built(plan, source, info, focus, variants.get(keys[0]), url_of, pending, strict_csp)
    if plan.placeholder and not strict_csp and record is not None and parts.stand_in != "placeholder":
        parts = parts._replace(background=_background(plan, plan.placeholder, record))
    found = [(group, _candidates(plan, group, keys, variants, info, parts.width, url_of)) for group in plan.groups]
    if parts.stand_in != "placeholder":
        found = [(group, _wide_enough(plan, candidates, parts.width)) for group, candidates in found]
    auto = lazy and parts.width > 0
    if plan.picture:
        sources = [PictureSource(FORMATS[g.format].mime, c, _sizes(plan, c, auto)) for g, c in found if c]
        if base is not None and sources and plan.fluid and auto:
            # What src shows, as a candidate: an <img> says `auto` for its sources too, and sizes needs a srcset.
            shown = (Candidate(src, f"{base.width}w", base.format, base.width, base.height),)
            parts = parts._replace(candidates=shown, sizes=_sizes(plan, shown, auto))
        return _with_allowed_auto(parts._replace(picture=True, sources=tuple(sources)))
    candidates = found[0][1] if found else ()
    if base is not None and [(c.width, c.format) for c in candidates] == [(base.width, base.format)]:
        return parts  # a single candidate that only repeats src
    return Parts(parts.src, candidates, _sizes(plan, candidates, auto), *parts[3:])


def art_sources(
    plan: Plan,
    media: str,
    keys: Sequence[str],
    source: Source,
    record: SourceRecord | None,
    url_of: UrlOf,
    *,
    lazy: bool = True,
) -> tuple[PictureSource, ...]:
    """Return the ``<source>`` elements of one entry of art direction, from what is built now; none if nothing is.

    One for each format, then the base for browsers that know none of them. An SVG is shown as it is.

    Args:
        media: the media query of the entry.
        plan, keys, source, record, url_of, lazy: as of ``image_parts``, of the entry.
    """
    info = record.info if record is not None else None
    if is_svg(source, info):
        svg = _svg_parts(plan, source, info, url_of)
        shown = Candidate(svg.src, "", "svg", svg.width, svg.height)
        box = (svg.width, svg.height)
        return () if svg.stand_in else (PictureSource(FORMATS["svg"].mime, (shown,), "", media, *box),)
    variants = record.variants if record is not None else {}
    base, src = _built_base(variants, keys, url_of)
    size = plan.slot_size(info) if base is None else Size(base.width, base.height)
    if size is None:
        return ()
    all_built = [(g.format, _candidates(plan, g, keys, variants, info, size.width, url_of)) for g in plan.groups]
    found = [(form, _wide_enough(plan, candidates, size.width)) for form, candidates in all_built]
    if base is not None and base.format not in {form for form, candidates in found if candidates}:
        found.append(
            (base.format, (Candidate(src, _descriptor(base.width, size.width, plan.fluid), base.format, *size),))
        )
    return tuple(PictureSource(FORMATS[form].mime, c, _sizes(plan, c, lazy), media, *size) for form, c in found if c)


def with_art(parts: Parts, art: Sequence[PictureSource]) -> Parts:
    """Return the parts of a picture with art direction in front of its own sources, and a box for each.

    While the source stands in and is fitted into the box, nothing else is shown: that style is on the one ``<img>``,
    and would cut what has another ratio.
    """
    stretches = parts.stand_in == "source" and parts.style.startswith("object-fit")
    own = tuple(source._replace(width=parts.width, height=parts.height) for source in parts.sources)
    return _with_allowed_auto(parts._replace(picture=True, sources=own if stretches else (*art, *own)))


def _with_allowed_auto(parts: Parts) -> Parts:
    """Return the parts without ``auto`` in their sources, unless the ``<img>`` has it too: only then does it count.

    Source: https://html.spec.whatwg.org/multipage/images.html#valdef-sizes-auto
    """
    if parts.sizes.startswith("auto"):
        return parts
    return parts._replace(sources=tuple(s._replace(sizes=s.sizes.removeprefix("auto, ")) for s in parts.sources))


def _built_base(variants: dict[str, Variant], keys: Sequence[str], url_of: UrlOf) -> tuple[Variant | None, str]:
    """Return the base and its URL if it is built and has one; else None and ``""``."""
    base = variants.get(keys[0])
    src = url_of(base.storage, base.file_name) if base is not None and base.status == _BUILT else None
    return (None, "") if src is None else (base, src)


def _not_built(
    plan: Plan,
    source: Source,
    info: SourceInfo | None,
    focus: Focus | None,
    base: Variant | None,
    url_of: UrlOf,
    pending: str,
    strict_csp: bool,
) -> Parts:
    """Return the parts while the base is not there: what stands in, at the size that the slot will have."""
    size = plan.slot_size(info)
    if base is not None and base.status == VariantStatus.SOURCE_ERROR:
        pending = "placeholder"  # what was refused is not shown; a broken file would lose its box, and the page move
    stand_in, src, style = _stand_in(plan, source, info, focus, size, url_of, pending, strict_csp)
    return Parts(src, (), "", *(size or (0, 0)), style, stand_in)


def _candidates(
    plan: Plan,
    group: Group,
    keys: Sequence[str],
    variants: dict[str, Variant],
    info: SourceInfo | None,
    slot: int,
    url_of: UrlOf,
) -> tuple[Candidate, ...]:
    """Return the built candidates of a group, narrowest first, each width once."""
    suits = info is None or group.suits(info.has_alpha, info.is_animated)
    if (not slot and not plan.fluid) or not suits:
        return ()
    found: list[Candidate] = []
    last = 0
    for key in keys[group.start : group.start + len(group.specs)]:
        variant = variants.get(key)
        if variant is None or variant.status != _BUILT or variant.width <= last:
            continue
        url = url_of(variant.storage, variant.file_name)
        if url is None:
            continue
        last = variant.width
        descriptor = _descriptor(last, slot, plan.fluid)
        if not found or found[-1].descriptor != descriptor:  # 16001 / 8000 is written as 2x too
            found.append(Candidate(url, descriptor, variant.format, last, variant.height))
    return tuple(found)


def _wide_enough(plan: Plan, candidates: tuple[Candidate, ...], slot: int) -> tuple[Candidate, ...]:
    """Return the candidates, or none where the widest of a fluid slot is too narrow for it.

    Another image may have ordered some of its files. Browsers look at ``src`` no more once there is any candidate with
    a width, and would stretch the small file over the large slot.
    """
    return () if plan.fluid and candidates and candidates[-1].width < slot else candidates


@lru_cache(maxsize=4096)
def _descriptor(width: int, slot: int, fluid: bool) -> str:
    """Return ``640w``, ``2x``, ``1.667x``; ``""`` for 1x."""
    if fluid:
        return f"{width}w"
    if width == slot or not slot:
        return ""
    text = f"{width / slot:.4g}"
    return "" if text == "1" else f"{text}x"


def _sizes(plan: Plan, candidates: tuple[Candidate, ...], auto: bool) -> str:
    """Return ``sizes``, only beside width descriptors; ``auto`` in front where browsers may use the real layout."""
    if not plan.fluid or not candidates:
        return ""
    return f"auto, {plan.sizes}" if auto else plan.sizes


def _stand_in(
    plan: Plan,
    source: Source,
    info: SourceInfo | None,
    focus: Focus | None,
    size: Size | None,
    url_of: UrlOf,
    pending: str,
    strict_csp: bool,
) -> tuple[Literal["source", "placeholder"], str, str]:
    """Return what stands in for the base, its URL, and the style that keeps it from stretching or shifting."""
    url = url_of(source.storage, source.name) if pending == "source" and _browsers_show(source, info) else None
    style = ""
    if url is not None and size is not None and _ratio_differs(plan, info, size):
        style = f"object-fit: cover; aspect-ratio: {size.width} / {size.height}"
        position = _position(plan, info, focus)
        style += f"; {position}" if position else ""
    elif _is_cut_by_css(plan) and not strict_csp:
        style = _position(plan, info, focus)
    if url is None or (style and strict_csp):
        return "placeholder", placeholder(size), ""
    return "source", url, style


def _background(plan: Plan, kind: str, record: SourceRecord) -> str:
    """Return the style that shows a source's preview behind the ``<img>``; ``""`` where it would not be covered."""
    info, preview, base = record.info, record.preview, plan.base
    if info is None or preview is None or info.has_alpha or info.is_animated:
        return ""
    if plan.art:  # one background for all its pictures
        if any(entry.source is not None for entry in plan.art):
            return ""
        kind = "color"
    smart = base.crop == "smart" and base.ratio is not None  # nobody but the engine knows what that cuts
    region = None if smart else window_of(base.frame(info.size, record.focus).region, info.size)
    return preview.style(kind, region)


def _is_cut_by_css(plan: Plan) -> bool:
    """Return whether the box is covered with nothing cut off: the author's ``object-fit`` does that."""
    return plan.base.crop is None and not plan.base.contain


def _position(plan: Plan, info: SourceInfo | None, focus: Focus | None) -> str:
    """Return the style by which CSS, filling a box of the slot's ratio with the source, cuts what a crop would cut."""
    base = plan.base
    point = base.crop if isinstance(base.crop, Focus) else focus
    if info is None or point is None or base.ratio is None or base.window is not None:
        return ""
    region = frame(info.size, ratio=base.ratio, crop=point).region
    spare = (info.width - region.width, info.height - region.height)
    x, y = (start / room if room > 0 else 0.5 for start, room in zip(region[:2], spare, strict=True))
    return "" if (x, y) == (0.5, 0.5) else f"object-position: {x * 100:.4g}% {y * 100:.4g}%"


def _browsers_show(source: Source, info: SourceInfo | None) -> bool:
    if info is None:
        return _extension(source.name) not in _HIDDEN_EXTENSIONS
    return info.format in FORMATS and FORMATS[info.format].browsers


def _ratio_differs(plan: Plan, info: SourceInfo | None, size: Size) -> bool:
    """Return whether the source, shown in the slot, would not have the slot's ratio (by more than one pixel)."""
    if info is None:
        return plan.base.ratio is not None or plan.base.window is not None
    return abs(size.width * info.height / info.width - size.height) > 1


def _svg_parts(plan: Plan, source: Source, info: SourceInfo | None, url_of: UrlOf) -> Parts:
    """Return the parts of an SVG source: shown as it is, at the slot's width, with no variants."""
    url = url_of(source.storage, source.name)
    width, height = (info.width, info.height) if info is not None else (0, 0)
    if width and plan.base.width is not None:
        width, height = plan.base.width, max(1, round(plan.base.width * height / width))
    return Parts(url or placeholder(None), (), "", width, height, "", "" if url else "placeholder")


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower()


def placeholder(size: Size | None) -> str:
    """Return an inline SVG of the right ratio, as a ``data:`` URL of about 150 characters."""
    box = f"viewBox='0 0 {size.width} {size.height}'" if size else "viewBox='0 0 1 1'"
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' {box}><path fill='#e5e7eb' d='M0 0h100000v100000H0z'/></svg>"
    return "data:image/svg+xml," + quote(svg, safe="=:/' ").replace(" ", "%20").replace("'", "%27")


def is_safe_url(url: str) -> bool:
    """Return whether a storage's URL may be written: http, https or relative, and nothing that could split it."""
    # A signed URL is soon another one, and what can be opened with it is not kept longer than it must.
    return _is_safe_url(url) if "?" not in url else _is_safe_url.__wrapped__(url)


@lru_cache(maxsize=16_384)
def _is_safe_url(url: str) -> bool:
    if _PLAIN_URL.fullmatch(url):  # nearly all are; what follows takes three times as long
        return True
    if not _SAFE_URL.fullmatch(url) or url.startswith(("//", ",")) or url.endswith(","):
        return False
    head, colon, _ = url.partition(":")
    return not colon or head in ("http", "https") or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", head)


def write_front(parts: Parts) -> str:
    """Return the beginning of the ``<img>`` tag: all that does not differ between two uses of one picture."""
    html = f'<img src="{escape(parts.src)}"'
    if parts.picture:
        html = "<picture>" + "".join(map(_write_source, parts.sources)) + html
    if parts.candidates:
        html += f' srcset="{escape(parts.srcset)}"'
    if parts.sizes:
        html += f' sizes="{escape(parts.sizes)}"'
    if parts.width:
        html += f' width="{parts.width}" height="{parts.height}"'
    return html


def write_rest(parts: Parts, alt: str | None, tail: str, style: str | None = None) -> str:
    """Return the end of the ``<img>`` tag.

    Args:
        parts: the computed attributes.
        alt: alternative text; None leaves the attribute out.
        tail: further attributes, already written by ``write_tail``; begins with a space, or is empty.
        style: the author's own ``style`` text, put after ours.
    """
    html = tail if alt is None else f' alt="{escape(alt)}"{tail}'
    if parts.style or parts.background or style:
        html += f' style="{escape(whole_style(parts, style))}"'
    return html + (">" if not parts.picture else "></picture>")


def whole_style(parts: Parts, style: str | None) -> str:
    """Return the value of the ``style`` attribute, unescaped, the author's own text at its end; ``""`` for none."""
    return "; ".join(filter(None, (parts.style, parts.background, style)))


def _write_source(source: PictureSource) -> str:
    media = f' media="{escape(source.media)}"' if source.media else ""
    sizes = f' sizes="{escape(source.sizes)}"' if source.sizes else ""
    box = f' width="{source.width}" height="{source.height}"' if source.width else ""
    return f'<source{media} type="{source.type}" srcset="{escape(source.srcset)}"{sizes}{box}>'


def write_img(parts: Parts, alt: str | None, tail: str, style: str | None = None) -> str:
    """Return the whole ``<img>`` tag, inside its ``<picture>`` if it has one."""
    return write_front(parts) + write_rest(parts, alt, tail, style)


def write_tail(
    loading: str | None, decoding: str | None, fetchpriority: str | None, attributes: Attributes
) -> tuple[str, str | None]:
    """Return the attributes that do not depend on the source, written, and the author's ``style`` text apart."""
    style = next((text for name, text in attributes if name.lower() == "style"), None)
    own = (("loading", loading), ("decoding", decoding), ("fetchpriority", fetchpriority))
    written = write_attributes((name, text) for name, text in own if text is not None)
    return written + write_attributes((n, t) for n, t in attributes if n.lower() != "style"), style
