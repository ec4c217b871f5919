"""The option ``placeholder`` from an upload to the page: before and after the first build, replaced, transparent."""

import io
import re

import pytest
from PIL import Image

from easyimg import ImageBatch, Img, Source
from easyimg.drain import drain
from easyimg.errors import BuildError
from easyimg.testing import images
from easyimg.testing.pixels import is_close, rgb
from tests.counting import Statements

BLUR = Img(width=300, placeholder="blur")
COLOR = Img(width=300, placeholder="color")


def picture(colour, size=(900, 600), format="JPEG", **options):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, format, **options)
    return file.getvalue()


def style(bound):
    """Return the tag's style, of a page of its own."""
    (found,) = re.findall(' style="([^"]*)"', str(bound)) or [""]
    return found


def color(bound):
    return rgb(re.match("background: (#[0-9a-f]{6})", style(bound))[1])


@pytest.fixture(params=["vips", "pillow"])
def colours(make_site, request):
    site = make_site(engine=request.param, cache_seconds=0)
    with site.app:
        yield site


def test_a_page_has_it_from_the_first_build_on(colours):
    source = colours.app.save_upload(io.BytesIO(picture((200, 30, 40))), name="shoe")
    assert style(BLUR(source)) == "", "uploaded and queued, but nobody has looked at its pixels"
    drain(colours.app)
    assert is_close(color(COLOR(source)), (200, 30, 40))
    assert style(COLOR(source)).endswith(" content-box")
    assert re.search(r" url\(data:image/webp;base64,[\w+/=]+\) 50% 50% / cover content-box$", style(BLUR(source)))
    assert style(Img(width=300)(source)) == ""
    other = BLUR.extend(width=500)(source)
    assert "/img/" not in other.base_url()
    assert style(other) == style(BLUR(source)), "behind the source that stands in, too"


def test_a_replaced_picture_has_none_until_it_is_built_and_then_its_own(colours):
    source = Source("default", colours.put(data=picture((200, 30, 40))))
    str(BLUR(source))
    drain(colours.app)
    assert is_close(color(BLUR(source)), (200, 30, 40))
    colours.put(data=picture((20, 160, 60)))
    colours.app.metadata.replace(source)
    assert style(BLUR(source)) == ""
    drain(colours.app)
    assert is_close(color(BLUR(source)), (20, 160, 60))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.png", images.transparent(400, 300)),
        ("b.png", images.palette_with_transparency()),
        ("c.gif", images.animation()),
        ("d.webp", images.animation(format="webp")),
    ],
)
@pytest.mark.parametrize("animated", [False, True])
def test_transparent_and_moving_pictures_have_none(colours, name, data, animated):
    colours.put(name, data)
    bound = Img(width=30, placeholder="blur", animated=animated)(name)
    str(bound)
    assert drain(colours.app).built > 0
    assert style(bound) == ""
    assert colours.app.metadata.fetch({bound.source.id: []}, previews=True)[bound.source.id].preview is None


def test_a_strict_policy_leaves_it_out(make_site):
    site = make_site(csp="strict", cache_seconds=0)
    with site.app:
        name = site.put()
        str(BLUR(name))
        drain(site.app)
        assert BLUR(name).is_built
        assert "style" not in str(BLUR(name))


def test_a_build_of_a_larger_part_shows_more_and_one_of_a_smaller_part_changes_nothing(colours):
    name = colours.put(data=images.corners(900, 600, format="jpeg"))
    square = BLUR.extend(ratio="square", crop="l")
    shown = []
    for img in (square, BLUR, square.extend(crop="r")):
        str(img(name))
        drain(colours.app)
        record = colours.app.metadata.fetch({Source("default", name).id: []}, previews=True)
        shown.append(record[Source("default", name).id].preview)
    assert [preview.window for preview in shown] == [
        pytest.approx((0, 0, 2 / 3, 1), abs=1e-4),
        (0, 0, 1, 1),
        (0, 0, 1, 1),
    ]
    assert shown[1] == shown[2]
    assert style(square(name)).endswith(" 0% 50% / 150% 100% content-box")


def test_a_limited_child_makes_the_same(make_site):
    made = set()
    for isolation in ("never", "always"):
        site = make_site(isolation=isolation, metadata="sqlite://", cache_seconds=0)
        with site.app:
            name = site.put()
            str(BLUR(name))
            drain(site.app)
            made.add(style(BLUR(name)))
    assert len(made) == 1
    assert "url(" in made.pop()


def test_it_is_made_although_one_of_the_encoders_fails(make_site):
    from easyimg.engines import load_engine

    class NoWebp:
        """An engine whose first WebP fails, as a broken encoder's would."""

        def __init__(self):
            self.engine = load_engine("vips")

        def __getattr__(self, name):
            return getattr(self.engine, name)

        def build(self, data, format, specs, focus=None, **options):
            for place, spec in enumerate(specs):
                if spec.format == "webp":
                    raise BuildError("no WebP today", spec_index=place)
            return self.engine.build(data, format, specs, focus, **options)

    site = make_site(engine=NoWebp(), cache_seconds=0)
    with site.app:
        name = site.put(data=picture((200, 30, 40)))
        str(COLOR(name))
        drain(site.app)
        assert is_close(color(COLOR(name)), (200, 30, 40))


def test_nothing_more_is_read_or_written_for_it(site):
    storage, reads = site.app.storage("default"), []
    original = storage.read
    storage.read = lambda name, max_bytes=None: reads.append(name) or original(name, max_bytes)
    name = site.put()
    str(BLUR(name))
    drain(site.app)
    assert reads == [name]
    assert len(site.variants()) == 3


def test_a_page_asks_for_previews_only_if_it_shows_any_and_always_gets_them_in_one_query(make_site):
    site = make_site()
    with site.app as app:
        names = [site.put(f"{n}.jpg") for n in range(3)]
        for name in names:
            str(Img(width=300)(name))
        drain(app)
        for imgs, expected in (
            ([Img(width=300)], 1),
            ([Img(width=300)], 0),  # remembered by the process, but without previews
            ([Img(width=300), BLUR], 1),
            ([BLUR, Img(width=300)], 0),
            ([Img(width=300)], 0),
        ):
            batch = ImageBatch(app)
            bounds = [img(name, batch=batch) for img in imgs for name in names]
            with Statements(app) as statements:
                styles = [style(bound) for bound in bounds]
            assert len(statements) == expected
            shown = [bound.plan.placeholder is not None for bound in bounds]
            assert ["url(data:" in text for text in styles] == shown


def test_an_image_added_later_to_a_loaded_batch_gets_its_placeholder(site):
    name = site.put()
    str(BLUR(name))
    drain(site.app)
    batch = ImageBatch(site.app)
    assert style(Img(width=300)(name, batch=batch)) == ""
    assert "url(data:" in style(BLUR(name, batch=batch))
    assert style(Img(width=200)(name, batch=batch)) == ""
    assert "url(data:" in style(COLOR.extend(placeholder="blur")(name, batch=batch))
