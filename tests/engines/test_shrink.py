"""How far a JPEG is shrunk while it is decoded."""

from __future__ import annotations

import pytest

from easyimg.engines import load_engine
from easyimg.engines._plan import shrink_on_load
from easyimg.geometry import Box, Size
from easyimg.spec import VariantSpec
from easyimg.testing import images
from easyimg.testing.engines import mean_difference, opened

BALANCED, FAST, SMALL = (VariantSpec("png", 400, effort=effort) for effort in ("balanced", "fast", "small"))


@pytest.mark.parametrize(
    ("width", "careful", "fast"),
    [(599, 1, 1), (799, 1, 1), (1199, 1, 1), (1200, 1, 2), (1599, 1, 2), (1600, 2, 2), (2400, 2, 4), (6400, 8, 8)],
)
def test_twice_the_pixels_are_left_for_the_resize_and_less_only_where_all_is_fast(width, careful, fast):
    asked = {Box(0, 0, width, width): [Size(400, 400), Size(100, 100)]}
    for specs in ([BALANCED], [SMALL], [BALANCED, FAST], [FAST, SMALL]):
        assert shrink_on_load(asked, specs) == careful
    assert shrink_on_load(asked, [FAST, FAST]) == fast


@pytest.mark.parametrize("name", ["vips", "pillow"])
def test_a_fast_picture_looks_like_a_careful_one(name):
    data = images.photo(1300, 900)
    engine = load_engine(name)
    (careful,), (fast,) = (engine.build(data, "jpeg", [spec]) for spec in (BALANCED, FAST))
    assert 0 < mean_difference(opened(careful), opened(fast)) < 2.5
