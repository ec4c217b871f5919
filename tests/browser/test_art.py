"""Art direction in Chromium: every condition shows its own cut, of its own size, in a format that the browser can read.

The corners' colours of the pictures tell which of them is shown, and which part of it.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest
from PIL import Image

from easyimg import Img, preload_links
from easyimg.testing import images
from tests.browser.test_choice import DPRS, VIEWPORTS
from tests.browser.test_shift import RESET, shift

ALL = dict(images.CORNERS)
LOWER_RIGHT = dict.fromkeys(ALL, ALL["br"])


class Shown(NamedTuple):
    """What a window shows: the box, CSS pixels; the colours of its corners. ``densest`` is of the largest file."""

    width: int
    height: int
    corners: dict[str, tuple[int, int, int]]
    densest: int = 3


MAIN = Shown(400, 200, ALL)
NARROW = Shown(200, 200, ALL)
WIDE = Shown(250, 375, ALL, densest=2)  # whose source is 600 pixels wide
PRINTED = Shown(150, 100, LOWER_RIGHT)
PAGE = """{{ img(source, width=400, ratio=2, alt="A shoe", loading=loading, formats=formats, img_id="i",
  densities=[2, 3], art={
  600: {"width": 200, "ratio": 1},
  "(min-width: 1500px)": {"source": other, "width": 250, "ratio": None, "densities": [2]},
  "print": {"width": 150, "ratio": None, "window": (0.5, 0.5, 1, 1)},
}) }}<p>Text below it.</p>"""


@pytest.fixture(scope="module", params=["lazy", "eager"])
def site(request, make_site):
    site = make_site()
    source = site.upload(images.corners(1200, 800, format="jpeg", orientation=6))
    other = site.upload(images.corners(600, 900, format="jpeg"))
    for path, formats in {"/": ["webp"], "/avif": ["avif", "webp"]}.items():
        url = site.page(path, PAGE, source=source, other=other, loading=request.param, formats=formats)
        site.build(url)
    return site


def check(site: Any, image: dict[str, Any], expected: Shown, dpr: int, extension: str = ".webp") -> None:
    file = site.file(image["url"])
    assert file.suffix == extension
    with Image.open(file) as picture:
        density = min(dpr, expected.densest)
        assert picture.size == (expected.width * density, expected.height * density)
    assert (image["width"], image["height"]) == (expected.width, expected.height)
    for corner, colour in expected.corners.items():
        assert image["corners"][corner] == pytest.approx(list(colour), abs=40), (corner, image)


def cut_for(viewport: int) -> Shown:
    """Return what a window of that width must show."""
    return NARROW if viewport <= 600 else MAIN if viewport < 1500 else WIDE


@pytest.mark.parametrize("dpr", DPRS)
@pytest.mark.parametrize("viewport", [*VIEWPORTS, 600, 601, 1499, 1500])
def test_chromium_shows_the_cut_of_its_window_and_the_one_for_paper(site, window, look, viewport, dpr):
    page = window(viewport, 900, dpr)
    page.goto(site.server.url + "/")
    (image,) = look(page)
    check(site, image, cut_for(viewport), dpr)
    page.emulate_media(media="print")
    page.wait_for_function("url => document.images[0].currentSrc !== url", arg=image["url"])
    (image,) = look(page)
    check(site, image, PRINTED, dpr)


def test_a_window_that_changes_shows_the_other_cut_and_print_its_own(site, window, look):
    page = window(1000)
    page.goto(site.server.url + "/")
    turns = [
        (MAIN, None),
        (PRINTED, lambda: page.emulate_media(media="print")),
        (MAIN, lambda: page.emulate_media(media="screen")),
        (NARROW, lambda: page.set_viewport_size({"width": 400, "height": 900})),
        (PRINTED, lambda: page.emulate_media(media="print")),  # though its page is narrow, too
    ]
    for expected, turn in turns:
        (before,) = look(page)
        if turn is not None:
            turn()
            page.wait_for_function("url => document.images[0].currentSrc !== url", arg=before["url"])
        (image,) = look(page)
        check(site, image, expected, 1)


@pytest.mark.parametrize("dpr", DPRS)
@pytest.mark.parametrize("viewport", VIEWPORTS)
@pytest.mark.parametrize(
    ("known", "extension"), [(("avif", "webp"), ".avif"), (("webp",), ".webp"), ((), ".jpg")], ids=str
)
def test_browsers_get_the_right_cut_in_the_first_format_that_they_read(
    site, window, look, known, extension, viewport, dpr
):
    """A browser is let know fewer formats by types that no browser knows."""

    def without(match: re.Match[str]) -> str:
        return match[0] if match[1] in known else 'type="image/x-not-known"'

    body = site.server.pages["/avif"]
    site.server.pages["/known"] = lambda: re.sub(r'type="image/(avif|webp)"', without, body())
    page = window(viewport, 900, dpr)
    page.goto(site.server.url + "/known")
    (image,) = look(page)
    # What all can read is one file, of one pixel for each of the slot.
    check(site, image, cut_for(viewport), dpr if known else 1, extension)


@pytest.mark.parametrize("viewport", [500, 800, 1000, 1600])
def test_a_window_preloads_the_file_of_its_condition_and_no_other(make_site, window, viewport):
    site = make_site()
    hero = {"width": 400, "ratio": 2, "priority": True, "formats": ["webp"], "art": {600: {"ratio": 1}, 900: {}}}
    hero["art"] |= {"(min-width: 1500px)": {"ratio": 3}, "print": {"ratio": 4}}
    body = "{{ img_preload(source, **hero) }}<p>Text</p>{{ img(source, alt='', **hero) }}"
    url = site.page("/", body, source=site.upload(width=1200, height=800), hero=hero)
    site.build(url)
    page, asked, console = window(viewport), [], []
    page.on("request", lambda request: asked.append(request.url) if "/media/" in request.url else None)
    page.on("console", lambda message: console.append(message.text))
    page.goto(url)
    assert page.evaluate("() => document.querySelectorAll('link[rel=preload]').length") == 4
    assert asked == [page.evaluate("() => document.images[0].currentSrc")]
    page.wait_for_timeout(4000)  # Chromium says some seconds later what was loaded for nothing
    assert console == []


@pytest.mark.parametrize(
    "options",
    [
        {"width": 400},
        {"width": 400, "ratio": 1, "formats": ["webp", "jpeg"]},
        {"width": 900, "sizes": {600: 300}},
        {"layout": "full-width", "formats": ["webp"]},
    ],
    ids=str,
)
@pytest.mark.parametrize("header", [False, True])
def test_what_is_preloaded_is_what_is_shown_in_every_kind_of_slot(make_site, window, options, header):
    site = make_site()
    hero = Img(app=site.app, priority=True, **options)
    source = site.upload(width=1600, height=1200)
    bound = hero(source, alt="", immediate=True)
    links = preload_links(bound)
    site.server.pages["/"] = lambda: f"<!doctype html><title>x</title>{'' if header else links.html}<p>Text</p>{bound}"
    if header:
        site.server.headers["Link"] = links.header
    page, asked, console = window(500, dpr=2), [], []
    page.on("request", lambda request: asked.append(request.url) if "/media/" in request.url else None)
    page.on("console", lambda message: console.append(message.text))
    page.goto(site.server.url + "/")
    assert asked == [page.evaluate("() => document.images[0].currentSrc")]
    page.wait_for_timeout(4000)  # Chromium says some seconds later what was loaded for nothing
    assert console == []


@pytest.mark.parametrize("css", ["", RESET], ids=["plain", "reset"])
def test_nothing_moves_before_and_after_the_cuts_are_built(make_site, window, look, css):
    site = make_site()
    source = site.upload(width=1200, height=800)
    other = site.upload(width=600, height=900)
    context = {"source": source, "other": other, "loading": "lazy", "formats": ["webp"]}
    url = site.page("/", PAGE, css=css, **context)
    for built in (False, True):
        for viewport, expected in ((400, NARROW), (1000, MAIN), (1600, WIDE)):
            page = window(viewport)
            assert shift(site, page, url) == 0
            (image,) = look(page)
            width, height = (expected if built else MAIN)[:2]
            shrunk = min(1, (viewport - 16) / width) if css else 1  # by the reset, into a body with its margins
            assert (image["width"], image["height"]) == pytest.approx((width * shrunk, height * shrunk), abs=0.5)
            assert ("/media/img/" in image["url"]) == built
        site.build(url)
