"""The placeholder in Chromium: there while the picture is on its way, its colours in their places; later no trace."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

import pytest
from PIL import Image

from easyimg.testing import images
from easyimg.testing.pixels import nearest_corner

RED, WHITE = (255, 0, 0), (255, 255, 255)

CSS = """<style>
body { margin: 13.3px; background: white } img { display: block; margin-bottom: 7.7px }
.framed { padding: 9px 14.5px; border: 3px dotted white }
.round { border-radius: 20px; padding: 5px }
.fluid { width: 61.37%; height: auto } .boxed { width: 203.5px; height: 91.25px; object-fit: cover }
</style>"""
PAGE = """
{% for name in ("", "framed", "fluid", "boxed", "round") %}
{% for options in all if name != "round" or "crop" not in options %}
{{ img(source, alt="", img_class=name, **options) }}{% endfor %}{% endfor %}
"""
OPTIONS: list[dict[str, Any]] = [
    {"width": 150, "placeholder": kind, "loading": "eager", "densities": [1, 2], **more}
    for kind in ("color", "blur")
    for more in ({}, {"ratio": "square", "crop": "l"}, {"window": (0.1, 0.2, 0.7, 0.8)}, {"formats": ["webp"]})
]


def screenshot(page: Any) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")


def held_back(site: Any, page: Any, url: str) -> None:
    """Open a page whose pictures wait at the gate."""
    site.server.gate.clear()
    page.goto(url, wait_until="commit")
    page.wait_for_function("document.readyState !== 'loading'")
    page.wait_for_timeout(300)  # for the data: pictures


def boxes_of(page: Any) -> list[list[float]]:
    """Return left, top, right and bottom of every image, CSS pixels."""
    return page.evaluate(
        "[...document.images].map(i => i.getBoundingClientRect()).map(b => [b.left, b.top, b.right, b.bottom])"
    )


def let_in(site: Any, page: Any) -> None:
    site.server.gate.set()
    page.wait_for_function("[...document.images].every(img => img.complete && img.naturalWidth)")
    page.evaluate("() => Promise.all([...document.images].map(img => img.decode()))")


@pytest.fixture
def site(make_site):
    site = make_site(cache_seconds=0)
    yield site
    site.server.gate.set()


def is_red(pixel: tuple[int, ...]) -> bool:
    return pixel[0] > pixel[1] + 40


def repainted(site: Any, source: Any) -> None:
    """Let the previews of a red picture belong to files that are blue, of which no pixel is like red."""
    for path in (site.media / "img").iterdir():
        with Image.open(path) as old:
            Image.new("RGB", old.size, (0, 60, 255)).save(path, old.format)
    with Image.open(site.media / source.name) as old:
        Image.new("RGB", old.size, (0, 60, 255)).save(site.media / source.name, old.format)


@pytest.mark.parametrize("dpr", [1, 1.5])
@pytest.mark.parametrize("stands_in", [False, True])
def test_not_one_pixel_of_it_is_seen_once_the_picture_is_there(site, window, dpr, stands_in):
    """The pictures are made blue behind easyimg's back, so that every red pixel is one of the placeholder.

    Not together: rounded corners, and a source that stands in for a cut beside the centre. There Chromium paints both,
    and at the rounded edge half a pixel of each.
    """
    red = io.BytesIO()
    Image.new("RGB", (600, 403), RED).save(red, "JPEG", quality=95)
    source = site.upload(red.getvalue())
    options = [{**each, "width": 151} for each in OPTIONS] if stands_in else OPTIONS
    url = site.page("/", PAGE, css=CSS, source=source, all=options)
    seen = site.page("/first", PAGE, css=CSS, source=source, all=OPTIONS)
    site.build(seen)
    repainted(site, source)
    page = window(700, 900, dpr)
    held_back(site, page, url)
    before = screenshot(page)
    boxes = boxes_of(page)
    assert len(boxes) == 5 * len(OPTIONS) - 2
    for left, top, right, bottom in boxes:
        assert is_red(before.getpixel((int((left + right) / 2 * dpr), int((top + bottom) / 2 * dpr))))
    let_in(site, page)
    after = screenshot(page)
    remains = [colour for _, colour in after.getcolors(1 << 24) if is_red(colour)]
    assert remains == []


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ratio": "square", "crop": "l"},
        {"ratio": "square", "crop": (0.9, 0.5)},
        {"window": (0.3, 0.2, 0.9, 0.8)},
        {"window": (0, 0.1, 0.3, 0.9), "ratio": "video"},
    ],
)
def test_its_colours_are_where_those_of_the_picture_will_be(site, window, options):
    """The picture is a map of itself: left to right in red, top to bottom in green."""
    source = site.upload(images.ramp(1200, 800, format="png"))
    body = "{{ img(source, alt='', width=320, loading='eager', placeholder='blur', **options) }}"
    whole = site.page("/whole", "{{ img(source, alt='', width=320) }}", source=source)
    url = site.page("/", body, css=CSS, source=source, options=options)
    site.build(whole)
    site.build(url)
    page = window(500, 500)
    held_back(site, page, url)
    before = screenshot(page)
    let_in(site, page)
    after = screenshot(page)
    box = boxes_of(page)[0]
    cuts = [shot.crop(tuple(map(round, box))).resize((12, 12), Image.Resampling.BOX) for shot in (before, after)]
    pairs = list(zip(*(cut.tobytes() for cut in cuts), strict=True))
    assert len({pair[1] for pair in pairs}) > 20
    assert max(abs(one - other) for one, other in pairs) < 26, "a tenth of the source's width at most"
    assert sum(abs(one - other) for one, other in pairs) / len(pairs) < 7


def test_it_is_upright_and_smooth(site, window):
    source = site.upload(images.corners(900, 600, format="jpeg", orientation=6))
    url = site.page("/", "{{ img(source, alt='', width=320, loading='eager', placeholder='blur') }}", source=source)
    site.build(url)
    page = window(500, 500)
    held_back(site, page, url)
    box = boxes_of(page)[0]
    shot = screenshot(page).crop(tuple(map(round, box)))
    assert {corner: nearest_corner(shot, corner) for corner in images.CORNERS} == {c: c for c in images.CORNERS}
    row = [shot.getpixel((x, 40)) for x in range(shot.width)]
    steps = [max(abs(a - b) for a, b in zip(one, other, strict=True)) for one, other in pairwise(row)]
    assert max(steps) < 40, "from one of the 16 pixels to the next in small steps"
