"""Source: the uploaded original, as an address. SourceInfo: what its header says. Limits: what is accepted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Final

from easyimg.errors import SourceTooLarge, SourceUnreadable, SpecError, UnsupportedFormat, shown
from easyimg.formats import DEFAULT_ALLOWED, FORMATS, sniff
from easyimg.geometry import Size
from easyimg.spec import MAX_SIDE


@dataclass(frozen=True)
class Source:
    """The address of an original: a storage's alias and a name inside it. Reads nothing."""

    storage: str
    name: str

    @cached_property
    def address(self) -> bytes:
        """What every key of this source's variants is made from."""
        return f"{self.storage}\0{self.name}".encode("utf-8", "surrogatepass")

    @cached_property
    def id(self) -> str:
        """The source's row id, 32 hex digits: computable without a query."""
        return hashlib.sha256(self.address).hexdigest()[:32]

    @property
    def is_svg(self) -> bool:
        """Whether its name says SVG: shown as it is, never built from."""
        return self.name[-4:].lower() == ".svg"

    @property
    def is_storable(self) -> bool:
        """Whether every database can hold its address: no NUL, and no half character (lone surrogate)."""
        try:
            return b"\0" not in f"{self.storage}{self.name}".encode()
        except UnicodeEncodeError:
            return False

    def __str__(self) -> str:
        return self.name if self.storage == "default" else f"{self.storage}:{self.name}"


def as_source(value: Any) -> Source | None:
    """Return the Source that a template's argument means; None for an empty one (``None``, ``""``, an empty field).

    Accepts a Source, a name in storage ``"default"``, any object with ``__easyimg_source__()``, and what a framework
    has made known by :func:`add_source_kind`.

    Raises:
        SpecError: the value is none of these.
    """
    if type(value) is str:  # what pages have by the hundred
        return _named(value) if value else None
    if isinstance(value, Source):
        return value if value.name else None
    if isinstance(value, str):
        return _named(str.__str__(value)) if value else None
    hook = getattr(type(value), "__easyimg_source__", None)
    if hook is not None:
        return as_source(hook(value))
    if value is None or value is False:
        return None
    for kind, convert in _kinds.items():
        if isinstance(value, kind):
            return convert(value)
    raise SpecError(
        f"source: {shown(value)} is not a source; give a name, Source(storage, name), "
        "or an object with __easyimg_source__()"
    )


_kinds: dict[type, Callable[[Any], Source | None]] = {}


def add_source_kind(kind: type, convert: Callable[[Any], Source | None]) -> None:
    """Let instances of a framework's class be sources; called by adapters, once each. None = an empty one."""
    _kinds[kind] = convert


@lru_cache(maxsize=8192)
def _named(name: str) -> Source:
    """Return a source of the default storage; the same one while a page shows it again, with its id at hand."""
    return Source("default", name)


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a source's header says. Sizes are upright: after its EXIF orientation is applied.

    Args:
        width, height: pixels, upright.
        format: by content, one of ``formats.FORMATS``.
        has_alpha: whether the header declares transparency.
        frames: of an animation, or pages; 1 for a still.
        interlaced: progressive JPEG or interlaced PNG: needs memory for the whole picture.
    """

    width: int
    height: int
    format: str
    has_alpha: bool = False
    frames: int = 1
    interlaced: bool = False

    @property
    def size(self) -> Size:
        """Width and height as one value."""
        return Size(self.width, self.height)

    @property
    def is_animated(self) -> bool:
        """Whether it is an animation that can be kept: the pages of a TIFF are none, and AVIF shows its first frame."""
        return self.frames > 1 and self.format in _ANIMATED


def is_svg(source: Source, info: SourceInfo | None) -> bool:
    """Return whether a source is shown as it is and never built from: by its content, else by its name."""
    return info.format == "svg" if info is not None else source.is_svg


_ANIMATED: Final = ("gif", "webp", "png")
"""Formats whose animations are read."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is accepted from an upload, checked on the header before anything is decoded.

    Args:
        max_bytes: of the file.
        max_pixels: width x height, of one frame.
        max_progressive_pixels: the same for progressive JPEG, whose decoder holds the whole picture.
        max_animation_pixels: width x height x frames of an animation, where a variant keeps it.
        max_side: longest side, pixels.
        formats: allowed formats, by content.
    """

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    max_progressive_pixels: int = 25_000_000
    max_animation_pixels: int = 50_000_000
    max_side: int = MAX_SIDE
    formats: tuple[str, ...] = field(default=DEFAULT_ALLOWED)

    def check_bytes(self, size: int) -> None:
        """Refuse a file by its size in bytes."""
        if size > self.max_bytes:
            raise SourceTooLarge(f"{size:,} bytes; at most {self.max_bytes:,} are allowed")

    def check_content(self, data: bytes) -> str:
        """Return the format's name after refusing empty, oversized, unknown and not allowed content."""
        if not data:
            raise SourceUnreadable("the file is empty (0 bytes)")
        self.check_bytes(len(data))
        found = sniff(data)
        if found is None or found not in self.formats or found not in FORMATS:
            raise UnsupportedFormat(found, self.formats)
        return found

    def check_info(self, info: SourceInfo) -> None:
        """Refuse a picture by what its header declares."""
        width, height = info.size
        if max(width, height) > self.max_side:
            raise SourceTooLarge(f"{width} x {height} pixels; no side may be longer than {self.max_side}")
        progressive = info.interlaced and info.format == "jpeg"
        limit = self.max_progressive_pixels if progressive else self.max_pixels
        if width * height > limit:
            raise SourceTooLarge(
                f"{width} x {height} = {width * height / 1e6:.1f} megapixels; at most {limit / 1e6:g} are allowed"
                f"{' in a progressive JPEG' if progressive else ''}"
            )

    def check_animation(self, info: SourceInfo, file: Size) -> None:
        """Refuse to keep an animation by what its header declares: all frames count, as stored and in the file.

        Args:
            info: of the source.
            file: the size of the variant, which may enlarge it.
        """
        width, height = max(info.size, file, key=lambda size: size.width * size.height)
        pixels = width * height * info.frames
        if pixels > self.max_animation_pixels:
            raise SourceTooLarge(
                f"{width} x {height} x {info.frames:,} frames = {pixels / 1e6:.1f} megapixels; "
                f"at most {self.max_animation_pixels / 1e6:g} are allowed in an animation"
            )
