"""Chromium loads the file that it should, on screens of 1x, 2x and 3x in windows of four widths.

What it should load is worked out here, by hand, from the widths of the files and the width of the slot; never from our
own HTML.  A new kind of slot needs one more row in ``SLOTS``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from PIL import Image

from easyimg.testing import images

DPRS = (1, 2, 3)
VIEWPORTS = {360: 780, 768: 1024, 1280: 800, 1920: 1080}


def chosen(slot: float, files: list[int], dpr: float) -> int:
    """Return the width of the file that Chromium loads into a slot of that many CSS pixels.

    The HTML standard leaves it to the browser: https://html.spec.whatwg.org/multipage/images.html#select-an-image-source.
    Chromium takes the smallest file with a pixel for every pixel of the screen, else the largest: measured with version
    156 at 18 densities from 0.75 to 3.2. Older versions took the next smaller file where that was nearer (the screen's
    density below the geometric mean of both files' densities); they fail here at the slots that say so.
    """
    return min((width for width in files if width >= slot * dpr), default=max(files))


class Slot(NamedTuple):
    """One image of the page.

    Args:
        options: of ``img()``.
        files: widths of the files that exist for it, pixels.
        says: width of the window -> width of the slot that ``sizes`` says, or that a fixed slot has, CSS pixels.
        css: of the image, where the author's style sheet gives it a width.
        really: width of the window -> the slot's width under that style sheet; None = as ``says``. Lazy images in
            browsers that know ``sizes="auto"`` go by it.
        source: of the picture, pixels.
    """

    options: dict[str, Any]
    files: list[int]
    says: Callable[[int], int]
    css: str = ""
    really: Callable[[int], int] | None = None
    source: tuple[int, int] = (800, 600)


def steps(*bounds: tuple[float, int]) -> Callable[[int], int]:
    """Return a function: width of the window -> the first width whose bound is not less."""
    return lambda window: next(width for bound, width in bounds if window <= bound)


TWO = steps((600, 200), (math.inf, 400))
FOUR = steps((480, 320), (1024, 480), (1599, 640), (math.inf, 900))
TWO_CSS = "width: 400px; height: auto } @media (max-width: 600px) { SELF { width: 200px }"
FOUR_CSS = (
    "width: 640px; height: auto } @media (max-width: 1024px) { SELF { width: 480px } } "
    "@media (max-width: 480px) { SELF { width: 320px } } @media (min-width: 1600px) { SELF { width: 900px }"
)

SLOTS: dict[str, Slot] = {
    "fixed": Slot({"width": 300}, [300, 600], lambda window: 300),
    "fixed, dense": Slot({"width": 200, "densities": [1.5, 2, 3]}, [200, 300, 400, 600], lambda window: 200),
    "fixed, 3x only": Slot({"width": 200, "densities": [3]}, [200, 600], lambda window: 200),
    # Older versions of Chromium take 100 pixels at 2x.
    "fixed, 5x only": Slot({"width": 100, "densities": [5]}, [100, 500], lambda window: 100),
    "fixed, small source": Slot({"width": 300}, [300, 500], lambda window: 300, source=(500, 380)),
    "fixed, smaller source": Slot({"width": 300}, [240], lambda window: 240, source=(240, 160)),
    "fixed, square": Slot({"width": 240, "ratio": 1, "format": "jpeg"}, [240, 480], lambda window: 240),
    "fixed, one file": Slot({"width": 240, "densities": [], "format": "png"}, [240], lambda window: 240),
    "sizes": Slot({"width": 400, "sizes": {600: 200}}, [200, 400, 800], TWO, TWO_CSS),
    # Older versions of Chromium take 1280 pixels for 480 at 3x.
    "sizes, many": Slot(
        {"width": 640, "sizes": {"(min-width: 1600px)": 900, 1024: 480, 480: 320}, "ratio": "video"},
        [320, 480, 640, 900, 960, 1280, 1800],
        FOUR,
        FOUR_CSS,
        source=(1800, 1100),
    ),
    "sizes, bounds in other spellings": Slot(
        {
            "width": 640,
            "sizes": {"(100em <= width)": 900, "(width <= 64rem)": 480, "(MAX-WIDTH: 30em)": 320},
            "ratio": "video",
        },
        [320, 480, 640, 900, 960, 1280, 1800],
        FOUR,
        FOUR_CSS,
        source=(1800, 1100),
    ),
    "sizes, 1x 2x 3x": Slot(
        {"width": 400, "sizes": {600: 200}, "densities": [2, 3]},
        [200, 400, 600, 800, 1200],
        TWO,
        TWO_CSS,
        source=(1200, 800),
    ),
    "sizes, small source": Slot({"width": 400, "sizes": {600: 200}}, [200, 400, 500], TWO, TWO_CSS, source=(500, 380)),
    "sizes, a condition of another kind": Slot(
        {"width": 200, "sizes": {"(orientation: landscape)": 300}},
        [200, 300, 400, 600],
        steps((1000, 200), (math.inf, 300)),
        "width: 200px; height: auto } @media (orientation: landscape) { SELF { width: 300px }",
    ),
    # Older versions of Chromium take 200 pixels for 90 at 3x.
    "sizes, laid out otherwise": Slot(
        {"width": 400, "sizes": {600: 200}}, [200, 400, 800], TWO, "width: 90px; height: auto", lambda window: 90
    ),
    "sizes, as wide as the window": Slot(
        {"width": 400, "sizes": {600: 200}},
        [200, 400, 800],
        TWO,
        "width: 100vw; height: auto",
        lambda window: window,
    ),
    "widths": Slot(
        {"widths": [300, 600, 900, 1200], "sizes": "(max-width: 600px) 100vw, 50vw"},
        [300, 600, 900, 1200],
        lambda window: window if window <= 600 else window // 2,
        "width: 50vw; height: auto } @media (max-width: 600px) { SELF { width: 100vw }",
        source=(1200, 600),
    ),
    "widths, calculated": Slot(
        {"widths": [300, 600, 900, 1200], "sizes": "(width < 37.5em) 100VW, min(50vw, calc(300px + (2 * 50px)))"},
        [300, 600, 900, 1200],
        lambda window: window if window < 600 else min(window // 2, 400),
        "width: min(50vw, 400px); height: auto } @media (width < 600px) { SELF { width: 100vw }",
        source=(1200, 600),
    ),
    "constrained": Slot(
        {"width": 700, "layout": "constrained"},
        [320, 480, 640, 700, 828, 1080, 1280, 1400],
        lambda window: min(window, 700),
        "max-width: 100%; height: auto",
        source=(1400, 700),
    ),
    "full width": Slot(
        {"layout": "full-width", "ratio": 4},
        [320, 480, 640, 828, 1080, 1280, 1668, 2000],
        lambda window: window,
        "width: 100%; height: auto",
        source=(2000, 500),
    ),
    "formats": Slot({"width": 200, "formats": ["avif", "webp"], "effort": "fast"}, [200, 400], lambda window: 200),
    "formats, fluid": Slot(
        {"widths": [200, 400, 800], "sizes": "50vw", "formats": ["webp", "jpeg"]},
        [200, 400, 800],
        lambda window: window // 2,
        "width: 50vw; height: auto",
    ),
    "sizes, no style sheet": Slot({"width": 400, "sizes": {600: 200}}, [200, 400, 800], TWO, really=lambda window: 400),
}

PAGE = """
{% for number, options, lazy, eager in rows %}
{% for source, loading in [(lazy, "lazy"), (eager, "eager")] %}
<p>{{ img(source, img_id=loading ~ "-" ~ number, img_class="s%d"|format(number), alt=loading, loading=loading, **options) }}</p>
{% endfor %}{% endfor %}
"""  # noqa: E501 - a template


@pytest.fixture(scope="module")
def site(make_site):
    """A site with everything built. Every image has a source of its own: Chromium reuses larger files it has loaded."""
    site = make_site()
    rows = []
    css = "body { margin: 0 }"
    for number, slot in enumerate(SLOTS.values()):
        picture = images.corners(*slot.source, format="jpeg", orientation=1 + number % 8)
        rows.append((number, slot.options, site.upload(picture), site.upload(picture)))
        css += f" .s{number} {{ {slot.css.replace('SELF', f'.s{number}')} }}"
    site.build(site.page("/", PAGE, css=f"<style>{css}</style>", rows=rows))
    return site


@pytest.fixture(scope="module")
def widths():
    """Return a function: a file -> its width, pixels."""
    known: dict[Any, int] = {}

    def width(file: Any) -> int:
        if file not in known:
            with Image.open(file) as picture:
                known[file] = picture.width
        return known[file]

    return width


@pytest.mark.parametrize("viewport", VIEWPORTS)
@pytest.mark.parametrize("dpr", DPRS)
def test_chromium_loads_the_file_it_should(site, window, look, widths, dpr, viewport):
    page = window(viewport, VIEWPORTS[viewport], dpr)
    page.goto(site.server.url + "/")
    wrong = []
    for image in look(page):
        loading, number = image["id"].split("-")
        name, slot = list(SLOTS.items())[int(number)]
        lazy = loading == "lazy" and bool(slot.options.keys() & {"sizes", "widths", "layout"})
        width = (slot.really or slot.says)(viewport) if lazy else slot.says(viewport)
        got, expected = widths(site.file(image["url"])), chosen(width, slot.files, dpr)
        if got != expected:
            wrong.append(f"{name}, {loading}: {got} instead of {expected} pixels for {width} at {dpr}x")
        asked = slot.options.get("formats", [slot.options.get("format", "webp")])
        assert site.file(image["url"]).suffix == f".{asked[0].replace('jpeg', 'jpg')}", name
        check_look(image, loading)
    assert not wrong


def check_look(image: dict[str, Any], alt: str) -> None:
    """The picture is upright, not stretched, as large as its file says, and has its alternative text."""
    assert image["alt"] == alt
    width, height = image["attributes"]
    assert image["width"] / image["height"] == pytest.approx(width / height, rel=0.02), image
    assert image["naturalWidth"] / image["naturalHeight"] == pytest.approx(width / height, rel=0.02), image
    for corner, colour in images.CORNERS.items():
        assert image["corners"][corner] == pytest.approx(list(colour), abs=40), (corner, image)
