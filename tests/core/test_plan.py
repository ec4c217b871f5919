import pytest

from easyimg import Img
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
    assert [spec.quality for spec in img.plan.srcset] == [80, 80, 60, 60]


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
