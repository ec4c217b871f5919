"""Glimpses of real pictures: both engines see the same colour, and in a page they take 600 bytes at most."""

from __future__ import annotations

import io
from fractions import Fraction

import pytest
from PIL import Image

from easyimg.engines import load_engine
from easyimg.engines._glimpse import dominant_color, glimpse
from easyimg.errors import EasyImgError
from easyimg.geometry import Window
from easyimg.preview import MAX_DATA, Preview, make_preview
from easyimg.source import Limits, SourceInfo
from easyimg.spec import VariantSpec
from easyimg.testing.pixels import mean_difference, rgb
from tests.engines.test_corpus import ENGINES_DISAGREE, FOLDER, ROWS, named

SPEC = VariantSpec("webp", 300)
CUT = VariantSpec("webp", 300, Fraction(16, 9))


def seen(engine: str, path: str, spec: VariantSpec) -> tuple[SourceInfo, Preview | None, Image.Image | None]:
    """Return what an engine makes of a picture: its facts, its preview, and the blurred picture."""
    data, limits, loaded = (FOLDER / path).read_bytes(), Limits(), load_engine(engine)
    format = limits.check_content(data)
    info = loaded.probe(data, format)
    limits.check_info(info)
    made = loaded.build(data, format, [spec], glimpse_of=0)[0].glimpse
    if made is None:
        return info, None, None
    with Image.open(io.BytesIO(made.data)) as image:
        return info, make_preview(made, spec, info, None), image.convert("RGB")


@pytest.mark.corpus
@pytest.mark.parametrize("spec", [SPEC, CUT], ids=["whole", "cut"])
@pytest.mark.parametrize("row", named(ROWS))
def test_real_pictures(row: dict[str, str], spec: VariantSpec) -> None:
    try:
        info, preview, image = seen("vips", row["file"], spec)
        _, other, other_image = seen("pillow", row["file"], spec)
    except EasyImgError:
        return  # refused by one of them: tests of the corpus say which and why
    if row["file"] in ENGINES_DISAGREE:
        return
    assert (preview is None) == (other is None) == info.has_alpha
    if preview is None or other is None or image is None or other_image is None:
        return
    for window in (Window(0, 0, 1, 1), Window(0.31, 0.42, 0.53, 0.64), preview.window):
        style = preview.style("blur", window)
        assert len(f' style="{style}"') <= 600
        assert len(style) - style.find("base64,") <= MAX_DATA + 60
    assert "url(" in preview.style("blur", preview.window), "small enough to be shown"
    assert max(abs(a - b) for a, b in zip(rgb(preview.color), rgb(other.color), strict=True)) <= 16
    assert mean_difference(image, other_image) <= 6


def test_noise_gives_a_colour_alone_or_fits_as_well() -> None:
    for sigma in (20, 60, 120):
        bands = [Image.effect_noise((320, 320), sigma).resize((16, 16), Image.Resampling.NEAREST) for _ in range(3)]
        made = glimpse(Image.merge("RGB", bands))
        assert made is not None
        preview = make_preview(made, SPEC, SourceInfo(16, 16, "png"), None)
        assert len(f' style="{preview.style("blur", Window(0, 0, 1, 1))}"') <= 600


def test_the_colour_is_one_of_the_picture_and_no_mixture() -> None:
    red, blue = bytes((250, 10, 20)), bytes((0, 40, 240))
    assert dominant_color(red * 40 + blue * 24) == "#fa0a14"
    assert dominant_color(red * 24 + blue * 40) == "#0028f0"
    assert dominant_color(bytes((255, 255, 255))) == "#ffffff"
    assert dominant_color(bytes((0, 0, 0)) * 2 + bytes((255, 255, 255))) == "#000000"


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_what_is_transparent_has_none(mode: str) -> None:
    assert glimpse(Image.new(mode, (20, 10))) is None
