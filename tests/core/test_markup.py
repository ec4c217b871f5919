import re

import html5lib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyimg import Img, Source
from easyimg.attributes import TOKEN_CLOSE, TOKEN_OPEN
from easyimg.errors import SpecError
from easyimg.geometry import Focus
from easyimg.markup import (
    Parts,
    art_sources,
    image_parts,
    is_safe_url,
    placeholder,
    with_art,
    write_img,
    write_tail,
)
from easyimg.preview import Preview
from easyimg.source import SourceInfo
from easyimg.variant import SourceRecord, Variant, VariantStatus

SOURCE = Source("default", "photos/shoe.jpg")
PHOTO = SourceInfo(4000, 3000, "jpeg")
BUILT = VariantStatus.BUILT


def url_of(alias, name):
    return f"/{alias}/{name}"


def parts_of(img, files=(), info=PHOTO, source=SOURCE, preview=None, focus=None, **options):
    """Return the parts with those of the plan's files built: position -> (name, format, width, height)."""
    keys = img.plan.keys(source.address)
    rows = {
        keys[i]: Variant(keys[i], BUILT, "default", name, form, w, h) for i, (name, form, w, h) in dict(files).items()
    }
    record = SourceRecord(source.id, 1, info, focus, "", rows, preview, is_previewed=True) if info or rows else None
    return image_parts(img.plan, keys, source, record, url_of, **options)


THUMB = {0: ("s.jpg", "jpeg", 300, 225), 1: ("a.webp", "webp", 300, 225), 2: ("b.webp", "webp", 600, 450)}


def test_a_fixed_slot_has_density_descriptors_and_no_sizes():
    parts = parts_of(Img(width=300), THUMB)
    assert parts.src == "/default/s.jpg"
    assert parts.srcset == "/default/a.webp, /default/b.webp 2x"
    assert parts.sizes == ""
    assert (parts.width, parts.height) == (300, 225)


def test_only_built_candidates_are_named():
    assert parts_of(Img(width=300), {0: THUMB[0], 2: THUMB[2]}).srcset == "/default/b.webp 2x"
    assert parts_of(Img(width=300), {0: THUMB[0]}).srcset == ""


def test_a_clamped_file_gets_its_real_density():
    files = {**THUMB, 2: ("b.webp", "webp", 500, 375)}
    assert parts_of(Img(width=300), files, SourceInfo(500, 375, "jpeg")).srcset == (
        "/default/a.webp, /default/b.webp 1.667x"
    )


def test_two_files_of_one_width_are_one_candidate():
    files = {
        0: ("s.jpg", "jpeg", 200, 150),
        1: ("a.webp", "webp", 200, 150),
        2: ("b.webp", "webp", 200, 150),
    }
    assert parts_of(Img(width=300), files, SourceInfo(200, 150, "jpeg")).srcset == "/default/a.webp"


def test_a_candidate_that_only_repeats_src_is_left_out():
    img = Img(width=300, format="jpeg", densities=[])
    assert parts_of(img, {0: THUMB[0], 1: ("a.jpg", "jpeg", 300, 225)}).srcset == ""


def test_a_fluid_slot_has_width_descriptors_and_sizes():
    img = Img(width=400, sizes={600: 200})
    files = {
        0: ("s.jpg", "jpeg", 400, 300),
        1: ("2.webp", "webp", 200, 150),
        2: ("4.webp", "webp", 400, 300),
        3: ("8.webp", "webp", 800, 600),
    }
    parts = parts_of(img, files)
    assert parts.srcset == "/default/2.webp 200w, /default/4.webp 400w, /default/8.webp 800w"
    assert parts.sizes == "auto, (max-width: 600px) 200px, 400px"
    assert parts_of(img, files, lazy=False).sizes == "(max-width: 600px) 200px, 400px"
    assert parts_of(img, {0: files[0]}).sizes == ""


PICTURE = {
    0: ("s.jpg", "jpeg", 300, 225),
    1: ("a.avif", "avif", 300, 225),
    2: ("b.avif", "avif", 600, 450),
    3: ("a.webp", "webp", 300, 225),
    4: ("b.webp", "webp", 600, 450),
}


def test_formats_give_a_picture_with_typed_sources_and_a_readable_fallback():
    parts = parts_of(Img(width=300, formats=["avif", "webp"]), PICTURE)
    assert write_img(parts, "x", " loading=lazy") == (
        '<picture><source type="image/avif" srcset="/default/a.avif, /default/b.avif 2x">'
        '<source type="image/webp" srcset="/default/a.webp, /default/b.webp 2x">'
        '<img src="/default/s.jpg" width="300" height="225" alt="x" loading=lazy></picture>'
    )


def test_a_picture_names_only_formats_that_are_built_and_stays_a_picture():
    img = Img(width=300, formats=["avif", "webp"])
    built = {i: PICTURE[i] for i in (0, 3)}
    assert [s.type for s in parts_of(img, built).sources] == ["image/webp"]
    assert write_img(parts_of(img), "", "").startswith('<picture><img src="/default/photos/shoe.jpg"')


def test_a_fluid_picture_has_sizes_on_every_source():
    img = Img(formats=["avif", "webp"], widths=[300, 600], sizes="50vw")
    parts = parts_of(img, {i: PICTURE[i] for i in range(5)})
    assert [(s.srcset, s.sizes) for s in parts.sources] == [
        ("/default/a.avif 300w, /default/b.avif 600w", "auto, 50vw"),
        ("/default/a.webp 300w, /default/b.webp 600w", "auto, 50vw"),
    ]
    assert (parts.srcset, parts.sizes) == ("/default/s.jpg 300w", "auto, 50vw"), "or auto would not count"
    eager = parts_of(img, {i: PICTURE[i] for i in range(5)}, lazy=False)
    assert {s.sizes for s in eager.sources} == {"50vw"}
    assert (eager.srcset, eager.sizes) == ("", "")


def test_auto_is_left_out_where_the_img_cannot_say_it():
    img = Img(formats=["avif", "webp"], widths=[300, 600], sizes="50vw")
    parts = parts_of(img, {i: PICTURE[i] for i in range(1, 5)})
    assert parts.stand_in == "source"
    assert [s.sizes for s in parts.sources] == ["50vw", "50vw"]
    assert (parts.srcset, parts.sizes) == ("", "")


def test_files_too_narrow_for_a_fluid_slot_are_not_chosen_before_what_src_shows():
    """Another image has ordered some of them; browsers look at ``src`` no more once there is a width."""
    img = Img(width=600, layout="constrained")
    assert [spec.width for spec in img.plan.specs] == [600, 320, 480, 600, 640, 828, 1080, 1200]
    narrow = {1: ("a.webp", "webp", 320, 240), 2: ("b.webp", "webp", 480, 360)}
    for built in (narrow, {0: ("s.jpg", "jpeg", 600, 450), **narrow}):
        assert parts_of(img, built).srcset == ""
    enough = {**narrow, 3: ("c.webp", "webp", 600, 450)}
    assert parts_of(img, enough).srcset == "/default/a.webp 320w, /default/b.webp 480w, /default/c.webp 600w"
    assert parts_of(img, narrow, pending="placeholder").srcset != "", "better than nothing at all"


def test_a_transparent_source_has_no_jpeg_among_its_formats():
    img = Img(width=300, formats=["webp", "jpeg"])
    files = {0: ("s.png", "png", 300, 225), 1: ("a.webp", "webp", 300, 225), 3: ("a.jpg", "jpeg", 300, 225)}
    clear = SourceInfo(4000, 3000, "png", has_alpha=True)
    assert [s.type for s in parts_of(img, files, clear).sources] == ["image/webp"]
    assert [s.type for s in parts_of(img, files, PHOTO).sources] == ["image/webp", "image/jpeg"]


ART = Img(width=300, art={600: {"width": 200, "ratio": 1, "formats": ["avif", "webp"]}})
SQUARE = {
    0: ("q.jpg", "jpeg", 200, 200),
    1: ("q1.avif", "avif", 200, 200),
    2: ("q2.avif", "avif", 400, 400),
    3: ("q1.webp", "webp", 200, 200),
    4: ("q2.webp", "webp", 400, 400),
}


def art_of(img, files, info=PHOTO, source=SOURCE, **options):
    """Return the sources of the plan's first entry with those of its files built, as ``parts_of`` does."""
    entry = img.plan.art[0]
    keys = entry.plan.keys(source.address)
    rows = {keys[i]: Variant(keys[i], BUILT, "default", *file) for i, file in files.items()}
    record = SourceRecord(source.id, 1, info, None, "", rows) if info or rows else None
    return art_sources(entry.plan, entry.media, keys, source, record, url_of, **options)


def test_art_direction_has_a_source_for_each_format_and_one_that_all_can_read():
    parts = with_art(parts_of(ART, THUMB), art_of(ART, SQUARE))
    assert write_img(parts, "x", "") == (
        '<picture><source media="(max-width: 600px)" type="image/avif" '
        'srcset="/default/q1.avif, /default/q2.avif 2x" width="200" height="200">'
        '<source media="(max-width: 600px)" type="image/webp" '
        'srcset="/default/q1.webp, /default/q2.webp 2x" width="200" height="200">'
        '<source media="(max-width: 600px)" type="image/jpeg" srcset="/default/q.jpg" width="200" height="200">'
        '<img src="/default/s.jpg" srcset="/default/a.webp, /default/b.webp 2x" width="300" height="225" alt="x">'
        "</picture>"
    )


def test_art_direction_and_formats_give_every_source_its_box():
    img = Img(width=300, formats=["avif", "webp"], art={"print": {"ratio": 1}})
    parts = with_art(parts_of(img, PICTURE), art_of(img, {0: ("q.jpg", "jpeg", 300, 300)}))
    assert [(s.media, s.type, s.width, s.height) for s in parts.sources] == [
        ("print", "image/jpeg", 300, 300),
        ("", "image/avif", 300, 225),
        ("", "image/webp", 300, 225),
    ]


def test_art_direction_names_only_what_is_built_and_the_picture_is_there_from_the_beginning():
    assert art_of(ART, {}) == ()
    assert write_img(with_art(parts_of(ART, THUMB), ()), "", "").startswith('<picture><img src="/default/s.jpg"')
    assert [s.type for s in art_of(ART, {4: SQUARE[4]})] == ["image/webp"]
    assert [(s.srcset, s.width, s.height) for s in art_of(ART, {4: SQUARE[4]})] == [("/default/q2.webp 2x", 200, 200)]


def test_a_fallback_of_a_format_that_was_asked_for_is_not_repeated():
    img = Img(art={600: {"width": 200, "ratio": 1, "format": "jpeg"}})
    files = {0: SQUARE[0], 1: ("1.jpg", "jpeg", 200, 200), 2: ("2.jpg", "jpeg", 400, 400)}
    assert [s.srcset for s in art_of(img, files)] == ["/default/1.jpg, /default/2.jpg 2x"]


def test_the_fallback_of_a_transparent_source_is_a_png():
    files = {0: ("q.png", "png", 200, 200), 3: SQUARE[3]}
    found = art_of(ART, files, SourceInfo(900, 600, "png", has_alpha=True))
    assert [(s.type, s.srcset) for s in found] == [("image/webp", "/default/q1.webp"), ("image/png", "/default/q.png")]


def test_a_fluid_slot_in_art_direction_has_widths_and_sizes_on_its_fallback_too():
    img = Img(width=300, art={600: {"widths": [200, 400], "sizes": "100vw"}})
    files = {0: ("f.jpg", "jpeg", 400, 300), 1: ("2.webp", "webp", 200, 150), 2: ("4.webp", "webp", 400, 300)}
    assert [(s.srcset, s.sizes) for s in art_of(img, files)] == [
        ("/default/2.webp 200w, /default/4.webp 400w", "auto, 100vw"),
        ("/default/f.jpg 400w", "auto, 100vw"),
    ]
    assert [s.sizes for s in art_of(img, files, lazy=False)] == ["100vw", "100vw"]


def test_nothing_of_another_ratio_is_shown_while_the_source_stands_in_with_a_style():
    img = ART.extend(ratio=2)
    parts = with_art(parts_of(img), art_of(img, SQUARE))
    assert parts.style
    assert parts.sources == ()
    plain = with_art(parts_of(img, pending="placeholder"), art_of(img, SQUARE))
    assert (plain.style, len(plain.sources)) == ("", 3)


def test_an_svg_in_art_direction_is_shown_as_it_is():
    logo = Source("default", "logo.svg")
    (known,) = art_of(ART, {}, SourceInfo(50, 20, "svg"), logo)
    assert (known.type, known.srcset, known.width, known.height) == ("image/svg+xml", "/default/logo.svg", 200, 80)
    (unknown,) = art_of(ART, {}, None, logo)
    html = write_img(with_art(parts_of(ART, THUMB), [unknown]), "", "")
    assert '<source media="(max-width: 600px)" type="image/svg+xml" srcset="/default/logo.svg"><img' in html


def test_a_media_query_is_escaped():
    img = Img(art={"(width < 400px)": {"width": 200}})
    html = write_img(with_art(parts_of(img), art_of(img, {0: SQUARE[0]})), "", "")
    assert '<source media="(width &lt; 400px)" type' in html


MOVING = {
    0: ("s.gif", "gif", 300, 225),
    1: ("a.avif", "avif", 300, 225),
    2: ("b.avif", "avif", 600, 450),
    3: ("a.webp", "webp", 300, 225),
    4: ("b.webp", "webp", 600, 450),
}


def test_an_animation_that_is_kept_has_no_stills_among_its_formats():
    img = Img(width=300, formats=["avif", "webp"], animated=True)
    parts = parts_of(img, MOVING, SourceInfo(4000, 3000, "gif", frames=9))
    assert write_img(parts, "x", "") == (
        '<picture><source type="image/webp" srcset="/default/a.webp, /default/b.webp 2x">'
        '<img src="/default/s.gif" width="300" height="225" alt="x"></picture>'
    )
    assert [s.type for s in parts_of(img, PICTURE).sources] == ["image/avif", "image/webp"]


def test_before_anything_is_built_the_source_stands_in_at_the_right_size():
    parts = parts_of(Img(width=300))
    assert (parts.src, parts.stand_in) == ("/default/photos/shoe.jpg", "source")
    assert (parts.width, parts.height, parts.style) == (300, 225, "")


def test_a_source_of_another_ratio_neither_stretches_nor_shifts():
    parts = parts_of(Img(width=300, ratio="square"))
    assert parts.style == "object-fit: cover; aspect-ratio: 300 / 300"
    assert parts_of(Img(width=300, ratio="square"), info=None).style == parts.style


def test_what_css_cuts_keeps_its_place_while_the_source_stands_in():
    img = Img(width=300, ratio="square", crop=False, contain=False)
    focus = Focus(0.9, 0.2)
    pending = parts_of(img, focus=focus)
    assert (pending.stand_in, pending.style) == ("source", "object-position: 100% 50%")
    assert parts_of(img, THUMB, focus=focus).style == pending.style
    assert parts_of(img, focus=focus, strict_csp=True)[5:7] == ("", "source")
    assert parts_of(img).style == ""
    assert parts_of(img.extend(contain=True), focus=focus).style == ""


def test_a_strict_csp_gets_no_style_but_a_placeholder():
    parts = parts_of(Img(width=300, ratio="square"), strict_csp=True)
    assert (parts.stand_in, parts.style) == ("placeholder", "")
    assert parts.src.startswith("data:image/svg+xml,")
    assert parts_of(Img(width=300), strict_csp=True).stand_in == "source"


@pytest.mark.parametrize(
    ("name", "info"),
    [("scan.tif", None), ("scan.jpg", SourceInfo(40, 30, "tiff"))],
    ids=["unknown", "known"],
)
def test_a_source_that_browsers_cannot_show_never_leaks_into_src(name, info):
    parts = parts_of(Img(width=20), info=info, source=Source("default", name))
    assert parts.stand_in == "placeholder"


@pytest.mark.parametrize("info", [None, PHOTO], ids=["unseen", "seen"])
def test_a_source_that_was_refused_is_not_shown(info):
    img = Img(width=20)
    key = img.plan.keys(SOURCE.address)[0]
    record = SourceRecord(SOURCE.id, 1, info, None, "", {key: Variant(key, VariantStatus.SOURCE_ERROR)})
    parts = image_parts(img.plan, img.plan.keys(SOURCE.address), SOURCE, record, url_of)
    assert parts.stand_in == "placeholder"
    assert (parts.width, parts.height) == ((20, 15) if info else (0, 0))


def test_pending_placeholder_never_shows_the_source():
    parts = parts_of(Img(width=300), pending="placeholder")
    assert "shoe" not in parts.src
    assert "300" in parts.src
    assert "225" in parts.src


def test_a_storage_without_urls_gets_a_placeholder():
    img = Img(width=300)
    keys = img.plan.keys(SOURCE.address)
    assert image_parts(img.plan, keys, SOURCE, None, lambda a, n: None).stand_in == "placeholder"


def test_a_transparent_source_has_no_candidates_without_alpha():
    img = Img(width=300, format="jpeg")
    files = {0: ("s.png", "png", 300, 225), 1: ("a.jpg", "jpeg", 300, 225), 2: ("b.jpg", "jpeg", 600, 450)}
    assert parts_of(img, files, SourceInfo(4000, 3000, "png", has_alpha=True)).srcset == ""
    assert parts_of(Img(width=300, format="jpeg", background="white"), files, PHOTO).srcset != ""


def test_an_svg_is_shown_as_it_is():
    parts = parts_of(Img(width=100), info=SourceInfo(400, 200, "svg"), source=Source("default", "logo.svg"))
    assert (parts.src, parts.srcset, parts.width, parts.height) == ("/default/logo.svg", "", 100, 50)


@pytest.mark.parametrize("url", ["/a.jpg", "a/b.jpg", "https://x/y?a=1&b=2,3", "http://x/", "./a.jpg", "/a:b.jpg"])
def test_urls_that_may_be_written(url):
    assert is_safe_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil/x",
        "/a b.jpg",
        "/a\n.jpg",
        '/a"b',
        "/a,",
        ",a",
        "/ä.jpg",
        "JAVASCRIPT:x",
        "/a<b",
    ],
)
def test_urls_that_are_not_written(url):
    assert not is_safe_url(url)


def test_a_placeholder_is_a_small_svg_of_the_right_ratio():
    from easyimg.geometry import Size

    url = placeholder(Size(300, 200))
    assert url.startswith("data:image/svg+xml,")
    assert "0%200%20300%20200" in url
    assert len(url) < 250
    assert not set(url) & set("\"'<> ")


def parse(html):
    """Return the one element of a fragment as (tag, attributes)."""
    fragment = html5lib.parseFragment(html, treebuilder="etree", namespaceHTMLElements=False)
    assert len(fragment) == 1
    assert not fragment.text
    assert not fragment[0].tail
    return fragment[0].tag, dict(fragment[0].attrib)


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r" + TOKEN_OPEN + TOKEN_CLOSE))
names = st.from_regex(r"data-[a-z][a-z0-9-]{0,8}", fullmatch=True)


@given(text, st.dictionaries(names, text | st.integers() | st.just(True)))
def test_any_text_parses_back_to_exactly_the_given_attributes(alt, attributes):
    img = Img(img_attrs=attributes)
    tail, style = write_tail(None, None, None, img.options.img_attrs)
    html = write_img(Parts("/a.jpg", (), "", 3, 2, "", ""), alt, tail, style)
    expected = {name: "" if value is True else str(value) for name, value in attributes.items()}
    assert parse(html) == ("img", {"src": "/a.jpg", "width": "3", "height": "2", "alt": alt, **expected})


@given(st.text())
def test_any_attribute_name_is_refused_or_comes_out_as_itself(name):
    try:
        img = Img(img_attrs={name: "x"})
    except SpecError:
        return
    tail, style = write_tail(None, None, None, img.options.img_attrs)
    attributes = parse(write_img(Parts("/a.jpg", (), "", 0, 0, "", ""), None, tail, style))[1]
    assert attributes == {"src": "/a.jpg", name.replace("_", "-").lower(): "x"}


def test_our_private_characters_never_come_out_of_a_text():
    html = write_img(Parts("/a.jpg", (), "", 0, 0, "", ""), f"a{TOKEN_OPEN}1{TOKEN_CLOSE}b", "")
    assert html == '<img src="/a.jpg" alt="a1b">'


@given(st.text(st.characters(categories=["Cs", "Ll"], include_characters="\U0001f600\ud83d\ude00é<")))
def test_half_characters_do_not_keep_a_page_from_being_sent(text):
    tail, style = write_tail(None, None, None, Img(img_title=text).options.img_attrs)
    html = write_img(Parts("/a.jpg", (), "", 0, 0, "", ""), text, tail, style)
    shown = re.sub("[\ud800-\udfff]", "\ufffd", text)
    assert parse(html.encode().decode())[1] == {"src": "/a.jpg", "alt": shown, "title": shown}


def test_text_marked_safe_is_escaped_all_the_same():
    from markupsafe import Markup

    html = write_img(Parts("/a.jpg", (), "", 0, 0, "", ""), Markup('"><script>'), "")
    assert html == '<img src="/a.jpg" alt="&quot;&gt;&lt;script&gt;">'


def test_the_authors_style_is_kept_behind_ours():
    options = Img(img_style="border: 0", loading=None, decoding=None).options
    tail, style = write_tail(None, None, None, options.img_attrs)
    html = write_img(Parts("/a.jpg", (), "", 0, 0, "object-fit: cover", ""), None, tail, style)
    assert html == '<img src="/a.jpg" style="object-fit: cover; border: 0">'


SEEN = Preview("#102030", "0 0 1 1 AAAA")
BLUR = "background: #102030 url(data:image/webp;base64,AAAA) 50% 50% / cover content-box"


@pytest.mark.parametrize("files", [(), THUMB])
def test_a_placeholder_is_behind_the_source_and_behind_the_files(files):
    for kind, style in (("blur", BLUR), ("color", "background: #102030 content-box"), (None, "")):
        parts = parts_of(Img(width=300, placeholder=kind), files, preview=SEEN)
        assert (parts.background, parts.style) == (style, "")


def test_it_is_written_between_our_style_and_the_authors():
    parts = parts_of(Img(width=300, ratio="square", placeholder="color"), preview=SEEN)
    html = write_img(parts, "", "", "border: 0")
    assert (' style="object-fit: cover; aspect-ratio: 300 / 300; background: #102030 content-box; border: 0">') in html
    assert write_img(parts_of(Img(width=300, placeholder="color"), preview=SEEN), "", "").endswith(
        ' style="background: #102030 content-box">'
    )


def test_a_slot_that_cuts_shows_the_same_part_of_the_blurred_picture():
    cut = parts_of(Img(width=300, ratio="square", crop="r", placeholder="blur"), preview=SEEN)
    assert cut.background.endswith("AAAA) 100% 50% / 133.3% 100% content-box")
    window = parts_of(Img(width=300, window=(0, 0.5, 0.5, 1), placeholder="blur"), THUMB, preview=SEEN)
    assert window.background.endswith("AAAA) 0% 100% / 200% 200% content-box")
    smart = parts_of(Img(width=300, ratio="square", crop="smart", placeholder="blur"), preview=SEEN)
    assert smart.background == "background: #102030 content-box"


@pytest.mark.parametrize(
    "info",
    [SourceInfo(900, 600, "png", has_alpha=True), SourceInfo(900, 600, "gif", frames=2), None],
)
def test_nothing_shows_through_transparent_moving_or_unknown_sources(info):
    img = Img(width=300, placeholder="blur")
    assert [parts_of(img, files, info, preview=SEEN).background for files in ((), THUMB)] == ["", ""]


def test_no_placeholder_without_a_preview_under_a_strict_csp_or_behind_an_svg():
    img = Img(width=300, placeholder="blur")
    assert parts_of(img, THUMB).background == ""
    assert parts_of(img, THUMB, preview=SEEN, strict_csp=True).background == ""
    assert parts_of(img, preview=SEEN, pending="placeholder").background == ""
    svg = Source("default", "logo.svg")
    assert parts_of(img, info=SourceInfo(4, 3, "svg"), source=svg, preview=SEEN).background == ""


def test_pictures_that_share_one_background_share_the_colour_and_none_of_another_source():
    art = {600: {"ratio": "square"}}
    assert parts_of(Img(width=300, placeholder="blur", art=art), preview=SEEN).background == (
        "background: #102030 content-box"
    )
    other = {600: {"source": "photos/other.png"}}
    assert parts_of(Img(width=300, placeholder="color", art=other), preview=SEEN).background == ""
