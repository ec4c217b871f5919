"""Files broken on purpose: whatever comes in, out comes a picture or an EasyImgError, and nothing else."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Final

import pytest

from easyimg.engines import load_engine
from easyimg.errors import EasyImgError
from easyimg.source import Limits
from easyimg.spec import VariantSpec
from easyimg.testing import images
from easyimg.testing.animations import shown
from easyimg.testing.engines import opened

SPECS: Final = (VariantSpec(width=20, ratio=Fraction(1)), VariantSpec("webp", 30), VariantSpec())
MOVING: Final = (VariantSpec(width=20, ratio=Fraction(1), animated=True), VariantSpec("webp", animated=True))
LIMITS: Final = Limits(max_pixels=2_000_000)  # a damaged header may promise anything; keep the tests quick

SOURCES: Final = {
    "jpeg": images.photo(90, 60, orientation=6, gps=True, icc_profile=images.swapped_profile()),
    "progressive": images.photo(90, 60, progressive=True),
    "cmyk": images.cmyk(),
    "png": images.transparent(60, 40),
    "palette": images.palette_with_transparency(),
    "deep": images.deep_grey(),
    "webp": images.photo(60, 40, format="webp", orientation=3),
    "avif": images.photo(60, 40, format="avif"),
    "gif": images.animation(),
    "animated-webp": images.animation(format="webp"),
    "apng": images.animation(format="png"),
    "gif-transparent": images.moving_square(),
    "webp-transparent": images.moving_square("webp"),
    "apng-transparent": images.moving_square("png"),
    "tiff": images.photo(60, 40, format="tiff"),
    "tiff-lzw": images.corners(60, 40, format="tiff", compression="tiff_lzw"),
}


def damaged(data: bytes, seed: int) -> bytes:
    """Return the file with some bytes changed, lost, added, or cut off; half of the damage falls on its head."""
    random_, broken = random.Random(seed), bytearray(data)
    for _ in range(random_.choice((1, 1, 2, 5, 20))):
        if not broken:
            break
        at = random_.randrange(len(broken) if random_.random() < 0.5 else min(len(broken), 200))
        kind = random_.random()
        if kind < 0.6:
            broken[at] = random_.randrange(256)
        elif kind < 0.8:
            del broken[at : at + random_.randrange(1, 8)]
        elif kind < 0.9:
            broken[at:at] = random_.randbytes(random_.randrange(1, 8))
        else:
            del broken[max(at, 1) :]
    return bytes(broken)


@pytest.mark.parametrize("engine", ["vips", "pillow"])
@pytest.mark.parametrize("source", SOURCES)
def test_damaged_file_gives_a_picture_or_an_error_of_ours(engine: str, source: str) -> None:
    pixels, built = load_engine(engine), 0
    for seed in range(25):
        data = damaged(SOURCES[source], seed)
        try:
            found = LIMITS.check_content(data)
            info = pixels.probe(data, found)
            LIMITS.check_info(info)
            variants = pixels.build(data, found, SPECS)
        except EasyImgError:
            continue
        built += 1
        for spec, variant in zip(SPECS, variants, strict=True):
            assert opened(variant).size == spec.frame(info.size).size
    assert built < 25


@pytest.mark.parametrize("engine", ["vips", "pillow"])
@pytest.mark.parametrize("source", [name for name in SOURCES if name.startswith(("gif", "animated", "webp-t", "apng"))])
def test_damaged_animation_gives_all_its_frames_or_an_error_of_ours(engine: str, source: str) -> None:
    pixels, built = load_engine(engine), 0
    for seed in range(40):
        data = damaged(SOURCES[source], seed)
        try:
            found = LIMITS.check_content(data)
            info = pixels.probe(data, found)
            LIMITS.check_info(info)
            LIMITS.check_animation(info, info.size)
            variants = pixels.build(data, found, MOVING)
        except EasyImgError:
            continue
        built += 1
        for spec, variant in zip(MOVING, variants, strict=True):
            assert {frame.size for frame in shown(variant).frames} == {spec.frame(info.size).size}
    assert built < 40
