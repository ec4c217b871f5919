"""Tokens: none leaves a page, none gets in; how many queries, and who is told what waits."""

from __future__ import annotations

import logging
import threading
from contextlib import closing

import pytest
from jinja2 import DictLoader, Environment, pass_context

from easyimg.attributes import TOKEN_CLOSE, TOKEN_OPEN
from easyimg.drain import drain
from easyimg.errors import EasyImgError, MetadataError, SourceError, SpecError
from easyimg.img import Img
from easyimg.jinja import install
from easyimg.signals import page_rendered
from easyimg.testing import images
from tests.counting import Bell, Statements
from tests.jinja.conftest import Closed, make_app

ONE = "{{ img('p0.jpg', width=300, alt=alt) }}"


def environment(app, **options):
    env = Environment(**{"autoescape": True, **options})
    install(env, app)
    return env


def many(names):
    return "{% for n in names %}{{ img(n, width=300, ratio='square', alt='') }}{% endfor %}", {"names": names}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"a{TOKEN_OPEN}b", "ab"),
        (f"a{TOKEN_CLOSE}b", "ab"),
        (f"a{TOKEN_OPEN}123<0{TOKEN_CLOSE}b", "ab"),
        (f"{TOKEN_OPEN}{TOKEN_OPEN}1<0{TOKEN_CLOSE}{TOKEN_CLOSE}", ""),
    ],
)
def test_a_forged_token_is_removed_and_logged(app, caplog, text, left):
    html = environment(app).from_string("[{{ text }}]" + ONE).render(text=text, alt="x")
    assert html.startswith(f"[{left}]<img ")
    assert html.count("<img") == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_forged_token_in_alt_or_an_attribute_is_only_text(app):
    page = environment(app).from_string("{{ img('p0.jpg', width=300, alt=t, img_title=t) }}")
    html = page.render(t=f"{TOKEN_OPEN}0<0{TOKEN_CLOSE}")
    assert html.count("0&lt;0") == 2
    assert html.count("<img") == 1


def test_a_token_kept_from_another_render_shows_nothing(app, caplog):
    env = environment(app)
    kept = []
    env.globals["keep"] = lambda text: kept.append(text) or ""
    env.from_string("{% macro m() %}{{ img('p1.jpg', width=300, alt='secret') }}{% endmacro %}{{ keep(m()) }}").render()
    assert env.from_string("[{{ old }}]").render(old=kept[0]) == "[]"
    assert len(caplog.records) == 1


def test_a_foreign_token_raises_when_strict(make):
    with pytest.raises(EasyImgError, match="not of its own making"):
        environment(make(strict=True)).from_string("{{ text }}").render(text=TOKEN_OPEN)


def test_text_with_images_given_to_a_nested_render_keeps_them(app):
    env = environment(app)
    env.globals["wrap"] = lambda text: env.from_string("<div>{{ text }}</div>").render(text=text)
    html = env.from_string("{% set x %}" + ONE + "{% endset %}{{ wrap(x)|safe }}").render(alt="")
    assert html.startswith("<div><img ")
    assert "srcset=" in html


def test_a_page_of_many_images_asks_once_and_touches_no_storage(make):
    app = make(storages={"default": Closed("/cdn/")}, base_urls={})
    names = [f"p{n % 5}.jpg" for n in range(200)]
    page = environment(app).from_string("{% for n in names %}{{ img(n, width=300, alt='') }}{% endfor %}")
    page.render(names=names)
    with Statements(app) as statements:
        html = page.render(names=names)
    assert (html.count('src="/cdn/img/'), len(statements)) == (200, 1)


def test_a_warm_page_asks_nothing(make):
    app = make(cache_seconds=10)
    page = environment(app).from_string(
        "{% for n in range(5) %}{{ img('p%d.jpg'|format(n), width=300, alt='') }}{% endfor %}"
    )
    first = page.render()
    with Statements(app) as statements:
        assert page.render() == first
    assert statements == []


def test_unknown_images_are_queued_in_two_statements_and_rung_for_once(tmp_path, make):
    bell = Bell()
    app = make(metadata=f"sqlite:///{tmp_path}/rows.db", queue=bell, storages={"default": Closed("/m/")}, base_urls={})
    source, context = many([f"new/{n}.jpg" for n in range(100)])
    page = environment(app).from_string(source)
    app.metadata.setup()
    with Statements(app) as statements:
        page.render(context)
    work = [s for s in statements if s.split()[0] not in ("BEGIN", "COMMIT", "PRAGMA")]
    assert len(work) <= 3
    [rung] = bell.rung
    assert len(rung) == len(set(rung)) == 100
    with Statements(app) as statements:
        page.render(context)
    assert len(statements) == 1
    assert len(bell.rung) == 1


@pytest.mark.parametrize("strict", [False, True])
def test_a_database_that_is_gone(make, tmp_path, caplog, strict):
    app = make(metadata=f"sqlite:///{tmp_path}/absent/rows.db", strict=strict)
    page = environment(app).from_string(ONE)
    if strict:
        with pytest.raises(MetadataError):
            page.render(alt="x")
        return
    assert page.render(alt="x") == '<img src="/media/p0.jpg" alt="x" loading="lazy" decoding="async">'
    assert any("without their variants" in record.message for record in caplog.records)


def test_a_broken_picture_raises_when_strict_and_the_next_page_works(make, built_root):
    from easyimg.drain import drain

    (built_root / "media" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    app = make(strict=True)
    env = environment(app)
    page = env.from_string("{{ img('broken.jpg', width=300, alt='') }}")
    page.render()
    drain(app)
    with pytest.raises(SourceError, match=r"broken\.jpg"):
        page.render()
    assert "srcset=" in env.from_string(ONE).render(alt="")


def test_an_error_in_a_template_leaves_no_page_behind(app):
    env = environment(app)
    with pytest.raises(ZeroDivisionError):
        env.from_string(ONE + "{{ 1 / 0 }}").render(alt="")
    bound = env.globals["img"]("p0.jpg", width=300, alt="")
    assert "srcset=" in str(bound)
    assert len(bound.batch) == 1


def test_a_page_tells_what_still_waits(app):
    heard = []

    def receiver(sender, batch):
        heard.append((sender, batch.has_pending, len(batch)))

    page_rendered.connect(receiver, sender=app)
    try:
        env = environment(app)
        env.from_string(ONE + ONE).render(alt="")
        env.from_string(ONE + "{{ img('never.jpg', width=300, alt='') }}").render(alt="")
        env.from_string("no image").render()
        list(env.from_string(ONE).generate(alt=""))
    finally:
        page_rendered.disconnect(receiver)
    assert heard == [(app, False, 2), (app, True, 2), (app, False, 1)]


def test_a_module_with_images_is_evaluated_again_for_each_page(make, built_root):
    from easyimg.drain import drain

    app = make()
    env = environment(app, loader=DictLoader({"m": "{% set x %}{{ img('soon.jpg', width=80, alt='') }}{% endset %}"}))
    page = env.from_string("{% import 'm' as m %}{{ m.x }}")
    assert "srcset" not in page.render()
    (built_root / "media" / "soon.jpg").write_bytes((built_root / "media" / "p0.jpg").read_bytes())
    drain(app)
    assert "srcset" in page.render()
    assert "srcset" in str(env.get_template("m").module.x)


def test_a_module_without_images_is_kept(app):
    calls = []
    env = environment(app, loader=DictLoader({"m": "{% set x = note() %}", "i": "{% set x = note() %}i"}))
    env.globals["note"] = lambda: calls.append(1) or "x"
    page = env.from_string("{% import 'm' as m %}{{ m.x }}{% include 'i' without context %}")
    assert page.render() == page.render() == "xi"
    assert len(calls) == 2


def test_the_module_of_a_template_holds_finished_html(app):
    env = environment(app)
    body = "{% set x %}" + ONE.replace("alt=alt", "alt=''") + "{% endset %}{{ x }}"
    template = env.from_string(body + "{% macro m() %}{{ x }}{{ img('p1.jpg', width=300, alt='') }}{% endmacro %}")
    module = template.module
    html = environment(app).from_string(ONE).render(alt="")
    assert str(module) == module.x == html
    assert module.m().count("srcset=") == 2


def test_threads_do_not_cross(app):
    env = environment(app)
    page = env.from_string("{% for n in range(20) %}{{ img('p%d.jpg'|format(which), width=300, alt=who) }}{% endfor %}")
    expected = {n: page.render(which=n % 5, who=str(n)) for n in range(8)}
    wrong = []

    def work(number):
        for _ in range(10):
            html = page.render(which=number % 5, who=str(number))
            wrong.extend([number] if html != expected[number] else [])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_warm_page_calls_what_its_author_named_img(make):
    app = make(cache_seconds=10)
    env = environment(app)
    page = env.from_string(ONE)
    warm = [page.render(alt="a") for _ in range(2)]

    @pass_context
    def of_the_author(context, name, **options):
        return f"{name} {context.get('inner', 'lost')} {sorted(options)}"

    def shown(source):
        return env.from_string(source).render(alt="a", other=of_the_author)

    assert warm[0] == warm[1]
    assert shown("{% macro img(name, width, alt) %}mine {{ name }}{% endmacro %}" + ONE).startswith("mine p0.jpg")
    loop = "{% set img = other %}{% for n in 'x' %}{% set inner = 'kept' %}{{ img(n, width=1) }}{% endfor %}"
    assert shown(loop) == "x kept [&#39;width&#39;]"
    assert shown("{% block b %}" + loop + "{% endblock %}") == "x kept [&#39;width&#39;]"
    assert shown(ONE) == warm[0]


@pytest.mark.parametrize("seconds", [0, 10])
@pytest.mark.parametrize("autoescape", [False, True])
def test_what_is_printed_is_what_the_call_gives(make, seconds, autoescape):
    env = Environment(autoescape=autoescape)
    install(env, make(cache_seconds=seconds, presets={"card": {"width": 300, "ratio": "square"}}))
    calls = [
        "img('p0.jpg', width=300, alt='<a>')",
        "img(source='p0.jpg', alt=alt, width=300)",
        "img(names.pop(), 'card', alt=alts.pop())",
        "img(names.pop(), preset, alt='', img_class=alts.pop())",
        "img('p0.jpg', preset, alt='')",
        "img('p0.jpg', name, alt='', img_class='a b', **{'img_id': alts.pop()})",
        "img(*names, alt='')",
        "img('p0.jpg', width=width, sizes={'(max-width: 600px)': 200}, densities=[1, 2], alt='')",
        "img('p0.jpg', width=300, upscale=1 == 1, quality=70, ratio=(4, 3), alt='')",
        "img('', width=300, alt='')",
        "img(nothing, width=300, alt='')",
    ]

    def page(source):
        template = env.from_string(source)
        return [
            template.render(alt="a&b", alts=["x", "y"], names=["p0.jpg"], preset=Img(width=200), name="card", width=120)
            for _ in range(2)
        ]

    for call in calls:
        printed = page("{{ " + call + " }}")
        assert printed == page("{% set image = " + call + " %}{{ image }}"), call
        assert printed[0].count("<img") == (0 if "img(''" in call or "nothing" in call else 1)
        assert page("{% macro m() %}{{ " + call + " }}{% endmacro %}{{ m() }}") == printed
        assert page("{% set text %}{{ " + call + " }}{% endset %}{{ text }}") == printed
        assert (
            page("{% for _ in 'a' %}{% autoescape false %}{{ " + call + " }}{% endautoescape %}{% endfor %}") == printed
        )


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("img('p0.jpg', width=300)", "alt is missing"),
        ("img('p0.jpg', width=300, alt=3)", "alt: 3 is not a string"),
        ("img('p0.jpg', widht=300, alt='')", "widht"),
        ("img(3, width=300, alt='')", "3 is not a source"),
    ],
)
def test_a_warm_page_tells_its_authors_mistakes(make, call, said):
    env = environment(make(cache_seconds=10))
    page = env.from_string("{{ img('p0.jpg', width=300, alt='') }}")
    assert page.render() == page.render()
    with pytest.raises(SpecError, match=said):
        env.from_string("{{ " + call + " }}").render()


@pytest.mark.parametrize("database", ["sqlite", "postgres_url"])
def test_a_page_asks_once_and_a_warm_one_never(tmp_path, request, database):
    metadata = f"sqlite:///{tmp_path}/rows.db" if database == "sqlite" else request.getfixturevalue(database)
    (tmp_path / "media").mkdir()
    for number in range(5):
        (tmp_path / "media" / f"p{number}.jpg").write_bytes(images.photo(90, 60))
    source = "{% for n in range(5) %}{{ img('p%d.jpg'|format(n), width=30, alt='') }}{% endfor %}"

    def page(app):
        env = Environment(autoescape=True)
        install(env, app)
        return env.from_string(source)

    with closing(make_app(tmp_path, metadata=metadata)) as app:
        page(app).render()
        assert drain(app).built == 15
    storages = {"default": Closed("/cdn/")}  # which cannot be asked for anything but URLs
    with closing(make_app(tmp_path, metadata=metadata, storages=storages, base_urls={}, cache_seconds=10)) as app:
        app.metadata.setup()
        counts = []
        for _ in range(3):
            with Statements(app) as statements:
                html = page(app).render()
            counts.append(len(statements))
            assert html.count("srcset=") == 5
    assert counts == [1, 0, 0]
