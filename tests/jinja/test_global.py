"""``img()``: its arguments, what it refuses, and what it gives outside ``{{ }}``."""

from __future__ import annotations

import re

import pytest
from jinja2 import ChainableUndefined, Environment, StrictUndefined, Undefined, UndefinedError
from jinja2.sandbox import SandboxedEnvironment

from easyimg import ImageBatch, Img, Source, recipes
from easyimg.errors import SpecError
from easyimg.jinja import install
from tests.counting import Statements


@pytest.fixture
def env(app):
    env = Environment(autoescape=True)
    install(env, app)
    return env


def render(env, source, **context):
    return env.from_string(source).render(**context)


def test_refuses_an_image_without_alt(env):
    with pytest.raises(SpecError, match='write alt="what the picture shows", or alt="" for decoration'):
        render(env, "{{ img('p0.jpg', width=300) }}")


class Later:
    """A translation that waits until it is shown, as Babel's: all that is asked of it is asked of its text."""

    def __init__(self, text):
        self._text = text

    def __str__(self):
        return self._text

    def __getattr__(self, name):
        return getattr(self._text, name)


def test_an_alt_that_turns_out_to_be_missing_does_not_break_a_page_in_production(make, caplog):
    recipes._reported.clear()
    page = "{{ img('p0.jpg', width=300, alt=text) }}{{ img('p0.jpg', width=300, alt=caption.text) }}"
    for undefined in (Undefined, ChainableUndefined):
        env = Environment(undefined=undefined)
        install(env, make(strict=False))
        assert render(env, page, text=None, caption={}).count(' alt=""') == 2
    assert caplog.text.count("alt of 'p0.jpg' is None or undefined") == 1
    install(env, make(strict=True))
    with pytest.raises(SpecError, match="alt is missing"):
        render(env, page, text=None, caption={})


def test_none_leaves_the_alt_of_an_img_or_a_preset(env):
    html = render(env, "{{ img('p0.jpg', thumb, alt=none) }}", thumb=Img(width=300, alt="thumb"))
    assert 'alt="thumb"' in html


def test_an_undefined_attribute_is_left_out(env):
    assert render(env, "{{ img('p0.jpg', width=300, alt='', img_class=cls, img_id='x') }}").count(" id=") == 1


def test_translations_that_wait_are_text(env):
    html = render(env, "{{ img('p0.jpg', width=300, alt=t, img_title=t) }}", t=Later("<ü>"))
    assert 'alt="&lt;ü&gt;"' in html
    assert 'title="&lt;ü&gt;"' in html


def test_an_img_with_a_batch_of_its_own_is_not_kept_after_its_page(env, app):
    kept = env.globals["img"].__self__._recipes
    before = dict(kept)
    batch = ImageBatch(app)
    html = render(env, "{{ img('p0.jpg', thumb, alt='x') }}", thumb=Img(batch=batch, width=300))
    assert "srcset" in html
    assert kept == before


def test_takes_alt_from_an_img_or_a_preset(make):
    env = Environment()
    install(env, make(presets={"card": {"width": 300, "alt": "card"}}))
    html = render(env, "{{ img('p0.jpg', 'card') }}{{ img('p0.jpg', thumb) }}", thumb=Img(width=300, alt="thumb"))
    assert re.findall('alt="(.*?)"', html) == ["card", "thumb"]


def test_starts_from_a_preset_and_changes_options(make):
    env = Environment()
    install(env, make(presets={"card": {"width": 200, "ratio": "square", "img_attrs": {"class": "card"}}}))
    html = render(env, "{{ img('a.jpg', 'card', alt='') }}{{ img('a.jpg', 'card', width=100, img_id='x', alt='') }}")
    assert re.findall(r'width="(\d+)" height="(\d+)"', html) == [("200", "200"), ("100", "100")]
    assert html.count('class="card"') == 2
    assert html.count('id="x"') == 1


def test_starts_from_an_img_and_changes_options(env):
    html = render(
        env, "{{ img('a.jpg', t, alt='') }}{{ img('a.jpg', t, width=90, alt='') }}", t=Img(width=200, ratio=2)
    )
    assert re.findall(r'width="(\d+)" height="(\d+)"', html) == [("200", "100"), ("90", "45")]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("img('a.jpg', widht=300, alt='')", "did you mean 'width'"),
        ("img('a.jpg', width='huge', alt='')", "width: 'huge'"),
        ("img('a.jpg', 'card', alt='')", "no preset 'card'"),
        ("img('a.jpg', 3, alt='')", "neither the name of a preset nor an Img"),
        ("img('a.jpg', alt=3)", "alt: 3 is not a string"),
        ("img('a.jpg')", "alt is missing"),
        ("img('a.jpg', alt='', batch=3)", "batch is no option of a template"),
        ("img('a.jpg', 'card', alt='', app=3)", "app is no option of a template"),
        ("img('a.jpg', alt='', build='now')", "build: 'now'"),
        ("img('a.jpg', alt='', img_onclick='x')", "event handlers"),
        ("img('a.jpg', alt='', width=[1])", "width"),
        ("img(3, alt='')", "source: 3"),
    ],
)
def test_refuses_wrong_arguments_each_time(env, call, message):
    for _ in range(2):
        with pytest.raises(SpecError, match=re.escape(message)):
            render(env, "{{ " + call + " }}", product={})


def test_equal_values_of_other_types_are_not_taken_for_each_other(env):
    assert render(env, "{{ img('a.jpg', ratio=1, alt='') }}")
    with pytest.raises(SpecError):
        render(env, "{{ img('a.jpg', ratio=true, alt='') }}")


def test_lists_and_dicts_are_taken_by_what_they_hold(env):
    page = "{{ img('a.jpg', width=400, ratio=[2, 1], sizes=sizes, alt='').plan.sizes }}"
    first = render(env, page, sizes={800: 300})
    assert first == render(env, page, sizes={800: 300}) == "(max-width: 800px) 300px, 400px"
    narrow = {800: 200}
    assert render(env, page, sizes=narrow) == "(max-width: 800px) 200px, 400px"
    narrow[800] = 100
    assert render(env, page, sizes=narrow) == "(max-width: 800px) 100px, 400px"


def test_remembers_a_bounded_number_of_recipes(env):
    page = env.from_string("{% for n in range(5000) %}{{ img('', width=300, img_id=n, alt='') }}{% endfor %}")
    page.render()
    assert len(env.easyimg._recipes) <= 2048


def test_attributes_differ_from_image_to_image(env):
    html = render(env, "{% for n in range(3) %}{{ img('a.jpg', width=300, img_data_n=n, alt='') }}{% endfor %}")
    assert re.findall('data-n="(.)"', html) == ["0", "1", "2"]


@pytest.mark.parametrize("source", ["none", "''", "nothing", "product.photo", "false"])
def test_an_empty_source_gives_nothing(env, source):
    assert render(env, "[{{ img(" + source + ", width=300, alt='x') }}]", product={}) == "[]"
    assert render(env, "{% if img(" + source + ", alt='') %}yes{% else %}no{% endif %}", product={}) == "no"


def test_a_strict_undefined_source_is_an_error(app):
    env = Environment(undefined=StrictUndefined)
    install(env, app)
    with pytest.raises(UndefinedError, match="nothing"):
        render(env, "{{ img(nothing, alt='') }}")


def test_properties_of_an_image_load_with_the_page(env, app):
    page = env.from_string(
        "{% set i = img('p0.jpg', width=300, alt='A') %}{{ img('p1.jpg', width=300, alt='') }}"
        "{{ i.base_url() }} {{ i.srcset }} {{ i.width }} {{ i.alt }} {{ i.is_built }}{{ i }}"
    )
    page.render()
    with Statements(app) as statements:
        html = page.render()
    assert len(statements) == 1
    assert re.search(r"/media/img/\w+\.\w+\.jpg .*\.webp 2x 300 A True<img ", html)


def test_sources_of_every_kind(env):
    class Photo:
        def __easyimg_source__(self):
            return Source("default", "p1.jpg")

    html = render(
        env, "{{ img(a, width=300, alt='') }}{{ img(b, width=300, alt='') }}", a=Source("default", "p1.jpg"), b=Photo()
    )
    assert html[: len(html) // 2] == html[len(html) // 2 :]


def test_sources_of_every_kind_in_art_direction(env):
    class Photo:
        name = "p1.jpg"

        def __easyimg_source__(self):
            return Source("default", self.name)

    photo = Photo()
    page = env.from_string("{{ img('p0.jpg', width=200, art={'print': {'width': 300, 'source': other}}, alt='') }}")
    first = page.render(other=photo)
    assert first == page.render(other="p1.jpg") == page.render(other=Source("default", "p1.jpg"))
    photo.name = "p2.jpg"
    second = page.render(other=photo)
    assert second == page.render(other="p2.jpg")
    assert (first.count('<source media="print"'), second.count('<source media="print"')) == (2, 2)
    assert first != second, "an object is asked anew in each call"
    assert page.render(other=None) == page.render() == page.render(other="p0.jpg"), "an empty one is the image's own"


def test_art_direction_that_is_refused_is_named(app, env):
    for options, message in [("7", "art: 7 is not a dict"), ("{600: {'source': 7}}", r"art\[600\]: source: 7 is not")]:
        with pytest.raises(SpecError, match=message):
            render(env, "{{ img('p0.jpg', alt='', art=" + options + ") }}")
    strict = Environment(undefined=StrictUndefined)
    install(strict, app)
    with pytest.raises(UndefinedError, match="nothing"):
        render(strict, "{{ img('p0.jpg', alt='', art={600: {'source': nothing}}) }}")


def test_an_img_made_in_the_view_joins_the_page(env, app):
    thumb = Img(app=app, width=300)
    card = Img(width=300)
    page = env.from_string("{% for n in names %}{{ card(n, alt=n) }}{{ img(n, thumb, alt=n) }}{{ shared }}{% endfor %}")
    names = ["p0.jpg", "p1.jpg"]
    shared = card("p2.jpg", alt="")
    with Statements(app) as statements:
        html = page.render(names=names, card=card, thumb=thumb, shared=shared)
    assert (html.count("srcset="), len(statements)) == (6, 1)
    assert not shared.has_batch


def test_an_img_with_a_batch_keeps_it(env, app):
    batch = ImageBatch(app)
    with Statements(app) as statements:
        html = render(env, "{{ img('p0.jpg', t, alt='') }}{{ t('p1.jpg', alt='') }}", t=Img(batch=batch, width=300))
    assert (html.count("srcset="), len(statements), len(batch)) == (2, 1, 2)


def test_an_expression_renders_on_its_own(env):
    bound = env.compile_expression("img('p0.jpg', width=300, alt='')")()
    assert str(bound).startswith("<img src=")
    assert "srcset=" in str(bound)


def test_an_image_kept_from_an_earlier_page_is_asked_anew(make, built_root):
    app = make()
    env = Environment()
    install(env, app)
    keep = []
    env.globals["keep"] = lambda value: keep.append(value) or value
    name = "late.jpg"
    first = render(env, "{{ keep(img('" + name + "', width=100, alt='')) }}")
    assert "srcset" not in first
    (built_root / "media" / name).write_bytes((built_root / "media" / "p0.jpg").read_bytes())
    from easyimg.drain import drain

    drain(app)
    assert "srcset" in render(env, "{{ kept }}", kept=keep[0])


def test_builds_before_the_page_is_finished(make, built_root):
    env = Environment()
    install(env, make())
    (built_root / "media" / "now.jpg").write_bytes((built_root / "media" / "p0.jpg").read_bytes())
    assert 'src="/media/img/' in render(env, "{{ img('now.jpg', width=50, build='src', alt='') }}")
    assert "srcset=" in render(env, "{{ img('now.jpg', width=60, immediate=true, alt='') }}")


def test_a_sandbox_may_look_but_not_build(app):
    env = SandboxedEnvironment()
    install(env, app)
    assert "webp" in render(env, "{{ img('p0.jpg', width=300, alt='').srcset }}")
    with pytest.raises(Exception, match="not safely callable"):
        render(env, "{{ img('p0.jpg', width=300, alt='').build('all') }}")
