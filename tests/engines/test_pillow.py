import struct
import subprocess
import sys
import zlib

import pytest
import pyvips
from PIL import Image

from easyimg.engines.pillow import PillowEngine
from easyimg.engines.vips import VipsEngine
from easyimg.errors import SourceTooLarge, SourceUnreadable
from easyimg.ports import Engine
from easyimg.spec import VariantSpec
from easyimg.testing import images
from easyimg.testing.animations import AnimationContract
from easyimg.testing.engines import EngineContract, mean_difference, opened


class TestPillowEngine(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return PillowEngine()


class TestPillowAnimations(AnimationContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return PillowEngine()


def test_large_picture_gives_no_warning():
    """Pillow's own limit is 89 megapixels; ours are checked by the caller, before the build."""
    data = images.encoded(Image.new("1", (10_000, 9_500)), "png")
    assert PillowEngine().probe(data, "png").size == (10_000, 9_500)


def test_gif_whose_canvas_is_a_bomb_is_too_large(corpus):
    with pytest.raises(SourceTooLarge):
        PillowEngine().probe((corpus / "bomb/bomb.gif").read_bytes(), "gif")


PEAK = """
import resource, sys
from easyimg.engines import load_engine
from easyimg.errors import SourceUnreadable
from easyimg.spec import VariantSpec

engine, data = load_engine("pillow"), sys.stdin.buffer.read()
engine.build(data, "gif", [VariantSpec("webp")])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    engine.build(data, "gif", [VariantSpec("webp", animated=True)])
except SourceUnreadable as exc:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, exc)
"""


def test_a_frame_larger_than_its_animation_is_refused_before_it_gets_memory():
    data = bytearray(images.animation(60, 36))
    last = data.rindex(b"," + struct.pack("<4H", 0, 0, 60, 36))
    struct.pack_into("<4H", data, last + 1, 0, 0, 12_000, 12_000)
    command = [sys.executable, "-W", "error", "-c", PEAK]
    done = subprocess.run(command, input=bytes(data), capture_output=True, timeout=60, check=True)
    grown, _, said = done.stdout.decode().strip().partition(" ")
    assert said == "a frame of the animation is larger than the picture"
    assert int(grown) < 20


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("interlaced", [False, True])
def test_black_png_is_complete_and_one_row_less_is_not(mode, interlaced):
    image = pyvips.Image.black(33, 17, bands=len(mode)) if interlaced else None
    if image is None:
        data = images.encoded(Image.new(mode, (33, 17)), "png")
    else:
        data = image.copy(interpretation="srgb" if image.bands > 2 else "b-w").pngsave_buffer(interlace=True)
    (variant,) = PillowEngine().build(data, "png", [VariantSpec("png")])
    assert opened(variant).size == (33, 17)
    lying = bytearray(data)
    lying[20:24] = struct.pack(">I", 18)
    lying[29:33] = struct.pack(">I", zlib.crc32(bytes(lying[12:29])))
    with pytest.raises(SourceUnreadable, match="last row"):
        PillowEngine().build(bytes(lying), "png", [VariantSpec("png")])


@pytest.mark.slow
@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_both_engines_show_the_same_picture(format, orientation):
    data = images.photo(1000, 750, format=format, orientation=orientation)
    specs = [VariantSpec("png", width, effort="fast") for width in (None, 448, 200)]
    for one, other in zip(
        VipsEngine().build(data, format, specs), PillowEngine().build(data, format, specs), strict=True
    ):
        assert mean_difference(opened(one), opened(other)) < 3
