from __future__ import annotations

import warnings
from types import MappingProxyType, SimpleNamespace

import pytest

from easyimg import Img
from easyimg.errors import SpecError
from easyimg.geometry import Size
from easyimg.moving import (
    MovingWarning,
    presets_from_easy_thumbnails,
    presets_from_imagekit,
    presets_from_sorl,
)
from easyimg.source import SourceInfo

LANDSCAPE, TOWER, TINY = Size(1200, 800), Size(500, 1500), Size(60, 40)


def sizes(options):
    """Return the sizes of src for three originals: what a page would show."""
    plan = Img(**options).plan
    return [tuple(plan.slot_size(SourceInfo(*size, "jpeg"))) for size in (LANDSCAPE, TOWER, TINY)]


def easy(**options):
    return presets_from_easy_thumbnails({"": {"x": options}})["x"]


def sorl(geometry, **options):
    return presets_from_sorl({"x": (geometry, options)})["x"]


def kit(*processors, **more):
    return presets_from_imagekit({"x": {"processors": list(processors), **more}})["x"]


def processor(name, **values):
    made = type(name, (), {})()
    vars(made).update(values)
    return made


# Sizes as each library's own documentation and source have them; only enlarging is left out.
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (easy(size=(300, 200), crop=True), [(300, 200), (300, 200), (60, 40)]),
        (easy(size=(200, 200)), [(200, 133), (67, 200), (60, 40)]),
        (easy(size=(300, 0)), [(300, 200), (300, 900), (60, 40)]),
        (easy(size=(0, 100)), [(150, 100), (33, 100), (60, 40)]),
        (easy(size=(200, 200), crop="scale"), [(300, 200), (200, 600), (60, 40)]),
        (easy(size=(120, 80), upscale=True), [(120, 80), (27, 80), (120, 80)]),
        (easy(size="50x50", crop="smart"), [(50, 50), (50, 50), (40, 40)]),
        (sorl("200x200"), [(200, 133), (67, 200), (60, 40)]),
        (sorl("300"), [(300, 200), (300, 900), (60, 40)]),
        (sorl("x100"), [(150, 100), (33, 100), (60, 40)]),
        (sorl("300x200", crop="center"), [(300, 200), (300, 200), (60, 40)]),
        (sorl("200x200", crop="noop"), [(200, 133), (67, 200), (60, 40)]),
        (sorl("x1000"), [(1200, 800), (333, 1000), (60, 40)]),
        (kit(processor("ResizeToFill", width=100, height=50, anchor=None)), [(100, 50), (100, 50), (60, 30)]),
        (kit(processor("ResizeToFit", width=200, height=200, upscale=True)), [(200, 133), (67, 200), (60, 40)]),
        (kit(processor("ResizeToFit", width=300, height=None)), [(300, 200), (300, 900), (60, 40)]),
        (kit(processor("ResizeToCover", width=200, height=200)), [(300, 200), (200, 600), (60, 40)]),
        (kit(processor("SmartResize", width=50, height=50)), [(50, 50), (50, 50), (40, 40)]),
        (kit(processor("Thumbnail", width=80, height=80, crop=True, anchor="auto")), [(80, 80), (80, 80), (40, 40)]),
    ],
)
def test_a_translated_preset_has_the_sizes_of_its_original(options, expected):
    assert sizes(options) == expected


@pytest.mark.parametrize(
    ("options", "crop"),
    [
        (easy(size=(10, 20), crop="0,0"), (0.0, 0.0)),
        (easy(size=(10, 20), crop="-0,-0"), (1.0, 1.0)),
        (easy(size=(10, 20), crop=",0"), (0.5, 0.0)),
        (easy(size=(10, 20), crop=True, target="10,20"), (0.1, 0.2)),
        (easy(size=(10, 20), crop="smart"), "smart"),
        (easy(size=(10, 20), crop=True), "focus"),
        (sorl("10x20", crop="top"), (0.5, 0.0)),
        (sorl("10x20", crop="right bottom"), (1.0, 1.0)),
        (sorl("10x20", crop="0% 50%"), (0.0, 0.5)),
        (sorl("10x20", crop="center"), "focus"),
        (kit(processor("ResizeToFill", width=10, height=20, anchor="tl")), (0.0, 0.0)),
        (kit(processor("ResizeToFill", width=10, height=20, anchor="c")), "focus"),
        (kit(processor("ResizeToFill", width=10, height=20, anchor=(0.5, 1))), (0.5, 1.0)),
    ],
)
def test_a_translated_crop_keeps_the_same_part_in_view(options, crop):
    found = Img(**options).plan.base.crop
    assert (found if isinstance(found, str) else tuple(found)) == crop


def test_a_zoom_becomes_a_window_around_the_middle():
    window = easy(size=(100, 0), zoom=100)["window"]
    assert window == pytest.approx((0.25, 0.25, 0.75, 0.75))


def test_quality_format_and_background_are_taken_over_and_jpeg_is_what_src_is_anyway():
    assert easy(size=(9, 9), quality=70, replace_alpha="#fff") == {
        "width": 9, "ratio": (9, 9), "crop": False, "quality": 70, "background": "#fff",
    }  # fmt: skip
    assert "format" not in sorl("100", format="JPEG")
    assert sorl("100", format="PNG", quality=99, upscale=True) == {
        "width": 100, "quality": 99, "upscale": True, "format": "png",
    }  # fmt: skip
    opaque = processor("MakeOpaque", background_color=(255, 0, 0))
    fit = processor("ResizeToFit", width=5)
    assert kit(fit, opaque, format="PNG", options={"quality": 60}) == {
        "width": 5, "background": "rgb(255, 0, 0)", "quality": 60, "format": "png",
    }  # fmt: skip


def test_aliases_of_a_target_carry_its_name_and_those_of_the_project_do_not():
    presets = presets_from_easy_thumbnails(
        {"": {"small": {"size": (50, 50)}}, "shop.Product.photo": {"small": {"size": (80, 80), "crop": True}}}
    )
    assert list(presets) == ["small", "shop.Product.photo.small"]
    assert presets["shop.Product.photo.small"]["width"] == 80


def test_specs_may_be_classes_fields_or_mappings():
    class Card:
        processors = (processor("Transpose"), processor("ResizeToFill", width=100, height=50, anchor=None))
        format = "JPEG"
        options = MappingProxyType({"quality": 60})

    expected = {"width": 100, "ratio": (100, 50), "crop": True, "quality": 60}
    field = SimpleNamespace(_original_spec=Card)
    assert presets_from_imagekit({"card": Card, "field": field}) == {"card": expected, "field": expected}


@pytest.mark.parametrize(
    ("translate", "words"),
    [
        (lambda: easy(size=(9, 9), bw=True), ["easy-thumbnails 'x'", "bw=True", "grayscale"]),
        (lambda: easy(size=(9, 9), crop="10,0"), ["offset in crop='10,0'"]),
        (lambda: easy(size=(9, 9), background="#fff"), ["background", "object-fit"]),
        (lambda: easy(size=(9, 9), my_processor=3), ["my_processor=3"]),
        (lambda: sorl("9x9", padding=True), ["sorl-thumbnail 'x'", "padding=True", "object-fit"]),
        (lambda: sorl("9x9", crop="20% 0%"), ["crop='20% 0%'", "0.2"]),
        (lambda: sorl("9x9", crop="10px 0px"), ["pixels"]),
        (lambda: sorl("9x9", colorspace="GRAY"), ["GRAY", "grayscale"]),
        (lambda: kit(processor("ResizeToFit", width=9), processor("Adjust")), ["django-imagekit 'x'", "Adjust"]),
        (lambda: kit(processor("ResizeToFit", width=9), processor("Watermark")), ["the processor Watermark"]),
        (lambda: kit(processor("ResizeToFit", width=9, height=9, mat_color="red")), ["mat_color"]),
        (lambda: kit(processor("ResizeToFill", width=9, height=9, anchor=(0.2, 1))), ["anchor=(0.2, 1)"]),
    ],
)
def test_what_has_no_counterpart_is_left_out_with_a_warning(translate, words):
    with pytest.warns(MovingWarning) as warned:
        options = translate()
    assert sizes(options)
    text = str(warned[0].message)
    assert [word for word in words if word not in text] == []
    assert warned[0].filename == __file__


@pytest.mark.parametrize(
    ("translate", "message"),
    [
        (lambda: easy(crop=True), "easy-thumbnails 'x': size: None is not (width, height)"),
        (lambda: easy(size=(0, 0)), "easy-thumbnails 'x': no width and no height"),
        (lambda: easy(size=(-5, 5)), "easy-thumbnails 'x': -5 is no number of pixels"),
        (lambda: easy(size=(9, 9), quality=200), "easy-thumbnails 'x': quality: 200 is not in 1..100"),
        (lambda: sorl("wide"), "sorl-thumbnail 'x': 'wide' is not a geometry such as '300x200', '300' or 'x200'"),
        (lambda: sorl("9x9", crop="middle"), "sorl-thumbnail 'x': crop: 'middle' is not a position"),
        (lambda: sorl("9", format="GIF"), "sorl-thumbnail 'x': format: 'gif' is not one of jpeg, png, webp, avif"),
        (kit, "django-imagekit 'x': no processor resizes to a width or a height that easyimg could take"),
        (
            lambda: kit(processor("ResizeToFill", width=9, height=9, anchor="z")),
            "django-imagekit 'x': anchor: 'z' is no anchor",
        ),
    ],
)
def test_what_cannot_be_understood_is_refused_by_name(translate, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MovingWarning)
        with pytest.raises(SpecError) as refused:
            translate()
    assert str(refused.value).startswith(message)
