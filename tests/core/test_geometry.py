from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyimg.geometry import CENTER, Box, Focus, Size, Window, frame, round_half_up

VIDEO = Fraction(16, 9)


def test_without_a_width_the_frame_is_the_source():
    assert frame(Size(4000, 3000)) == (Box(0, 0, 4000, 3000), Size(4000, 3000))


def test_a_width_alone_keeps_the_sources_ratio():
    assert frame(Size(4000, 3000), width=300).size == Size(300, 225)


def test_a_ratio_cuts_around_the_centre():
    region, size = frame(Size(4000, 3000), width=896, ratio=VIDEO)
    assert size == Size(896, 504)
    assert region == Box(0, 375, 4000, 2250)


@pytest.mark.parametrize(
    ("focus", "left"), [(Focus(0, 0.5), 0), (Focus(0.5, 0.5), 500), (Focus(1, 0.5), 1000), (Focus(0.3, 0.5), 100)]
)
def test_a_cut_keeps_the_focus_in_view_as_far_as_it_fits(focus, left):
    assert frame(Size(2000, 1000), width=100, ratio=Fraction(1), crop=focus).region == Box(left, 0, 1000, 1000)


def test_without_a_crop_the_picture_fits_inside_the_box_or_covers_it():
    source = Size(2000, 1000)
    assert frame(source, width=100, ratio=Fraction(1), crop=None).size == Size(100, 50)
    assert frame(source, width=100, ratio=Fraction(1), crop=None, contain=False).size == Size(200, 100)


def test_a_box_larger_than_the_source_shrinks_to_it_keeping_its_ratio():
    assert frame(Size(200, 100), width=600, ratio=Fraction(1)).size == Size(100, 100)
    assert frame(Size(200, 100), width=600).size == Size(200, 100)
    assert frame(Size(200, 100), width=600, upscale=True).size == Size(600, 300)


def test_a_window_is_cut_out_before_anything_else():
    region, size = frame(Size(1000, 1000), width=100, window=Window(0.5, 0, 1, 0.5))
    assert region == Box(500, 0, 500, 500)
    assert size == Size(100, 100)


def test_a_crop_inside_a_window_never_leaves_it():
    region = frame(Size(1000, 1000), ratio=Fraction(2), crop=Focus(0, 0), window=Window(0.5, 0.5, 1, 1)).region
    assert region == Box(500, 500, 500, 250)


def test_halves_are_rounded_upwards_and_no_side_is_empty():
    assert [round_half_up(v) for v in (0.1, 0.5, 1.5, 2.4, Fraction(5, 2))] == [1, 1, 2, 2, 3]


sides = st.integers(1, 20_000)
ratios = st.fractions(min_value=Fraction(1, 50), max_value=50, max_denominator=100)
fractions = st.floats(0, 1)


@given(sides, sides, st.none() | st.integers(1, 16383), st.none() | ratios, fractions, fractions, st.booleans())
def test_the_region_lies_inside_the_source_and_the_size_never_exceeds_it(w, h, width, ratio, x, y, cut):
    source = Size(w, h)
    region, size = frame(source, width=width, ratio=ratio, crop=Focus(x, y) if cut else None)
    assert -1e-6 <= region.left <= region.left + region.width <= w + 1e-6
    assert -1e-6 <= region.top <= region.top + region.height <= h + 1e-6
    assert 1 <= size.width <= w
    assert 1 <= size.height <= h


@given(sides, sides, st.integers(1, 16383), ratios)
def test_a_filled_box_has_the_asked_width_and_ratio_when_enlarging_is_allowed(w, h, width, ratio):
    size = frame(Size(w, h), width=width, ratio=ratio, crop=CENTER, upscale=True).size
    assert size.width == width
    assert abs(size.height - width / ratio) <= 0.5 or size.height == 1
