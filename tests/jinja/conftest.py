"""One site with really built pictures, and two environments: one installed, one that renders each image at once."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from jinja2 import DictLoader, Environment

from easyimg import EasyImg, ImageBatch, Img
from easyimg.drain import drain
from easyimg.jinja import install
from easyimg.testing import images
from tests.counting import Bell, Statements

BUILT = {"width": 300, "format": "webp"}


class Closed:
    """A storage that can only say where its files are; anything else would be I/O while rendering."""

    def __init__(self, base):
        self._base = base

    def url(self, name):
        return f"{self._base}{name}"


def make_app(root, **options):
    defaults = {
        "storages": {"default": f"file://{root}/media"},
        "metadata": f"sqlite:///{root}/rows.db",
        "queue": Bell(),
        "isolation": "never",
        "cache_seconds": 0,
    }
    return EasyImg(**{**defaults, **options})


@pytest.fixture(scope="session")
def built_root(tmp_path_factory):
    """A folder with pictures p0.jpg ... p4.jpg whose variants of ``Img(width=300)`` are built."""
    root = tmp_path_factory.mktemp("site")
    app = make_app(root)
    (root / "media").mkdir()
    for number in range(5):
        (root / "media" / f"p{number}.jpg").write_bytes(images.photo(640 + number, 480))
        str(Img(app=app, **BUILT)(f"p{number}.jpg", alt=""))
    assert drain(app).built == 15
    app.close()
    return root


@pytest.fixture
def make(built_root):
    """Return a function that makes an EasyImg on the built pictures."""
    made = []

    def make(**options):
        made.append(make_app(built_root, **options))
        return made[-1]

    yield make
    for app in made:
        app.close()


@pytest.fixture
def app(make):
    app = make()
    app.metadata.setup()
    return app


def install_eager(env, app):
    """Give an environment an ``img()`` that is text at once: what batching must be equal to."""

    def img(source, preset=None, *, alt=None, **options):
        return Img(app=app, **options)(source or None, alt=alt, batch=ImageBatch(app)).as_html()

    env.globals["img"] = img


class Pair:
    """The same templates in both environments, and in a third whose process remembers what it has shown."""

    def __init__(self, app, templates, kind=Environment, **options):
        self.app = app
        self.env = kind(loader=DictLoader(templates), **options)
        install(self.env, app)
        self.eager = kind(loader=DictLoader(templates), **options)
        install_eager(self.eager, app)
        self.warm = kind(loader=DictLoader(templates), **options)
        settings = dataclasses.replace(app.settings, cache_seconds=10)
        install(self.warm, EasyImg(settings))

    def render(self, template="page", /, **context):
        """Return the page, after checking it against the eager one, and its number of queries."""
        expected = self.eager.get_template(template).render(**context)
        batched = self.env.get_template(template)
        with Statements(self.app) as statements:
            html = batched.render(**context)
        assert html == expected
        assert [self.warm.get_template(template).render(**context) for _ in range(2)] == [expected, expected]
        assert "\ufdd0" not in html
        assert "\ufdd1" not in html
        return html, len(statements)


def run(coroutine):
    return asyncio.run(coroutine)
