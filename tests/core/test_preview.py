"""The preview of a source: from which file it is made, and the style that shows it in any slot."""

import re
from base64 import b64decode
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyimg.geometry import Focus, Size, Window, frame
from easyimg.preview import MAX_DATA, Glimpse, Preview, glimpsed, make_preview, window_of
from easyimg.source import SourceInfo
from easyimg.spec import VariantSpec

PHOTO = SourceInfo(900, 600, "jpeg")
SQUARE = Fraction(1)
WHOLE, CUT, SMART = (
    VariantSpec("webp", 300),
    VariantSpec("webp", 300, SQUARE),
    VariantSpec("webp", 300, SQUARE, "smart"),
)
SEEN = Glimpse("#102030", b"RIFF....WEBP")


def preview_of(spec, focus=None):
    return make_preview(SEEN, spec, PHOTO, focus)


def test_it_is_made_of_the_smallest_file_that_shows_most():
    assert glimpsed([CUT, VariantSpec("webp", 600), WHOLE, SMART], PHOTO, None, None) == 2
    assert (
        glimpsed([CUT, VariantSpec("webp", 300, Fraction(3, 2), window=Window(0, 0, 0.1, 0.1))], PHOTO, None, None) == 0
    )


def test_it_is_made_once_and_again_only_to_show_more():
    cut, whole = preview_of(CUT), preview_of(WHOLE)
    assert glimpsed([CUT], PHOTO, None, cut) is None
    assert glimpsed([CUT], PHOTO, Focus(0, 0.5), cut) == 0
    assert glimpsed([CUT, WHOLE], PHOTO, None, cut) == 1
    assert glimpsed([CUT, WHOLE], PHOTO, Focus(0, 0.5), whole) is None
    assert glimpsed([CUT], PHOTO, None, Preview("#102030")) == 0


@pytest.mark.parametrize(
    "info",
    [SourceInfo(9, 6, "png", has_alpha=True), SourceInfo(9, 6, "gif", frames=2), SourceInfo(9, 6, "webp", frames=3)],
)
def test_transparent_and_moving_sources_have_none(info):
    assert glimpsed([WHOLE], info, None, None) is None


def test_what_only_the_engine_knows_the_place_of_gives_a_colour_alone():
    assert glimpsed([SMART], PHOTO, None, None) == 0
    assert preview_of(SMART) == Preview("#102030", "")
    assert glimpsed([SMART], PHOTO, None, preview_of(SMART)) is None


def test_a_picture_that_does_not_become_small_gives_a_colour_alone():
    assert make_preview(Glimpse("#102030", b"x" * 301), WHOLE, PHOTO, None) == Preview("#102030")
    assert make_preview(Glimpse("#102030", b""), WHOLE, PHOTO, None) == Preview("#102030")
    assert len(make_preview(Glimpse("#102030", b"x" * 300), WHOLE, PHOTO, None).blur) == len("0 0 1 1 ") + MAX_DATA


def test_the_row_says_what_the_blurred_picture_shows():
    assert preview_of(WHOLE).window == Window(0, 0, 1, 1)
    assert preview_of(CUT, Focus(0.9, 0.5)).window == pytest.approx((1 / 3, 0, 1, 1), abs=1e-4)
    assert b64decode(preview_of(CUT).blur.split(" ")[4]) == SEEN.data


def test_styles():
    whole = Window(0, 0, 1, 1)
    preview = preview_of(WHOLE)
    data = preview.blur.split(" ")[4]
    assert preview.style("color", whole) == "background: #102030 content-box"
    assert preview.style("blur", whole) == (
        f"background: #102030 url(data:image/webp;base64,{data}) 50% 50% / cover content-box"
    )
    assert f"({'data:image/webp;base64,'}{data}) 0% 50% / 200% 100% content-box" in preview.style(
        "blur", Window(0, 0, 0.5, 1)
    )
    for unknown in (None, Window(0, 0, 1, 1)):
        assert preview_of(CUT).style("blur", unknown) == "background: #102030 content-box"
    assert Preview("#102030").style("blur", whole) == "background: #102030 content-box"


sides = st.integers(1, 8000)
fractions = st.floats(0, 1)


@given(
    source=st.builds(Size, sides, sides),
    ratio=st.none() | st.fractions(Fraction(1, 50), 50, max_denominator=50),
    focus=st.builds(Focus, fractions, fractions),
    edges=st.none() | st.tuples(fractions, fractions, fractions, fractions),
)
def test_css_shows_the_very_region_that_the_slot_shows(source, ratio, focus, edges):
    """Solve CSS's rule for percentages: which part of the whole picture lies over the box?"""
    window = None
    if edges is not None:
        (left, right), (top, bottom) = sorted(edges[:2]), sorted(edges[2:])
        window = Window(left, top, right, bottom) if left < right and top < bottom else None
    region = window_of(frame(source, ratio=ratio, crop=focus, window=window).region, source)
    style = Preview("#000000", "0 0 1 1 " + "A" * MAX_DATA).style("blur", region)
    assert len(f' style="{style}"') <= 600
    found = re.search(r"\) (\S+)% (\S+)% / (\S+)% (\S+)% content-box$", style)
    if found is None:
        assert style.endswith(" 50% 50% / cover content-box")
        assert region == pytest.approx((0, 0, 1, 1), abs=0.01)
        return
    x, y, across, down = (float(number) / 100 for number in found.groups())
    for position, zoom, first, last in ((x, across, region.left, region.right), (y, down, region.top, region.bottom)):
        start = position * (zoom - 1) / zoom  # where the box begins, in parts of the picture
        assert start == pytest.approx(first, abs=0.01)
        assert start + 1 / zoom == pytest.approx(last, abs=0.01)
