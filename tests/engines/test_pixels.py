"""Both engines' pixels against answers worked out in another way: littlecms or numpy on the unreduced picture."""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms, ImageOps

from easyimg.engines import load_engine
from easyimg.formats import OUTPUT_FORMATS, sniff
from easyimg.geometry import Focus, Size
from easyimg.ports import Engine
from easyimg.spec import EFFORTS, VariantSpec
from easyimg.testing import images
from easyimg.testing.pixels import mean_difference, opened
from tests.benchmarks.scenes import scene
from tests.benchmarks.ssim import ssim

LANCZOS: Final = Image.Resampling.LANCZOS


@pytest.fixture(params=["vips", "pillow"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return load_engine(request.param)


def shown(engine: Engine, data: bytes, *specs: VariantSpec) -> list[Image.Image]:
    """Return what an engine makes of a file."""
    found = sniff(data)
    assert found is not None
    return [opened(variant) for variant in engine.build(data, found, list(specs))]


def in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Return a picture converted by littlecms, transparency kept."""
    opened_ = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    target = ImageCms.createProfile("sRGB")
    mode = "CMYK" if image.mode == "CMYK" else "RGB"
    converted = ImageCms.profileToProfile(image.convert(mode), opened_, target, intent, "RGB", flags=flags)
    assert converted is not None
    if image.mode == "RGBA":
        converted.putalpha(image.getchannel("A"))
    return converted


COLOURS: Final = (
    "colour/prophoto.png",
    "colour/p3_gradient.png",
    "colour/eci_rgb.jpg",
    "colour/icc_big.jpg",
    "colour/icc.avif",
    "colour/srgb.jpg",
    "alpha/transparent_icc.png",
)


@pytest.mark.parametrize("name", COLOURS)
def test_profiles_of_real_files_are_converted(engine: Engine, corpus: Path, name: str) -> None:
    data = (corpus / name).read_bytes()
    source = Image.open(io.BytesIO(data))
    expected = in_srgb(source, source.info["icc_profile"])
    half = VariantSpec("png", max(1, source.width // 2))
    whole, small = shown(engine, data, VariantSpec("png"), half)
    assert mean_difference(whole, expected) < 1
    premultiplied = expected.convert("RGBA").convert("RGBa").resize(small.size, LANCZOS)
    assert mean_difference(small, premultiplied.convert("RGBA")) < 1.5


def test_photoshops_cmyk_is_printed_on_libvips_own_press(corpus: Path) -> None:
    """The file has no profile, and is YCCK inverted: Adobe's transform 2."""
    data = (corpus / "colour/cmyk.jpg").read_bytes()
    source = Image.open(io.BytesIO(data))
    assert (source.mode, source.info["adobe_transform"]) == ("CMYK", 2)
    (ours,) = shown(load_engine("vips"), data, VariantSpec("png"))
    assert mean_difference(ours, in_srgb(source, pyvips.Operation.call("profile_load", "cmyk"))) < 2


def test_photoshops_cmyk_is_what_the_plain_formula_says_on_pillow(corpus: Path) -> None:
    data = (corpus / "colour/cmyk.jpg").read_bytes()
    inks = np.asarray(Image.open(io.BytesIO(data)), np.float32)
    light = (255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255
    (ours,) = shown(load_engine("pillow"), data, VariantSpec("png"))
    assert mean_difference(ours, Image.fromarray(light.round().astype(np.uint8))) < 1


EXIF: Final = (
    *(f"exif/landscape_{n}.jpg" for n in range(1, 9)),
    *(f"exif/portrait_{n}.jpg" for n in (1, 3, 6, 8)),
    *(f"exif/hopper_{n}.webp" for n in (2, 4, 5, 6, 7)),
    *(f"exif/g4_{n}.tif" for n in (1, 3, 6, 8)),
    "exif/rot1.avif",
    "exif/rot3mir1.avif",
)


@pytest.mark.parametrize("name", EXIF)
def test_real_files_are_turned_as_a_viewer_turns_them(engine: Engine, corpus: Path, name: str) -> None:
    data = (corpus / name).read_bytes()
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    (ours,) = shown(engine, data, VariantSpec("png", expected.width // 2))
    expected = expected.resize(ours.size, LANCZOS)
    assert mean_difference(ours, expected) < 2
    assert mean_difference(ours, ImageOps.mirror(expected)) > 2.5
    assert mean_difference(ours, ImageOps.flip(expected)) > 2.5


def test_an_avif_turned_by_xmp_alone_is_not_turned(engine: Engine, corpus: Path) -> None:
    """Neither its irot and imir boxes nor EXIF say a turn, only XMP, which a viewer ignores."""
    data = (corpus / "exif/xmp_orientation.avif").read_bytes()
    source = Image.open(io.BytesIO(data))
    assert source.getexif()[0x0112] == 3
    (ours,) = shown(engine, data, VariantSpec("png"))
    assert mean_difference(ours, in_srgb(source, source.info["icc_profile"])) < 1


TRANSPARENT: Final = ("p_trns.png", "transparent.gif", "tux.webp", "gopher.webp", "transparency.avif")


@pytest.mark.parametrize("name", TRANSPARENT)
def test_real_cut_outs_lie_cleanly_on_any_page(engine: Engine, corpus: Path, name: str) -> None:
    """Laying them on the page first and reducing then gives the same; black edges would differ on white."""
    data = (corpus / "alpha" / name).read_bytes()
    source = Image.open(io.BytesIO(data)).convert("RGBA")
    assert source.getchannel("A").getextrema()[0] == 0
    (ours,) = shown(engine, data, VariantSpec("png", source.width // 3))
    for colour in ("#ffffff", "#000000", "#ff00c8"):
        page, small = Image.new("RGBA", source.size, colour), Image.new("RGBA", ours.size, colour)
        page.alpha_composite(source)
        small.alpha_composite(ours.convert("RGBA"))
        assert mean_difference(small, page.resize(ours.size, LANCZOS)) < 1.5


def test_sixteen_bit_grey_is_scaled(engine: Engine, corpus: Path) -> None:
    data = (corpus / "depth/16bit.tif").read_bytes()
    values = np.asarray(Image.open(io.BytesIO(data)), np.float64)
    assert values.max() > 255, "8 bits would do"
    (ours,) = shown(engine, data, VariantSpec("png"))
    assert np.abs(np.asarray(ours.convert("L"), np.float64) - values / 256).max() <= 1


def test_the_ultra_hdr_file_of_another_writer_shows_its_base(engine: Engine) -> None:
    """libvips writes it from light above white; a viewer that knows nothing of gain maps shows the first picture."""
    light = np.zeros((96, 128, 3), np.float32)
    light[:, :64], light[:, 64:] = (0.5, 0.2, 0.1), (3, 2.5, 2)
    data = pyvips.Image.new_from_array(light).copy(interpretation="scrgb").uhdrsave_buffer()
    assert pyvips.Image.new_from_buffer(data, "").get("vips-loader") == "uhdrload_buffer"
    first = Image.open(io.BytesIO(data))
    base = in_srgb(first, first.info["icc_profile"])
    whole, half = shown(engine, data, VariantSpec("png"), VariantSpec("png", 64))
    assert mean_difference(whole, base) < 1
    assert mean_difference(half, base.resize(half.size, LANCZOS)) < 1
    for variant in engine.build(data, "jpeg", [VariantSpec(f) for f in OUTPUT_FORMATS]):
        assert b"hdrgm" not in variant.data
        assert b"MPF" not in variant.data


@functools.cache
def _large() -> bytes:
    return images.encoded(scene("leaves", 1000, 750), "jpeg", quality=97)


@pytest.mark.slow
@pytest.mark.parametrize("width", [448, 640, 896])
@pytest.mark.parametrize("crop", [Focus(0.5, 0.5), Focus(0, 0), Focus(1, 1)])
def test_a_cut_lies_within_half_a_pixel_of_the_exact_box(engine: Engine, width: int, crop: Focus) -> None:
    """Against full decodes and resizes of boxes moved by quarters of a pixel: the most alike tells where ours lies."""
    data, picture = _large(), Image.open(io.BytesIO(_large()))
    spec = VariantSpec("png", width, Fraction(16, 9), crop=crop)
    (ours,) = shown(engine, data, spec)
    region, size = spec.frame(Size(*picture.size))
    assert ours.size == size
    steps, pixel = np.arange(-1, 1.25, 0.25), region.width / size.width
    room = picture.height - region.height
    errors = {}
    for step in steps:
        top = region.top + step * pixel
        if -1e-6 <= top <= room + 1e-6:
            box = (region.left, max(0, top), region.left + region.width, min(picture.height, top + region.height))
            errors[step] = mean_difference(ours, picture.resize(size, LANCZOS, box=box))
    assert len(errors) > 4
    best = min(errors, key=errors.__getitem__)
    assert abs(best) <= (0.5 if engine.name == "vips" else 0)
    assert errors[best] < 2


@pytest.mark.parametrize(("effort", "number"), [("fast", 0), ("balanced", 0), ("small", 2)])
def test_avif_effort_is_never_libvips_default(effort: str, number: int) -> None:
    picture = scene("portrait", 160, 90)
    data = images.encoded(picture, "png")
    (ours,) = load_engine("vips").build(data, "png", [VariantSpec("avif", effort=effort)])
    held = pyvips.Image.new_from_memory(picture.tobytes(), 160, 90, 3, "uchar").copy(interpretation="srgb")
    options: dict[str, Any] = {"Q": 67, "compression": "av1", "bitdepth": 8, "keep": "none"}
    assert ours.data == held.heifsave_buffer(effort=number, **options)
    assert ours.data != held.heifsave_buffer(**options)


@functools.cache
def _small(kind: str) -> Image.Image:
    return scene(kind, 448, 252)


@pytest.mark.slow
@pytest.mark.parametrize("quality", [50, 80, 90])
def test_one_quality_looks_alike_in_every_format(engine: Engine, quality: int) -> None:
    """The mean of three photo-like pictures; and AVIF has fewer bytes than JPEG at the same looks."""
    alike: dict[str, list[float]] = {"jpeg": [], "webp": [], "avif": []}
    size = dict.fromkeys(alike, 0)
    for kind in ("leaves", "portrait", "sky"):
        picture = _small(kind)
        specs = [VariantSpec(f, quality=quality) for f in alike]
        for variant in engine.build(images.encoded(picture, "png"), "png", specs):
            alike[variant.format].append(ssim(picture, opened(variant)))
            size[variant.format] += len(variant.data)
    means = [float(np.mean(values)) for values in alike.values()]
    assert max(means) - min(means) < 0.01
    assert max(size["webp"], size["avif"]) < 0.8 * size["jpeg"]


def place_block(exif: bytes) -> bytes:
    """Return the bytes of the GPS table of an EXIF block: its entries, and the values that they point at."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = ">" if tiff[:2] == b"MM" else "<"

    def entries(at: int) -> Iterator[tuple[int, int, int, int, bytes]]:
        (count,) = struct.unpack_from(order + "H", tiff, at)
        for i in range(count):
            start = at + 2 + 12 * i
            yield *struct.unpack_from(order + "2H2I", tiff, start), tiff[start : start + 12]

    (main,) = struct.unpack_from(order + "I", tiff, 4)
    (place,) = (value for tag, _, _, value, _ in entries(main) if tag == 0x8825)
    block = b""
    for _, kind, count, value, raw in entries(place):
        length = count * {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}[kind]
        block += raw + (tiff[value : value + length] if length > 4 else b"")
    return block


def test_no_byte_of_the_place_is_in_any_variant(engine: Engine, corpus: Path) -> None:
    """Not one run of 6 bytes of the GPS table is found again, whatever the format, size and effort."""
    data = (corpus / "exif/gps.jpg").read_bytes()
    exif = Image.open(io.BytesIO(data)).info["exif"]
    block = place_block(exif)
    assert b"1999:99:99" in block
    runs = {block[i : i + 6] for i in range(len(block) - 5)}
    runs = {run for run in runs if len(set(run)) > 2 and run in data}  # zeros and ones are anywhere
    assert len(runs) > 40
    specs = [
        VariantSpec(f, width, effort=effort, upscale=True)
        for f in (*OUTPUT_FORMATS, "fallback")
        for width in (None, 4, 64)
        for effort in EFFORTS
    ]
    for variant in engine.build(data, "jpeg", specs):
        assert not [run for run in runs if run in variant.data]
        assert not opened(variant).getexif()
