import pytest

from easyimg import Img, Source
from easyimg.geometry import Size
from easyimg.source import SourceInfo

BIG = SourceInfo(4000, 3000, "jpeg")


def files(img):
    return [(spec.format, spec.width) for spec in img.plan.specs]


def test_a_fixed_slot_means_one_fallback_and_one_file_per_density():
    assert files(Img(width=300)) == [("fallback", 300), ("webp", 300), ("webp", 600)]
    assert files(Img(width=300, densities=[1.5, 3], format="avif")) == [
        ("fallback", 300),
        ("avif", 300),
        ("avif", 450),
        ("avif", 900),
    ]
    assert files(Img(width=300, densities=[])) == [("fallback", 300), ("webp", 300)]


def test_a_slot_as_wide_as_the_source_has_no_larger_file():
    assert files(Img(ratio="square")) == [("fallback", None), ("webp", None)]


def test_sizes_mean_every_width_at_every_density_once():
    img = Img(width=400, sizes={500: 200, "(min-width: 1000px)": {"width": 800, "quality": 60}})
    assert files(img) == [("fallback", 400), ("webp", 200), ("webp", 400), ("webp", 800), ("webp", 1600)]
    assert img.plan.sizes == "(max-width: 500px) 200px, (min-width: 1000px) 800px, 400px"
    assert [spec.quality for spec in img.plan.groups[0].specs] == [80, 80, 60, 60]


def test_a_fluid_slot_has_the_files_it_lists():
    img = Img(widths=[1280, 320, "md"], sizes="50vw")
    assert files(img) == [("fallback", 1280), ("webp", 320), ("webp", 448), ("webp", 1280)]
    assert (img.plan.sizes, img.plan.fluid) == ("50vw", True)
    assert files(Img(width=300, widths=[320, 640], sizes="50vw"))[0] == ("fallback", 300)
    assert files(Img(widths=[2560, 3840], sizes="100vw"))[0] == ("fallback", 2560)


def test_a_constrained_layout_fills_in_widths_and_sizes():
    img = Img(width=800, layout="constrained")
    assert [width for _, width in files(img)] == [800, 320, 480, 640, 800, 828, 1080, 1280, 1600]
    assert img.plan.sizes == "(min-width: 800px) 800px, 100vw"


def test_a_full_width_layout_reaches_from_phones_to_large_screens():
    img = Img(layout="full-width", ratio="video")
    assert [width for _, width in files(img)] == [1668, 320, 480, 640, 828, 1080, 1280, 1668, 2048, 2560, 3840]
    assert img.plan.sizes == "100vw"
    assert Img(layout="full-width", widths=[500, 1000]).plan.sizes == "100vw"


def test_a_fixed_layout_is_the_default():
    assert Img(width=300, layout="fixed").plan == Img(width=300).plan


def test_formats_mean_one_group_each_in_order_of_preference():
    plan = Img(width=300, formats=["avif", "webp"]).plan
    assert plan.picture
    assert [(g.format, g.start, [s.width for s in g.specs]) for g in plan.groups] == [
        ("avif", 1, [300, 600]),
        ("webp", 3, [300, 600]),
    ]
    assert len(plan.specs) == 5
    one = Img(width=300, format="webp").plan
    assert set(one.keys(b"x")) < set(plan.keys(b"x")), "the same file has the same key, alone or beside others"


def test_art_means_a_plan_for_each_entry():
    plan = Img(width=300, formats=["avif", "webp"], art={600: {"ratio": 1}, "print": {"source": "b.jpg"}}).plan
    printed, narrow = plan.art
    assert (printed.media, printed.source) == ("print", Source("default", "b.jpg"))
    assert (narrow.media, narrow.source) == ("(max-width: 600px)", None)
    assert narrow.plan == Img(width=300, ratio=1, formats=["avif", "webp"]).plan
    assert printed.plan == Img(width=300, formats=["avif", "webp"]).plan


def test_what_a_plan_wants_of_a_source_has_the_art_direction_of_that_source():
    shoe, other = Source("default", "a.jpg"), Source("default", "b.jpg")
    img = Img(width=300, art={600: {"ratio": 1}, "print": {"source": other, "ratio": 2}})
    own, square, wide = (Img(width=300, ratio=ratio).plan.wanted for ratio in (None, 1, 2))
    assert img.plan.wanted(shoe) == own(shoe) | square(shoe)
    assert img.plan.wanted(other) == own(other) | square(other) | wide(other)
    assert len(img.plan.wanted(other)) == 9


def test_quality_by_format_reaches_the_specs_as_the_encoders_own_number():
    img = Img(width=300, quality={"jpeg": 70, "webp": 60})
    assert [(s.quality, s.exact_quality) for s in img.plan.specs] == [(70, True), (60, True), (60, True)]
    img = Img(width=300, quality={"avif": 50})
    assert [(s.quality, s.exact_quality) for s in img.plan.specs] == [(80, False), (80, False), (80, False)]


@pytest.mark.parametrize(
    ("img", "info", "expected"),
    [
        (Img(width=300, ratio="square"), None, Size(300, 300)),
        (Img(width=300), None, None),
        (Img(), BIG, Size(4000, 3000)),
        (Img(width=300), BIG, Size(300, 225)),
        (Img(width=300, ratio="square"), SourceInfo(200, 100, "jpeg"), Size(100, 100)),
        (Img(width=300, ratio="square", crop=False), None, None),
    ],
)
def test_the_slot_is_known_before_anything_is_built(img, info, expected):
    assert img.plan.slot_size(info) == expected


def test_facts_drop_what_would_repeat_a_smaller_file():
    plan = Img(width=300, densities=[2, 3]).plan
    assert plan.needed(None) == (True, True, True, True)
    assert plan.needed(BIG) == (True, True, True, True)
    assert plan.needed(SourceInfo(500, 400, "jpeg")) == (True, True, True, False)
    assert plan.needed(SourceInfo(200, 100, "jpeg")) == (True, True, False, False)


def test_facts_drop_a_format_that_cannot_hold_the_sources_transparency():
    clear = SourceInfo(4000, 3000, "png", has_alpha=True)
    assert Img(width=300, format="jpeg").plan.needed(clear) == (True, False, False)
    assert Img(width=300, format="jpeg", background="white").plan.needed(clear) == (True, True, True)
    assert Img(width=300, format="webp").plan.needed(clear) == (True, True, True)


MOVING = SourceInfo(400, 300, "gif", frames=9)


def test_animated_reaches_the_fallback_and_the_formats_that_can_hold_it():
    specs = Img(width=300, formats=["avif", "webp"], animated=True).plan.specs
    assert [(spec.format, spec.animated) for spec in specs] == [
        ("fallback", True),
        ("avif", False),
        ("avif", False),
        ("webp", True),
        ("webp", True),
    ]


def test_facts_drop_stills_of_an_animation_that_is_kept():
    plan = Img(width=200, formats=["avif", "webp"], animated=True).plan
    assert plan.needed(None) == (True,) * 5
    assert plan.needed(MOVING) == (True, False, False, True, True)
    assert plan.needed(SourceInfo(400, 300, "gif")) == (True,) * 5
    assert plan.needed(SourceInfo(400, 300, "tiff", frames=9)) == (True,) * 5
    assert Img(width=200, formats=["avif", "webp"]).plan.needed(MOVING) == (True,) * 5
