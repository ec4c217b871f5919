"""What every engine must refuse by the header, and must not show of a half; a part of ``EngineContract``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import pytest
from PIL import Image

from easyimg.errors import BuildError, SourceTooLarge, SourceUnreadable
from easyimg.geometry import Size
from easyimg.ports import Engine
from easyimg.spec import VariantSpec
from easyimg.testing import hostile, images, uncommon
from easyimg.testing.pixels import is_close, opened

STILL = [VariantSpec("png")]

_BLOCKS: Final = b"Photoshop 3.0\0" + b"8BIM\4\4\0\0\0\0\0\0" * 5000

_MANIFOLD: Final[dict[str, tuple[str, Callable[[], bytes]]]] = {
    "comments": ("jpeg", lambda: hostile.jpeg_of_segments(500_000)),
    "markers": ("jpeg", lambda: hostile.jpeg_of_segments(30_000, marker=0xD0)),
    "stray": ("jpeg", lambda: hostile.jpeg_of_segments(0, stray=2_000_000)),
    "tables": ("jpeg", lambda: hostile.jpeg_of_segments(30, marker=0xDB, body=bytes(65) * 1000)),
    "blocks": ("jpeg", lambda: hostile.jpeg_of_segments(30, marker=0xED, body=_BLOCKS)),
    "chunks": ("png", lambda: hostile.png_of_chunks(200_000)),
    "chunks-after": ("png", lambda: hostile.png_of_chunks(200_000, after=True)),
    "chunks-of-pixels": ("png", lambda: hostile.png_of_chunks(200_000, b"IDAT", after=True)),
    "comment": ("gif", lambda: hostile.gif_of_pieces(2_000_000)),
    "pieces": ("gif", lambda: hostile.gif_of_pieces(2_000_000, comment=False)),
    "stray-in-gif": ("gif", lambda: hostile.gif_of_pieces(0, stray=2_000_000)),
    "pages": ("tiff", lambda: hostile.tiff(pages=5_000)),
}
"""Format, and what makes a file of many parts of a kind: not made before a test asks for it."""


class LimitsContract:
    """Tests of one engine on files that ask too much."""

    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("side", [16_384, 32_768, 65_536])
    def test_large_tiles_are_refused_by_the_header(self, engine: Engine, side: int, order: str) -> None:
        with pytest.raises(SourceTooLarge, match="tiles of"):
            engine.probe(hostile.tiff(tile=(side, side), order=order), "tiff")

    @pytest.mark.parametrize("samples", [6, 300])
    def test_pixels_of_many_samples_are_refused_by_the_header(self, engine: Engine, samples: int) -> None:
        with pytest.raises(SourceTooLarge, match=f"{samples} samples"):
            engine.probe(hostile.tiff(samples=samples), "tiff")

    @pytest.mark.parametrize(("bits", "kind"), [(32, 1), (32, 3), (16, 2), (64, 3)])
    def test_numbers_without_a_known_white_are_refused_and_never_black(
        self, engine: Engine, bits: int, kind: int
    ) -> None:
        with pytest.raises(SourceUnreadable, match=f"{bits}-bit"):
            engine.probe(hostile.tiff(bits=bits, kind=kind), "tiff")

    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize(("samples", "bits"), [(1, 8), (1, 16), (3, 8), (3, 16)])
    def test_ordinary_tiffs_of_the_same_maker_are_built(
        self, engine: Engine, samples: int, bits: int, order: str
    ) -> None:
        data = hostile.tiff(samples=samples, bits=bits, pages=3, order=order)
        assert engine.probe(data, "tiff").size == (100, 100)
        (variant,) = engine.build(data, "tiff", STILL)
        assert opened(variant).convert("L").getextrema() == (0, 0)

    def test_a_picture_larger_than_its_avif_says_is_refused(self, engine: Engine) -> None:
        with pytest.raises(SourceTooLarge, match="1200 x 900 pixels inside an AVIF that calls itself 64 x 64"):
            engine.probe(hostile.avif_inside((1200, 900), (64, 64)), "avif")

    def test_cells_of_an_avif_may_reach_beyond_it(self, engine: Engine) -> None:
        cells = [Image.new("RGB", (512, 512), colour) for colour in (images.RED, images.GREEN)]
        data = uncommon.avif_of_cells(cells, 2, 520, 300)
        assert engine.probe(data, "avif").size == (520, 300)
        picture = opened(engine.build(data, "avif", STILL)[0]).convert("RGB")
        assert is_close(picture.getpixel((100, 290)), images.RED)
        assert is_close(picture.getpixel((518, 290)), images.GREEN)

    def test_cells_of_an_avif_that_show_nowhere_are_refused(self, engine: Engine) -> None:
        cell = Image.new("RGB", (512, 512), images.RED)
        with pytest.raises((SourceTooLarge, SourceUnreadable)):
            engine.probe(uncommon.avif_of_cells([cell], 8, 520, 300, times=64), "avif")

    def test_an_avif_in_countless_pieces_is_refused_for_what_it_is(self, engine: Engine) -> None:
        data = bytearray(uncommon.avif_of_cells([Image.new("RGB", (64, 64), images.RED)], 1, 64, 64))
        count = data.index(b"iloc") + 16
        assert data[count : count + 2] == b"\0\1"
        data[count : count + 2] = b"\xff\xff"
        with pytest.raises((SourceUnreadable, SourceTooLarge)):
            engine.probe(bytes(data), "avif")

    def test_a_jpeg_of_several_scans_counts_as_a_progressive_one(self, engine: Engine) -> None:
        """A decoder holds its coefficients until the last scan, as those of a progressive one."""
        data = hostile.jpeg_in_scans(160, 96)
        assert engine.probe(data, "jpeg").interlaced
        assert not engine.probe(images.photo(160, 96), "jpeg").interlaced
        picture = opened(engine.build(data, "jpeg", STILL)[0]).convert("RGB")
        assert picture.getextrema() == ((128, 128),) * 3

    @pytest.mark.parametrize("what", _MANIFOLD)
    def test_a_header_of_too_many_parts_is_refused_at_once(self, engine: Engine, what: str) -> None:
        format, make = _MANIFOLD[what]
        data = make()
        started = time.thread_time()
        with pytest.raises(SourceTooLarge, match="are not read"):
            engine.probe(data, format)
        assert time.thread_time() - started < 1  # of seconds and minutes; the rest is for slow machines

    @pytest.mark.parametrize(
        ("data", "format"),
        [
            (hostile.jpeg_of_segments(300, body=bytes(1000), stray=2000), "jpeg"),
            (hostile.png_of_chunks(900), "png"),
            (hostile.png_of_chunks(900, after=True), "png"),
            (hostile.gif_of_pieces(50_000, stray=2000), "gif"),
        ],
        ids=["jpeg", "png", "png-after", "gif"],
    )
    def test_many_parts_are_fine(self, engine: Engine, data: bytes, format: str) -> None:
        assert engine.probe(data, format).size == (80, 60)
        assert opened(engine.build(data, format, STILL)[0]).size == (80, 60)

    def test_a_palette_picture_without_its_palette_is_refused(self, engine: Engine) -> None:
        data = images.encoded(Image.new("P", (16, 12)), "png")
        at = data.index(b"PLTE") - 4
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        with pytest.raises(SourceUnreadable):
            engine.build(data[:at] + data[end:], "png", STILL)

    @pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
    def test_a_gif_whose_pixels_end_early_is_refused(self, engine: Engine, kept: float) -> None:
        with pytest.raises(SourceUnreadable):
            engine.build(hostile.gif_cut_short(kept), "gif", STILL)

    def test_nothing_is_behind_a_gif_that_does_not_cover_its_canvas(self, engine: Engine) -> None:
        data = hostile.gif_with_margins()
        assert engine.probe(data, "gif").has_alpha
        kept, fallback, flat = engine.build(data, "gif", [*STILL, VariantSpec(), VariantSpec("jpeg", quality=100)])
        assert fallback.format == "png"
        image = opened(kept).convert("RGBA")
        assert image.getchannel("A").crop((2, 2, 6, 6)).getextrema() == (255, 255)
        assert sum(value > 0 for value in image.getchannel("A").tobytes()) == 16
        assert image.getpixel((4, 4)) == (*images.GREEN, 255)
        assert is_close(opened(flat).convert("RGB").getpixel((0, 0)), (255, 255, 255), 40)

    def test_a_file_higher_than_any_may_be_names_the_spec(self, engine: Engine) -> None:
        specs = [VariantSpec("webp", 20), VariantSpec("png", 400, upscale=True)]
        with pytest.raises(BuildError, match="400 x 20,000 pixels") as caught:
            engine.build(images.corners(20, 1000), "png", specs)
        assert caught.value.spec_index == 1
        assert VariantSpec("png", 400).frame(Size(20, 1000)).size == (20, 1000)
