import dataclasses
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyimg import Img, Source
from easyimg.errors import SpecError
from easyimg.geometry import Focus, Size, Window
from easyimg.source import SourceInfo
from easyimg.spec import VariantSpec

SHOE = Source("default", "photos/shoe.jpg")

# A changed key is a lost cache: every variant of every site would be built anew. Change these only with RECIPE.
GOLDEN = [
    (
        VariantSpec(),
        "{}",
        "ed90953e01d25ba973deab801f305f1e",
    ),
    (
        VariantSpec(format="webp", width=600),
        '{"format":"webp","width":600}',
        "28f72aacdc993a5d8cbdb850a2424ec7",
    ),
    (
        VariantSpec(width=300, ratio=Fraction(16, 9), crop=Focus(0, 0.5), window=Window(0, 0, 1, 0.5)),
        '{"crop":[0.0,0.5],"ratio":"16/9","width":300,"window":[0.0,0.0,1.0,0.5]}',
        "639819c582c9021dd0eb1d3729799b17",
    ),
    (
        VariantSpec(format="avif", width=10, ratio=Fraction(1), crop=None, contain=False, upscale=True),
        '{"contain":false,"crop":null,"format":"avif","ratio":"1/1","upscale":true,"width":10}',
        "ae9b3ab399c9ea719234e87084240791",
    ),
    (
        VariantSpec(format="png", quality=50, exact_quality=True, effort="small", background="#ffcc00"),
        '{"background":"#ffcc00","effort":"small","exact_quality":true,"format":"png","quality":50}',
        "69dfc9520d49e6ab047780265ce61099",
    ),
    (
        VariantSpec(format="webp", width=600, animated=True),
        '{"animated":true,"format":"webp","width":600}',
        "51d91e684324720a3d77c465924f5da2",
    ),
]


@pytest.mark.parametrize(("spec", "canonical", "key"), GOLDEN)
def test_keys_never_change(spec, canonical, key):
    assert spec.canonical == canonical
    assert spec.key(SHOE.address) == key


def test_the_plan_of_a_default_img_has_golden_keys():
    keys = Img(width="md", ratio="video").plan.keys(SHOE.address)
    assert keys == (
        "d83fc770e97ebdae9d04206060ac2f91",
        "96c9653e94b254a4eb207a5f43654bd2",
        "6f47088bc128c64ae8c2794605a1308d",
    )


def test_a_key_is_the_same_whether_facts_are_known_or_not():
    plan = Img(width=300, ratio="square", crop="smart").plan
    before = plan.keys(SHOE.address)
    plan.needed(SourceInfo(100, 100, "png", has_alpha=True))
    assert plan.keys(SHOE.address) == before


def test_storage_and_name_cannot_run_into_each_other():
    spec = VariantSpec()
    assert spec.key(Source("a", "bc").address) != spec.key(Source("ab", "c").address)


def test_fields_without_effect_do_not_change_the_key():
    assert VariantSpec(width=300, crop=None, contain=False) == VariantSpec(width=300)
    assert VariantSpec(ratio=Fraction(1), contain=False) == VariantSpec(ratio=Fraction(1))


specs = st.builds(
    VariantSpec,
    format=st.sampled_from(["fallback", "jpeg", "webp", "avif", "png"]),
    width=st.none() | st.integers(1, 16383),
    ratio=st.none() | st.fractions(min_value=Fraction(1, 100), max_value=100, max_denominator=10_000),
    crop=st.sampled_from(["focus", "smart", None, Focus(0.25, 1.0)]),
    contain=st.booleans(),
    window=st.none() | st.just(Window(0.0, 0.1, 0.5, 1.0)),
    upscale=st.booleans(),
    quality=st.integers(1, 100),
    exact_quality=st.booleans(),
    effort=st.sampled_from(["fast", "balanced", "small"]),
    background=st.none() | st.just("#ff0000"),
    animated=st.booleans(),
)


@given(specs)
def test_a_stored_spec_reads_back_as_itself(spec):
    assert VariantSpec.from_canonical(spec.canonical) == spec


@given(specs, specs)
def test_different_specs_have_different_keys(first, second):
    assert (first == second) == (first.key(SHOE.address) == second.key(SHOE.address))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[]", "is not an object"),
        ('{"depth":16}', "unknown field 'depth'"),
        ('{"widht":16}', "did you mean 'width'?"),
        ('{"width":-5}', "width -5, not in 1..16383"),
        ('{"width":"5"}', "width '5'"),
        ('{"format":"exe"}', "format 'exe'"),
        ('{"ratio":"1/0"}', "cannot be read"),
        ('{"crop":[1,2,3]}', "cannot be read"),
        ('{"quality":0}', "quality 0"),
        ('{"effort":"max"}', "effort 'max'"),
        ('{"animated":1}', "animated 1, neither true nor false"),
        ('{"upscale":"no"}', "upscale 'no', neither true nor false"),
        ('{"ratio":Infinity}', "cannot be read"),
        ('{"ratio":"-1/2"}', "ratio Fraction(-1, 2), not in 1/16383..16383"),
        ('{"ratio":"0"}', "ratio Fraction(0, 1), not in"),
        ('{"ratio":"1/1000000000"}', "not in 1/16383..16383"),
        ('{"ratio":"1","crop":[0.5,-1]}', "crop (0.5, -1), not two numbers in 0..1"),
        ('{"ratio":"1","crop":[0.5,NaN]}', "crop (0.5, nan), not two numbers in 0..1"),
        ('{"ratio":"1","crop":"left"}', "crop 'left'; known: focus, smart, a point"),
        ('{"window":[0,0,2,1]}', "window (0, 0, 2, 1), not left, top, right, bottom in 0..1"),
        ('{"window":[0,NaN,1,1]}', "window (0, nan, 1, 1)"),
        ('{"window":[0.5,0,0.5,1]}', "window (0.5, 0, 0.5, 1)"),
        ('{"window":["0",0,1,1]}', "window ('0', 0, 1, 1)"),
        ('{"background":"red"}', "background 'red', not #rrggbb"),
        ('{"background":7}', "background 7, not #rrggbb"),
    ],
)
def test_a_spec_nobody_here_wrote_is_refused(text, message):
    with pytest.raises(SpecError) as caught:
        VariantSpec.from_canonical(text)
    assert message in str(caught.value)


def test_the_fallback_is_jpeg_or_png_for_transparent_sources():
    assert VariantSpec().actual_format(has_alpha=False) == "jpeg"
    assert VariantSpec().actual_format(has_alpha=True) == "png"
    assert VariantSpec(background="#ffffff").actual_format(has_alpha=True) == "jpeg"
    assert VariantSpec(format="webp").actual_format(has_alpha=True) == "webp"


def test_the_fallback_of_an_animation_that_is_kept_is_gif():
    assert VariantSpec(animated=True).actual_format(has_alpha=True, is_animated=True) == "gif"
    assert VariantSpec(animated=True).actual_format(has_alpha=False, is_animated=False) == "jpeg"
    assert VariantSpec(animated=True).actual_format(has_alpha=True, is_animated=False) == "png"
    assert VariantSpec().actual_format(has_alpha=False, is_animated=True) == "jpeg"
    assert VariantSpec("webp", animated=True).actual_format(has_alpha=False, is_animated=True) == "webp"


def test_the_sources_focus_moves_an_abstract_crop_but_not_a_fixed_one():
    source = Size(2000, 1000)
    square = VariantSpec(width=100, ratio=Fraction(1))
    assert square.frame(source).region.left == 500
    assert square.frame(source, Focus(1, 0)).region.left == 1000
    assert dataclasses.replace(square, crop=Focus(0, 0)).frame(source, Focus(1, 0)).region.left == 0
