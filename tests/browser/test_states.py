"""A page before its files exist and after; under a strict Content-Security-Policy; and as people see it."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from PIL import Image

from easyimg import set_focus
from easyimg.testing import images
from tests.conftest import ROOT

POLICY = "default-src 'none'; img-src 'self' data:; style-src 'self'"
PAGE = """
<link rel="stylesheet" href="/site.css">
{% for options in all %}<p>{{ img(source, alt="A shoe", **options) }}</p>{% endfor %}
<p>{{ img("scan.tif", alt="A scan", width=120, ratio=1) }}</p>
"""
OPTIONS: list[dict[str, Any]] = [
    {"width": 200},
    {"width": 200, "ratio": "square"},
    {"width": 200, "sizes": {600: 100}, "ratio": 2},
    {"width": 200, "formats": ["webp"], "ratio": 1, "loading": "eager"},
]
WATCH = """
  window.violations = [];
  addEventListener('securitypolicyviolation', event => violations.push(event.violatedDirective));
"""


def served(site: Any) -> str:
    site.put("scan.tif", images.photo(200, 200, format="tiff"))
    site.server.headers["Content-Security-Policy"] = POLICY
    site.server.css["/site.css"] = "img { max-width: 100%; height: auto }"
    return site.page("/", PAGE, source=site.upload(width=600, height=400), all=OPTIONS)


def opened(window: Any, url: str) -> tuple[Any, list[str]]:
    """Return the open page, and what its console says, which is filled on."""
    page, console = window(), []
    page.on("console", lambda message: console.append(message.text))
    page.add_init_script(WATCH)
    page.goto(url)
    return page, console


def test_a_strict_page_violates_no_policy_before_and_after_its_files_are_built(make_site, window, look):
    site = make_site(csp="strict")
    url = served(site)
    for built in (False, True):
        page, console = opened(window, url)
        seen = look(page)
        assert page.evaluate("() => violations") == []
        assert console == []
        assert page.evaluate("() => document.querySelectorAll('[style], style, script').length") == 0
        assert all(image["naturalWidth"] for image in seen), "all are shown, placeholders too"
        assert [image["url"].startswith("data:image/svg+xml,") for image in seen[1:]] == [not built] * len(OPTIONS)
        for image in seen[:4]:
            width, height = image["attributes"]
            assert (image["width"], image["height"]) == pytest.approx(
                (width, height), abs=0.5
            )  # the source's own ratio
        site.build(url)


def test_the_default_needs_inline_style_which_such_a_policy_refuses(make_site, window):
    page, console = opened(window, served(make_site()))
    assert set(page.evaluate("() => violations")) == {"style-src-attr"}
    assert console


def test_a_page_shows_the_source_at_first_and_its_variants_when_it_is_loaded_again(make_site, window, look):
    site = make_site()
    source = site.upload(images.corners(900, 600, format="jpeg", orientation=3))
    body = "{{ img(source, alt='A shoe', width=300) }}{{ img(source, alt='Square', width=300, ratio='square') }}"
    url = site.page("/", body, source=source)
    page = window(dpr=2)
    page.goto(url)
    before = look(page)
    assert {image["url"] for image in before} == {f"{site.server.url}/media/{source.name}"}
    assert [image["fit"] for image in before] == ["fill", "cover"]
    site.build(url)
    page.reload()
    after = look(page)
    assert all(re.fullmatch(r".*/media/img/.*\.webp", image["url"]) for image in after)
    assert [image["fit"] for image in after] == ["fill", "fill"]
    for image in (*before, *after):
        for corner, colour in images.CORNERS.items():
            assert image["corners"][corner] == pytest.approx(list(colour), abs=40), (corner, image)
    for name in ("width", "height"):
        assert [image[name] for image in before] == [image[name] for image in after]


def test_pending_placeholder_never_asks_for_the_original(make_site, window, look):
    site = make_site(pending="placeholder")
    source = site.upload(width=600, height=400)
    url = site.page("/", "{{ img(source, alt='', width=300) }}", source=source)
    page, asked = window(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    (image,) = look(page)
    assert image["naturalWidth"] / image["naturalHeight"] == pytest.approx(1.5)
    assert not [each for each in asked if source.name in each]


GALLERY = """
<h1>Gallery</h1><main>
{% for source in sources %}<figure>{{ img(source, alt="Picture", width=320, ratio="4/3", img_class="round") }}
<figcaption>{{ loop.index }}: {{ kinds[loop.index0] }}</figcaption></figure>{% endfor %}
</main>{{ img(sources[0], alt="Wide", layout="full-width", ratio=4) }}
"""
CSS = """<style>
body { font: 16px sans-serif; margin: 24px; background: #f3f4f6 } main { display: grid; gap: 24px;
grid-template-columns: repeat(auto-fill, 320px) } figure { margin: 0; background: white; border-radius: 12px }
.round { border-radius: 12px 12px 0 0; display: block } figcaption { padding: 8px 12px } body > img { width: 100%;
height: auto; margin-top: 24px }
</style>"""


def test_a_gallery_to_look_at(make_site, window, look):
    """Screenshots of both states, as ``.artifacts/gallery-*.png``."""
    site = make_site()
    pictures = {
        "photo": images.photo(960, 720),
        "portrait": images.photo(500, 800, seed=1),
        "upright by EXIF: red, green, blue, yellow": images.corners(800, 600, format="jpeg", orientation=6),
        "transparent": images.transparent(800, 600),
        "smaller than its slot": images.photo(200, 150, seed=2),
        "grey": images.grey(800, 600),
        "TIFF, which browsers cannot show": images.photo(800, 600, seed=3, format="tiff"),
        "animation": images.animation(640, 480),
    }
    sources = [site.upload(data) for data in pictures.values()]
    url = site.page("/", GALLERY, css=CSS, sources=sources, kinds=list(pictures))
    folder = ROOT / ".artifacts"
    folder.mkdir(exist_ok=True)
    for state in ("pending", "built"):
        page = window(1440, 900)
        page.goto(url)
        seen = look(page)
        assert all(image["naturalWidth"] for image in seen)
        assert all(("/media/img/" in image["url"]) == (state == "built") for image in seen)
        page.screenshot(path=folder / f"gallery-{state}.png", full_page=True)
        site.build(url)


@pytest.mark.parametrize("options", [{"ratio": "square"}, {"ratio": "square", "crop": False, "contain": False}])
@pytest.mark.parametrize(("focus", "shown"), [((0, 0.5), images.RED), ((1, 0.5), images.GREEN)])
def test_what_stands_in_is_cut_around_the_focus_point(make_site, window, options, focus, shown):
    """Half of the picture is not seen: CSS cuts the original as the crop will."""
    site = make_site()
    source = site.upload(images.corners(1200, 300))
    set_focus(source, focus, site.app)
    css = "<style>img { object-fit: cover }</style>" if options.get("crop") is False else ""
    url = site.page("/", "{{ img(source, alt='', width=200, **options) }}", css=css, source=source, options=options)
    page = window()
    page.goto(url)
    assert "/img/" not in page.evaluate("() => document.images[0].currentSrc")
    page.evaluate("() => document.images[0].decode()")
    if css:
        page.evaluate("() => { document.images[0].width = document.images[0].height = 200; }")
    with Image.open(io.BytesIO(page.locator("img").screenshot())) as picture:
        seen = picture.convert("RGB")
        assert {seen.getpixel((x, 20)) for x in (5, 100, 195)} == {shown}
