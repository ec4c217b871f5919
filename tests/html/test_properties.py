"""Whatever is asked for and whatever is built: the HTML is one that browsers read without dropping or guessing.

Options, facts and built variants are made up (``strategies``); the HTML comes out of the real ``img()`` of a real
template, out of rows that the process remembers, so that a thousand combinations need neither files nor queries.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jinja2 import Environment, Template

from easyimg import EasyImg, Img, Source
from easyimg.jinja import install
from easyimg.options import ImgOptions
from easyimg.source import SourceInfo
from easyimg.variant import SourceRecord, Variant, VariantStatus
from tests.counting import Bell
from tests.html.parsing import Tag, parse
from tests.html.strategies import Known, img_options, made_up_records, made_up_source, text

CALLS = (
    "{{ img(source, **options) }}",
    "{% set image = img(source, alt=alt, **others) %}{{ image }}",
    "{{ img(source, preset, alt=alt, img_attrs=attributes) }}",  # no call is made of this one
)
"""Three ways to print an image, of which the last one is what templates do for the most part."""


class Site:
    """A site and its templates, in an environment with autoescape and one without."""

    def __init__(self, **settings: Any) -> None:
        # Nothing is ever asked of the database or the storage.
        self.app = EasyImg(metadata="sqlite://", queue=Bell(), **settings)
        self.templates: list[Template] = []
        for autoescape in (True, False):
            env = Environment(autoescape=autoescape)
            install(env, self.app)
            self.templates += map(env.from_string, CALLS)

    def render(self, source: Any, *records: SourceRecord, **options: Any) -> str:
        """Return the HTML that both templates give."""
        self.app.cache.clear()
        plan = Img(**options).plan
        keys = {source.id: {*plan.keys(source.address)}}
        for entry in plan.art:
            shown = entry.source or source
            keys.setdefault(shown.id, set()).update(entry.plan.keys(shown.address))
        for record in records:
            self.app.cache.put(keys[record.id], record)
        others = dict(options)
        alt, attributes = others.pop("alt"), others.get("img_attrs", {})
        values = {"source": source, "options": options, "alt": alt, "others": others, "attributes": attributes}
        first, *more = (template.render(values, preset=Img(**others)) for template in self.templates)
        assert more == [first] * len(more)
        return first


@pytest.fixture(scope="module")
def sites():
    made = [Site(), Site(csp="strict"), Site(pending="placeholder"), Site(base_urls={})]
    yield made
    for site in made:
        site.app.close()


@pytest.mark.slow
@pytest.mark.timeout(400)  # seconds: a thousand combinations of options
@settings(max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
@given(options=img_options(), alt=text, seed=st.integers(0, 1 << 32))
def test_any_options_facts_and_built_variants_give_html_that_keeps_the_rules(sites, options, alt, seed):
    random = Random(seed)
    img = Img(alt=alt, **options)
    site = random.choice(sites)
    source, info = made_up_source(random)
    known = made_up_records(random, img.plan, source, info)
    tags = parse(site.render(source, *(each.record for each in known), alt=alt, **options))
    for tag in tags:
        check_candidates(tag, img, known, slot=tag.attributes.get("width") or tags[-1].attributes.get("width"))
    check_sources(tags[:-1], img)
    check_box(tags[-1], info, known[0].record)
    check_background(tags[-1], img, info, known[0].record, is_strict=site.app.settings.csp == "strict")
    check_attributes(tags[-1], img)


def check_candidates(tag: Tag, img: Img, known: list[Known], slot: str | None) -> None:
    """Candidates are built files, told apart by one kind of descriptor that is true, and in order."""
    found = tag.candidates
    letters = {candidate.letter for candidate in found}
    assert letters in (set(), {"w"}, {"x"}, {"", "x"}, {""}), "one kind of descriptor"
    assert ("sizes" in tag.attributes) == (letters == {"w"}), "width descriptors and sizes only together"
    assert tag.attributes.get("sizes") != ""
    assert all(a.number < b.number for a, b in pairwise(found)), "ascending, none twice"
    assert len({candidate.url for candidate in found}) == len(found)
    assert len({candidate.url.rpartition(".")[2] for candidate in found}) <= 1, "one format"
    files = {
        f"/media/{row.file_name}": (row, info)
        for info, record in known
        for row in record.variants.values()
        if row.status == VariantStatus.BUILT
    }
    by_media = {entry.media: entry.options for entry in img.options.art}
    options = by_media.get(tag.attributes.get("media", ""), img.options)
    for candidate in found:
        if tag.attributes.get("type") == "image/svg+xml":
            assert candidate.url.endswith(".svg")
            continue
        row, info = files[candidate.url]
        assert options.upscale or row.width <= info.width, "never wider than the source"
        if candidate.letter == "w":
            assert candidate.number == row.width
        else:
            assert candidate.number == pytest.approx(row.width / int(slot), rel=1e-3)


def check_sources(sources: list[Tag], img: Img) -> None:
    """The ``<source>`` elements stand in the order of their conditions, those of the image itself last."""
    order = [*(entry.media for entry in img.options.art), ""]
    given = [tag.attributes.get("media", "") for tag in sources]
    assert given == sorted(given, key=order.index)
    for entry in img.options.art:
        check_types([tag for tag in sources if tag.attributes.get("media") == entry.media], entry.options)
    own = [tag for tag in sources if "media" not in tag.attributes]
    assert img.options.formats or not own
    check_types(own, img.options)
    for tag in sources:
        assert tag.attributes.keys() <= {"media", "type", "srcset", "sizes", "width", "height"}
        has_box = tag.attributes.keys() & {"width", "height"}
        is_boxed = bool(img.options.art) and tag.attributes["type"] != "image/svg+xml"
        assert len(has_box) == 2 or (not has_box and not is_boxed)
        assert img.options.art or not has_box
        if tag.attributes.get("sizes", "").startswith("auto"):
            assert img.options.loading == "lazy"


def check_types(sources: list[Tag], options: ImgOptions) -> None:
    """Each ``<source>`` is of one of the formats asked for, in order, and says so; one that all can read may end them.

    An SVG stands alone.
    """
    types = [tag.attributes["type"] for tag in sources]
    order = [f"image/{name}" for name in options.formats or (options.format,)]
    is_art = bool(sources) and "media" in sources[0].attributes
    ends_readable = is_art and types[-1] in ("image/jpeg", "image/png", "image/gif", "image/svg+xml")
    asked = types[:-1] if ends_readable else types
    assert asked == [mime for mime in order if mime in asked]
    assert len(set(types)) == len(types)
    assert types == ["image/svg+xml"] or "image/svg+xml" not in types
    for mime, tag in zip(types, sources, strict=True):
        extension = mime.removeprefix("image/").removesuffix("+xml")
        assert all(candidate.url.endswith(f".{extension}") for candidate in tag.candidates)


def check_box(tag: Tag, info: SourceInfo, record: SourceRecord) -> None:
    """``width`` and ``height`` are there together, always once the source is known; lazy ``auto`` sizes need them."""
    attributes = tag.attributes
    assert ("width" in attributes) == ("height" in attributes)
    if record.info is not None:
        assert int(attributes["width"]) >= 1
        assert int(attributes["height"]) >= 1
    if attributes.get("sizes", "").startswith("auto"):
        assert attributes["loading"] == "lazy"
        assert "width" in attributes
    assert attributes["src"].startswith(("/media/", "data:image/svg+xml,"))
    if info.format == "tiff" and record.info is not None:
        assert not attributes["src"].endswith(".tiff")


def check_background(tag: Tag, img: Img, info: SourceInfo, record: SourceRecord, *, is_strict: bool) -> None:
    """A placeholder only where asked for, known, and covered by what is opaque; never long."""
    found = [part for part in tag.attributes.get("style", "").split("; ") if part.startswith("background:")]
    opaque = record.info is not None and not (info.has_alpha or info.is_animated or info.format == "svg")
    shown = not tag.attributes["src"].startswith("data:") and not is_strict
    shown = shown and not any(entry.source for entry in img.options.art)
    assert bool(found) == (img.options.placeholder is not None and record.preview is not None and opaque and shown)
    for style in found:
        assert len(style) <= 570
        assert "url(" not in style or (
            img.options.placeholder == "blur" and record.preview.blur and not img.options.art
        )


def check_attributes(tag: Tag, img: Img) -> None:
    """Exactly the attributes asked for, and ours."""
    o = img.options
    asked = {name: value or "" for name, value in o.img_attrs} | {"alt": o.alt}
    for name in ("loading", "decoding", "fetchpriority"):
        if getattr(o, name) is not None:
            asked[name] = getattr(o, name)
    ours = {"src", "srcset", "sizes", "width", "height", "style"}
    assert {name: value for name, value in tag.attributes.items() if name not in ours} == asked


def test_a_strict_site_never_writes_a_style(sites):
    source = Source("default", "a/shoe.jpeg")
    record = SourceRecord(source.id, 1, SourceInfo(400, 300, "jpeg"), None, "", {})
    options = {"width": 80, "ratio": "square", "alt": ""}
    default, strict = (site.render(source, record, **options) for site in sites[:2])
    assert "style=" in default
    assert "style=" not in strict


def test_densities_that_read_alike_are_one_candidate(sites):
    source, info = Source("default", "a/wide.jpeg"), SourceInfo(16_383, 100, "jpeg")
    options = {"width": 8000, "densities": [1.0001, 2, 2.0001], "alt": ""}
    plan = Img(**options).plan
    rows = {
        key: Variant(key, VariantStatus.BUILT, "default", f"{spec.width}.webp", "webp", *spec.frame(info.size).size)
        for key, spec in zip(plan.keys(source.address), plan.specs, strict=True)
    }
    (tag,) = parse(sites[0].render(source, SourceRecord(source.id, 1, info, None, "", rows), **options))
    assert [candidate.number for candidate in tag.candidates] == [1, 2]
