"""Links that preload: exactly what the ``<img>`` will load, as HTML and as a header."""

import html5lib
import pytest

from easyimg import Img
from easyimg.errors import SpecError
from easyimg.links import preload_header, write_preload
from tests.core.test_markup import THUMB, parts_of

HIGH = (("fetchpriority", "high"),)


def link(html):
    """Return the attributes of the only element."""
    tree = html5lib.parse(f"<!doctype html><head>{html}</head>", namespaceHTMLElements=False)
    (element,) = tree.find("head")
    assert element.tag == "link"
    return dict(element.attrib)


def test_a_fixed_slot_preloads_by_density_and_names_no_href():
    parts = parts_of(Img(width=300, priority=True), THUMB, lazy=False)
    assert link(write_preload(parts, HIGH)) == {
        "rel": "preload",
        "as": "image",
        "imagesrcset": "/default/a.webp, /default/b.webp 2x",
        "fetchpriority": "high",
    }
    assert preload_header(parts, HIGH) == (
        '</default/s.jpg>; rel="preload"; as="image"; imagesrcset="/default/a.webp, /default/b.webp 2x"; '
        'fetchpriority="high"'
    )


def test_a_fluid_slot_preloads_with_its_sizes_which_are_never_auto():
    img = Img(width=300, sizes={700: 200}, priority=True)
    parts = parts_of(img, {0: THUMB[0], 1: ("a.webp", "webp", 200, 150)}, lazy=True)
    assert parts.sizes.startswith("auto, ")
    attributes = link(write_preload(parts, ()))
    assert attributes["imagesrcset"] == "/default/a.webp 200w"
    assert attributes["imagesizes"] == "(max-width: 700px) 200px, 300px"


def test_of_a_picture_the_first_built_choice_is_preloaded_with_its_type():
    img = Img(width=300, formats=["avif", "webp"], densities=[1], priority=True)
    both = {0: THUMB[0], 1: ("a.avif", "avif", 300, 225), 2: ("a.webp", "webp", 300, 225)}
    assert link(write_preload(parts_of(img, both), ()))["type"] == "image/avif"
    assert link(write_preload(parts_of(img, {0: both[0], 2: both[2]}), ()))["type"] == "image/webp"


def test_before_the_candidates_exist_what_src_shows_is_preloaded():
    assert link(write_preload(parts_of(Img(width=300), {0: THUMB[0]}), ())) == {
        "rel": "preload",
        "as": "image",
        "href": "/default/s.jpg",
    }
    assert link(write_preload(parts_of(Img(width=300)), ()))["href"] == "/default/photos/shoe.jpg"


def test_a_placeholder_is_nothing_to_load():
    parts = parts_of(Img(width=300), pending="placeholder")
    assert (write_preload(parts, ()), preload_header(parts, ())) == ("", "")


def test_a_header_whose_src_is_a_placeholder_targets_a_candidate():
    parts = parts_of(Img(width=300), {1: THUMB[1]}, pending="placeholder")
    assert preload_header(parts, ()).startswith("</default/a.webp>; ")


def test_quotes_in_a_header_are_escaped_and_other_letters_left_out():
    parts = parts_of(Img(width=300), THUMB)
    header = preload_header(parts, (("referrerpolicy", 'a"b\\c\u00e9\n'), ("crossorigin", None)))
    assert header.endswith('; referrerpolicy="a\\"b\\\\c"; crossorigin')


def test_a_lazy_image_is_not_preloaded():
    with pytest.raises(SpecError, match="priority=True"):
        Img(width=300).preload("a.jpg")


@pytest.mark.parametrize("root", ["example.com", "ftp://example.com", "https://example.com/a", 3, "https://a b"])
def test_a_root_is_scheme_and_host(root):
    with pytest.raises(SpecError, match=r"root: .* is not like 'https://"):
        Img(width=300).url("a.jpg", root=root)


def test_an_unknown_format_of_a_url_is_refused():
    with pytest.raises(SpecError, match="format"):
        Img(width=300).url("a.jpg", format="webpp")
