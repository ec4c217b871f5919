"""What every engine must do with ``glimpse_of``: part of :class:`easyimg.testing.engines.EngineContract`."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Final

import pytest
from PIL import Image

from easyimg.geometry import Window
from easyimg.ports import Engine
from easyimg.spec import VariantSpec
from easyimg.testing import images
from easyimg.testing.pixels import UPRIGHT, is_close, nearest_corner, rgb

SQUARE: Final = Fraction(1)


class GlimpseContract:
    """Tests of one engine's glimpses. Override ``engine``."""

    def test_a_glimpse_comes_with_the_file_that_is_asked_for_and_no_other(self, engine: Engine) -> None:
        data = images.corners(900, 600, format="jpeg", orientation=6, quality=95)
        specs = [VariantSpec("jpeg", 300), VariantSpec("webp", 300, SQUARE), VariantSpec("webp", 150)]
        plain = engine.build(data, "jpeg", specs)
        made = engine.build(data, "jpeg", specs, glimpse_of=2)
        assert [file[:4] for file in made] == [file[:4] for file in plain]
        assert [file.glimpse for file in (*plain, *made[:2])] == [None] * 5
        assert made[2].glimpse is not None
        with Image.open(io.BytesIO(made[2].glimpse.data)) as small:
            assert small.format == "WEBP"
            assert small.size == (16, 11)
            assert {c: nearest_corner(small, c) for c in images.CORNERS} == UPRIGHT

    @pytest.mark.parametrize("width", [60, 1200])
    def test_a_glimpse_tells_the_colour_there_is_most_of(self, engine: Engine, width: int) -> None:
        picture = Image.new("RGB", (width, width), (200, 30, 40))
        picture.paste((30, 60, 220), (0, 0, width, width // 3))
        file = io.BytesIO()
        picture.save(file, "PNG")
        (made,) = engine.build(file.getvalue(), "png", [VariantSpec("jpeg")], glimpse_of=0)
        assert made.glimpse is not None
        assert is_close(rgb(made.glimpse.color), (200, 30, 40))

    def test_a_glimpse_of_a_grey_picture_is_grey(self, engine: Engine) -> None:
        (made,) = engine.build(images.grey(300, 200), "jpeg", [VariantSpec("jpeg", 100)], glimpse_of=0)
        assert made.glimpse is not None
        assert len(set(rgb(made.glimpse.color))) == 1

    def test_a_glimpse_of_a_cut_shows_the_cut(self, engine: Engine) -> None:
        data = images.corners(900, 600, format="jpeg", quality=95)
        specs = [VariantSpec("jpeg", 300), VariantSpec("jpeg", 90, window=Window(0.6, 0.1, 0.9, 0.4))]
        glimpse = engine.build(data, "jpeg", specs, glimpse_of=1)[1].glimpse
        assert glimpse is not None
        assert is_close(rgb(glimpse.color), images.CORNERS["tr"])

    def test_a_transparent_or_moving_picture_has_no_glimpse(self, engine: Engine) -> None:
        for data, format in ((images.transparent(), "png"), (images.palette_with_transparency(), "png")):
            assert engine.build(data, format, [VariantSpec("webp", 30)], glimpse_of=0)[0].glimpse is None
        moving = [VariantSpec("webp", 30, animated=True)]
        assert engine.build(images.animation(), "gif", moving, glimpse_of=0)[0].glimpse is None
