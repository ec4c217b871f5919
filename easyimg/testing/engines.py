"""What every :class:`easyimg.ports.Engine` must do, as tests to inherit. Needs pytest.

    from easyimg.testing.engines import EngineContract

    class TestMyEngine(EngineContract):
        @pytest.fixture
        def engine(self):
            return MyEngine()

Every assertion is about pixels or bytes that a user gets; no engine is looked into.
"""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Final

import pytest
from PIL import Image

from easyimg.errors import BuildError, EasyImgError, SourceUnreadable, UnsupportedFormat
from easyimg.geometry import Focus, Size, Window
from easyimg.ports import Engine
from easyimg.spec import EFFORTS, VariantSpec
from easyimg.testing import images
from easyimg.testing.engine_colour import ColourContract
from easyimg.testing.engine_files import FileContract
from easyimg.testing.engine_glimpse import GlimpseContract
from easyimg.testing.engine_limits import LimitsContract
from easyimg.testing.pixels import UPRIGHT, corner_names, is_close, mean_difference, opened

__all__ = ["UPRIGHT", "EngineContract", "corner_names", "is_close", "mean_difference", "opened"]

VIDEO: Final = Fraction(16, 9)
SQUARE: Final = Fraction(1)
DEFAULT: Final = (
    VariantSpec(width=448, ratio=VIDEO),
    VariantSpec("webp", 448, VIDEO),
    VariantSpec("webp", 896, VIDEO),
)
"""What ``Img(width=448, ratio="video")`` asks of an engine."""


class EngineContract(ColourContract, FileContract, GlimpseContract, LimitsContract):
    """Tests of one engine. Override ``engine``."""

    @pytest.fixture
    def engine(self) -> Engine:
        """Return the engine under test."""
        raise NotImplementedError

    def test_fits_the_port(self, engine: Engine) -> None:
        assert isinstance(engine, Engine)
        assert engine.name
        assert engine.can_write("jpeg")
        assert engine.can_write("png")
        assert engine.can_write("webp")
        assert not engine.can_write("svg")

    # --- probe

    @pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff", "gif"])
    def test_probe_returns_size_and_format(self, engine: Engine, format: str) -> None:
        info = engine.probe(images.corners(80, 60, format=format), format)
        assert (info.size, info.format, info.has_alpha, info.frames) == (Size(80, 60), format, False, 1)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_probe_returns_the_upright_size(self, engine: Engine, orientation: int) -> None:
        data = images.corners(80, 60, format="jpeg", orientation=orientation)
        assert engine.probe(data, "jpeg").size == (80, 60)

    def test_probe_sees_transparency(self, engine: Engine) -> None:
        assert engine.probe(images.transparent(), "png").has_alpha
        assert engine.probe(images.transparent(format="webp"), "webp").has_alpha
        assert engine.probe(images.palette_with_transparency(), "png").has_alpha
        assert not engine.probe(images.deep_grey(), "png").has_alpha

    def test_probe_counts_frames(self, engine: Engine) -> None:
        assert engine.probe(images.animation(frames=3), "gif").frames == 3
        assert engine.probe(images.animation(format="webp", frames=4), "webp").frames == 4

    def test_probe_sees_progressive_jpeg(self, engine: Engine) -> None:
        assert engine.probe(images.photo(200, 150, progressive=True), "jpeg").interlaced
        assert not engine.probe(images.photo(200, 150), "jpeg").interlaced

    def test_probe_refuses_a_damaged_header(self, engine: Engine) -> None:
        with pytest.raises(SourceUnreadable) as caught:
            engine.probe(images.corners()[:20], "png")
        assert "\n" not in str(caught.value)

    def test_probe_refuses_a_format_it_has_no_loader_for(self, engine: Engine) -> None:
        with pytest.raises(UnsupportedFormat, match="svg"):
            engine.probe(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "svg")

    def test_only_the_loader_of_the_named_format_is_tried(self, engine: Engine) -> None:
        with pytest.raises(EasyImgError):
            engine.probe(images.corners(format="png"), "jpeg")

    # --- orientation

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("format", ["jpeg", "webp", "tiff", "png"])
    def test_red_corner_is_top_left_for_every_orientation(self, engine: Engine, format: str, orientation: int) -> None:
        options = {"quality": 95} if format in ("jpeg", "webp") else {}
        data = images.corners(900, 600, format=format, orientation=orientation, **options)
        specs = [VariantSpec("jpeg"), VariantSpec("jpeg", 300), VariantSpec("png", 150, SQUARE)]
        for spec, variant in zip(specs, engine.build(data, format, specs), strict=True):
            image = opened(variant)
            assert corner_names(image) == UPRIGHT
            assert image.size == spec.frame(Size(900, 600)).size

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_crop_is_cut_from_the_upright_picture(self, engine: Engine, orientation: int) -> None:
        data = images.corners(900, 600, format="jpeg", orientation=orientation, quality=95)
        points = {"tl": Focus(0, 0), "tr": Focus(1, 0), "bl": Focus(0, 1), "br": Focus(1, 1)}
        quarter = Fraction(1, 3)  # narrow: as high as the source, 200 wide
        specs = [VariantSpec("png", 100, quarter, crop=point) for point in points.values()]
        for name, variant in zip(points, engine.build(data, "jpeg", specs), strict=True):
            side = name[1]
            assert corner_names(opened(variant)) == {
                "tl": "t" + side,
                "tr": "t" + side,
                "bl": "b" + side,
                "br": "b" + side,
            }

    @pytest.mark.parametrize("orientation", [1, 6, 7])
    def test_window_is_cut_from_the_upright_picture(self, engine: Engine, orientation: int) -> None:
        data = images.corners(900, 600, format="jpeg", orientation=orientation, quality=95)
        windows = {"tr": Window(0.6, 0.1, 0.9, 0.4), "bl": Window(0.1, 0.6, 0.4, 0.9)}
        specs = [VariantSpec("png", 90, window=window) for window in windows.values()]
        for name, variant in zip(windows, engine.build(data, "jpeg", specs), strict=True):
            assert set(corner_names(opened(variant)).values()) == {name}

    # --- geometry

    @pytest.mark.parametrize("size", [(1165, 859), (640, 480), (333, 777), (17, 3), (1, 1), (3000, 5)])
    @pytest.mark.parametrize("orientation", [1, 6])
    def test_every_variant_has_the_promised_size(self, engine: Engine, size: tuple[int, int], orientation: int) -> None:
        data = images.ramp(*size, format="jpeg", orientation=orientation)
        specs = [
            VariantSpec("jpeg", width, ratio, crop=crop, contain=contain, window=window)
            for width, ratio, crop, contain, window in itertools.product(
                (None, 1, 97, 448, 2000),
                (None, VIDEO, Fraction(2, 3)),
                (None, Focus(0.2, 0.9)),
                (True, False),
                (None, Window(0.1, 0.2, 0.7, 0.9)),
            )
        ]
        focus = Focus(0.3, 0.8)
        for spec, variant in zip(specs, engine.build(data, "jpeg", specs, focus), strict=True):
            assert opened(variant).size == spec.frame(Size(*size), focus).size

    def test_nothing_is_enlarged_unless_asked(self, engine: Engine) -> None:
        data = images.corners(100, 80)
        small, large = engine.build(data, "png", [VariantSpec("png", 500), VariantSpec("png", 500, upscale=True)])
        assert opened(small).size == (100, 80)
        assert opened(large).size == (500, 400)
        assert corner_names(opened(large)) == UPRIGHT

    @pytest.mark.parametrize("width", [100, 220, 448])
    def test_what_is_shown_is_the_region_asked_for(self, engine: Engine, width: int) -> None:
        """The picture is a map of itself, so its colours tell what was cut."""
        data = images.ramp(1024, 768, format="png")
        specs = [
            VariantSpec("png", width, ratio, crop=Focus(x, y))
            for ratio in (SQUARE, VIDEO, Fraction(1, 3))
            for x, y in ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0), (0.3, 0.7))
        ]
        for spec, variant in zip(specs, engine.build(data, "png", specs), strict=True):
            box, size = spec.frame(Size(1024, 768))
            image = opened(variant).convert("RGB")
            pixel = image.getpixel((size.width // 2, size.height // 2))
            assert isinstance(pixel, tuple)
            scale = box.width / size.width
            x = box.left + (size.width // 2 + 0.5) * scale
            y = box.top + (size.height // 2 + 0.5) * scale
            # Half a pixel of the file may be lost to rounding a cut; a level is 4 source pixels across, 3 down.
            assert abs(pixel[0] - x / 1024 * 255) <= 2 + 0.75 * scale / 4
            assert abs(pixel[1] - y / 768 * 255) <= 2 + 0.75 * scale / 3

    def test_the_sources_focus_moves_the_cut(self, engine: Engine) -> None:
        data, spec = images.corners(900, 300), VariantSpec("png", 90, SQUARE)
        (left,) = engine.build(data, "png", [spec], Focus(0, 0.5))
        (right,) = engine.build(data, "png", [spec], Focus(1, 0.5))
        assert corner_names(opened(left)) == {"tl": "tl", "tr": "tl", "bl": "bl", "br": "bl"}
        assert corner_names(opened(right)) == {"tl": "tr", "tr": "tr", "bl": "br", "br": "br"}

    def test_smart_crop_keeps_the_only_object_in_view(self, engine: Engine) -> None:
        canvas = Image.new("RGB", (1200, 300), (200, 200, 200))
        canvas.paste(Image.open(io.BytesIO(images.photo(200, 200))), (900, 50))
        data = images.encoded(canvas, "png")
        (variant,) = engine.build(data, "png", [VariantSpec("png", 150, SQUARE, crop="smart")])
        image = opened(variant).convert("RGB")
        flat = sum(is_close(image.getpixel((x, 75)), (200, 200, 200), 4) for x in range(150))
        assert flat < 90  # the object is 100 pixels wide here

    def test_a_cascade_of_widths_looks_like_single_resizes(self, engine: Engine) -> None:
        data = images.photo(1000, 750)
        specs = [VariantSpec("png", width, effort="fast") for width in (100, 200, 320, 400, 640, 800)]
        for spec, variant in zip(specs, engine.build(data, "jpeg", specs), strict=True):
            (alone,) = engine.build(data, "jpeg", [spec])
            assert mean_difference(opened(variant), opened(alone)) < 2.5

    def test_different_regions_in_one_build_look_as_if_built_alone(self, engine: Engine) -> None:
        data = images.photo(1000, 750, orientation=6)
        specs = [
            VariantSpec("png", 448, VIDEO),
            VariantSpec("png", 600),
            VariantSpec("png", 200, SQUARE, crop=Focus(0, 0)),
            VariantSpec("png", 300, window=Window(0.5, 0.5, 0.9, 0.8)),
            VariantSpec("png", 150, SQUARE, crop="smart"),
            VariantSpec("png", 300, SQUARE, crop=None),
        ]
        for spec, variant in zip(specs, engine.build(data, "jpeg", specs), strict=True):
            (alone,) = engine.build(data, "jpeg", [spec])
            assert mean_difference(opened(variant), opened(alone)) < 2.5

    # --- colour, depth, transparency

    def test_profile_is_applied_and_dropped(self, engine: Engine) -> None:
        image = Image.new("RGB", (64, 48), (255, 0, 0))
        for format in ("png", "jpeg", "tiff", "webp"):
            options = {"lossless": True} if format == "webp" else {}
            data = images.encoded(image, format, icc_profile=images.swapped_profile(), **options)
            for variant in engine.build(data, format, [VariantSpec("png", 32), VariantSpec("jpeg", 32)]):
                shown = opened(variant)
                assert is_close(shown.convert("RGB").getpixel((10, 10)), (0, 255, 0), 8)
                assert "icc_profile" not in shown.info

    def test_profile_is_applied_beneath_transparency(self, engine: Engine) -> None:
        data = images.encoded(
            Image.new("RGBA", (64, 48), (255, 0, 0, 128)), "png", icc_profile=images.swapped_profile()
        )
        (variant,) = engine.build(data, "png", [VariantSpec("png", 32)])
        pixel = opened(variant).getpixel((10, 10))
        assert isinstance(pixel, tuple)
        assert is_close(pixel, (0, 255, 0), 4)
        assert abs(pixel[3] - 128) <= 1

    @pytest.mark.parametrize("profile", [b"garbage", images.swapped_profile()[:200]])
    def test_damaged_profile_is_ignored(self, engine: Engine, profile: bytes) -> None:
        data = images.encoded(Image.new("RGB", (64, 48), (200, 100, 50)), "jpeg", icc_profile=profile, quality=95)
        (variant,) = engine.build(data, "jpeg", [VariantSpec("png")])
        assert is_close(opened(variant).convert("RGB").getpixel((10, 10)), (200, 100, 50), 8)

    def test_profile_of_another_colour_space_is_ignored(self, engine: Engine) -> None:
        data = images.encoded(Image.new("L", (64, 48), 77), "jpeg", icc_profile=images.swapped_profile())
        (variant,) = engine.build(data, "jpeg", [VariantSpec("png")])
        assert is_close(opened(variant).convert("RGB").getpixel((10, 10)), (77, 77, 77), 4)

    @pytest.mark.parametrize(
        ("ink", "low", "high"),
        [
            ((255, 0, 0, 0), (0, 120, 180), (60, 255, 255)),
            ((0, 255, 255, 0), (200, 0, 0), (255, 60, 60)),
            ((0, 0, 0, 0), (250, 250, 250), (255, 255, 255)),
            ((0, 0, 0, 255), (0, 0, 0), (50, 50, 50)),
        ],
        ids=["cyan", "red", "paper", "black"],
    )
    def test_cmyk_becomes_the_colour_of_its_ink(
        self, engine: Engine, ink: tuple[int, int, int, int], low: tuple[int, ...], high: tuple[int, ...]
    ) -> None:
        for variant in engine.build(images.cmyk(ink), "jpeg", DEFAULT):
            image = opened(variant)
            assert image.mode == "RGB"
            pixel = image.getpixel((20, 20))
            assert isinstance(pixel, tuple)
            assert all(lowest <= p <= highest for lowest, p, highest in zip(low, pixel, high, strict=True))

    def test_sixteen_bits_are_scaled_not_clipped(self, engine: Engine) -> None:
        (variant,) = engine.build(images.deep_grey(), "png", [VariantSpec("png")])
        row = opened(variant).convert("L").crop((0, 10, 256, 11)).tobytes()
        assert all(abs(value - x) <= 1 for x, value in enumerate(row))

    def test_bilevel_and_palette_and_grey_become_ordinary_pictures(self, engine: Engine) -> None:
        (two,) = engine.build(images.bilevel(), "png", [VariantSpec("jpeg", 32)])
        assert is_close(opened(two).convert("RGB").getpixel((4, 10)), (0, 0, 0))
        assert is_close(opened(two).convert("RGB").getpixel((28, 10)), (255, 255, 255))
        for format in ("jpeg", "webp", "png"):
            (one,) = engine.build(images.grey(), "jpeg", [VariantSpec(format, 100)])
            image = opened(one).convert("RGB")
            for y, level in ((2, 8), (37, 127), (72, 247)):
                assert is_close(image.getpixel((50, y)), (level, level, level), 12)

    def test_palette_with_transparency_keeps_it(self, engine: Engine) -> None:
        (variant,) = engine.build(images.palette_with_transparency(), "png", [VariantSpec(width=32)])
        image = opened(variant).convert("RGBA")
        assert image.getpixel((4, 10)) == (0, 200, 0, 255)
        assert image.getchannel("A").getpixel((28, 10)) == 0

    @pytest.mark.parametrize("format", ["png", "webp"])
    @pytest.mark.parametrize("width", [400, 317, 101])
    def test_transparent_edges_have_no_dark_fringe(self, engine: Engine, format: str, width: int) -> None:
        (variant,) = engine.build(images.transparent(), "png", [VariantSpec(format, width, quality=100)])
        image = opened(variant).convert("RGBA")
        y = image.height // 2
        row = [image.getpixel((x, y)) for x in range(image.width)]
        visible = [p for p in row if isinstance(p, tuple) and p[3] > 24]
        assert 0.45 * width < len(visible) < 0.55 * width
        # Lossy WebP shares colour among 2 x 2 pixels, and so with the blackness beside a hard edge.
        assert min(p[0] for p in visible) >= (225 if format == "png" else 200)

    def test_transparency_is_turned_upright_with_its_colours(self, engine: Engine) -> None:
        picture = Image.open(io.BytesIO(images.transparent(300, 200)))
        data = images.encoded(picture, "png", orientation=6)
        (variant,) = engine.build(data, "png", [VariantSpec(width=150)])
        image = opened(variant).convert("RGBA")
        assert image.size == (150, 100)
        assert image.getpixel((5, 50)) == (255, 0, 0, 255)
        assert image.getchannel("A").getpixel((145, 50)) == 0

    @pytest.mark.parametrize("format", ["jpeg", "webp", "png", "avif"])
    def test_background_shows_through_transparency(self, engine: Engine, format: str) -> None:
        spec = VariantSpec(format, 200, background="#1040c0")
        (variant,) = engine.build(images.transparent(), "png", [spec])
        image = opened(variant).convert("RGBA")
        assert is_close(image.getpixel((190, 20)), (0x10, 0x40, 0xC0))
        assert is_close(image.getpixel((10, 20)), (255, 0, 0))
        assert image.getchannel("A").getextrema() == (255, 255)

    def test_a_coloured_background_stays_coloured_behind_grey(self, engine: Engine) -> None:
        file = io.BytesIO()
        Image.new("LA", (40, 40), (200, 0)).save(file, "PNG")
        (variant,) = engine.build(file.getvalue(), "png", [VariantSpec("jpeg", 20, background="#ff0000")])
        assert is_close(opened(variant).convert("RGB").getpixel((10, 10)), (255, 0, 0))

    def test_transparency_is_white_never_black_where_the_format_has_none(self, engine: Engine) -> None:
        for data in (images.transparent(), images.palette_with_transparency()):
            (variant,) = engine.build(data, "png", [VariantSpec("jpeg", 48)])
            image = opened(variant).convert("RGB")
            assert is_close(image.getpixel((image.width - 5, 5)), (255, 255, 255), 6)

    def test_fallback_is_jpeg_unless_transparency_must_be_kept(self, engine: Engine) -> None:
        flat = VariantSpec(width=50, background="#ffffff")
        made = engine.build(images.transparent(), "png", [VariantSpec(width=50), flat])
        assert [v.format for v in made] == ["png", "jpeg"]
        assert [v.format for v in engine.build(images.corners(), "png", [VariantSpec(width=50)])] == ["jpeg"]

    @pytest.mark.parametrize("format", ["gif", "webp"])
    def test_animation_gives_its_first_frame(self, engine: Engine, format: str) -> None:
        (variant,) = engine.build(images.animation(format=format), format, [VariantSpec("jpeg", 32)])
        assert is_close(opened(variant).convert("RGB").getpixel((16, 12)), images.RED, 30)

    # --- the files

    @pytest.mark.parametrize("format", ["jpeg", "png", "webp", "avif"])
    @pytest.mark.parametrize("effort", EFFORTS)
    def test_every_effort_of_every_format_gives_the_same_picture(
        self, engine: Engine, format: str, effort: str
    ) -> None:
        assert engine.can_write(format)
        data = images.corners(400, 300)
        (variant,) = engine.build(data, "png", [VariantSpec(format, 200, effort=effort)])
        assert corner_names(opened(variant)) == UPRIGHT

    def test_more_effort_and_less_quality_mean_fewer_bytes(self, engine: Engine) -> None:
        data = images.photo(900, 600)
        for format in ("jpeg", "webp", "png", "avif"):
            (fast,) = engine.build(data, "jpeg", [VariantSpec(format, 400, effort="fast")])
            (small,) = engine.build(data, "jpeg", [VariantSpec(format, 400, effort="small")])
            assert len(small.data) < len(fast.data)
        for format in ("jpeg", "webp", "avif"):
            low, high = engine.build(
                data, "jpeg", [VariantSpec(format, 400, quality=40), VariantSpec(format, 400, quality=90)]
            )
            assert len(low.data) < 0.7 * len(high.data)

    def test_equal_outputs_share_one_bytes_object(self, engine: Engine) -> None:
        specs = [
            VariantSpec("jpeg", 300),
            VariantSpec(width=300),
            VariantSpec("webp", 2000),
            VariantSpec("webp"),
            VariantSpec("png", 50, quality=20),
            VariantSpec("png", 50),
            VariantSpec("jpeg", 300, background="#ff0000"),
        ]
        made = engine.build(images.photo(500, 400), "jpeg", specs)
        assert made[0].data is made[1].data is made[6].data
        assert made[2].data is made[3].data
        assert made[4].data is made[5].data

    def test_no_specs_give_no_files(self, engine: Engine) -> None:
        assert engine.build(images.corners(), "png", []) == []

    def test_builds_are_repeatable_in_threads(self, engine: Engine) -> None:
        sources = [images.photo(700, 500, seed=i, orientation=1 + i) for i in range(4)]
        alone = [engine.build(data, "jpeg", DEFAULT) for data in sources]
        with ThreadPoolExecutor(4) as pool:
            for _ in range(3):
                assert list(pool.map(lambda data: engine.build(data, "jpeg", DEFAULT), sources)) == alone

    # --- bad input

    @pytest.mark.parametrize("format", ["jpeg", "png", "webp", "gif", "tiff"])
    @pytest.mark.parametrize("kept", [0.5, 0.9])
    def test_truncated_file_is_refused(self, engine: Engine, format: str, kept: float) -> None:
        data = images.photo(400, 300, format=format)
        with pytest.raises(SourceUnreadable) as caught:
            engine.build(data[: int(len(data) * kept)], format, DEFAULT)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("format", ["jpeg", "png"])
    def test_file_truncated_below_what_is_shown_is_refused(self, engine: Engine, format: str) -> None:
        data = images.photo(400, 1200, format=format)
        spec = VariantSpec("jpeg", 100, VIDEO, crop=Focus(0.5, 0))
        with pytest.raises(SourceUnreadable):
            engine.build(data[: int(len(data) * 0.8)], format, [spec])

    def test_header_that_promises_more_rows_than_there_are_is_refused(self, engine: Engine) -> None:
        data = bytearray(images.corners(100, 80))
        data[20:24] = struct.pack(">I", 160)
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
        assert engine.probe(bytes(data), "png").size == (100, 160)
        with pytest.raises(SourceUnreadable):
            engine.build(bytes(data), "png", DEFAULT)

    def test_encoder_failure_names_the_spec(self, engine: Engine) -> None:
        too_long = VariantSpec("webp", 20_000, upscale=True)  # WebP ends at 16,383
        with pytest.raises(BuildError) as caught:
            engine.build(images.corners(200, 2), "png", [VariantSpec("webp", 100), too_long])
        assert caught.value.spec_index == 1
        assert "webp" in str(caught.value)

    def test_bad_background_names_the_spec(self, engine: Engine) -> None:
        specs = [VariantSpec("jpeg"), VariantSpec("jpeg", background="red; x")]
        with pytest.raises(BuildError, match="#rrggbb") as caught:
            engine.build(images.transparent(), "png", specs)
        assert caught.value.spec_index == 1
