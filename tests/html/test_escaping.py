"""Text of every kind, in every place, through every way a template can print an image: it stays text, in its place.

The ways are one template each, printed by environments as frameworks set them up; all must give the same bytes.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2 import DictLoader, Environment, select_autoescape
from markupsafe import Markup

from easyimg import EasyImg, Img, Source
from easyimg.attributes import TOKEN_CLOSE, TOKEN_OPEN
from easyimg.errors import SpecError
from easyimg.jinja import install
from easyimg.source import SourceInfo
from easyimg.variant import SourceRecord, Variant, VariantStatus
from tests.counting import Bell
from tests.html.parsing import Candidate, parse

CALL = "img(source, width=300, loading=None, decoding=None, alt=alt, img_attrs=attrs)"
WAYS = {
    "plain": f"{{{{ {CALL} }}}}",
    "safe": f"{{{{ {CALL}|safe }}}}",
    "safe twice": f"{{{{ {CALL}|safe|safe }}}}",
    "escaped": f"{{{{ {CALL}|e }}}}",
    "off": f"{{% autoescape false %}}{{{{ {CALL} }}}}{{% endautoescape %}}",
    "off, safe": f"{{% autoescape false %}}{{{{ {CALL}|safe }}}}{{% endautoescape %}}",
    "on": f"{{% autoescape true %}}{{{{ {CALL} }}}}{{% endautoescape %}}",
    "set": f"{{% set x = {CALL} %}}{{{{ x }}}}",
    "block of text": f"{{% set x %}}{{{{ {CALL} }}}}{{% endset %}}{{{{ x|safe }}}}",
    "joined": f"{{{{ [{CALL}]|join }}}}",
    "macro": f"{{% macro m() %}}{{{{ {CALL} }}}}{{% endmacro %}}{{{{ m()|safe }}}}",
    "as_html": f"{{{{ {CALL}.as_html() }}}}",
}
ENDINGS = ("html", "html.j2", "txt", "")
"""``select_autoescape`` escapes in the first only."""

AWKWARD = [
    '"',
    "'",
    "<",
    ">",
    "&",
    "&amp;",
    "&quot;",
    "`",
    "=",
    " ",
    "\n",
    "\t",
    "\0",
    "\r",
    "</p>",
    "{{ 1 }}",
    "{%",
    "%s",
    "{0}",
]
AWKWARD += [
    '"><script>alert(1)</script>',
    "' onerror='x",
    "\u2028",
    "\u202e",
    "é",
    "\U0001f45f",
    f"{TOKEN_OPEN}0<0{TOKEN_CLOSE}",
]
any_text = st.lists(st.sampled_from(AWKWARD) | st.text(max_size=3), max_size=6).map("".join)


class Anywhere:
    """A storage that says any URL."""

    def __init__(self) -> None:
        self.answer = ""

    def url(self, name: str) -> str:
        return self.answer


class Pages:
    """A site, and every way of printing in every environment."""

    def __init__(self, storage: Any = None) -> None:
        storages = {"storages": {"default": storage}, "base_urls": {}} if storage else {}
        self.app = EasyImg(metadata="sqlite://", queue=Bell(), **storages)
        loader = DictLoader({f"{way}.{end}": text for way, text in WAYS.items() for end in ENDINGS})
        self.templates = []
        for autoescape in (True, False, select_autoescape()):
            env = Environment(loader=loader, autoescape=autoescape)
            install(env, self.app)
            self.templates += [env.get_template(name) for name in loader.list_templates()]

    def __call__(
        self, source: Source, *, built: bool = False, alt: str = "", ways: slice = slice(None), **attrs: Any
    ) -> str:
        """Return the HTML that every way gives."""
        rows = {}
        keys = Img(width=300).plan.keys(source.address)
        if built:
            for key, width in zip(keys, (300, 300, 600), strict=True):
                rows[key] = Variant(key, VariantStatus.BUILT, "default", f"{width}.jpg", "jpeg", width, width)
        record = SourceRecord(source.id, 1, SourceInfo(900, 900, "jpeg"), None, "", rows)
        values = {"source": source, "alt": alt, "attrs": attrs}
        printed = []
        for template in self.templates[ways]:
            self.app.cache.put(keys, record)  # each time: on a busy machine, all of them may take longer than it keeps
            printed.append(template.render(values))
        first, *others = printed
        assert all(other == first for other in others)
        return first


@pytest.fixture(scope="module")
def pages():
    made = Pages()
    yield made
    made.app.close()


@pytest.fixture(scope="module")
def anywhere():
    storage = Anywhere()
    made = Pages(storage)
    yield made, storage
    made.app.close()


SHOE = Source("default", "shoe.jpg")


def as_parsed(value: str) -> str:
    """Return text as a browser's parser gives it back: https://html.spec.whatwg.org/multipage/parsing.html#preprocessing-the-input-stream"""
    plain = value.replace(TOKEN_OPEN, "").replace(TOKEN_CLOSE, "").replace("\r\n", "\n").replace("\r", "\n")
    return plain.replace("\0", "\ufffd")


@pytest.mark.parametrize("awkward", AWKWARD)
@pytest.mark.parametrize("kind", [str, Markup], ids=["text", "marked safe"])
def test_awkward_text_stays_text_in_every_way_of_printing(pages, awkward, kind):
    html = pages(SHOE, alt=kind(awkward), title=kind(awkward))
    assert parse(html)[0].attributes == {
        "src": "/media/shoe.jpg",
        "width": "300",
        "height": "300",
        "alt": as_parsed(awkward),
        "title": as_parsed(awkward),
    }


@settings(max_examples=100)
@given(alt=any_text, title=any_text, data=any_text)
def test_any_text_parses_back_to_itself_in_every_way_of_printing(pages, alt, title, data):
    html = pages(SHOE, alt=alt, title=title, data_x=data, ways=slice(None, None, 7))
    found = parse(html)[0].attributes
    expected = {"alt": as_parsed(alt), "title": as_parsed(title), "data-x": as_parsed(data)}
    assert {name: found[name] for name in expected} == expected
    assert found.keys() == expected.keys() | {"src", "width", "height"}


@settings(max_examples=200)
@given(name=any_text | st.text(st.sampled_from("adfox-_:.@\"'<>=/ \t\0éN1"), min_size=1))
def test_any_attribute_name_is_refused_or_comes_out_as_itself(pages, name):
    try:
        html = pages(SHOE, ways=slice(0, 1), **{name: "v"})
    except SpecError:
        return
    found = parse(html)[0].attributes
    assert found.pop(name.replace("_", "-").lower()) == "v"
    assert found.keys() == {"src", "width", "height", "alt"}


@settings(max_examples=100)
@given(name=any_text.filter(bool))
@example(name="a b,c 2x.jpg")
@example(name="../secret")
@example(name="javascript:alert(1)")
@example(name="//evil.example/a.jpg")
def test_any_source_name_is_one_image_below_the_base_url_or_a_placeholder(pages, name):
    found = parse(pages(Source("default", name), ways=slice(None, None, 7)))[0].attributes
    assert found.keys() == {"src", "width", "height", "alt"}
    assert re.fullmatch(r"/media/[^\s\"'<>,/][^\s\"'<>,]*|data:image/svg\+xml,[^\s\"'<>]*", found["src"], re.ASCII)
    assert "/../" not in found["src"]


# What browsers take for the scheme, after dropping what they ignore: https://url.spec.whatwg.org/#concept-basic-url-parser
_IGNORED = re.compile(r"^[\0-\x20]+|[\t\n\r]")
_SCHEME = re.compile(r"([a-z][-+.a-z0-9]*):", re.IGNORECASE)


def is_harmless(url: str) -> bool:
    """Return whether a URL loads a picture over HTTP, from the page's own site where it names none."""
    url = _IGNORED.sub("", url)
    scheme = _SCHEME.match(url)
    if scheme is None:
        return url != "" and not re.match(r"[/\\]{2}", url)
    return scheme[1].lower() in ("http", "https")


URLS = [
    "/a.jpg",
    "https://cdn.example/a.jpg?w=1&h=2#x",
    "http://[::1]:80/a",
    "a,b.jpg",
    "/a,",
    ",/a",
    "/a b 2x",
    "//evil.example/x",
    "\\\\evil",
    "/\\evil",
]
URLS += [
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    "\tjavascript:x",
    "java\nscript:x",
    "data:text/html,x",
    "blob:x",
    "file:///etc/passwd",
    "",
    " ",
    "x:y",
]
URLS += [
    '/a"onerror=x',
    "/a'b",
    "/a<b>",
    "/ä.jpg",
    "/\U0001f45f.jpg",
    "/a\0b",
    "/%22",
    "/a(b",
    "vbscript:x",
    "&#106;avascript:x",
    "/a&quot;b",
]


@settings(max_examples=200)
@given(url=st.sampled_from(URLS) | any_text | st.tuples(st.sampled_from(URLS), any_text).map("".join))
def test_any_url_of_a_storage_is_written_as_it_is_or_not_at_all(anywhere, url):
    pages, storage = anywhere
    storage.answer = url
    tag = parse(pages(SHOE, built=True, ways=slice(None, None, 11)))[0]
    assert {"src", "width", "height", "alt"} <= tag.attributes.keys() <= {"src", "srcset", "width", "height", "alt"}
    if tag.attributes["src"].startswith("data:image/svg+xml,"):
        assert "srcset" not in tag.attributes
        return
    assert is_harmless(url)
    assert tag.attributes["src"] == url
    assert tag.candidates == [Candidate(url, 1.0, ""), Candidate(url, 2.0, "x")]


@pytest.mark.parametrize("url", URLS)
def test_urls_that_are_refused_are_harmful_or_would_not_survive(url, anywhere):
    pages, storage = anywhere
    storage.answer = url
    src = parse(pages(SHOE, built=True, ways=slice(0, 1)))[0].attributes["src"]
    survives = is_harmless(url) and re.fullmatch(r"[!-~]+", url) and not re.search(r"[\"'<>\\]|^,|,$", url)
    assert (src == url) == bool(survives)


@pytest.mark.parametrize(("one", "other"), [("data_x", "data-x"), ("title", "Title")])
def test_one_attribute_in_two_spellings_is_written_once_as_given_last(pages, one, other):
    for names in ((one, other), (other, one)):
        html = pages(SHOE, ways=slice(0, 1), **dict(zip(names, "12", strict=True)))
        assert html.lower().count(f" {other.lower()}=") == 1
        assert parse(html)[0].attributes[other.lower()] == "2"


def test_an_images_own_attribute_replaces_that_of_its_recipe_in_any_spelling():
    bound = Img(img_attrs={"Class": "recipe"}, app=EasyImg(base_urls={}))("", alt="", img_class="own")
    assert 'class="own"' in bound.tag.tail
    assert "recipe" not in bound.tag.tail
