"""Every kind of output through the Nu HTML checker: no error, no warning.

Pages are made by ``img()`` in a real template from a real site: one page for each site's settings and each state that a
source can be in, on it one image for each row of ``OPTIONS``, a link that preloads it, and URLs in a style sheet and in
``<meta>``.  A new option needs one more row.  Pages of Jinja2 without autoescape and of Django are the same, byte for
byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, Template

from easyimg import EasyImg, Img
from easyimg.drain import drain
from easyimg.jinja import install
from easyimg.testing import images
from tests.adapters import django_site
from tests.counting import Bell
from tests.html.checker import Finding, check
from tests.html.parsing import parse

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]  # seconds, of ninety pages and Java

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "width": {"width": 80},
    "no densities": {"width": 80, "densities": []},
    "many densities": {"width": 50, "densities": [1.5, 2, 3.25]},
    "same format": {"width": 80, "format": "jpeg", "densities": []},
    "png": {"width": 40, "format": "png"},
    "avif": {"width": 40, "format": "avif", "effort": "fast"},
    "square": {"width": 80, "ratio": "square"},
    "odd ratio": {"width": 80, "ratio": "golden_vertical", "crop": "tl"},
    "ratio alone": {"ratio": "video"},
    "inside a box": {"width": 80, "ratio": 1, "crop": False},
    "covering a box": {"width": 80, "ratio": 1, "crop": False, "contain": False},
    "window": {"width": 40, "window": (0.1, 0.2, 0.6, 0.9)},
    "enlarged": {"width": 600, "densities": [], "upscale": True},
    "larger than the source": {"width": 300, "densities": [3]},
    "background": {"width": 80, "format": "jpeg", "background": "white"},
    "sizes": {"width": 100, "sizes": {600: 50}},
    "sizes, eager": {"width": 100, "sizes": {600: 50}, "loading": "eager"},
    "sizes, loading left out": {"width": 100, "sizes": {600: 50}, "loading": None},
    "sizes of every kind": {
        "width": "xs",
        "sizes": {
            640: 120,
            "(min-width: 1200px)": {"width": "md", "quality": 60},
            "(orientation: landscape) and (max-height: 30em)": 90,
            "not (hover: hover)": 70,
            "(400px <= width < 640px)": 60,
        },
    },
    "sizes with a ratio": {"width": 100, "ratio": "4/3", "sizes": {600: 50}, "densities": [1.5, 3]},
    "widths": {"widths": [50, 100, 150], "sizes": "(max-width: 600px) 100vw, 50vw"},
    "widths, eager": {"widths": [50, 100], "sizes": "(min-width: 60em) calc(50vw - 2rem), 90vw", "loading": "eager"},
    "widths, named": {"width": 90, "widths": [90, "xs"], "layout": "full-width", "ratio": 1},
    "fixed": {"width": 80, "layout": "fixed"},
    "constrained": {"width": 100, "layout": "constrained"},
    "full width": {"layout": "full-width"},
    "formats": {"width": 40, "formats": ["avif", "webp"], "effort": "fast"},
    "formats, one": {"width": 80, "formats": ["webp"], "priority": True},
    "formats, fluid": {"layout": "full-width", "formats": ["webp", "jpeg"], "img_class": "a"},
    "formats, sizes": {"width": 100, "sizes": {600: 50}, "formats": ["webp", "png"], "loading": "eager"},
    "art": {"width": 80, "art": {600: {"ratio": 1}, "(min-width: 1200px)": {"width": 120, "ratio": "video"}}},
    "art and formats": {
        "width": 80,
        "formats": ["webp", "jpeg"],
        "art": {"print": {"ratio": 1, "crop": "tl"}, "screen and (orientation: portrait)": {"layout": "full-width"}},
    },
    "art, fluid": {
        "layout": "full-width",
        "loading": "eager",
        "art": {"md": {"widths": [50, 100], "sizes": "(max-width: 300px) 100vw, 50vw", "format": "jpeg"}},
    },
    "art, awkward conditions": {
        "width": 80,
        "art": {
            "(400px <= width < 640px)": {"width": 40},
            "print, (orientation: portrait) and (max-height: 30em)": {"width": 50},
            "not (hover: hover)": {"width": 60},
            "not print": {"width": 70, "window": (0, 0, 0.5, 1)},
        },
    },
    "art from other sources": {
        "width": 80,
        "art": {400: {"source": "logo.svg"}, 800: {"source": "small.jpg"}, "print": {"source": "missing.jpg"}},
    },
    "priority": {"width": 80, "priority": True},
    "priority, sizes": {"width": 100, "sizes": {600: 50}, "priority": True},
    "nothing about loading": {"width": 80, "loading": None, "decoding": None},
    "low priority": {"width": 80, "fetchpriority": "low", "decoding": "sync"},
    "decoration": {"width": 80, "alt": ""},
    "attributes": {
        "width": 80,
        "img_class": "a b",
        "img_data_id": 7,
        "img_data_open": True,
        "img_title": "T",
        "img_id": "i",
    },
    "attributes, awkward": {"width": 80, "img_title": "\"'<>&amp;\n\t", "img_data_json": '{"a": "<b>"}'},
    "placeholder, colour": {"width": 80, "placeholder": "color", "img_style": "border: 0"},
    "placeholder, blur": {"width": 80, "placeholder": "blur", "formats": ["webp"]},
    "placeholder, cut": {"width": 80, "placeholder": "blur", "ratio": 1, "crop": "tl"},
    "placeholder, window": {"width": 40, "placeholder": "blur", "window": (0.1, 0.2, 0.6, 0.9)},
    "animated": {"width": 40, "animated": True},
    "animated, formats": {"width": 40, "animated": True, "formats": ["avif", "webp"], "effort": "fast"},
    "animated, fluid": {"layout": "full-width", "animated": True, "ratio": 1, "loading": "eager"},
    "sizes, bounds in every spelling": {
        "width": 100,
        "sizes": {"(width < 30em)": 50, "(MAX-WIDTH:40rem)": 60, "(1200px<=width)": 120, "(min-width: 100em)": 150},
    },
    "widths, calculated": {
        "widths": [50, 100],
        "sizes": "(400px <= width < 60em) min(100vw, calc(50vw + (2rem) * -.5)), clamp(2rem, 50VW, 1e2px)",
    },
    "own style": {"width": 80, "ratio": 1, "img_style": "border: 0; margin: 1px"},
    "awkward alt": {"width": 80, "alt": '"Mom\'s" <b>café</b> & co &amp; \u2028 \U0001f45f'},
    "attributes for assistive technology": {
        "width": 80,
        "img_aria_describedby": "p",
        "img_lang": "de",
        "img_dir": "rtl",
    },
}

# State of the source -> its file name. `built` ones have all variants of all OPTIONS, `partly` ones every second one.
SOURCES = {
    "built": "built.jpg",
    "built, transparent": "built.png",
    "built, awkward name": 'Fotos & more/50% "o\'k", (1) ünï <x>+a=b;c.jpg',
    "built, small": "small.jpg",
    "built, animated": "built.gif",
    "partly": "partly.jpg",
    "pending, facts known": "known.jpg",
    "pending, transparent": "known.png",
    "pending, animated": "known.gif",
    "pending, never seen": "unseen.jpg",
    "pending, hidden format": "scan.tif",
    "pending, awkward name": "a b/ü,ä 2x, 100w.jpg",
    "svg": "logo.svg",
    "damaged": "damaged.jpg",
    "damaged later": "later.jpg",
    "missing": "missing.jpg",
}

SITES: dict[str, dict[str, Any]] = {
    "default": {},
    "strict": {"csp": "strict"},
    "placeholder": {"pending": "placeholder", "base_urls": {"default": "https://cdn.example/p/~a:b;c=1/"}},
    "no urls": {"base_urls": {}},
    "built for the page": {"pending": "build"},  # the last one: what it builds, others would show
}


def site_settings(root: Path, **options: Any) -> dict[str, Any]:
    storages = {"default": f"file://{root}/media"}
    metadata = f"sqlite:///{root}/rows.db"
    own = {"storages": storages, "metadata": metadata, "queue": Bell(), "isolation": "never", "cache_seconds": 0}
    return own | {"strict": False} | options


def make_app(root: Path, **options: Any) -> EasyImg:
    return EasyImg(**site_settings(root, **options))


def put(root: Path, name: str, data: bytes) -> None:
    path = root / "media" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A site whose sources are in the states of ``SOURCES``."""
    root = tmp_path_factory.mktemp("checked")
    for number, name in enumerate(SOURCES.values()):
        if name.endswith(".png"):
            put(root, name, images.transparent(400, 300))
        elif name.endswith(".gif"):
            put(root, name, images.animation(200, 150))
        elif name not in ("missing.jpg", "logo.svg"):
            put(
                root,
                name,
                images.photo(160 if name == "small.jpg" else 400, 120 if name == "small.jpg" else 300, seed=number),
            )
    put(root, "damaged.jpg", b"\xff\xd8\xff" + bytes(100))
    put(root, "logo.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="4" height="3"/>')
    with make_app(root) as app:
        _build(app, root)
    return root


def _build(app: EasyImg, root: Path) -> None:
    for state, name in SOURCES.items():
        if state.startswith(("built", "damaged", "missing")):
            _order(app, name, list(OPTIONS.values()))
    _order(app, "partly.jpg", list(OPTIONS.values())[::2])
    for name in ("known.jpg", "known.png", "known.gif"):  # seen once, for an image of other options
        _order(app, name, [{"width": 33}])
    drain(app)
    put(root, "later.jpg", b"\xff\xd8\xff" + bytes(100))
    _order(app, "later.jpg", list(OPTIONS.values()))
    drain(app)


def _order(app: EasyImg, name: str, options: list[dict[str, Any]]) -> None:
    for each in options:
        Img(app=app, **each)(name, alt="").batch.load()


HEAD = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Images</title>
"""
PAGE = """{% for options in eager %}
{{ img_preload(name, **options) }}
{% endfor %}
<meta property="og:image" content="{{ img_url(name, width=80, root="https://example.com") }}">
<style>p { background: url("{{ img_url(name, width=80, ratio=1) }}") }</style>
</head>
<body>
<p id="p">Every image stands in a line of its own.</p>
{% for options in all %}
<div>{{ img(name, **options) }}</div>
{% endfor %}
</body>
</html>
"""
DJANGO_PAGE = """{% load easyimg %}{% for recipe in eager %}{% img_preload name recipe %}
{% endfor %}<meta property="og:image" content="{% img_url name width=80 root="https://example.com" %}">
<style>p { background: url("{% img_url name width=80 ratio=1 %}") }</style>
</head>
<body>
<p id="p">Every image stands in a line of its own.</p>
{% for recipe in all %}<div>{% img name recipe alt=recipe.options.alt %}</div>
{% endfor %}</body>
</html>
"""
ALL = [{"alt": "A shoe", **options} for options in OPTIONS.values()]
EAGER = [options if "priority" in options else {**options, "loading": "eager"} for options in ALL]


@pytest.fixture(scope="module")
def pages(root) -> dict[str, list[str]]:
    """Return file name -> lines of a page for each site and state.

    Checked to be the same with autoescape off, and out of Django.
    """
    pages = {}
    for site, settings in SITES.items():
        with make_app(root, **settings) as app, _django_render(root, **settings) as django:
            escaping, plain = (_template(app, autoescape) for autoescape in (True, False))
            for state, name in SOURCES.items():
                text = escaping.render(name=name, all=ALL, eager=EAGER)
                assert plain.render(name=name, all=ALL, eager=EAGER) == text
                assert django(name) == text, f"{site}, {state}: Django"
                file = f"{site}--{state}.html".replace(", ", "-").replace(" ", "_")
                pages[file] = (HEAD + text).split("\n")
    return pages


@contextmanager
def _django_render(root: Path, **settings: Any) -> Iterator[Callable[[str], str]]:
    """Give a function: a source's name -> the page that a Django site writes of it."""
    django_site.start()
    from django.template import engines
    from django.test import override_settings

    recipes = {name: [Img(**options) for options in rows] for name, rows in (("all", ALL), ("eager", EAGER))}
    with override_settings(EASYIMG=site_settings(root, **settings)):
        template = engines["django"].from_string(DJANGO_PAGE)
        yield lambda name: template.render({"name": name, **recipes})


def _template(app: EasyImg, autoescape: bool) -> Template:
    env = Environment(autoescape=autoescape, trim_blocks=True, keep_trailing_newline=True)
    install(env, app)
    return env.from_string(PAGE)


def images_of(lines: list[str]) -> dict[str, str]:
    """Return the name of each row of OPTIONS -> its HTML."""
    found = [line.removeprefix("<div>").removesuffix("</div>") for line in "\n".join(lines).split("\n<div>")[1:]]
    return dict(zip(OPTIONS, (text.partition("</div>")[0] for text in found), strict=True))


def test_the_checker_finds_nothing(checker, pages, tmp_path):
    for name, lines in pages.items():
        (tmp_path / name).write_text("\n".join(lines))
    found = [(f, pages[f.file][f.line - 1]) for f in check(checker, tmp_path)]
    found = [(f, line) for f, line in found if not is_false_alarm(f, line)]
    assert not found, "\n".join(f"{f.file}: {f.message}: {line}" for f, line in found[:20])


def is_false_alarm(finding: Finding, line: str) -> bool:
    """Return whether this is the checker's own mistake, version 26.9.27; the documentation names both kinds.

    The standard allows ``auto`` in the sizes of every ``<source>`` before a lazy ``<img>`` whose own sizes begins with
    it; the checker looks for the ``<img>`` directly behind the first ``<source>`` and misses it behind a second one.
    https://html.spec.whatwg.org/multipage/images.html#valdef-sizes-auto

    It asks every ``<source>`` with width descriptors for ``sizes``; the checker asks the first one, which may have
    densities, for the width descriptors of those behind it.
    https://html.spec.whatwg.org/multipage/embedded-content.html#attr-source-sizes
    """
    if not line.startswith("<div>"):
        return False
    *sources, img = parse(line.removeprefix("<div>").removesuffix("</div>"))
    if "starting with “auto” is only valid for lazy-loaded images" in finding.message:
        is_auto = img.attributes.get("sizes", "").startswith("auto, ")
        return len(sources) > 1 and is_auto and img.attributes.get("loading") == "lazy"
    if "with a width descriptor, the “sizes” attribute must also be specified" in finding.message:
        fluid = [tag for tag in (*sources, img) if any(candidate.letter == "w" for candidate in tag.candidates)]
        return bool(sources) and sources[0] not in fluid and all("sizes" in tag.attributes for tag in fluid)
    return False


def test_the_checker_would_find_what_is_wrong(checker, tmp_path):
    head = '<!doctype html><html lang="en"><title>x</title>\n'
    bad = {
        "alt": '<img src="/a.jpg">',
        "sizes": '<img src="/a.jpg" alt="" srcset="/b.jpg 3w">',
        "mixed": '<img src="/a.jpg" alt="" srcset="/b.jpg 3w, /c.jpg 2x" sizes="3px">',
        "auto": '<img src="/a.jpg" alt="" srcset="/b.jpg 3w" sizes="auto, 3px">',
        "twice": '<img src="/a.jpg" alt="" id="a" id="a">',
        "space": '<img src="/a b.jpg" alt="">',
        "style": '<img src="/a.jpg" alt="" style="aspect-ratio: 3 /">',
        "source": '<picture><source srcset="/b.jpg 3w" sizes="auto, 3px"><img src="/a.jpg" alt=""></picture>',
    }
    for name, html in bad.items():
        (tmp_path / f"{name}.html").write_text(head + html)
    assert {finding.file for finding in check(checker, tmp_path)} == {f"{name}.html" for name in bad}


def test_the_pages_show_what_they_are_meant_to(pages):
    """A checker that is shown nothing finds nothing."""
    for name, lines in pages.items():
        assert all(parse(html)[-1].name == "img" for html in images_of(lines).values()), name
    built = images_of(pages["default--built.html"])
    assert "webp 2x" in built["width"]
    assert "320w" in built["sizes of every kind"]
    assert 'sizes="auto, ' in built["sizes"]
    assert [tag.attributes.get("type") for tag in parse(built["formats"])] == ["image/avif", "image/webp", None]
    assert [tag.attributes.get("media") for tag in parse(built["art and formats"])] == [
        *["print"] * 2,
        *["screen and (orientation: portrait)"] * 2,
        *[None] * 3,
    ]
    animated = images_of(pages["default--built-animated.html"])
    assert ".gif" in animated["animated"]
    assert ".gif" not in animated["width"], "a still"
    assert [tag.attributes.get("type") for tag in parse(animated["animated, formats"])] == ["image/webp", None]
    head = "\n".join(pages["default--built.html"]).partition("</head>")[0]
    assert head.count('<link rel="preload" as="image"') > len(OPTIONS)
    assert 'content="https://example.com/media/img/' in head
    assert 'url("/media/img/' in head
    for state in ("pending-facts_known", "pending-never_seen", "pending-hidden_format"):
        inline = images_of(pages[f"built_for_the_page--{state}.html"])
        assert all('src="/media/img/' in html for html in inline.values()), state
    assert "logo.svg" in built["art from other sources"]
    assert "150w" in built["widths"]
    assert 'alt=""' in built["decoration"]
    assert [built[f"placeholder, {name}"].count("url(data:") for name in ("colour", "blur", "cut", "window")] == [
        0,
        1,
        1,
        1,
    ]
    assert "content-box; border: 0" in built["placeholder, colour"]
    assert ".png" in images_of(pages["default--built-transparent.html"])["width"]
    assert "object-fit" in images_of(pages["default--pending-facts_known.html"])["square"]
    assert "data:image/svg" in images_of(pages["strict--pending-facts_known.html"])["square"]
    assert "data:image/svg" in images_of(pages["placeholder--pending-never_seen.html"])["width"]
    assert "https://cdn.example/p/~a:b;c=1/" in images_of(pages["placeholder--built.html"])["width"]
    assert "data:image/svg" in images_of(pages["default--damaged.html"])["width"]
