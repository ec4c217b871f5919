import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest

from easyimg import Img, Source
from easyimg.errors import SpecError
from easyimg.geometry import Focus, Window
from easyimg.options import OPTION_NAMES, parse_options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widht": 300}, "unknown option 'widht'; did you mean 'width'?"),
        ({"width": 0}, "width: 0 is not in 1..16383"),
        ({"width": -1}, "width: -1 is not in 1..16383"),
        ({"width": 20000}, "width: 20000 is not in 1..16383"),
        ({"width": True}, "width: True is not in 1..16383"),
        ({"width": 3.5}, "width: 3.5 is not in 1..16383"),
        ({"width": "320"}, "width: '320' is no width name"),
        ({"width": "mdd"}, "width: 'mdd' is no width name; did you mean 'md'?"),
        ({"width": 9000}, "at density 2 is 18000 pixels; no file may be wider than 16383"),
        ({"width": 400, "ratio": "1/100", "upscale": True}, "400 x 40,000 pixels; no side may be longer than 16,383"),
        ({"quality": 0}, "quality: 0 is not in 1..100"),
        ({"quality": 101}, "quality: 101 is not in 1..100"),
        ({"quality": "80"}, "quality: '80' is not in 1..100"),
        ({"quality": None}, "quality: None is not in 1..100"),
        ({"quality": {"bmp": 3}}, "quality: 'bmp' is not one of jpeg, png, webp, avif"),
        ({"quality": {"jpg": 300}}, "quality['jpg']: 300 is not in 1..100"),
        ({"format": "bmp"}, "format: 'bmp' is not one of jpeg, png, webp, avif"),
        ({"format": "svg"}, "format: 'svg' is not one of"),
        ({"format": "../x"}, "format: '../x' is not one of"),
        ({"format": "tiff"}, "format: 'tiff' is not one of"),
        ({"ratio": "1e999999999"}, "ratio: '1e999999999' is not a ratio"),
        ({"ratio": "9" * 5000}, "is not a ratio"),
        ({"layout": "constrained", "width": 800, "sizes": {600: 300}}, "a layout fills sizes in"),
        ({"layout": "full-width", "widths": [9], "sizes": "9px"}, "a layout fills sizes in"),
        (
            {"width": 800, "widths": [400, 800], "sizes": {600: {"width": 300, "quality": 50}}},
            "quality and effort inside sizes have no effect beside widths",
        ),
        ({"ratio": "0/1"}, "ratio: '0/1' is not between 1/100 and 100"),
        ({"ratio": "1/0"}, "ratio: '1/0' is not a ratio; write 16/9"),
        ({"ratio": "16x9"}, "ratio: '16x9' is not a ratio; write 16/9"),
        ({"ratio": "1:1:1"}, "ratio: '1:1:1' is not a ratio"),
        ({"ratio": "inf:1"}, "ratio: 'inf:1' is not a ratio"),
        ({"ratio": math.nan}, "ratio: nan is not a ratio; write 16/9"),
        ({"ratio": 0}, "ratio: 0 is not between"),
        ({"ratio": True}, "ratio: True is not a ratio"),
        ({"crop": "tc", "ratio": 1}, "crop: 'tc' is no crop; did you mean"),
        ({"crop": (2, 3), "ratio": 1}, "crop: (2, 3) is not within 0..1; fractions, not pixels or percent"),
        ({"crop": (math.nan, 0), "ratio": 1}, "crop: (nan, 0) is not 2 fractions"),
        ({"crop": None}, "crop: None is not 2 fractions"),
        ({"crop": "tl", "width": 300}, "crop='tl' needs a ratio: without one nothing is cut"),
        ({"contain": False, "ratio": 1}, "contain=False needs crop=False"),
        ({"contain": 1}, "contain: 1 is not True or False"),
        ({"window": (0, 0, 50, 50)}, "window: (0, 0, 50, 50) is not within 0..1; fractions"),
        ({"window": (0.5, 0, 0.5, 1)}, "window: (0.5, 0, 0.5, 1) is empty"),
        ({"window": (0, 1)}, "window: (0, 1) is not 4 fractions"),
        ({"upscale": "yes"}, "upscale: 'yes' is not True or False"),
        ({"effort": "max"}, "effort: 'max' is not one of 'fast', 'balanced', 'small'"),
        ({"densities": "2", "width": 1}, "densities: '2' is not a list of numbers"),
        ({"densities": [0.5], "width": 1}, "densities: 0.5 is not in 1..10"),
        ({"densities": [True], "width": 1}, "densities: True is not a number"),
        ({"densities": [2]}, "densities needs width"),
        ({"sizes": {800: 100}}, "sizes needs width"),
        ({"sizes": 7, "width": 100}, "sizes: 7 is neither a dict of max-width or media condition to width, nor a text"),
        ({"sizes": {"100vw; onload=": 10}, "width": 100}, "is not a max-width in pixels or a media condition"),
        ({"sizes": "100vw", "width": 100}, "sizes as text needs widths: a list of file widths"),
        *(
            ({"sizes": text, "widths": [100]}, message)
            for text, message in [
                ("100vw; onload=", "is not a sizes text such as '(max-width: 600px) 100vw, 50vw'"),
                ('100vw" onload=', "is not a sizes text"),
                ("50%", "is not a sizes text"),
                ("", "is not a sizes text"),
                ("(max-width: 600px 100vw", "is not a sizes text"),
                ("print 100vw, 50vw", "is not a sizes text"),
                ("(max-width: 600px) 100vw", "must end with a length that has no condition"),
                ("100vw, 50vw", "only the last length has no condition"),
                *(
                    (length, "is not a sizes text")
                    for length in [
                        *("..px", "1.2.3px", "5.px", "-3px", "5", "10 px", "10pixels", "10cqw", "１0px"),
                        *("calc(,)", "calc()", "min(a)", "calc(100% - 3px)", "calc(5)", "(5px)", "calc(1px"),
                        *("calc(1px+2px)", "calc(1px - 2)", "calc(1px * 2px)", "calc(2 / 1px)", "calc(1px 2px)"),
                        *("clamp(1px, 2px)", "calc(1px, 2px)", "min(1px,, 2px)", "calc (1px)", "abs(1px)"),
                        "calc(" * 9_999 + "1px" + ")" * 9_999,
                    ]
                ),
                ("(a) or (b) and (c) 9px, 5vw", "is not a sizes text"),
            ]
        ),
        *(
            ({"widths": widths, "sizes": "100vw"}, message)
            for widths, message in [
                ([], "widths: [] is not a list of file widths"),
                ("320", "widths: '320' is not a list of file widths"),
                ([0], "widths: 0 is not in 1..16383"),
                ([-1], "widths: -1 is not in"),
                ([3.5], "widths: 3.5 is not in"),
                ([True], "widths: True is not in"),
                (["320"], "widths: '320' is no width name"),
                ([math.nan], "widths: nan is not in"),
                ([20000], "widths: 20000 is not in"),
                ([320, 320], "widths: [320, 320] names a width twice"),
                (list(range(1, 22)), "widths: 21 widths; at most 20 are allowed"),
            ]
        ),
        ({"widths": [320]}, "widths needs sizes, or a layout that fills them in"),
        ({"widths": [320], "sizes": "100vw", "densities": [2], "width": 9}, "densities and a fluid slot contradict"),
        ({"layout": "wide"}, "layout: 'wide' is not one of 'fixed', 'constrained', 'full-width', None"),
        ({"layout": "fixed"}, "layout='fixed' needs width"),
        ({"layout": "constrained"}, "layout='constrained' needs width"),
        ({"layout": "fixed", "width": 9, "sizes": {3: 3}}, "layout='fixed' and sizes contradict each other"),
        ({"formats": "webp"}, "formats: 'webp' is not a list such as ['avif', 'webp']"),
        ({"formats": []}, "formats: [] is not a list"),
        ({"formats": ["webp", "webp"]}, "formats: ['webp', 'webp'] names a format twice"),
        ({"formats": ["bmp"]}, "formats: 'bmp' is not one of jpeg, png, webp, avif"),
        ({"formats": ["webp"], "format": "avif"}, "format and formats contradict each other"),
        ({"sizes": {"print": 10}, "width": 100}, "sizes: 'print' is not one media condition"),
        *(
            (
                {option: {key: 9 if option == "sizes" else {} for key in keys}, "width": 100},
                f"{option}: {twice} is given",
            )
            for option in ("sizes", "art")
            for keys, twice in [
                (("sm", 384), "(max-width: 384px)"),
                ((384, "(MAX-WIDTH:384.0px)"), "(MAX-WIDTH:384.0px)"),
                (("(width <= 30em)", "(max-width: 30em)"), "(max-width: 30em)"),
                (("(30em < width)", "(width>30em)"), "(width>30em)"),
                (("(orientation: portrait)", "(Orientation: Portrait)"), "(Orientation: Portrait)"),
            ]
        ),
        ({"sizes": {"768": 10}, "width": 100}, "sizes: '768' is not one media condition"),
        ({"sizes": {"(min-width: 1px), (x)": 10}, "width": 100}, "is not one media condition"),
        ({"sizes": {800: "huge"}, "width": 100}, "sizes[800]: 'huge' is no width name"),
        ({"sizes": {800: {"ratio": 1}}, "width": 100}, "option 'ratio' is not allowed here"),
        ({"sizes": {800: {"quality": 50}}, "width": 100}, "sizes[800]: a width is missing"),
        *(
            ({"width": 300, "art": art}, message)
            for art, message in [
                (600, "art: 600 is not a dict of max-width, media condition or type to options"),
                ({600: 300}, "art[600]: 300 is not a dict of options"),
                ({0: {}}, "art: 0 is not in 1..100000"),
                ({True: {}}, "art: True is not a max-width in pixels or a media query"),
                ({3.5: {}}, "art: 3.5 is not a max-width in pixels or a media query"),
                ({'print" onload="': {}}, "is not a max-width in pixels or a media query"),
                ({"(max-width: 9px": {}}, "is not a max-width in pixels or a media query"),
                ({"": {}}, "art: '' is not a max-width in pixels or a media query"),
                ({"prnt": {}}, "art: 'prnt' is no media type; did you mean 'print'?"),
                ({"mdd": {}}, "art: 'mdd' is no media type; did you mean 'md'?"),
                ({"speech": {}}, "art: 'speech' is no media type"),
                ({"print,": {}}, "art: 'print,' is not a media query such as '(min-width: 800px)', 'print' or"),
                ({"screen and print": {}}, "art: 'screen and print' is not a media query"),
                ({"screen (color)": {}}, "art: 'screen (color)' is not a media query"),
                ({"not": {}}, "art: 'not' is not a media query"),
                ({"(color) or (hover) and (grid)": {}}, "is not a media query"),
                ({600: {}, "(max-width:  600px)": {}}, "art: (max-width: 600px) is given twice"),
                ({600: {"ratio": 0}}, "art[600]: ratio: 0 is not between 1/100 and 100"),
                ({"print": {"widht": 1}}, "art['print']: unknown option 'widht'; did you mean 'width'?"),
                ({"print": {3: 1}}, "art['print']: option 3 is not a name"),
                ({600: {"layout": "constrained"}}, "art[600]: layout='constrained' needs width"),
                ({600: {"source": 7}}, "art[600]: source: 7 is not a source; give a name"),
                ({600: {"width": 9000}}, "art[600]: width 9000 at density 2 is 18000 pixels"),
                ({600: {"placeholder": "blur"}}, "art[600]: option 'placeholder' is not allowed here"),
                *(
                    ({600: {name: None}}, f"art[600]: option {name!r} is not allowed here: all entries share")
                    for name in [
                        "alt",
                        "loading",
                        "decoding",
                        "fetchpriority",
                        "priority",
                        "img_attrs",
                        "img_id",
                        "art",
                    ]
                ),
            ]
        ),
        ({"width": 300, "sizes": {"(color) or (hover) and (grid)": 9}}, "is not one media condition"),
        ({"background": "nocolour"}, "background: 'nocolour' is not a CSS colour"),
        ({"background": "#ff000080"}, "background: '#ff000080' is itself transparent"),
        ({"background": 7}, "background: 7 is not a CSS colour"),
        ({"animated": 1}, "animated: 1 is not True or False"),
        ({"animated": True, "format": "avif"}, "avif cannot. Write formats=['avif', 'webp']"),
        ({"animated": True, "format": "jpeg"}, "animated=True needs a format that holds animations; jpeg cannot"),
        (
            {"animated": True, "formats": ["avif", "jpeg"]},
            "avif and jpeg cannot. Write formats=['avif', 'jpeg', 'webp']",
        ),
        ({"alt": 5}, "alt: 5 is not a string"),
        ({"loading": "later"}, "loading: 'later' is not one of 'lazy', 'eager', None"),
        ({"decoding": 1}, "decoding: 1 is not one of"),
        ({"fetchpriority": "max"}, "fetchpriority: 'max' is not one of"),
        ({"priority": True, "loading": "lazy"}, "priority=True means loading='eager', not 'lazy'"),
        ({"img_attrs": "class=x"}, "img_attrs: 'class=x' is not a dict"),
        ({"img_onclick": "x()"}, "img_attrs: 'onclick': event handlers are refused"),
        ({"img_src": "x"}, "img_attrs: 'src' is written by easyimg; use the source argument"),
        ({"img_attrs": {"a b": 1}}, "img_attrs: 'a b' is not an attribute name"),
        ({"img_attrs": {'a"b': 1}}, "is not an attribute name"),
        ({"img_attrs": {"": 1}}, "img_attrs: '' is not an attribute name"),
        ({"img_attrs": {3: 1}}, "img_attrs: attribute name 3 is not a string"),
        ({"img_data_x": b"x"}, "img_attrs: data-x: b'x' is not a string, a number, a date, True, False or None"),
        ({"placeholder": "blurred"}, "placeholder: 'blurred' is not one of"),
        ({"placeholder": True}, "placeholder: True is not one of"),
    ],
)
def test_a_bad_option_is_refused_when_the_img_is_made(options, message):
    with pytest.raises(SpecError) as caught:
        Img(**options)
    assert message in str(caught.value)


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(SpecError) as caught:
        Img(width="x" * 1000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("4/3", Fraction(4, 3)),
        ("4:3", Fraction(4, 3)),
        ((4, 3), Fraction(4, 3)),
        ([4, 3], Fraction(4, 3)),
        (1.5, Fraction(3, 2)),
        ("1.91/1", Fraction(191, 100)),
        ("square", Fraction(1)),
        ("video", Fraction(16, 9)),
        ("video_vertical", Fraction(9, 16)),
        (None, None),
    ],
)
def test_ratio_spellings(value, expected):
    assert parse_options({"ratio": value}).ratio == expected


def test_golden_ratio_is_close_to_phi():
    assert float(parse_options({"ratio": "golden"}).ratio) == pytest.approx((1 + math.sqrt(5)) / 2, abs=1e-6)
    assert float(parse_options({"ratio": "golden_vertical"}).ratio) == pytest.approx(2 / (1 + math.sqrt(5)), abs=1e-6)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, "focus"),
        (False, None),
        ("smart", "smart"),
        ("tl", Focus(0, 0)),
        ("b", Focus(0.5, 1)),
        ((0.3, 0.4), Focus(0.3, 0.4)),
        ("0.3,0.4", Focus(0.3, 0.4)),
    ],
)
def test_crop_spellings(value, expected):
    assert parse_options({"crop": value, "ratio": 1}).crop == expected


def test_window_and_background_spellings():
    options = parse_options({"window": "0,0,0.5,1", "background": "rebeccapurple", "quality": {"jpg": 70, "avif": 50}})
    assert options.window == Window(0, 0, 0.5, 1)
    assert options.background == "#663399"
    assert options.quality == (("avif", 50), ("jpeg", 70))


def test_priority_means_eager_sync_high():
    options = parse_options({"priority": True})
    assert (options.loading, options.decoding, options.fetchpriority) == ("eager", "sync", "high")


def test_sizes_are_sorted_so_that_the_first_match_is_the_narrowest():
    sizes = parse_options(
        {
            "width": 500,
            "sizes": {900: 300, "(min-width: 1200px)": 700, 400: "xs", "(min-width: 1600px)": "screen-lg", "lg": 350},
        }
    ).sizes
    assert [(e.condition, e.width) for e in sizes] == [
        ("(max-width: 400px)", 320),
        ("(max-width: 512px)", 350),
        ("(max-width: 900px)", 300),
        ("(min-width: 1600px)", 1024),
        ("(min-width: 1200px)", 700),
    ]


@pytest.mark.parametrize("option", ["sizes", "art"])
@pytest.mark.parametrize(
    "conditions",
    [
        ["(max-width: 30em)", "(max-width: 800px)", "(max-width: 60em)"],
        ["(width <= 400px)", "(width <= 900px)"],
        ["(480px >= width)", "(MAX-WIDTH:50rem)", "( max-width : 900px )"],
        ["(width < 400px)", "(max-width: 400px)", "(500px > width)"],
        ["(max-width: 400px)", "(min-width: 100em)", "(width >= 1500px)", "(90em <= width)"],
        ["(width > 900px)", "(min-width: 900px)", "(800px < width)"],
        ["(900px <= width < 1000px)", "(max-width: 800px)", "(min-width: 50em)"],
        ["(orientation: portrait)", "(hover) and (max-width: 90em)", "(max-width: 9px)"],
    ],
)
def test_plain_bounds_are_sorted_however_they_are_written(option, conditions):
    others = [each for each in conditions if " and " in each or each.count("<") == 2 or "orientation" in each]
    rest = [each for each in reversed(conditions) if each not in others]
    given: dict[str, Any] = {condition: 9 if option == "sizes" else {} for condition in rest + others}
    parsed = parse_options({"width": 100, option: given})
    found = [entry.condition for entry in parsed.sizes] if option == "sizes" else [e.media for e in parsed.art]
    assert [" ".join(each.split()) for each in found] == conditions


@pytest.mark.parametrize(
    "text",
    [
        "100vw",
        "(max-width: 600px) 100vw, 50vw",
        "(min-width: 40em) calc(50vw - 2rem), 100vw",
        "not (min-width: 40em) min(100vw, 300px), 20rem",
        "(min-width: 1px) and (max-width: 9px) 10px, 0",
        "(400px <= width < 60em) 10px, 50VW",
        "min(100vw, calc(50vw + 2rem))",
        "(orientation: portrait) clamp(200px, calc(50vw - 2rem), 600px), max(50vw, calc(10px + (2vw)))",
        "calc((100vw - 2 * 1.5rem) / 3)",
        "calc(.5 * 100vw - -1e1px)",
        "50vi",
        "min(100vw)",
    ],
)
def test_a_sizes_text_is_taken_as_it_is(text):
    assert parse_options({"widths": [320, "md"], "sizes": text}).sizes == text


def art_of(**options):
    """Return the media of each entry -> its options."""
    return {entry.media: entry.options for entry in parse_options(options).art}


@pytest.mark.parametrize(
    "query",
    [
        "print",
        "not print",
        "only screen and (orientation: portrait)",
        "screen and not (hover: hover)",
        "print, (max-width: 600px)",
        "(400px <= width < 800px)",
        "(min-width: 1px) and (not (max-width: 9px))",
        "(orientation: portrait) or (aspect-ratio < 1/1)",
    ],
)
def test_a_media_query_is_taken_as_it_is(query):
    assert list(art_of(art={query: {}})) == [query]


def test_art_is_sorted_so_that_the_first_match_is_the_narrowest():
    art: dict[int | str, dict[str, int]] = {
        900: {},
        "(min-width: 1200px)": {},
        "print": {},
        "xs": {},
        "(min-width: 1600px)": {},
        "not (color)": {},
    }
    assert list(art_of(art=art)) == [
        "print",
        "not (color)",
        "(max-width: 320px)",
        "(max-width: 900px)",
        "(min-width: 1600px)",
        "(min-width: 1200px)",
    ]


def test_an_entry_of_art_lays_its_options_over_those_of_the_img():
    entries = art_of(
        width=800,
        densities=[3],
        ratio=3,
        crop="tl",
        quality=60,
        formats=["avif"],
        alt="x",
        art={600: {"ratio": 1, "quality": 90}, "print": {}},
    )
    square, plain = entries["(max-width: 600px)"], entries["print"]
    assert (square.width, square.densities, square.crop, square.formats) == (800, (1, 3), Focus(0, 0), ("avif",))
    assert (square.ratio, square.quality, square.alt) == (1, 90, None)
    assert (plain.ratio, plain.quality) == (3, 60)


@pytest.mark.parametrize(
    ("own", "entry", "expected"),
    [
        ({"width": 800, "sizes": {600: 400}}, {"width": 300}, {"width": 300}),
        ({"width": 800, "layout": "constrained"}, {"width": 300}, {"width": 300}),
        ({"width": 800, "densities": [3]}, {"width": 300}, {"width": 300, "densities": [3]}),
        ({"width": 800, "densities": [3]}, {"layout": "full-width"}, {"layout": "full-width"}),
        (
            {"width": 800, "densities": [3]},
            {"width": 9, "layout": "fixed"},
            {"width": 9, "layout": "fixed", "densities": [3]},
        ),
        ({"widths": [9], "sizes": "5vw"}, {"width": 3, "sizes": {9: 1}}, {"width": 3, "sizes": {9: 1}}),
        ({"format": "avif"}, {"formats": ["webp"]}, {"formats": ["webp"]}),
        ({"formats": ["avif"]}, {"format": "png"}, {"format": "png"}),
        ({"ratio": 2, "crop": "tl"}, {"ratio": None}, {}),
        ({"ratio": 2, "crop": False, "contain": False}, {"crop": "b"}, {"ratio": 2, "crop": "b"}),
        ({"ratio": 2, "crop": False, "contain": False}, {"ratio": 1}, {"ratio": 1, "crop": False, "contain": False}),
        ({"window": (0, 0, 0.5, 1), "ratio": 2, "crop": "t"}, {"source": "b.jpg"}, {"ratio": 2}),
        ({"ratio": 2, "crop": "smart"}, {"source": "b.jpg"}, {"ratio": 2, "crop": "smart"}),
        ({"window": (0, 0, 0.5, 1)}, {"source": None}, {"window": (0, 0, 0.5, 1)}),
    ],
)
def test_slot_cut_and_formats_of_an_entry_are_never_a_mixture_of_both(own, entry, expected):
    assert art_of(**own, art={600: entry}) == {"(max-width: 600px)": parse_options(expected)}


def test_the_source_of_an_entry_is_all_that_img_takes_and_keeps_the_img_hashable():
    @dataclass
    class Photo:  # which has no hash
        name: str

        def __easyimg_source__(self):
            return Source("media", self.name)

    img = Img(art={600: {"source": Photo("b.jpg")}, 900: {"source": "c.jpg"}, "print": {"source": ""}})
    assert [entry.source for entry in img.options.art] == [None, Source("media", "b.jpg"), Source("default", "c.jpg")]
    same = Img(art={"print": {}, 900: {"source": "c.jpg"}, "(max-width: 600px)": {"source": Source("media", "b.jpg")}})
    assert hash(img) == hash(same)
    assert img == same != Img(art={600: {}})


def test_an_entry_changes_with_the_img_that_it_belongs_to():
    img = Img(width=300, art={600: {"ratio": 1}})
    assert img.extend(width=500).options.art[0].options == parse_options({"width": 500, "ratio": 1})
    assert img.extend(art=None) == img.extend(art={}) == Img(width=300)


def test_what_a_preset_says_of_slot_and_formats_can_be_taken_back():
    fluid = Img(widths=[300, 600], sizes="50vw", formats=["avif", "webp"])
    plain = fluid.extend(widths=None, sizes=None, formats=None)
    assert plain == Img()
    assert fluid.extend(widths=None, sizes=None, layout="fixed", width=300, formats=None) == Img(
        layout="fixed", width=300
    )
    assert Img(format="png", width=9).extend(format=None, formats=["avif"]) == Img(width=9, formats=["avif"])


def test_new_img_attrs_replace_all_attributes_and_one_of_img_adds():
    rounded = Img(width=300, img_class="rounded", img_attrs={"id": "a"})
    assert rounded.extend(img_attrs={"class": "square"}) == Img(width=300, img_attrs={"class": "square"})
    assert rounded.extend(img_title="t") == Img(width=300, img_attrs={"id": "a", "class": "rounded", "title": "t"})


def test_attributes_whose_values_are_words_have_them():
    attributes = dict(
        Img(img_aria_hidden=True, img_draggable=False, img_hidden=True, img_inert=False).options.img_attrs
    )
    assert attributes == {"aria-hidden": "true", "draggable": "false", "hidden": None}


@pytest.mark.parametrize("wrong", [300, "card"])
def test_options_without_a_name_are_refused(wrong):
    with pytest.raises(SpecError, match="is not an ImageBatch; options are given by name"):
        Img(wrong)


def test_what_holds_for_every_window_comes_behind_what_holds_for_some():
    art = {"screen": {"width": 900}, "not print": {"width": 800}, 600: {"width": 300}, "print": {"width": 100}}
    media = [entry.media for entry in Img(width=500, art=art).options.art]
    assert media == ["print", "(max-width: 600px)", "screen", "not print"]


def test_densities_are_sorted_and_always_hold_one():
    assert parse_options({"width": 10, "densities": [3, 1.5, 3]}).densities == (1.0, 1.5, 3.0)
    assert parse_options({"width": 10, "densities": []}).densities == (1.0,)
    assert parse_options({"width": 10, "densities": None}) == parse_options({"width": 10, "densities": []})
    assert parse_options({"densities": None}) == parse_options({"densities": []})


def test_imgs_with_equal_options_are_equal_and_hash_alike():
    first, second = Img(width="md", ratio="16/9", quality=70), Img(quality=70, ratio=(16, 9), width=448)
    assert first == second
    assert hash(first) == hash(second)
    assert first != Img(width=447)
    assert len({first, second}) == 1


def test_extend_changes_some_options_and_checks_them():
    thumb = Img(width=300, ratio="square")
    assert thumb.extend(width=100) == Img(width=100, ratio="square")
    with pytest.raises(SpecError):
        thumb.extend(width=0)


def test_every_option_of_this_release_can_be_given():
    assert set(OPTION_NAMES) == {
        *("width", "ratio", "crop", "contain", "window", "upscale", "quality", "effort", "format", "densities"),
        *(
            "formats",
            "widths",
            "layout",
            "art",
            "sizes",
            "placeholder",
            "background",
            "animated",
            "alt",
            "img_attrs",
            "loading",
            "decoding",
            "fetchpriority",
            "priority",
        ),
    }
