"""Art direction on real rows and files: what each condition shows, what is asked, ordered, built and queued for it."""

import re
from collections import Counter

import pytest
from PIL import Image

from easyimg import ImageBatch, Img, Source
from easyimg.drain import drain
from easyimg.errors import SourceError
from easyimg.existing import queue_pictures
from easyimg.testing import images
from easyimg.variant import VariantStatus

ART = Img(width=300, ratio="video", art={600: {"width": 200, "ratio": "square", "crop": "tl"}, "print": {"ratio": 3}})
OTHER = Img(width=300, art={600: {"source": "phone.jpg", "width": 200}})
RED, GREEN, BLUE, YELLOW = images.CORNERS.values()


@pytest.fixture
def reads(site, monkeypatch):
    """Names that the site's storage was asked to read, with how often."""
    storage = site.app.storage("default")
    counts: Counter[str] = Counter()
    original = storage.read
    monkeypatch.setattr(storage, "read", lambda name, m=None: counts.update([name]) or original(name, m))
    return counts


def put(site, *names):
    return [site.put(name, images.photo(900, 600, seed=number)) for number, name in enumerate(names)]


def rows(site, name):
    detail = site.app.metadata.inspect(Source("default", name))
    return {} if detail is None else {row.key: row.status for row in detail.variants}


def opened(site, url):
    return Image.open(site.file(url)).convert("RGB")


def test_every_condition_has_files_of_its_own_ratio_and_cut(site):
    bound = ART(*put(site, "shoe.jpg"), immediate=True)
    found: dict[str, list[tuple[str, tuple[int, int]]]] = {}
    for source in bound.sources:
        for candidate in source.candidates:
            with opened(site, candidate.url) as picture:
                assert picture.size == (candidate.width, candidate.height)
                found.setdefault(source.media, []).append((source.type, picture.size))
    assert found["(max-width: 600px)"] == [
        ("image/webp", (200, 200)),
        ("image/webp", (400, 400)),
        ("image/jpeg", (200, 200)),
    ]
    assert found["print"] == [
        ("image/webp", (300, 100)),
        ("image/webp", (600, 200)),
        ("image/jpeg", (300, 100)),
    ]
    with opened(site, bound.base_url()) as main:
        assert main.size == (300, 169)


def test_the_pixels_of_a_condition_are_those_of_its_crop_and_its_window(site):
    """The corners' colours tell which part of the picture a file shows."""
    name = site.put(data=images.corners(900, 600, format="jpeg"))
    corner = {"ratio": 3, "crop": "tl"}
    bound = Img(width=60, art={"print": {"window": (0.5, 0.5, 1, 1)}, 600: corner})(name, immediate=True)
    seen = {}
    for source in bound.sources:
        with opened(site, source.candidates[0].url) as picture:
            width, height = picture.size
            seen[source.media, source.type] = [
                picture.getpixel(point) for point in ((3, 3), (width - 4, 3), (3, height - 4), (width - 4, height - 4))
            ]
    for mime in ("image/webp", "image/jpeg"):
        assert seen["print", mime] == [pytest.approx(YELLOW, abs=40)] * 4
        top = [pytest.approx(colour, abs=40) for colour in (RED, GREEN)]
        assert seen["(max-width: 600px)", mime][:2] == top
        assert seen["(max-width: 600px)", mime][2:] == top, "the lower half is cut off"
    with opened(site, bound.base_url()) as whole:
        assert whole.getpixel((3, whole.height - 4)) == pytest.approx(BLUE, abs=40)


def test_a_condition_may_show_another_source(site, reads):
    put(site, "shoe.jpg")
    site.put("phone.jpg", images.corners(400, 600, format="jpeg"))
    bound = OTHER("shoe.jpg", "x", immediate=True)
    assert bound.is_built
    assert reads == {"shoe.jpg": 1, "phone.jpg": 1}
    assert [(s.type, s.width, s.height) for s in bound.sources] == [("image/webp", 200, 300), ("image/jpeg", 200, 300)]
    with opened(site, bound.sources[1].candidates[0].url) as picture:
        assert picture.getpixel((3, 3)) == pytest.approx(RED, abs=40)
    assert (bound.width, bound.height) == (300, 200)
    assert len(rows(site, "shoe.jpg")) == len(rows(site, "phone.jpg")) == 3


def test_a_page_of_art_direction_asks_one_query_and_rings_once_for_each_source(site, statements):
    put(site, "phone.jpg")
    names = put(site, *(f"{n}.jpg" for n in range(5)))
    batch = ImageBatch()
    bound = [img(name, alt="", batch=batch) for name in names for img in (ART, OTHER)]
    with statements() as sent:
        first = [str(image) for image in bound]
    assert len([s for s in sent if s.split()[0] in ("SELECT", "INSERT")]) == 3
    [rung] = site.bell.rung
    assert sorted(rung) == sorted(Source("default", name).id for name in [*names, "phone.jpg"])
    assert all(html.startswith("<picture><img ") for html in first), "nothing is shown that is not built"
    drain(site.app)
    site.app.cache.clear()
    batch = ImageBatch()
    bound = [img(name, alt="", batch=batch) for name in names for img in (ART, OTHER)]
    with statements() as sent:
        built = [str(image) for image in bound]
    assert len(sent) == 1
    assert [html.count("<source ") for html in built] == [4, 2] * 5
    with statements() as sent:
        warm = ImageBatch()
        again = [str(img(name, alt="", batch=warm)) for name in names for img in (ART, OTHER)]
    assert (sent, again) == ([], built)
    assert not warm.has_pending


def test_one_decode_builds_all_conditions_of_a_source(site, reads):
    names = put(site, "shoe.jpg", "phone.jpg")
    batch = ImageBatch()
    for img in (ART, OTHER, Img(width=50)):
        img(names[0], batch=batch, build="all")
    Img(width=70)("phone.jpg", batch=batch, build="all")
    batch.build()
    assert reads == {"shoe.jpg": 1, "phone.jpg": 1}
    assert not batch.has_pending


def test_a_picture_remembered_in_the_process_is_made_once(site):
    put(site, "shoe.jpg")
    ART("shoe.jpg", immediate=True)
    site.app.cache.clear()
    first, again = (ART("shoe.jpg") for _ in range(2))
    assert str(first) == str(again)
    later = ART("shoe.jpg")
    assert str(later) == str(again)
    assert later._resolved() is again._resolved()


@pytest.mark.parametrize(("build", "own", "art"), [("src", 1, 0), ("srcset", 2, 6), ("all", 3, 6)])
def test_build_src_makes_what_src_shows_and_the_other_choices_all_conditions(site, build, own, art):
    bound = ART(*put(site, "shoe.jpg"), build=build)
    assert bound.base_url()
    assert bound.is_built
    built = [key for key, status in rows(site, "shoe.jpg").items() if status == VariantStatus.BUILT]
    assert len(set(built) & set(bound.keys)) == own
    assert len(built) == own + art
    assert bound.is_pending == (build != "all")


def test_a_condition_whose_files_are_not_built_shows_the_image_itself(site):
    put(site, "shoe.jpg", "phone.jpg")
    Img(width=300)("shoe.jpg", immediate=True)
    bound = OTHER("shoe.jpg", alt="")
    assert re.fullmatch(r'<picture><img src="/media/img/.*></picture>', str(bound))
    assert (bound.is_built, bound.is_pending) == (False, True)
    drain(site.app)
    site.app.cache.clear()
    assert str(OTHER("shoe.jpg", alt="")).count("<source ") == 2


def test_a_replaced_source_of_a_condition_is_seen_though_the_image_is_remembered(site):
    put(site, "shoe.jpg", "phone.jpg")
    old = OTHER("shoe.jpg", immediate=True).sources[0].srcset
    str(OTHER("shoe.jpg"))
    site.put("phone.jpg", images.corners(400, 600, format="jpeg"))
    site.app.metadata.replace(Source("default", "phone.jpg"))
    site.app.cache.discard(Source("default", "phone.jpg").id)
    drain(site.app)
    new = OTHER("shoe.jpg").sources[0].srcset
    assert new != old
    assert OTHER("shoe.jpg").sources[0].height == 300


def test_a_condition_that_cannot_be_shown_is_left_out(make_site, caplog):
    site = make_site()
    with site.app:
        put(site, "shoe.jpg")
        site.put("phone.jpg", b"\xff\xd8\xffnothing")
        bound = OTHER("shoe.jpg", immediate=True)
        assert (bound.sources, bound.is_built, bound.is_pending) == ((), False, False)
        assert "/media/img/" in bound.base_url()
        assert "see: easyimg inspect phone.jpg" in caplog.text
        nowhere = Img(width=300, art={600: {"source": Source("photos", "a.jpg")}})("shoe.jpg")
        assert "/media/img/" in str(nowhere)
    strict = make_site(strict=True)
    with strict.app, pytest.raises(SourceError, match=r"phone\.jpg: its build failed"):
        str(OTHER("shoe.jpg"))


def test_a_logo_in_svg_needs_no_build(site):
    put(site, "shoe.jpg")
    site.put("logo.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="4" height="3"/>')
    bound = Img(width=300, art={"print": {"source": "logo.svg"}})("shoe.jpg", immediate=True)
    assert (bound.is_built, bound.is_pending) == (True, False)
    assert [(s.media, s.type, s.srcset) for s in bound.sources] == [("print", "image/svg+xml", "/media/logo.svg")]
    assert rows(site, "logo.svg") == {}


def test_an_empty_image_has_no_art_direction_either(site):
    bound = OTHER("", alt="x")
    assert (str(bound), bound.sources, bound.as_dict(), bound.is_built, bound.is_pending) == ("", (), {}, False, False)
    assert len(bound.batch) == 1
    assert not bound.build()
    assert rows(site, "phone.jpg") == {}


def test_as_dict_says_all_of_every_source(site):
    put(site, "shoe.jpg")
    img = Img(width=200, densities=[], formats=["webp"], art={"print": {"ratio": 1, "layout": "full-width"}})
    art, fallback, own = img("shoe.jpg", immediate=True).as_dict()["sources"]
    assert {name: art[name] for name in ("media", "type", "sizes", "width", "height")} == {
        "media": "print",
        "type": "image/webp",
        "sizes": "100vw",  # auto would not count: the <img> is fixed, and does not say it
        "width": 600,
        "height": 600,
    }
    assert (fallback["media"], fallback["type"]) == ("print", "image/jpeg")
    assert (own["media"], own["sizes"], own["width"], own["height"]) == ("", "", 200, 133)
    plain = Img(width=200, formats=["webp"])("shoe.jpg", immediate=True).as_dict()["sources"][0]
    assert plain.keys() == own.keys()
    assert (plain["width"], plain["height"]) == (None, None)


def test_existing_pictures_are_queued_with_the_art_direction_of_their_own(site):
    img = OTHER.extend(art={600: {"source": "phone.jpg"}, "print": {"ratio": 1}})
    names = put(site, "shoe.jpg", "phone.jpg")
    assert queue_pictures(site.app, img.plan, [Source("default", names[0])]) == 1
    assert (len(rows(site, "shoe.jpg")), len(rows(site, "phone.jpg"))) == (6, 0)
    drain(site.app)
    assert [s.media for s in img("shoe.jpg").sources] == ["print", "print"]
