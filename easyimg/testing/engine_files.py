"""What every engine must do about the files it writes: no metadata, exact cuts; a part of ``EngineContract``."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Final

import pytest
from PIL import Image, ImageOps

from easyimg.formats import OUTPUT_FORMATS, encoder_quality
from easyimg.geometry import Focus, Size, Window
from easyimg.ports import Encoded, Engine
from easyimg.spec import VariantSpec
from easyimg.testing import images, profiles, uncommon
from easyimg.testing.pixels import UPRIGHT, corner_names, opened

_ALLOWED: Final = {
    "jpeg": {"SOI", "APP0", "DQT", "SOF0", "SOF2", "DHT", "DRI", "SOS"},
    "png": {"IHDR", "PLTE", "tRNS", "pHYs", "IDAT", "IEND"},
    "webp": {"VP8X", "ALPH", "VP8 ", "VP8L"},
    "avif": {"av01", "ispe", "pixi", "av1C", "colr nclx", "auxC", "pasp"},
}
"""All that a variant's file may consist of: what is needed to show it."""


def parts(variant: Encoded) -> set[str]:
    """Return the names of what a file consists of: segments, chunks, or items and properties."""
    return set(_PARTS[variant.format](variant.data))


def _jpeg_parts(data: bytes) -> Iterator[str]:
    names = {0xDB: "DQT", 0xC0: "SOF0", 0xC2: "SOF2", 0xC4: "DHT", 0xDD: "DRI", 0xDA: "SOS", 0xE0: "APP0"}
    assert data[:2] == b"\xff\xd8"
    assert data[-2:] == b"\xff\xd9"
    assert data.count(b"\xff\xd9") == 1, "a second picture is in the file"
    yield "SOI"
    at = 2
    while at < len(data) - 2:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        yield names.get(marker, f"marker {marker:02X}")
        if names.get(marker) == "APP0":
            assert length == 16, "JFIF with a thumbnail"
        at += 2 + length
        while marker == 0xDA and (data[at] != 0xFF or data[at + 1] in (0, *range(0xD0, 0xD8))):
            at += 1  # entropy-coded data, up to the next marker


def _png_parts(data: bytes) -> Iterator[str]:
    at = 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        yield data[at + 4 : at + 8].decode()
        at += 12 + length


def _webp_parts(data: bytes) -> Iterator[str]:
    at = 12
    while at < len(data):
        (length,) = struct.unpack("<I", data[at + 4 : at + 8])
        yield data[at : at + 4].decode()
        at += 8 + length + length % 2


def _avif_parts(data: bytes) -> Iterator[str]:
    """Return kinds of items and properties of an ISO base media file (ISO/IEC 23008-12)."""
    boxes = dict(_boxes(data))
    assert set(boxes) <= {"ftyp", "meta", "mdat", "free"}
    meta = dict(_boxes(boxes["meta"][4:]))
    for _, entry in _boxes(meta["iinf"][6:]):
        yield entry[8:12].decode()
    for name, content in _boxes(dict(_boxes(meta["iprp"]))["ipco"]):
        yield f"colr {content[:4].decode()}" if name == "colr" else name


def _boxes(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        assert length >= 8
        yield data[at + 4 : at + 8].decode("latin-1"), data[at + 8 : at + length]
        at += length


_PARTS: Final = {"jpeg": _jpeg_parts, "png": _png_parts, "webp": _webp_parts, "avif": _avif_parts}


class FileContract:
    """Tests of the files one engine writes."""

    @pytest.mark.parametrize("source", ["jpeg", "png", "webp", "tiff", "gif", "avif"])
    @pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
    def test_nothing_the_source_told_is_left(self, engine: Engine, source: str, mode: str) -> None:
        if (source, mode) == ("jpeg", "RGBA"):
            mode = "CMYK"
        data = uncommon.talkative(source, Image.open(io.BytesIO(images.corners(120, 90))).convert(mode))
        assert uncommon.SECRET in data
        specs = [VariantSpec(f, width) for f in OUTPUT_FORMATS for width in (None, 50)]
        for variant in engine.build(data, source, specs):
            assert uncommon.SECRET not in variant.data
            assert parts(variant) <= _ALLOWED[variant.format]
            image = opened(variant)
            assert dict(image.getexif()) == {}
            assert {"icc_profile", "exif", "xmp", "comment", "photoshop"}.isdisjoint(image.info)

    @pytest.mark.parametrize("source", ["jpeg", "webp", "png", "avif"])
    def test_neither_place_nor_turn_nor_profile_is_left(self, engine: Engine, source: str) -> None:
        """A profile left in would be applied a second time, an orientation would turn the picture again."""
        data = images.photo(300, 200, format=source, gps=True, orientation=6, icc_profile=profiles.swapped_profile())
        specs = [VariantSpec(f, 100, Fraction(1)) for f in OUTPUT_FORMATS]
        for variant in engine.build(data, source, specs):
            assert parts(variant) <= _ALLOWED[variant.format]
            assert b"easyimg test camera" not in variant.data
            assert dict(opened(variant).getexif()) == {}

    @pytest.mark.parametrize("format", OUTPUT_FORMATS)
    def test_resolution_of_the_source_is_not_told(self, engine: Engine, format: str) -> None:
        image = Image.open(io.BytesIO(images.corners(60, 40)))
        one, other = (
            engine.build(images.encoded(image, "png", dpi=(dpi, dpi)), "png", [VariantSpec(format)])
            for dpi in (72, 299)
        )
        assert one == other

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_avif_is_turned_upright_once(self, engine: Engine, orientation: int) -> None:
        data = images.corners(300, 200, format="avif", orientation=orientation, quality=90)
        assert engine.probe(data, "avif").size == (300, 200)
        for variant in engine.build(data, "avif", [VariantSpec("png", 150), VariantSpec("avif", 150)]):
            shown = ImageOps.exif_transpose(opened(variant))  # as a browser would, were there something left to turn
            assert shown.size == (150, 100)
            assert corner_names(shown) == UPRIGHT

    @pytest.mark.parametrize(("by_box", "by_exif"), [(1, 6), (6, 6), (6, 1), (8, 3)])
    def test_avif_is_turned_by_its_boxes_and_never_by_exif(self, engine: Engine, by_box: int, by_exif: int) -> None:
        upright = Image.open(io.BytesIO(images.corners(300, 200)))
        stored = {
            1: upright,
            6: upright.transpose(Image.Transpose.ROTATE_90),
            8: upright.transpose(Image.Transpose.ROTATE_270),
        }
        data = uncommon.avif_with_both_turns(stored[by_box], by_box, by_exif)
        assert engine.probe(data, "avif").size == (300, 200)
        (variant,) = engine.build(data, "avif", [VariantSpec("png", 150)])
        assert corner_names(opened(variant)) == UPRIGHT

    def test_orientation_in_xmp_is_ignored_as_browsers_do(self, engine: Engine) -> None:
        xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"></x:xmpmeta>'
        data = images.corners(300, 200, format="jpeg", xmp=xmp)
        assert Image.open(io.BytesIO(data)).getexif()[0x0112] == 6
        assert engine.probe(data, "jpeg").size == (300, 200)
        (variant,) = engine.build(data, "jpeg", [VariantSpec("png", 150)])
        assert corner_names(opened(variant)) == UPRIGHT

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_a_cut_that_is_not_resized_has_exactly_the_sources_pixels(self, engine: Engine, orientation: int) -> None:
        source = Image.open(io.BytesIO(images.photo(211, 97, format="png"))).convert("RGB")
        data = images.encoded(source, "png", orientation=orientation)
        specs = [
            VariantSpec("png"),
            VariantSpec("png", window=Window(50 / 211, 10 / 97, 160 / 211, 81 / 97)),
            VariantSpec("png", 97, Fraction(1), crop=Focus(0, 0)),
            VariantSpec("png", 97, Fraction(1), crop=Focus(1, 1)),
            VariantSpec("png", 1000, Fraction(1), crop=Focus(0.5, 0.5)),
        ]
        boxes = [(0, 0, 211, 97), (50, 10, 160, 81), (0, 0, 97, 97), (114, 0, 211, 97), (57, 0, 154, 97)]
        for variant, box in zip(engine.build(data, "png", specs), boxes, strict=True):
            assert opened(variant).convert("RGB").tobytes() == source.crop(box).tobytes()

    @pytest.mark.parametrize("crop", [Focus(x, y) for x in (0.0, 0.5, 1.0) for y in (0.0, 0.5, 1.0)])
    def test_nine_places_of_a_crop(self, engine: Engine, crop: Focus) -> None:
        """Three wide and three high fields: only the one asked for is in view."""
        fields = [(40 + 80 * x, 40 + 80 * y, 130) for y in range(3) for x in range(3)]
        image = Image.new("RGB", (300, 300))
        for i, colour in enumerate(fields):
            image.paste(colour, (i % 3 * 100, i // 3 * 100, i % 3 * 100 + 100, i // 3 * 100 + 100))
        across = VariantSpec("png", 100, Fraction(1, 3), crop=crop)
        down = VariantSpec("png", 300, Fraction(3), crop=crop)
        for spec, axis, place in ((across, 0, crop.x), (down, 1, crop.y)):
            (variant,) = engine.build(images.encoded(image, "png"), "png", [spec])
            level = 40 + 80 * round(place * 2)
            assert opened(variant).convert("RGB").getchannel(axis).getextrema() == (level, level)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_smart_crop_and_focus_are_of_the_upright_picture(self, engine: Engine, orientation: int) -> None:
        """One coloured, detailed object on grey, on the right: found, and as the source's own focus."""
        canvas = Image.new("RGB", (600, 200), (200, 200, 200))
        canvas.paste(Image.open(io.BytesIO(images.photo(150, 150))), (430, 25))
        data = images.encoded(canvas, "png", orientation=orientation)
        specs = [VariantSpec("png", 100, Fraction(1), crop="smart"), VariantSpec("png", 100, Fraction(1))]
        for variant in engine.build(data, "png", specs, Focus(0.84, 0.5)):
            column = opened(variant).convert("RGB").crop((0, 50, 100, 51)).tobytes()
            flat = sum(column[i : i + 3] == b"\xc8\xc8\xc8" for i in range(0, 300, 3))
            assert flat < 50  # the object is 75 pixels wide here

    def test_smart_crop_stays_in_the_window(self, engine: Engine) -> None:
        data = images.corners(400, 300)
        left = Window(0, 0, 0.5, 1)
        (variant,) = engine.build(data, "png", [VariantSpec("png", 60, Fraction(1), crop="smart", window=left)])
        assert {name[1] for name in corner_names(opened(variant)).values()} == {"l"}

    def test_contain_fits_inside_the_box_and_covers_it(self, engine: Engine) -> None:
        data = images.corners(600, 400)
        inside, over = (VariantSpec("png", 150, Fraction(1), crop=None, contain=contain) for contain in (True, False))
        sizes = []
        for variant in engine.build(data, "png", [inside, over]):
            assert corner_names(opened(variant)) == UPRIGHT
            sizes.append((variant.width, variant.height))
        assert sizes == [(150, 100), (225, 150)]

    def test_upscale_enlarges_what_is_shown(self, engine: Engine) -> None:
        specs = [VariantSpec("png", 300, Fraction(1), upscale=upscale, crop=Focus(1, 0)) for upscale in (True, False)]
        large, natural = engine.build(images.corners(100, 60), "png", specs)
        assert opened(large).size == (300, 300)
        assert opened(natural).size == (60, 60)
        assert corner_names(opened(large)) == corner_names(opened(natural)) == UPRIGHT  # 10 px of the left are in view

    @pytest.mark.parametrize("format", ["jpeg", "webp", "avif"])
    def test_exact_quality_is_the_encoders_own_number(self, engine: Engine, format: str) -> None:
        """One number gives each format its own; the number that is mapped to is the same asked for exactly."""
        data = images.photo(300, 200)
        mapped = VariantSpec(format, 200, quality=60)
        number = encoder_quality(format, 60)
        exact, other = (VariantSpec(format, 200, quality=n, exact_quality=True) for n in (number, number + 2))
        one, two, three = engine.build(data, "jpeg", [mapped, exact, other])
        assert one.data is two.data
        assert one.data != three.data

    @pytest.mark.parametrize("format", OUTPUT_FORMATS)
    def test_every_width_of_a_small_source_is_the_source(self, engine: Engine, format: str) -> None:
        data = images.photo(40, 30)
        variants = engine.build(data, "jpeg", [VariantSpec(format, width) for width in (40, 41, 640, 16383)])
        assert {(v.width, v.height) for v in variants} == {Size(40, 30)}
        assert len({id(v.data) for v in variants}) == 1
