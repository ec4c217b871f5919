"""Whatever an async template does with an image, no statement is sent and nothing is built on the event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest
from jinja2 import DictLoader, Environment
from jinja2.sandbox import SandboxedEnvironment

from easyimg import ImageBatch, Img
from easyimg.jinja import install
from easyimg.testing import images
from tests.counting import Threads
from tests.jinja.conftest import make_app

IMG = "img('p0.jpg', width=300, alt='a')"
PARTS = {
    "body": f"{{{{ {IMG} }}}}{{% macro m() %}}m{{% endmacro %}}",
    "variable": f"{{% set pic = {IMG} %}}{{{{ pic }}}}{{% macro m() %}}{{{{ pic }}}}{{% endmacro %}}",
    "block": f"{{% set pic %}}<b>{{{{ {IMG} }}}}</b>{{% endset %}}{{% macro m() %}}{{{{ pic }}}}{{% endmacro %}}",
    "link": f"{{% macro m() %}}<a href='{{{{ {IMG}.base_url() }}}}'>a</a>{{% endmacro %}}{{{{ m() }}}}",
}
TRANS = "{% trans pic=" + IMG + " %}A {{ pic }} here{% endtrans %}"

# name -> template, where IMG is an image of p0.jpg
CONSTRUCTS = {
    "printed": "{{ IMG }}",
    "~": "{{ IMG ~ 'x' }}",
    "~ of two": "{{ 'x' ~ IMG ~ IMG }}",
    "+": "{{ IMG + 'x' }}",
    "+ behind": "{{ 'x' + IMG }}",
    "%": "{{ '<%s>' % IMG }}",
    "% of many": "{{ '%s %s' % (IMG, IMG) }}",
    "% by name": "{{ '%(a)s' % {'a': IMG} }}",
    "|format": "{{ '<%s>'|format(IMG) }}",
    "str.format": "{{ '<{}>'.format(IMG) }}",
    ".srcset": "{{ IMG.srcset }}",
    "['srcset']": "{{ IMG['srcset'] }}",
    "|attr": "{{ IMG|attr('srcset') }}",
    ".width": "{% set x = IMG %}<b style='width: {{ x.width }}px'>{{ x }}</b>",
    "set and printed": "{% set x = IMG %}{% for n in range(3) %}{{ x }}{% endfor %}",
    ".as_html()": "{{ IMG.as_html() }}",
    ".base_url()": "{% set x = IMG %}{{ x.base_url() }}{{ x.base_url() }}",
    ".as_dict()": "{{ IMG.as_dict().src }}",
    ".is_built": "{% if IMG.is_built %}built{% endif %}",
    ".is_pending": "{% if not IMG.is_pending %}done{% endif %}",
    "sources": "{% for s in img('p0.jpg', width=300, formats=['webp'], alt='').sources %}{{ s.srcset }}{% endfor %}",
    "img_url": "{{ img_url('p0.jpg', width=300) }}",
    "img_url ~": "{{ img_url('p0.jpg', width=300) ~ '?a' }}",
    "img_preload ~": "{{ img_preload('p0.jpg', width=300, priority=True) ~ '' }}",
    "import body": "{% import 'body' as b %}{{ b.m() }}{{ b }}",
    "import body, twice": "{% import 'body' as b %}{% from 'body' import m %}{{ b.m() }}{{ m() }}{{ b }}",
    "import variable": "{% import 'variable' as b %}{{ b.m() }}{{ b.pic.srcset }}",
    "import block": "{% import 'block' as b with context %}{{ b.m() }}{{ b.pic }}",
    "import macro that asks": "{% import 'link' as b %}{{ b.m() }}{{ b }}",
    "import with an open text": "{% set t %}{{ IMG }}{% endset %}{% import 'body' as b with context %}{{ b }}{{ t }}",
    "include": "{% include 'body' %}{% include 'block' without context %}",
    "condition": "{{ IMG if IMG else '' }}",
    "list": "{{ [IMG, IMG]|join }}{{ [IMG]|map('string')|join }}",
    "map": "{{ [IMG, IMG]|map(attribute='srcset')|join }}",
    "selectattr": "{{ [IMG, IMG]|selectattr('is_built')|join }}",
    "filters": "{{ IMG|upper }}{{ IMG|length }}{% set t %}{{ IMG }}{% endset %}{{ t|replace('<', '[') }}",
    "trans": TRANS,
    "own function": "{{ show(IMG) }}",
    "macro": "{% macro m(i) %}{{ i }}{{ i.sizes }}{{ i ~ '' }}{% endmacro %}{{ m(IMG) }}",
    "an Img": "{{ thumb('p0.jpg', alt='').srcset ~ thumb('p1.jpg', alt='') }}",
    "made in the view": "{{ made.srcset }}{{ made }}",
    "a batch of the view": "{% if batch.has_pending %}wait{% endif %}{{ batch_img }}",
    "unknown": "{{ img('absent.jpg', width=31, alt='').srcset ~ img('absent.jpg', width=32, alt='') }}",
    "empty": "{{ img('', alt='').srcset ~ img('', alt='') ~ img(none, alt='').as_html() }}",
}


def both(app, kind=Environment, **options):
    """Return an environment and its async twin, whose pages must be equal."""
    made = []
    for is_async in (False, True):
        env = kind(loader=DictLoader(PARTS), extensions=["jinja2.ext.i18n"], enable_async=is_async, **options)
        env.install_null_translations(newstyle=is_async)
        install(env, app)
        made.append(env)
    return made


def context(app):
    thumb = Img(app=app, width=300)
    batch = ImageBatch(app)
    return {
        "batch": batch,
        "batch_img": thumb("p1.jpg", alt="", batch=batch),
        "thumb": thumb,
        "made": thumb("p1.jpg", alt="view"),
        "show": lambda image: f"{image}{image.srcset}",
    }


@pytest.mark.parametrize("kind", [Environment, SandboxedEnvironment])
@pytest.mark.parametrize("name", CONSTRUCTS)
def test_no_statement_is_sent_on_the_event_loop(app, name, kind):
    source = CONSTRUCTS[name].replace("IMG", IMG)
    sync, quick = both(app, kind, autoescape=True)
    with Threads(app) as asked:
        html = asyncio.run(quick.from_string(source).render_async(**context(app)))
    assert html == sync.from_string(source).render(**context(app))
    assert "\ufdd0" not in html
    assert asked or name == "empty"
    assert threading.get_ident() not in asked


@pytest.mark.parametrize("name", ["~", ".srcset", "import variable", "own function", "macro"])
def test_no_statement_is_sent_on_the_event_loop_by_streams(app, name):
    source = CONSTRUCTS[name].replace("IMG", IMG)
    sync, quick = both(app)

    async def main():
        return "".join([piece async for piece in quick.from_string(source).generate_async(**context(app))])

    with Threads(app) as asked:
        html = asyncio.run(main())
    assert html == sync.from_string(source).render(**context(app))
    assert asked
    assert threading.get_ident() not in asked


@pytest.mark.parametrize(
    "source",
    [
        "{{ img('new.jpg', width=30, alt='', immediate=True) }}",
        "{{ img('new.jpg', width=30, alt='', **{'immediate': True}) ~ '' }}",
        "{{ thumb('new.jpg', alt='', immediate=True).srcset }}",
        "{{ img('new.jpg', width=30, alt='', build='src') }}",
        "{{ img('new.jpg', width=30, alt='', build='all').srcset }}",
        "{{ img('new.jpg', width=30, alt='', build='all') ~ '' }}",
        "{{ img_url('new.jpg', width=30, build='src') ~ '' }}",
        "{{ img('new.jpg', width=30, alt='').build('all') }}",
        "{% if batch.build() %}{% endif %}{{ of_batch.srcset }}",
        "{{ of_batch }}{% if batch.load() or batch.build() %}{% endif %}{{ of_batch.srcset }}",
        "{% set x = img('new.jpg', width=30, alt='') %}{{ x.width }}{{ x.build() }}{{ x.is_built }}{{ x.srcset }}",
    ],
)
def test_nothing_is_built_on_the_event_loop(tmp_path, source):
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "new.jpg").write_bytes(images.photo(90, 60))
    app = make_app(tmp_path)
    quick = both(app)[1]
    batch = ImageBatch(app)
    given = {"thumb": Img(app=app, width=30), "batch": batch}
    if "of_batch" in source:
        given["of_batch"] = Img(width=30)("new.jpg", alt="", batch=batch, build="all")
    with Threads(app) as asked:
        html = asyncio.run(quick.from_string(source).render_async(given))
    assert "/media/img/" in html or html == "True"
    assert list((tmp_path / "media" / "img").iterdir())
    assert threading.get_ident() not in asked
    app.close()


def test_pages_that_build_what_they_show_do_so_in_a_thread(tmp_path):
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "new.jpg").write_bytes(images.photo(90, 60))
    app = make_app(tmp_path, pending="build")
    quick = both(app)[1]
    with Threads(app) as asked:
        html = asyncio.run(quick.from_string("{{ img('new.jpg', width=30, alt='') ~ '' }}").render_async())
    assert 'src="/media/img/' in html
    assert threading.get_ident() not in asked
    app.close()


def test_a_printed_image_of_a_variable_or_a_module_is_part_of_the_pages_query(app):
    quick = both(app)[1]
    source = (
        "{% import 'body' as b %}{{ b }}{% set pics = [] %}{% for n in range(5) %}"
        "{% set x = img('p%d.jpg'|format(n), width=300, alt='') %}{{ x }}{% if pics.append(x) %}{% endif %}"
        "{% endfor %}{% for pic in pics %}{{ pic }}{% endfor %}"
    )
    with Threads(app) as asked:
        html = asyncio.run(quick.from_string(source).render_async())
    assert html.count("srcset=") == 11
    assert len(asked) == 1


def test_a_module_with_images_is_not_shared_by_pages(app):
    quick = both(app)[1]
    page = quick.from_string("{% import 'block' as b %}{{ b.m() }}{{ wait() }}{{ b.pic }}")

    async def main():
        async def wait():
            await asyncio.sleep(0.001)
            return ""

        return await asyncio.gather(*(page.render_async(wait=wait) for _ in range(20)))

    pages = asyncio.run(main())
    assert {html.count("srcset=") for html in pages} == {2}
