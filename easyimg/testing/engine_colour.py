"""What every engine must do about colour, depth and transparency; a part of ``EngineContract``.

Expected colours are worked out from the colour spaces' definitions, or from the unreduced picture with Pillow.
"""

from __future__ import annotations

import io
from typing import Any, Final

import pytest
from PIL import Image, TiffImagePlugin

from easyimg.errors import SourceUnreadable
from easyimg.geometry import Focus
from easyimg.ports import Encoded, Engine
from easyimg.spec import VariantSpec
from easyimg.testing import images, profiles, uncommon
from easyimg.testing.pixels import UPRIGHT, corner_names, is_close, mean_difference, opened

PATCHES: Final[tuple[profiles.Colour, ...]] = (
    (255, 255, 255),
    (128, 128, 128),
    (0, 0, 0),
    (200, 100, 50),
    (40, 160, 90),
    (60, 70, 180),
    (240, 220, 200),
    (255, 0, 0),
)
GREYS: Final = (0, 60, 128, 200, 255)
INKS: Final[tuple[uncommon.Ink, ...]] = (
    (0, 0, 0, 0),
    (255, 0, 0, 0),
    (0, 255, 0, 0),
    (0, 255, 255, 0),
    (120, 60, 0, 30),
    (0, 0, 0, 255),
)
_BEST: Final[dict[str, dict[str, Any]]] = {
    "png": {},
    "tiff": {},
    "webp": {"lossless": True},
    "jpeg": {"quality": 100, "subsampling": 0},
}
_STRIPE: Final = 16  # px, one JPEG block of colour: patches do not run into each other


def stripes(mode: str, colours: tuple[Any, ...]) -> Image.Image:
    """Return upright stripes of these colours, each 16 pixels wide and 32 high."""
    image = Image.new(mode, (_STRIPE * len(colours), 2 * _STRIPE))
    for i, colour in enumerate(colours):
        image.paste(colour, (i * _STRIPE, 0, (i + 1) * _STRIPE, 2 * _STRIPE))
    return image


def seen(variant: Encoded, count: int) -> list[profiles.Colour]:
    """Return the colour in the middle of each of a variant's stripes."""
    image = opened(variant).convert("RGB")
    width = image.width / count
    return [image.getpixel((int((i + 0.5) * width), image.height // 2)) for i in range(count)]  # type: ignore[misc]


def furthest(found: list[profiles.Colour], expected: list[profiles.Colour]) -> int:
    """Return by how many levels the channel that is furthest off differs."""
    return max(abs(f - e) for one, other in zip(found, expected, strict=True) for f, e in zip(one, other, strict=True))


STILL: Final = [VariantSpec("png")]


class ColourContract:
    """Tests of one engine's colours."""

    @pytest.mark.parametrize("format", ["png", "tiff", "webp", "jpeg"])
    @pytest.mark.parametrize("space", profiles.SPACES)
    def test_wide_gamuts_become_srgb(self, engine: Engine, space: str, format: str) -> None:
        expected = [profiles.srgb_of(space, colour) for colour in PATCHES]
        assert furthest(list(PATCHES), expected) > 15, "unconverted colours would pass"
        data = images.encoded(stripes("RGB", PATCHES), format, icc_profile=profiles.rgb_profile(space), **_BEST[format])
        whole, half = engine.build(data, format, [VariantSpec("png"), VariantSpec("png", _STRIPE * len(PATCHES) // 2)])
        tolerance = 2 if format != "jpeg" else 4
        assert furthest(seen(whole, len(PATCHES)), expected) <= tolerance
        assert furthest(seen(half, len(PATCHES)), expected) <= tolerance

    @pytest.mark.parametrize("gamma", [1.0, 1.8, 2.6])
    def test_grey_profile_is_applied(self, engine: Engine, gamma: float) -> None:
        expected = [(level,) * 3 for level in (profiles.srgb_of_grey(gamma, value) for value in GREYS)]
        data = images.encoded(stripes("L", GREYS), "png", icc_profile=profiles.grey_profile(gamma))
        for variant in engine.build(data, "png", [VariantSpec("png"), VariantSpec("jpeg", quality=100)]):
            assert furthest(seen(variant, len(GREYS)), expected) <= 2

    def test_grey_profile_is_applied_beneath_transparency(self, engine: Engine) -> None:
        image = stripes("L", GREYS)
        image.putalpha(200)
        data = images.encoded(image, "png", icc_profile=profiles.grey_profile(1.0))
        (variant,) = engine.build(data, "png", [VariantSpec("png")])
        expected = [(level,) * 3 for level in (profiles.srgb_of_grey(1.0, value) for value in GREYS)]
        assert furthest(seen(variant, len(GREYS)), expected) <= 2
        assert opened(variant).convert("RGBA").getchannel("A").getextrema() == (200, 200)

    def test_profile_of_a_palette_picture_is_applied(self, engine: Engine) -> None:
        image = stripes("RGB", PATCHES).quantize(colors=len(PATCHES), dither=Image.Dither.NONE)
        stored = [image.convert("RGB").getpixel((i * _STRIPE + 8, 8)) for i in range(len(PATCHES))]
        data = images.encoded(image, "png", icc_profile=profiles.rgb_profile("display-p3"))
        (variant,) = engine.build(data, "png", [VariantSpec("png")])
        expected = [profiles.srgb_of("display-p3", colour) for colour in stored]  # type: ignore[arg-type]
        assert furthest(seen(variant, len(PATCHES)), expected) <= 2

    @pytest.mark.parametrize("format", ["jpeg", "tiff"])
    @pytest.mark.parametrize("ink", INKS)
    def test_cmyk_is_converted_by_its_profile(self, engine: Engine, format: str, ink: uncommon.Ink) -> None:
        data = uncommon.cmyk_file(ink, format, profiles.cmyk_profile())
        expected = profiles.srgb_of_lab(profiles.press_lab([amount / 255 for amount in ink]))
        (variant,) = engine.build(data, format, [VariantSpec("png", 32)])
        assert is_close(opened(variant).convert("RGB").getpixel((9, 9)), expected, 4)

    @pytest.mark.parametrize("ink", INKS)
    def test_inks_stored_as_ycck_are_the_same_inks(self, engine: Engine, ink: uncommon.Ink) -> None:
        plain, adobe = (
            opened(engine.build(data, "jpeg", [VariantSpec("png", 32)])[0]).convert("RGB")
            for data in (images.cmyk(ink), uncommon.ycck(ink))
        )
        assert is_close(plain.getpixel((9, 9)), adobe.getpixel((9, 9)), 4)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "pixel", [(51400,), (51400, 32896), (51400, 25700, 12850), (51400, 25700, 12850, 32896)], ids=len
    )
    def test_sixteen_bits_a_channel_become_eight(self, engine: Engine, pixel: tuple[int, ...]) -> None:
        """51,400 of 65,535 is 200 of 255, and so on."""
        variants = engine.build(uncommon.deep_png(pixel), "png", [VariantSpec("png"), VariantSpec("png", 20)])
        colours = pixel if len(pixel) > 2 else pixel[:1] * 3 + pixel[1:]
        for variant in variants:
            found = opened(variant).convert("RGBA").getpixel((9, 9))
            assert isinstance(found, tuple)
            expected = [value // 257 for value in (*colours, 65535)[:4]]
            assert all(abs(f - e) <= 1 for f, e in zip(found, expected, strict=True))

    @pytest.mark.parametrize("colour", [(51400,), (51400, 25700, 12850)], ids=["grey", "rgb"])
    def test_sixteen_bit_key_colour_is_transparent(self, engine: Engine, colour: tuple[int, ...]) -> None:
        other = (*colour[:-1], colour[-1] + 257)  # one level beside it
        for key, alpha in ((colour, 0), (other, 255)):
            (variant,) = engine.build(uncommon.deep_png(colour, key=key), "png", [VariantSpec("png", 20)])
            assert opened(variant).convert("RGBA").getchannel("A").getextrema() == (alpha, alpha)

    def test_bilevel_key_colour_is_transparent(self, engine: Engine) -> None:
        (variant,) = engine.build(uncommon.bilevel_with_key(), "png", [VariantSpec("png", 32)])
        image = opened(variant).convert("RGBA")
        assert image.getpixel((4, 10)) == (0, 0, 0, 255)
        assert image.getchannel("A").getpixel((28, 10)) == 0

    @pytest.mark.parametrize(("bits", "key"), [(2, 0), (2, 1), (2, 3), (4, 0), (4, 5), (4, 15)])
    def test_key_colour_of_a_few_greys_is_transparent(self, engine: Engine, bits: int, key: int) -> None:
        greys = 1 << bits
        (variant,) = engine.build(uncommon.greys_with_key(bits, key), "png", [VariantSpec("png")])
        image = opened(variant).convert("RGBA")
        for grey in range(greys):
            found = image.getpixel((64 * grey // greys + 1, 20))
            assert isinstance(found, tuple)
            level = 255 * grey // (greys - 1)
            assert found[3] == 0 if grey == key else found == (level, level, level, 255)

    @pytest.mark.parametrize("format", ["png", "webp", "avif"])
    def test_half_transparent_palette_entries_keep_their_level(self, engine: Engine, format: str) -> None:
        spec = VariantSpec(format, 64, quality=95)
        (variant,) = engine.build(uncommon.palette_with_levels(), "png", [spec])
        image = opened(variant).convert("RGBA")
        for x, level in ((8, 0), (24, 85), (40, 170), (56, 255)):
            found = image.getpixel((x, 24))
            assert isinstance(found, tuple)
            assert abs(found[3] - level) <= 3
            assert level == 0 or is_close(found, (20, 40, 230), 12)

    @pytest.mark.parametrize("width", [300, 200, 90])
    @pytest.mark.parametrize("below", ["#ffffff", "#000000", "#ff00c8"])
    def test_resized_transparency_looks_right_on_any_page(self, engine: Engine, width: int, below: str) -> None:
        """Laying a picture on a colour and then reducing it must look like reducing it first."""
        source = _cut_out(300, 200)
        (variant,) = engine.build(images.encoded(source, "png"), "png", [VariantSpec("png", width)])
        page = Image.new("RGBA", source.size, below)
        expected = Image.alpha_composite(page, source).convert("RGB")
        expected = expected.resize((variant.width, variant.height), Image.Resampling.LANCZOS)
        shown = Image.new("RGBA", expected.size, below)
        shown.alpha_composite(opened(variant).convert("RGBA"))
        assert mean_difference(shown, expected) < 0.7

    @pytest.mark.parametrize("format", ["webp", "avif", "png"])
    def test_nothing_dark_shows_around_a_cut_out(self, engine: Engine, format: str) -> None:
        """On white, no pixel of a light cut-out with black beneath its transparent part is darker than the cut-out."""
        (variant,) = engine.build(
            images.encoded(_cut_out(300, 200), "png"), "png", [VariantSpec(format, 120, quality=90)]
        )
        page = Image.new("RGBA", (variant.width, variant.height), "#ffffff")
        page.alpha_composite(opened(variant).convert("RGBA"))
        darkest = page.convert("L").getextrema()[0]
        assert isinstance(darkest, int)
        assert darkest >= 150 - (8 if format == "png" else 25)

    @pytest.mark.parametrize("bits", [8, 16])
    @pytest.mark.parametrize(
        ("photometric", "colours", "extra"),
        [(1, [200], [30]), (2, [200, 100, 50], [30]), (2, [200, 100, 50], [30, 90]), (5, [200, 100, 50, 10], [30])],
        ids=["grey", "rgb", "rgb-and-two", "cmyk"],
    )
    def test_a_channel_of_no_known_meaning_is_no_transparency(
        self, engine: Engine, photometric: int, colours: list[int], extra: list[int], bits: int
    ) -> None:
        scale = 257 if bits == 16 else 1
        alone, beside = (
            uncommon.plain_tiff(
                [scale * value for value in pixel], bits=bits, photometric=photometric, extra=[0] * len(more)
            )
            for pixel, more in ((colours, []), (colours + extra, extra))
        )
        specs = [VariantSpec(), VariantSpec("png", 20)]
        try:
            info, files = engine.probe(beside, "tiff"), engine.build(beside, "tiff", specs)
        except SourceUnreadable:
            return  # an engine may read fewer kinds
        assert info == engine.probe(alone, "tiff")
        assert not info.has_alpha
        assert files == engine.build(alone, "tiff", specs)

    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("photometric", [0, 1])
    @pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16])
    def test_greys_of_a_tiff_are_right_or_refused(
        self, engine: Engine, bits: int, photometric: int, order: str
    ) -> None:
        most = (1 << bits) - 1
        data = uncommon.plain_tiff([most * 2 // 3 or 1], bits=bits, photometric=photometric, order=order)
        try:
            (variant,) = engine.build(data, "tiff", STILL)
        except SourceUnreadable:
            assert bits in (12, 16)
            return
        expected = 255 * (most * 2 // 3 or 1) / most
        found = opened(variant).convert("L").getpixel((9, 9))
        assert isinstance(found, int)
        assert abs(found - (expected if photometric else 255 - expected)) <= 1

    def test_a_tiff_of_luma_and_chroma_is_not_transparent(self, engine: Engine) -> None:
        data = uncommon.plain_tiff([160, 128, 128], photometric=6)
        assert not engine.probe(data, "tiff").has_alpha
        assert opened(engine.build(data, "tiff", STILL)[0]).mode == "RGB"

    def test_premultiplied_grey_of_a_tiff_is_the_grey_it_stands_for(self, engine: Engine) -> None:
        data = uncommon.plain_tiff([100, 200], photometric=1, extra=[1])
        (variant,) = engine.build(data, "tiff", STILL)
        found = opened(variant).convert("LA").getpixel((9, 9))
        assert isinstance(found, tuple)
        assert abs(found[0] - 127) <= 1
        assert found[1] == 200

    @pytest.mark.parametrize("kind", [3, 6])
    def test_xmp_turns_no_tiff(self, engine: Engine, kind: int) -> None:
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[700] = b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/>' % kind
        tags.tagtype[700] = 7
        data = images.encoded(Image.open(io.BytesIO(images.corners(40, 30))), "tiff", tiffinfo=tags)
        assert corner_names(opened(engine.build(data, "tiff", STILL)[0])) == UPRIGHT

    @pytest.mark.parametrize(("photometric", "colours"), [(1, [200]), (2, [200, 100, 50])], ids=["grey", "rgb"])
    def test_transparency_of_a_tiff_is_kept(self, engine: Engine, photometric: int, colours: list[int]) -> None:
        data = uncommon.plain_tiff([*colours, 60], photometric=photometric, extra=[2])
        assert engine.probe(data, "tiff").has_alpha
        for variant in engine.build(data, "tiff", [VariantSpec(), VariantSpec("png", 20)]):
            found = opened(variant).convert("RGBA").getpixel((9, 9))
            assert isinstance(found, tuple)
            assert found[3] == 60
            assert is_close(found, tuple((colours * 3)[:3]), 4)

    def test_ultra_hdr_shows_its_base_image(self, engine: Engine) -> None:
        base = images.photo(400, 300)
        specs = [VariantSpec("png", 100), VariantSpec("webp"), VariantSpec("jpeg", 90, crop=Focus(0, 0))]
        data = uncommon.ultra_hdr(base)
        assert engine.probe(data, "jpeg") == engine.probe(base, "jpeg")
        assert engine.build(data, "jpeg", specs) == engine.build(base, "jpeg", specs)


def _cut_out(width: int, height: int) -> Image.Image:
    """Return soft-edged light shapes, of grey 150 and more, above transparent black."""
    alpha = Image.open(io.BytesIO(images.photo(width, height, seed=5, format="png"))).convert("L")
    alpha = alpha.point([max(0, min(255, (value - 110) * 8)) for value in range(256)])
    colours = Image.open(io.BytesIO(images.photo(width, height, seed=6, format="png")))
    light = colours.point([150 + value * 100 // 255 for value in range(256)] * 3)
    image = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    image.paste(light, mask=alpha.point([255 if value else 0 for value in range(256)]))
    image.putalpha(alpha)
    return image
