"""URLs alone, preloading links, focus points and ``pending="build"``: on real rows, files and pictures."""

import json
import re

import pytest
from jinja2 import Environment
from PIL import Image

from easyimg import ImageBatch, Img, Source, preload_links, set_focus
from easyimg.drain import drain
from easyimg.errors import SpecError
from easyimg.jinja import install
from easyimg.source import SourceInfo
from easyimg.testing import images
from easyimg.variant import VariantStatus, Wanted
from tests.counting import Statements

HERO = Img(width=300, priority=True)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="4" height="3"/>'


@pytest.fixture
def render(site):
    env = Environment(autoescape=True)
    install(env, site.app)
    return lambda text, **given: env.from_string(text).render(**given)


def formats(site, name="shoe.jpg"):
    return sorted((v.format, v.width) for v in site.app.metadata.inspect(Source("default", name)).variants)


def test_a_url_orders_its_one_file_and_no_other(site):
    name = site.put()
    assert str(Img(width=300).url(name)) == "/media/shoe.jpg"
    drain(site.app)
    assert formats(site) == [("jpeg", 300)]
    url = Img(width=300).url(name).url()
    assert site.file(url).suffix == ".jpg"


def test_a_url_shares_the_file_of_the_img_with_equal_options(site):
    name = site.put()
    assert Img(width=300)(name, build="src").base_url() == Img(width=300).url(name).url()


def test_a_url_may_have_another_format_and_be_built_at_once(site):
    url = str(Img(width=300, ratio="square").url(site.put(), format="webp", build="src"))
    with Image.open(site.file(url)) as picture:
        assert (picture.format, picture.size) == ("WEBP", (300, 300))


def test_a_root_makes_urls_absolute_and_lets_no_placeholder_through(make_site):
    site = make_site(pending="placeholder")
    with site.app:
        name = site.put()
        image = Img(width=300)
        assert image.url(name).url().startswith("data:")
        assert image.url(name, root="https://example.com").url() == ""
        url = image.url(name, root="https://example.com/", build="src").url()
        assert re.fullmatch(r"https://example\.com/media/img/[0-9a-f.]+\.jpg", url)
        assert image.url(None, root="https://example.com").url() == ""


def test_a_root_leaves_absolute_urls_as_they_are(make_site):
    site = make_site(base_urls={"default": "https://cdn.example/m/"})
    with site.app:
        url = Img(width=300).url(site.put(), root="https://example.com", build="src").url()
        assert url.startswith("https://cdn.example/m/img/")


PAGE = """\
<meta property="og:image" content="{{ img_url('a.jpg', width=600, root='https://example.com') }}">
{{ img_preload('b.jpg', width=300, priority=True, img_crossorigin='anonymous') }}
<div style="background-image: url({{ img_url('c.jpg', 'card') }})"></div>
{{ img('b.jpg', width=300, priority=True, alt='', img_crossorigin='anonymous') }}
"""


def test_urls_links_and_images_of_a_page_cost_one_query(make_site, monkeypatch):
    site = make_site(presets={"card": {"width": 200, "format": "avif"}}, cache_seconds=0)
    for name in "abc":
        site.put(f"{name}.jpg")
    with site.app:
        env = Environment(autoescape=True)
        install(env, site.app)
        env.from_string(PAGE).render()
        drain(site.app)
        asked = []
        fetch = site.app.metadata.fetch
        monkeypatch.setattr(site.app.metadata, "fetch", lambda wanted, **o: asked.append(wanted) or fetch(wanted, **o))
        html = env.from_string(PAGE).render()
    assert len(asked) == 1
    assert re.search(r'content="https://example\.com/media/img/[0-9a-f.]+\.jpg"', html)
    assert re.search(r"url\(/media/img/[0-9a-f.]+\.jpg\)", html)
    srcset = re.search(r' srcset="([^"]+)"', html)[1]
    assert f'imagesrcset="{srcset}" fetchpriority="high" crossorigin="anonymous">' in html
    assert formats(site, "c.jpg") == [("jpeg", 200)]


def test_preload_links_gives_html_and_a_header_for_several_images(site):
    batch = ImageBatch()
    pictures = [HERO(site.put(name), alt="", batch=batch, build="all") for name in ("a.jpg", "b.jpg")]
    links = preload_links(*pictures, HERO(None, alt=""))
    assert links.html.count("<link ") == 2
    assert links.header.count('rel="preload"') == 2
    for picture in pictures:
        assert picture.srcset in links.html
        assert picture.srcset in links.header
    assert str(HERO.preload("a.jpg")) in links.html


def test_lazy_images_are_not_preloaded(site):
    """Browsers measure the slot of a lazy fluid image, and load another file than the link named."""
    name = site.put()
    with pytest.raises(SpecError, match="priority=True"):
        preload_links(HERO(name, alt=""), Img(width=300, sizes={600: 200})(name, alt=""))


def test_a_dict_is_json_and_says_how_the_image_loads(site):
    lazy = Img(width=300, sizes={600: 200})(site.put(), immediate=True).as_dict()
    assert lazy == json.loads(json.dumps(lazy))
    assert (lazy["loading"], lazy["alt"]) == ("lazy", None)
    assert lazy["sizes"].startswith("auto, ")
    eager = HERO("shoe.jpg", alt="").as_dict()
    assert (eager["loading"], eager["alt"]) == (None, "")


def test_an_svg_needs_no_build_and_is_remembered(make_site):
    site = make_site(cache_seconds=10)
    thumb = Img(width=80, app=site.app)
    known = Source("default", site.put("logo", SVG))
    site.app.metadata.enqueue([Wanted(known, {}, SourceInfo(4, 3, "svg"))])
    for source in (site.put("logo.svg", SVG), known):
        for build in (None, "src", "all"):
            bound = thumb(source, alt="", build=build)
            assert (bound.is_built, bound.is_pending, bound.build()) == (True, False, True)
            assert bound.base_url().startswith("/media/logo")
            with Statements(site.app) as statements:
                assert str(thumb(source, alt="", build=build)) == str(bound)
            assert len(statements) == 0
    assert len(site.app.metadata.inspect(known).variants) == 0


def test_a_lazy_image_in_a_template_is_not_preloaded(render):
    with pytest.raises(SpecError, match="priority=True"):
        render("{{ img_preload('a.jpg', width=300) }}")


def test_crops_and_what_css_cuts_follow_the_focus_point(site):
    half = Image.new("RGB", (900, 600), "red")
    half.paste((0, 0, 255), (450, 0, 900, 600))
    name = site.put(data=images.encoded(half, "jpeg"))
    cropped, left_to_css = Img(width=100, ratio="1/3"), Img(width=100, ratio="1/3", crop=False, contain=False)
    first = cropped(name, build="src").base_url()
    left_to_css(name, alt="", build="src").as_html()
    set_focus(name, (1.0, 0.5))
    assert 'src="/media/shoe.jpg"' in left_to_css(name, alt="").as_html()
    assert 'style="object-position: 100% 50%"' in left_to_css(name, alt="").as_html()
    drain(site.app)
    with Image.open(site.file(cropped(name).base_url())) as picture:
        red, _, blue = picture.convert("RGB").getpixel((10, 150))
        assert (red < 60, blue > 180) == (True, True)
    assert cropped(name).base_url() != first
    html = left_to_css(name, alt="").as_html()
    assert 'style="object-position: 100% 50%"' in html
    set_focus(name, None)
    drain(site.app)
    assert "object-position" not in left_to_css(name, alt="").as_html()


@pytest.mark.parametrize("focus", [(2, 0), "left", (0.5,)])
def test_a_focus_outside_the_picture_is_refused(site, focus):
    with pytest.raises(SpecError, match="focus"):
        set_focus(site.put(), focus)


def test_what_stands_in_is_cut_where_the_crop_will_be(site):
    name = site.put()
    image = Img(width=100, ratio="1/3", crop="l")
    Img(width=50)(name, build="src").base_url()  # now the size is known
    assert (
        'style="object-fit: cover; aspect-ratio: 100 / 300; object-position: 0% 50%"' in image(name, alt="").as_html()
    )


def test_pending_build_builds_the_base_in_the_page_and_leaves_the_rest(make_site):
    site = make_site(pending="build")
    with site.app:
        env = Environment(autoescape=True)
        install(env, site.app)
        html = env.from_string("{{ img('shoe.jpg', width=300, alt='') }}").render() if site.put() else ""
        assert re.search(r'<img src="/media/img/[0-9a-f.]+\.jpg" width="300" height="200"', html)
        rows = site.app.metadata.inspect(Source("default", "shoe.jpg")).variants
        assert sorted((v.format, v.status) for v in rows) == [
            ("", VariantStatus.QUEUED),
            ("", VariantStatus.QUEUED),
            ("jpeg", VariantStatus.BUILT),
        ]


def test_pending_build_shows_no_original_where_the_build_fails(make_site):
    site = make_site(pending="build")
    with site.app:
        html = Img(width=300)(site.put("bad.jpg", b"\xff\xd8\xffnothing"), alt="").as_html()
    assert "bad.jpg" not in html
    assert 'src="data:image/svg+xml' in html
