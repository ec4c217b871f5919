import io
import struct
import subprocess
import sys
import threading
import zlib

import pytest
import pyvips
from PIL import Image, TiffImagePlugin

from easyimg.engines.pillow import PillowEngine
from easyimg.engines.vips import VipsEngine
from easyimg.errors import SourceTooLarge, SourceUnreadable
from easyimg.ports import Engine
from easyimg.spec import VariantSpec
from easyimg.testing import images, uncommon
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


def test_a_tiff_that_is_decoded_keeps_no_other_thread_from_its_work(monkeypatch):
    engine, ended = PillowEngine(), threading.Event()
    load = TiffImagePlugin.TiffImageFile.load

    def slow(image):
        probe = threading.Thread(target=lambda: (engine.probe(images.photo(30, 20), "jpeg"), ended.set()))
        probe.start()
        assert ended.wait(20)
        probe.join()
        return load(image)

    monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "load", slow)
    engine.build(images.photo(40, 30, format="tiff"), "tiff", [VariantSpec("png")])
    assert ended.is_set()


@pytest.mark.parametrize("tag", [34665, 34853])
def test_odd_tags_of_a_tiff_are_not_worth_a_warning(tag):
    """Warnings are errors here; the tag says that 200 further ones are where the pixels lie."""
    data = uncommon.plain_tiff([0, 200, 7], 4, 4, fields=[(tag, 3, [8])])
    with pytest.warns(UserWarning, match="Corrupt EXIF|Tag data|Tag offset"):
        Image.open(io.BytesIO(data)).load()
    assert PillowEngine().build(data, "tiff", [VariantSpec("png")])


FORK = """
import os, signal, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from easyimg.engines import _pillow_source
from easyimg.engines.pillow import PillowEngine
from easyimg.testing.images import photo

data, inside = photo(30, 20), threading.Event()

def read_a_long_header():
    with _pillow_source.no_warnings():
        inside.set()
        time.sleep(0.5)

threading.Thread(target=read_a_long_header).start()
inside.wait()
before = len(warnings.filters)
pid = os.fork()
if pid == 0:
    signal.alarm(10)
    PillowEngine().probe(data, "jpeg")
    os._exit(0 if len(warnings.filters) < before else 3)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_process_forked_while_another_thread_reads_a_header_works_and_may_warn():
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "0\n"


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
