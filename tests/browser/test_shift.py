"""Nothing on a page moves while its images load: before variants exist and after, with a CSS reset and without.

Pictures wait behind a gate until the page has been laid out without them; then Chromium says what has moved.
"""

from __future__ import annotations

from typing import Any

import pytest

from easyimg.testing import images

RESET = "<style>img { max-width: 100%; height: auto }</style>"
SHIFTS = """() => new Promise(done => {
  let sum = 0;
  const add = list => { for (const entry of list.getEntries()) sum += entry.value; };
  const observer = new PerformanceObserver(add);
  observer.observe({type: 'layout-shift', buffered: true});
  setTimeout(() => { add({getEntries: () => observer.takeRecords()}); done(sum); }, 300);
})"""
PAINTED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"

OPTIONS: list[dict[str, Any]] = [
    {"width": 300},
    {"width": 300, "loading": "eager"},
    {"width": 300, "ratio": "square"},
    {"width": 120, "ratio": "video_vertical"},
    {"width": 300, "ratio": 1, "crop": False},
    {"width": 150, "window": (0.1, 0.1, 0.4, 0.9)},
    {"width": 500, "sizes": {600: 200}},
    {"width": 500, "sizes": {600: 200}, "ratio": 3, "loading": "eager"},
    {"widths": [200, 400], "sizes": "50vw", "ratio": 2},
    {"width": 600, "layout": "constrained"},
    {"layout": "full-width", "ratio": 5},
    {"width": 200, "formats": ["avif", "webp"], "effort": "fast", "ratio": 1},
    {"width": 600, "layout": "constrained", "formats": ["webp", "jpeg"]},
    {"layout": "full-width", "formats": ["webp"], "ratio": 5},
    {"width": 300, "ratio": 2, "art": {1200: {"width": 150, "ratio": 1}, "print": {"ratio": 3}}},
    {"width": 300, "formats": ["webp"], "art": {"(min-width: 900px)": {"layout": "full-width", "ratio": 4}}},
    {"width": 200, "ratio": 1, "img_style": "border: 1px solid"},
]

PAGE = """
{% for source in sources %}{% for options in all %}
<p>{{ img(source, alt="A picture", **options) }}</p><p>Text below it.</p>
{% endfor %}{% endfor %}
<div style="width: 180px">{{ img(sources[0], alt="In a narrow column", width=300, ratio="square") }}</div><p>Text</p>
{% if unseen %}{% for options in all if options.ratio and options.width and options.crop != False %}
<p>{{ img(unseen, alt="Never seen, but of a given ratio", **options) }}</p><p>Text below it.</p>
{% endfor %}{% endif %}
"""


def shift(site: Any, page: Any, url: str) -> float:
    """Return how much a page moves while its pictures load."""
    site.server.gate.clear()
    page.goto(url, wait_until="domcontentloaded")
    page.evaluate(PAINTED)
    assert page.evaluate("() => [...document.images].some(img => !img.complete)")
    site.server.gate.set()
    page.wait_for_function("() => [...document.images].every(img => img.complete)")
    page.evaluate(PAINTED)
    return page.evaluate(SHIFTS)


@pytest.fixture(scope="module")
def pages(make_site):
    """Return the site, and kind of page -> URL of one with the reset and one without."""
    site = make_site()
    sources = [
        site.upload(width=640, height=420),
        site.upload(width=301, height=640, seed=1),
        site.upload(images.corners(170, 130, format="jpeg", orientation=6)),
        site.upload(images.transparent(400, 301)),
    ]
    waiting = [site.upload(site.app.storage(s.storage).read(s.name)) for s in sources]
    unseen = site.put("unseen.jpg", images.photo(640, 420, seed=3))
    urls = {}
    for kind, chosen in {"built": sources, "pending": waiting}.items():
        context = {"sources": chosen, "all": OPTIONS, "unseen": unseen if kind == "pending" else None}
        plain, reset = site.page(f"/{kind}", PAGE, **context), site.page(f"/{kind}/reset", PAGE, css=RESET, **context)
        urls[kind] = {"plain": plain, "reset": reset}
    site.build(urls["built"]["plain"])
    return site, urls


@pytest.mark.parametrize("css", ["plain", "reset"])
@pytest.mark.parametrize("kind", ["built", "pending"])
def test_nothing_moves_while_images_load(pages, window, kind, css):
    site, urls = pages
    page = window(1000, 20_000)  # all is in view, so all counts and all loads
    assert shift(site, page, urls[kind][css]) == 0
    stretched = page.evaluate(
        """() => [...document.images].filter(img => {
          const box = img.getBoundingClientRect(), style = getComputedStyle(img);
          const border = 2 * parseFloat(style.borderTopWidth);
          const shown = (box.width - border) / (box.height - border), own = img.naturalWidth / img.naturalHeight;
          return img.naturalWidth && style.objectFit === 'fill' && Math.abs(shown / own - 1) > 0.02;
        }).map(img => img.outerHTML)"""
    )
    assert stretched == []
    is_variant = "/media/img/" in page.evaluate("() => document.images[0].currentSrc")
    assert is_variant == (kind == "built")


def test_this_would_see_what_moves(pages, window):
    site, _ = pages
    # Never seen and without a ratio: the one image whose size nobody can know.
    url = site.page("/moves", "{{ img(name, alt='', width=300, loading='eager') }}<p>Text</p>", name="unseen.jpg")
    assert shift(site, window(), url) > 0.01


@pytest.mark.parametrize("css", ["", RESET], ids=["plain", "reset"])
def test_nothing_moves_once_a_source_is_known_to_be_missing_or_damaged(make_site, window, look, css):
    """Before that, browsers show the alternative text in a box of its own size instead of the broken picture."""
    site = make_site()
    damaged = site.put("damaged.jpg", b"\xff\xd8\xff" + bytes(50))
    sized = [each for each in OPTIONS if each.get("ratio") and each.get("width") and each.get("crop") is not False]
    url = site.page("/", PAGE, css=css, sources=[damaged, "missing.jpg"], all=sized)
    site.build(url)
    page = window(1000, 6000)
    page.goto(url)
    page.evaluate(PAINTED)
    assert page.evaluate(SHIFTS) == 0
    for image in look(page):
        assert image["url"].startswith("data:image/svg+xml,")
        assert image["width"] / image["height"] == pytest.approx(image["attributes"][0] / image["attributes"][1], 0.02)
