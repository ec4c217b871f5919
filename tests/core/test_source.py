import pytest

from easyimg import Source
from easyimg.errors import SourceTooLarge, SourceUnreadable, SpecError, UnsupportedFormat
from easyimg.formats import encoder_quality, sniff
from easyimg.geometry import Size
from easyimg.source import Limits, SourceInfo, as_source


class Field:
    def __init__(self, name):
        self.name = name

    def __easyimg_source__(self):
        return Source("default", self.name)


def test_what_a_source_may_be():
    assert as_source("a.jpg") == Source("default", "a.jpg")
    assert as_source(Source("s3", "a.jpg")) == Source("s3", "a.jpg")
    assert as_source(Field("b.jpg")) == Source("default", "b.jpg")


@pytest.mark.parametrize("empty", [None, "", False, Source("default", ""), Field("")])
def test_an_empty_source_is_none(empty):
    assert as_source(empty) is None


@pytest.mark.parametrize("wrong", [3, b"a.jpg", object(), ["a.jpg"]])
def test_anything_else_is_refused(wrong):
    with pytest.raises(SpecError, match="is not a source; give a name"):
        as_source(wrong)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"GIF89a", "gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "webp"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "avif"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0avifmif1", "avif"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "heic"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "heic"),
        (b"II*\0", "tiff"),
        (b"%!PS-Adobe", "eps"),
        (b"<?xml version='1.0'?><svg xmlns=", "svg"),
        ("\ufeff<svg ".encode(), "svg"),
        ("<svg ".encode("utf-16"), "svg"),
        (b"P6\n1 1", "ppm"),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_content_decides_the_format(data, expected):
    assert sniff(data) == expected


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (b"", SourceUnreadable, "the file is empty (0 bytes)"),
        (b"%!PS-Adobe", UnsupportedFormat, "found eps; allowed: jpeg, png, gif, webp, avif, tiff"),
        (b"<svg>", UnsupportedFormat, "found svg"),
        (b"hello", UnsupportedFormat, "the content is not a known image format"),
        (b"\xff\xd8\xff" + bytes(100), SourceTooLarge, "103 bytes; at most 50 are allowed"),
    ],
)
def test_content_is_refused_with_a_reason(data, error, message):
    with pytest.raises(error) as caught:
        Limits(max_bytes=50).check_content(data)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (SourceInfo(65536, 65536, "png"), "65536 x 65536 pixels; no side may be longer than 16383"),
        (SourceInfo(10000, 6000, "jpeg"), "10000 x 6000 = 60.0 megapixels; at most 50 are allowed"),
        (SourceInfo(6000, 5000, "jpeg", interlaced=True), "at most 25 are allowed in a progressive JPEG"),
    ],
)
def test_a_header_is_refused_with_a_reason(info, message):
    with pytest.raises(SourceTooLarge) as caught:
        Limits().check_info(info)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("info", "file", "message"),
    [
        (
            SourceInfo(480, 360, "gif", frames=300),
            Size(100, 75),
            "480 x 360 x 300 frames = 51.8 megapixels; at most 50 are allowed in an animation",
        ),
        (SourceInfo(1, 1, "gif", frames=60_000_000), Size(1, 1), "1 x 1 x 60,000,000 frames = 60.0 megapixels"),
        (SourceInfo(100, 100, "webp", frames=100), Size(800, 800), "800 x 800 x 100 frames = 64.0 megapixels"),
    ],
    ids=["source", "frames", "enlarged"],
)
def test_an_animation_is_refused_by_all_its_frames(info, file, message):
    Limits().check_info(info)  # its first frame is fine
    with pytest.raises(SourceTooLarge) as caught:
        Limits().check_animation(info, file)
    assert message in str(caught.value)


def test_an_animation_within_the_limit_is_accepted():
    Limits(max_animation_pixels=3_000_000).check_animation(SourceInfo(100, 100, "gif", frames=300), Size(100, 100))


@pytest.mark.parametrize(
    ("format", "frames", "expected"),
    [("gif", 2, True), ("webp", 2, True), ("png", 2, True), ("gif", 1, False), ("tiff", 2, False), ("avif", 2, False)],
)
def test_only_frames_that_follow_each_other_are_an_animation(format, frames, expected):
    assert SourceInfo(10, 10, format, frames=frames).is_animated is expected


def test_an_interlaced_png_has_the_normal_limit():
    Limits().check_info(SourceInfo(6000, 5000, "png", interlaced=True))


def test_one_quality_number_is_mapped_to_equal_visual_quality():
    assert [encoder_quality(f, 80) for f in ("jpeg", "webp", "avif")] == [80, 80, 67]
    for form in ("jpeg", "webp", "avif"):
        numbers = [encoder_quality(form, q) for q in range(1, 101)]
        assert numbers == sorted(numbers)
        assert 1 <= min(numbers) <= max(numbers) <= 100
