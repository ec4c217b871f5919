"""A source opened with Pillow: the allow-list of openers, the header's facts, the decoded pixels."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from PIL import (
    AvifImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageChops,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    TiffTags,
    WebPImagePlugin,
    features,
)

from easyimg import _fork
from easyimg.engines import _apng as apng
from easyimg.engines._av1 import check_av1, check_coded_size
from easyimg.engines._gif import covers, is_covered
from easyimg.engines._headers import check_header, is_multiscan
from easyimg.engines._pillow_png import check_complete, scale_key
from easyimg.engines._plan import check_size, last_line
from easyimg.engines.orientation import known, swapped
from easyimg.errors import SourceTooLarge, SourceUnreadable, UnsupportedFormat
from easyimg.formats import DEFAULT_ALLOWED
from easyimg.geometry import Size
from easyimg.source import SourceInfo

# The classes themselves, not Image.open: that one warns of large pictures (our limits come first, and a warning
# is no answer), and asks every plug-in a site may have registered.
_OPENERS: Final[dict[str, type[ImageFile.ImageFile]]] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "avif": AvifImagePlugin.AvifImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
}

# All that Pillow's readers, written in Python, were seen to raise for files that are broken on purpose.
_DAMAGE: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    ArithmeticError,
    struct.error,
    zlib.error,
    RuntimeError,
)


class _Quiet:
    """The lock of :func:`no_warnings`; a forked process has its own, held by nobody."""

    def __init__(self) -> None:
        self._renew()
        _fork.after_fork(self._renew)

    def _renew(self) -> None:
        self.lock = threading.Lock()


_quiet: Final = _Quiet()


@contextmanager
def decoding() -> Iterator[None]:
    """Turn whatever a reader raises into an error of ours."""
    try:
        yield
    except Image.DecompressionBombError as exc:
        raise SourceTooLarge(last_line(str(exc))) from exc
    except _DAMAGE as exc:
        raise SourceUnreadable(last_line(str(exc)) if str(exc) else type(exc).__name__) from exc


class Stored:
    """A source's bytes with its header read: the one place that opens a picture."""

    def __init__(self, data: bytes, format: str) -> None:
        if format not in _OPENERS or (format in ("webp", "avif") and not features.check(format)):
            raise UnsupportedFormat(format, DEFAULT_ALLOWED, "this Pillow cannot decode it")
        self.data = data
        self.format = format
        check_header(data, format)
        if format == "avif":
            check_av1(data)
        with no_warnings():
            self.image = _OPENERS[format](io.BytesIO(data))
            self.orientation = _orientation(self.image, format)
        self.size = Size(*self.image.size)
        if format == "avif":
            check_coded_size(data, self.size)
        self.is_partial = format == "gif" and not (self.image.has_transparency_data or is_covered(data, self.size))

    def info(self) -> SourceInfo:
        """Return the facts of the header, upright. Counting frames moves the file: not after ``info`` may it load."""
        image = self.image
        with no_warnings():
            many = self.format not in ("jpeg", "png")
            still = 1 if self.format == "jpeg" else apng.frame_count(self.data)
            frames = getattr(image, "n_frames", 1) if many else still
            return SourceInfo(
                *swapped(self.size, self.orientation),
                format=self.format,
                has_alpha=image.has_transparency_data or self.is_partial,
                frames=frames,
                interlaced=bool(
                    image.info.get("progressive")
                    or image.info.get("interlace")
                    or (self.format == "jpeg" and is_multiscan(self.data))
                ),
            )

    def decoded(self, factor: int) -> Image.Image:
        """Return the first frame's pixels; a JPEG divided by 2, 4 or 8 while it is decoded."""
        image = self.image
        if factor > 1 and self.format == "jpeg":
            image.draft(None, (max(1, self.size.width // factor), max(1, self.size.height // factor)))
        if self.format == "tiff":
            _read_tags(image)
        promised = Size(*image.size)
        image.load()
        if self.format == "png":
            check_complete(self.data, image)
            scale_key(self.data, image)
        check_size(Size(*image.size), promised)
        if isinstance(self.image, TiffImagePlugin.TiffImageFile) and image.mode == "I;16" and _is_negative(self.image):
            return image.point(lambda value: value * -1 + 65535)
        return covered(image, next(covers(self.data, self.size))) if self.is_partial else image


def _read_tags(image: ImageFile.ImageFile) -> None:
    """Have a TIFF's EXIF tags read, as Pillow (13.0) does once the pixels are decoded, and remembered.

    So its warnings of odd ones are kept quiet without holding up other threads until the pixels are there.
    """
    image.info.pop("xmp", None)  # where no tag tells an orientation, that in XMP would be taken
    with no_warnings():
        exif = image.getexif()
        for group in TiffTags.TAGS_V2_GROUPS:
            if group in exif:
                exif.get_ifd(group)


def _is_negative(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Return whether 0 is white in a grey TIFF, of which Pillow (13.0) takes no notice where it has 16 bits."""
    return image.tag_v2.get(ExifTags.Base.PhotometricInterpretation) == 0


def covered(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Return a decoded picture that is transparent where a mask is 0."""
    shown = image.convert("RGBA")
    shown.putalpha(ImageChops.darker(shown.getchannel("A"), mask))
    return shown


def _orientation(image: ImageFile.ImageFile, format: str) -> int:
    """Return how the decoded pixels have to be turned.

    Pillow turns TIFF itself while loading, and states an AVIF's irot and imir boxes as EXIF orientation. Its
    ``getexif`` is not used: it falls back to the orientation in XMP, which browsers ignore.
    """
    if format == "tiff":
        return 1
    raw: Any = image.info.get("exif")
    if not isinstance(raw, bytes):
        return 1
    exif = Image.Exif()
    try:
        exif.load(raw)
    except _DAMAGE:
        return 1  # browsers show a picture whose EXIF is broken as it is stored
    return known(exif.get(ExifTags.Base.Orientation))


@contextmanager
def no_warnings() -> Iterator[None]:
    """Keep Pillow's remarks on odd headers out of a site's log.

    The filters are the process's, hence the lock; a process forked meanwhile would keep them as they are. For headers
    only: other threads wait.
    """
    with _fork.no_fork, _quiet.lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
