"""VipsEngine: libvips through pyvips. The default engine.

One build is one decode. The header is opened first; a JPEG is then opened again to be shrunk by its decoder by 2, 4 or
8, leaving at least twice the pixels of the largest variant for a Lanczos resize (1.5 times where all is fast). That
largest variant is held in memory, smaller ones of the same region are made from it, every encoder reads memory. If the
specs show several regions, or want ``crop="smart"``, the shrunk picture itself is held instead of streamed.

Its first use sets libvips up for the whole process: loaders that libvips calls unsafe for untrusted files are blocked,
and its operation cache, of no use to files seen once, is switched off.

The encoder efforts are in :mod:`easyimg.engines._vips_encode`; for animations, in
:mod:`easyimg.engines._vips_animation`.
"""

from __future__ import annotations

import functools
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pyvips

from easyimg.engines import _vips_animation as animation
from easyimg.engines import _vips_pixels as pixels
from easyimg.engines._animation import Animation, animations
from easyimg.engines._plan import Output, cascade, check_size, last_line, outputs, regions, shrink_on_load
from easyimg.engines._vips_encode import encode
from easyimg.engines._vips_source import Stored
from easyimg.engines.orientation import stored_box, swapped
from easyimg.errors import BuildCrashed, BuildError, ConfigError, SourceUnreadable
from easyimg.geometry import Box, Focus, Size
from easyimg.ports import Encoded
from easyimg.source import SourceInfo
from easyimg.spec import VariantSpec

_SAVERS: Final = {
    "jpeg": "jpegsave_buffer",
    "png": "pngsave_buffer",
    "webp": "webpsave_buffer",
    "avif": "heifsave_buffer",
    "gif": "gifsave_buffer",
}


_TOLD: Final = re.compile(r"\s*(?!image: no property named|source: )\w+: \w")
"""A line of libvips that tells a reason: where, colon, what."""

_NO_MEMORY: Final = re.compile("(?i)(insufficient memory|out of memory|memory allocation)(?!.*security limit)")
"""What libjpeg, libvips and libheif say when they get no more; libheif also where a file asks for more than any may."""


class VipsEngine:
    """The engine on libvips. Thread-safe; fits :class:`easyimg.ports.Engine`.

    libvips hangs in a process forked from one that has used it (a worker thread's lock is copied locked), so that is
    refused with a ConfigError. A fork before the first use is fine.
    """

    name = "vips"

    def can_write(self, format: str) -> bool:
        """Return whether libvips has that encoder; AVIF is tried once, since its encoder is a plug-in of libheif."""
        _enter()
        if format not in _SAVERS or not pyvips.type_find("VipsOperation", _SAVERS[format]):
            return False
        return format != "avif" or _writes_avif()

    def probe(self, data: bytes, format: str) -> SourceInfo:
        """Return what the header says, in 2 ms or less."""
        _enter()
        with _decoding():
            return Stored(data, format).info

    def build(
        self,
        data: bytes,
        format: str,
        specs: Sequence[VariantSpec],
        focus: Focus | None = None,
        *,
        glimpse_of: int | None = None,
    ) -> list[Encoded]:
        """Return one Encoded per spec from one decode."""
        _enter()
        with _decoding():
            source = Stored(data, format)
            wanted, pictures = _pictures(source, specs, focus)
            moving = _animations(source, [output for output in wanted if output.animated])
        files: dict[Output, Encoded] = {}
        for index, output in enumerate(wanted):
            if output not in files:
                files[output] = _encoded((moving if output.animated else pictures)[output.frame], output, index)
        found = [files[output] for output in wanted]
        picture = None if glimpse_of is None else pictures.get(wanted[glimpse_of].frame)
        if glimpse_of is not None and picture is not None:
            from easyimg.engines._glimpse import glimpse  # loads Pillow: only where there is something to make

            found[glimpse_of] = found[glimpse_of]._replace(glimpse=glimpse(pixels.as_pillow(picture)))
        return found


def _pictures(source: Stored, specs: Sequence[VariantSpec], focus: Focus | None) -> tuple[list[Output], dict[Any, Any]]:
    """Return the outputs wanted and, by frame, the picture of each still: upright 8-bit sRGB, in memory."""
    info = source.info
    wanted = outputs(specs, info, focus)
    asked = regions(output for output in wanted if not output.animated)
    smart = any(spec.crop == "smart" and spec.ratio is not None for spec in specs)
    if not asked and not smart:
        return wanted, {}
    stored = {_turned_box(source, box): [swapped(s, source.orientation) for s in sizes] for box, sizes in asked.items()}
    image = source.shrunk(shrink_on_load(stored, specs))
    to_the_end = source.must_read_on()
    if smart or len(asked) > 1:
        image, to_the_end = image.copy_memory(), False
    if smart:
        wanted = outputs(specs, info, focus, pixels.attention(image, source.orientation))
        asked = regions(output for output in wanted if not output.animated)
    made: dict[Any, Any] = {}
    for box, sizes in asked.items():
        for size, picture in _family(source, image, box, sizes, to_the_end).items():
            made[box, size] = picture
    return wanted, made


def _animations(source: Stored, wanted: list[Output]) -> dict[Any, Animation]:
    """Return, by frame, the animation of each output that keeps it; where there is none, nothing is decoded."""
    if not wanted:
        return {}

    def make(picture: Any, box: Box, sizes: list[Size]) -> dict[Size, Any]:
        return _family(source, picture, box, sizes, to_the_end=False)

    return animations(animation.frames(source), animation.plays(source), wanted, make)


def _turned_box(source: Stored, box: Box) -> Box:
    return stored_box(box, swapped(source.size, source.orientation), source.orientation)


def _family(source: Stored, image: Any, box: Box, sizes: list[Size], to_the_end: bool) -> dict[Size, Any]:
    """Return the pictures of one region: the largest from the source, the others from larger ones."""
    stored, turned = _turned_box(source, box), swapped(sizes[0], source.orientation)
    largest = pixels.part(image, stored, source.size, turned, to_the_end=to_the_end)
    if source.orientation > 1:
        largest = pixels.upright(largest, source.orientation).copy_memory()
    made = {sizes[0]: largest}
    for size, parent in cascade(sizes):
        made[size] = pixels.smaller(made[parent], size)
    for size, picture in made.items():
        check_size(Size(picture.width, picture.height), size)
    return made


def _encoded(picture: Any, output: Output, index: int) -> Encoded:
    try:
        data = animation.encode(picture, output) if output.animated else encode(picture, output)
    except pyvips.Error as exc:
        raise BuildError(f"libvips cannot write {output.format}: {_reason(exc)}", spec_index=index) from exc
    return Encoded(data, output.format, *output.frame.size)


@contextmanager
def _decoding() -> Iterator[None]:
    try:
        yield
    except (pyvips.Error, UnicodeDecodeError) as exc:  # a decoder may quote the file's own broken text
        reason = _reason(exc)
        if _NO_MEMORY.search(reason):  # says nothing of the file
            raise BuildCrashed(f"out of memory: {reason}") from exc
        raise SourceUnreadable(reason) from exc


def _reason(exc: Exception) -> str:
    """Return the last line in which libvips says what is wrong, ``"VipsJpeg: premature end of JPEG image"``.

    Its messages are one buffer of the whole process: what pyvips asked in vain, what another thread was told, and a
    line cut short where the buffer was full stand there as well.
    """
    lines = exc.detail.splitlines() if isinstance(exc, pyvips.Error) else ()
    told = [line for line in lines if _TOLD.match(line) and not line.endswith("...")]
    return last_line("\n".join(told))


# libvips is one per process, so what it is told is told once per process.
_lock = threading.Lock()
_users: Final[list[int]] = []
"""The id of the process that used libvips first, once there is one; a fork inherits it."""


def _enter() -> None:
    """Set libvips up at its first use in this process, and refuse a use that would hang."""
    if not _users:
        with _lock:
            if not _users:
                pyvips.block_untrusted_set(True)
                pyvips.operation_block_set("VipsForeignLoadUhdr", False)  # JPEG with a gain map: every recent phone's
                pyvips.cache_set_max(0)
                _users.append(os.getpid())
    if _users[0] != os.getpid():
        raise ConfigError(
            f"libvips was already used in process {_users[0]}, of which this process ({os.getpid()}) is a fork: "
            "it would hang. Build nothing before forking, or start this process by spawn"
        )


@functools.cache
def _writes_avif() -> bool:
    try:
        pyvips.Image.black(16, 16, bands=3).heifsave_buffer(compression="av1", effort=0)
    except pyvips.Error:
        return False
    return True
