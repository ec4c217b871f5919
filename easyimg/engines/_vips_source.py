"""A source opened with libvips: the allow-list of loaders, the header's facts, the stream of rows."""

from __future__ import annotations

from typing import Any, Final

import pyvips

from easyimg.engines import _apng as apng
from easyimg.engines._av1 import check_av1, check_coded_size
from easyimg.engines._gif import covers, is_covered
from easyimg.engines._headers import check_header, is_opaque
from easyimg.engines.orientation import known, swapped
from easyimg.errors import SourceUnreadable, UnsupportedFormat
from easyimg.formats import DEFAULT_ALLOWED
from easyimg.geometry import Size
from easyimg.source import SourceInfo

_LOADERS: Final = {
    "jpeg": ("jpegload_source", {}),
    "png": ("pngload_source", {}),
    "webp": ("webpload_source", {"page": 0, "n": 1}),
    "gif": ("gifload_source", {"page": 0, "n": 1}),
    "avif": ("heifload_source", {"page": 0, "n": 1}),
    "tiff": ("tiffload_source", {"page": 0, "n": 1}),
}
"""The only loaders ever called, by the format that the content was recognised as."""

_ONE_PASS: Final = ("webp", "gif", "avif")
"""Formats whose decoder reads the whole first frame before it gives out the first row."""


class Stored:
    """A source's bytes with its header read: the one place that calls a loader."""

    def __init__(self, data: bytes, format: str) -> None:
        if format not in _LOADERS or not pyvips.type_find("VipsOperation", _LOADERS[format][0]):
            raise UnsupportedFormat(format, DEFAULT_ALLOWED, "this libvips cannot decode it")
        self.data = data
        self.format = format
        check_header(data, format)
        if format == "avif":
            check_av1(data)  # libvips tells the codec by the brand, which may lie
        self.header = self._load()
        # AVIF is turned by its own irot and imir boxes in libheif, and its EXIF orientation must be ignored
        # (ISO/IEC 23008-12, 6.5.10); after that nothing may turn it again.
        self.orientation = 1 if format == "avif" else known(self._field("orientation"))
        self.size = Size(self.header.width, self.header.height)
        if format == "avif":
            check_coded_size(data, self.size)
        self.is_partial = format == "gif" and not (self.header.hasalpha() or is_covered(data, self.size))

    def open(self, **options: Any) -> Any:
        """Return the first frame (``n=-1``: all in one strip) as a stream of rows, decoded when rows are asked for."""
        return _in_one_thread(self._load(**options))

    def _load(self, **options: Any) -> Any:
        """Return an image whose header alone is read so far.

        It reads ``data`` where it is, each time from a source of its own: pyvips would copy a buffer for each image.
        """
        loader, first = _LOADERS[self.format]
        source = pyvips.Source.new_from_memory(self.data)
        image = pyvips.Operation.call(loader, source, access="sequential", fail_on="error", **{**first, **options})
        return _colours(image) if self.format == "tiff" and is_opaque(self.data) else image

    def shrunk(self, factor: int) -> Any:
        """Return the stream divided by 2, 4 or 8 while it is decoded, as far as its format can do that well.

        WebP's scaler saves a third of the time, but averages colours over transparent pixels too, and composes an
        animation's frame anew: stills without transparency only.
        """
        if factor > 1 and self.format == "jpeg":
            image = self.open(shrink=factor)
        elif factor > 1 and self.format == "webp" and not (self.header.hasalpha() or self._field("n-pages")):
            image = self.open(scale=1 / factor)
        elif self.format == "gif":
            return self._first_of_gif()
        else:
            return _in_one_thread(self.header)
        if abs(image.width - self.size.width / factor) > 1 or abs(image.height - self.size.height / factor) > 1:
            raise SourceUnreadable("the decoder shrinks it to a size that its header does not explain")
        return image

    def _first_of_gif(self) -> Any:
        """Return a GIF's first frame after Pillow has found all of its pixels: libvips leaves black what is missing."""
        from easyimg.engines import _pillow_source

        with _pillow_source.decoding():
            _pillow_source.Stored(self.data, "gif").decoded(1)
        first = _in_one_thread(self.header)
        return covered(first, next(covers(self.data, self.size))) if self.is_partial else first

    @property
    def info(self) -> SourceInfo:
        """The facts of the header, upright."""
        frames = 1
        if self.format == "png":
            frames = apng.frame_count(self.data)
        elif self.format != "jpeg":
            frames = self._field("n-pages") or 1
        return SourceInfo(
            *swapped(self.size, self.orientation),
            format=self.format,
            has_alpha=bool(self.header.hasalpha() or self.is_partial),
            frames=max(1, frames),
            interlaced=bool(self._field("interlaced") or self._field("jpeg-multiscan")),
        )

    def must_read_on(self) -> bool:
        """Return whether a cut must read on to the last row to notice that the file is damaged or truncated.

        A JPEG that has its end marker is complete, and libjpeg repairs damage inside rather than reporting it: reading
        on would cost up to 5 % of a build for nothing.
        """
        return self.format not in _ONE_PASS and not (self.format == "jpeg" and b"\xff\xd9" in self.data[-64:])

    def _field(self, name: str) -> Any:
        """Return what the header says of something; None where it says nothing."""
        return self.header.get(name) if self.header.get_typeof(name) else None


def covered(image: Any, mask: Any) -> Any:
    """Return a picture that is transparent where a mask of Pillow's is 0."""
    alpha, colours = pyvips.Image.new_from_memory(mask.tobytes(), *mask.size, 1, "uchar"), image
    if image.hasalpha():
        own, colours = image[image.bands - 1], image.extract_band(0, n=image.bands - 1)
        alpha = (own < alpha).ifthenelse(own, alpha)
    return colours.bandjoin(alpha).copy(interpretation=image.interpretation)


def _colours(image: Any) -> Any:
    """Return the colours of a picture alone: libvips takes any band beside them for transparency, and may add one."""
    count = {"cmyk": 4, "srgb": 3, "rgb16": 3, "b-w": 1, "grey16": 1}.get(image.interpretation, image.bands)
    return image.extract_band(0, n=count) if image.bands > count else image


def _in_one_thread(image: Any) -> Any:
    """Return the image so that it is made by one thread: more inside one build gain nothing (measured)."""
    image = image.copy()
    image.set_type(pyvips.GValue.gint_type, "concurrency", 1)
    return image
