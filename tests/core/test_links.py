"""Links that preload: exactly what the ``<img>`` will load, as HTML and as a header."""

import html5lib
import pytest

from easyimg import Img
from easyimg.errors import SpecError
from easyimg.links import preload_header, write_preload
from easyimg.markup import with_art
from tests.core.test_markup import ART, SQUARE, THUMB, art_of, parts_of

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
    parts = parts_of(img, {0: THUMB[0], 2: ("a.webp", "webp", 300, 225)}, lazy=True)
    assert parts.sizes.startswith("auto, ")
    attributes = link(write_preload(parts, ()))
    assert attributes["imagesrcset"] == "/default/a.webp 300w"
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


def links(img, art, built=THUMB, **options):
    """Return the attributes of all elements, with those of the first entry's files built."""
    parts = with_art(parts_of(img, built, **options), art_of(img, art))
    html = write_preload(parts, ()).split("\n")
    assert len(preload_header(parts, ()).split(", <")) == len(html)
    return [link(line) if line else {} for line in html]


def test_with_art_direction_every_condition_preloads_its_own_and_none_twice():
    assert links(ART, SQUARE) == [
        {
            "rel": "preload",
            "as": "image",
            "media": "(max-width: 600px)",
            "type": "image/avif",
            "imagesrcset": "/default/q1.avif, /default/q2.avif 2x",
        },
        {
            "rel": "preload",
            "as": "image",
            "media": "(not (max-width: 600px))",
            "imagesrcset": "/default/a.webp, /default/b.webp 2x",
        },
    ]


def test_a_condition_of_several_parts_is_excluded_as_a_whole():
    img = ART.extend(art={"(color) and (hover)": {"ratio": 1}})
    assert [attributes["media"] for attributes in links(img, {0: SQUARE[0]})] == [
        "((color) and (hover))",
        "(not ((color) and (hover)))",
    ]


def test_nothing_is_preloaded_for_print_nor_where_conditions_cannot_be_excluded():
    (only,) = links(ART.extend(art={"print": {"ratio": 1}}), {0: SQUARE[0]})
    assert only.keys() == {"rel", "as", "imagesrcset"}
    for media in ("screen and (hover)", "(hover), (color)", "not print"):
        assert links(ART.extend(art={media: {"ratio": 1}}), {0: SQUARE[0]}) == [{}]


def test_art_direction_is_preloaded_while_the_image_itself_is_a_placeholder():
    parts = with_art(parts_of(ART, pending="placeholder"), art_of(ART, SQUARE))
    assert link(write_preload(parts, ()))["media"] == "(max-width: 600px)"
    assert preload_header(parts, ()).startswith("</default/q1.avif>; ")
