"""Animations from an upload to the page: the HTML before and after, the files, limits and damage."""

import io
from pathlib import Path

import pytest
from PIL import Image

from easyimg import Img, Source
from easyimg.drain import drain
from easyimg.testing import images
from easyimg.variant import VariantStatus, Wanted

MOVING = Img(width=200, animated=True)


def page(site, source, img=MOVING):
    return str(img(source, alt="x"))


def srcset(site, source, img=MOVING):
    return [entry.split()[0] for entry in img(source).srcset.split(", ") if entry]


def facts(path):
    """Return format, size and number of frames of a file."""
    with Image.open(path) as image:
        return image.format.lower(), image.size, getattr(image, "n_frames", 1)


def order(site, name, *imgs):
    source = Source("default", name)
    specs = {
        key: spec.canonical
        for img in imgs
        for key, spec in zip(img.plan.keys(source.address), img.plan.specs, strict=True)
    }
    site.app.metadata.enqueue([Wanted(source, specs)])
    return source


def rows(site, source):
    return {row.spec: row for row in site.app.metadata.inspect(source).variants}


@pytest.mark.parametrize("engine", ["vips", "pillow"])
@pytest.mark.parametrize("format", ["gif", "webp", "png"])
def test_an_animation_stands_in_for_itself_and_becomes_webp_with_a_gif_fallback(make_site, engine, format):
    with make_site(engine=engine).app as app:
        source = app.save_upload(io.BytesIO(images.animation(400, 300, format=format)), name="cat")
        assert page(app, source) == (
            f'<img src="/media/{source.name}" width="200" height="150" alt="x" loading="lazy" decoding="async">'
        )
        drain(app)
        bound = MOVING(source)
        assert bound.is_built
        assert bound.base_url().endswith(".gif")
        assert page(app, source) == (
            f'<img src="{bound.base_url()}" srcset="{bound.srcset}" width="200" height="150" alt="x" loading="lazy"'
            ' decoding="async">'
        )
        storage = app.storage("default")
        one, two = (url.removeprefix("/media/") for url in srcset(app, source))
        assert bound.srcset.endswith(".webp 2x")
        for name, expected in (
            (bound.base_url().removeprefix("/media/"), ("gif", (200, 150), 3)),
            (one, ("webp", (200, 150), 3)),
            (two, ("webp", (400, 300), 3)),
        ):
            assert facts(io.BytesIO(storage.read(name))) == expected


def test_a_still_source_has_the_html_it_has_without_the_option(site):
    source = site.app.save_upload(io.BytesIO(images.photo(900, 600)), name="shoe")
    assert page(site, source) == page(site, source, Img(width=200))
    drain(site.app)
    bound = MOVING(source)
    assert facts(site.file(bound.base_url())) == ("jpeg", (200, 133), 1)
    assert [facts(site.file(url)) for url in srcset(site, source)] == [("webp", (200, 133), 1), ("webp", (400, 267), 1)]
    plain = Img(width=200)(source, build="all")
    assert [site.file(url).read_bytes() for url in (plain.base_url(), *srcset(site, source, Img(width=200)))] == [
        site.file(url).read_bytes() for url in (bound.base_url(), *srcset(site, source))
    ]


def test_avif_is_for_stills_where_animations_are_kept(site):
    img = Img(width=100, formats=["avif", "webp"], densities=[], animated=True)
    cat = site.app.save_upload(io.BytesIO(images.animation(200, 150)), name="cat")
    shoe = site.app.save_upload(io.BytesIO(images.photo(200, 150)), name="shoe")
    for source in (cat, shoe):
        page(site, source, img)
    drain(site.app)
    assert [s.type for s in img(cat).sources] == ["image/webp"]
    assert [s.type for s in img(shoe).sources] == ["image/avif", "image/webp"]
    assert len(site.app.metadata.inspect(cat).variants) == 2
    assert img(cat).is_built


def test_a_source_never_seen_loses_its_stills_once_it_is_known_to_move(site):
    img = Img(width=100, formats=["avif", "webp"], densities=[], animated=True)
    name = site.put("cat.gif", images.animation(200, 150))
    page(site, name, img)
    drain(site.app)
    assert [s.type for s in img(name).sources] == ["image/webp"]
    assert facts(site.file(img(name).base_url())) == ("gif", (100, 75), 3)


def test_without_the_option_the_first_frame_is_shown(site):
    img = Img(width=100)
    name = site.put("cat.gif", images.animation(200, 150))
    bound = img(name, build="all")
    assert [facts(site.file(url))[2] for url in (bound.base_url(), *srcset(site, name, img))] == [1, 1, 1]


def test_too_many_frames_are_refused_by_the_header_and_the_first_is_still_shown(make_site):
    site = make_site(max_animation_pixels=200_000)
    # Its pixels are damaged beyond the first frame: who decodes them says something else.
    data = images.film([Image.open(io.BytesIO(images.photo(300, 200, seed=i))) for i in range(4)], "gif")
    source = order(site, site.put("cat.gif", data[:-3000]), MOVING, Img(width=100))
    total = drain(site.app)
    assert (total.built, total.failed) == (3, 3)
    for spec, row in rows(site, source).items():
        if "animated" in spec:
            assert (row.status, row.error_kind) == (VariantStatus.SOURCE_ERROR, "SourceTooLarge")
            assert row.error == "300 x 200 x 4 frames = 0.2 megapixels; at most 0.2 are allowed in an animation"
        else:
            assert row.status == VariantStatus.BUILT


def test_only_the_size_that_is_enlarged_too_far_is_refused(make_site):
    site = make_site(max_animation_pixels=200_000)
    source = order(site, site.put("cat.gif", images.animation(60, 40)), Img(width=300, upscale=True, animated=True))
    drain(site.app)
    by_width = {(row.format, row.width): row.error for row in site.app.metadata.inspect(source).variants}
    assert by_width == {
        ("gif", 300): "",
        ("webp", 300): "",
        ("", 0): "600 x 400 x 3 frames = 0.7 megapixels; at most 0.2 are allowed in an animation",
    }


@pytest.mark.parametrize("engine", ["vips", "pillow"])
def test_an_animation_damaged_behind_its_first_frame_fails_and_its_stills_do_not(make_site, engine):
    site = make_site(engine=engine)
    data = images.film([Image.open(io.BytesIO(images.photo(300, 200, seed=i))) for i in range(4)], "gif")
    source = order(site, site.put("cat.gif", data[:-3000]), MOVING, Img(width=100))
    drain(site.app)
    for spec, row in rows(site, source).items():
        expected = VariantStatus.SOURCE_ERROR if "animated" in spec else VariantStatus.BUILT
        assert (row.status, row.error_kind) == (expected, "SourceUnreadable" if "animated" in spec else "")


def children():
    """Return the ids of the limited children of this process."""
    found = [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
    return {pid for pid in found if b"easyimg.child" in Path(f"/proc/{pid}/cmdline").read_bytes()}


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are counted in /proc")
def test_a_worker_builds_stills_itself_and_animations_in_the_limited_child(make_site):
    site, before = make_site(isolation="auto"), children()
    name = site.put("cat.gif", images.animation(60, 40))
    order(site, name, Img(width=50))
    assert drain(site.app).built == 3
    assert children() == before
    order(site, name, MOVING)
    assert drain(site.app).built == 3
    assert len(children() - before) == 1
